"""Runs a search: trains what `searching` decides, and keeps its whole state on the tracking server.

A decision depends on the finished trainings alone. So a search that was killed resumes by reading them, several
processes and machines share one search, and trainings of an earlier sweep in the same experiment cost nothing.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from proxyflow.core.errors import TrainingFailed
from proxyflow.core.progress import Progress
from proxyflow.data.name_lists import join_names
from proxyflow.proxies import Proxy
from proxyflow.quality.unranked import flag_unranked
from proxyflow.searching.decisions import Decision, Knowledge, Observation, SearchPlan, Trial, decide
from proxyflow.searching.ladder import Ladder
from proxyflow.searching.memory import Memory
from proxyflow.searching.surrogate import Floats
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.grids import Grid
from proxyflow.spaces.space import Space
from proxyflow.studies.context import StudyContext, temporary_folder
from proxyflow.studies.dependencies import Dependencies, SubsetId, subset_id
from proxyflow.studies.executors import WorkerContext, WorkerPool
from proxyflow.studies.plan import AUTO, PlannedTraining, StudySpec, training_spec
from proxyflow.studies.scheduler import ExecutionOptions
from proxyflow.studies.support import check_support
from proxyflow.studies.tasks import SubsetRef, Task, TaskResult
from proxyflow.tracking import names
from proxyflow.tracking.queries.reader import search, trainings
from proxyflow.tracking.queries.tracked_run import TrackedRun
from proxyflow.tracking.runs.run import Run
from proxyflow.tracking.ui.links import escape_markdown, paragraphs
from proxyflow.tracking.ui.views import links_to_views
from proxyflow.trainers import Trainer

# Clocks of machines that share a search may differ by this much, in ms.
CLOCKS = 10 * 60 * 1000
# A search whose first trainings all fail has a mistake that every further one would share.
FAILURES = 3


@dataclass(frozen=True)
class SearchSpec:
    """A search for the best configuration on one data set.

    Attributes:
        dataset: the data set.
        trainer: the trainer.
        space: the space of the configurations.
        candidates: what is chosen from, in the order in which it is tried while nothing is known: the default first.
        ladder: the proxies from cheap to expensive, the target last.
        epochs: of the target.
        budget: in full trainings.
        tolerance: see `SearchPlan`.
        confirm: the most seeds of a configuration on the full data.
        seed: the first of the trainings' seeds, and the root of all random streams of the search.
        scores: see `StudySpec`.
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

    @cached_property
    def study(self) -> StudySpec:
        """All that it may train, as a study: what is checked and needed for it."""
        seeds = tuple(range(self.seed, self.seed + self.confirm))
        return StudySpec((self.dataset,), self.ladder, self.candidates, self.trainer, self.epochs, seeds, self.scores)

    def planned(self, trial: Trial, reason: str = "") -> PlannedTraining:
        """The training of a trial."""
        seed = self.seed + trial.seed
        spec = training_spec(trial.configuration, self.epochs, seed, self.trainer, self.ladder[trial.rung])
        return PlannedTraining(self.dataset, spec, reason)

    def plan(self, steps: Floats, memories: tuple[Memory, ...] = ()) -> SearchPlan:
        """What decisions are made by.

        Args:
            steps: `(rungs,)` optimizer steps, relative to the target's.
            memories: what earlier studies found.
        """
        return SearchPlan(
            space=self.space,
            metric=self.trainer.metric,
            ladder=Ladder.of(self.ladder, steps.tolist()),
            candidates=self.candidates,
            budget=self.budget,
            tolerance=self.tolerance,
            confirm=self.confirm,
            seed=self.seed,
            memories=memories,
        )


@dataclass(frozen=True, eq=False)
class Found:
    """The outcome of a search.

    Attributes:
        spec: the search.
        knowledge: what it knows at the end.
        cost: `(candidates, rungs)` of a training, in full trainings.
        spent: of the budget.
        made: trainings that this command finished.
        failed: title and error of each failed training.
        ended: why it ended, in a few words.
        run_ids: of the trainings, in the order of the knowledge's observations.
        reasons: why trainings were started, as JSON by run id.
    """

    spec: SearchSpec
    knowledge: Knowledge
    cost: Floats
    spent: float
    made: int
    failed: tuple[tuple[str, str], ...]
    ended: str
    run_ids: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def best(self) -> Configuration:
        """The best configuration, by all that is known."""
        return self.spec.candidates[self.knowledge.best]


