"""Random examples of every class: the baseline that needs nothing but labels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from proxyflow.settings import setting
from proxyflow.strategies.base import FRACTION, Pool, Positions, Strategy, register
from proxyflow.strategies.budget import apportion, count
from proxyflow.strategies.full import Full


def stratified_sample(labels: np.ndarray, fraction: float, rng: np.random.Generator) -> Positions:
    """Positions of a random `fraction` of the examples, shared out over the classes in proportion."""
    return sample(labels, max(1, count(fraction, len(labels))), rng)


def sample(labels: np.ndarray, total: int, rng: np.random.Generator) -> Positions:
    """Positions of `total` random examples, shared out over the classes in proportion.

    Each class has its own draw of the generator in label order, so one class's size does not move another's.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    shares = apportion(total, sizes.tolist())
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:share] for label, share in zip(classes, shares, strict=True)
    ]
    return np.concatenate([*chosen, np.array([], dtype=np.int64)])


@register
@dataclass(frozen=True)
class Random(Strategy):
    """A random fraction of the examples, every class in proportion.

    Helps as the baseline: it needs no trained model, and what it cannot beat is not worth scoring for.
    """

    name = "random"
    summary = "a random fraction F of the examples, every class in proportion"
    family = "Random Sample"
    source = "Shleifer & Prokop 2019, section 3.2 (All Classes-F)"

    fraction: float = setting(dataclasses.MISSING, FRACTION, "share of all training examples", symbol="F")

    def simplified(self) -> Strategy:
        return Full() if self.fraction == 1 else self

    @property
    def balanced(self) -> bool:
        return True

    def _choose(self, pool: Pool, rng: np.random.Generator) -> Positions:
        return stratified_sample(pool.labels, self.fraction, rng)
