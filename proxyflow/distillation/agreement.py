"""The method `rank-agreement`: chooses the candidate set that ranks pilot configurations most like the real data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from proxyflow.core.errors import UserError
from proxyflow.core.seeds import generator, stream_seed
from proxyflow.data.images.store import ImageSet
from proxyflow.data.protocol import Examples
from proxyflow.distillation.matching import Matching
from proxyflow.distillation.problem import Problem
from proxyflow.distillation.process import Distiller, Step
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.quality.measures import Values, kendall
from proxyflow.strategies import Distilled, EpochPlan, Full
from proxyflow.strategies.budget import apportion
from proxyflow.strategies.distillation_methods.rank_agreement import HELD_OUT, MAX_HELD_OUT, RankAgreement
from proxyflow.strategies.distillation_methods.rank_agreement import PILOTS as PILOT_CHANGES
from proxyflow.subsets import Subset, choose_subset
from proxyflow.trainers.images.architectures import architecture_of
from proxyflow.trainers.images.models import flops_per_example
from proxyflow.trainers.images.space import image_configuration
from proxyflow.trainers.images.trainer import ImageTrainer
from proxyflow.trainers.job import Job, TrainingSpec

PILOTS = tuple(image_configuration(**changes) for changes in PILOT_CHANGES)

# Training data of pilots.
REAL, CANDIDATES = "real data", "candidates"


def split_off(images: Examples, seed: int) -> tuple[Examples, Examples]:
    """Splits examples into those that pilots train on and those that they are validated on, stratified by class.

    Raises:
        UserError: there are too few examples.
    """
    classes, sizes = np.unique(images.labels, return_counts=True)
    wanted = min(MAX_HELD_OUT, int(HELD_OUT * len(images)))
    if wanted < len(classes):
        raise UserError(
            f"method rank-agreement validates pilots on a fifth of the training examples, and of {len(images)} that is "
            f"{wanted} for {len(classes)} classes: use distribution-matching"
        )
    rng, held_out = generator(seed, "distil", "held-out"), np.zeros(len(images), dtype=bool)
    for label, share in zip(classes, apportion(wanted, (sizes - 1).tolist(), at_least_one=False), strict=True):
        held_out[rng.permutation(np.flatnonzero(images.labels == label))[:share]] = True
    return images.take(~held_out), images.take(held_out)


class Agreement(Distiller):
    """Makes the candidates, one start after the other; then trains each pilot on the real data and every candidate."""

    def __init__(self, method: RankAgreement, problem: Problem) -> None:
        self.method, self.problem = method, problem
        rest, self.held_out = split_off(problem.dataset.train, problem.seed)
        self.rest = replace(problem.dataset, train=rest)
        self.per_class = int(np.bincount(problem.labels).max())
        self.stages = method.stages
        self.matching_iterations = method.starts * method.iterations
        self.iterations = self.matching_iterations + len(PILOTS) * (1 + method.candidates)
        self.matching = self._start(0)
        self.labels = self.matching.labels
        shape = (method.candidates, *self.matching.images.shape)
        self.candidates = torch.full(shape, torch.nan, device=problem.device)
        # Accuracy of each pilot on the real data, then on each candidate.
        self.accuracies = torch.full((len(PILOTS), 1 + method.candidates), torch.nan, dtype=torch.float64)
        self.candidates[0] = self.matching.images

    def _start(self, number: int) -> Matching:
        seed = stream_seed(self.problem.seed, "start", number)
        spec = DistillationSpec(self.per_class, self.method.matching, self.problem.image_size, seed)
        self.current = number
        return Matching(self.method.matching, Problem.of(self.rest, spec, self.problem.device))

    @property
    def uniform_iterations(self) -> int:
        return self.matching_iterations

    @property
    def images(self) -> Tensor:  # type: ignore[override]
        """Images of the best candidate; before the pilots are trained, those in progress."""
        ranked = self.agreement
        return self.matching.images if ranked is None else self.candidates[int(ranked.argmax())]

    @property
    def agreement(self) -> NDArray[np.float64] | None:
        """`(candidates,)` Kendall's tau with the real data, 0 if all pilots tie; None before the pilots are trained."""
        table = self.accuracies.numpy()
        if np.isnan(table).any():
            return None
        rows = [np.arange(len(PILOTS))]
        weights = np.ones((1, len(PILOTS)))
        found = [float(kendall(Values(each, table[:, 0], rows, rows), weights)[0]) for each in table.T[1:]]
        return np.array(np.nan_to_num(found), dtype=np.float64)

    def step(self, iteration: int) -> Step:
        if iteration < self.matching_iterations:
            return self._match(*divmod(iteration, self.method.iterations))
        return self._pilot(*divmod(iteration - self.matching_iterations, 1 + self.method.candidates))

    def _match(self, start: int, iteration: int) -> Step:
        if start != self.current:
            self.matching = self._start(start)
            self.candidates[start * len(self.stages)] = self.matching.images
        done = self.matching.step(iteration)
        for number, stage in enumerate(self.stages):
            if stage == iteration + 1:
                self.candidates[start * len(self.stages) + number] = self.matching.images
        return done

    @cached_property
    def epoch_plans(self) -> dict[str, EpochPlan]:
        """Passes and batch sizes of a pilot's epoch: one pass over the real data, as many steps over a candidate.

        With fewer steps, ranks would be random: barely trained networks differ by their initial weights.
        """
        available = len(self.rest.train)
        real = EpochPlan(1, min(self.method.pilot_batch, available))
        rule = Distilled(self.per_class, budget="steps", share=self.method.pilot_share)
        return {REAL: real, CANDIDATES: rule.epoch_plan(len(self.labels), available, real.batch_size)}

    @property
    def steps(self) -> dict[str, int]:
        """Steps of a pilot on the real data and on a candidate; incomplete batches are left out."""
        sizes = {REAL: len(self.rest.train), CANDIDATES: len(self.labels)}
        return {
            data: self.method.pilot_epochs * (epoch_plan.passes * sizes[data] // epoch_plan.batch_size)
            for data, epoch_plan in self.epoch_plans.items()
        }

    def _pilot(self, pilot: int, column: int) -> Step:
        method, train, epoch_plan = self.method, self.rest.train, self.epoch_plans[CANDIDATES if column else REAL]
        if column:
            pixels = self.problem.pixels(self.candidates[column - 1])
            train = ImageSet.of(pixels, self.labels, np.arange(len(pixels), dtype=np.int64))
        subset = replace(self._full, train=train).repeated(epoch_plan.passes)
        trainer = ImageTrainer(image_size=self.problem.image_size, precision="fp32")
        configuration = PILOTS[pilot].replace(batch_size=epoch_plan.batch_size)
        seed = stream_seed(self.problem.seed, "pilot") % 2**31
        spec = TrainingSpec(configuration, method.pilot_epochs, seed, trainer)
        result = trainer.train(Job(spec, subset, self.problem.device)).result
        self.accuracies[pilot, column] = result.best
        error = torch.tensor(1 - result.best, device=self.problem.device)
        return Step(error, float(result.examples_seen or 0), result.train_flops or 0.0)

    @cached_property
    def _full(self) -> Subset:
        return replace(choose_subset(self.rest, Full(), 0), valid=self.held_out, test=None)

    def summary(self) -> dict[str, object]:
        found = self.agreement
        if found is None:
            return {}
        names = [f"start {start}, iteration {stage}" for start in range(self.method.starts) for stage in self.stages]
        return {
            "pilots": [pilot.name for pilot in PILOTS],
            "pilot_steps": self.steps,
            "pilot_accuracies": dict(zip([REAL, *names], self.accuracies.T.tolist(), strict=True)),
            "agreement": dict(zip(names, found.tolist(), strict=True)),
            "chosen": names[int(found.argmax())],
            "judged_by": len(self.held_out),
        }

    def pilot_flops(self) -> float:
        method, trainings = self.method, {REAL: 1, CANDIDATES: self.method.candidates}
        seen = sum(n * self.steps[data] * self.epoch_plans[data].batch_size for data, n in trainings.items())
        # A validation example costs a forward pass, a third of a training example.
        validated = method.pilot_epochs * (1 + method.candidates) * len(self.held_out) / 3
        size, n_classes = self.problem.image_size, self.problem.n_classes
        return (seen + validated) * sum(flops_per_example(pilot, n_classes, size) for pilot in PILOTS)

    def pilot(self) -> tuple[nn.Module, Tensor]:
        size, n_classes = self.problem.image_size, self.problem.n_classes
        largest = max(PILOTS, key=lambda pilot: flops_per_example(pilot, n_classes, size))
        with torch.device("meta"):
            batch = torch.empty(self.epoch_plans[REAL].batch_size, 3, size, size)
            return architecture_of(largest["arch"]).build(largest, n_classes), batch

    def state(self) -> dict[str, Tensor]:
        own = {"candidates": self.candidates, "accuracies": self.accuracies, "start": torch.tensor(self.current)}
        return {**own, **self.matching.state()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.matching = self._start(int(tensors["start"]))
        self.matching.restore(tensors)
        self.candidates = tensors["candidates"].to(self.problem.device)
        self.accuracies = tensors["accuracies"].clone()
