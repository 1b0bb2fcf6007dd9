"""The dry run of a study: its runs, their dependencies, what is finished, and estimates for the rest."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, median

from proxyflow.core.progress import format_seconds
from proxyflow.proxies import TARGET
from proxyflow.studies.context import StudyContext
from proxyflow.studies.dependencies import Dependencies, SubsetId, distillation_of, subset_id, subsets_of
from proxyflow.studies.estimate import (
    UNKNOWN_SPEED,
    Size,
    Sizes,
    Speed,
    batch_size_of,
    calibrate,
    measured_speeds,
    speed_group,
    unit_of,
    work_per_example,
)
from proxyflow.studies.plan import AUTO, PlannedTraining, StudySpec, order_trainings, plan_trainings, training_work
from proxyflow.studies.support import check_support
from proxyflow.studies.tasks import SubsetRef
from proxyflow.tracking.connection import experiment_ids
from proxyflow.tracking.queries.reader import finished_values, trainings
from proxyflow.trainers.devices import device_name
from proxyflow.trainers.model_access import ModelAccess

UNKNOWN = "unknown"  # before the first training of a trainer that cannot be calibrated


@dataclass(frozen=True)
class ScoringPlan:
    """The scoring of one data set.

    Attributes:
        trainings: number of models to train; 0 where existing scores were named, and not made for the study.
        run_id: run of existing scores; empty if there are none.
        seconds: estimated time; 0 if the scores exist.
    """

    dataset: str
    trainings: int
    run_id: str
    seconds: float


@dataclass(frozen=True)
class DistillationPlan:
    """The synthetic images of one data set.

    Attributes:
        iterations: iterations of the method, including trainings among them.
        run_id: run of existing images; empty if there are none.
        seconds: estimated time; 0 if the images exist.
    """

    dataset: str
    strategy: str
    iterations: int
    run_id: str
    seconds: float


@dataclass(frozen=True)
class SubsetPlan:
    """A subset.

    Attributes:
        run_id: run of the existing subset; empty if there is none.
        waits_for: what it depends on: `scores`, `images`, or empty.
        used_by: number of trainings on it.
    """

    dataset: str
    strategy: str
    seed: int
    run_id: str
    waits_for: str
    used_by: int


@dataclass(frozen=True)
class RunPlan:
    """One training.

    Attributes:
        finished: whether the server has its result.
        seconds: estimated training time; 0 if finished.
    """

    planned: PlannedTraining
    size: Size
    finished: bool
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """The plan of a study with estimates.

    Attributes:
        jobs: number of concurrent trainings.
    """

    scorings: tuple[ScoringPlan, ...]
    subsets: tuple[SubsetPlan, ...]
    trainings: tuple[RunPlan, ...]
    jobs: int = 1
    distillations: tuple[DistillationPlan, ...] = ()

    @property
    def seconds(self) -> float:
        """Estimated total time; scorings and distillations run one after the other, trainings `jobs` at a time."""
        before = sum(each.seconds for each in self.scorings) + sum(each.seconds for each in self.distillations)
        return before + sum(each.seconds for each in self.trainings) / self.jobs


def forecast(context: StudyContext, spec: StudySpec, jobs: int = 1) -> Forecast:
    """Plans a study and estimates its time; makes no run.

    A training's key covers the content of its subset, so it counts as finished only if its subset is on the server.

    Raises:
        Unsupported: a data set does not support a strategy.
    """
    check_support(context, spec)
    experiments = experiment_ids(context.client, context.writer.study)
    done = finished_values(context.client, experiments)
    dependencies, sizes = Dependencies.of(context, spec), Sizes(context)
    planned = order_trainings(list(plan_trainings(spec)), lambda training: sizes.of(training).work)
    needed = subsets_of(planned)
    dependencies.check(needed.values())
    found = {key: dependencies.find(training) for key, training in needed.items()}
    finished = {
        training
        for training in planned
        if (reference := found[subset_id(training)]) is not None and dependencies.task(training, reference).key in done
    }
    speeds = _speeds(context, spec, experiments, [training for training in planned if training not in finished])
    # Scoring models and pilots are not reduced; without such trainings the first speed is the best guess.
    speed = speeds.get("", next(iter(speeds.values()), UNKNOWN_SPEED)).train
    runs = tuple(
        RunPlan(training, size, training in finished, 0.0 if training in finished else seconds)
        for training in planned
        for size in [sizes.of(training)]
        for seconds in [speeds.get(speed_group(training.strategy), UNKNOWN_SPEED).seconds(size)]
    )
    scored = spec.datasets if dependencies.scores_needed else ()
    scorings = tuple(_scoring(context, dependencies, name, speed) for name in scored)
    users: dict[SubsetId, int] = dict.fromkeys(needed, 0)
    for training in planned:
        users[subset_id(training)] += 1
    subsets = tuple(
        SubsetPlan(
            training.dataset,
            training.strategy.subset_strategy.canonical,
            key[2],
            reference.run_id if (reference := found[key]) is not None else "",
            _waits_for(training),
            users[key],
        )
        for key, training in needed.items()
    )
    distillations = tuple(
        _distillation(context, training, found[key], speed)
        for key, training in needed.items()
        if training.strategy.data.synthetic
    )
    return Forecast(scorings, subsets, runs, jobs, distillations)


def seconds_in_full(context: StudyContext, spec: StudySpec) -> float:
    """The mean time of a study's trainings on the full data; nan before the first one of a trainer without calibration.

    Raises:
        Unsupported: a data set does not support a strategy.
    """
    check_support(context, spec)
    targets = dataclasses.replace(spec, strategies=(TARGET,), seeds=spec.seeds[:1])
    planned, sizes = list(plan_trainings(targets)), Sizes(context)
    speed = _speeds(context, targets, experiment_ids(context.client, context.writer.study), planned)[""]
    return fmean(speed.seconds(sizes.of(each)) for each in planned)


def _speeds(
    context: StudyContext, spec: StudySpec, experiments: list[str], to_do: list[PlannedTraining]
) -> dict[str, Speed]:
    """Speeds of trainings by `speed_group`: of finished ones, or of a few steps of the first one of each group."""
    device, unit = device_name(context.device), unit_of(spec.trainer)
    found = measured_speeds(trainings(context.client, experiments), device, unit) if experiments else {}
    missing: dict[str, PlannedTraining] = {}
    for training in to_do:
        group = speed_group(training.strategy)
        if not found.get(group, UNKNOWN_SPEED).known:
            missing.setdefault(group, training)
    if missing and isinstance(spec.trainer, ModelAccess):
        named = ", ".join(each.strategy.canonical for each in missing.values())
        context.say(f"no such training of this study is finished: calibrating with a few steps of {named}")
        for group, training in missing.items():
            found[group] = calibrate(context, context.dataset(training.dataset), training)
    elif missing:
        # How much faster a reduced training of the user's code is, only a finished one can tell.
        full = found.get("", UNKNOWN_SPEED)
        found |= {group: full if full.known else UNKNOWN_SPEED for group in missing}
    return found


def _waits_for(training: PlannedTraining) -> str:
    strategy = training.strategy.subset_strategy
    return "scores" if strategy.needs_scores else "images" if strategy.synthetic else ""


def _distillation(
    context: StudyContext, training: PlannedTraining, found: SubsetRef | None, speed: float
) -> DistillationPlan:
    from proxyflow.distillation.distill import estimate_seconds

    spec, dataset = distillation_of(training), context.dataset(training.dataset)
    seconds = 0.0
    if found is None:
        context.say(f"{training.strategy.canonical} of {dataset.name}: timing one iteration of its method")
        seconds = estimate_seconds(dataset, spec, context.device, speed)
    run_id = "" if found is None else found.run_id
    strategy = training.strategy.subset_strategy.canonical
    return DistillationPlan(training.dataset, strategy, spec.method.total, run_id, seconds)


def _scoring(context: StudyContext, dependencies: Dependencies, name: str, speed: float) -> ScoringPlan:
    dataset, run_id = context.dataset(name), dependencies.score_runs.get(name, "")
    if run_id and dependencies.scores != AUTO:
        return ScoringPlan(name, 0, run_id, 0.0)
    scoring = dependencies.scoring
    training = scoring.training
    per_example = work_per_example(training, len(dataset.class_names), dataset)
    batch_size = batch_size_of(training.configuration)
    # The model of a fold trains on the other folds.
    folds = scoring.holdout_folds
    shares = [1.0] * scoring.repeats + [1 - 1 / folds] * (folds * scoring.repeats) if folds else [1.0] * scoring.repeats
    n_train, n_valid = len(dataset.train), len(dataset.valid)
    work = sum(
        training_work(per_example, int(share * n_train), n_valid, training.epochs, batch_size) for share in shares
    )
    return ScoringPlan(name, scoring.trainings, run_id, 0.0 if run_id else work / speed)


def forecast_lines(plan: Forecast, price_per_hour: float | None) -> Iterator[str]:
    """The plan as tables: scores, synthetic images, subsets, trainings, totals per strategy and overall."""
    if plan.scorings:
        yield f"{'scores of':<20} {'models':>6} {'estimate':>10}  state"
        for scoring in plan.scorings:
            state = f"run {scoring.run_id}" if scoring.run_id else "to do"
            yield f"{scoring.dataset:<20} {scoring.trainings:>6} {format_seconds(scoring.seconds):>10}  {state}"
        yield ""
    if plan.distillations:
        yield f"{'images of':<20} {'strategy':<40} {'iterations':>10} {'estimate':>10}  state"
        for item in plan.distillations:
            state = f"run {item.run_id}" if item.run_id else "to do"
            estimate = format_seconds(item.seconds)
            yield f"{item.dataset:<20} {item.strategy:<40} {item.iterations:>10} {estimate:>10}  {state}"
        yield ""
    wide = max([28, *(len(run.planned.strategy.canonical) for run in plan.trainings)])
    yield f"{'subset of':<20} {'strategy':<{wide}} {'seed':>4} {'waits for':<10} {'trainings':>9}  state"
    for subset in plan.subsets:
        state = f"run {subset.run_id}" if subset.run_id else "to do"
        waits = "" if subset.run_id else subset.waits_for
        yield (
            f"{subset.dataset:<20} {subset.strategy:<{wide}} {subset.seed:>4} {waits:<10} {subset.used_by:>9}  {state}"
        )
    yield ""
    yield (
        f"{'training on':<20} {'strategy':<{wide}} {'configuration':<28} {'seed':>4} {'epochs':>6} {'examples':>8} "
        f"{'steps':>7} {'estimate':>9}  state"
    )
    for run in plan.trainings:
        training = run.planned
        yield (
            f"{training.dataset:<20} {training.strategy.canonical:<{wide}} {training.spec.configuration.name:<28} "
            f"{training.spec.seed:>4} {training.spec.epochs:>6} {run.size.n_train:>8} "
            f"{run.size.steps or '':>7} {format_seconds(run.seconds):>9}  {'finished' if run.finished else 'to do'}"
        )
    yield ""
    yield from _totals(plan, price_per_hour, wide)


def _totals(plan: Forecast, price_per_hour: float | None, wide: int) -> Iterator[str]:
    def price(seconds: float) -> str:
        if price_per_hour is None:
            return ""
        return f"{seconds / 3600 * price_per_hour:.2f}" if math.isfinite(seconds) else UNKNOWN

    yield (
        f"{'strategy':<{wide}} {'runs':>6} {'to do':>6} {'steps':>7} {'estimate':>10} {'US dollars':>10} "
        f"{'relative work':>14}"
    )
    target = sum(item.size.work for item in plan.trainings if item.planned.strategy.is_target)
    for name in dict.fromkeys(item.planned.strategy.canonical for item in plan.trainings):
        rows = [item for item in plan.trainings if item.planned.strategy.canonical == name]
        work = sum(item.size.work for item in rows)
        relative = f"{work / target:.3f}" if target else ""
        to_do = sum(not item.finished for item in rows)
        steps = round(median(item.size.steps for item in rows))
        seconds = sum(item.seconds for item in rows) / plan.jobs
        yield (
            f"{name:<{wide}} {len(rows):>6} {to_do:>6} {steps or '':>7} {format_seconds(seconds):>10} "
            f"{price(seconds):>10} {relative:>14}"
        )
    to_do = sum(not item.finished for item in plan.trainings)
    cost = "" if price_per_hour is None else f", {price(plan.seconds)} US dollars"
    scored = sum(each.seconds for each in plan.scorings)
    scoring = f", {format_seconds(scored)} of it scoring" if scored else ""
    distilled = sum(each.seconds for each in plan.distillations)
    scoring += f", {format_seconds(distilled)} of it distilling" if distilled else ""
    at_a_time = f", {plan.jobs} trainings at a time" if plan.jobs > 1 else ""
    yield ""
    if math.isfinite(plan.seconds):
        time = f"about {format_seconds(plan.seconds)}{scoring}{cost}{at_a_time}"
    else:
        time = f"how long is not known before this study has a full training on this device{at_a_time}"
    yield f"{len(plan.trainings)} runs, {to_do} to do: {time}"
