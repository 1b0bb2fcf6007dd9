"""What a search trains next: a pure function of what it has seen, so that it resumes from its trainings alone.

Each decision takes the training that is expected to raise the value of the best configuration most for its cost
(knowledge gradient per cost, Frazier et al. 2009; over several fidelities Poloczek, Wang & Frazier 2017), by the joint
model of all rungs (`surrogate`). Which configuration, on which rung and with which seed is one decision: cheap rungs
explore while they tell much, promising configurations move up, doubtful finalists get another seed.
"""

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
from proxyflow.searching.surrogate import Belief, Evidence, Fit, Floats, Ints, Prior, knowledge_gradient
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.metric import Metric
from proxyflow.spaces.space import Space

SEEDS = 2  # of a configuration on a proxy, at most
FIRST = 4  # configurations that are trained on a rung before there is a model, or it is dropped
FEW = 6  # values of a rung that do not have a spread of their own
QUANTILE, WORST = 0.9, 2.0
# What a training that learned nothing says of its configuration is this much noisier: in variance, and the more so the
# fewer of its rung learn anything.
DOUBT = 4.0
BELIEVED_RANKED = 2.0  # trainings that learned something, which every rung has beforehand
SAMPLES = 1000
SURE = 0.05
WAITING = "the first trainings have not ended yet"
Z = 1.96  # standard deviations of a 95 % interval
LEAST_SPREAD = 1e-9  # relative to the values: a smaller one is the rounding error of ties


