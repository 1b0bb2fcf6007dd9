"""The figures of a search's page, as plotly draws them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from proxyflow.core.errors import shortened
from proxyflow.reporting.embedded import numbers
from proxyflow.searching.knowledge import FIRST, Knowledge, Observation
from proxyflow.searching.surrogate import Floats
from proxyflow.spaces.parameters import Numeric
from proxyflow.studies.search import Found
from proxyflow.studies.search_files import FEWEST, random_search

Figure = dict[str, Any]
LINES = 40  # candidates of the parallel coordinates
BINS = 6  # of a number, for its importance
LONGEST = 24  # of a name on an axis
POINTS = 40  # of the best value over cost: each is a model of what was known then, which takes time to fit


@dataclass(frozen=True)
class Agreement:
    """How far a rung agrees with the next one that has some of its configurations.

    Attributes:
        rung: its number.
        above: that of the next one.
        configurations: names of those that were trained on both.
        lower, upper: their values on the rung and on the next one, means over seeds.
        spearman: the rank correlation of these; nan where there are too few.
    """

    rung: int
    above: int
    configurations: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    spearman: float

    @property
    def figure(self) -> str:
        """The name of its figure."""
        return f"agreement-{self.rung}"


def figures_of(found: Found) -> dict[str, Figure]:
    """Name to plotly figure; a figure without data has nothing to show."""
    return {
        "progress": _progress(found),
        "trials": _trials(found),
        **{each.figure: _agreement(found, each) for each in agreements_of(found)},
        "importance": _importance(found),
        "parallel": _parallel(found),
    }


def _seeds_of(found: Found) -> dict[tuple[str, int], list[Observation]]:
    """The trainings with a value of each configuration on each rung, one for each of its seeds."""
    trained: dict[tuple[str, int], list[Observation]] = {}
    for each in found.knowledge.observations:
        if math.isfinite(each.value):
            trained.setdefault((each.trial.configuration.name, each.trial.rung), []).append(each)
    return trained


def _mean(seeds: list[Observation]) -> float:
    return float(np.mean([each.value for each in seeds]))


def agreements_of(found: Found) -> list[Agreement]:
    """How far each rung agrees with the next one that shares a configuration with it: a search may skip rungs."""
    means = {key: _mean(seeds) for key, seeds in _seeds_of(found).items()}
    result: list[Agreement] = []
    for rung, above in combinations(range(len(found.spec.ladder)), 2):
        shared = [name for name, at in means if at == rung and (name, above) in means]
        if not shared or (result and result[-1].rung == rung):
            continue
        lower, upper = ([means[name, at] for name in shared] for at in (rung, above))
        ranked = len(set(lower)) > 1 and len(set(upper)) > 1 and len(shared) >= FEWEST
        spearman = float(spearmanr(lower, upper).statistic) if ranked else math.nan
        result.append(Agreement(rung, above, tuple(shared), tuple(lower), tuple(upper), spearman))
    return result


def _agreement(found: Found, agreement: Agreement) -> Figure:
    """A point for each configuration: its value on a rung and on the next one."""
    label, best = found.spec.trainer.metric.label, found.best.name
    titles = [escape(f"{label} on {found.spec.ladder[rung].canonical}") for rung in (agreement.rung, agreement.above)]
    points = list(zip(agreement.configurations, agreement.lower, agreement.upper, strict=True))
    data = []
    for color, size, own in (
        ("var(--soft)", 7, [each for each in points if each[0] != best]),
        ("var(--accent)", 10, [each for each in points if each[0] == best]),
    ):
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": numbers([low for _, low, _ in own]),
                "y": numbers([high for _, _, high in own]),
                "marker": {"color": color, "size": size},
                "hoverinfo": "text",
                "hovertext": [f"<b>{escape(name)}</b><br>{low:.4f}, then {high:.4f}" for name, low, high in own],
            }
        )
    x, y = ({"title": {"text": title}} for title in titles)
    return {"data": data, "layout": {"xaxis": x, "yaxis": y}}


def history_of(found: Found) -> pd.DataFrame:
    """What it would have returned after trainings (`spent`, `config`), and its value (`value`, `low`, `high`).

    After each of them, or after `POINTS` of many, evenly spread and with the last one.
    """
    plan, observations = found.knowledge.plan, found.knowledge.observations
    spent = np.cumsum([each.cost for each in observations])
    after = np.linspace(min(FIRST, len(observations)), len(observations), POINTS).round().astype(int)
    rows = []
    for n in np.unique(after).tolist():
        known = Knowledge(plan, observations[:n])
        rows.append((spent[n - 1], *known.value_of(known.recommended), plan.candidates[known.recommended].name))
    return pd.DataFrame(rows, columns=["spent", "value", "low", "high", "config"])


def _progress(found: Found) -> Figure:
    """The value of what the search would have returned, judged by all that is known at the end."""
    history, knowledge = history_of(found), found.knowledge
    places = {each.name: place for place, each in enumerate(found.knowledge.plan.candidates)}
    judged = [knowledge.value_of(places[name]) for name in history["config"]]
    value, low, high = map(list, zip(*judged, strict=True))
    texts = [
        f"<b>{escape(name)}</b><br>after {spent:.2f} full trainings<br>{v:.4f} [{a:.4f}, {b:.4f}]"
        for name, spent, v, a, b in zip(history["config"], history["spent"], value, low, high, strict=True)
    ]
    random = random_search(knowledge, len(found.spec.candidates), max(2 * found.spec.budget, found.spent))
    low_end: Figure = {"type": "scatter", "mode": "lines", "line": {"width": 0, "shape": "hv"}, "hoverinfo": "skip"}
    high_end: Figure = {**low_end, "fill": "tonexty"}
    data: list[Figure] = [
        {**low_end, "x": numbers(random["cost"]), "y": numbers(random["low"])},
        {**high_end, "x": numbers(random["cost"]), "y": numbers(random["high"]), "fillcolor": "var(--band)"},
        {**low_end, "x": numbers(history["spent"]), "y": numbers(low)},
        {**high_end, "x": numbers(history["spent"]), "y": numbers(high), "fillcolor": "var(--accent-band)"},
        {
            "type": "scatter",
            "mode": "lines",
            "x": numbers(random["cost"]),
            "y": numbers(random["value"]),
            "line": {"color": "var(--soft)", "dash": "dash", "width": 1.5, "shape": "hv"},
            "hoverinfo": "text",
            "hovertext": "random search on full trainings, by the search's own model",
        },
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": numbers(history["spent"]),
            "y": numbers(value),
            "line": {"color": "var(--accent)", "width": 2, "shape": "hv"},
            "marker": {"color": "var(--accent)", "size": 6},
            "hoverinfo": "text",
            "hovertext": texts,
        },
    ]
    titles = {"xaxis": {"title": {"text": "cost in full trainings"}, "rangemode": "tozero"}}
    return {"data": data, "layout": titles | {"yaxis": {"title": {"text": _label(found)}}}}


def _label(found: Found) -> str:
    return escape(f"{found.spec.trainer.metric.label} on the full data")


def _trials(found: Found) -> Figure:
    """The mean of each configuration on each rung, with bars over its seeds; lines join those of a configuration."""
    spec, best = found.spec, found.best.name
    configurations: dict[str, list[tuple[int, list[Observation]]]] = {}
    for (name, rung), seeds in sorted(_seeds_of(found).items(), key=lambda item: item[0][1]):
        configurations.setdefault(name, []).append((rung, seeds))
    data: list[Figure] = []
    for name, own in sorted(configurations.items(), key=lambda item: item[0] == best):
        means = [_mean(seeds) for _, seeds in own]
        color = "var(--accent)" if name == best else "var(--soft)"
        above = [max(o.value for o in seeds) - mean for (_, seeds), mean in zip(own, means, strict=True)]
        below = [mean - min(o.value for o in seeds) for (_, seeds), mean in zip(own, means, strict=True)]
        bars = {"type": "data", "symmetric": False, "array": numbers(above), "arrayminus": numbers(below)}
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [rung for rung, _ in own],
                "y": numbers(means),
                "error_y": {**bars, "color": color, "thickness": 1.5, "width": 4, "visible": any(above)},
                "line": {"color": color, "width": 2.5 if name == best else 0.7},
                "marker": {"color": color, "size": 8 if name == best else 5},
                "opacity": 1.0 if name == best else 0.6,
                "hoverinfo": "text",
                "hovertext": [
                    f"<b>{escape(name)}</b><br>{escape(spec.ladder[rung].canonical)}: "
                    + ", ".join(f"{o.value:.4f}" + (" (learned nothing)" if o.unranked else "") for o in seeds)
                    for rung, seeds in own
                ],
            }
        )
    axis = _places([proxy.canonical for proxy in spec.ladder])
    layout = {"xaxis": axis, "yaxis": {"title": {"text": escape(spec.trainer.metric.label)}}}
    return {"data": data, "layout": layout}


def importance_of(found: Found) -> list[tuple[str, float]]:
    """By hyperparameter, the share of the believed values' variance that it explains alone, the largest first."""
    # What a sampler proposed later is no even sample.
    candidates = found.spec.candidates
    mean = found.knowledge.mean[: len(candidates)]
    total = float(mean.var())
    shares = []
    for parameter in found.spec.space.tunable:
        values = [each.get(parameter.name) for each in candidates]
        if len(set(map(str, values))) < 2:
            continue
        groups = pd.Series(mean).groupby(_bins(parameter, values))
        within = float((groups.transform("mean") - mean.mean()).var(ddof=0))
        shares.append((parameter.name, within / total if total > 0 else 0.0))
    return sorted(shares, key=lambda each: -each[1])


