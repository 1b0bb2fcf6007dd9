"""What a search is for, and what it knows after some trainings."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.seeds import generator
from proxyflow.searching.encoding import encode
from proxyflow.searching.ladder import Ladder
from proxyflow.searching.memory import TRUST as TRUST_OF_MEMORIES
from proxyflow.searching.memory import Memory
from proxyflow.searching.scales import Scale
from proxyflow.searching.standard import differ, early, most_seen, winsorized
from proxyflow.searching.surrogate import Belief, Evidence, Fit, Floats, Ints, Prior
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.metric import Metric
from proxyflow.spaces.space import Space

IN_FULL = 0.5  # of the budget, for trainings on the full data at least: proxies do not tell what they are worth
SEEDS = 2  # of a configuration on a proxy, at most
FIRST = 4  # configurations that are trained on a rung before there is a model, or it is dropped
# What a training that learned nothing says of its configuration is this much noisier: in variance, and the more so the
# fewer of its rung learn anything.
DOUBT = 4.0
BELIEVED_RANKED = 2.0  # trainings that learned something, which every rung has beforehand
SAMPLES = 1000
Z = 1.96  # standard deviations of a 95 % interval


@dataclass(frozen=True)
class Trial:
    """A training that a search asks for.

    Attributes:
        configuration: its hyperparameters.
        rung: number of its rung.
        seed: number of its seed, from 0.
    """

    configuration: Configuration
    rung: int
    seed: int


@dataclass(frozen=True)
class Observation:
    """A training that has ended.

    Attributes:
        trial: what was trained.
        value: the metric; not finite where it diverged.
        cost: in full trainings.
        unranked: whether it learned nothing (on a proxy, that says little of the target).
    """

    trial: Trial
    value: float
    cost: float
    unranked: bool = False


@dataclass(frozen=True)
class SearchPlan:
    """What is searched for, and with how much.

    Attributes:
        space: the space of the configurations.
        metric: what is compared.
        ladder: the rungs.
        candidates: the configurations to choose from, in the order in which they are tried while nothing is known.
        budget: in full trainings.
        tolerance: the search stops when the best configuration is within this of the best candidate: in points where
            the metric is a share, else in per cent of the spread of values; None never stops early.
        confirm: the most seeds of a configuration on the full data.
        seeds: the most seeds on a proxy.
        in_full: the part of the budget that full trainings have at least.
        seed: the root of all random streams.
        memories: what earlier studies found.
        prior: of the model.
    """

    space: Space
    metric: Metric
    ladder: Ladder
    candidates: tuple[Configuration, ...]
    budget: float
    tolerance: float | None = None
    confirm: int = 3
    seeds: int = SEEDS
    in_full: float = IN_FULL
    seed: int = 0
    memories: tuple[Memory, ...] = ()
    prior: Prior = field(default_factory=Prior)

    @cached_property
    def _memories(self) -> tuple[Memory, ...]:
        return tuple(memory.within(self.space) for memory in self.memories)

    @cached_property
    def points(self) -> Floats:
        """`(candidates and configurations of memories, columns)`, see `encode`."""
        remembered = [each for memory in self._memories for each in memory.configurations]
        return encode(self.space, [*self.candidates, *remembered])

    @cached_property
    def remembered(self) -> Evidence:
        """What the memories say, standardized each by itself; their rungs come before those of the ladder."""
        places, rungs, values, at = [], [], [], len(self.candidates)
        for rung, memory in enumerate(self._memories):
            known = np.array(memory.values, dtype=np.float64)
            if not len(known):
                continue
            same = np.zeros(len(known), dtype=np.int64)
            found = winsorized(Scale.of(self.metric, known).forward(known), same, 1, same == 0)
            values.append((found - np.median(found)) / (float(found.std()) if differ(found) else 1.0))
            places.append(np.arange(at, at + len(known)))
            rungs.append(same + rung)
            at += len(known)
        empty = np.zeros(0, dtype=np.int64)
        value = np.concatenate([np.zeros(0), *values])
        return Evidence(np.concatenate([empty, *places]), np.concatenate([empty, *rungs]), value, np.zeros(len(value)))

    @cached_property
    def places(self) -> dict[Configuration, int]:
        """Where a configuration is among the candidates."""
        return {each: place for place, each in enumerate(self.candidates)}

    def most_seeds(self, rung: int) -> int:
        """Of one configuration on a rung."""
        return self.confirm if rung == self.ladder.target else self.seeds


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What a search knows after some observations.

    Attributes:
        plan: of the search.
        observations: in the order in which they were told.
        pending: trainings that have been started. They are taken to give what is believed of them.
    """

    plan: SearchPlan
    observations: tuple[Observation, ...]
    pending: tuple[Trial, ...] = ()

    def before(self, ago: int) -> Knowledge:
        """What was known before the last trainings had ended."""
        return replace(self, observations=self.observations[:-ago], pending=())

    @cached_property
    def _arrays(self) -> tuple[Ints, Ints, Floats]:
        trials = [each.trial for each in self.observations]
        place = np.array([self.plan.places[each.configuration] for each in trials], dtype=np.int64)
        rung = np.array([each.rung for each in trials], dtype=np.int64)
        value = self.scale.forward(np.array([each.value for each in self.observations], dtype=np.float64))
        known = np.isfinite(value)
        # What diverged is as bad as the worst; without any other value there is nothing to compare.
        return place, rung, np.where(known, value, value[known].min() if known.any() else 0.0)

    @cached_property
    def scale(self) -> Scale:
        """On which values are modelled."""
        values = np.array([each.value for each in self.observations], dtype=np.float64)
        return Scale.of(self.plan.metric, values[np.isfinite(values)])

    @cached_property
    def standard(self) -> tuple[float, float]:
        """The middle and the spread by which values are standardized."""
        _, rung, value = self._arrays
        if not len(value):
            return 0.0, 1.0
        sample = self._sample
        seen = winsorized(value, rung, len(self.plan.ladder), sample)[(rung == most_seen(rung[sample])) & sample]
        # Where all of the largest rung tie, others may not.
        spread = next((float(each.std()) for each in (seen, value) if differ(each)), 1.0)
        return float(np.median(seen)), spread

    @cached_property
    def evidence(self) -> Evidence:
        """All observations, standardized; rungs are numbered as in the ladder."""
        place, rung, value = self._arrays
        middle, spread = self.standard
        standardized = (winsorized(value, rung, len(self.plan.ladder), self._sample) - middle) / spread
        return Evidence(place, rung, standardized, np.where(self._unranked, DOUBT / self.ranked[rung] ** 2, 0.0))

    @cached_property
    def _unranked(self) -> NDArray[np.bool_]:
        """Which observations learned nothing on a proxy; on the target that is a result."""
        target = self.plan.ladder.target
        return np.array([each.unranked and each.trial.rung < target for each in self.observations], dtype=bool)

    @cached_property
    def _sample(self) -> NDArray[np.bool_]:
        """Which observations say how much configurations differ: not those that learned nothing, if others tell."""
        place, rung, value = self._arrays
        sample = early(place, rung)
        learned = sample & ~self._unranked
        return learned if learned.any() and differ(value[learned]) else sample

    @cached_property
    def ranked(self) -> Floats:
        """`(rungs,)`, the share of a rung's trainings that learn something, and so rank their configurations."""
        _, rung, _ = self._arrays
        some = np.array([not each.unranked for each in self.observations], dtype=np.float64)
        n = np.bincount(rung, minlength=len(self.plan.ladder))
        learned = np.bincount(rung, weights=some, minlength=len(self.plan.ladder))
        share = (learned + BELIEVED_RANKED) / (n + BELIEVED_RANKED)
        return np.append(share[:-1], 1.0)  # on the target, learning nothing is a result

    def is_dropped(self, rung: int) -> bool:
        """Whether a rung is of no use, as nothing learns on it; the target never is."""
        flags = [each.unranked for each in self.observations if each.trial.rung == rung]
        return rung < self.plan.ladder.target and len(flags) >= FIRST and all(flags)

    @cached_property
    def belief(self) -> Belief:
        """The model, fitted to the observations; pending trainings count as observed where they are believed to be."""
        plan, memories = self.plan, len(self.plan.memories)
        evidence = _joined(plan.remembered, _moved(self.evidence, memories))
        trust = [TRUST_OF_MEMORIES] * memories + [each.trust for each in plan.ladder.rungs[:-1]]
        fit = Fit(plan.points, evidence, np.array(trust), plan.prior, memories)
        parameters = fit.unpack(fit.best())
        belief = Belief(plan.points, evidence, parameters, plan.prior)
        if not self.pending:
            return belief
        place = np.array([plan.places[each.configuration] for each in self.pending])
        rung = memories + np.array([each.rung for each in self.pending])
        value = np.array([belief.mean_of(r)[p] for p, r in zip(place, rung, strict=True)])
        joined = _joined(evidence, Evidence(place, rung, value, np.zeros(len(place))))
        return Belief(plan.points, joined, parameters, plan.prior)

    @cached_property
    def mean(self) -> Floats:
        """`(candidates,)`, the believed values on the target, standardized."""
        return self.belief.mean[: len(self.plan.candidates)]

    def shift(self, rung: int, places: Ints) -> Floats:
        """`(candidates, k)`, see `Belief.shift`, for a rung of the ladder."""
        return self.belief.shift(len(self.plan.memories) + rung, places)[: len(self.plan.candidates)]

    def trust(self, rung: int) -> float:
        """How far a rung of the ladder is believed to correlate with the target."""
        return float(self.belief.parameters.trust[len(self.plan.memories) + rung])

    @cached_property
    def weights(self) -> dict[str, float]:
        """By memory, the share of the target's variance that it is believed to explain."""
        trust = self.belief.parameters.trust
        return {memory.name: float(trust[rung] ** 2) for rung, memory in enumerate(self.plan.memories)}

    @cached_property
    def _seeds(self) -> dict[tuple[int, int], set[int]]:
        found: dict[tuple[int, int], set[int]] = {}
        for each in (*(each.trial for each in self.observations), *self.pending):
            found.setdefault((self.plan.places[each.configuration], each.rung), set()).add(each.seed)
        return found

    def seeds(self, place: int, rung: int) -> set[int]:
        """Of the trainings of a configuration on a rung that have ended or been started."""
        return self._seeds.get((place, rung), set())

    def next_trial(self, place: int, rung: int) -> Trial:
        """The next training of a configuration on a rung, with the first seed that is free."""
        taken = self.seeds(place, rung)
        seed = next(number for number in range(len(taken) + 1) if number not in taken)
        return Trial(self.plan.candidates[place], rung, seed)

    def is_open(self, place: int, rung: int) -> bool:
        """Whether a configuration may be trained on a rung once more."""
        return len(self.seeds(place, rung)) < self.plan.most_seeds(rung)

    @cached_property
    def in_full(self) -> tuple[int, ...]:
        """Places of the configurations that have been trained on the target."""
        target = self.plan.ladder.target
        return tuple(
            sorted({self.plan.places[o.trial.configuration] for o in self.observations if o.trial.rung == target})
        )

    def seeds_seen(self, place: int) -> set[int]:
        """Of the trainings of a configuration on the target that have ended."""
        target, candidate = self.plan.ladder.target, self.plan.candidates[place]
        trials = (each.trial for each in self.observations)
        return {trial.seed for trial in trials if (trial.configuration, trial.rung) == (candidate, target)}

    def seen_in_full(self, place: int) -> tuple[float, ...]:
        """The finite values of a configuration on the target, by seed."""
        target = self.plan.ladder.target
        own = [each for each in self.observations if each.trial.rung == target]
        own = [each for each in own if self.plan.places[each.trial.configuration] == place]
        return tuple(each.value for each in sorted(own, key=lambda o: o.trial.seed) if math.isfinite(each.value))

    @cached_property
    def recommended(self) -> int:
        """The place of the best configuration of those that were trained in full; of all while there is none."""
        return max(self.in_full, key=lambda place: float(self.mean[place])) if self.in_full else self.best

    @cached_property
    def best(self) -> int:
        """The place of the configuration with the best believed value on the target."""
        return int(np.argmax(self.mean))

    def value_of(self, place: int) -> tuple[float, float, float]:
        """What is believed of a configuration's value on the target: it and its 95 % interval, in the metric's unit."""
        if not any(math.isfinite(each.value) for each in self.observations):
            return math.nan, math.nan, math.nan
        deviation = math.sqrt(max(self.belief.covariance[place, place], 0.0))
        mean = float(self.mean[place])
        value, *ends = self.in_metric(np.array([mean, mean - Z * deviation, mean + Z * deviation])).tolist()
        return value, min(ends), max(ends)

    def in_metric(self, standardized: Floats) -> Floats:
        """Standardized values in the metric's unit."""
        middle, spread = self.standard
        return self.scale.back(middle + spread * standardized)

    def tolerated(self, tolerance: float) -> float:
        """A tolerance, see `SearchPlan`, as a loss: in points for shares, else in the metric's own unit.

        Per cent of the spread are worth different amounts at different values of a loss, so they count from the best.
        """
        metric = self.plan.metric
        if metric.share:
            return tolerance
        best = float(self.mean.max())
        value, worse = self.in_metric(np.array([best, best - tolerance / 100])).tolist()
        return float(abs(value - worse))

    @cached_property
    def samples(self) -> Floats:
        """`(SAMPLES, candidates)` draws of all configurations' values from what is believed, standardized."""
        n = len(self.plan.candidates)
        covariance = self.belief.covariance[:n, :n] + 1e-9 * np.eye(n)
        values, vectors = np.linalg.eigh(covariance)
        rng = generator(self.plan.seed, "search", "samples")
        drawn = rng.standard_normal((SAMPLES, len(values))) * np.sqrt(np.maximum(values, 0))
        return np.asarray(self.mean + drawn @ vectors.T)

    def chance_of_better(self, place: int, tolerance: float) -> float:
        """The probability that a candidate beats a configuration by more than a tolerance, see `SearchPlan`."""
        samples, metric = self.samples, self.plan.metric
        if not metric.share:
            return float((samples.max(axis=1) - samples[:, place] > tolerance / 100).mean())
        better = metric.sign * (self.in_metric(samples.max(axis=1)) - self.in_metric(samples[:, place]))
        return float((better > tolerance / 100).mean())


def _joined(first: Evidence, second: Evidence) -> Evidence:
    pairs = ((getattr(first, name), getattr(second, name)) for name in ("place", "rung", "value", "doubt"))
    return Evidence(*map(np.concatenate, pairs))


def _moved(evidence: Evidence, rungs: int) -> Evidence:
    return replace(evidence, rung=evidence.rung + rungs)
