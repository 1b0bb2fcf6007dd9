"""What a study will take: time from work already measured, or from a calibration of a second or two."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from proxyflow.data.catalog import Dataset
from proxyflow.strategies import Full
from proxyflow.studies.lab import Lab
from proxyflow.studies.plan import VALIDATION_WORK, PlannedTraining, example_counts, training_work
from proxyflow.subsets import choose_subset
from proxyflow.training.engine import TrainingSpec, get_engine
from proxyflow.training.models import flops_per_example

CALIBRATION_STEPS = 4


@dataclass(frozen=True)
class Size:
    """How much one training is.

    Attributes:
        n_train, n_valid, n_classes: of its subset.
        work: floating-point operations, validation included.
    """

    n_train: int
    n_valid: int
    n_classes: int
    work: float


class Sizes:
    """Sizes of planned trainings, each subset counted once."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._counts: dict[tuple[str, str], tuple[int, int, int]] = {}

    def of(self, planned: PlannedTraining) -> Size:
        dataset = self.lab.dataset(planned.dataset)
        key = (planned.dataset, planned.strategy.canonical)
        if key not in self._counts:
            self._counts[key] = example_counts(dataset, planned.strategy)
        n_train, n_valid, n_classes = self._counts[key]
        image_size = planned.settings.image_size or dataset.image_size
        per_example = flops_per_example(planned.hyperparameters, n_classes, image_size)
        showing = planned.strategy.showing(n_train, len(dataset.train), planned.settings.batch_size)
        settings = planned.settings.replace(batch_size=max(2, min(showing.batch_size, n_train)))
        work = training_work(per_example, n_train * showing.passes, n_valid, settings)
        return Size(n_train, n_valid, n_classes, work)


def measured_speed(trainings: pd.DataFrame, device: str) -> float:
    """FLOP per second that this study's finished trainings reached on this device, nan without any."""
    done = trainings[(trainings["status"] == "finished") & (trainings["device"] == device)]
    # The work of a training is that of its training examples and, at a third, of its validation examples.
    validated = VALIDATION_WORK * done["n_valid"].astype(float) * done["epochs"].astype(float)
    work = done["train_flops"] * (1 + validated / done["examples_seen"])
    rates = (work / done["train_seconds"]).replace([np.inf, 0.0], np.nan)
    return float(rates.median())


def calibrate(lab: Lab, dataset: Dataset, planned: PlannedTraining) -> float:
    """FLOP per second of a few steps of one planned training; the first run warms up and is not counted."""
    full = choose_subset(dataset, Full(), planned.seed)
    examples = min(len(full.train), planned.settings.batch_size * CALIBRATION_STEPS)
    few = np.linspace(0, len(full.train) - 1, examples).astype(np.int64)
    sample = dataclasses.replace(full, train=full.train.take(few))
    settings = planned.settings.replace(epochs=1)
    spec = TrainingSpec(planned.hyperparameters, settings, planned.seed, planned.engine)
    speed = math.nan
    for _ in range(2):
        result = get_engine(planned.engine).train(sample, spec, lab.device).result
        work = training_work(
            flops_per_example(planned.hyperparameters, len(full.classes), settings.image_size or dataset.image_size),
            result.n_train,
            result.n_valid,
            settings,
        )
        speed = work / result.train_seconds
    return speed
