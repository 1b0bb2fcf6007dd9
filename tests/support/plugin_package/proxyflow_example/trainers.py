"""A trainer: the error of a made-up response surface, minimized, above 1, for any hyperparameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from proxyflow.core.seeds import generator
from proxyflow.core.settings import Number, setting
from proxyflow.proxies import reductions
from proxyflow.spaces.metric import Metric
from proxyflow.trainers import EpochRecord, Job, Trained, Trainer, TrainingResult
from proxyflow_example.reductions import Points


@dataclass(frozen=True)
class Surface(Trainer):
    """Its error falls with every epoch and with more examples, by how far the hyperparameters are from 0.3."""

    name: ClassVar[str] = "surface"
    description: ClassVar[str] = "a made-up response surface"
    metric: ClassVar[Metric] = Metric("valid_rmse", "minimize", "last")

    noise: float = setting(0.01, Number(low=0), "standard deviation of the error between seeds")

    @property
    def fidelities(self) -> frozenset[str]:
        return frozenset({"data", "epochs"} | ({Points.name} & set(reductions)))  # where the package is installed

    def train(self, job: Job) -> Trained:
        points = job.spec.proxy.reduction(Points)
        numbers = [value for value in job.configuration.values() if isinstance(value, float)]
        distance = sum((value - 0.3) ** 2 for value in numbers) / max(1, len(numbers))
        draw = generator(job.seed, "surface", len(job.subset.train), job.configuration.name).normal(0, self.noise)
        records = []
        for epoch in range(1, job.epochs + 1):
            if job.configuration.get("explode"):
                break
            error = 2 + distance + draw + 1 / epoch + 10 / math.sqrt(len(job.subset.train))
            if points is not None:
                error = round(error * points.count) / points.count
            records.append(EpochRecord(epoch, {self.metric.name: error}))
            if job.report(epoch, **records[-1].values):
                break
        seen = len(records) * len(job.subset.train)
        seconds = (0.001 * seen + 0.001) * (1 if points is None else points.count / 100)
        diverged = len(records) == 0
        return Trained(TrainingResult(self.metric, tuple(records), diverged, seconds, examples_seen=seen))
