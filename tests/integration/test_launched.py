"""What a command makes of a run that it is given: params show what was used, and parameters are MLproject's.

MLflow's own code makes the run and the command line, as `mlflow run` does; the command then runs in this process.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from entry_points import ROOT, SECONDS, SMALL, Ended, Entry, spawn
from mlflow.entities import Run
from mlflow.projects.utils import _create_run, get_entry_point_command, load_project
from mlflow.tracking import MlflowClient

from proxyflow.cli.app import load_command
from proxyflow.core.errors import InvalidValue
from proxyflow.tracking import names

ENTRY_POINTS = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
TINY = {"arch": "xresnet10-w16", "image_size": "8", "batch_size": "128", "epochs": "1"}
WORDS = ("auto", "none", "latest")  # that stand for having no value
Launch = Callable[..., tuple[Ended, Run]]


@pytest.fixture
def launch(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """`mlflow run . -e NAME -P key=value …`: how it ended, and the run that MLflow made for it."""

    def call(name: str, **values: str) -> tuple[Ended, Run]:
        made = _create_run(str(ROOT), "0", str(ROOT), None, name, values)
        (line,) = get_entry_point_command(load_project(str(ROOT)), name, values, None)
        with monkeypatch.context() as patch:
            patch.setenv("MLFLOW_RUN_ID", made.info.run_id)
            ended = entry(name, *shlex.split(line.removeprefix(f"python -m entrypoints.{name} ")))
        return ended, MlflowClient().get_run(made.info.run_id)

    return call


def work_of(run: Run) -> Run:
    """The run that holds the work: this one, or the one that it points to."""
    return MlflowClient().get_run(run.data.tags.get(names.LAUNCHED, run.info.run_id))


def params(run: Run) -> dict[str, str]:
    return {key: "".join(shlex.split(value)) for key, value in run.data.params.items()}


def test_a_run_that_is_named_for_several_commands_takes_the_first_one(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient()
    experiment = client.create_experiment("exported")
    run_id = client.create_run(experiment).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    small = (*SMALL, "--epochs", "1")
    assert entry("train", *small, "--learning-rate", "0.01").status == 0
    first = client.get_run(run_id)
    for more in (("--learning-rate", "0.1"), ("--strategy", "random:0.5")):
        ended = entry("train", *small, *more)
        assert ended.status == 0, ended.err
        assert f"MLFLOW_RUN_ID={run_id}" in ended.err
    with spawn(os.environ["MLFLOW_TRACKING_URI"], Path.cwd(), "train", "--arch", "resnet") as refused:
        assert refused.wait(SECONDS) == 2
    assert client.get_run(run_id).to_dictionary() == first.to_dictionary()
    trainings = client.search_runs([experiment], "tags.`proxyflow.kind` = 'training'")
    assert len(trainings) == 3
    for run in trainings:
        rate = f"lr={float(run.data.params['learning_rate']):g}" if run.data.params["learning_rate"] != "0.003" else ""
        assert run.data.tags[names.CONFIG] == ",".join(filter(None, ("arch=xresnet10-w16", rate, "bs=128")))
        assert run.data.tags[names.STRATEGY] == run.data.params["strategy"]
    report = entry("report", "--bootstrap", "0")
    assert report.status == 0, report.err
    assert client.get_run(run_id).to_dictionary() == first.to_dictionary()


@pytest.mark.parametrize("name", ENTRY_POINTS)
@pytest.mark.parametrize("run_id", ["0123456789abcdef0123456789abcdef", "no run"])
def test_a_run_that_does_not_exist_is_refused(
    entry: Entry, monkeypatch: pytest.MonkeyPatch, name: str, run_id: str
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    ended = entry(name)
    assert ended.status == 2
    assert ended.err.startswith(f"error: MLFLOW_RUN_ID={run_id} is not accepted: ")
    assert (ended.err.count("\n"), ended.out) == (1, "")


@pytest.mark.parametrize(
    ("name", "typed", "right"),
    [
        ("train", "batch-size", "batch_size"),
        ("train", "batchsize", "batch_size"),
        ("train", "Batch_Size", "batch_size"),
        ("train", "lerning_rate", "learning_rate"),
        ("score", "holdout-folds", "holdout_folds"),
        ("materialize", "data-dir", "data_dir"),
        ("distill", "images-per-class", "images_per_class"),
        ("sweep", "dry-run", "dry_run"),
        ("sweep", "dataset", "datasets"),
        ("report", "cost-basis", "cost_basis"),
        ("main", "skip-bad", "skip_bad"),
    ],
)
def test_a_parameter_that_is_misspelled_is_refused_with_the_right_name(
    launch: Launch, name: str, typed: str, right: str
) -> None:
    ended, run = launch(name, **{typed: "16"})
    assert ended.status == 2
    assert ended.err.count("\n") == 1
    assert f"{typed}=16" in ended.err or f"={typed} " in ended.err
    assert f"-P {right}=16" in ended.err or f"did you mean {right}?" in ended.err
    assert run.data.tags[names.STATUS] == "failed"


def test_every_misspelling_of_every_parameter_is_refused(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """With MLproject's own option before it, as `mlflow run` passes it; without the variable the last one counts."""
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    for name, declared in ENTRY_POINTS.items():
        for parameter, value in declared["parameters"].items():
            option = f"--{parameter.replace('_', '-')}"
            for again in ((option, "1"), (f"--{parameter}", "1"), (f"{option}=1",)):
                ended = entry(name, option, value["default"], *again)
                assert ended.status == 2, (name, again)
                assert f"-P {parameter}=1" in ended.err