def _bins(parameter: Any, values: list[Any]) -> pd.Series:
    if isinstance(parameter, Numeric) and len(set(values)) > BINS:
        return pd.Series(pd.qcut(pd.Series(values, dtype=float).rank(method="first"), BINS, labels=False))
    return pd.Series(list(map(str, values)))


def _importance(found: Found) -> Figure:
    shares = importance_of(found)[::-1]
    bars = {
        "type": "bar",
        "mode": "",
        "orientation": "h",
        "x": numbers([share for _, share in shares]),
        "y": list(range(len(shares))),
        "marker": {"color": "var(--accent)"},
        "hoverinfo": "x",
    }
    names = _ticks([name for name, _ in shares])
    axis = {"title": {"text": "share of the variance"}, "tickformat": ".0%", "rangemode": "tozero"}
    return {"data": [bars] if shares else [], "layout": {"xaxis": axis, "yaxis": names}}


def _parallel(found: Found) -> Figure:
    """The best candidates across their hyperparameters, each from its lowest to its highest value."""
    knowledge, candidates = found.knowledge, found.knowledge.plan.candidates
    order = np.argsort(knowledge.mean, kind="stable")[-LINES:]
    names = [name for name, _ in importance_of(found)]
    if len(names) < 2:
        return {"data": [], "layout": {}}
    heights = {name: _heights([each.get(name) for each in candidates]) for name in names}
    data: list[Figure] = []
    for number, place in enumerate(map(int, order)):
        last = number == len(order) - 1
        value, low, high = knowledge.value_of(place)
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": list(range(len(names))),
                "y": numbers([heights[name][place] for name in names]),
                "line": {"color": "var(--accent)" if last else "var(--soft)", "width": 2.5 if last else 1},
                "opacity": 1.0 if last else 0.15 + 0.6 * number / len(order),
                "hoverinfo": "text",
                "hovertext": f"<b>{escape(candidates[place].name)}</b><br>{value:.4f} [{low:.4f}, {high:.4f}]",
            }
        )
    ends = []
    for x, name in enumerate(names):
        ordered = _ordered([each.get(name) for each in candidates])
        text = {"x": x, "showarrow": False, "font": {"size": 11, "color": "var(--soft)"}}
        ends += [
            {**text, "y": 1, "yanchor": "bottom", "text": _end(ordered[-1])},
            {**text, "y": 0, "yanchor": "top", "text": _end(ordered[0])},
        ]
    y = {"visible": False, "range": [-0.12, 1.12]}
    return {"data": data, "layout": {"xaxis": _places(names), "yaxis": y, "annotations": ends}}


def _places(names: list[str]) -> dict[str, Any]:
    """An axis with a place for each name, with room for the names at both ends."""
    return {**_ticks(names), "range": [-0.5, len(names) - 0.5]}


def _ticks(names: list[str]) -> dict[str, Any]:
    """Names at 0, 1, ...: two that begin alike must not become one."""
    return {"tickvals": list(range(len(names))), "ticktext": [escape(shortened(name, LONGEST)) for name in names]}


def _end(value: Any) -> str:
    """A value at the end of a coordinate, as text."""
    return f"{value:.4g}" if isinstance(value, float) else escape(shortened(str(value), LONGEST))


def _ordered(values: list[Any]) -> list[Any]:
    """The different values from the lowest to the highest; those that are no numbers as text."""
    known = [value for value in values if value is not None]
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known):
        return sorted(set(known))
    return sorted(set(map(str, known)))


def _heights(values: list[Any]) -> Floats:
    ordered = _ordered(values)
    at = {value: rank / max(1, len(ordered) - 1) for rank, value in enumerate(ordered)}
    return np.array([at.get(value, at.get(str(value), 0.5)) for value in values])
