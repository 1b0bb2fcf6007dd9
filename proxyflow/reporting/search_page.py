"""The page of a search: one self-contained HTML file that works offline."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from proxyflow.core.files import write_text
from proxyflow.reporting.embedded import as_json, numbers
from proxyflow.reporting.page import asset, hash_of
from proxyflow.reporting.styles import STYLES
from proxyflow.searching.knowledge import FIRST, Knowledge
from proxyflow.searching.surrogate import Floats
from proxyflow.spaces.parameters import Numeric
from proxyflow.studies.search import Found
from proxyflow.studies.search_files import random_search, summary_lines, write_search

PAGE = "index.html"
SCRIPTS = ("tables.js", "search.js", "plots.js")
Figure = dict[str, Any]
SHOWN = 12  # candidates of the table
LINES = 40  # candidates of the parallel coordinates
BINS = 6  # of a number, for its importance
JITTER = 0.06


@dataclass(frozen=True)
class Row:
    """A candidate of the table.

    Attributes:
        name: of its configuration.
        value, low, high: on the full data, believed.
        chance: that it is the best candidate.
        trained: trainings by rung.
    """

    name: str
    value: float
    low: float
    high: float
    chance: float
    trained: tuple[int, ...]


def write_search_page(found: Found, study: str, folder: Path, command: str = "") -> None:
    """Writes `index.html`; a search without any training has none.

    Args:
        command: what trains the best configuration; empty where no command does.
    """
    if not found.knowledge.observations:
        return
    from plotly.offline import get_plotlyjs  # imports plotly

    plotly, script = (
        get_plotlyjs(),
        "\n".join(asset(f"assets/{name}") for name in ("tables.js", "search.js", "plots.js")),
    )
    figures = {name: figure for name, figure in figures_of(found).items() if figure["data"]}
    metric = found.spec.trainer.metric
    html = _template().render(
        found=found,
        study=study,
        metric=metric,
        spec=found.spec,
        rungs=[proxy.canonical for proxy in found.spec.ladder],
        summary=summary_lines(found),
        rows=rows_of(found),
        rung_rows=_rung_rows(found),
        importance=importance_of(found),
        weights=found.knowledge.weights,
        figures=set(figures),
        styles=STYLES,
        css=Markup(asset("assets/page.css")),
        plotly=Markup(plotly),
        script=Markup(script),
        policy=f"{hash_of(plotly)} {hash_of(script)}",
        data=as_json({"figures": figures}),
        best=dict(found.best),
        command=command,
    )
    write_text(folder / PAGE, html.encode("utf-8", "replace").decode("utf-8"))


def write_outcome(study: str, command: Callable[[Found], str] | None = None) -> Callable[[Found, Path], None]:
    """What writes all files of a search's outcome to a folder.

    Args:
        command: gives what trains the best configuration; None where no command does.
    """

    def write(found: Found, folder: Path) -> None:
        write_search(found, folder)
        write_search_page(found, study, folder, "" if command is None else command(found))

    return write


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.globals.update(percent=lambda share: f"{share:.0%}", four=lambda value: f"{value:.4f}")
    return environment.from_string(asset("search.html.j2"))


def figures_of(found: Found) -> dict[str, Figure]:
    """Name to plotly figure; a figure without data has nothing to show."""
    return {
        "progress": _progress(found),
        "trials": _trials(found),
        "importance": _importance(found),
        "parallel": _parallel(found),
    }


def rows_of(found: Found) -> list[Row]:
    """The best candidates, the best first."""
    knowledge = found.knowledge
    first = np.bincount(knowledge.samples.argmax(axis=1), minlength=len(knowledge.mean)) / len(knowledge.samples)
    trained = Counter((knowledge.plan.places[o.trial.configuration], o.trial.rung) for o in knowledge.observations)
    rungs = range(len(found.spec.ladder))
    return [
        Row(
            found.knowledge.plan.candidates[place].name,
            *knowledge.value_of(place),
            float(first[place]),
            tuple(trained[place, rung] for rung in rungs),
        )
        for place in map(int, np.argsort(-knowledge.mean, kind="stable")[:SHOWN])
    ]


def _rung_rows(found: Found) -> list[tuple[str, int, float, int, float]]:
    """Rung, trainings, their cost, those that learned nothing, and the correlation with the target."""
    rows = []
    for rung, proxy in enumerate(found.spec.ladder):
        own = [each for each in found.knowledge.observations if each.trial.rung == rung]
        cost, unranked = sum(each.cost for each in own), sum(each.unranked for each in own)
        rows.append((proxy.canonical, len(own), cost, unranked, found.knowledge.trust(rung)))
    return rows


def history_of(found: Found) -> pd.DataFrame:
    """What was believed of the best configuration after each training: `spent`, `value`, `low`, `high`, `config`."""
    rows = []
    spent = 0.0
    for n, observation in enumerate(found.knowledge.observations, start=1):
        spent += observation.cost
        if n < FIRST and n < len(found.knowledge.observations):
            continue
        known = Knowledge(found.knowledge.plan, found.knowledge.observations[:n])
        rows.append((spent, *known.value_of(known.best), found.knowledge.plan.candidates[known.best].name))
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
    band = {"type": "scatter", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    data: list[Figure] = [
        {**band, "x": numbers(history["spent"]), "y": numbers(low)},
        {**band, "x": numbers(history["spent"]), "y": numbers(high), "fill": "tonexty", "fillcolor": "var(--band)"},
        {
            "type": "scatter",
            "mode": "lines",
            "x": numbers(random["cost"]),
            "y": numbers(random["value"]),
            "line": {"color": "var(--soft)", "dash": "dash", "width": 1.5},
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
    """Every training by rung; lines join those of a configuration."""
    spec, data = found.spec, list[Figure]()
    points: dict[str, list[tuple[float, float, str]]] = {}
    for each in found.knowledge.observations:
        if not math.isfinite(each.value):
            continue
        at = each.trial.rung + JITTER * each.trial.seed
        text = f"<b>{escape(each.trial.configuration.name)}</b><br>{escape(spec.ladder[each.trial.rung].canonical)}"
        text += f", seed {spec.seed + each.trial.seed}: {each.value:.4f}" + (
            " (learned nothing)" if each.unranked else ""
        )
        points.setdefault(each.trial.configuration.name, []).append((at, each.value, text))
    best = found.best.name
    for name, own in sorted(points.items(), key=lambda item: item[0] == best):
        xs, ys, texts = zip(*sorted(own), strict=True)
        color = "var(--accent)" if name == best else "var(--soft)"
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": numbers(xs),
                "y": numbers(ys),
                "line": {"color": color, "width": 2.5 if name == best else 0.7},
                "marker": {"color": color, "size": 8 if name == best else 5},
                "opacity": 1.0 if name == best else 0.6,
                "hoverinfo": "text",
                "hovertext": list(texts),
            }
        )
    ticks = {"tickvals": list(range(len(spec.ladder))), "ticktext": [escape(p.canonical) for p in spec.ladder]}
    layout = {"xaxis": ticks, "yaxis": {"title": {"text": escape(spec.trainer.metric.label)}}}
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
        "y": [escape(name) for name, _ in shares],
        "marker": {"color": "var(--accent)"},
        "hoverinfo": "x",
    }
    axis = {"title": {"text": "share of the variance"}, "tickformat": ".0%", "rangemode": "tozero"}
    return {"data": [bars] if shares else [], "layout": {"xaxis": axis, "yaxis": {}}}


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
    ticks = {"tickvals": list(range(len(names))), "ticktext": list(map(escape, names))}
    return {"data": data, "layout": {"xaxis": ticks, "yaxis": {"showticklabels": False, "range": [-0.05, 1.05]}}}


def _heights(values: list[Any]) -> Floats:
    known = [value for value in values if value is not None]
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known):
        ordered: list[Any] = sorted(set(known))
    else:
        ordered = sorted(set(map(str, known)))
        values = [None if value is None else str(value) for value in values]
    at = {value: rank / max(1, len(ordered) - 1) for rank, value in enumerate(ordered)}
    return np.array([at.get(value, 0.5) for value in values])
