"""One training to run: configuration and seed, data, device, and the callbacks by which it reports and resumes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from proxyflow.proxies import TARGET, Proxy
from proxyflow.spaces.configuration import Configuration
from proxyflow.subsets import Subset
from proxyflow.trainers.results import EpochRecord

if TYPE_CHECKING:
    import torch

    from proxyflow.trainers.protocol import Trainer


@dataclass(frozen=True)
class TrainingSpec:
    """One training, without its data.

    Attributes:
        configuration: The hyperparameters.
        epochs: Passes over the training examples; also the length of the learning-rate schedule.
        seed: Root of every random stream of the training.
        trainer: The trainer, with the settings that a study keeps fixed.
        proxy: How the training is made cheaper. `epochs` and the trainer's settings are already reduced, see
            `Trainer.at`; the configuration is not, as runs are compared by it.
    """

    configuration: Configuration
    epochs: int
    seed: int
    trainer: Trainer
    proxy: Proxy = TARGET

    def to_dict(self) -> dict[str, Any]:
        """Returns the spec as JSON-compatible values."""
        return {
            "configuration": dict(self.configuration),
            "epochs": self.epochs,
            "seed": self.seed,
            "trainer": self.trainer.name,
            **self.trainer.settings,
        }


class SavedState(Protocol):
    """The state of long work (a training, a distillation), from which an interrupted run resumes.

    Attributes:
        run_key: Key of the run; only a run with the same key resumes from it.
        wall_seconds: Seconds spent so far, set-up and logging included.
        done: Finished steps (epochs or iterations); the larger, the newer.
        slot: Name of the folder to write to. Two slots alternate, so that one of them is always complete.
    """

    @property
    def run_key(self) -> str: ...

    @property
    def wall_seconds(self) -> float: ...

    @property
    def done(self) -> int: ...

    @property
    def slot(self) -> str: ...

    def save(self, folder: Path) -> None:
        """Writes the state to `folder`; an interrupted write must be detectable when it is loaded."""
        ...


class Checkpoint(SavedState, Protocol):
    """The state of a training after an epoch, with the records of the finished epochs."""

    @property
    def records(self) -> tuple[EpochRecord, ...]: ...


class TrainingRun(Protocol):
    """A training's run on the tracking server, as a trainer sees it whose code logs to the run by itself."""

    @property
    def id(self) -> str: ...

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Environment variables of a program that logs to this run.

        Args:
            base: Those of this process.
        """
        ...

    def history(self, metric: str, wait: bool = True) -> Sequence[tuple[int, float]] | None:
        """The steps and values that the program has logged of a metric, in that order.

        Args:
            metric: Its name.
            wait: Whether to wait until the server responds; else the answer is None where it does not.
        """
        ...

    def latest(self) -> Mapping[str, float]:
        """The last value of every metric that the program has logged."""
        ...

    def log_files(self, folder: Path) -> None:
        """Logs the files of a folder as artifacts of the run."""
        ...


@dataclass(frozen=True, eq=False)
class Job:
    """One training to run: the spec with its data, device and callbacks.

    Attributes:
        spec: Configuration, epochs, seed and trainer.
        subset: Training, validation and (optional) test examples.
        device: Device to train on.
        on_epoch: Called after each finished epoch, outside of the measured time; returns True to stop early. Trainers
            call `report` instead.
        keep_best_weights: Whether to return the weights of the best epoch.
        start: Checkpoint to resume from; the result equals that of an uninterrupted training. Only for trainers that
            are `Resumable`.
        on_checkpoint: Called after each epoch with a checkpoint, if checkpoints are wanted.
        run_key: Key of the training: equal keys mean the same experiment.
        started: Start of the training on the clock `time.perf_counter`.
        run: The training's run on the tracking server, for trainers whose code logs to it by itself; None if the
            training is not tracked.
        workspace: Folder for files that trainings on this machine share; None if there is none.
        output: Existing folder for what the trainer's code writes, beyond the training; None deletes it afterwards.
        on_wait: Called every second by trainers that wait for another process; raises if the work is interrupted.
    """

    spec: TrainingSpec
    subset: Subset
    device: torch.device
    on_epoch: Callable[[EpochRecord], bool | None] | None = None
    keep_best_weights: bool = False
    start: Checkpoint | None = None
    on_checkpoint: Callable[[Checkpoint], None] | None = None
    run_key: str = ""
    started: float = field(default_factory=time.perf_counter)
    run: TrainingRun | None = None
    workspace: Path | None = None
    output: Path | None = None
    on_wait: Callable[[], None] = lambda: None

    @property
    def configuration(self) -> Configuration:
        """The hyperparameters."""
        return self.spec.configuration

    @property
    def epochs(self) -> int:
        """Passes over the training examples."""
        return self.spec.epochs

    @property
    def seed(self) -> int:
        """Root of every random stream."""
        return self.spec.seed

    def report(self, epoch: int, **values: float) -> bool:
        """Reports the values of a finished epoch.

        Args:
            epoch: Number of the epoch, starting at 1.
            **values: Metric values by name; must include the trainer's metric.

        Returns:
            Whether the training should stop early.
        """
        return self.record(EpochRecord(epoch, values))

    def record(self, record: EpochRecord) -> bool:
        """Reports a finished epoch, see `report`."""
        return bool(self.on_epoch(record)) if self.on_epoch is not None else False
