"""Synthetic images in the place of real ones: which they are is not chosen from the data but learnt from them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.distillation.methods import DEFAULT_METHOD, Method, methods, parse_method
from proxyflow.distillation.methods.base import OWN
from proxyflow.seeds import generator
from proxyflow.settings import Choice, Number, setting
from proxyflow.strategies.base import FRACTION, Pool, Positions, Showing, Strategy, register


def per_class(labels: NDArray[np.int64], count: int, rng: np.random.Generator) -> Positions:
    """Positions of `count` random examples of each class, or all of a smaller one; by class, in the order drawn."""
    return np.concatenate([rng.permutation(np.flatnonzero(labels == label))[:count] for label in np.unique(labels)])


@register
@dataclass(frozen=True)
class Distilled(Strategy):
    """Images that a method of distillation makes, N of each class.

    `select` gives the real examples in whose place they come: so many, of these classes; a class with fewer than N
    examples gets as many images as it has.

    So few images make few steps. `budget` says what of the target's training theirs is held to, `share` how much of it:
    `examples` repeats the images within each epoch until it shows `share` times the examples of the target's epoch,
    `steps` until it takes `share` times the steps, and `epochs` shows each image once in each of the target's epochs.
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
        return False  # made once for all seeds of a study, as scores are

    @property
    def data_strategy(self) -> Strategy:
        return Distilled(self.count, self.method, self.iterations)

    def made_by(self) -> Method:
        """The method with its settings."""
        return parse_method(self.method, iterations=self.iterations)

    def showing(self, chosen: int, available: int, batch_size: int) -> Showing:
        largest = min(batch_size, chosen)

        def filled(passes: int, steps: int) -> Showing:
            # What does not fill a batch is not shown: of a hundred images in batches of 64 that would be every third.
            # And batch norm takes no batch of one.
            return Showing(passes, min(largest, max(2, passes * chosen // steps)))

        if self.budget == "steps":
            steps = max(1, round(self.share * max(1, available // batch_size)))
            fewer = max(1, int(steps * largest / chosen))
            shown = [filled(passes, steps) for passes in (fewer, fewer + 1)]
            return min(shown, key=lambda each: abs(each.passes * chosen // each.batch_size - steps))
        passes = 1 if self.budget == "epochs" else max(1, round(self.share * available / chosen))
        return filled(passes, math.ceil(passes * chosen / largest))

    def _choose(self, pool: Pool, rng: np.random.Generator) -> Positions:
        return per_class(pool.labels, self.count, generator(0, "select"))
