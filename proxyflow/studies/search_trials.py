"""What a search may train, and what of it has been trained, as the tracking server has it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from proxyflow.core.errors import UserError
from proxyflow.proxies import Proxy
from proxyflow.quality.unranked import flag_unranked
from proxyflow.searching.knowledge import SEEDS, Observation, SearchPlan, Trial
from proxyflow.searching.ladder import Ladder
from proxyflow.searching.memory import Memory
from proxyflow.searching.pool import Pool
from proxyflow.searching.samplers import samplers
from proxyflow.searching.surrogate import Floats
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.grids import Grid
from proxyflow.spaces.space import Space
from proxyflow.studies.bill import Bill
from proxyflow.studies.context import StudyContext
from proxyflow.studies.dependencies import Dependencies, SubsetId, subset_id
from proxyflow.studies.plan import AUTO, PlannedTraining, StudySpec, training_spec
from proxyflow.studies.scheduler import COUNT_SECONDS, COUNT_SHARE
from proxyflow.studies.tasks import SubsetRef, Task
from proxyflow.tracking import names
from proxyflow.tracking.queries.reader import search, trainings
from proxyflow.tracking.queries.tracked_run import TrackedRun
from proxyflow.trainers import Trainer

if TYPE_CHECKING:
    from proxyflow.studies.estimate import Size

# What ended so shortly before the latest is read again, in ms: clocks of machines differ, and what ends first may
# arrive last. More than that is found where everything is read.
OVERLAP = 10_000


@dataclass(frozen=True)
class SearchSpec:
    """A search for the best configuration on one data set.

    Attributes:
        dataset: the data set.
        trainer: the trainer.
        space: the space of the configurations.
        candidates: what is chosen from, in the order in which it is tried while nothing is known: the default first.
        sampler: name of the sampler that proposes more of the space; None where the candidates are all that may be
            trained.
        ladder: the proxies from cheap to expensive, the target last.
        epochs: of the target.
        budget: in full trainings.
        tolerance: see `SearchPlan`.
        confirm: the most seeds of a configuration on the full data.
        seed: the first of the trainings' seeds, and the root of all random streams of the search.
        scores: see `StudySpec`.
        memory: which memories it has; `auto` keeps those that it began with.
    """

    dataset: str
    trainer: Trainer
    space: Space
    candidates: Grid
    ladder: tuple[Proxy, ...]
    epochs: int
    budget: float = 8.0
    tolerance: float | None = None
    confirm: int = 3
    seed: int = 0
    scores: str = AUTO
    memory: str = AUTO
    sampler: str | None = None

    @cached_property
    def study(self) -> StudySpec:
        """All that it may train, as a study: what is checked and needed for it."""
        seeds = tuple(range(self.seed, self.seed + max(self.confirm, SEEDS)))
        return StudySpec((self.dataset,), self.ladder, self.candidates, self.trainer, self.epochs, seeds, self.scores)

    def planned(self, trial: Trial, reason: str = "") -> PlannedTraining:
        """The training of a trial."""
        seed = self.seed + trial.seed
        spec = training_spec(trial.configuration, self.epochs, seed, self.trainer, self.ladder[trial.rung])
        return PlannedTraining(self.dataset, spec, reason)

    @property
    def is_open(self) -> bool:
        """Whether configurations of the space beside the candidates may be trained."""
        return self.sampler is not None

    def pool(self, steps: Sequence[float], memories: tuple[Memory, ...] = ()) -> Pool:
        """The candidates, and what the sampler adds to them; see `plan`.

        Raises:
            UserError: the sampler needs a package that is not installed.
        """
        sampler = samplers[self.sampler] if self.sampler else None
        if sampler is not None:
            next(sampler.propose(self.space, (), self.seed), None)  # lacks nothing, or says so before any training
        return Pool(self.plan(steps, memories), sampler)

    def plan(self, steps: Sequence[float], memories: tuple[Memory, ...] = ()) -> SearchPlan:
        """What decisions are made by, before the sampler proposes anything.

        Args:
            steps: optimizer steps by rung, relative to the target's.
            memories: what earlier studies found.
        """
        return SearchPlan(
            space=self.space,
            metric=self.trainer.metric,
            ladder=Ladder.of(self.ladder, steps),
            candidates=self.candidates,
            budget=self.budget,
            tolerance=self.tolerance,
            confirm=self.confirm,
            seed=self.seed,
            memories=memories,
        )


class Prices:
    """What a search's trainings are expected to cost before they are made, in full trainings.

    By arithmetic where the trainer knows it, else by examples.

    Args:
        context: of the study.
        spec: the search.
    """

    def __init__(self, context: StudyContext, spec: SearchSpec) -> None:
        from proxyflow.studies.estimate import Sizes  # imports torch

        self._spec, self._sizes = spec, Sizes(context)
        self._works: dict[Configuration, Floats] = {}
        steps = []
        for configuration in spec.candidates:
            found = self._sizes_of(configuration)
            self._works[configuration] = np.array([each.work for each in found])
            steps.append([float(each.steps) for each in found])
        self._unit = float(np.mean([work[-1] for work in self._works.values()]))
        known = np.array(steps) if np.min(steps) > 0 else self.table(spec.candidates)
        self.steps: Floats = np.median(known / known[:, -1:], axis=0)
        """`(rungs,)` median optimizer steps relative to the target's, or costs where steps are not known."""

    def _sizes_of(self, configuration: Configuration) -> list[Size]:
        rungs = range(len(self._spec.ladder))
        return [self._sizes.of(self._spec.planned(Trial(configuration, rung, 0))) for rung in rungs]

    def of(self, configuration: Configuration) -> Floats:
        """`(rungs,)` of one configuration."""
        if configuration not in self._works:
            self._works[configuration] = np.array([each.work for each in self._sizes_of(configuration)])
        return self._works[configuration] / self._unit

    def table(self, configurations: Sequence[Configuration]) -> Floats:
        """`(configurations, rungs)`."""
        return np.array([self.of(each) for each in configurations])


