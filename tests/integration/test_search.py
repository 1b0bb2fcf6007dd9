"""A search on a function that trains nothing: it finds the best, within its budget, and goes on where it ended."""

from __future__ import annotations

import html
import json
import re
import shlex
import time
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from entry_points import Ended, Entry, spawn
from mlflow.tracking import MlflowClient

import proxyflow as pf
from benchmarks.server import RequestsSent
from proxyflow.core.errors import InvalidValue, TrackingUnavailable, TrainingFailed, UserError
from proxyflow.studies import search as search_runs
from proxyflow.studies import search_trials
from proxyflow.tracking import connection, names
from proxyflow.tracking.connection import connect
from proxyflow.tracking.queries import pages
from proxyflow.tracking.runs.writer import RunWriter

SUPPORT = Path(__file__).parents[1] / "support"
SPACE = "width: {low: 0.05, high: 0.95}\n"


@pytest.fixture(autouse=True)
def support(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SUPPORT))


def search(entry: Entry, folder: Path, *more: str, trainer: str = "classify", space: str = SPACE) -> Ended:
    (folder / "space.yaml").write_text(space)
    metric = "valid_loss" if trainer == "fit" else "valid_accuracy"
    fixed = ("--trainer", f"python:user_functions:{trainer}", "--metric", metric, "--dataset", "digits@100")
    sizes = ("--space", str(folder / "space.yaml"), "--candidates", "40", "--epochs", "4", "--tolerance", "none")
    return entry("search", *fixed, *sizes, "--study", folder.name, *more)


def runs_of(study: str, kind: str) -> list[Any]:
    client = MlflowClient()
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], f"tags.`{names.KIND}` = '{kind}'"))


def files_of(study: str, tmp_path: Path) -> Path:
    [run] = runs_of(study, "search")[:1]
    return Path(MlflowClient().download_artifacts(run.info.run_id, "search", str(tmp_path)))


def test_a_search_finds_the_best_within_its_budget_and_says_what_it_knows(entry: Entry, tmp_path: Path) -> None:
    done = search(entry, tmp_path, "--budget", "4")
    assert done.status == 0, done.err
    folder = files_of(tmp_path.name, tmp_path)
    best = yaml.safe_load((folder / "best.yaml").read_text())
    assert best["width"] == pytest.approx(0.3, abs=0.06)
    trials = pd.read_csv(folder / "trials.csv")
    assert trials["cost"].sum() <= 4
    assert trials["spent"].iloc[-1] == pytest.approx(trials["cost"].sum())
    assert set(trials["rung"]) <= {"random:0.4+epochs:1", "epochs:1", "full"}
    assert "full" in set(trials["rung"])
    assert not trials.duplicated(["rung", "config", "seed"]).any()
    decisions = [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]
    assert [each["number"] for each in decisions] == list(range(1, len(trials) + 2))
    assert all(each["reason"] for each in decisions)
    assert decisions[-1]["end"]
    trained = runs_of(tmp_path.name, "training")
    assert sorted(run.info.run_id for run in trained) == sorted(trials["run_id"])
    [parent] = runs_of(tmp_path.name, "search")
    assert {run.data.tags["mlflow.parentRunId"] for run in trained} == {parent.info.run_id}
    client = MlflowClient()
    views = client.get_experiment(parent.info.experiment_id).tags
    [view] = [key for key in views if key.startswith("mlflow.sharedViewState.proxyflow-search-")]
    state = json.loads(json.loads(views[view])["state"])
    shown = client.search_runs([parent.info.experiment_id], state["searchFilter"])
    assert {run.info.run_id for run in shown} == {run.info.run_id for run in trained}
    assert f"viewStateShareKey={view.rpartition('.')[2]}&" in parent.data.tags["mlflow.note.content"]
    assert parent.data.metrics["best_value"] == pytest.approx(0.85, abs=0.03)
    page = (folder / "index.html").read_text()
    assert str(best["width"]) in page
    figures = set(re.findall('data-figure="([^"]+)"', page))
    assert {"progress", "trials", "importance"} <= figures
    assert "parallel" not in figures, "one hyperparameter has no parallel coordinates"
    [command] = re.findall("train it: (.*)", done.out)
    assert command in html.unescape(page)
    [file] = re.findall(f"page: artifact search/index.html of run {parent.info.run_id}, the file (.*)", done.out)
    assert Path(file).read_text() == page
    assert (trials["train_seconds"] > 0).all()
    assert "http://" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    # The command that it prints trains the best configuration.
    command = next(line for line in done.out.splitlines() if line.startswith("train it: "))
    assert json.dumps(best["width"]) in command
    assert command.removeprefix("train it: ") in unescape(page)