def relative_costs(context: StudyContext, spec: SearchSpec) -> tuple[Floats, Floats]:
    """What trainings are expected to cost, and their optimizer steps, before any is made.

    Returns:
        `(candidates, rungs)` in full trainings, by arithmetic where the trainer knows it, else by examples; and
        `(rungs,)` median steps relative to the target's, or costs where steps are not known.
    """
    from proxyflow.studies.estimate import Sizes  # imports torch

    sizes = Sizes(context)
    found = [
        [sizes.of(spec.planned(Trial(configuration, rung, 0))) for rung in range(len(spec.ladder))]
        for configuration in spec.candidates
    ]
    work = np.array([[each.work for each in row] for row in found])
    cost = work / work[:, -1].mean()
    steps = np.array([[float(each.steps) for each in row] for row in found])
    known = steps if (steps > 0).all() else cost
    return cost, np.median(known / known[:, -1:], axis=0)


def run_search(
    context: StudyContext,
    spec: SearchSpec,
    execution: ExecutionOptions,
    write: Callable[[Found, Path], None] | None = None,
    memories: tuple[Memory, ...] = (),
) -> Found:
    """Searches until it is sure or its budget, or another limit, is reached.

    Args:
        memories: what earlier studies found, see `memories.find_memories`.
        write: writes files of the outcome, which are logged with the search's run.

    Raises:
        Unsupported: the data set does not support a rung; no run was made.
        TrainingFailed: the first trainings all failed.
    """
    started = time.monotonic()
    stale = context.writer.recovery.fail_stale_runs()
    if stale:
        context.say(f"marked {stale} run(s) as failed whose process had died")
    check_support(context, spec.study)
    dependencies = Dependencies.of(context, spec.study)
    first = [spec.planned(Trial(spec.candidates[0], rung, 0)) for rung in range(len(spec.ladder))]
    dependencies.check(first)
    cost, steps = relative_costs(context, spec)
    rungs = ", ".join(escape_markdown(rung.canonical) for rung in spec.ladder)
    what = (
        f"Search for the best of {len(spec.candidates)} configurations on {escape_markdown(spec.dataset)} with a "
        f"budget of {spec.budget:g} full trainings, on {rungs}."
    )
    note = paragraphs(what, links_to_views(context.writer.experiment_id))
    tags = {**_tags(context, spec), names.MEMORIES: json.dumps([memory.name for memory in memories])}
    with context.writer.open("search", f"search {context.writer.study}", note, tags, main=True) as run:
        run.log_params(_params(spec))
        searching = _Search(context, spec, dependencies, run, execution, cost, spec.plan(steps, memories), started)
        jobs = execution.executor.jobs(execution.resources)
        priced = context
        if context.price_per_hour is not None:
            priced = dataclasses.replace(context, price_per_hour=context.price_per_hour / jobs)
        with execution.executor.open(WorkerContext(priced, run.id), execution.resources) as pool:
            found = searching.run(pool)
        if found.knowledge.observations:
            run.log_metrics(_metrics(found))
        if write is not None and found.knowledge.observations:
            with temporary_folder() as folder:
                write(found, folder)
                run.log_folder(folder, names.SEARCH)
    return found


def _tags(context: StudyContext, spec: SearchSpec) -> dict[str, Any]:
    return {
        names.EPOCHS: spec.epochs,
        names.TRAINER: spec.trainer.name,
        names.METRIC_JSON: spec.trainer.metric.to_json(),
        names.DATASET: join_names([spec.dataset]),
        names.DATASET_FINGERPRINT: context.dataset(spec.dataset).fingerprint,
    }


