"""Estimates the time of trainings from the throughput of finished ones, or from a calibration of a few steps."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from proxyflow.core.errors import UserError
from proxyflow.data.catalog import Dataset
from proxyflow.proxies import Epochs, Proxy, parse_proxy
from proxyflow.spaces.configuration import Configuration
from proxyflow.strategies import Full
from proxyflow.studies.context import StudyContext
from proxyflow.studies.plan import VALIDATION_WORK, PlannedTraining, example_counts
from proxyflow.subsets import choose_subset
from proxyflow.trainers.job import Job, TrainingSpec
from proxyflow.trainers.model_access import ModelAccess
from proxyflow.trainers.protocol import Trainer

WARM_UP_STEPS = 4
CALIBRATION_STEPS = 64  # at most, after the warm-up
CALIBRATION_SECONDS = 1.0  # what the steps after the warm-up should take


@dataclass(frozen=True)
class Size:
    """The size of one training.

    Attributes:
        n_train: examples of its subset that an epoch presents.
        n_valid, n_classes: sizes of its subset.
        train_work: floating-point operations of its training examples; examples if the trainer does not know FLOPs.
        valid_work: the same of its validation examples, as if they were trained on.
        steps: optimizer steps; 0 if the batch size is not known.
    """

    n_train: int
    n_valid: int
    n_classes: int
    train_work: float
    valid_work: float = 0.0
    steps: int = 0

    @property
    def work(self) -> float:
        """All of its work, in units of training examples' work."""
        return self.train_work + VALIDATION_WORK * self.valid_work


@dataclass(frozen=True)
class Speed:
    """Work per second of trainings, nan if unknown.

    Attributes:
        train: of training examples.
        valid: of validation examples, counted as if they were trained on.
    """

    train: float
    valid: float

    @property
    def known(self) -> bool:
        """Whether both are known."""
        return self.train > 0 and self.valid > 0

    def seconds(self, size: Size) -> float:
        """Estimated seconds of a training."""
        return size.train_work / self.train + size.valid_work / self.valid


UNKNOWN_SPEED = Speed(math.nan, math.nan)


def speed_group(proxy: Proxy) -> str:
    """The trainings of equal speed: those whose examples, networks and batches have the same size."""
    return "+".join(each.canonical for each in proxy.reductions if not isinstance(each, Epochs))


class Sizes:
    """Sizes of planned trainings; counts each subset once."""

    def __init__(self, context: StudyContext) -> None:
        self.context = context
        self._counts: dict[tuple[str, str], tuple[int, int, int]] = {}

    def of(self, planned: PlannedTraining) -> Size:
        dataset = self.context.dataset(planned.dataset)
        data = planned.strategy.data
        key = (planned.dataset, data.canonical)
        if key not in self._counts:
            self._counts[key] = example_counts(dataset, data)
        n_train, n_valid, n_classes = self._counts[key]
        spec = planned.spec
        presented = data.presented(n_train)
        batch_size = batch_size_of(spec.trainer.reduced(spec.configuration, spec.proxy, presented))
        if data.synthetic:
            plan = data.epoch_plan(n_train, len(dataset.train), batch_size)
            presented, batch_size = n_train * plan.passes, max(2, min(plan.batch_size, n_train))
        per_example = work_per_example(spec, n_classes, dataset)
        batch = max(1, min(batch_size, presented))
        steps = presented // batch * spec.epochs  # the last, incomplete batch of an epoch is left out
        return Size(
            data.presented(n_train),
            n_valid,
            n_classes,
            per_example * steps * batch,
            per_example * spec.epochs * n_valid,
            steps if batch_size > 1 else 0,
        )


def batch_size_of(configuration: Configuration) -> int:
    """Examples per step, if the configuration tells; a hyperparameter of the user may have this name and any value."""
    found = configuration.get("batch_size", 1)
    return found if isinstance(found, int) and found > 0 else 1


def work_per_example(spec: TrainingSpec, n_classes: int, dataset: Dataset) -> float:
    """The work of one training example: FLOPs, or 1 if the trainer does not know them."""
    if not isinstance(spec.trainer, ModelAccess):
        return 1.0
    return spec.trainer.flops_per_example(spec.configuration, n_classes, dataset.preprocessing)


def measured_speeds(trainings: pd.DataFrame, device: str, unit: str) -> dict[str, Speed]:
    """Median speeds of this study's finished trainings on this device, by `speed_group`.

    Args:
        unit: column with the work of a training's examples, `train_flops` or `examples_seen`.
    """
    done = trainings[(trainings["status"] == "finished") & (trainings["device"] == device)]
    groups = done["strategy"].map(_group_of)
    validated = done["n_valid"].astype(float) * done["epochs"].astype(float) / done["examples_seen"]
    known = done["valid_seconds"].where(done["valid_seconds"] > 0)
    # Where validation was not timed, its examples are taken for a third of training examples.
    share = VALIDATION_WORK * validated / (1 + VALIDATION_WORK * validated)
    valid_seconds = known.fillna(share * done["train_seconds"])
    rates = pd.DataFrame(
        {
            "train": done[unit] / (done["train_seconds"] - valid_seconds),
            "valid": done[unit] * validated / valid_seconds,
        }
    ).replace([np.inf, -np.inf, 0.0], np.nan)
    return {str(name): Speed(*row) for name, row in rates.groupby(groups).median().iterrows()}


def _group_of(strategy: str) -> str | None:
    try:
        return speed_group(parse_proxy(strategy))
    except UserError:  # of a plug-in that is not installed here
        return None


def unit_of(trainer: Trainer) -> str:
    """The column with a training's work: FLOPs if the trainer knows them, else examples."""
    return "train_flops" if isinstance(trainer, ModelAccess) else "examples_seen"


def calibrate(context: StudyContext, dataset: Dataset, planned: PlannedTraining) -> Speed:
    """Speed of a few steps of one planned training; unknown if the trainer gives no access to its models.

    The first steps warm up; their time says how many are measured afterwards.
    """
    if not isinstance(planned.spec.trainer, ModelAccess):
        return UNKNOWN_SPEED
    full = choose_subset(dataset, Full(), planned.spec.seed)
    configuration = planned.spec.trainer.reduced(planned.spec.configuration, planned.strategy, len(full.train))
    batch_size = batch_size_of(configuration)
    proxy = Proxy(reductions=planned.strategy.reductions)
    spec = dataclasses.replace(planned.spec, configuration=configuration, proxy=proxy, epochs=1)
    per_example = work_per_example(spec, len(full.classes), dataset)

    def measured(steps: int) -> tuple[float, float, int]:
        """Seconds of training and of validation, and the examples trained on."""
        examples = min(len(full.train), batch_size * steps)
        few = np.linspace(0, len(full.train) - 1, examples).astype(np.int64)
        sample = dataclasses.replace(full, train=full.train.take(few))
        result = spec.trainer.train(Job(spec, sample, context.device)).result
        return result.train_seconds - result.valid_seconds, result.valid_seconds, examples // min(batch_size, examples)

    seconds, _, steps = measured(WARM_UP_STEPS)
    wanted = CALIBRATION_SECONDS / max(seconds / steps, 1e-9)
    seconds, valid_seconds, steps = measured(int(np.clip(wanted, WARM_UP_STEPS, CALIBRATION_STEPS)))
    trained = steps * min(batch_size, len(full.train))
    return Speed(per_example * trained / seconds, per_example * len(full.valid) / valid_seconds)
