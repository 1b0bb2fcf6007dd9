"""What a running program has reported, its environment, and the device that it is given."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from proxyflow.core.errors import TrainingFailed
from proxyflow.data.catalog import DataOptions, load_dataset
from proxyflow.spaces.metric import Metric
from proxyflow.spaces.parameters import Float
from proxyflow.spaces.space import Space
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import Subset, choose_subset
from proxyflow.trainers import EpochRecord, Job, ProgramTrainer, TrainingResult, TrainingSpec
from proxyflow.trainers.program import process, training
from proxyflow.trainers.program.training import _visible_gpu, _Watched, search_path
from proxyflow.trainers.reported import NothingReported

LOSS = Metric("loss", "minimize")
GRID = tuple(Space((Float("lr", 0.001, 0.1),)).sample(3, 0))


@dataclass
class FakeRun:
    """A run that a program has logged to."""

    logged: list[tuple[int, float]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    is_down: bool = False
    id: str = "0123"

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        return {**base, "MLFLOW_RUN_ID": self.id}

    def history(self, metric: str, wait: bool = True) -> Sequence[tuple[int, float]] | None:
        if self.is_down and not wait:
            return None
        return self.logged if metric == LOSS.name else []

    def latest(self) -> Mapping[str, float]:
        return self.metrics

    def log_files(self, folder: Path) -> None:
        self.files |= {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def subset() -> Subset:
    return choose_subset(load_dataset("digits@50", DataOptions(), lambda text: None), parse_strategy("random:0.5"), 0)


@dataclass
class Case:
    """A training whose program is Python code."""

    subset: Subset
    folder: Path
    records: list[EpochRecord] = field(default_factory=list)
    stop_at: int = 10**6
    run: FakeRun | None = None
    workspace: Path | None = None
    values: dict[str, Any] = field(default_factory=lambda: {"lr": 0.1})

    def trainer(self, code: str = "", **changes: Any) -> ProgramTrainer:
        (self.folder / "fit.py").write_text(f"import json, os, sys, time, proxyflow\n{code}")
        options = {"program": f"{sys.executable} fit.py {{lr}}", "reported": LOSS, "folder": self.folder} | changes
        return ProgramTrainer(**options)

    def job(self, trainer: ProgramTrainer, epochs: int = 3) -> Job:
        def on_epoch(record: EpochRecord) -> bool:
            self.records.append(record)
            return record.epoch >= self.stop_at

        spec = TrainingSpec(Space.around([], self.values).configuration(self.values), epochs, 0, trainer)
        device = torch.device("cpu")
        return Job(spec, self.subset, device, on_epoch, run=self.run, workspace=self.workspace)

    def train(self, code: str, epochs: int = 3, **changes: Any) -> TrainingResult:
        trainer = self.trainer(code, **changes)
        return trainer.train(self.job(trainer, epochs)).result

    def watched(self, epochs: int = 3) -> _Watched:
        place = self.folder / "place"
        (place / "output").mkdir(parents=True, exist_ok=True)
        (place / "output.log").touch()
        watched = _Watched(self.trainer(), self.job(self.trainer(), epochs), place, place / "output")
        watched._waits = False
        return watched

    def write(self, *reports: dict[str, Any]) -> None:
        with (self.folder / "place/output/metrics.jsonl").open("a") as file:
            file.writelines(json.dumps(report) + "\n" for report in reports)

    @property
    def reported(self) -> list[tuple[int, float]]:
        return [(record.epoch, record.values["loss"]) for record in self.records]


@pytest.fixture
def case(subset: Subset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(process, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(process, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(training, "REQUEST_SECONDS", 0.0)
    return Case(subset, tmp_path)


def ended(watched: _Watched) -> TrainingResult:
    return watched.result(process.Ended(0, 1.0), 0.5)


# How a growing list of reports becomes epochs.


def test_epochs_are_reported_while_the_program_runs(case: Case) -> None:
    watched = case.watched()
    case.write({"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5})
    watched.on_poll(1.0)
    watched.on_poll(2.0)
    assert case.reported == [(1, 1.0), (2, 0.5)]
    assert [record.epoch for record in ended(watched).records] == [1, 2]
    assert case.reported == [(1, 1.0), (2, 0.5)], "each is reported once"


def test_the_second_line_of_an_epoch_may_come_later(case: Case) -> None:
    watched = case.watched()
    case.write({"epoch": 1, "loss": 1.0})
    watched.on_poll(1.0)
    case.write({"epoch": 1, "accuracy": 0.5})
    watched.on_poll(2.0)
    watched.on_poll(3.0)
    assert case.records == [EpochRecord(1, {"loss": 1.0, "accuracy": 0.5})]


def test_epochs_out_of_order_are_all_kept(case: Case) -> None:
    watched = case.watched()
    case.write({"epoch": 2, "loss": 0.5})
    for seconds in (1.0, 2.0):
        watched.on_poll(seconds)
    case.write({"epoch": 1, "loss": 1.0})
    for seconds in (3.0, 4.0):
        watched.on_poll(seconds)
    assert sorted(case.reported) == [(1, 1.0), (2, 0.5)]
    assert [record.epoch for record in ended(watched).records] == [1, 2]


def test_steps_that_turn_out_to_be_no_epochs_count_as_they_do_at_the_end(case: Case) -> None:
    watched = case.watched(epochs=3)
    for step in (2, 4, 6):
        case.write({"step": step, "loss": 1 / step})
        watched.on_poll(float(step))
        watched.on_poll(step + 1.0)
    result = ended(watched)
    assert [record.epoch for record in result.records] == [1, 2, 3]
    assert result.best_epoch == 3
    assert dict(case.reported)[3] == 1 / 6


def test_a_single_report_is_of_the_last_epoch(case: Case) -> None:
    watched = case.watched()
    case.write({"loss": 1.0})
    for seconds in (1.0, 2.0, 3.0):
        watched.on_poll(seconds)
    assert [record.epoch for record in ended(watched).records] == [3]


def test_nan_is_reported_once(case: Case) -> None:
    case.run = FakeRun(logged=[(1, 0.5), (2, float("nan"))])
    watched = case.watched()
    for seconds in (1.0, 2.0, 3.0):
        case.run.logged = [(1, 0.5), (2, float("nan"))]
        watched.on_poll(seconds)
    result = ended(watched)
    assert [record.epoch for record in case.records] == [1, 2]
    assert result.diverged
    assert result.best == 0.5


def test_a_training_that_is_stopped_ends_with_that_epoch(case: Case) -> None:
    case.stop_at = 2
    watched = case.watched()
    case.write(*({"epoch": epoch, "loss": 1 / epoch} for epoch in (1, 2, 3)))
    assert [watched.on_poll(seconds) for seconds in (1.0, 2.0)] == [False, True]
    assert [record.epoch for record in watched.result(process.Ended(-15, 1.0, "stopped"), 0.0).records] == [1, 2]


def test_a_server_that_is_away_for_a_while_does_no_harm(case: Case) -> None:
    case.run = FakeRun(logged=[(1, 0.5)], is_down=True)
    watched = case.watched()
    assert not watched.on_poll(1.0)
    assert not watched.on_poll(2.0)
    assert not case.records
    assert ended(watched).records == (EpochRecord(1, {"loss": 0.5}, logged=True),)


def test_the_run_counts_before_the_file(case: Case) -> None:
    case.run = FakeRun(logged=[(1, 0.5)])
    watched = case.watched()
    case.write({"epoch": 1, "loss": 9.0})
    watched.on_poll(1.0)
    assert ended(watched).records == (EpochRecord(1, {"loss": 0.5}, logged=True),)


def test_what_was_read_from_the_file_is_not_read_again_from_the_run(case: Case) -> None:
    case.run = FakeRun()
    watched = case.watched()
    case.write({"epoch": 1, "loss": 0.5, "accuracy": 1})
    watched.on_poll(1.0)
    watched.on_poll(2.0)
    case.run.logged = case.reported
    case.write({"epoch": 2, "loss": 0.25})
    assert [record.values for record in ended(watched).records] == [{"loss": 0.5, "accuracy": 1.0}, {"loss": 0.25}]


def test_values_of_the_whole_training(case: Case) -> None:
    case.run = FakeRun(metrics={"steps": 7.0, "train_seconds": math.nan})
    watched = case.watched()
    case.write({"epoch": 1, "loss": 0.5}, {"examples_seen": 100})
    result = ended(watched)
    assert (result.steps, result.examples_seen, result.train_seconds) == (7, 100, 1.0)


# Whole trainings.


def test_a_program_that_destroys_its_own_output(case: Case) -> None:
    case.run = FakeRun()
    with pytest.raises(NothingReported):
        case.train("import shutil; shutil.rmtree(os.environ['PROXYFLOW_OUTPUT'])")
    code = "import shutil\nprint('bye')\nproxyflow.report(loss=1)\n"
    with pytest.raises(TrainingFailed):
        case.train(f"{code}shutil.rmtree(os.path.dirname(os.environ['PROXYFLOW_OUTPUT']))")
    with pytest.raises(NothingReported):
        case.train("os.mkdir(os.environ['PROXYFLOW_OUTPUT'] + '/metrics.jsonl')")


def test_a_broken_line_ends_a_program_that_goes_on(case: Case) -> None:
    code = "open(os.environ['PROXYFLOW_OUTPUT'] + '/metrics.jsonl', 'w').write('loss: 1\\n')\ntime.sleep(600)"
    with pytest.raises(TrainingFailed, match="line 1 "):
        case.train(code)


@pytest.mark.parametrize("value", ["--help", "; rm -rf /", "a\nb", "{lr}", " ", "ü$(id)"])
def test_odd_values_reach_the_program_and_its_configuration(value: str, case: Case) -> None:
    case.values = {"lr": value}
    case.train(
        "config = json.load(open(os.environ['PROXYFLOW_CONFIG']))\n"
        "proxyflow.report(loss=float(sys.argv[1:] == [config['lr']]))\n"
        f"assert sys.argv[1] == {value!r}"
    )
    assert case.reported == [(3, 1.0)]


def test_odd_folders(case: Case, subset: Subset, tmp_path: Path) -> None:
    folder = tmp_path / "ein Ordner mit 'Ümlauten' & {klammern}"
    folder.mkdir()
    odd = Case(subset, folder, workspace=folder / "da ta")
    result = odd.train(
        "for name in ('DATA', 'CONFIG', 'OUTPUT', 'CHECKPOINTS'):\n"
        "    assert os.path.exists(os.environ['PROXYFLOW_' + name]), name\n"
        "assert sys.argv[1] == os.environ['PROXYFLOW_DATA'] + '/train'\n"
        "proxyflow.report(loss=1)",
        program=f"{sys.executable} fit.py {{train}}",
    )
    assert result.best == 1


def test_a_zero_byte_in_a_value_fails_the_training(case: Case) -> None:
    case.values = {"lr": "a\0b"}
    with pytest.raises(TrainingFailed):
        case.train("")


def test_a_workspace_that_cannot_be_written_to_fails_the_training(case: Case) -> None:
    case.workspace = case.folder / "file"
    case.workspace.write_text("")
    with pytest.raises(TrainingFailed, match="file"):
        case.train("proxyflow.report(loss=1)")


def test_output_is_kept_also_of_failed_trainings(case: Case) -> None:
    case.run = FakeRun()
    with pytest.raises(TrainingFailed):
        case.train("print('so far'); sys.exit(1)")
    assert case.run.files == {"output.log": "so far\n"}


def test_files_that_only_others_can_delete_are_no_failure(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.workspace = case.folder / "work"
    case.train("proxyflow.report(loss=1)")

    def denied(*args: Any, **more: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("os.rmdir", denied)
        assert case.train("proxyflow.report(loss=1)").best == 1


def test_trainings_of_a_project_build_its_environment_one_after_the_other(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.workspace = case.folder / "work"
    trainer = case.trainer(program="mlflow run . -P lr={lr}")
    locks = []
    for run in (FakeRun(id="a"), FakeRun(id="b")):
        case.run = run
        watched = _Watched(trainer, case.job(trainer), case.folder, case.folder)
        with watched.building():
            locks.append(sorted(path.name for path in (case.workspace / "projects").iterdir()))
    assert locks[0] == locks[1], "both wait for the same lock"


# The environment.


def test_the_environment_of_a_program(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "of somebody else")
    monkeypatch.setenv("PROXYFLOW_OUTPUT", "/of/an/outer/program")
    case.train("assert 'MLFLOW_RUN_ID' not in os.environ\nproxyflow.report(loss=1)")
    case.run = FakeRun()
    case.train("assert os.environ['MLFLOW_RUN_ID'] == '0123'\nproxyflow.report(loss=1)")
    assert len(case.records) == 2


def test_python_is_found_where_there_is_no_other(tmp_path: Path) -> None:
    path = search_path({"PATH": str(tmp_path)})
    assert path.split(":")[0] == str(tmp_path)
    assert str(Path(sys.executable).parent) in path
    assert search_path({"PATH": ""})


@pytest.mark.parametrize(
    ("index", "visible", "expected"),
    [
        (0, None, "0"),
        (3, None, "3"),
        (1, "4,7", "7"),
        (0, " 4 , 7 ", "4"),
        (1, "GPU-8932f937-d72c,GPU-7aab", "GPU-7aab"),
        (0, "MIG-GPU-1/0/0", "MIG-GPU-1/0/0"),
        (0, "", "0"),
        (0, ",", "0"),
    ],
)
def test_the_gpu_of_a_worker_as_the_machine_names_it(index: int, visible: str | None, expected: str) -> None:
    assert _visible_gpu(index, visible) == expected


@pytest.mark.parametrize(
    ("device", "visible", "expected"),
    [("cuda:1", "5,6", "6"), ("cuda", "5,6", "5"), ("cuda:1", None, "1"), ("cpu", "5,6", "5,6"), ("cpu", None, None)],
)
def test_a_program_sees_the_gpu_of_its_worker(
    device: str, visible: str | None, expected: str | None, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    trainer = case.trainer()
    job = Job(case.job(trainer).spec, case.subset, torch.device(device))
    environment = training._environment(job, case.folder, case.folder)
    assert environment.get("CUDA_VISIBLE_DEVICES") == expected


@pytest.mark.parametrize(
    ("words", "code", "warned"),
    [
        ("--data {data} --lr {lr} --epochs {epochs}", "", ()),
        ("--data {data} --lr {lr}", "", ("{epochs}",)),
        ("--data {data} --lr {lr}", "os.environ['PROXYFLOW_EPOCHS']", ()),
        ("--lr {lr} --epochs {epochs}", "", ("{data}",)),
        ("--data {data} --epochs {epochs}", "", ("{lr}",)),
        ("", "", ("{lr}", "{data}", "{epochs}")),
    ],
)
def test_a_command_that_cannot_follow_a_proxy_is_warned_of(
    tmp_path: Path, words: str, code: str, warned: tuple[str, ...]
) -> None:
    (tmp_path / "train.py").write_text(code)
    program = ProgramTrainer(program=f"{sys.executable} train.py {words}", folder=tmp_path)
    warnings = program.check_request(GRID)
    assert len(warnings) == len(warned)
    assert all(name in line for name, line in zip(warned, warnings, strict=True))
