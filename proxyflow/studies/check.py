"""Checks whether tuning on proxies is safe, from a few configurations that are trained on them and on everything."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from proxyflow.core.errors import InvalidValue, TrainingFailed
from proxyflow.core.files import write_json
from proxyflow.proxies import TARGET, Proxy
from proxyflow.quality.bootstrap import Estimate
from proxyflow.quality.objective import Objective
from proxyflow.quality.safety import safety_verdict
from proxyflow.searching.knowledge import Knowledge
from proxyflow.searching.memory import Memory
from proxyflow.searching.safety import Loss, expected_loss, loss_seen
from proxyflow.spaces.grids import Grid
from proxyflow.spaces.space import Space
from proxyflow.studies.context import StudyContext, temporary_folder
from proxyflow.studies.dependencies import Dependencies
from proxyflow.studies.ladders import default_ladder
from proxyflow.studies.plan import StudySpec, check_epochs, check_reductions
from proxyflow.studies.presets import load_strategies
from proxyflow.studies.scheduler import ExecutionOptions
from proxyflow.studies.search_costs import saves_no_time, saving_note
from proxyflow.studies.search_trials import Prices, SearchSpec, SearchTrials
from proxyflow.studies.study import run_study
from proxyflow.tracking import names
from proxyflow.tracking.ui.links import escape_markdown
from proxyflow.trainers import Trainer

REMEMBERED = 3  # of the configurations, those that memories take for the best
FILE = "check.json"


def asked_proxies(strategies: str, trainer: Trainer, epochs: int) -> tuple[Proxy, ...]:
    """The proxies that a check is asked about.

    Args:
        strategies: as text, see `load_strategies`; the target may be one of them.
        epochs: of the target.

    Raises:
        InvalidValue: there is none, or the trainer cannot train one of them.
    """
    proxies = tuple(proxy for proxy in load_strategies(strategies) if not proxy.is_target)
    if not proxies:
        raise InvalidValue("strategies", strategies, "name a proxy: full is what it is compared with")
    check_reductions(proxies, trainer)
    check_epochs(proxies, epochs, epochs)
    return proxies


def ladder_of(
    asked: tuple[Proxy, ...], trainer: Trainer, space: Space, epochs: int, alternatives: bool
) -> tuple[Proxy, ...]:
    """The rungs of a check: what it is asked about, with the rungs of a search as alternatives, and the target."""
    others = default_ladder(trainer, space, epochs)[:-1] if alternatives else ()
    return (*dict.fromkeys([*asked, *others]), TARGET)


@dataclass(frozen=True)
class CheckedProxy:
    """A proxy, and what tuning on it is expected to lose.

    Attributes:
        proxy: the proxy.
        cost: of a training on it, in full trainings.
        time: of a training on it, relative to one in full; nan where it was not measured.
        loss: see `safety.Loss`.
        seen: what its first choice lost among the configurations that were trained, see `safety.loss_seen`.
        idle: how many of its trainings learned nothing, which is known of shares alone.
    """

    proxy: Proxy
    cost: float
    time: float
    loss: Loss
    seen: float
    idle: int


@dataclass(frozen=True, eq=False)
class Checked:
    """The outcome of a check.

    Attributes:
        spec: what was checked; its ladder has the proxies, the target last.
        asked: the proxies that were asked about, the others are alternatives.
        configurations: that were trained.
        proxies: the cheapest first, the target last.
        tolerance: up to which a loss is safe; in points, or in the metric's own unit where it is no share.
    """

    spec: SearchSpec
    asked: tuple[Proxy, ...]
    configurations: int
    proxies: tuple[CheckedProxy, ...]
    tolerance: float

    @property
    def objective(self) -> Objective:
        """How losses are told."""
        return Objective(self.spec.trainer.metric)

    @property
    def is_relative(self) -> bool:
        """Whether losses count from tuning on the full data, as that itself is not shown to be within the tolerance."""
        return self.proxies[-1].loss.high > self.tolerance

    def counted(self, checked: CheckedProxy) -> Estimate:
        """What is compared with the tolerance: its loss, or how much more that is than the target's."""
        loss = checked.loss
        return Estimate(*loss.more) if self.is_relative else Estimate(loss.value, loss.low, loss.high)

    def is_safe(self, checked: CheckedProxy) -> bool:
        """Whether the whole interval of what it loses is within the tolerance, and its trainings learn."""
        return self.counted(checked).high <= self.tolerance and checked.idle < self.configurations

    @property
    def cheapest_safe(self) -> CheckedProxy | None:
        """The cheapest proxy on which tuning is safe; None if none is shown to be."""
        return next((each for each in self.proxies[:-1] if self.is_safe(each)), None)

    def verdict(self, checked: CheckedProxy) -> str:
        """What the check says of a proxy, in a sentence."""
        name, objective, n = checked.proxy.canonical, self.objective, self.configurations
        if checked.idle >= n:
            return f"Tuning on {name} is not safe: none of its {n} trainings learned anything, so it ranks nothing."
        lost, amount, than = self.counted(checked), objective.amount, self._than
        some = f" {checked.idle} of its {n} trainings learned nothing." if checked.idle else ""
        sentence = safety_verdict(f"Tuning on {name}", lost, self.tolerance, objective.unit, amount, than, self._origin)
        return sentence + some

    @property
    def _than(self) -> str:
        """What the losses that are told are counted from, unless from the best configuration."""
        return " more than tuning on everything" if self.is_relative else ""

    @property
    def _origin(self) -> str:
        """Where a tolerance in the unit of a metric comes from."""
        if self.spec.trainer.metric.share:
            return ""
        return f" (tolerance={self.spec.tolerance:g}, in per cent of the spread of values)"

    @property
    def remedy(self) -> str:
        """What to do where a proxy that was asked about is not safe."""
        other = self.cheapest_safe
        if other is None:
            others = "No other proxy is safe either: use" if len(self.proxies) - 1 > len(self.asked) else "Use"
            return f"{others} search, or check more configurations."
        lost = self.counted(other)
        price, unit = f"for {other.cost:.2f} of a full training", self.objective.unit
        told = f"{self._interval((lost.value, lost.low, lost.high))} {unit}{self._than}"
        return f"Use {other.proxy.canonical} instead, {price}: it is expected to lose {told}."

    def _interval(self, values: tuple[float, float, float]) -> str:
        value, low, high = map(self.objective.amount, values)
        return f"{value} [{low}, {high}]"

    @property
    def sentences(self) -> tuple[str, ...]:
        """A verdict for each proxy that was asked about, with the remedy after the last one that is not safe."""
        asked = [each for each in self.proxies if each.proxy in self.asked]
        unsafe = [each for each in asked if not self.is_safe(each)]
        return tuple(
            f"{self.verdict(each)} {self.remedy}" if unsafe and each is unsafe[-1] else self.verdict(each)
            for each in asked
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """What helps to read the table."""
        found, full = [], self.proxies[-1].loss
        if self.is_relative:
            found.append(
                f"Tuning on everything, by one training of each configuration, loses "
                f"{self._interval((full.value, full.low, full.high))} {self.objective.unit} itself, so proxies are "
                "compared with it."
            )
        slow = [each.proxy.canonical for each in self.proxies[:-1] if saves_no_time(each.cost, each.time)]
        if slow:
            found.append(f"{saving_note(slow)}.")
        if self.proxies[-1].idle >= self.configurations:
            found.append("Nothing learned on everything either: give more epochs, or other ranges.")
        n = len(self.spec.candidates)
        found.append(
            f"{self.configurations} configurations were trained; tuning would choose from {n} of the space. Losses are "
            "expected of such a choice; the last column is that of the few that were trained."
        )
        return tuple(found)

    @property
    def table(self) -> list[dict[str, Any]]:
        """By proxy its cost and time, its expected loss with its interval, and what was seen."""
        names = ("more", "more_low", "more_high")
        return [
            {"proxy": each.proxy.canonical, "cost": each.cost, "time": each.time}
            | {"loss": each.loss.value, "low": each.loss.low, "high": each.loss.high}
            | dict(zip(names, each.loss.more, strict=True))
            | {"seen": each.seen, "learned_nothing": each.idle}
            | {"safe": None if each is self.proxies[-1] else self.is_safe(each)}
            for each in self.proxies
        ]

    @property
    def lines(self) -> tuple[str, ...]:
        """The table, the verdicts and remarks, for a terminal."""
        # The cheapest safe proxy first, and the target, which is what they are compared with, last.
        ordered = (*sorted(self.proxies[:-1], key=lambda each: not self.is_safe(each)), self.proxies[-1])
        unit = self.objective.unit
        within = f"in {unit}" if self.spec.trainer.metric.share else unit
        rows = [("proxy", "cost", "time", "safe", f"loses {within} [95 %]", "more than full", "seen")]
        for each in ordered:
            loss, last = each.loss, each is ordered[-1]
            time = f"{each.time:.2f}" if math.isfinite(each.time) else ""
            seen = self.objective.amount(each.seen) if math.isfinite(each.seen) else ""
            told = "" if last else "yes" if self.is_safe(each) else "no"
            lost = self._interval((loss.value, loss.low, loss.high)), "" if last else self._interval(loss.more)
            rows.append((each.proxy.canonical, f"{each.cost:.2f}", time, told, *lost, "" if last else seen))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
        return (*table, "", *self.sentences, *self.remarks)


def configurations_of(spec: SearchSpec, memories: tuple[Memory, ...], n: int) -> Grid:
    """What a check trains: the default, those that memories take for the best, and an even sample."""
    chosen = [spec.candidates[0]]
    if memories:
        believed = Knowledge(spec.plan(_steps_unknown(spec), memories), ()).mean
        chosen += [spec.candidates[place] for place in (-believed).argsort(kind="stable")[:REMEMBERED]]
    return tuple(dict.fromkeys([*chosen, *spec.candidates]))[:n]


def study_of(spec: SearchSpec, memories: tuple[Memory, ...], n: int) -> StudySpec:
    """The trainings of a check, see `configurations_of`."""
    return dataclasses.replace(spec.study, grid=configurations_of(spec, memories, n), seeds=(spec.seed,))


def _steps_unknown(spec: SearchSpec) -> list[float]:
    return [1.0] * len(spec.ladder)


def run_check(
    context: StudyContext,
    spec: SearchSpec,
    asked: tuple[Proxy, ...],
    n: int,
    execution: ExecutionOptions,
    memories: tuple[Memory, ...] = (),
) -> Checked:
    """Trains a few configurations on each proxy and on everything, and says what tuning on each would lose.

    Args:
        spec: the ladder has the proxies, asked about or not; the candidates are what tuning would choose from.
        asked: the proxies that the user asks about.
        n: how many configurations to train.

    Raises:
        TrainingFailed: a training failed.
        Unsupported: the data set does not support a proxy.
    """
    study = study_of(spec, memories, n)
    outcome = run_study(context, study, execution)
    if outcome.stopped:
        done = f"{outcome.found + outcome.made} of {outcome.planned} trainings"
        raise TrainingFailed(f"the check was stopped after {done}: {outcome.stopped}; run the same command to go on")
    prices = Prices(context, spec)
    trials = SearchTrials(context, spec, Dependencies.of(context, study), prices)
    trials.refresh()
    knowledge = Knowledge(spec.plan(prices.steps.tolist(), memories), trials.observations)
    # The study may have more, of an earlier check or a search, from which the model learns as well.
    trained = set(study.grid)
    own = tuple(o for o in trials.observations if o.trial.seed == 0 and o.trial.configuration in trained)
    cost, seconds = prices.table(spec.candidates).mean(axis=0), _seconds_of(trials)
    found = [
        CheckedProxy(
            proxy,
            float(cost[rung]),
            seconds[rung] / seconds[-1] if seconds[-1] > 0 else math.nan,
            expected_loss(knowledge, rung),
            loss_seen(dataclasses.replace(knowledge, observations=own), rung),
            sum(each.unranked and each.trial.rung == rung for each in own),
        )
        for rung, proxy in enumerate(spec.ladder)
    ]
    ordered = sorted(found[:-1], key=lambda each: each.cost)
    assert spec.tolerance is not None
    tolerance = knowledge.tolerated(spec.tolerance)
    checked = Checked(spec, asked, len(study.grid), (*ordered, found[-1]), tolerance)
    _log(context, checked)
    return checked


def _seconds_of(trials: SearchTrials) -> list[float]:
    """Mean seconds of a training by rung; nan where they were not measured."""
    found: list[list[float]] = [[] for _ in trials.spec.ladder]
    for each, run_id in zip(trials.observations, trials.run_ids, strict=True):
        found[each.trial.rung].append(trials.bills[run_id].seconds)
    return [fmean(each) if each else math.nan for each in found]


def _log(context: StudyContext, checked: Checked) -> None:
    described = " ".join(escape_markdown(sentence) for sentence in checked.sentences)
    tags = {
        names.DATASET: checked.spec.dataset,
        names.DATASET_FINGERPRINT: context.dataset(checked.spec.dataset).fingerprint,
    }
    with context.writer.open("report", f"check {context.writer.study}", described, tags) as run:
        run.log_metrics(
            {
                names.quality_metric_name("expected_loss", each.proxy.canonical): each.loss.value
                for each in checked.proxies
            }
        )
        with temporary_folder() as folder:
            limits = {"unit": checked.objective.unit, "tolerance": checked.tolerance}
            rows = [{key: None if value != value else value for key, value in row.items()} for row in checked.table]
            written = {"proxies": rows, **limits, "verdict": checked.sentences}
            write_json(Path(folder) / FILE, written)
            run.log_folder(folder, names.REPORT)
