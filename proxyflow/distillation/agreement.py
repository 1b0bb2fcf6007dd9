"""Choosing among candidate sets by how they rank a few pilot configurations: see `methods.rank_agreement`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from proxyflow.data.images import ImageSet
from proxyflow.distillation.matching import Matching
from proxyflow.distillation.methods.rank_agreement import HELD_OUT, MAX_HELD_OUT, PILOTS, RankAgreement
from proxyflow.distillation.problem import Problem
from proxyflow.distillation.process import Process, Step
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.errors import UserError
from proxyflow.quality.measures import Accuracies, kendall
from proxyflow.seeds import generator, stream_seed
from proxyflow.strategies import Distilled, Full, Showing
from proxyflow.strategies.budget import apportion
from proxyflow.subsets import Subset, choose_subset
from proxyflow.training.engine import TrainingResult, TrainingSpec, get_engine
from proxyflow.training.hyperparameters import TrainingSettings
from proxyflow.training.models import flops_per_example
from proxyflow.training.xresnet import XResNet

# What pilots are trained on.
REAL, CANDIDATES = "real data", "candidates"


def split_off(images: ImageSet, seed: int) -> tuple[ImageSet, ImageSet]:
    """Examples that pilots are trained on, and those that they are judged by, of every class in proportion.

    Raises:
        UserError: there are too few to put any aside.
    """
    classes, sizes = np.unique(images.labels, return_counts=True)
    wanted = min(MAX_HELD_OUT, int(HELD_OUT * len(images)))
    if wanted < len(classes):
        raise UserError(
            f"method rank-agreement judges pilots by a fifth of the training examples, and of {len(images)} that is "
            f"{wanted} for {len(classes)} classes: use distribution-matching"
        )
    rng, judged = generator(seed, "distil", "held-out"), np.zeros(len(images), dtype=bool)
    for label, share in zip(classes, apportion(wanted, (sizes - 1).tolist(), at_least_one=False), strict=True):
        judged[rng.permutation(np.flatnonzero(images.labels == label))[:share]] = True
    return images.take(~judged), images.take(judged)


class Agreement(Process):
    """First the candidates, start after start; then the pilots, each on the real data and on every candidate."""

    def __init__(self, method: RankAgreement, problem: Problem) -> None:
        self.method, self.problem = method, problem
        rest, self.judges = split_off(problem.dataset.train, problem.seed)
        self.rest = replace(problem.dataset, train=rest)
        self.per_class = int(np.bincount(problem.labels).max())
        self.stages = method.stages
        self.alike_iterations = method.starts * method.iterations
        self.iterations = self.alike_iterations + len(PILOTS) * (1 + method.candidates)
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
    def alike(self) -> int:
        return self.alike_iterations

    @property
    def images(self) -> Tensor:  # type: ignore[override]
        """Those of the best candidate so far; until there are accuracies, those that are being made."""
        ranked = self.agreement
        return self.matching.images if ranked is None else self.candidates[int(ranked.argmax())]

    @property
    def agreement(self) -> NDArray[np.float64] | None:
        """`(candidates,)` Kendall's tau with the real data, 0 where pilots tie throughout; None before there is any."""
        table = self.accuracies.numpy()
        if np.isnan(table).any():
            return None
        rows = [np.arange(len(PILOTS))]
        weights = np.ones((1, len(PILOTS)))
        found = [float(kendall(Accuracies(each, table[:, 0], rows, rows), weights)[0]) for each in table.T[1:]]
        return np.array(np.nan_to_num(found), dtype=np.float64)

    def step(self, iteration: int) -> Step:
        if iteration < self.alike_iterations:
            return self._match(*divmod(iteration, self.method.iterations))
        return self._pilot(*divmod(iteration - self.alike_iterations, 1 + self.method.candidates))

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
    def showings(self) -> dict[str, Showing]:
        """What an epoch of a pilot shows: of the real data each example, of candidates as much as makes its steps.

        Fewer steps would make ranks by chance: networks that have hardly begun to learn differ by their first weights.
        """
        available = len(self.rest.train)
        real = Showing(1, min(self.method.pilot_batch, available))
        rule = Distilled(self.per_class, budget="steps", share=self.method.pilot_share)
        return {REAL: real, CANDIDATES: rule.showing(len(self.labels), available, real.batch_size)}

    @property
    def steps(self) -> dict[str, int]:
        """Gradient steps of a pilot on the real data and on a candidate; what does not fill a batch is not shown."""
        shown = {REAL: len(self.rest.train), CANDIDATES: len(self.labels)}
        return {
            data: self.method.pilot_epochs * (showing.passes * shown[data] // showing.batch_size)
            for data, showing in self.showings.items()
        }

    def _pilot(self, pilot: int, column: int) -> Step:
        method, train, showing = self.method, self.rest.train, self.showings[CANDIDATES if column else REAL]
        if column:
            pixels = self.problem.pixels(self.candidates[column - 1])
            train = ImageSet.of(pixels, self.labels, np.arange(len(pixels), dtype=np.int64))
        subset = replace(self._full, train=train).repeated(showing.passes)
        settings = TrainingSettings(
            epochs=method.pilot_epochs,
            batch_size=showing.batch_size,
            image_size=self.problem.image_size,
            precision="fp32",
        )
        spec = TrainingSpec(PILOTS[pilot], settings, stream_seed(self.problem.seed, "pilot") % 2**31)
        result: TrainingResult = get_engine("fast").train(subset, spec, self.problem.device).result
        self.accuracies[pilot, column] = result.best_valid_accuracy
        error = torch.tensor(1 - result.best_valid_accuracy, device=self.problem.device)
        return Step(error, float(result.examples_seen), result.train_flops)

    @cached_property
    def _full(self) -> Subset:
        return replace(choose_subset(self.rest, Full(), 0), valid=self.judges)

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
            "judged_by": len(self.judges),
        }

    def pilot_flops(self) -> float:
        method, trainings = self.method, {REAL: 1, CANDIDATES: self.method.candidates}
        seen = sum(n * self.steps[data] * self.showings[data].batch_size for data, n in trainings.items())
        # A held-out example costs a forward pass, a third of a training example.
        judged = method.pilot_epochs * (1 + method.candidates) * len(self.judges) / 3
        size, n_classes = self.problem.image_size, self.problem.n_classes
        return (seen + judged) * sum(flops_per_example(pilot, n_classes, size) for pilot in PILOTS)

    def pilot(self) -> tuple[nn.Module, Tensor]:
        size, n_classes = self.problem.image_size, self.problem.n_classes
        largest = max(PILOTS, key=lambda pilot: flops_per_example(pilot, n_classes, size))
        stem = (largest.stem_channels_1, largest.stem_channels_2)
        with torch.device("meta"):
            batch = torch.empty(self.showings[REAL].batch_size, 3, size, size)
            return XResNet(largest.arch, n_classes, stem), batch

    def state(self) -> dict[str, Tensor]:
        ours = {"candidates": self.candidates, "accuracies": self.accuracies, "start": torch.tensor(self.current)}
        return {**ours, **self.matching.state()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.matching = self._start(int(tensors["start"]))
        self.matching.restore(tensors)
        self.candidates = tensors["candidates"].to(self.problem.device)
        self.accuracies = tensors["accuracies"].clone()
