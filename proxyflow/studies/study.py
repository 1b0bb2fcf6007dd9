"""Runs a study: plans its trainings, makes what they depend on, and executes those that are not finished.

The tracking server holds the only state: a training is finished if the server has a finished run with its key, and
claimed if a running process has a run with its key. So a study can resume, and processes can share it.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from proxyflow.core.errors import TrainingFailed
from proxyflow.core.progress import format_seconds
from proxyflow.data.name_lists import join_names
from proxyflow.quality.runs import TARGET
from proxyflow.studies.context import StudyContext
from proxyflow.studies.dependencies import Dependencies, SubsetId, subset_id, subsets_of
from proxyflow.studies.executors import WorkerContext
from proxyflow.studies.leaderboard import Leaderboard
from proxyflow.studies.plan import PlannedTraining, StudySpec, order_trainings, plan_trainings
from proxyflow.studies.progress import StudyProgress
from proxyflow.studies.scheduler import ExecutionOptions, Scheduler, finished_in_study
from proxyflow.studies.support import check_support
from proxyflow.studies.tasks import SubsetRef, Task
from proxyflow.tracking import names
from proxyflow.tracking.queries.reader import search
from proxyflow.tracking.runs.run import Run
from proxyflow.tracking.ui.links import escape_markdown, paragraphs
from proxyflow.tracking.ui.views import links_to_views


@dataclass(frozen=True)
class Outcome:
    """The outcome of a command that ran a study.

    Attributes:
        planned: number of trainings in the plan.
        found: trainings that were finished before, or by another process.
        made: trainings that this command finished.
        failed: title and error of each failed training.
        leaderboard: results on the target, those that were found included.
        stopped: the limit that stopped the study early; empty if none.
    """

    planned: int
    found: int
    made: int
    failed: tuple[tuple[str, str], ...]
    leaderboard: Leaderboard
    stopped: str = ""

    def failures(self) -> Iterator[str]:
        """Lines of a table of failed trainings; those with one error share a line."""
        by_error: dict[str, list[str]] = {}
        for title, error in self.failed:
            by_error.setdefault(error, []).append(title)
        for error, titles in by_error.items():
            more = f" and {len(titles) - 1} more" if len(titles) > 1 else ""
            yield f"{titles[0]}{more}: {error}"


def run_study(context: StudyContext, spec: StudySpec, execution: ExecutionOptions) -> Outcome:
    """Executes a study as one parent run with nested runs.

    Raises:
        Unsupported: a data set does not support a strategy; no run was made.
        TrainingFailed: at least one training failed; the others were completed.
    """
    started = time.monotonic()
    stale = context.writer.recovery.fail_stale_runs()
    if stale:
        context.say(f"marked {stale} run(s) as failed whose process had died")
    check_support(context, spec)
    planned = list(plan_trainings(spec))
    dependencies, needed = Dependencies.of(context, spec), subsets_of(planned)
    dependencies.check(needed.values())
    has_target = any(proxy.is_target for proxy in spec.strategies)
    if not has_target and not any(search(context.client, [context.writer.experiment_id], STRATEGY=TARGET)):
        context.say("note: the strategies include no target; without full, the report has nothing to compare with")
    note, tags = _note(context, spec, len(planned)), _tags(context, spec)
    with context.writer.open("study", f"study {context.writer.study}", note, tags, main=True) as run:
        run.log_params(_params(spec))
        subsets: dict[SubsetId, SubsetRef] = {}
        for key, training in needed.items():
            found = dependencies.find(training)
            if found is None and not execution.limits.reached(context, time.monotonic() - started):
                found = dependencies.ensure(training, run.id)
            if found is not None:
                subsets[key] = found
        # If a limit was reached, some subsets are missing, and so are their trainings.
        tasks = [dependencies.task(each, subsets[subset_id(each)]) for each in planned if subset_id(each) in subsets]
        leaderboard = Leaderboard(spec.trainer.metric)
        outcome = _execute(context, tasks, len(planned), execution, started, run, leaderboard)
        # A request whose response was lost may have left a run open.
        context.writer.recovery.fail_stale_runs(own=True)
        if outcome.failed:
            context.say("failed:")
            for line in outcome.failures():
                context.say(f"  {line}")
            raise TrainingFailed(
                f"{len(outcome.failed)} of {outcome.planned} trainings failed (see above); rerun the command to retry"
            )
    return outcome


def _note(context: StudyContext, spec: StudySpec, planned: int) -> str:
    """Description of the study's run, with links to its saved views."""
    text = (
        f"Study {escape_markdown(context.writer.study)}: {len(spec.strategies)} strategies x {len(spec.grid)} "
        f"configurations x {len(spec.datasets)} data set(s) x {len(spec.seeds)} seed(s) = {planned} trainings, "
        f"{spec.epochs} epochs on the target."
    )
    return paragraphs(text, links_to_views(context.writer.experiment_id))


