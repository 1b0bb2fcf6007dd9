"""Options of trainers and hyperparameters: none is taken without effect, and none changes what a grid compares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from proxyflow.cli.training import take_configuration, with_common
from proxyflow.core.errors import InvalidValue, TrainingFailed
from proxyflow.spaces.grids import grid_of
from proxyflow.spaces.metric import ACCURACY, Metric
from proxyflow.studies.trainings import _check_reported
from proxyflow.trainers import EpochRecord, ImageTrainer, Job, Trained, Trainer, TrainingResult
from proxyflow.trainers.images.space import IMAGE_SPACE
from proxyflow.trainers.protocol import _problem_of

GRID = grid_of([{}, {"learning_rate": 0.1}, {"batch_size": 16}], "grid", IMAGE_SPACE)


@dataclass(frozen=True)
class Anything(Trainer):
    name: ClassVar[str] = "anything"
    metric: ClassVar[Metric] = Metric("valid_loss", "minimize", "last")

    def train(self, job: Job) -> Trained:
        raise NotImplementedError


@dataclass(frozen=True)
class Untrained(Trainer):
    name: ClassVar[str] = "untrained"
    metric: ClassVar[Metric] = ACCURACY


def test_an_option_for_a_whole_grid_is_in_every_configuration() -> None:
    assert [each["batch_size"] for each in with_common(GRID[:2], {"batch_size": 32})] == [32, 32]
    assert [each["batch_size"] for each in with_common(GRID[2:], {"batch_size": 32})] == [32]
    assert with_common(GRID, {}) == GRID


def test_an_option_for_a_whole_grid_does_not_replace_what_the_grid_compares() -> None:
    with pytest.raises(InvalidValue) as caught:
        with_common(GRID, {"batch_size": 32})
    assert (caught.value.name, caught.value.value) == ("batch_size", 32)
    assert len(set(with_common(GRID, {"weight_decay": 0.1}))) == len(GRID)


@pytest.mark.parametrize("text", ['{"x": 1e-3}', "config.json", "config.yaml"])
def test_a_configuration_is_json_or_a_file(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.json").write_text('{\n\t"x": 1e-3\n}', encoding="utf-8")
    Path("config.yaml").write_text("x: 1e-3\n", encoding="utf-8")
    found = take_configuration({"config": text}, Anything())
    assert (dict(found), found.name) == ({"x": 0.001}, "x=0.001")


@pytest.mark.parametrize("text", ["missing.json", "missing.yaml", "{", "[1]", "x=1", '{"x": [1]}'])
def test_what_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        take_configuration({"config": text}, Anything())
    assert caught.value.name.startswith("config")


@pytest.mark.parametrize(
    "path", ["", "/", "x.yaml", "/x/", "//x.yaml", "/x/../y.yaml", "//db@host/x/y.yaml", "/ x/y.yaml"]
)
def test_a_malformed_address_is_refused_without_a_server(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyflow.tracking.artifacts.uri.connect", lambda: pytest.fail("a server was asked"))
    with pytest.raises(InvalidValue) as caught:
        take_configuration({"config": f"runs:{path}"}, Anything())
    assert (caught.value.name, caught.value.value) == ("config", f"runs:{path}")


def result(metric: Metric, values: Any, **changes: Any) -> TrainingResult:
    records = tuple(EpochRecord(number, each) for number, each in enumerate(values, start=1))
    return TrainingResult(metric, records, **{"diverged": False, "train_seconds": 1.0, **changes})


@pytest.mark.parametrize(
    "wrong",
    [
        result(Anything.metric, []),
        result(Anything.metric, [{"loss": 0.1}]),
        result(Anything.metric, [{"valid_loss": 0.1}, {"loss": 0.1}]),  # its last epoch counts
        result(ACCURACY, [{"valid_accuracy": 0.5}]),
    ],
)
def test_a_result_without_the_trainers_metric_is_a_failure(wrong: TrainingResult) -> None:
    with pytest.raises(TrainingFailed):
        _check_reported(wrong, Anything())


def test_a_result_may_be_a_divergence() -> None:
    _check_reported(result(Anything.metric, [], diverged=True), Anything())
    _check_reported(result(Anything.metric, [{"valid_loss": 0.5}]), Anything())


def test_a_trainer_that_does_not_train_is_no_trainer() -> None:
    assert _problem_of("anything", Anything) == _problem_of("images", ImageTrainer) == ""
    assert "train" in _problem_of("untrained", Untrained)
