"""What a study would do: its runs, what they depend on, what is finished, and what the rest will take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from proxyflow.progress import format_seconds
from proxyflow.strategies import Full
from proxyflow.studies.dependencies import Dependencies, SubsetId, distillation_of, subset_id, subsets_of
from proxyflow.studies.estimate import Size, Sizes, calibrate, measured_speed
from proxyflow.studies.lab import Lab
from proxyflow.studies.plan import PlannedTraining, StudySpec, in_order, plan_trainings, training_work
from proxyflow.studies.tasks import SubsetRef
from proxyflow.tracking.connection import known_experiments
from proxyflow.tracking.reader import finished_keys, trainings
from proxyflow.training.devices import device_name
from proxyflow.training.models import flops_per_example


@dataclass(frozen=True)
class Scoring:
    """The scoring of one data set, before it runs.

    Attributes:
        trainings: how many models it trains.
        run_id: where it is already, else empty.
        seconds: estimated time, 0 where it is there.
    """

    dataset: str
    trainings: int
    run_id: str
    seconds: float


@dataclass(frozen=True)
class Making:
    """Synthetic images of one data set, before they are made.

    Attributes:
        iterations: of their method, trainings among them included.
        run_id: where they are already, else empty.
        seconds: estimated time, 0 where they are there.
    """

    dataset: str
    strategy: str
    iterations: int
    run_id: str
    seconds: float


@dataclass(frozen=True)
class Choice:
    """A subset before it is chosen.

    Attributes:
        run_id: where it is already, else empty.
        waits_for: what has to be made before it: scores, or images, or nothing.
        used_by: how many trainings wait for it.
    """

    dataset: str
    strategy: str
    seed: int
    run_id: str
    waits_for: str
    used_by: int


@dataclass(frozen=True)
class Expected:
    """One planned training with what is known of it before it runs.

    Attributes:
        finished: the server has its result.
        seconds: estimated training time, 0 where finished.
    """

    planned: PlannedTraining
    size: Size
    finished: bool
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """A study before it runs.

    Attributes:
        jobs: trainings at a time.
        makings: of synthetic images.
    """

    scorings: tuple[Scoring, ...]
    choices: tuple[Choice, ...]
    trainings: tuple[Expected, ...]
    jobs: int = 1
    makings: tuple[Making, ...] = ()

    @property
    def seconds(self) -> float:
        """Estimated time in all; scorings and distillations come one after the other, trainings `jobs` at a time."""
        before = sum(each.seconds for each in self.scorings) + sum(each.seconds for each in self.makings)
        return before + sum(each.seconds for each in self.trainings) / self.jobs


def forecast(lab: Lab, spec: StudySpec, jobs: int = 1) -> Forecast:
    """What a study has to do and how long it will take; makes no run.

    A training is known to be finished only where the subset that it needs exists on the server, as its key
    is over the subset's content.
    """
    experiments = known_experiments(lab.client, lab.writer.study)
    done = finished_keys(lab.client, experiments)
    dependencies, sizes = Dependencies(lab, spec), Sizes(lab)
    planned = in_order(list(plan_trainings(spec)), lambda training: sizes.of(training).work)
    needed = subsets_of(planned)
    found = {key: dependencies.find(training) for key, training in needed.items()}
    finished = {
        training
        for training in planned
        if (reference := found[subset_id(training)]) is not None and dependencies.task(training, reference).key in done
    }
    speed = measured_speed(trainings(lab.client, experiments), device_name(lab.device)) if experiments else float("nan")
    if not speed > 0 and len(finished) < len(planned):
        lab.say("no training of this study is finished yet: calibrating with a few steps of the first one")
        speed = calibrate(lab, lab.dataset(planned[0].dataset), planned[0])
    expected = tuple(
        Expected(training, size, training in finished, 0.0 if training in finished else size.work / speed)
        for training in planned
        for size in [sizes.of(training)]
    )
    scorings = tuple(_scoring(lab, spec, dependencies, name, speed) for name in spec.datasets)
    users: dict[SubsetId, int] = dict.fromkeys(needed, 0)
    for training in planned:
        users[subset_id(training)] += 1
    choices = tuple(
        Choice(
            training.dataset,
            training.strategy.data_strategy.canonical,
            key[2],
            reference.run_id if (reference := found[key]) is not None else "",
            _waits_for(training),
            users[key],
        )
        for key, training in needed.items()
    )
    makings = tuple(
        _making(lab, training, found[key], speed) for key, training in needed.items() if training.strategy.synthetic
    )
    return Forecast(scorings if dependencies.scores_needed else (), choices, expected, jobs, makings)


def _waits_for(training: PlannedTraining) -> str:
    strategy = training.strategy.data_strategy
    return "scores" if strategy.needs_scores else "images" if strategy.synthetic else ""


def _making(lab: Lab, training: PlannedTraining, found: SubsetRef | None, speed: float) -> Making:
    from proxyflow.distillation.distil import seconds_of

    spec, dataset = distillation_of(training), lab.dataset(training.dataset)
    seconds = 0.0
    if found is None:
        lab.say(f"{training.strategy.canonical} of {dataset.name}: timing an iteration of its method")
        seconds = seconds_of(dataset, spec, lab.device, speed)
    run_id = "" if found is None else found.run_id
    strategy = training.strategy.data_strategy.canonical
    return Making(training.dataset, strategy, spec.method.total, run_id, seconds)


def _scoring(lab: Lab, spec: StudySpec, dependencies: Dependencies, name: str, speed: float) -> Scoring:
    dataset, scoring = lab.dataset(name), dependencies.scoring
    settings = scoring.training.settings
    per_example = flops_per_example(
        scoring.training.hyperparameters, len(dataset.class_names), settings.image_size or dataset.image_size
    )
    # A fold's model sees all but its fold.
    folds = scoring.holdout_folds
    shares = [1.0] * scoring.repeats + [1 - 1 / folds] * (folds * scoring.repeats) if folds else [1.0] * scoring.repeats
    n_train, n_valid = len(dataset.train), len(dataset.valid)
    work = sum(training_work(per_example, int(share * n_train), n_valid, settings) for share in shares)
    run_id = dependencies.score_runs.get(name, "")
    return Scoring(name, scoring.trainings, run_id, 0.0 if run_id else work / speed)


def forecast_lines(plan: Forecast, price_per_hour: float | None) -> Iterator[str]:
    """The plan as tables: scores, synthetic images, subsets, trainings on these, totals per strategy and in all."""
    if plan.scorings:
        yield f"{'scores of':<20} {'models':>6} {'estimate':>10}  state"
        for scoring in plan.scorings:
            state = f"run {scoring.run_id}" if scoring.run_id else "to do"
            yield f"{scoring.dataset:<20} {scoring.trainings:>6} {scoring.seconds:>9.1f}s  {state}"
        yield ""
    if plan.makings:
        yield f"{'images of':<20} {'strategy':<40} {'iterations':>10} {'estimate':>10}  state"
        for making in plan.makings:
            state = f"run {making.run_id}" if making.run_id else "to do"
            yield (
                f"{making.dataset:<20} {making.strategy:<40} {making.iterations:>10} {making.seconds:>9.1f}s  {state}"
            )
        yield ""
    yield f"{'subset of':<20} {'strategy':<28} {'seed':>4} {'waits for':<10} {'trainings':>9}  state"
    for choice in plan.choices:
        state = f"run {choice.run_id}" if choice.run_id else "to do"
        waits = "" if choice.run_id else choice.waits_for
        yield (f"{choice.dataset:<20} {choice.strategy:<28} {choice.seed:>4} {waits:<10} {choice.used_by:>9}  {state}")
    yield ""
    yield (
        f"{'training on':<20} {'strategy':<28} {'configuration':<28} {'seed':>4} {'epochs':>6} {'examples':>8} "
        f"{'estimate':>9}  state"
    )
    for item in plan.trainings:
        training = item.planned
        yield (
            f"{training.dataset:<20} {training.strategy.canonical:<28} {training.hyperparameters.name:<28} "
            f"{training.seed:>4} {training.settings.epochs:>6} {item.size.n_train:>8} "
            f"{item.seconds:>8.1f}s  {'finished' if item.finished else 'to do'}"
        )
    yield ""
    yield from _totals(plan, price_per_hour)


def _totals(plan: Forecast, price_per_hour: float | None) -> Iterator[str]:
    def price(seconds: float) -> str:
        return "" if price_per_hour is None else f"{seconds / 3600 * price_per_hour:.2f}"

    yield f"{'strategy':<28} {'runs':>6} {'to do':>6} {'estimate':>10} {'US dollars':>10} {'relative work':>14}"
    target = sum(item.size.work for item in plan.trainings if isinstance(item.planned.strategy, Full))
    for name in dict.fromkeys(item.planned.strategy.canonical for item in plan.trainings):
        rows = [item for item in plan.trainings if item.planned.strategy.canonical == name]
        work = sum(item.size.work for item in rows)
        relative = f"{work / target:.3f}" if target else ""
        to_do = sum(not item.finished for item in rows)
        seconds = sum(item.seconds for item in rows) / plan.jobs
        yield (
            f"{name:<28} {len(rows):>6} {to_do:>6} {format_seconds(seconds):>10} {price(seconds):>10} {relative:>14}"
        )
    to_do = sum(not item.finished for item in plan.trainings)
    cost = "" if price_per_hour is None else f", {price(plan.seconds)} US dollars"
    scored = sum(each.seconds for each in plan.scorings)
    scoring = f", {format_seconds(scored)} of it scoring" if scored else ""
    distilled = sum(each.seconds for each in plan.makings)
    scoring += f", {format_seconds(distilled)} of it distilling" if distilled else ""
    at_a_time = f", {plan.jobs} trainings at a time" if plan.jobs > 1 else ""
    yield ""
    yield f"{len(plan.trainings)} runs, {to_do} to do: about {format_seconds(plan.seconds)}{scoring}{cost}{at_a_time}"
