"""The contract between a study and what it trains: a configuration goes in, a metric per epoch comes out.

Studies, reports and quality measures use trainers through this module alone, so a trainer may train anything. A trainer
of your own is a class that derives from `Trainer`; see "A trainer of your own" in docs/how-to/image-training.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from proxyflow.core.registry import Registry
from proxyflow.core.settings import settings_of, validate_settings
from proxyflow.proxies import Proxy
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.grids import Grid
from proxyflow.spaces.metric import Metric
from proxyflow.spaces.space import Space
from proxyflow.subsets import Subset
from proxyflow.trainers.job import Checkpoint, Job
from proxyflow.trainers.results import Trained

if TYPE_CHECKING:
    import torch

    from proxyflow.data.protocol import Dataset


class Trainer(Protocol):
    """Base class of trainers: a frozen dataclass whose fields are the settings that a study keeps fixed.

    A subclass needs `name`, `metric` and `train`. Declare its fields with `core.settings.setting`: users set them with
    `--trainer-settings`. Register it under the entry point group `proxyflow.trainers`.

    Attributes:
        name: Name that users give (`--trainer NAME`).
        description: One line for `--help`.
        fidelities: What the trainer can reduce, a subset of `proxies.known_fidelities()`.
        fidelities_from: What users change to have more of them, in a few words; empty if nothing does.
        metric: The metric that it reports after each epoch.
        space: Its hyperparameters; None if users bring a space file.
        grids: Named grids that users can give (`--grid NAME`).
        logs_itself: Whether its code logs to `Job.run` by itself. Params are then logged after the training, where the
            code has not logged them: of two different values of a param MLflow refuses the second.
        mismatch_remedy: What users do where a worker's `identity` is not that of the machine that planned the study.
        starts_processes: Whether it trains in processes of its own, so that this one leaves the device alone.
        writes_predictions: Whether its code can write predictions of the training examples to `Job.output`.

    Example:
        >>> from proxyflow.core.settings import Number, setting
        >>> from proxyflow.spaces.metric import Metric
        >>> @dataclass(frozen=True)
        ... class Quadratic(Trainer):
        ...     name: ClassVar[str] = "quadratic"
        ...     metric: ClassVar[Metric] = Metric("valid_loss", "minimize", "last")
        ...
        ...     offset: float = setting(0.0, Number(), "added to every loss")
        ...
        ...     def train(self, job):
        ...         records = []
        ...         for epoch in range(1, job.epochs + 1):
        ...             values = {"valid_loss": (job.configuration["x"] - 1) ** 2 / epoch + self.offset}
        ...             records.append(EpochRecord(epoch, values))
        ...             if job.report(epoch, **values):
        ...                 break
        ...         return Trained(TrainingResult(self.metric, tuple(records), diverged=False, train_seconds=0.1))
        >>> Quadratic(offset="2").settings
        {'offset': 2.0}
    """

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str:
        return ""

    @property
    def fidelities(self) -> frozenset[str]:
        return frozenset({"data", "epochs"})

    @property
    def fidelities_from(self) -> str:
        return ""

    @property
    def metric(self) -> Metric: ...

    @property
    def space(self) -> Space | None:
        return None

    @property
    def grids(self) -> Mapping[str, Callable[[], Grid]]:
        return {}

    @property
    def logs_itself(self) -> bool:
        return False

    @property
    def mismatch_remedy(self) -> str:
        return (
            "start the sweep on a machine like its workers, or give explicit settings instead of auto, such as "
            "precision=fp32"
        )

    @property
    def starts_processes(self) -> bool:
        return False

    @property
    def writes_predictions(self) -> bool:
        return False

    def __post_init__(self) -> None:
        validate_settings(self)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings by name, logged as params."""
        return {field.name: getattr(self, field.name) for field in settings_of(self)}

    def identity(self, data: Dataset | Subset, device: torch.device | None) -> Mapping[str, Any]:
        """Returns what determines a result beside configuration, data, epochs and seed; part of the run's key.

        Args:
            data: The data set or the subset, for settings that depend on it.
            device: Device to train on; None is the current device. With None, avoid importing torch where there is no
                GPU: planning a study calls this.

        Returns:
            JSON-compatible values by name; by default the settings.

        Raises:
            InvalidValue: The device does not support a setting.
        """
        return self.settings

    def keyed(self, configuration: Configuration) -> Mapping[str, Any]:
        """Returns what of a configuration determines a result, by name; part of the run's key.

        By default all of it, without defaults of silent hyperparameters. A trainer replaces names of files by digests
        of their contents here.

        Raises:
            InvalidValue: A file cannot be had.
        """
        return configuration.told

    def check_request(self, configurations: Grid) -> Sequence[str]:
        """Validates the settings on this machine, for these configurations, before any run is made.

        Returns:
            What the user should look at; usually nothing.

        Raises:
            InvalidValue: This machine does not support a setting, or a setting does not fit the configurations.
        """
        return ()

    def at(self, proxy: Proxy) -> Trainer:
        """Returns the trainer of a proxy's trainings: itself, unless reductions are settings of the trainer.

        A trainer that returns itself finds the reductions in `Job.spec.proxy`.
        """
        return self

    def reduced(self, configuration: Configuration, proxy: Proxy, presented: int) -> Configuration:
        """Returns the hyperparameters that a proxy's training uses, where reductions change any (a batch size).

        Args:
            presented: Examples of an epoch.
        """
        return configuration

    def unsupported(self, proxy: Proxy, data: Dataset | Subset, configurations: Grid) -> str:
        """Returns why the trainer cannot train such a proxy of the data; empty if it can.

        Args:
            proxy: What `fidelities` names can be reduced; this is about values and data.
            data: The data set, or a subset.
            configurations: All that are to be trained.
        """
        return ""

    def check(self, subset: Subset) -> None:
        """Validates a subset before training.

        Raises:
            UserError: The trainer cannot train on it; the message says what it needs.
        """
        return None

    def train(self, job: Job) -> Trained:
        """Trains on `job.subset.train` and validates on `job.subset.valid` after every epoch.

        Call `job.report` after each epoch and stop if it returns True. Divergence is a result, not an error.

        Raises:
            UserError: The subset or the device does not support the settings.
            TrainingFailed: The training could not be completed.
        """
        ...


@runtime_checkable
class Resumable(Protocol):
    """Optional capability of a trainer: checkpoints after each epoch, where its settings support them (`resumes`)."""

    @property
    def resumes(self) -> bool: ...

    def load_checkpoint(self, folder: Path) -> Checkpoint:
        """Reads a checkpoint that `Checkpoint.save` wrote.

        Raises:
            ValueError: It is incomplete, or from another version.
            OSError: A file is missing.
        """
        ...


def _problem_of(name: str, item: Any) -> str:
    """Returns why a class of another package cannot be a trainer; empty if it can."""
    if not isinstance(item, type):
        return f"it is a {type(item).__name__}; offer a class"
    missing = [
        member for member in ("metric", "train") if getattr(item, member, None) is getattr(Trainer, member, None)
    ]
    if missing:
        return f"{item.__name__} has no {missing[0]}; derive it from proxyflow.trainers.Trainer"
    return "" if getattr(item, "name", None) == name else f"its name is {getattr(item, 'name', None)!r}, not {name!r}"


trainers: Registry[type[Trainer]] = Registry("trainer", "proxyflow.trainers", _problem_of)