def test_a_parameter_may_stand_twice_on_a_command_line(entry: Entry) -> None:
    ended = entry("sweep", "--grid", "none", "--grid", "demo", "--epochs", "2", "--dry-run", "true")
    assert ended.status == 0, ended.err


def test_params_show_what_was_used(launch: Launch, entry: Entry) -> None:
    """Whatever decided it: the subset, the strategy, its images, or the study's file."""
    subset = launch("materialize", dataset="digits@400", strategy="random:0.5")[1].info.run_id
    Path("decided.yaml").write_text(
        "datasets: digits@400\nstrategies: [full]\nimage_size: 8\nbatch_size: 128\nepochs: 1\nseeds: 3\n"
        "grid: [{arch: xresnet10-w16}]\n"
    )
    pointers = []
    for name, values, expected in (
        ("train", {"strategy": "random:.50"}, {"dataset": "digits", "strategy": "random:.50"}),
        ("train", {"subset": subset}, {"dataset": "digits@400", "strategy": "random:0.5"}),
        ("train", {"strategy": "epochs:1", "epochs": "20"}, {"strategy": "epochs:1", "epochs": "1"}),
        ("train", {"strategy": "distilled:1,iterations=1"}, {"batch_size": "10"}),
    ):
        ended, run = launch(name, **{**TINY, **values})
        assert ended.status == 0, ended.err
        work = work_of(run)
        assert params(work) | expected == params(work)
        assert work.data.tags[names.DATASET] == params(work)["dataset"]
        assert work.data.tags[names.EPOCHS] == params(work)["epochs"]
        assert "best_valid_accuracy" in work.data.metrics
        pointers.append(work.info.run_id != run.info.run_id)
    ended, run = launch("sweep", study="decided.yaml")
    assert ended.status == 0, ended.err
    work = work_of(run)
    assert work.info.run_id != run.info.run_id
    used = {"datasets": "digits@400", "epochs": "1", "image_size": "8", "batch_size": "128", "seeds": "3"}
    assert params(work) | used == params(work)
    assert pointers == [False, True, True, True], "a new run only where it is needed"


def test_params_of_another_project_that_calls_a_command_are_not_taken_for_its_own(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient()
    for logged, adopted in (("1e-2", True), ("0.5", False), ("none", False)):
        run_id = client.create_run("0", tags={"mlflow.project.entryPoint": "theirs"}).info.run_id
        client.log_param(run_id, "learning_rate", logged)
        client.log_param(run_id, "their_own", "1")
        monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
        ended = entry("train", *SMALL, "--epochs", "1", "--learning-rate", "0.01")
        assert ended.status == 0, ended.err
        run = client.get_run(run_id)
        assert (work_of(run).info.run_id == run_id) is adopted
        assert float(work_of(run).data.params["learning_rate"]) == 0.01


def test_a_parameter_without_a_value_stands_for_its_word_or_is_refused(launch: Launch) -> None:
    declared = {key: value["default"] for key, value in ENTRY_POINTS["train"]["parameters"].items()}
    empty = {key: "" for key, default in declared.items() if default in WORDS and key != "precision"}
    assert {"subset", "scores", "data_dir", "study", "image_size"} <= set(empty)
    ended, run = launch("train", **{**TINY, **empty, "image_size": "8"})
    assert ended.status == 0, ended.err
    assert run.data.tags[names.STATUS] == "finished"
    for key in set(declared) - set(empty):
        ended, run = launch("train", **{key: ""})
        assert ended.status == 2, (key, ended.err)
        assert run.data.tags[names.STATUS] == "failed"


def test_no_value_is_never_anything_but_the_word_of_an_option() -> None:
    for name, declared in ENTRY_POINTS.items():
        command = load_command(name)
        ctx = command.make_context(name, [])
        for param in command.params:
            default = declared["parameters"][param.name]["default"]
            if default in WORDS:
                try:
                    value = param.process_value(ctx, "")
                except InvalidValue:
                    continue
                assert value == param.process_value(ctx, default), (name, param.name)


def test_predictions_are_scored_in_the_run_that_was_made_and_only_once(launch: Launch, tmp_path: Path) -> None:
    path = tmp_path / "my predictions.npy"
    np.save(path, np.random.default_rng(0).normal(size=(1297, 10)))
    ended, run = launch("score", predictions=str(path), held_out="true")
    assert ended.status == 0, ended.err
    assert (run.data.tags[names.KIND], run.data.tags[names.STATUS]) == ("score", "finished")
    assert params(run)["predictions"] == str(path)
    assert run.data.params["prediction_kind_used"] == "logits"
    again, empty = launch("score", predictions=str(path), held_out="true")
    assert again.status == 0, again.err
    assert run.info.run_id in again.out
    assert (empty.info.status, empty.data.tags[names.KIND]) == ("FINISHED", "study")
    assert names.SCORE_NAMES not in empty.data.tags
