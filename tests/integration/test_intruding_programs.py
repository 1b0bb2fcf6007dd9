"""Programs may write whatever they like to their MLflow run: what a study needs of it stays true."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from entry_points import Entry
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

PROGRAMS = Path(__file__).parents[1] / "support" / "programs"
MODES = ("tags", "metrics", "ends", "names", "deletes", "other-run")


def sweep(entry: Entry, folder: Path, name: str, **content: Any) -> tuple[int, str]:
    """Runs a study of this name on a few digits."""
    defaults = {"trainer": "program", "datasets": "digits@50", "strategies": "full", "epochs": 2}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(defaults | content))
    done = entry("sweep", "--study", str(path))
    return done.status, done.err


def trainings(study: str) -> list[Run]:
    client = MlflowClient()
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], "tags.`proxyflow.kind` = 'training'"))


@pytest.mark.slow
def test_what_a_program_writes_to_its_run_does_not_change_the_study(entry: Entry, tmp_path: Path) -> None:
    content = {
        "metric": "valid_loss",
        "program": [sys.executable, str(PROGRAMS / "intrude.py"), "{mode}"],
        "grid": [{"mode": mode} for mode in MODES],
    }
    status, said = sweep(entry, tmp_path, "intruded", **content)
    assert status == 1
    assert "1 of 6 trainings failed" in said
    assert "mode=deletes" in said
    runs = {json.loads(run.data.tags["proxyflow.config_json"])["mode"]: run for run in trainings("intruded")}
    assert set(runs) == set(MODES) - {"deletes"}
    for mode, run in runs.items():
        tags, metrics = run.data.tags, run.data.metrics
        assert (run.info.status, tags["proxyflow.status"], tags["proxyflow.seed"]) == ("FINISHED", "finished", "0")
        expected = 0.4 if mode == "ends" else 0.5
        assert metrics["objective"] == metrics["best_valid_loss"] == expected
        assert metrics["wall_seconds"] < 1000
        assert metrics["best_epoch"] == (2 if mode == "ends" else 1)
    assert runs["names"].data.metrics["top-5 -val- -1"] == 1
    status, said = sweep(entry, tmp_path, "intruded", **content)
    assert "5 of 6 trainings are already finished" in said, "their keys are what they were"


CURVE = (0.5, 0.25, 0.75)
WAYS = {
    "report": "import proxyflow\nfor value in (0.5, 0.25, 0.75):\n    proxyflow.report({name}=value)\n",
    "run": "import mlflow\nfor step, value in enumerate((0.5, 0.25, 0.75)):\n"
    "    mlflow.log_metric('{name}', value, step=step * 100)\n",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["objective", "train_seconds"])
def test_a_metric_may_have_the_name_of_one_of_ours(way: str, name: str, entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "fit.py").write_text(WAYS[way].format(name=name))
    study = f"named-{name}-{way}"
    status, said = sweep(
        entry,
        tmp_path,
        study,
        metric=name,
        goal="minimize",
        program=f"{sys.executable} fit.py {{lr}}",
        grid=[{"lr": 1}],
        epochs=3,
    )
    assert status == 0, said
    (run,) = trainings(study)
    assert run.data.metrics["objective"] == min(CURVE)
    assert run.data.metrics[f"final_{name}"] == CURVE[-1]


def test_a_function_that_returns_names_of_ours_changes_none(entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "returns_names.py").write_text(
        "def fit(job):\n    return {'loss': 0.5, 'objective': 9, 'best_loss': 9, 'wall_seconds': 1e6, 'top (5)': 1}\n"
    )
    status, said = sweep(
        entry, tmp_path, "returned", trainer="python:returns_names:fit", metric="loss", grid=[{"lr": 1}]
    )
    assert status == 0, said
    (run,) = trainings("returned")
    assert run.data.metrics["objective"] == run.data.metrics["best_loss"] == 0.5
    assert run.data.metrics["wall_seconds"] < 1000
    assert run.data.metrics["top -5-"] == 1


def test_functions_that_exit_or_fail_end_their_own_training_alone(entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "fails_in_ways.py").write_text(
        "import sys\ndef fit(job):\n    mode = job.config['mode']\n    if mode == 'exits': sys.exit(3)\n"
        "    if mode == 'raises': raise RuntimeError('no such file: vocabulary')\n"
        "    if mode == 'text': job.report(loss='low')\n    if mode == 'nothing': return\n    return 0.5\n"
    )
    modes = ("exits", "raises", "text", "nothing", "good")
    status, said = sweep(
        entry,
        tmp_path,
        "failing",
        trainer="python:fails_in_ways:fit",
        metric="loss",
        grid=[{"mode": mode} for mode in modes],
    )
    assert status == 1
    assert "Traceback" not in said
    found = {json.loads(run.data.tags["proxyflow.config_json"])["mode"]: run for run in trainings("failing")}
    assert {mode for mode, run in found.items() if run.data.tags["proxyflow.status"] == "finished"} == {"good"}
    for mode, part in (("exits", "3"), ("raises", "vocabulary"), ("text", "low"), ("nothing", "loss")):
        assert part in found[mode].data.tags["proxyflow.error"]


def test_a_study_in_an_odd_folder(entry: Entry, tmp_path: Path) -> None:
    folder = tmp_path / "mein Ordner & 'ü' {x} $(id)"
    folder.mkdir()
    (folder / "fit it.py").write_text("import sys, proxyflow\nproxyflow.report(loss=len(sys.argv))\n")
    status, said = sweep(
        entry,
        folder,
        "odd",
        metric="loss",
        program=[sys.executable, "fit it.py", "{text}"],
        grid=[{"text": text} for text in ("; rm -rf /", "--help", "a\nb", "$(id)", "{text}", "ü")],
    )
    assert status == 0, said
    assert {run.data.metrics["objective"] for run in trainings("odd")} == {2.0}


@pytest.mark.slow
def test_programs_on_ray_share_nothing_but_their_data(entry: Entry, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is an optional extra: pip install 'proxyflow[ray]'")
    (tmp_path / "helper.py").write_text("SCALE = 10\n")
    (tmp_path / "fit.py").write_text(
        "import os, subprocess, sys, time, helper, proxyflow\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', sys.argv[2]], start_new_session=True)\n"
        "time.sleep(1)\n"
        "if sys.argv[1] == '3': sys.exit('three is no width')\n"
        "for epoch in range(1, 3):\n    proxyflow.report(epoch=epoch, loss=float(sys.argv[1]) * helper.SCALE / epoch)\n"
    )
    content = {
        "metric": "loss",
        "program": [sys.executable, "fit.py", "{width}", str(tmp_path)],
        "grid": [{"width": width} for width in (1, 2, 3, 4)],
        "executor": "ray",
        "jobs": 2,
    }
    status, said = sweep(entry, tmp_path, "on-ray", **content)
    assert status == 1, said
    runs = {json.loads(run.data.tags["proxyflow.config_json"])["width"]: run for run in trainings("on-ray")}
    assert {width: run.data.metrics.get("objective") for width, run in runs.items()} == {1: 5, 2: 10, 3: None, 4: 20}
    assert "three is no width" in runs[3].data.tags["proxyflow.error"]
    left = [each for each in psutil.process_iter(["cmdline"]) if str(tmp_path) in (each.info["cmdline"] or ())]
    assert not left
    # Ray gives the cores of this process back a while after it has shut down, so another executor finds them finished.
    status, said = sweep(entry, tmp_path, "on-ray", **(content | {"executor": "local", "jobs": "auto"}))
    assert "3 of 4 trainings are already finished" in said


def test_values_of_ours_are_the_latest_even_within_a_millisecond(entry: Entry, tmp_path: Path) -> None:
    """Of two values of one step and time a server shows the larger."""
    (tmp_path / "returns_more.py").write_text("def fit(job):\n    return {'loss': 0.5, 'objective': 9, 'steps': 7}\n")
    status, said = sweep(entry, tmp_path, "later", trainer="python:returns_more:fit", metric="loss", grid=[{"lr": 1}])
    assert status == 0, said
    (run,) = trainings("later")
    history = MlflowClient().get_metric_history(run.info.run_id, "objective")
    steps = {each.value: each.step for each in history}
    assert steps[0.5] > steps[9.0]
