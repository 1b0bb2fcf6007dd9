"""A study file through the real entry point: planned, run, resumed, and refused where it is wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from entry_points import Entry
from mlflow.entities import Run
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.tracking import MlflowClient
from picture_files import make_folder

TINY = """\
datasets: [digits@400]
strategies: [full, "random:0.5"]
grid:
  base: {arch: xresnet10-w16}
  configurations:
    - {}
    - {learning_rate: 0.01}
epochs: 1
image_size: 8
batch_size: 128
budget: {price_per_hour: 3.6}
"""


def runs(study: str, kind: str) -> list[Run]:
    client = MlflowClient()
    found = client.get_experiment_by_name(study)
    everything = client.search_runs([found.experiment_id]) if found else []
    return [run for run in everything if run.data.tags["proxyflow.kind"] == kind]


def test_a_study_file_is_planned_run_and_resumed(entry: Entry) -> None:
    Path("tiny.yaml").write_text(TINY)
    planned = entry("sweep", "--study", "tiny.yaml", "--dry-run", "true")
    assert planned.status == 0, planned.err
    assert "4 runs, 4 to do" in planned.out
    assert "US dollars" in planned.out
    assert MlflowClient().get_experiment_by_name("tiny") is None, "a dry run makes nothing"

    ended = entry("sweep", "--study", "tiny.yaml")
    assert ended.status == 0, ended.err
    assert "study tiny: 4 trainings planned, 4 finished (4 now)" in ended.out
    trainings = runs("tiny", "training")
    assert Counter(run.data.tags["proxyflow.config"] for run in trainings) == {
        "arch=xresnet10-w16,bs=128": 2,
        "arch=xresnet10-w16,lr=0.01,bs=128": 2,
    }
    study = runs("tiny", "study")[0]
    assert study.data.metrics["runs_finished"] == study.data.metrics["runs_planned"] == 4
    history = MlflowClient().get_metric_history(study.info.run_id, "runs_finished")
    assert [point.value for point in history] == [0, 1, 2, 3, 4]
    assert study.data.metrics["cost_usd"] == pytest.approx(study.data.metrics["hours"] * 3.6)
    assert study.data.metrics["hours_left"] == 0

    again = entry("sweep", "--study", "tiny.yaml", "--dry-run", "true")
    assert "4 runs, 0 to do: about 0 s, 0.00 US dollars" in again.out
    assert "4 finished (0 now)" in entry("sweep", "--study", "tiny.yaml").out


def test_a_study_file_is_found_in_any_case_and_its_paths_from_anywhere(
    entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path / "mine" / "pictures")
    (tmp_path / "mine" / "grid.YAML").write_text("[{arch: xresnet10-w16}]")
    (tmp_path / "mine" / "UP.YML").write_text(
        "datasets: folder:pictures\nstrategies: full\ngrid: grid.YAML\nepochs: 1\nimage_size: 8\n"
    )
    for folder, name in (
        (tmp_path, "mine/UP.YML"),
        (tmp_path / "mine", "UP.YML"),
        (Path("/"), f"{tmp_path}/mine/UP.YML"),
    ):
        monkeypatch.chdir(folder)
        ended = entry("sweep", "--study", name, "--dry-run", "true")
        assert ended.status == 0, ended.err
        assert f"data set folder:{tmp_path}/mine/pictures (" in ended.err
        assert "1 runs, 1 to do" in ended.out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("epochs: 1", "epochs: 0", "wrong.yaml, line 8, epochs: epochs=0 is not accepted: it must be a whole number"),
        ("epochs: 1", "epoch: 1", "wrong.yaml, line 8: key=epoch is not accepted: did you mean epochs?"),
        (
            "[digits@400]",
            "[digit]",
            "wrong.yaml, line 1, datasets: dataset=digit is not accepted: did you mean digits?",
        ),
        ("random:0.5", "random:2", "wrong.yaml, line 2, strategies: "),
        ("rate: 0.01", "rate: x", "wrong.yaml, line 3, grid: grid: configuration 2: learning_rate=x is not accepted"),
        ("per_hour: 3.6", "per_hour: -1", "wrong.yaml, line 11, price_per_hour: price_per_hour=-1 is not accepted"),
        (
            "{price_per_hour: 3.6}",
            "{max_cost_usd: 1}",
            "wrong.yaml, line 11, max_cost_usd: max_cost_usd=1 is not accepted: give price_per_hour",
        ),
        ("epochs: 1", "address: auto", "wrong.yaml, line 8, address: address=auto is not accepted: executor=local"),
        ("epochs: 1", "dry_run: true", "wrong.yaml, line 8: key=dry_run is not accepted: "),
    ],
)
def test_what_is_wrong_in_a_study_file_is_said_with_its_line(entry: Entry, old: str, new: str, said: str) -> None:
    assert TINY.count(old) == 1
    Path("wrong.yaml").write_text(TINY.replace(old, new))
    ended = entry("sweep", "--study", "wrong.yaml")
    assert ended.status == 2
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1, ended.err
    assert said in ended.err


def test_what_is_said_in_two_places_is_refused(entry: Entry) -> None:
    Path("twice.yaml").write_text(TINY)
    ended = entry("sweep", "--study", "twice.yaml", "--epochs", "3")
    assert ended.status == 2
    assert "twice.yaml, line 8, epochs: epochs=3 is not accepted: twice.yaml sets it as well" in ended.err
    ended = entry("sweep", "--study", "none.yaml")
    assert ended.status == 2
    assert "study=none.yaml is not accepted" in ended.err


def test_a_limit_stops_before_the_next_scoring_and_subset_too(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    from proxyflow.studies.scheduler import Limits

    def reached(self: Limits, *ignored: object) -> str:
        return "max_hours=1 is reached" if runs("short", "subset") else ""

    monkeypatch.setattr(Limits, "reached", reached)
    Path("short.yaml").write_text(TINY.replace("digits@400", "digits@500").replace('"random:0.5"', '"easiest:0.5"'))
    ended = entry("sweep", "--study", "short.yaml")
    assert ended.status == 0, ended.err
    assert "stopped: max_hours=1 is reached, 4 trainings are left; run the same command to resume" in ended.err
    assert "4 trainings planned, 0 finished (0 now); max_hours=1 is reached" in ended.out
    assert (len(runs("short", "subset")), runs("short", "score"), runs("short", "training")) == (1, [], [])
    assert runs("short", "study")[0].data.metrics["runs_planned"] == 4


def test_what_a_store_refuses_is_kept_and_delivered_by_the_same_command(
    entry: Entry, monkeypatch: pytest.MonkeyPatch, state_folder: Path
) -> None:
    def refuse(*given: Any) -> None:
        raise ValueError("An error occurred (AccessDenied) when calling\nthe PutObject operation")

    Path("refused.yaml").write_text(TINY.replace("digits@400", "digits@600"))
    with monkeypatch.context() as patch:
        patch.setattr(LocalArtifactRepository, "log_artifact", refuse)
        ended = entry("sweep", "--study", "refused.yaml")
    assert ended.status == 1
    assert "Traceback" not in ended.err
    last = ended.err.strip().splitlines()[-1]
    assert last.startswith("error: the work of run ")
    assert "cannot be uploaded: An error occurred (AccessDenied) when calling the PutObject operation" in last
    assert "kept on this machine" in last
    (kept,) = runs("refused", "subset")
    assert kept.data.tags["proxyflow.status"] == "running"
    assert list(state_folder.rglob(f"{kept.info.run_id}.files/subset/manifest.json"))
    resumed = entry("sweep", "--study", "refused.yaml")
    assert resumed.status == 0, resumed.err
    # The subset was not chosen once more, and nothing of it is left here.
    made = runs("refused", "subset")
    assert kept.info.run_id in [run.info.run_id for run in made]
    assert {run.data.tags["proxyflow.status"] for run in made} == {"finished"}
    assert len({run.data.tags["proxyflow.run_key"] for run in made}) == len(made)
    assert not list(state_folder.rglob(f"{kept.info.run_id}*"))