def _tags(context: StudyContext, spec: StudySpec) -> dict[str, Any]:
    return {
        names.EPOCHS: spec.epochs,
        names.TRAINER: spec.trainer.name,
        names.DATASET: join_names(spec.datasets),
        names.DATASET_FINGERPRINT: ",".join(context.dataset(name).fingerprint for name in spec.datasets),
    }


def _params(spec: StudySpec) -> dict[str, Any]:
    """The study's options, and the hyperparameters that all of its configurations have in common."""
    common = set(spec.grid[0].items()).intersection(*(each.items() for each in spec.grid))
    return {
        **dict(sorted(common)),
        "datasets": join_names(spec.datasets),
        "strategies": " ".join(strategy.canonical for strategy in spec.strategies),
        "configurations": len(spec.grid),
        "seeds": ",".join(map(str, spec.seeds)),
        "trainer": spec.trainer.name,
        "epochs": spec.epochs,
        "scores": spec.scores,
        **{key: value for key, value in spec.trainer.settings.items() if value is not None},
    }


def _execute(
    context: StudyContext,
    tasks: list[Task],
    planned: int,
    execution: ExecutionOptions,
    started: float,
    run: Run,
    leaderboard: Leaderboard,
) -> Outcome:
    """Runs the tasks that are not finished.

    Args:
        planned: number of all trainings, including those whose subset is missing because a limit was reached.
        started: start of the study on the monotonic clock.
        leaderboard: gets the results.
    """
    done = finished_in_study(context)
    for task in tasks:
        leaderboard.add(task.planned, done.get(task.key, math.nan))
    left = [task for task in tasks if task.key not in done]
    found = len(tasks) - len(left)
    if found:
        context.say(f"{found} of {planned} trainings are already finished; {planned - found} to do")
    work: dict[PlannedTraining, float] = {}
    if left:
        # Imports torch, which is not needed if everything is finished.
        from proxyflow.studies.estimate import Sizes

        sizes = Sizes(context)
        work = {task.planned: sizes.of(task.planned).work for task in tasks}
        place = {training: number for number, training in enumerate(order_trainings(list(work), work.__getitem__))}
        left.sort(key=lambda task: place[task.planned])

    def clock() -> float:
        return time.monotonic() - started

    with StudyProgress(
        context, run, planned, found, left, lambda task: work[task.planned], clock, leaderboard
    ) as study_progress:
        stopped = execution.limits.reached(context, clock()) if found < planned else ""
        if left and not stopped:
            priced = _share_of_price(context, execution)
            with execution.executor.open(WorkerContext(priced, run.id), execution.resources) as pool:
                stopped = Scheduler(context, pool, execution, study_progress, clock).run(left)
    remaining = study_progress.planned - study_progress.finished - len(study_progress.failed)
    if stopped:
        context.say(f"stopped: {stopped}, {remaining} trainings are left; run the same command to resume")
    elif study_progress.made:
        context.say(f"{study_progress.made} trainings took {format_seconds(clock())}")
    failed = tuple((task.planned.title, error) for task, error in study_progress.failed.values())
    return Outcome(
        planned, study_progress.finished - study_progress.made, study_progress.made, failed, leaderboard, stopped
    )


def _share_of_price(context: StudyContext, execution: ExecutionOptions) -> StudyContext:
    """Divides the price per hour between the trainings that run at the same time."""
    if context.price_per_hour is None:
        return context
    return dataclasses.replace(
        context, price_per_hour=context.price_per_hour / execution.executor.jobs(execution.resources)
    )
