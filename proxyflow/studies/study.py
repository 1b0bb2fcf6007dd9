"""A whole study: plan, execute what is not finished yet, and say what was done.

Resuming needs no state of its own: a training is finished if the server has a finished run with its key. Nor does
sharing: a training whose key another process has claimed is left to that process, and looked after at the end.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from proxyflow.errors import TrainingFailed
from proxyflow.progress import format_seconds
from proxyflow.quality.runs import TARGET
from proxyflow.strategies import Full
from proxyflow.studies.board import Board, time_since
from proxyflow.studies.dependencies import Dependencies, SubsetId, subset_id, subsets_of
from proxyflow.studies.executors import Bench, Executor, Pool, Resources
from proxyflow.studies.lab import Lab
from proxyflow.studies.plan import PlannedTraining, StudySpec, in_order, plan_trainings
from proxyflow.studies.tasks import SubsetRef, Task
from proxyflow.tracking import names
from proxyflow.tracking.connection import known_experiments
from proxyflow.tracking.links import paragraphs, plain
from proxyflow.tracking.reader import finished_keys, search
from proxyflow.tracking.run import Run
from proxyflow.tracking.views import furnish, links_to_views

RETRIES = 2
LOOK_AGAIN_SECONDS = (1.0, 3.0)  # at what other processes are doing, when nothing else is left to do
# What others have finished meanwhile is counted this often, and so that asking takes at most this share of the time.
COUNT_SECONDS, COUNT_SHARE = 60.0, 0.01


@dataclass(frozen=True)
class Limits:
    """When to stop cleanly between two trainings; None is never."""

    max_hours: float | None = None
    max_cost_usd: float | None = None

    def reached(self, lab: Lab, seconds: float) -> str:
        """Which limit a study has reached after so many seconds, empty where none."""
        cost = lab.cost_usd(seconds)
        if self.max_hours is not None and seconds / 3600 >= self.max_hours:
            return f"max_hours={self.max_hours:g} is reached"
        if self.max_cost_usd is not None and cost is not None and cost >= self.max_cost_usd:
            return f"max_cost_usd={self.max_cost_usd:g} is reached"
        return ""


@dataclass(frozen=True)
class How:
    """How a study is executed.

    Attributes:
        retries: how often a training is tried again whose failure may pass.
    """

    executor: Executor
    resources: Resources = field(default_factory=Resources)
    limits: Limits = field(default_factory=Limits)
    retries: int = RETRIES


@dataclass(frozen=True)
class Outcome:
    """How a study ended.

    Attributes:
        planned: trainings in the plan.
        found: of these, finished before, or by another process.
        made: finished now.
        failed: title and error of those that failed.
        stopped: which limit ended it early, or empty.
    """

    planned: int
    found: int
    made: int
    failed: tuple[tuple[str, str], ...]
    stopped: str = ""

    def failures(self) -> Iterator[str]:
        """What failed, as the lines of a table."""
        width = max((len(title) for title, _ in self.failed), default=0)
        for title, error in self.failed:
            yield f"{title:<{width}}  {error}"


def run_study(lab: Lab, spec: StudySpec, how: How) -> Outcome:
    """Executes a study as one parent run with nested runs.

    Raises:
        TrainingFailed: at least one training failed; the others were done all the same.
    """
    begun = time.monotonic()
    reaped = lab.writer.reap()
    if reaped:
        lab.say(f"marked {reaped} run(s) as failed whose process had died")
    has_target = any(isinstance(strategy, Full) for strategy in spec.strategies)
    if not has_target and not any(search(lab.client, [lab.writer.experiment_id], STRATEGY=TARGET)):
        lab.say("note: the strategies have no target; add full, or the report has nothing to compare with")
    planned = list(plan_trainings(spec))
    experiment_id = lab.writer.experiment_id
    furnish(lab.client, experiment_id)
    what = (
        f"Study {plain(lab.writer.study)}: {len(spec.strategies)} strategies x {len(spec.grid)} configurations x "
        f"{len(spec.datasets)} data set(s) x {len(spec.seeds)} seed(s) = {len(planned)} trainings, "
        f"{spec.settings.epochs} epochs on the target."
    )
    note = paragraphs(what, links_to_views(experiment_id))
    tags = {
        names.EPOCHS: spec.settings.epochs,
        names.DATASET: ",".join(spec.datasets),
        names.DATASET_FINGERPRINT: ",".join(lab.dataset(name).fingerprint for name in spec.datasets),
    }
    with lab.writer.open("study", f"study {lab.writer.study}", note, tags, main=True) as run:
        run.log_params(
            {
                "datasets": ",".join(spec.datasets),
                "strategies": " ".join(strategy.canonical for strategy in spec.strategies),
                "configurations": len(spec.grid),
                "seeds": ",".join(map(str, spec.seeds)),
                **{key: value for key, value in dataclasses.asdict(spec.settings).items() if value is not None},
            }
        )
        dependencies = Dependencies(lab, spec)
        subsets: dict[SubsetId, SubsetRef] = {}
        needed = subsets_of(planned)
        dependencies.check(needed.values())
        for key, training in needed.items():
            found = dependencies.find(training)
            if found is None and not how.limits.reached(lab, time.monotonic() - begun):
                found = dependencies.ensure(training, run.id)
            if found is not None:
                subsets[key] = found
        # Where a limit was reached before, that is all of the study that may be finished.
        tasks = [dependencies.task(each, subsets[subset_id(each)]) for each in planned if subset_id(each) in subsets]
        outcome = _execute(lab, tasks, len(planned), how, begun, run)
        # What a call left whose answer was lost.
        lab.writer.reap(own=True)
        if outcome.failed:
            lab.say("failed:")
            for line in outcome.failures():
                lab.say(f"  {line}")
            raise TrainingFailed(
                f"{len(outcome.failed)} of {outcome.planned} trainings failed (see above); the same command tries them "
                "again"
            )
    return outcome


def _execute(lab: Lab, tasks: list[Task], planned: int, how: How, begun: float, run: Run) -> Outcome:
    """Runs the tasks that are not finished.

    Args:
        planned: trainings in all, also those whose subset was not made any more before a limit.
        begun: when the study began, on the monotonic clock.
    """
    done = _finished(lab)
    left = [task for task in tasks if task.key not in done]
    found = len(tasks) - len(left)
    if found:
        lab.say(f"{found} of {planned} trainings are finished already; {planned - found} to do")
    work: dict[PlannedTraining, float] = {}
    if left:
        # How much a training is takes torch to tell, which is not needed where nothing is left to do.
        from proxyflow.studies.estimate import Sizes

        sizes = Sizes(lab)
        work = {task.planned: sizes.of(task.planned).work for task in tasks}
        place = {training: number for number, training in enumerate(in_order(list(work), work.__getitem__))}
        left.sort(key=lambda task: place[task.planned])
    clock = time_since(begun)
    with Board(lab, run, planned, found, left, lambda task: work[task.planned], clock) as board:
        stopped = how.limits.reached(lab, clock()) if found < planned else ""
        if left and not stopped:
            priced = _share_of_price(lab, how)
            with how.executor.open(Bench(priced, run.id), how.resources) as pool:
                stopped = _Rounds(lab, pool, how, board, clock).run(left)
    not_begun = board.planned - board.finished - len(board.failed)
    if stopped:
        lab.say(f"stopped: {stopped}, {not_begun} trainings are left; the same command resumes")
    elif board.made:
        lab.say(f"{board.made} trainings took {format_seconds(clock())}")
    failed = tuple((task.planned.title, error) for task, error in board.failed.values())
    return Outcome(planned, board.finished - board.made, board.made, failed, stopped)


def _share_of_price(lab: Lab, how: How) -> Lab:
    """Trainings that run at a time share the price of what they run on."""
    if lab.price_per_hour is None:
        return lab
    return dataclasses.replace(lab, price_per_hour=lab.price_per_hour / how.executor.jobs(how.resources))


def _finished(lab: Lab) -> set[str]:
    return finished_keys(lab.client, known_experiments(lab.client, lab.writer.study))


class _Rounds:
    """Hands tasks to workers until each is finished, by whomever, or has failed for good."""

    def __init__(self, lab: Lab, pool: Pool, how: How, board: Board, clock: Callable[[], float]) -> None:
        self.lab, self.pool, self.how, self.board, self.clock = lab, pool, how, board, clock
        self.queue: deque[Task] = deque()
        self.tries: Counter[str] = Counter()
        self.elsewhere: list[Task] = []
        self.count_at = COUNT_SECONDS
        self.stopped = ""

    def run(self, tasks: list[Task]) -> str:
        """Returns which limit ended it early, empty where none did."""
        self.queue.extend(tasks)
        told = False
        while (self.queue or self.elsewhere) and not self._over():
            for done in self.pool.run(self._coming(), self.board.share):
                if done.status == "taken":
                    self.board.back(done.task)
                    self.elsewhere.append(done.task)
                elif done.may_pass and self.tries[done.task.key] < self.how.retries:
                    self.tries[done.task.key] += 1
                    self.board.back(done.task, done.error)
                    self.queue.append(done.task)
                else:
                    self.board.ended(done)
                if self.elsewhere and self.clock() >= self.count_at:
                    self._count_finished()
            if self.elsewhere and not self.queue and not self._over():
                self._look_elsewhere()
                if self.elsewhere and not told:
                    self.lab.say(f"{len(self.elsewhere)} trainings are with another process; waiting for their end")
                    told = True
        return self.stopped

    def _over(self) -> bool:
        self.stopped = self.how.limits.reached(self.lab, self.clock())
        return bool(self.stopped)

    def _coming(self) -> Iterator[Task]:
        """Tasks as workers ask for them; those that another process is at are put aside once there is one."""
        while self.queue and not self._over():
            task = self.queue.popleft()
            if self.elsewhere and self.lab.writer.is_taken("training", task.key):
                self.elsewhere.append(task)
                continue
            self.board.begin(task)
            yield task

    def _count_finished(self) -> None:
        """Counts what others have finished, so that the time left is the study's and not that of this process alone."""
        begun = self.clock()
        done = _finished(self.lab)
        for task in [task for task in self.elsewhere if task.key in done]:
            self.elsewhere.remove(task)
            self.board.found(task)
        self.count_at = self.clock() + max(COUNT_SECONDS, (self.clock() - begun) / COUNT_SHARE)

    def _look_elsewhere(self) -> None:
        """What others have finished is found; what they have left is to be done."""
        time.sleep(random.uniform(*LOOK_AGAIN_SECONDS))
        self.lab.writer.reap()
        experiments = [self.lab.writer.experiment_id]
        working = {run.tags.get(names.RUN_KEY) for run in search(self.lab.client, experiments, running=True)}
        done = _finished(self.lab)
        aside, self.elsewhere = self.elsewhere, []
        for task in aside:
            if task.key in done:
                self.board.found(task)
            elif task.key in working:
                self.elsewhere.append(task)
            else:
                self.queue.append(task)
