"""Synthetic images instead of real ones: learned from the data, not selected from them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.seeds import generator
from proxyflow.core.settings import Choice, Number, setting
from proxyflow.strategies.base import FRACTION, EpochPlan, ExamplePool, Positions, Strategy, register_strategy
from proxyflow.strategies.distillation_methods import DEFAULT_METHOD, Method, methods, parse_method
from proxyflow.strategies.distillation_methods.base import OWN


def per_class(labels: NDArray[np.int64], count: int, rng: np.random.Generator) -> Positions:
    """Positions of `count` random examples of each class, or all of a smaller one; by class, in the order drawn."""
    return np.concatenate([rng.permutation(np.flatnonzero(labels == label))[:count] for label in np.unique(labels)])


@register_strategy
@dataclass(frozen=True)
class Distilled(Strategy):
    """Images that a method of distillation makes, N of each class.

    `select` returns the real examples that they replace: as many, of the same classes. A class with fewer than N
    examples gets as many images as it has examples.

    Few images give few steps. `budget` names the quantity of the target's training that is matched, `share` the
    fraction of it: `examples` repeats the images within each epoch until it presents `share` times the examples of the
    target's epoch, `steps` until it takes `share` times the steps, and `epochs` presents each image once per epoch.
    """

    name = "distilled"
    summary = "N synthetic images per class, made from the real ones by a method of distillation"
    family = "Distillation"
    source = "Shleifer & Prokop 2019, section 2 and table 2 (distillation), there with Wang et al. 2018"
    synthetic = True

    count: int = setting(dataclasses.MISSING, Number(low=1, whole=True, example="10"), "images per class", symbol="N")
    method: str = setting(DEFAULT_METHOD, Choice(tuple(methods)), "how the images are made")
    iterations: int = setting(OWN, Number(low=0, whole=True, example="300"), "of the method; 0 is its own default")
    budget: str = setting(
        "examples", Choice(("examples", "steps", "epochs")), "what of the target's training is shared"
    )
    share: float = setting(0.1, FRACTION, "of the target's examples or steps")

    @property
    def depends_on_seed(self) -> bool:
        return False  # generated once for all seeds of a study, as scores are

    @property
    def subset_strategy(self) -> Strategy:
        return Distilled(self.count, self.method, self.iterations)

    def made_by(self) -> Method:
        """The method with its settings."""
        return parse_method(self.method, iterations=self.iterations)

    def epoch_plan(self, chosen: int, available: int, batch_size: int) -> EpochPlan:
        largest = min(batch_size, chosen)

        def filled(passes: int, steps: int) -> EpochPlan:
            # Incomplete batches are dropped, which would be a third of a hundred images in batches of 64; and batch
            # norm needs two per batch.
            return EpochPlan(passes, min(largest, max(2, passes * chosen // steps)))

        if self.budget == "steps":
            steps = max(1, round(self.share * max(1, available // batch_size)))
            fewer = max(1, int(steps * largest / chosen))
            plans = [filled(passes, steps) for passes in (fewer, fewer + 1)]
            return min(plans, key=lambda each: abs(each.passes * chosen // each.batch_size - steps))
        passes = 1 if self.budget == "epochs" else max(1, round(self.share * available / chosen))
        return filled(passes, math.ceil(passes * chosen / largest))

    def size(self, pool: ExamplePool) -> int:
        return int(np.minimum(np.unique(pool.labels, return_counts=True)[1], self.count).sum())

    def _promised(self, pool: ExamplePool) -> NDArray[np.int64]:
        return self.classes(pool)

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        return per_class(pool.labels, self.count, generator(0, "select"))
