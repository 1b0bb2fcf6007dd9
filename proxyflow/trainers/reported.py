"""Results of code that is not ours: values that it reports in its own ways, numbered as epochs."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxyflow.core.errors import TrainingFailed, one_line, shortened
from proxyflow.spaces.metric import Metric
from proxyflow.trainers.results import EpochRecord

MOST_LINES = 1_000_000
LARGEST_LINE, READ_AT_ONCE = 2**20, 16 * 2**20
METRICS_FILE = "metrics.jsonl"  # as in proxyflow/program.py, which imports nothing of the package

# Names that say something of the whole training if they are reported, instead of what is measured from outside.
WHOLE_TRAINING: Mapping[str, type[float] | type[int]] = {
    "train_seconds": float,
    "valid_seconds": float,
    "setup_seconds": float,
    "steps": int,
    "examples_seen": int,
    "train_flops": float,
}


@dataclass(frozen=True)
class Reported:
    """Some values that were reported together.

    Attributes:
        step: the epoch or step that they were reported for, maybe a fraction; None if none was named.
        values: by name; they may be infinite or nan.
    """

    step: float | None
    values: Mapping[str, float]


def numbered(reports: Iterable[Reported], metric: str, epochs: int, logged: bool = False) -> tuple[EpochRecord, ...]:
    """The reports with the metric as epochs.

    Programs count differently. Steps are epochs if they are different whole numbers from 1 to `epochs`; otherwise (a
    count from 0, optimizer steps, fractions, no steps) the reports are numbered in order. A single one is of the last
    epoch.

    Args:
        reports: in the order in which they were made.
        epochs: of the training.
        logged: the code has logged them to the training's run by itself.

    Example:
        >>> reports = [Reported(100, {"loss": 0.9}), Reported(200, {"loss": 0.7})]
        >>> [record.epoch for record in numbered(reports, "loss", epochs=2)]
        [1, 2]
    """
    merged: list[Reported] = []
    for report in reports:
        # Training and validation may report one epoch each in a line of its own.
        if merged and report.step is not None and merged[-1].step == report.step:
            merged[-1] = Reported(report.step, {**merged[-1].values, **report.values})
        else:
            merged.append(report)
    found = [report for report in merged if metric in report.values]
    steps = [report.step for report in found if report.step is not None]
    if len(set(steps)) == len(found):
        found = [report for _, report in sorted(zip(steps, found, strict=True), key=lambda each: each[0])]
        if all(1 <= step <= epochs and step == int(step) for step in steps):
            return tuple(
                EpochRecord(int(step), report.values, logged) for step, report in zip(sorted(steps), found, strict=True)
            )
    if len(found) == 1:
        return (EpochRecord(epochs, found[0].values, logged),)
    return tuple(EpochRecord(number, report.values, logged) for number, report in enumerate(found, start=1))


class NothingReported(TrainingFailed):
    """A training has ended without a value of its metric.

    Attributes:
        others: whether it has reported other values.
    """

    def __init__(self, message: str, others: bool = False) -> None:
        super().__init__(message)
        self.others = others

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.others)


@dataclass
class MetricLines:
    """Reads a growing file of JSON lines such as `{"epoch": 3, "valid_accuracy": 0.91}`."""

    path: Path
    reports: list[Reported] = field(default_factory=list)
    _position: int = 0
    _rest: bytes = b""
    _lines: int = 0

    def read(self, ended: bool = False) -> list[Reported]:
        """The reports since the last call.

        Args:
            ended: nothing will be written any more, so that an unfinished last line is an error.

        Raises:
            TrainingFailed: a line is no JSON object, and the message has its number; there are too many lines; or the
                file cannot be read.
        """
        new = []
        while data := self._new_bytes():
            *lines, self._rest = (self._rest + data).split(b"\n")
            new += self._parsed(lines)
        if ended and self._rest.strip():
            new += self._parsed([self._rest])
            self._rest = b""
        self.reports += new
        return new

    def _parsed(self, lines: Iterable[bytes]) -> list[Reported]:
        found = []
        for line in lines:
            self._lines += 1
            if self._lines > MOST_LINES:
                raise TrainingFailed(f"{METRICS_FILE} has over {MOST_LINES:,} lines; report once after each epoch")
            if line.strip():
                found.append(self._parse(line))
        return found

    def _new_bytes(self) -> bytes:
        try:
            if not self.path.is_file():
                return b""
            with self.path.open("rb") as file:
                if self.path.stat().st_size < self._position:
                    # The program has written the file anew.
                    self._position, self._rest, self._lines = 0, b"", 0
                    self.reports.clear()
                file.seek(self._position)
                data = file.read(READ_AT_ONCE)
        except OSError as error:
            raise TrainingFailed(f"{METRICS_FILE} cannot be read: {one_line(error)}") from None
        self._position += len(data)
        if len(self._rest) > LARGEST_LINE:
            raise TrainingFailed(f"line {self._lines + 1} of {METRICS_FILE} is over {LARGEST_LINE:,} bytes long")
        return data

    def _parse(self, line: bytes) -> Reported:
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            text = shortened(line.decode("utf-8", "replace").strip(), 80)
            raise TrainingFailed(
                f"line {self._lines} of {METRICS_FILE} is {text!r}; each line must be a whole JSON object such as "
                '{"epoch": 3, "valid_accuracy": 0.91}'
            )
        return report_of(content)


def report_of(content: Mapping[str, Any]) -> Reported:
    """A mapping from names to values, with `epoch` or `step`, as a report; values that are no numbers are left out."""
    steps = (_number(content.get(name)) for name in ("epoch", "step"))
    step = next((each for each in steps if each is not None and math.isfinite(each)), None)
    numbers = {name: _number(value) for name, value in content.items() if name not in ("epoch", "step")}
    return Reported(step, {name: value for name, value in numbers.items() if value is not None})


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:  # a whole number of over 308 digits
        return math.inf if value > 0 else -math.inf


def losses_are_finite(records: Iterable[EpochRecord]) -> bool:
    """Whether all values that are losses by their names are finite."""
    return all(
        math.isfinite(value) for record in records for name, value in record.values.items() if "loss" in name.lower()
    )


def whole_training(values: Mapping[str, float]) -> dict[str, Any]:
    """What was reported of the whole training, see `WHOLE_TRAINING`; no time or count is negative."""
    return {
        name: kind(values[name])
        for name, kind in WHOLE_TRAINING.items()
        if math.isfinite(values.get(name, math.nan)) and values[name] >= 0
    }


def passed_examples(records: Sequence[EpochRecord], n_train: int, epochs: int) -> int:
    """Training examples that were passed through the model, if each epoch is one pass over all of them.

    Args:
        epochs: of the training; numbers above it are no epochs.
    """
    return n_train * min(records[-1].epoch if records else 0, epochs)


def ways_of_programs(metric: Metric, tracked: bool) -> str:
    """How a program reports a metric.

    Args:
        tracked: it has a run that it can log to.
    """
    ways = f"proxyflow.report(epoch=1, {metric.name}=value), or lines of PROXYFLOW_OUTPUT/{METRICS_FILE}"
    return f"mlflow.log_metric({metric.name!r}, value, step=epoch), {ways}" if tracked else ways


def check_found(records: Sequence[EpochRecord], metric: Metric, found: Iterable[str], ways: str) -> None:
    """Checks that a training has reported its metric.

    Args:
        found: the names that it has reported.
        ways: how the user's code reports it, for the message.

    Raises:
        NothingReported: it has not.
        TrainingFailed: a share is no share.
    """
    if not records:
        names = sorted(found)
        close = difflib.get_close_matches(metric.name, names, n=1)
        close += [name for name in names if metric.label == Metric(name).label and name not in close] if names else []
        hint = f"give metric={close[0] if close else 'NAME'}, or " if names else ""
        seen = f"the training reported {', '.join(names[:20])}" if names else "the training reported nothing"
        raise NothingReported(f"no value of {metric.name} was found, {seen}; {hint}report it by {ways}", bool(names))
    if metric.share:
        for record in records:
            value = record.values[metric.name]
            if math.isfinite(value) and not 0 <= value <= 1:
                percent = " (it looks like per cent)" if 1 < value <= 100 else ""
                raise TrainingFailed(
                    f"{metric.name}={value:g} in epoch {record.epoch} is no share from 0 to 1{percent}: report "
                    f"{value / 100:g}, or give share=false"
                    if percent
                    else f"{metric.name}={value:g} in epoch {record.epoch} is no share from 0 to 1: give share=false"
                )
