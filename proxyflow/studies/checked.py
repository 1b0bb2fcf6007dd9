"""What a check of proxies has found, and how it is told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from proxyflow.proxies import Proxy
from proxyflow.quality.bootstrap import Estimate
from proxyflow.quality.objective import Objective
from proxyflow.quality.safety import safety_verdict
from proxyflow.searching.safety import Loss
from proxyflow.studies.search_costs import saves_no_time, saving_note
from proxyflow.studies.search_trials import SearchSpec


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
