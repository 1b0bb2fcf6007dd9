"""Programs of users in studies: they report in three ways, and whatever they do wrong stays their own affair."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml
from entry_points import Entry
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

PROGRAMS = Path(__file__).parents[1] / "support" / "programs"
Study = Callable[..., Path]
MISTAKES = (
    *("good", "hangs", "hangs-deaf", "killed", "prints", "half-line", "nan", "nothing", "other-name", "exit-3"),
    *("child", "daemon", "dependency"),
)


@pytest.fixture
def name(tmp_path: Path) -> str:
    """A study of the test's own."""
    return tmp_path.name


@pytest.fixture
def study(tmp_path: Path, name: str) -> Study:
    """Writes a study file on a tenth of digits."""

    def write(**content: object) -> Path:
        defaults = {"trainer": "program", "datasets": "digits@100", "strategies": "full", "epochs": 2}
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(defaults | content))
        return path

    return write


def trainings(study: str) -> list[Run]:
    client = MlflowClient()
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], "tags.`proxyflow.kind` = 'training'"))


def sleepers(mark: Path) -> list[psutil.Process]:
    """Processes of a program that was given `mark`, and their children."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(mark) in process.cmdline() and "proxyflow" not in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def output_of(run: Run, folder: Path) -> str:
    path = MlflowClient().download_artifacts(run.info.run_id, "output.log", str(folder))
    return Path(path).read_text()


def test_every_mistake_of_a_program_ends_its_own_training_alone(
    entry: Entry, study: Study, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxyflow.trainers.program.process.GRACE_SECONDS", 1.0)
    path = study(
        program=[sys.executable, str(PROGRAMS / "misbehave.py"), "{mode}", str(tmp_path)],
        metric="valid_loss",
        timeout="4s",
        grid=[{"mode": mode} for mode in MISTAKES],
    )
    done = entry("sweep", "--study", str(path))
    assert done.status == 1, done.err
    assert not sleepers(tmp_path), "a process was left behind"
    runs = {json.loads(run.data.tags["proxyflow.config_json"])["mode"]: run for run in trainings(name)}
    assert set(runs) == set(MISTAKES)
    finished = {mode for mode, run in runs.items() if run.data.tags["proxyflow.status"] == "finished"}
    assert finished == {"good", "prints", "nan", "child", "daemon"}
    assert not [run for run in runs.values() if run.info.status == "RUNNING"]
    assert runs["nan"].data.tags["proxyflow.diverged"] == "true"
    assert runs["nan"].data.metrics["best_epoch"] == 1
    errors = {mode: run.data.tags.get("proxyflow.error", "") for mode, run in runs.items()}
    expected: Mapping[str, tuple[str, ...]] = {
        "hangs": ("timeout=4", "waiting for a lock"),
        "hangs-deaf": ("timeout=4",),
        "killed": ("SIGKILL",),
        "half-line": ("line 2", "metrics.jsonl"),
        "nothing": ("valid_loss", "metrics.jsonl"),
        "other-name": ("valid_loss", "metric=val_loss"),
        "exit-3": ("exit status 3", "cannot find the tokenizer"),
        "dependency": ("exit status 1", "no_such_package"),
    }
    for mode, parts in expected.items():
        assert all(part in errors[mode] for part in parts), f"{mode}: {errors[mode]}"
        assert errors[mode] in done.err.replace("\\'", "'") or mode in done.err
    log = output_of(runs["prints"], tmp_path)
    assert log.startswith("step 000000000")
    assert log.rstrip().endswith("the end")
    assert len(log) < 6 * 2**20
    assert "no_such_package" in output_of(runs["dependency"], tmp_path)
    again = entry("sweep", "--study", str(path))
    assert "5 of 13 trainings are already finished" in again.err


PLAIN = "import mlflow, sys\n"
WAYS = {
    "run": "with mlflow.start_run():\n"
    "    mlflow.log_param('learning_rate', float(sys.argv[1]))\n"
    "    mlflow.log_param('epochs', 'three')\n"
    "    for epoch in range(1, 4):\n"
    "        mlflow.log_metric('valid_accuracy', float(sys.argv[1]) / epoch, step=epoch)\n",
    "run-from-0": "for step in range(3):\n    mlflow.log_metric('valid_accuracy', float(sys.argv[1]) / (step + 1), step=step)\n",
    "lines": "import json, os\n"
    "with open(os.environ['PROXYFLOW_OUTPUT'] + '/metrics.jsonl', 'a') as file:\n"
    "    for epoch in range(1, 4):\n"
    "        print(json.dumps({'epoch': epoch, 'train_loss': 1.0}), file=file)\n"
    "        print(json.dumps({'epoch': epoch, 'valid_accuracy': float(sys.argv[1]) / epoch}), file=file)\n",
    "report": "import proxyflow\n"
    "for epoch in range(1, 4):\n    proxyflow.report(epoch=epoch, valid_accuracy=float(sys.argv[1]) / epoch)\n",
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_report_gives_the_same_run(way: str, entry: Entry, study: Study, name: str, tmp_path: Path) -> None:
    (tmp_path / "fit.py").write_text((PLAIN if way.startswith("run") else "import sys\n") + WAYS[way])
    path = study(
        program=f"{sys.executable} fit.py {{learning_rate}}",
        grid=[{"learning_rate": 0.5}, {"learning_rate": 0.9}],
        epochs=3,
    )
    done = entry("sweep", "--study", str(path))
    assert done.status == 0, done.err
    client = MlflowClient()
    for run in trainings(name):
        rate = json.loads(run.data.tags["proxyflow.config_json"])["learning_rate"]
        assert run.data.tags["proxyflow.status"] == "finished"
        assert run.info.status == "FINISHED"
        assert run.data.metrics["objective"] == pytest.approx(rate)
        assert run.data.metrics["final_valid_accuracy"] == pytest.approx(rate / 3)
        assert run.data.metrics["best_epoch"] == 1
        assert run.data.params["learning_rate"] == str(rate)
        # What the program logs itself stays, and is logged once.
        assert run.data.params["epochs"] == ("three" if way == "run" else "3")
        history = client.get_metric_history(run.info.run_id, "valid_accuracy")
        first = 0 if way == "run-from-0" else 1
        assert [each.step for each in history] == [first, first + 1, first + 2]
        assert [each.value for each in history] == pytest.approx([rate, rate / 2, rate / 3])


def test_the_program_has_its_data_and_environment(entry: Entry, study: Study, name: str, tmp_path: Path) -> None:
    (tmp_path / "look.py").write_text(
        "import json, os, pathlib, sys, proxyflow\n"
        "data = pathlib.Path(os.environ['PROXYFLOW_DATA'])\n"
        "found = {'args': sys.argv[1:], 'cwd': os.getcwd(), 'config': json.load(open(os.environ['PROXYFLOW_CONFIG'])),\n"
        "  'env': {k: v for k, v in os.environ.items() if k.startswith(('PROXYFLOW', 'MLFLOW'))},\n"
        "  'train': sorted(str(p.relative_to(data)) for p in (data / 'train').rglob('*.png')),\n"
        "  'valid': len(list((data / 'val').rglob('*.png'))), 'ids': (data / 'train_ids.txt').read_text().split(),\n"
        "  'manifest': json.load(open(data / 'manifest.json'))}\n"
        "json.dump(found, open(sys.argv[1], 'w'))\n"
        "proxyflow.report(valid_accuracy=0.5)\n"
    )
    (tmp_path / "space.yaml").write_text(
        "lr: [0.001]\nflag: [true]\noptimizer: [adam, sgd]\nmomentum: {low: 0.8, high: 0.9, when: {optimizer: [sgd]}}\n"
    )
    target = tmp_path / "found by {optimizer}.json"
    path = study(
        program=f"{sys.executable} look.py '{target}' --lr {{lr}} --flag={{flag}} --momentum {{momentum}} -s {{seed}}",
        grid="space.yaml@2",
        strategies="random:0.5",
        seeds=3,
    )
    done = entry("sweep", "--study", str(path))
    assert done.status == 0, done.err
    runs = {json.loads(run.data.tags["proxyflow.config_json"])["optimizer"]: run for run in trainings(name)}
    assert set(runs) == {"adam", "sgd"}
    for optimizer, run in runs.items():
        file = str(target).format(optimizer=optimizer)
        found = json.loads(Path(file).read_text())
        configuration = json.loads(run.data.tags["proxyflow.config_json"])
        momentum = ["--momentum", str(configuration["momentum"])] if optimizer == "sgd" else []
        assert found["args"] == [file, "--lr", "0.001", "--flag=true", *momentum, "-s", "3"]
        assert found["config"] == configuration
        assert found["cwd"] == str(tmp_path)
        environment = found["env"]
        assert environment["MLFLOW_RUN_ID"] == run.info.run_id
        assert environment["MLFLOW_EXPERIMENT_ID"] == run.info.experiment_id
        assert environment["PROXYFLOW_EPOCHS"] == "2"
        assert environment["PROXYFLOW_SEED"] == "3"
        assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in environment, "proxyflow's own settings are not the user's"
    n_train, n_valid = int(run.data.params["n_train"]), int(run.data.params["n_valid"])
    assert len(found["train"]) == len(found["ids"]) == found["manifest"]["n_train"] == n_train
    assert found["valid"] == n_valid
    assert {path.split("/")[1] for path in found["train"]} == set("0123456789")


def test_an_edited_script_is_a_new_experiment(entry: Entry, study: Study, name: str, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("VALUE = 0.5\n")
    (tmp_path / "fit.py").write_text("import proxyflow, model\nproxyflow.report(valid_accuracy=model.VALUE)\n")
    path = study(program=f"{sys.executable} fit.py {{lr}}", grid=[{"lr": 1}], watch=["*.cfg"])
    (tmp_path / "one.cfg").write_text("a")
    assert "(1 now)" in entry("sweep", "--study", str(path)).out
    assert "(0 now)" in entry("sweep", "--study", str(path)).out
    for name, text in (("model.py", "VALUE = 0.25\n"), ("one.cfg", "b")):
        (tmp_path / name).write_text(text)
        assert "(1 now)" in entry("sweep", "--study", str(path)).out, f"{name} was edited"
    assert "(0 now)" in entry("sweep", "--study", str(path)).out


def test_a_longer_training_finds_the_checkpoints_of_a_shorter_one(
    entry: Entry, study: Study, name: str, tmp_path: Path
) -> None:
    (tmp_path / "fit.py").write_text(
        "import os, pathlib, sys, proxyflow\n"
        "state = pathlib.Path(os.environ['PROXYFLOW_CHECKPOINTS']) / 'epoch'\n"
        "done = int(state.read_text()) if state.exists() else 0\n"
        "for epoch in range(done + 1, int(sys.argv[1]) + 1):\n"
        "    state.write_text(str(epoch))\n"
        "    proxyflow.report(epoch=epoch, valid_accuracy=epoch / 10)\n"
    )
    path = study(program=f"{sys.executable} fit.py {{epochs}}", grid=[{"lr": 1}], strategies="epochs:2", epochs=5)
    assert entry("sweep", "--study", str(path)).status == 0
    path = study(program=f"{sys.executable} fit.py {{epochs}}", grid=[{"lr": 1}], strategies="full", epochs=5)
    done = entry("sweep", "--study", str(path))
    assert done.status == 0, done.err
    by_strategy = {run.data.tags["proxyflow.strategy"]: run for run in trainings(name)}
    history = MlflowClient().get_metric_history(by_strategy["full"].info.run_id, "valid_accuracy")
    assert [each.step for each in history] == [3, 4, 5]


def test_a_minimized_metric_of_a_program_is_reported(entry: Entry, study: Study, name: str, tmp_path: Path) -> None:
    command = "--train {train} --width {width} --epochs {epochs} --seed {seed}"
    path = study(
        program=f"{sys.executable} {PROGRAMS / 'fit.py'} {command}",
        metric="valid_loss",
        strategies=["full", "random:0.5", "epochs:1"],
        grid=[{"width": width / 10} for width in range(6)],
    )
    done = entry("sweep", "--study", str(path))
    assert done.status == 0, done.err
    done = entry("report", "--study", name, "--out", str(tmp_path), "--bootstrap", "20")
    assert done.status == 0, done.err
    table = pd.read_csv(tmp_path / f"{name}/strategies.csv").set_index("strategy")
    assert table.loc["random:0.5", "regret"] == pytest.approx(0)
    assert pd.read_csv(tmp_path / f"{name}/best.csv").set_index("strategy").loc["full", "best_config"] == "width=0.3"


def test_a_killed_sweep_leaves_no_program_behind(study: Study, name: str, store: str, tmp_path: Path) -> None:
    path = study(
        program=[sys.executable, str(PROGRAMS / "misbehave.py"), "hangs", str(tmp_path)],
        metric="valid_loss",
        grid=[{"a": 1}],
    )
    arguments = [sys.executable, "-m", "proxyflow", "sweep", "--study", str(path)]
    sweep = subprocess.Popen(arguments, env={**os.environ, "MLFLOW_TRACKING_URI": store}, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 90
        while not sleepers(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert sleepers(tmp_path), "the program did not start"
        sweep.send_signal(signal.SIGKILL)
        sweep.wait()
        deadline = time.monotonic() + 10
        while sleepers(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not sleepers(tmp_path)
    finally:
        sweep.kill()
        for process in sleepers(tmp_path):
            process.kill()


WRONG = {
    "unknown placeholder": ({"program": "python fit.py {learning}"}, "placeholder"),
    "no program": ({"program": "no-such-program {lr}"}, "program"),
    "open quote": ({"program": "python 'fit.py {lr}"}, "program"),
    "a pipe": ({"program": "python fit.py {lr} | tee log"}, "program"),
    "no command": ({}, "program"),
    "unclear direction": ({"program": "python fit.py {lr}", "metric": "quality"}, "metric"),
    "epochs without a placeholder": ({"program": "python fit.py {lr}", "strategies": "full,epochs:1"}, "strategy"),
    "a pattern without files": ({"program": "python fit.py {lr}", "watch": "*.nothing"}, "watch"),
    "a setting of images": ({"program": "python fit.py {lr}", "precision": "fp32"}, "precision"),
    "a wrong timeout": ({"program": "python fit.py {lr}", "timeout": "soon"}, "timeout"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_request_is_refused_before_any_run(
    mistake: str, entry: Entry, study: Study, tmp_path: Path, name: str
) -> None:
    content, wrong = WRONG[mistake]
    (tmp_path / "fit.py").write_text("")
    done = entry("sweep", "--study", str(study(grid=[{"lr": 1}], **content)))
    assert done.status == 2
    assert done.err.count("error:") == 1
    assert wrong in done.err
    assert "Traceback" not in done.err
    assert MlflowClient().get_experiment_by_name(name) is None


def test_settings_of_programs_are_refused_for_other_trainers(entry: Entry) -> None:
    for option, value in (
        ("--program", "python fit.py"),
        ("--metric", "loss"),
        ("--timeout", "5s"),
        ("--watch", "*.py"),
    ):
        done = entry("train", option, value)
        assert done.status == 2
        assert option.removeprefix("--") in done.err
        assert "trainer=program" in done.err


WITH_PREDICTIONS = """
import json, os, pathlib, sys
import pandas as pd
import proxyflow

