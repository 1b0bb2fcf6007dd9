"""A whole study: plan, execute what is not finished yet, and say what was done.

Resuming needs no state of its own: a training is finished if the server has a finished run with its key.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass

from proxyflow.errors import TrainingFailed
from proxyflow.progress import Progress, format_seconds
from proxyflow.quality.runs import TARGET
from proxyflow.scoring.scorer import ScoringSpec
from proxyflow.scoring.table import ExampleScores
from proxyflow.strategies import Full
from proxyflow.studies import scores as score_runs
from proxyflow.studies import subsets as subset_runs
from proxyflow.studies import trainings as training_runs
from proxyflow.studies.estimate import Size, Sizes, calibrate, measured_speed
from proxyflow.studies.executors import Executor
from proxyflow.studies.lab import Lab
from proxyflow.studies.plan import PlannedTraining, StudySpec, plan_trainings, subset_key
from proxyflow.subsets import Subset
from proxyflow.tracking import names
from proxyflow.tracking.connection import OUTAGES, known_experiments
from proxyflow.tracking.owner import is_dead
from proxyflow.tracking.reader import FoundRun, search, trainings
from proxyflow.tracking.runs import Run, describe
from proxyflow.training.devices import device_name
from proxyflow.training.engine import TrainingSpec


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
class Outcome:
    """How a study ended.

    Attributes:
        planned: trainings in the plan.
        found: of these, finished before, or left to another process.
        made: finished now.
        failed: title and error of those that failed.
        stopped: which limit ended it early, or empty.
    """

    planned: int
    found: int
    made: int
    failed: tuple[tuple[str, str], ...]
    stopped: str = ""


@dataclass(frozen=True)
class Forecast:
    """One planned training with what is known of it before it runs.

    Attributes:
        finished: the server has its result.
        seconds: estimated training time, 0 where finished.
    """

    planned: PlannedTraining
    size: Size
    finished: bool
    seconds: float


def scoring_spec(spec: StudySpec) -> ScoringSpec:
    """How a study scores its examples: once, with the seed 0, whatever the seeds of its trainings."""
    training = TrainingSpec(spec.scoring_configuration, spec.scoring, 0, spec.engine)
    return score_runs.spec_for(training, *spec.strategies)


def finished_keys(lab: Lab) -> set[str]:
    """Run keys of the study's finished trainings."""
    experiments = known_experiments(lab.client, lab.writer.study)
    runs = search(lab.client, experiments, KIND="training")
    return {run.tags[names.RUN_KEY] for run in runs if run.finished and names.RUN_KEY in run.tags}


def forecast(lab: Lab, spec: StudySpec) -> list[Forecast]:
    """What a study has to do and how long it will take; makes no run.

    A training is known to be finished only where the subset that it needs exists on the server, as its key
    is over the subset's content.
    """
    done = finished_keys(lab)
    sizes = Sizes(lab)
    fingerprints = _known_fingerprints(lab, spec)
    planned = list(plan_trainings(spec))
    experiments = known_experiments(lab.client, lab.writer.study)
    speed = measured_speed(trainings(lab.client, experiments), device_name(lab.device))
    if not speed > 0:
        lab.say("no training of this study is finished yet: calibrating with a few steps of the first one")
        speed = calibrate(lab, lab.dataset(planned[0].dataset), planned[0])
    result = []
    for training in planned:
        size = sizes.of(training)
        fingerprint = fingerprints.get(_subset_of(training))
        finished = False
        if fingerprint is not None:
            dataset = lab.dataset(training.dataset)
            key = training_runs.key_for(
                lab, training, dataset.fingerprint, fingerprint, dataset.image_size, dataset.crop
            )
            finished = key in done
        result.append(Forecast(training, size, finished, 0.0 if finished else size.work / speed))
    return result


def _subset_of(training: PlannedTraining) -> tuple[str, str, int]:
    """Which subset a training needs; the seed counts only where it can change the choice."""
    strategy = training.strategy.data_strategy
    return training.dataset, strategy.canonical, training.seed if strategy.depends_on_seed else 0