def _params(spec: SearchSpec) -> dict[str, Any]:
    return {
        "dataset": spec.dataset,
        "ladder": " ".join(proxy.canonical for proxy in spec.ladder),
        "candidates": len(spec.candidates),
        "budget": f"{spec.budget:g}",
        "tolerance": "none" if spec.tolerance is None else f"{spec.tolerance:g}",
        "confirm": spec.confirm,
        "seed": spec.seed,
        "trainer": spec.trainer.name,
        "epochs": spec.epochs,
        **{key: value for key, value in spec.trainer.settings.items() if value is not None},
    }


def _metrics(found: Found) -> dict[str, float | None]:
    value, low, high = found.knowledge.value_of(found.knowledge.best)
    best = {"best_value": value, "best_value_low": low, "best_value_high": high}
    return {**best, "spent": found.spent, "trainings": float(found.made)}


@dataclass(eq=False)
class _Search:
    """A search while it runs."""

    context: StudyContext
    spec: SearchSpec
    dependencies: Dependencies
    run_: Run
    execution: ExecutionOptions
    cost: Floats
    plan: SearchPlan
    started: float
    observed: dict[str, tuple[int, str, Observation]] = field(default_factory=dict)
    pending: dict[str, Trial] = field(default_factory=dict)
    others: tuple[Trial, ...] = ()
    subsets: dict[SubsetId, SubsetRef] = field(default_factory=dict)
    failed: dict[str, tuple[PlannedTraining, str]] = field(default_factory=dict)
    excluded: set[int] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)
    made: int = 0
    ended: str = ""
    latest: int = 0

    def run(self, pool: WorkerPool) -> Found:
        """Trains until the search ends."""
        with Progress("search", 0, "trainings") as progress:
            while True:
                before = self.made + len(self.failed)
                for done in pool.run(self._tasks(), lambda task, share, note: None):
                    self._take(done, progress)
                # What ended last may have changed what is worth a training, but not if nothing was trained.
                if self.made + len(self.failed) == before:
                    break
        knowledge = self._knowledge()
        failed = tuple((planned.title, error) for planned, error in self.failed.values())
        run_ids = tuple(run_id for _, run_id, _ in sorted(self.observed.values(), key=lambda each: each[:2]))
        outcome = (self._spent(), self.made, failed, self.ended)
        return Found(self.spec, knowledge, self.cost, *outcome, run_ids, self.reasons)

    def _tasks(self) -> Iterator[Task]:
        """Decides whenever a worker is free."""
        while True:
            self.ended = self.execution.limits.reached(self.context, time.monotonic() - self.started)
            if self.ended:
                return
            self._refresh()
            decision = self._decide()
            if decision.trial is None:
                self.ended = decision.reason
                return
            planned = self.spec.planned(decision.trial, self._reason(decision))
            task = self._task(planned)
            self.pending[task.key] = decision.trial
            yield task

    def _task(self, planned: PlannedTraining) -> Task:
        found = self._subset_of(planned)
        if found is None:
            found = self.subsets[subset_id(planned)] = self.dependencies.ensure(planned, self.run_.id)
        return self.dependencies.task(planned, found)

    def _subset_of(self, planned: PlannedTraining) -> SubsetRef | None:
        """The training's subset; None where nobody has made it."""
        key = subset_id(planned)
        if key not in self.subsets and (found := self.dependencies.find(planned)) is not None:
            self.subsets[key] = found
        return self.subsets.get(key)

    def _decide(self) -> Decision:
        cost = self.cost.copy()
        # What failed is not tried again.
        cost[sorted(self.excluded)] = np.inf
        return decide(self._knowledge(), cost, self.spec.budget - self._spent() - self._promised())

    def _knowledge(self) -> Knowledge:
        ordered = sorted(self.observed.values(), key=lambda each: each[:2])
        return Knowledge(self.plan, tuple(each for _, _, each in ordered), (*self.pending.values(), *self.others))

    def _spent(self) -> float:
        return sum(each.cost for _, _, each in self.observed.values())

    def _promised(self) -> float:
        return sum(self._cost_of(trial) for trial in (*self.pending.values(), *self.others))

    def _cost_of(self, trial: Trial) -> float:
        return float(self.cost[self.plan.places[trial.configuration], trial.rung])

    @staticmethod
    def _reason(decision: Decision) -> str:
        gain = {} if np.isnan(decision.gain) else {"gain": float(f"{decision.gain:.4g}")}
        assert decision.trial is not None
        return json.dumps({"reason": decision.reason, "rung": decision.trial.rung, **gain})

    def _take(self, done: TaskResult, progress: Progress) -> None:
        trial = self.pending.pop(done.task.key)
        planned = done.task.planned
        title = f"{planned.strategy.canonical} {planned.spec.configuration.name}"
        if done.status == "failed":
            self.failed[done.task.key] = planned, done.error
            self.excluded.add(self.plan.places[trial.configuration])
            progress.say(f"failed: {planned.title}: {done.error}")
            if len(self.failed) >= FAILURES and not self.made:
                raise TrainingFailed(f"the first {FAILURES} trainings failed, the last one with: {done.error}")
            return
        self.made += done.status == "trained"
        self._refresh()
        best = self._knowledge()
        value, low, high = best.value_of(best.best)
        self.context.say(
            f"{self._spent():.2f} of {self.spec.budget:g} spent · {title}: {done.note} · best so far "
            f"{self.spec.candidates[best.best].name}: {value:.3f} [{low:.3f}, {high:.3f}]"
        )

    def _refresh(self) -> None:
        """Reads what has ended since the last time, by this process or others, and what others are training."""
        experiment = [self.context.writer.experiment_id]

        def note(run: TrackedRun) -> None:
            if names.REASON in run.tags:
                self.reasons[run.id] = run.tags[names.REASON]

        frame = trainings(self.context.client, experiment, note, ended_after=max(0, self.latest - CLOCKS))
        frame = frame[(frame["status"] == "finished") & ~frame["run_key"].isin(self.observed)]
        unranked = flag_unranked(frame, self.spec.trainer.metric).fillna(value=False).astype(bool)
        rows: list[dict[str, Any]] = frame.to_dict("records")  # type: ignore[assignment]  # columns have names
        for row, flag in zip(rows, unranked, strict=True):
            key, run_id, ended = row["run_key"], row["run_id"], int(row["end_time"])
            trial = self._trial_of(row["config_json"], row["strategy"], row["seed"], key)
            if trial is None:
                continue
            # What no search asked for was paid by the sweep that trained it.
            cost = self._cost_of(trial) if run_id in self.reasons else 0.0
            self.observed[key] = ended, run_id, Observation(trial, row["objective"], cost, bool(flag))
            self.latest = max(self.latest, ended)
            self.pending.pop(key, None)
        running = search(self.context.client, experiment, running=True, KIND="training")
        self.others = tuple(trial for run in running if (trial := self._trained_by_others(run)) is not None)

    def _trained_by_others(self, run: TrackedRun) -> Trial | None:
        key = run.tags.get(names.RUN_KEY, "")
        if key in self.pending or key in self.observed or self.context.writer.is_stale(run):
            return None
        seed = run.tags.get(names.SEED, "")
        described = run.tags.get(names.CONFIG_JSON, ""), run.tags.get(names.STRATEGY, "")
        return self._trial_of(*described, int(seed), key) if seed.isdecimal() else None

    def _trial_of(self, config_json: str, strategy: str, seed: int, key: str) -> Trial | None:
        """The trial that a training is of; None if it is none of this search's."""
        place, rung = self._place_of.get(config_json), self._rung_of.get(strategy)
        number = seed - self.spec.seed
        if place is None or rung is None or not 0 <= number < self.plan.most_seeds(rung):
            return None
        trial = Trial(self.spec.candidates[place], rung, number)
        planned = self.spec.planned(trial)
        subset = self._subset_of(planned)
        # The key covers what the tags do not say: the data, the trainer's settings and code, the epochs.
        return trial if subset is not None and self.dependencies.task(planned, subset).key == key else None

    @cached_property
    def _rung_of(self) -> dict[str, int]:
        return {proxy.canonical: rung for rung, proxy in enumerate(self.spec.ladder)}

    @cached_property
    def _place_of(self) -> dict[str, int]:
        return {each.to_json(): place for place, each in enumerate(self.spec.candidates)}
