"""What a training gives: the metric after each epoch, the result of the whole, and the model if there is access."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from proxyflow.spaces.metric import Metric

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class EpochRecord:
    """The metric values of one finished epoch, counted from 1; they include the trainer's metric.

    Attributes:
        epoch: The epoch.
        values: By name.
        logged: Whether the trainer's code has logged them to the training's run by itself.
    """

    epoch: int
    values: Mapping[str, float]
    logged: bool = False


@dataclass(frozen=True)
class TrainingResult:
    """The result of one training.

    Attributes:
        metric: The metric that proxies and target are compared by.
        records: The finished epochs, in order.
        diverged: Whether a loss or the metric stopped being finite. Set automatically if a record has a metric value
            that is not finite.
        train_seconds: Seconds of training and validation, without set-up.
        valid_seconds: Seconds of validation, part of `train_seconds`.
        setup_seconds: Seconds before the first step.
        steps: Optimizer steps; None if the trainer does not count them.
        examples_seen: Training examples passed through the model; None if not counted.
        train_flops: Floating-point operations of those examples, forward and backward; None if unknown.
        metrics: Further metrics to log with the run, by name.
        params: Further params to log with the run, such as `device` and `precision_used`.

    Example:
        >>> records = (EpochRecord(1, {"valid_loss": 0.5}), EpochRecord(2, {"valid_loss": 0.7}))
        >>> result = TrainingResult(Metric("valid_loss", "minimize"), records, diverged=False, train_seconds=1.0)
        >>> result.objective, result.best_epoch, result.final
        (0.5, 1, 0.7)
    """

    metric: Metric
    records: tuple[EpochRecord, ...]
    diverged: bool
    train_seconds: float
    valid_seconds: float = 0.0
    setup_seconds: float = 0.0
    steps: int | None = None
    examples_seen: int | None = None
    train_flops: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        reported = (record.values[self.metric.name] for record in self.records if self.metric.name in record.values)
        if not all(map(math.isfinite, reported)):
            object.__setattr__(self, "diverged", True)

    @property
    def curve(self) -> list[float]:
        """The metric after each finished epoch; nan for an epoch that did not report it."""
        return [record.values.get(self.metric.name, math.nan) for record in self.records]

    @property
    def objective(self) -> float:
        """The metric aggregated over epochs (the best or the last epoch), the value that a study compares."""
        return self.best if self.metric.aggregate == "best" else self.final

    @property
    def best(self) -> float:
        """The best finite value of any epoch; the metric's worst value (or nan) if there is none."""
        counted = [value for value in self.curve if math.isfinite(value)]
        return self.metric.sign * max(self.metric.sign * v for v in counted) if counted else self.metric.worst

    @property
    def best_epoch(self) -> int:
        """The first epoch that reached `best`; 0 if there is none."""
        return next((record.epoch for record, v in zip(self.records, self.curve, strict=True) if v == self.best), 0)

    @property
    def final(self) -> float:
        """The value of the last epoch; the metric's worst value if the training diverged."""
        return self.metric.worst if self.diverged or not self.records else self.curve[-1]

    @property
    def examples_per_second(self) -> float | None:
        """Training examples per second of `train_seconds`; None if not counted."""
        return self.examples_seen / self.train_seconds if self.examples_seen and self.train_seconds > 0 else None


@dataclass(frozen=True, eq=False)
class Trained:
    """A result with the model that produced it.

    Attributes:
        result: The result.
        model: The model after the last step; None if the trainer gives no access to it.
        best_weights: State dict of the best epoch if the job asked for it, else None.
    """

    result: TrainingResult
    model: torch.nn.Module | None = None
    best_weights: dict[str, torch.Tensor] | None = None