def values_in_full(context: StudyContext, spec: SearchSpec) -> dict[Configuration, float]:
    """Values of the candidates that were trained on the full data in the context's study, means over the seeds."""
    trials = SearchTrials(context, spec, Dependencies.of(context, spec.study), Prices(context, spec))
    trials.refresh()
    values: dict[Configuration, list[float]] = {}
    for each in trials.observations:
        if each.trial.rung == len(spec.ladder) - 1 and math.isfinite(each.value):
            values.setdefault(each.trial.configuration, []).append(each.value)
    return {configuration: fmean(found) for configuration, found in values.items()}


@dataclass(eq=False)
class SearchTrials:
    """The trainings of a search on the server.

    Attributes:
        context: client and caches.
        spec: the search.
        dependencies: of its trainings.
        prices: of trainings.
        reasons: why trainings were started, as JSON by run id; what no search asked for has none.
        others: what other processes are training.
        bills: what trainings took, by run id.
    """

    context: StudyContext
    spec: SearchSpec
    dependencies: Dependencies
    prices: Prices
    reasons: dict[str, str] = field(default_factory=dict)
    others: tuple[Trial, ...] = ()
    bills: dict[str, Bill] = field(default_factory=dict)
    _observed: dict[str, tuple[int, str, Observation]] = field(default_factory=dict)
    _subsets: dict[SubsetId, SubsetRef] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)
    _latest: int = 0
    _everything_at: float = -math.inf

    @property
    def _ordered(self) -> list[tuple[int, str, Observation]]:
        return sorted(self._observed.values(), key=lambda each: each[:2])

    @property
    def observations(self) -> tuple[Observation, ...]:
        """What has ended, in order."""
        return tuple(each for _, _, each in self._ordered)

    @property
    def run_ids(self) -> tuple[str, ...]:
        """Of the observations."""
        return tuple(run_id for _, run_id, _ in self._ordered)

    def knows(self, key: str) -> bool:
        """Whether a training has ended, or another process is making it."""
        return key in self._observed or key in self._running

    @property
    def spent(self) -> float:
        """In full trainings."""
        return sum(each.cost for _, _, each in self._observed.values())

    def cost_of(self, trial: Trial) -> float:
        """In full trainings, before it is made."""
        return float(self.prices.of(trial.configuration)[trial.rung])

    def task(self, planned: PlannedTraining, parent_id: str) -> Task:
        """The task of a training; makes its subset where there is none."""
        found = self._subset_of(planned)
        if found is None:
            found = self._subsets[subset_id(planned)] = self.dependencies.ensure(planned, parent_id)
        return self.dependencies.task(planned, found)

    def _subset_of(self, planned: PlannedTraining) -> SubsetRef | None:
        """The training's subset; None where nobody has made it."""
        key = subset_id(planned)
        if key not in self._subsets and (found := self.dependencies.find(planned)) is not None:
            self._subsets[key] = found
        return self._subsets.get(key)

    def refresh(self, pending: Collection[str] = (), everything: bool = False) -> list[str]:
        """Reads what has ended since the last time, by this process or others, and what others are training.

        This takes as many calls for a thousand trainings as for ten.

        Args:
            pending: keys of the trainings that this process has started.
            everything: reads all that has ended, which is done at times anyway. A training may arrive long after it
                ended: its process or the server died, or a machine's clock is late.

        Returns:
            Keys of the trainings that have ended.
        """
        experiment = [self.context.writer.experiment_id]

        def note(run: TrackedRun) -> None:
            if names.REASON in run.tags:
                self.reasons[run.id] = run.tags[names.REASON]

        begun = time.monotonic()
        everything = everything or begun >= self._everything_at
        since = 0 if everything else max(0, self._latest - OVERLAP)
        frame = trainings(self.context.client, experiment, note, ended_after=since)
        if everything:
            now = time.monotonic()
            self._everything_at = now + max(COUNT_SECONDS, (now - begun) / COUNT_SHARE)
        frame = frame[(frame["status"] == "finished") & ~frame["run_key"].isin(self._observed)]
        unranked = flag_unranked(frame, self.spec.trainer.metric).fillna(value=False).astype(bool)
        rows: list[dict[str, Any]] = frame.to_dict("records")  # type: ignore[assignment]  # columns have names
        found = []
        for row, flag in zip(rows, unranked, strict=True):
            key, run_id, ended = row["run_key"], row["run_id"], int(row["end_time"])
            trial = self._trial_of(row["config_json"], row["strategy"], row["seed"], key)
            if trial is None:
                continue
            # What no search asked for was paid by the sweep that trained it.
            cost = self.cost_of(trial) if run_id in self.reasons else 0.0
            self._observed[key] = ended, run_id, Observation(trial, row["objective"], cost, bool(flag))
            self.bills[run_id] = Bill(row["train_seconds"], row["cost_usd"])
            self._latest = max(self._latest, ended)
            found.append(key)
        others = {}
        for run in search(self.context.client, experiment, running=True, KIND="training"):
            trial = self._trained_by_others(run, pending)
            if trial is not None:
                others[run.tags[names.RUN_KEY]] = trial
        self._running = set(others)
        self.others = tuple(others.values())
        return found

    def _trained_by_others(self, run: TrackedRun, pending: Collection[str]) -> Trial | None:
        key = run.tags.get(names.RUN_KEY, "")
        if key in pending or key in self._observed or self.context.writer.is_stale(run):
            return None
        seed = run.tags.get(names.SEED, "")
        described = run.tags.get(names.CONFIG_JSON, ""), run.tags.get(names.STRATEGY, "")
        return self._trial_of(*described, int(seed), key) if seed.isdecimal() else None

    def _trial_of(self, config_json: str, strategy: str, seed: int, key: str) -> Trial | None:
        """The trial that a training is of; None if it is none of this search's."""
        configuration, rung = self._configuration_of(config_json), self._rungs.get(strategy)
        number = seed - self.spec.seed
        if configuration is None or rung is None or not 0 <= number < len(self.spec.study.seeds):
            return None
        trial = Trial(configuration, rung, number)
        planned = self.spec.planned(trial)
        subset = self._subset_of(planned)
        # The key covers what the tags do not say: the data, the trainer's settings and code, the epochs.
        return trial if subset is not None and self.dependencies.task(planned, subset).key == key else None

    @cached_property
    def _rungs(self) -> dict[str, int]:
        return {proxy.canonical: rung for rung, proxy in enumerate(self.spec.ladder)}

    def _configuration_of(self, config_json: str) -> Configuration | None:
        """The candidate, or the configuration of an open space; None for any other."""
        if config_json not in self._configurations:
            self._configurations[config_json] = self._parsed(config_json) if self.spec.is_open else None
        return self._configurations[config_json]

    def _parsed(self, config_json: str) -> Configuration | None:
        space = self.spec.space
        try:
            values = json.loads(config_json)
            # A trainer's configuration has hyperparameters that this search does not tune.
            found = space.configuration({name: value for name, value in values.items() if name in space.names})
        except (ValueError, AttributeError, UserError):
            return None
        return found if found.to_json() == config_json else None

    @cached_property
    def _configurations(self) -> dict[str, Configuration | None]:
        return {each.to_json(): each for each in self.spec.candidates}