def test_a_long_configuration_is_trained_from_the_searchs_artifact(entry: Entry, tmp_path: Path) -> None:
    space = SPACE + "".join(f"another_hyperparameter_{number}: [a value that is long, b]\n" for number in range(4))
    done = search(entry, tmp_path, "--budget", "1", space=space)
    assert done.status == 0, done.err
    [parent] = runs_of(tmp_path.name, "search")
    uri = f"runs:/{parent.info.run_id}/search/best.yaml"
    best = yaml.safe_load((files_of(tmp_path.name, tmp_path) / "best.yaml").read_text())
    words = shlex.split(next(line for line in done.out.splitlines() if line.startswith("train it: ")))[3:]
    assert words[words.index("--config") + 1] == uri
    assert uri in (tmp_path / "search" / "index.html").read_text()
    before = {run.info.run_id for run in runs_of(tmp_path.name, "training")}
    assert entry(*words).status == 0
    [trained] = [run for run in runs_of(tmp_path.name, "training") if run.info.run_id not in before]
    assert json.loads(trained.data.tags[names.CONFIG_JSON]) == best


@pytest.mark.parametrize(
    "uri", [f"runs:/{'0' * 32}/search/best.yaml", "runs:/{run}/search/other.yaml", "runs:/{run}/search/trials.csv"]
)
def test_an_artifact_that_is_not_there_is_refused_before_any_training(entry: Entry, tmp_path: Path, uri: str) -> None:
    (tmp_path / "best.yaml").write_text("width: 0.3")
    with RunWriter(connect(), tmp_path.name).open("search", "a search", "") as run:
        run.log_folder(tmp_path, names.SEARCH)
    fixed = ("--trainer", "python:user_functions:classify", "--metric", "valid_accuracy", "--study", tmp_path.name)
    done = entry("train", *fixed, "--config", uri.format(run=run.id))
    assert done.status == 2
    assert uri.partition("/search/")[2] in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not runs_of(tmp_path.name, "training")


