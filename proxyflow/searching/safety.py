"""What tuning on a proxy is expected to lose, from a few configurations that were trained on it and in full."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from proxyflow.core.seeds import generator
from proxyflow.searching.knowledge import Knowledge
from proxyflow.searching.surrogate import Floats

CANDIDATES = 100  # tuning on a proxy chooses from about so many, whatever their number in the space
CONFIGURATIONS = 10  # that a check trains
WORLDS = 400  # draws of all values that what was seen leaves possible
SEEDS = 20  # trainings of every candidate on the proxy, in each of them


@dataclass(frozen=True)
class Loss:
    """What tuning on a rung loses, against the best candidate.

    Attributes:
        rung: its number; the target's is what tuning on the full data loses.
        value: expected, in points where the metric is a share, else in the metric's own unit.
        low, high: the ends of the 95 % interval of what is expected, given what was seen.
    """

    rung: int
    value: float
    low: float
    high: float

    def is_safe(self, tolerance: float) -> bool:
        """Whether it loses no more than a tolerance, as far as can be told."""
        return self.high <= tolerance


def expected_loss(knowledge: Knowledge, rung: int) -> Loss:
    """What choosing the best of all candidates by one training each on a rung is expected to lose.

    Args:
        knowledge: of configurations that were trained on the rung and on the target.
        rung: number of a rung of the ladder.
    """
    belief, n = knowledge.belief, len(knowledge.plan.candidates)
    here, target = len(knowledge.plan.memories) + rung, belief.target
    means = np.concatenate([belief.mean_of(here)[:n], belief.mean_of(target)[:n]])
    blocks = [[belief.covariance_of(a, b)[:n, :n] for b in (here, target)] for a in (here, target)]
    values, vectors = np.linalg.eigh(np.block(blocks))
    rng = generator(knowledge.plan.seed, "search", "safety", rung)
    drawn = means + (rng.standard_normal((WORLDS, 2 * n)) * np.sqrt(np.maximum(values, 0))) @ vectors.T
    proxy, truth = drawn[:, :n], drawn[:, n:]
    noise = belief.parameters.noise[here] * belief.parameters.spread[here]
    seen = proxy[:, None] + noise * rng.standard_normal((WORLDS, SEEDS, n))
    chosen = np.take_along_axis(truth, seen.argmax(axis=2), axis=1)
    lost = _in_unit(knowledge, truth.max(axis=1)[:, None], chosen).mean(axis=1)
    low, high = np.quantile(lost, [0.025, 0.975])
    return Loss(rung, float(lost.mean()), float(low), float(high))


def _in_unit(knowledge: Knowledge, best: Floats, chosen: Floats) -> Floats:
    metric = knowledge.plan.metric
    return np.asarray(metric.scale * metric.sign * (knowledge.in_metric(best) - knowledge.in_metric(chosen)))