def _known_fingerprints(lab: Lab, spec: StudySpec) -> dict[tuple[str, str, int], str]:
    """Fingerprints of the subsets that the server already has."""
    subsets = {
        run.tags[names.RUN_KEY]: run
        for run in search(lab.client, KIND="subset")
        if run.finished and names.RUN_KEY in run.tags
    }
    scored: dict[str, FoundRun | None] = {}
    found: dict[tuple[str, str, int], str] = {}
    for training in plan_trainings(spec):
        dataset = lab.dataset(training.dataset)
        strategy = training.strategy.data_strategy
        score_run = ""
        if strategy.needs_scores:
            if dataset.name not in scored:
                key = score_runs.key_of(lab, dataset, scoring_spec(spec))
                runs = search(lab.client, KIND="score", RUN_KEY=key)
                scored[dataset.name] = next((run for run in runs if run.finished), None)
            run = scored[dataset.name]
            if run is None:
                continue
            score_run = run.id
        key = subset_key(dataset.fingerprint, strategy, training.seed, score_run)
        if key in subsets:
            found[_subset_of(training)] = subsets[key].tags[names.SUBSET_FINGERPRINT]
    return found


def run_study(lab: Lab, spec: StudySpec, executor: Executor, limits: Limits) -> Outcome:
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
    note = (
        f"Study {lab.writer.study}: {len(spec.strategies)} strategies x {len(spec.grid)} configurations x "
        f"{len(spec.datasets)} data set(s) x {len(spec.seeds)} seed(s) = {len(planned)} trainings, "
        f"{spec.settings.epochs} epochs on the target."
    )
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
        subsets = dict(_prepare(lab, spec, run))
        outcome = _execute(lab, planned, subsets, executor, limits, begun, run)
        run.log_metrics(
            {
                "runs_planned": float(outcome.planned),
                "runs_finished": float(outcome.found + outcome.made),
                "runs_failed": float(len(outcome.failed)),
            }
        )
        if outcome.failed:
            listed = "; ".join(f"{title}: {error}" for title, error in outcome.failed[:5])
            raise TrainingFailed(
                f"{len(outcome.failed)} of {outcome.planned} trainings failed ({listed}); the same command tries "
                "them again"
            )
    return outcome


def _prepare(lab: Lab, spec: StudySpec, parent: Run) -> Iterator[tuple[tuple[str, str, int], tuple[Subset, str]]]:
    """Finds or makes every subset that the study needs, and the scores that those need."""
    scores: dict[str, ExampleScores] = {}
    seen: set[tuple[str, str, int]] = set()
    needs = frozenset().union(*(strategy.needs for strategy in spec.strategies))
    for training in plan_trainings(spec):
        key = _subset_of(training)
        if key in seen:
            continue
        seen.add(key)
        dataset, strategy = lab.dataset(training.dataset), training.strategy.data_strategy
        if strategy.needs_scores and dataset.name not in scores:
            scores[dataset.name] = score_runs.ensure_scores(lab, dataset, scoring_spec(spec), needs, parent)
        yield (
            key,
            subset_runs.ensure_subset(lab, dataset, strategy, training.seed, scores.get(dataset.name), parent),
        )


