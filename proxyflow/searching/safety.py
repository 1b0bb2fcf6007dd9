"""What tuning on a proxy is expected to lose, from a few configurations that were trained on it and in full."""

from __future__ import annotations

import math
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
        more: the same three of what it loses more than tuning on the full data does.
    """

    rung: int
    value: float
    low: float
    high: float
    more: tuple[float, float, float] = (0.0, 0.0, 0.0)


def expected_loss(knowledge: Knowledge, rung: int) -> Loss:
    """What choosing the best of all candidates by one training each on a rung is expected to lose.

    Where nothing learned on the rung, the choice is a random one.

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

    def lost_by(values: Floats, on: int) -> Floats:
        """`(WORLDS,)`, what the choice by trainings on a rung with these values loses."""
        noise = belief.parameters.noise[on] * belief.parameters.spread[on]
        seen = values[:, None] + noise * rng.standard_normal((WORLDS, SEEDS, n))
        chosen = np.take_along_axis(truth, seen.argmax(axis=2), axis=1)
        return np.asarray(_in_unit(knowledge, truth.max(axis=1)[:, None], chosen).mean(axis=1))

    if knowledge.is_dropped(rung):
        lost = _in_unit(knowledge, truth.max(axis=1)[:, None], truth).mean(axis=1)
    else:
        lost = lost_by(proxy, here)
    more = lost - lost_by(truth, target) if here != target else np.zeros(WORLDS)
    return Loss(rung, *_expected(lost), more=_expected(more))


def _expected(lost: Floats) -> tuple[float, float, float]:
    """The mean over worlds, and the interval."""
    low, high = np.quantile(lost, [0.025, 0.975])
    return float(lost.mean()), float(low), float(high)


def loss_seen(knowledge: Knowledge, rung: int) -> float:
    """What choosing by the rung would have lost among the configurations that were trained on it and in full.

    Returns:
        The mean over ties for the first place, of single trainings in full; nan where there is none of both. What
        diverged counts as the worst of its rung.
    """
    metric, target = knowledge.plan.metric, knowledge.plan.ladder.target
    values: dict[int, dict[int, float]] = {rung: {}, target: {}}
    for each in knowledge.observations:
        if each.trial.rung in values and each.trial.seed == 0:
            values[each.trial.rung][knowledge.plan.places[each.trial.configuration]] = metric.sign * each.value
    for found in values.values():
        finite = [value for value in found.values() if math.isfinite(value)]
        found.update({place: min(finite, default=math.nan) for place in found if not math.isfinite(found[place])})
    both = values[rung].keys() & values[target].keys()
    if not both or any(math.isnan(found[place]) for found in values.values() for place in both):
        return math.nan
    first = max(values[rung][place] for place in both)
    chosen = [values[target][place] for place in both if values[rung][place] == first]
    return metric.scale * (max(values[target][place] for place in both) - sum(chosen) / len(chosen))


def _in_unit(knowledge: Knowledge, best: Floats, chosen: Floats) -> Floats:
    metric = knowledge.plan.metric
    return np.asarray(metric.scale * metric.sign * (knowledge.in_metric(best) - knowledge.in_metric(chosen)))
