"""Runs a search: trains what `searching` decides, and keeps its whole state on the tracking server.

A decision depends on the finished trainings alone. So a search that was killed resumes by reading them, several
processes and machines share one search, and trainings of an earlier sweep in the same experiment cost nothing.
"""

from __future__ import annotations

import dataclasses
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from proxyflow.core.errors import TrainingFailed
from proxyflow.data.name_lists import join_names
from proxyflow.searching.decisions import WAITING, Decision, decide
from proxyflow.searching.knowledge import Knowledge, Trial
from proxyflow.searching.memory import Memory
from proxyflow.searching.pool import Pool
from proxyflow.spaces.configuration import Configuration
from proxyflow.studies.bill import Bill
from proxyflow.studies.context import StudyContext, temporary_folder
from proxyflow.studies.dependencies import Dependencies
from proxyflow.studies.executors import WorkerContext, WorkerPool
from proxyflow.studies.plan import AUTO, PlannedTraining
from proxyflow.studies.scheduler import POLL_SECONDS, ExecutionOptions
from proxyflow.studies.search_progress import SearchProgress
from proxyflow.studies.search_trials import Prices, SearchSpec, SearchTrials
from proxyflow.studies.support import check_support
from proxyflow.studies.tasks import Task, TaskResult
from proxyflow.tracking import names
from proxyflow.tracking.runs.run import Run
from proxyflow.tracking.ui.links import escape_markdown, paragraphs
from proxyflow.tracking.ui.views import save_view, search_view

# After so many failures in a row further trainings would fail, too.
FAILURES = 3
MOST_TAKEN = 100
PUBLISH_SECONDS = 60.0  # between two versions of the page while a search runs, at least
PUBLISH_SHARE = 0.1  # of the time, at most: nothing is decided meanwhile


@dataclass(frozen=True, eq=False)
class Found:
    """The outcome of a search.

    Attributes:
        spec: the search.
        knowledge: what it knows at the end.
        spent: of the budget.
        made: trainings that this command finished.
        failed: title and error of each failed training.
        ended: why it ended, in a few words.
        run_ids: of the trainings, in the order of the knowledge's observations.
        reasons: why trainings were started, as JSON by run id.
        run_id: of the search.
        bills: what trainings took, by run id.
        works: costs of all trainings in full trainings, also of a sweep's, in the order of the observations.
    """

    spec: SearchSpec
    knowledge: Knowledge
    spent: float
    made: int
    failed: tuple[tuple[str, str], ...]
    ended: str
    run_ids: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    run_id: str = ""
    bills: Mapping[str, Bill] = field(default_factory=dict)
    works: tuple[float, ...] = ()

    @property
    def best(self) -> Configuration:
        """The best configuration of those that were trained in full, by all that is known."""
        return self.knowledge.plan.candidates[self.knowledge.recommended]


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
        write: writes files of the outcome, which are logged with the search's run, at its end and at times before.

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
    prices = Prices(context, spec)
    candidates = spec.pool(prices.steps.tolist(), memories)
    rungs = ", ".join(escape_markdown(rung.canonical) for rung in spec.ladder)
    what = (
        f"Search for the best of {len(spec.candidates)} configurations on {escape_markdown(spec.dataset)} with a "
        f"budget of {spec.budget:g} full trainings, on {rungs}."
    )
    tags, experiment = _tags(context, spec), context.writer.experiment_id
    view = search_view(spec.dataset, tags[names.DATASET_FINGERPRINT], ascending=spec.trainer.metric.sign < 0)
    save_view(context.client, experiment, view)
    note = paragraphs(what, f"Its trainings: {view.link('by rung, the best first', experiment)}.")
    if spec.memory == AUTO:
        tags[names.MEMORIES] = json.dumps([memory.name for memory in memories])
    with context.writer.open("search", f"search {context.writer.study}", note, tags, main=True) as run:
        run.log_params(_params(spec))
        trials = SearchTrials(context, spec, dependencies, prices)
        searching = _Search(trials, candidates, run, execution, write, started)
        jobs = execution.executor.jobs(execution.resources)
        priced = context
        if context.price_per_hour is not None:
            priced = dataclasses.replace(context, price_per_hour=context.price_per_hour / jobs)
        with execution.executor.open(WorkerContext(priced, run.id), execution.resources) as pool:
            found = searching.train(pool)
        if found.knowledge.observations:
            run.log_metrics(_metrics(found))
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
        "sampler": spec.sampler or "none",
        "budget": f"{spec.budget:g}",
        "tolerance": "none" if spec.tolerance is None else f"{spec.tolerance:g}",
        "confirm": spec.confirm,
        "seed": spec.seed,
        "trainer": spec.trainer.name,
        "epochs": spec.epochs,
        **{key: value for key, value in spec.trainer.settings.items() if value is not None},
    }