def _execute(
    lab: Lab,
    planned: list[PlannedTraining],
    subsets: dict[tuple[str, str, int], tuple[Subset, str]],
    executor: Executor,
    limits: Limits,
    begun: float,
    parent: Run,
) -> Outcome:
    """Runs the trainings that are not finished; `begun` is when the study began, on the monotonic clock."""
    done = finished_keys(lab)
    keys = {training: training_runs.key_of(lab, training, subsets[_subset_of(training)][0]) for training in planned}
    left = [training for training in planned if keys[training] not in done]
    if len(left) < len(planned):
        lab.say(f"{len(planned) - len(left)} of {len(planned)} trainings are finished already; {len(left)} to do")
    sizes = Sizes(lab)
    started = time.monotonic()
    failed: list[tuple[str, str]] = []
    made = elsewhere = 0
    stopped = ""

    def within_limits() -> Iterator[PlannedTraining]:
        nonlocal stopped
        for training in left:
            stopped = limits.reached(lab, time.monotonic() - begun)
            if stopped:
                return
            yield training

    def work(training: PlannedTraining) -> _Done:
        if _taken(lab, keys[training]):
            return _Done(training, "done by another process", elsewhere=True)
        subset, subset_run = subsets[_subset_of(training)]
        size = sizes.of(training).work
        shown = 0.0

        def on_share(share: float, note: str) -> None:
            nonlocal shown
            shown += share * size
            progress.step(share * size, f"{training.strategy.canonical} {training.hyperparameters.name}: {note}")

        try:
            result, _ = training_runs.train(lab, training, subset, subset_run, parent, on_share=on_share)
        except OUTAGES:
            # Without its server no training can begin: each would wait for minutes and fail.
            raise
        except Exception as error:
            # One failed training fails alone: its run says why, the study goes on and reports it at the end.
            return _Done(training, error=describe(error), shown=shown)
        note = "diverged" if result.diverged else f"accuracy {result.best_valid_accuracy:.3f}"
        return _Done(training, f"{training.strategy.canonical} {training.hyperparameters.name}: {note}", shown=shown)

    total = sum(sizes.of(training).work for training in left)
    with Progress("trainings", len(left), "runs", work=total) as progress:
        for ended in executor.map(work, within_limits()):
            if ended.error:
                failed.append((ended.training.title, ended.error))
                progress.say(f"failed: {ended.training.title}: {ended.error}")
            elif ended.elsewhere:
                elsewhere += 1
            else:
                made += 1
            progress.advance(sizes.of(ended.training).work - ended.shown, ended.note)
    if elsewhere:
        lab.say(f"{elsewhere} trainings were left to another process that works on this study")
    if stopped:
        not_begun = len(left) - made - elsewhere - len(failed)
        lab.say(f"stopped: {stopped}, {not_begun} trainings are left; the same command resumes")
    elif left:
        lab.say(f"{made} trainings took {format_seconds(time.monotonic() - started)}")
    return Outcome(len(planned), len(planned) - len(left) + elsewhere, made, tuple(failed), stopped)


@dataclass(frozen=True)
class _Done:
    """How one training of a study ended, and how much of its work was shown while it ran."""

    training: PlannedTraining
    note: str = ""
    error: str = ""
    elsewhere: bool = False
    shown: float = 0.0


def _taken(lab: Lab, key: str) -> bool:
    """Whether another process has finished a training since the plan was made, or is at it."""
    runs = list(search(lab.client, [lab.writer.experiment_id], KIND="training", RUN_KEY=key))
    owners = [run.tags.get(names.OWNER, "") for run in runs if run.status == "running"]
    return any(run.finished for run in runs) or any(owner and not is_dead(owner) for owner in owners)


def forecast_lines(forecasts: list[Forecast], price_per_hour: float | None) -> Iterator[str]:
    """The plan as a table, one line per training, then totals per strategy and in all."""
    yield (
        f"{'data set':<14} {'strategy':<28} {'configuration':<28} {'seed':>4} {'epochs':>6} {'examples':>8} "
        f"{'estimate':>9}  state"
    )
    for item in forecasts:
        training = item.planned
        yield (
            f"{training.dataset:<14} {training.strategy.canonical:<28} {training.hyperparameters.name:<28} "
            f"{training.seed:>4} {training.settings.epochs:>6} {item.size.n_train:>8} "
            f"{item.seconds:>8.1f}s  {'finished' if item.finished else 'to do'}"
        )
    yield ""
    yield f"{'strategy':<28} {'runs':>6} {'to do':>6} {'estimate':>10} {'relative work':>14}"
    target = sum(item.size.work for item in forecasts if isinstance(item.planned.strategy, Full))
    for name in dict.fromkeys(item.planned.strategy.canonical for item in forecasts):
        rows = [item for item in forecasts if item.planned.strategy.canonical == name]
        work = sum(item.size.work for item in rows)
        relative = f"{work / target:.3f}" if target else ""
        to_do = sum(not item.finished for item in rows)
        yield (
            f"{name:<28} {len(rows):>6} {to_do:>6} {format_seconds(sum(i.seconds for i in rows)):>10} {relative:>14}"
        )
    seconds = sum(item.seconds for item in forecasts)
    to_do = sum(not item.finished for item in forecasts)
    cost = "" if price_per_hour is None else f", {seconds / 3600 * price_per_hour:.2f} US dollars"
    yield ""
    total = format_seconds(seconds)
    yield f"{len(forecasts)} runs, {to_do} to do: about {total} of training{cost} (scoring not counted)"