@dataclass(frozen=True)
class Trial:
    """A training that a search asks for.

    Attributes:
        configuration: its hyperparameters.
        rung: number of its rung.
        seed: number of its seed, from 0: how many there are of this configuration on this rung before.
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
            found = _winsorized(Scale.of(self.metric, known).forward(known), same, 1)
            values.append((found - np.median(found)) / (float(found.std()) if _differ(found) else 1.0))
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


@dataclass(frozen=True)
class Decision:
    """What to do next.

    Attributes:
        trial: the training to start; None where the search ends.
        reason: why, in a few words.
        gain: the expected rise of the best value per full training, in standard deviations of the values; nan without
            a model.
    """

    trial: Trial | None
    reason: str
    gain: float = math.nan


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
        seen = _winsorized(value, rung, len(self.plan.ladder))[rung == _most_seen(rung)]
        # Where all of the largest rung tie, others may not.
        spread = next((float(each.std()) for each in (seen, value) if _differ(each)), 1.0)
        return float(np.median(seen)), spread

    @cached_property
    def evidence(self) -> Evidence:
        """All observations, standardized; rungs are numbered as in the ladder."""
        place, rung, value = self._arrays
        middle, spread = self.standard
        standardized = (_winsorized(value, rung, len(self.plan.ladder)) - middle) / spread
        unranked = np.array([each.unranked for each in self.observations], dtype=bool) & (
            rung < self.plan.ladder.target
        )
        return Evidence(place, rung, standardized, np.where(unranked, DOUBT / self.ranked[rung] ** 2, 0.0))

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


def _most_seen(rung: Ints) -> int:
    return int(np.bincount(rung).argmax())


def _winsorized(value: Floats, rung: Ints, rungs: int) -> Floats:
    """Values that are not far below their rung's median.

    How bad a bad configuration is says nothing of the good ones, and a Gaussian model would spend itself on it.
    """
    if not len(value):
        return value
    found = value.copy()
    usual = _upper_spread(value[rung == _most_seen(rung)])
    for number in range(rungs):
        of_rung = value[rung == number]
        if len(of_rung) >= FEW:
            spread = _upper_spread(of_rung)
            floor = float(np.median(of_rung)) - WORST * spread
        elif len(of_rung):
            spread = usual
            floor = float(of_rung.max()) - (WORST + 1) * spread
        else:
            continue
        if spread > 0:  # else the better half ties, and tells nothing of how far is far
            found[rung == number] = np.maximum(of_rung, floor)
    return found


def _upper_spread(values: Floats) -> float:
    """How far the good values are above the median; 0 where they tie."""
    spread = float(np.quantile(values, QUANTILE) - np.median(values))
    return spread if spread > LEAST_SPREAD * (1 + abs(float(np.median(values)))) else 0.0


def _differ(values: Floats) -> bool:
    return bool(values.std() > LEAST_SPREAD * (1 + abs(float(np.median(values)))))


def decide(knowledge: Knowledge, cost: Floats, left: float) -> Decision:
    """The next training of a search.

    Args:
        knowledge: what it knows.
        cost: `(candidates, rungs)` of a training, in full trainings.
        left: how much of the budget is neither spent nor pending.

    Returns:
        The training that is expected to be worth most for its cost; none where nothing is affordable, nothing is worth
        its cost, or the search is sure.
    """
    plan, target = knowledge.plan, knowledge.plan.ladder.target
    # Nobody should be told of a value on the full data that was not measured there: one training in full is kept back
    # for it until there is one.
    full = bool(knowledge.in_full) or any(trial.rung == target for trial in knowledge.pending)
    kept = 0.0 if full else float(np.min(cost[:, target]))
    opening = _opening(knowledge, cost, left, kept)
    if opening is not None:
        return Decision(opening, "nothing is known yet")
    if not knowledge.observations:
        if knowledge.pending:
            return Decision(None, WAITING)
        return Decision(None, "the budget does not pay for a training of any candidate")
    if _is_sure(knowledge):
        return Decision(None, "the best configuration is within the tolerance")
    best, chosen = -math.inf, None
    for rung in range(len(plan.ladder)):
        places = _affordable(knowledge, cost[:, rung], rung, left if rung == target else left - kept)
        if not len(places) or knowledge.is_dropped(rung):
            continue
        gains = knowledge_gradient(knowledge.mean, knowledge.shift(rung, places)) / cost[places, rung]
        gains *= knowledge.ranked[rung]
        place = int(np.argmax(gains))
        if gains[place] > best:
            best, chosen = float(gains[place]), (int(places[place]), rung)
    place, rung = chosen if chosen is not None else (knowledge.best, target)
    # What is left pays for one training in full, and not for this one and another.
    if not full and left + 1e-9 < np.min(cost[:, target]) + cost[place, rung] and chosen is not None:
        payable = [at for at in np.argsort(-knowledge.mean, kind="stable") if cost[at, target] <= left + 1e-9]
        if payable:
            return Decision(knowledge.next_trial(int(payable[0]), target), "what is left pays for this alone")
    if chosen is None:
        some = any(
            knowledge.is_open(place, rung) for place in range(len(plan.candidates)) for rung in range(target + 1)
        )
        return Decision(None, "the budget is spent" if some else "every candidate was trained with all of its seeds")
    return Decision(knowledge.next_trial(place, rung), "the largest expected gain for its cost", best)


def _opening(knowledge: Knowledge, cost: Floats, left: float, kept: float) -> Trial | None:
    """The first trainings: candidates in their order, or that of memories, on the cheapest rung that learns."""
    plan, target = knowledge.plan, knowledge.plan.ladder.target
    rung = next(number for number in range(len(plan.ladder)) if not knowledge.is_dropped(number))
    # Counted when they have ended, so that many workers open with many candidates.
    if sum(each.trial.rung == rung for each in knowledge.observations) >= FIRST:
        return None
    places = list(range(len(plan.candidates)))
    if plan.memories:
        remembered = Knowledge(plan, ()).mean
        places.sort(key=lambda place: -remembered[place])
    for on, most in ((rung, left if rung == target else left - kept), (target, left)):
        for place in places:
            if not knowledge.seeds(place, on) and cost[place, on] <= most + 1e-9:
                return knowledge.next_trial(place, on)
        if knowledge.observations or knowledge.pending:
            break  # what is kept back is for the best, once something is known
    return None


def _affordable(knowledge: Knowledge, cost: Floats, rung: int, left: float) -> NDArray[np.int64]:
    open_ = [place for place in range(len(cost)) if knowledge.is_open(place, rung) and cost[place] <= left + 1e-9]
    return np.array(open_, dtype=np.int64)


def _is_sure(knowledge: Knowledge) -> bool:
    """Whether the best configuration was trained in full and is very likely within the tolerance of the best."""
    plan, best = knowledge.plan, knowledge.best
    if plan.tolerance is None or best not in knowledge.in_full:
        return False
    return knowledge.chance_of_better(best, plan.tolerance) < SURE