def _metrics(found: Found) -> dict[str, float | None]:
    value, low, high = found.knowledge.value_of(found.knowledge.recommended)
    best = {"best_value": value, "best_value_low": low, "best_value_high": high}
    return {**best, "spent": found.spent, "trainings": float(found.made)}


@dataclass(eq=False)
class _Search:
    """A search while it runs."""

    trials: SearchTrials
    pool: Pool
    run: Run
    execution: ExecutionOptions
    write: Callable[[Found, Path], None] | None
    started: float
    publish_at: float = field(default_factory=lambda: time.monotonic() + PUBLISH_SECONDS)
    pending: dict[str, Trial] = field(default_factory=dict)
    failed: dict[str, tuple[PlannedTraining, str]] = field(default_factory=dict)
    excluded: set[Configuration] = field(default_factory=set)
    tries: Counter[str] = field(default_factory=Counter)
    failed_in_a_row: int = 0
    ended_trainings: int = 0
    made: int = 0
    ended: str = ""
    is_fresh: bool = False  # the server was read after the last training, so the next decision need not do it again
    known: Knowledge | None = None

    @cached_property
    def progress(self) -> SearchProgress:
        """What the user sees of it."""

        def cost_of(task: Task) -> float:
            rung = self.spec.ladder.index(task.planned.strategy)
            return float(self.trials.prices.of(task.planned.spec.configuration)[rung])

        return SearchProgress(self.spec.budget, self.spec.seed, cost_of, lambda: best_so_far(self._knowledge()))

    @property
    def context(self) -> StudyContext:
        return self.trials.context

    @property
    def spec(self) -> SearchSpec:
        return self.trials.spec

    def train(self, pool: WorkerPool) -> Found:
        """Trains until the search ends."""
        with self.progress:
            while True:
                before = self.ended_trainings
                for done in pool.run(self._tasks(), self.progress.share):
                    self._take(done)
                # What ended last may have changed what is worth a training, but not if nothing has ended.
                if self.ended_trainings == before and not self._waits_for_others():
                    break
        if not self.trials.observations and self.failed:
            _, error = next(iter(self.failed.values()))
            raise TrainingFailed(f"all {len(self.failed)} trainings failed, the first one with: {error}")
        found = self._found()
        self._publish(found)
        return found

    def _waits_for_others(self) -> bool:
        """Whether another process trains what this one has to know first; waits a little."""
        if self.ended != WAITING:
            return False
        time.sleep(random.uniform(*POLL_SECONDS))
        self.context.writer.recovery.fail_stale_runs()
        return True

    def _found(self) -> Found:
        trials = self.trials
        return Found(
            self.spec,
            self._knowledge(),
            trials.spent,
            self.made,
            tuple((planned.title, error) for planned, error in self.failed.values()),
            self.ended,
            run_ids=trials.run_ids,
            reasons=trials.reasons,
            run_id=self.run.id,
            bills=trials.bills,
            works=tuple(trials.cost_of(each.trial) for each in trials.observations),
        )

    def _publish(self, found: Found) -> None:
        """Logs the files of an outcome, also of one that is not final."""
        if self.write is None or not found.knowledge.observations:
            return
        begun = time.monotonic()
        with temporary_folder() as folder:
            self.write(found, folder)
            self.run.log_folder(folder, names.SEARCH)
        now = time.monotonic()
        self.publish_at = now + max(PUBLISH_SECONDS, (now - begun) / PUBLISH_SHARE)

    def _tasks(self) -> Iterator[Task]:
        """Decides whenever a worker is free."""
        while True:
            self.ended = self.execution.limits.reached(self.context, time.monotonic() - self.started)
            if self.ended:
                return
            if not self.is_fresh:
                self._refresh()
            self.is_fresh = False
            decision = self._decide()
            if decision.trial is None:
                self.ended = decision.reason
                return
            task = self.trials.task(self.spec.planned(decision.trial, _reason(decision)), self.run.id)
            self.pending[task.key] = decision.trial
            yield task

    def _decide(self) -> Decision:
        knowledge = self._knowledge()
        cost = self.trials.prices.table(knowledge.plan.candidates)
        # What failed is not tried again.
        cost[[each in self.excluded for each in knowledge.plan.candidates]] = np.inf
        left = self.spec.budget - self.trials.spent - sum(map(self.trials.cost_of, knowledge.pending))
        return decide(knowledge, cost, left)

    def _knowledge(self) -> Knowledge:
        """What is known now; the same as long as nothing has ended or begun, as its model takes time to fit."""
        observations, started = self.trials.observations, (*self.pending.values(), *self.trials.others)
        if self.known is None or (self.known.observations, self.known.pending) != (observations, started):
            plan = self.pool.plan_after(observations, [each.configuration for each in started])
            self.known = Knowledge(plan, observations, started)
        return self.known

    def _refresh(self, everything: bool = False) -> None:
        for key in self.trials.refresh(self.pending, everything):
            self.pending.pop(key, None)
        self.is_fresh = True

    def _take(self, done: TaskResult) -> None:
        self.ended_trainings += 1
        # A run may be seen on the server before its worker has told of it.
        trial, planned = self.pending.pop(done.task.key, None), done.task.planned
        if done.status == "failed" and done.retryable and self.tries[done.task.key] < self.execution.retries:
            self.tries[done.task.key] += 1
            self.progress.back(done.task)
            self.progress.say(f"will retry: {planned.title}: {done.error}")
            return
        if done.status == "failed":
            self.progress.back(done.task)
            self._fail(done, trial)
            return
        self.failed_in_a_row = 0
        self.made += done.status == "trained"
        self._refresh()
        if not self.trials.knows(done.task.key) and (done.status == "trained" or self.tries[done.task.key]):
            # It ended before what was read last, by its clock or as it arrived late.
            self._refresh(everything=True)
        if done.status == "taken" and not self.trials.knows(done.task.key):
            # Another process has ended or withdrawn it meanwhile.
            self.tries[done.task.key] += 1
            if self.tries[done.task.key] > MOST_TAKEN:
                raise TrainingFailed(f"{planned.title} is {done.note}, and its result cannot be found on the server")
            time.sleep(random.uniform(*POLL_SECONDS))
            self.is_fresh = False
            self.progress.back(done.task)
            return
        self.progress.ended(done.task, done.note, self.trials.spent)
        if time.monotonic() >= self.publish_at:
            self._publish(self._found())

    def _fail(self, done: TaskResult, trial: Trial | None) -> None:
        planned = done.task.planned
        self.failed[done.task.key] = planned, done.error
        self.failed_in_a_row += 1
        if trial is not None:
            self.excluded.add(trial.configuration)
        if done.shared and not self.trials.observations:
            raise TrainingFailed(f"{planned.title} failed, and so would others: {done.error}")
        self.progress.say(f"failed: {planned.title}: {done.error}")
        if self.failed_in_a_row >= FAILURES:
            raise TrainingFailed(
                f"{FAILURES} trainings failed one after the other, the last one with: {done.error}; mend the "
                "cause, and repeat the command to go on"
            )


def best_so_far(knowledge: Knowledge) -> str:
    """The best configuration in a few words; its value once anything was trained in full, as proxies do not tell it."""
    if not knowledge.in_full:
        return f"most promising {knowledge.plan.candidates[knowledge.best].name}, nothing trained in full yet"
    value, low, high = knowledge.value_of(knowledge.recommended)
    return f"best so far {knowledge.plan.candidates[knowledge.recommended].name}: {value:.3f} [{low:.3f}, {high:.3f}]"


def _reason(decision: Decision) -> str:
    assert decision.trial is not None
    gain = {} if np.isnan(decision.gain) else {"gain": float(f"{decision.gain:.4g}")}
    return json.dumps({"reason": decision.reason, "rung": decision.trial.rung, **gain})