def test_an_artifact_of_a_server_that_does_not_respond_is_a_clear_error(
    store: str, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_SECONDS", 1)
    try:
        mlflow.set_tracking_uri("http://127.0.0.1:9")
        done = entry("train", "--config", f"runs:/{'0' * 32}/search/best.yaml", "--study", tmp_path.name)
    finally:
        mlflow.set_tracking_uri(store)
    assert done.status == TrackingUnavailable.exit_status
    assert "127.0.0.1:9" in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_the_same_command_goes_on_and_makes_the_decisions_of_a_search_that_was_not_interrupted(
    entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    assert search(entry, whole, "--budget", "3", "--memory", "none").status == 0
    for trainings in (1, 4, 2):
        monkeypatch.setenv("INTERRUPT_AFTER", str(trainings))
        assert search(entry, parts, "--budget", "3", "--memory", "none").status == 130
    monkeypatch.delenv("INTERRUPT_AFTER")
    assert search(entry, parts, "--budget", "3", "--memory", "none").status == 0
    columns = ["rung", "config", "seed", "value", "cost"]
    tables = []
    for folder in (whole, parts):
        (folder / "files").mkdir()
        tables.append(pd.read_csv(files_of(folder.name, folder / "files") / "trials.csv")[columns])
    pd.testing.assert_frame_equal(*tables)


def test_trainings_of_a_sweep_are_evidence_that_costs_nothing(entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text("[{width: 0.25}, {width: 0.35}, {width: 0.6}]")
    fixed = ("--trainer", "python:user_functions:classify", "--metric", "valid_accuracy", "--epochs", "4")
    grid = ("--grid", str(tmp_path / "grid.yaml"), "--datasets", "digits@100", "--strategies", "full")
    assert entry("sweep", *fixed, *grid, "--study", tmp_path.name).status == 0
    done = search(entry, tmp_path, "--budget", "1", space="[{width: 0.25}, {width: 0.35}, {width: 0.6}, {width: 0.31}]")
    assert done.status == 0, done.err
    trials = pd.read_csv(files_of(tmp_path.name, tmp_path) / "trials.csv")
    assert trials.loc[trials["cost"] == 0, "rung"].tolist() == ["full"] * 3
    assert trials["cost"].sum() <= 1


def test_less_is_better_for_losses(entry: Entry, tmp_path: Path) -> None:
    done = search(entry, tmp_path, "--budget", "3", trainer="fit")
    assert done.status == 0, done.err
    best = yaml.safe_load((files_of(tmp_path.name, tmp_path) / "best.yaml").read_text())
    assert best["width"] == pytest.approx(0.3, abs=0.1)


def test_a_search_file(entry: Entry, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "trainer: python:user_functions:classify\nmetric: valid_accuracy\ndataset: digits@100\nepochs: 4\n"
        "space:\n  width: {low: 0.05, high: 0.95}\nbudget: 2\ncandidates: 20\nladder: [epochs:1, full]\n"
    )
    done = entry("search", "--study", str(path))
    assert done.status == 0, done.err
    trials = pd.read_csv(files_of("mine", tmp_path) / "trials.csv")
    assert set(trials["rung"]) <= {"epochs:1", "full"}


def test_a_budget_of_hours_is_told_where_hours_go(entry: Entry, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("dataset: digits\nbudget: {max_hours: 3}\n")
    done = entry("search", "--study", str(path))
    assert done.status == 2
    assert "line 2" in done.err
    assert "full trainings" in done.err


def test_a_dry_run_trains_nothing(entry: Entry, tmp_path: Path) -> None:
    done = search(entry, tmp_path, "--dry-run", "true")
    assert done.status == 0, done.err
    assert "40 candidates" in done.out
    assert "time: unknown before the first training" in done.out
    assert MlflowClient().get_experiment_by_name(tmp_path.name) is None or not runs_of(tmp_path.name, "training")


def test_a_dry_run_tells_how_long_full_trainings_take(entry: Entry, tmp_path: Path) -> None:
    assert search(entry, tmp_path, "--budget", "2").status == 0
    done = search(entry, tmp_path, "--dry-run")
    assert done.status == 0, done.err
    assert re.search(r"a full training takes about [\d.]+ (s|min|h), so the budget takes", done.out)


def test_two_processes_share_a_search(store: str, tmp_path: Path, entry: Entry) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "user_functions.py").write_text((SUPPORT / "user_functions.py").read_text())
    fixed = ("--trainer", "python:user_functions:classify", "--metric", "valid_accuracy", "--dataset", "digits@100")
    sizes = ("--space", "space.yaml", "--candidates", "40", "--epochs", "4", "--tolerance", "none", "--budget", "3")
    both = [spawn(store, tmp_path, "search", *fixed, *sizes, "--study", "shared") for _ in range(2)]
    ended = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    trained = runs_of("shared", "training")
    keys = [run.data.tags[names.RUN_KEY] for run in trained if run.data.tags[names.STATUS] == "finished"]
    assert len(keys) == len(set(keys))


def test_a_metric_that_is_never_reported_ends_the_search(entry: Entry, tmp_path: Path) -> None:
    done = search(entry, tmp_path, trainer="other_metric")
    assert done.status == 1
    assert "valid_accuracy" in done.err
    [run] = runs_of(tmp_path.name, "search")
    assert run.data.tags[names.STATUS] == "failed"
    # Every other training would fail in the same way.
    assert len(runs_of(tmp_path.name, "training")) == 1


def test_a_search_in_python(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[float] = []

    def train(job: Any) -> None:
        seen.append(job.config["lr"])
        for epoch in range(1, job.epochs + 1):
            off = np.log10(job.config["lr"]) + 2
            job.report(
                epoch=epoch, valid_accuracy=0.9 - 0.05 * off**2 - 0.1 / epoch - 0.1 * (job.config["width"] == 16)
            )

    def run(budget: float) -> Any:
        space = {"lr": pf.log(1e-4, 1), "width": [16, 32, 64]}
        labels = ["cat", "dog"] * 300
        return pf.search(train, space=space, labels=labels, budget=budget, epochs=4, candidates=50, name=tmp_path.name)

    best = run(4)
    assert best.configuration["width"] != 16
    assert 0.003 < best.configuration["lr"] < 0.03
    assert best.low < best.value < best.high
    assert best.spent <= 4
    assert len(best.trials) == len(seen)
    assert best.within_tolerance is not None
    assert str(best).startswith("best configuration: ")
    assert repr(best) == str(best), "a notebook shows it as it is printed"
    chosen = best.trials[best.trials["rung"] == "full"].iloc[0]
    assert chosen["config"] == f"lr={chosen['config.lr']:g},width={chosen['config.width']}"
    again = run(4)
    assert again.configuration == best.configuration
    assert len(again.trials) == len(best.trials) == len(seen), "finished trainings are found again"
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("labels", {"dataset": "digits"}),
        ("space", {"space": {"lr": [0.1]}}),
        ("budget", {"budget": 0.2}),
        ("ladder", {"ladder": "epochs:1"}),
        ("epochs", {"epochs": 0}),
        ("tolerance", {"tolerance": -1}),
        ("lr.high", {"space": {"lr": pf.log(1, 0.1)}}),
    ]
    for name, arguments in wrong:
        with pytest.raises(InvalidValue) as caught:
            pf.search(train, **{"labels": ["cat", "dog"] * 300, "space": {"lr": pf.log(1e-4, 1)}, **arguments})
        assert caught.value.name.removeprefix("space: ") == name


def test_an_earlier_study_is_a_memory_with_a_weight(entry: Entry, tmp_path: Path) -> None:
    grid = [{"width": round(0.05 + 0.1 * n, 2)} for n in range(9)]
    (tmp_path / "grid.yaml").write_text(json.dumps(grid))
    fixed = ("--trainer", "python:user_functions:classify", "--metric", "valid_accuracy", "--epochs", "4")
    of_grid = ("--grid", str(tmp_path / "grid.yaml"), "--datasets", "digits@200", "--strategies", "full")
    earlier = f"{tmp_path.name} earlier"
    assert entry("sweep", *fixed, *of_grid, "--study", earlier).status == 0
    done = search(entry, tmp_path, "--budget", "1.5", "--memory", earlier)
    assert done.status == 0, done.err
    assert f"memory: {earlier} · digits@200, 9 configurations" in done.err
    assert f"memory {earlier} · digits@200: believed to explain" in done.out
    trials = pd.read_csv(files_of(tmp_path.name, tmp_path) / "trials.csv")
    first = float(trials["config"].iloc[0].removeprefix("width="))
    assert first == pytest.approx(0.3, abs=0.1), "it begins where the memory is best"
    for wrong in ("no such study", tmp_path.name):
        again = search(entry, tmp_path, "--memory", wrong)
        assert again.status == 2
        assert f"memory={wrong}" in again.err
    assert search(entry, tmp_path, "--memory", "none", "--budget", "1.5").status == 0


def test_few_candidates_end_when_all_of_their_seeds_are_trained(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def train(job: Any) -> float:
        return float(0.9 - (job.config["width"] - 0.3) ** 2)

    fixed: dict[str, Any] = {"labels": ["cat", "dog"] * 100, "memory": "none", "tolerance": None}
    for confirm in (1, 3):
        space = {"width": np.linspace(0.1, 0.5, 3)}
        found = pf.search(train, space=space, budget=30, confirm=confirm, name=f"{tmp_path.name} {confirm}", **fixed)
        assert "all of its seeds" in found.ended
        assert found.configuration == {"width": pytest.approx(0.3)}
        assert (found.trials["rung"] == "full").sum() == 3 * confirm
        lines = [line.partition(": ")[0] for line in capsys.readouterr().err.splitlines() if " spent · " in line]
        assert lines
        trained = [line.partition(" spent · ")[2] for line in lines]
        assert len(trained) == len(set(trained)), "lines of a configuration's seeds differ"


def test_failures_end_a_search_and_what_was_found_stays(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    calls: list[float] = []

    def train(job: Any) -> float:
        calls.append(job.config["width"])
        if len(calls) > 5:
            raise ValueError("the disk is full")
        return 0.5

    fixed: dict[str, Any] = {"labels": ["cat", "dog"] * 100, "memory": "none", "name": tmp_path.name}
    with pytest.raises(TrainingFailed):
        pf.search(train, space={"width": {"low": 0.1, "high": 0.9}}, budget=8, **fixed)
    assert len(calls) == 8, "three in a row"
    assert len(runs_of(tmp_path.name, "training")) == 8

    def broken(job: Any) -> float:
        raise ValueError("no such width")

    with pytest.raises(TrainingFailed):
        pf.search(broken, space={"width": [0.1, 0.3]}, **{**fixed, "name": f"{tmp_path.name} broken"})


@pytest.mark.parametrize("space", [None, [0.1, 0.2], ["abc"], 3, {"width": []}, []])
def test_what_is_no_space_is_refused(store: str, space: Any) -> None:
    with pytest.raises(UserError):
        pf.search(lambda job: 0.5, space=space, labels=["cat", "dog"] * 100)


def test_calls_of_the_server_do_not_grow_with_the_trials(
    server: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search_runs, "PUBLISH_SECONDS", 0.0)  # the page is written after each training
    monkeypatch.setattr(search_runs, "PUBLISH_SHARE", float("inf"))
    monkeypatch.setattr(search_trials, "OVERLAP", 0)  # or all of these quick trainings would be within it
    for size in ("FIRST_PAGE_SIZE", "PAGE_SIZE"):
        monkeypatch.setattr(pages, size, 2)  # as if there were a hundred times as many
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    mlflow.set_tracking_uri(server)
    before: list[int] = []

    def train(job: Any) -> float:
        before.append(len(sent.paths))
        return float(0.9 - (job.config["width"] - 0.3) ** 2)

    try:
        with RequestsSent() as sent:
            space = {"width": {"low": 0.05, "high": 0.95}}
            fixed: dict[str, Any] = {"labels": ["cat", "dog"] * 100, "ladder": "full", "memory": "none", "confirm": 1}
            pf.search(train, space=space, budget=12, tolerance=None, name=tmp_path.name, **fixed)
    finally:
        mlflow.set_tracking_uri(store)
    trials = [sent.paths[begin:end] for begin, end in pairwise(before)]
    assert len(trials) == 11
    assert max(map(len, trials)) <= 15
    searches = [sum(path.endswith("/runs/search") for path in paths) for paths in trials]
    assert set(searches) == {3}, "what has ended, what is running, and the claim"


def test_a_training_that_arrives_long_after_it_ended_is_found(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where its process died before it was delivered, and another machine's search goes on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search_runs, "POLL_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(search_runs, "MOST_TAKEN", 3)
    client = MlflowClient()
    trained: list[float] = []
    late: list[str] = []

    def train(job: Any) -> float:
        trained.append(job.config["width"])
        if late:
            client.set_tag(late.pop(), names.STATUS, "finished")
        return float(0.9 - (job.config["width"] - 0.3) ** 2)

    fixed: dict[str, Any] = {"labels": ["cat", "dog"] * 100, "ladder": "full", "memory": "none", "name": tmp_path.name}
    space = {"width": [0.1, 0.2, 0.3, 0.4]}
    assert len(pf.search(train, space=space, budget=4, confirm=1, tolerance=None, **fixed).trials) == 4
    first, second = trained[:2]
    for run in runs_of(tmp_path.name, "training"):
        width = json.loads(run.data.tags[names.CONFIG_JSON])["width"]
        if width == first:
            client.delete_run(run.info.run_id)
        elif width == second:
            client.set_terminated(run.info.run_id, "FINISHED", end_time=int(1000 * (time.time() - 3600)))
            client.set_tag(run.info.run_id, names.STATUS, "running")
            late.append(run.info.run_id)
    trained.clear()
    found = pf.search(train, space=space, budget=4, confirm=1, tolerance=None, **fixed)
    assert trained == [first], "what was delivered meanwhile is not trained again"
    assert len(found.trials) == 4