data = pathlib.Path(os.environ["PROXYFLOW_DATA"])
proxyflow.report(valid_accuracy=0.5)
if sys.argv[1] == "write":
    names = sorted(path.stem for path in (data / "train").rglob("*.png"))
    label = {path.stem: path.parent.name for path in (data / "train").rglob("*.png")}
    rows = {"id": [int(name) for name in names]}
    for digit in "0123456789":
        # Surest of the first examples.
        rows[digit] = [5.0 / (1 + int(name)) if label[name] == digit else 0.0 for name in names]
    pd.DataFrame(rows).to_parquet(pathlib.Path(os.environ["PROXYFLOW_OUTPUT"]) / "predictions.parquet")
"""


def test_scores_by_the_predictions_that_a_program_writes(entry: Entry, study: Study, tmp_path: Path, name: str) -> None:
    (tmp_path / "fit.py").write_text(WITH_PREDICTIONS)
    program = f"{sys.executable} {tmp_path / 'fit.py'} {{mode}}"
    common = ("--trainer", "program", "--program", program, "--dataset", "digits@100", "--study", name)
    done = entry("score", *common, "--config", '{"mode": "write"}')
    assert done.status == 0, done.err
    assert "in-sample" in done.err
    done = entry("sweep", "--study", str(study(program=program, grid=[{"mode": "no"}], strategies="full,easiest:0.2")))
    assert done.status == 0, done.err
    client = MlflowClient()
    easy = next(run for run in trainings(name) if run.data.tags["proxyflow.strategy"] == "easiest:0.2")
    assert easy.data.metrics["selection_train_seconds"] > 0
    folder = client.download_artifacts(easy.data.tags["proxyflow.subset_run"], "subset", str(tmp_path))
    chosen = pd.concat(map(pd.read_parquet, sorted(Path(folder).glob("train-*.parquet"))))
    assert sorted(chosen["example_id"]) == list(range(20))
    done = entry("score", *common, "--config", '{"mode": "nothing"}')
    assert done.status == 1
    assert "predictions.parquet" in done.err
    done = entry("score", *common, "--config", '{"mode": "write"}', "--repeats", "2")
    assert done.status == 2
    assert "repeats" in done.err


@pytest.mark.slow
def test_an_mlflow_project_logs_to_the_run_of_its_training(
    entry: Entry, study: Study, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "MLproject").write_text(
        "name: fit\nentry_points:\n  train:\n    parameters:\n      rate: {type: float}\n"
        "    command: python fit.py {rate}\n"
    )
    (project / "fit.py").write_text(
        "import sys, mlflow\nwith mlflow.start_run():\n"
        "    for epoch in (1, 2):\n        mlflow.log_metric('valid_accuracy', float(sys.argv[1]) / epoch, step=epoch)\n"
    )
    # The interpreter of the project is that of PATH.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    path = study(
        program="mlflow run project -e train --env-manager local -P rate={rate}", grid=[{"rate": 0.5}, {"rate": 0.9}]
    )
    done = entry("sweep", "--study", str(path))
    assert done.status == 0, done.err
    client = MlflowClient()
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert all("proxyflow.kind" in run.data.tags for run in runs), "the project made a run of its own"
    for run in trainings(name):
        rate = json.loads(run.data.tags["proxyflow.config_json"])["rate"]
        assert run.data.metrics["objective"] == pytest.approx(rate)
        assert run.data.metrics["setup_seconds"] > 0.5, "the start of mlflow is no training"
        assert run.data.tags["proxyflow.status"] == "finished"
    (project / "fit.py").write_text((project / "fit.py").read_text() + "# edited\n")
    assert "(2 now)" in entry("sweep", "--study", str(path)).out
