"""Estimates the time of trainings from the throughput of finished ones, or from a calibration of a few steps."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from proxyflow.data.catalog import Dataset
from proxyflow.spaces.configuration import Configuration
from proxyflow.strategies import Full
from proxyflow.studies.context import StudyContext
from proxyflow.studies.plan import VALIDATION_WORK, PlannedTraining, example_counts, training_work
from proxyflow.subsets import choose_subset
from proxyflow.trainers.job import Job, TrainingSpec
from proxyflow.trainers.model_access import ModelAccess
from proxyflow.trainers.protocol import Trainer

CALIBRATION_STEPS = 4


@dataclass(frozen=True)
class Size:
    """The size of one training.

    Attributes:
        n_train, n_valid, n_classes: sizes of its subset.
        work: floating-point operations, validation included; examples if the trainer does not know FLOPs.
    """

    n_train: int
    n_valid: int
    n_classes: int
    work: float


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
        batch_size = batch_size_of(spec.trainer.reduced(spec.configuration, spec.proxy))
        presented = data.presented(n_train)
        if data.synthetic:
            plan = data.epoch_plan(n_train, len(dataset.train), batch_size)
            presented, batch_size = n_train * plan.passes, max(2, min(plan.batch_size, n_train))
        per_example = work_per_example(spec, n_classes, dataset)
        return Size(
            n_train,
            n_valid,
            n_classes,
            training_work(per_example, presented, n_valid, spec.epochs, batch_size),
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


def measured_speed(trainings: pd.DataFrame, device: str, unit: str) -> float:
    """Median work per second of this study's finished trainings on this device; nan without any.

    Args:
        unit: column with the work of a training's examples, `train_flops` or `examples_seen`.
    """
    done = trainings[(trainings["status"] == "finished") & (trainings["device"] == device)]
    # A validation example costs a third of a training example.
    validated = VALIDATION_WORK * done["n_valid"].astype(float) * done["epochs"].astype(float)
    work = done[unit] * (1 + validated / done["examples_seen"])
    rates = (work / done["train_seconds"]).replace([np.inf, 0.0], np.nan)
    return float(rates.median())


def unit_of(trainer: Trainer) -> str:
    """The column with a training's work: FLOPs if the trainer knows them, else examples."""
    return "train_flops" if isinstance(trainer, ModelAccess) else "examples_seen"


def calibrate(context: StudyContext, dataset: Dataset, planned: PlannedTraining) -> float:
    """Work per second of a few steps of one planned training; nan if the trainer gives no access to its models.

    The first run warms up and is not counted.
    """
    if not isinstance(planned.spec.trainer, ModelAccess):
        return math.nan
    full = choose_subset(dataset, Full(), planned.spec.seed)
    batch_size = batch_size_of(planned.spec.configuration)
    examples = min(len(full.train), batch_size * CALIBRATION_STEPS)
    few = np.linspace(0, len(full.train) - 1, examples).astype(np.int64)
    sample = dataclasses.replace(full, train=full.train.take(few))
    spec = dataclasses.replace(planned.spec, epochs=1)
    work = training_work(work_per_example(spec, len(full.classes), dataset), examples, len(full.valid), 1, batch_size)
    speed = math.nan
    for _ in range(2):
        speed = work / spec.trainer.train(Job(spec, sample, context.device)).result.train_seconds
    return speed
