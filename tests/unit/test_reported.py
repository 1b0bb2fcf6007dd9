"""However a program counts and writes, its reports become epochs, or an error that says what is wrong with them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import proxyflow
from proxyflow.core.errors import TrainingFailed
from proxyflow.spaces.metric import Metric
from proxyflow.trainers.reported import (
    METRICS_FILE,
    MetricLines,
    NothingReported,
    Reported,
    check_found,
    losses_are_finite,
    numbered,
    report_of,
    ways_of_programs,
    whole_training,
)
from proxyflow.trainers.results import EpochRecord

LOSS = Metric("loss", "minimize")


def epochs_of(*steps: float | None, epochs: int = 3) -> list[tuple[int, float]]:
    """Epochs and values of reports, whose values count from 0 in the order of the calls."""
    reports = [Reported(step, {"loss": float(value)}) for value, step in enumerate(steps)]
    return [(record.epoch, record.values["loss"]) for record in numbered(reports, "loss", epochs)]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([1, 2, 3], [(1, 0), (2, 1), (3, 2)]),
        ([0, 1, 2], [(1, 0), (2, 1), (3, 2)]),
        ([100, 200, 300], [(1, 0), (2, 1), (3, 2)]),
        ([None, None, None], [(1, 0), (2, 1), (3, 2)]),
        ([1, 3], [(1, 0), (3, 1)]),
        ([3, 1, 2], [(1, 1), (2, 2), (3, 0)]),
        ([0.5, 1.0, 1.5, 2.0], [(1, 0), (2, 1), (3, 2), (4, 3)]),
        ([1, 1, 2], [(1, 1), (2, 2)]),
        ([1, 2, 1, 2], [(1, 0), (2, 1), (3, 2), (4, 3)]),
        ([1, None, 3], [(1, 0), (2, 1), (3, 2)]),
        ([2], [(2, 0)]),
        ([0], [(3, 0)]),
        ([500], [(3, 0)]),
        ([None], [(3, 0)]),
        ([-1, 0, 1], [(1, 0), (2, 1), (3, 2)]),
        ([1, 2, 4], [(1, 0), (2, 1), (3, 2)]),
        ([], []),
    ],
)
def test_how_programs_count(steps: list[float | None], expected: list[tuple[int, float]]) -> None:
    assert epochs_of(*steps) == expected


def test_lines_of_one_epoch_are_one_record() -> None:
    reports = [Reported(1, {"train": 1.0}), Reported(1, {"loss": 2.0}), Reported(2, {"train": 3.0})]
    assert numbered(reports, "loss", 2) == (EpochRecord(1, {"train": 1.0, "loss": 2.0}),)


@pytest.fixture
def lines(tmp_path: Path) -> MetricLines:
    return MetricLines(tmp_path / METRICS_FILE)


def test_a_growing_file_is_read_line_by_line(lines: MetricLines) -> None:
    assert lines.read() == []
    with lines.path.open("wb", buffering=0) as file:
        file.write(b'{"epoch": 1, "lo')
        assert lines.read() == []
        file.write(b'ss": 0.5}\n\n{"epoch": 2, "loss": 0.4}\r\n')
        assert [each.step for each in lines.read()] == [1, 2]
        file.write(b'{"epoch": 3, "loss": 0.3}')
        assert lines.read() == []
        assert [each.values for each in lines.read(ended=True)] == [{"loss": 0.3}]
    assert [each.step for each in lines.reports] == [1, 2, 3]
    assert lines.read(ended=True) == []


def test_a_file_that_is_written_anew_counts_as_it_is_then(lines: MetricLines) -> None:
    lines.path.write_text('{"epoch": 1, "loss": 0.123456}\n{"epoch": 2, "loss": 0.123456}\n')
    lines.read()
    lines.path.write_text('{"epoch": 1, "loss": 9}\n')
    lines.read()
    assert lines.reports == [Reported(1, {"loss": 9.0})]
    lines.path.unlink()
    assert lines.read() == []


BROKEN: dict[str, bytes] = {
    "half a line": b'{"epoch": 1, "loss": 1}\n{"epoch": 2, "lo',
    "a list": b'{"epoch": 1, "loss": 1}\n[1, 2]\n',
    "a number": b'{"epoch": 1, "loss": 1}\n5\n',
    "text": b'{"epoch": 1, "loss": 1}\nepoch 2: 0.5\n',
    "utf-16": '{"epoch": 1, "loss": 1}\n{"epoch": 2, "loss": 1}\n'.encode("utf-16-le"),
    "bytes": b'{"epoch": 1, "loss": 1}\n\xff\xfe\x00\n',
    "deep": b'{"epoch": 1, "loss": 1}\n' + b"[" * 100_000 + b"\n",
    "too many digits": b'{"epoch": 1, "loss": 1}\n{"loss": ' + b"9" * 5000 + b"}\n",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_line_is_named(case: str, lines: MetricLines) -> None:
    lines.path.write_bytes(BROKEN[case])
    with pytest.raises(TrainingFailed) as caught:
        lines.read(ended=True)
    assert "line 2 " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"epoch": 1, "loss": NaN}', Reported(1, {"loss": math.nan})),
        ('{"epoch": 1, "loss": -Infinity}', Reported(1, {"loss": -math.inf})),
        ('{"epoch": 1, "loss": 1e999}', Reported(1, {"loss": math.inf})),
        ('{"epoch": 1, "loss": -1' + "0" * 400 + "}", Reported(1, {"loss": -math.inf})),
        ('{"epoch": 1' + "0" * 400 + ', "loss": 1}', Reported(None, {"loss": 1})),
        ('{"epoch": NaN, "step": 7, "loss": 1}', Reported(7, {"loss": 1})),
        ('{"epoch": 1.5, "step": 7, "loss": 1}', Reported(1.5, {"loss": 1})),
        ('{"epoch": true, "loss": null, "lr": [1], "note": "0.5", "best": false}', Reported(None, {})),
        ('\ufeff{"step": 2, "loss": 1}', Reported(2, {"loss": 1})),
    ],
)
def test_values_of_a_line(content: str, expected: Reported, lines: MetricLines) -> None:
    lines.path.write_text(content, encoding="utf-8")
    (found,) = lines.read(ended=True)
    assert repr(found) == repr(
        Reported(expected.step and float(expected.step), {k: float(v) for k, v in expected.values.items()})
    )


def test_a_folder_or_a_device_in_place_of_the_file_reports_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "zeros").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "zeros", "pipe"):
        assert MetricLines(tmp_path / name).read(ended=True) == []


def test_a_file_that_cannot_be_read_fails_the_training(lines: MetricLines, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: Any, **more: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(lines.path))

    lines.path.write_text("{}")
    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(TrainingFailed):
        lines.read()


def test_a_file_without_end_fails_the_training(lines: MetricLines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyflow.trainers.reported.MOST_LINES", 10)
    lines.path.write_text('{"loss": 1}\n' * 10)
    assert len(lines.read()) == 10
    with lines.path.open("a") as file:
        file.write('{"loss": 1}\n')
    with pytest.raises(TrainingFailed, match="10"):
        lines.read()


def test_a_line_without_end_fails_the_training(lines: MetricLines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyflow.trainers.reported.LARGEST_LINE", 100)
    monkeypatch.setattr("proxyflow.trainers.reported.READ_AT_ONCE", 64)
    lines.path.write_text('{"loss": 1}\n' * 100)
    assert len(lines.read()) == 100
    with lines.path.open("a") as file:
        file.write("1" * 1000)
    with pytest.raises(TrainingFailed, match="line 101 "):
        lines.read()


def test_what_is_missing_is_said_with_what_was_found() -> None:
    with pytest.raises(NothingReported) as caught:
        check_found([], Metric("valid_loss", "minimize"), ["val_loss", "lr"], ways_of_programs(LOSS, tracked=True))
    assert all(part in str(caught.value) for part in ("valid_loss", "metric=val_loss", METRICS_FILE, "mlflow"))
    with pytest.raises(NothingReported) as caught:
        check_found([], LOSS, [], ways_of_programs(LOSS, tracked=False))
    assert "mlflow" not in str(caught.value)


@pytest.mark.parametrize("value", [1.5, -0.1, 97])
def test_a_share_that_is_none_is_refused(value: float) -> None:
    share = Metric("accuracy", share=True)
    with pytest.raises(TrainingFailed):
        check_found([EpochRecord(2, {"accuracy": value})], share, [], "")
    check_found([EpochRecord(2, {"accuracy": math.nan})], share, [], "")
    check_found([EpochRecord(2, {"accuracy": value})], Metric("accuracy"), [], "")


def test_losses_of_any_name_must_be_finite() -> None:
    assert losses_are_finite([EpochRecord(1, {"Loss": 1.0, "grad": math.inf})])
    assert not losses_are_finite([EpochRecord(1, {"train/LOSS_ce": math.inf})])


def test_what_is_said_of_the_whole_training() -> None:
    found = whole_training(
        {"steps": 10.0, "train_seconds": math.nan, "examples_seen": -1, "train_flops": 5.0, "x": 1.0}
    )
    assert found == {"steps": 10, "train_flops": 5.0}
    assert isinstance(found["steps"], int)


def test_report_of_leaves_names_of_steps_out() -> None:
    assert report_of({"epoch": 2, "step": 100, "loss": 1}) == Reported(2, {"loss": 1.0})


# proxyflow.report, as a program calls it.


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    monkeypatch.setenv("PROXYFLOW_OUTPUT", str(tmp_path))
    return lambda: [json.loads(line) for line in (tmp_path / METRICS_FILE).read_text().splitlines()]


def test_programs_report_lines(output: Callable[[], list[dict[str, Any]]]) -> None:
    proxyflow.report(epoch=1, loss=torch.tensor([0.5], requires_grad=True), accuracy=np.array([[0.25]]))
    proxyflow.report(loss=np.float32(0.5))
    proxyflow.report(epoch=1.5, loss=math.inf)
    assert output() == [{"epoch": 1, "loss": 0.5, "accuracy": 0.25}, {"loss": 0.5}, {"epoch": 1.5, "loss": math.inf}]


@pytest.mark.parametrize("value", [None, "high", [1, 2], np.zeros(2), torch.zeros(2), {}])
def test_programs_that_report_no_number_are_told(value: Any, output: Callable[[], list[dict[str, Any]]]) -> None:
    with pytest.raises(ValueError, match="loss"):
        proxyflow.report(epoch=1, loss=value)


def test_reports_outside_of_proxyflow_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROXYFLOW_OUTPUT", raising=False)
    proxyflow.report(epoch=1, loss=0.5)
