"""The configurations that a search chooses from, which grow with what it has seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from proxyflow.core.seeds import stream_seed
from proxyflow.searching.knowledge import Knowledge, Observation, SearchPlan
from proxyflow.searching.samplers.protocol import Sampler, Told
from proxyflow.spaces.configuration import Configuration

EVERY = 8  # finished trainings, after which a sampler is asked
PROPOSED, TAKEN = 64, 8  # of a sampler's proposals, those that the model likes best are taken
HOPE = 1.0  # standard deviations above the believed value, by which they are compared


@dataclass(eq=False)
class Pool:
    """A search's plan with all candidates: those that it began with, and what its sampler has proposed since.

    Proposals depend on the finished trainings alone, so that a search resumes with the same.

    Attributes:
        plan: that the search began with.
        sampler: None where nothing but its candidates may be trained.
    """

    plan: SearchPlan
    sampler: Sampler | None = None
    _stages: list[tuple[tuple[Observation, ...], SearchPlan]] = field(default_factory=list)

    def plan_after(self, observations: tuple[Observation, ...], others: Iterable[Configuration] = ()) -> SearchPlan:
        """The plan once some trainings have finished.

        Args:
            observations: the finished trainings, in order.
            others: configurations that are being trained, such as by another process that has other candidates.
        """
        plan = self.plan
        for stage, end in enumerate(range(EVERY, len(observations) + 1, EVERY) if self.sampler else ()):
            known = observations[:end]
            if stage == len(self._stages) or self._stages[stage][0] != known:
                self._stages[stage:] = [(known, self._grown(plan, known))]
            plan = self._stages[stage][1]
        return _with(plan, [*(each.trial.configuration for each in observations), *others])

    def _grown(self, plan: SearchPlan, observations: tuple[Observation, ...]) -> SearchPlan:
        plan = _with(plan, [each.trial.configuration for each in observations])
        knowledge = Knowledge(plan, observations)
        places = dict.fromkeys(plan.places[each.trial.configuration] for each in observations)
        told = [Told(plan.candidates[place], float(knowledge.mean[place])) for place in places]
        seed = stream_seed(plan.seed, "search", "sampler", len(observations))
        assert self.sampler is not None
        proposed = list(islice(self.sampler.propose(plan.space, told, seed), PROPOSED))
        wider = _with(plan, proposed)
        if len(wider.candidates) <= len(plan.candidates) + TAKEN:
            return wider
        known, new = Knowledge(wider, observations), slice(len(plan.candidates), len(wider.candidates))
        deviation = np.sqrt(np.maximum(known.belief.covariance.diagonal()[new], 0))
        order = np.argsort(-(known.mean[new] + HOPE * deviation), kind="stable")
        return _with(plan, [wider.candidates[new][place] for place in order[:TAKEN]])


def _with(plan: SearchPlan, configurations: Sequence[Configuration]) -> SearchPlan:
    new = [each for each in dict.fromkeys(configurations) if each not in plan.places]
    return replace(plan, candidates=(*plan.candidates, *new)) if new else plan
