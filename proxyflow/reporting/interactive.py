"""The interactive figures, as plain plotly JSON: colours are the page's CSS variables.

The script that draws them puts the colours of the current theme in, and knows fonts, grids and margins.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from proxyflow.quality.costs import PUBLISHED_CURVE
from proxyflow.quality.policies import RANDOM_SEARCH
from proxyflow.quality.seeds import OF_MEANS
from proxyflow.quality.summary import StudyQuality
from proxyflow.quality.verdict import describe, loss_text
from proxyflow.reporting.embedded import numbers
from proxyflow.reporting.families import style_of
from proxyflow.reporting.figures.layout import wrapped
from proxyflow.reporting.policy_views import lines, tolerance_line
from proxyflow.reporting.series import (
    EPOCH_STYLES,
    TICKS,
    TransferPanel,
    ceiling_of,
    frontier,
    measured,
    on_log_scale,
    transfer_panels,
    unit_of,
)
from proxyflow.reporting.tables import number, with_interval

Figure = dict[str, Any]
# About the size of a figure by cost on a screen, and of a letter beside a point.
PLOT_PIXELS, LETTER_PIXELS = (480, 320), (6.2, 14.0)
SHOWN = {"r2": "r²", "spearman": "Spearman", "cost_adjusted_r2": "cost-adjusted r²"}
SHOWN |= {"spearman_all": "Spearman of all", "kendall": "Kendall τ"}
SHOWN |= {f"{name}{OF_MEANS}": f"{SHOWN[name]} of means" for name in ("r2", "spearman")}


def figures(quality: StudyQuality) -> dict[str, Figure]:
    """Name to plotly figure, for those that the study has data for."""
    found = {f"cost-{measure}": _by_cost(quality, measure) for measure in ("r2", "spearman")}
    found["policies"] = _policies(quality)
    for row, panels in enumerate(transfer_panels(quality)):
        for column, panel in enumerate(panels):
            found[f"transfer-{row}-{column}"] = _transfer(panel)
    for curve in ("correlation", "chance"):
        found[f"epochs-{curve}"] = _by_epoch(quality, curve)
    return {name: figure for name, figure in found.items() if figure["data"]}


def _marks(xs: Any, ys: Any, texts: Sequence[str], family: str, size: int = 11) -> Figure:
    style = style_of(family)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escape(family),
        "x": numbers(xs),
        "y": numbers(ys),
        "hovertext": list(texts),
        "hoverinfo": "text",
        "marker": {
            "color": f"var(--{style.name})",
            "symbol": style.symbol,
            "size": size + 2 * style.symbol.startswith("triangle"),
            "line": {"color": "var(--back)", "width": 1},
        },
    }


def _line(xs: Any, ys: Any, color: str, dash: str, text: str, width: float = 1.5) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": numbers(xs),
        "y": numbers(ys),
        "line": {"color": f"var(--{color})", "dash": dash, "width": width},
        "hoverinfo": "text",
        "hovertext": text,
    }


def _by_cost(quality: StudyQuality, measure: str) -> Figure:
    table = measured(quality, measure)
    if table.empty:
        return {"data": [], "layout": {}}
    cost = table["relative_cost"].to_numpy(dtype=float)
    data: list[Figure] = []
    log = on_log_scale(cost)
    left, right = float(cost.min()) if log else 0.0, max(1.0, float(cost.max()))
    if measure == "r2":
        ends = min(float(cost.min()), 1.0), right
        span = np.geomspace(*ends, 60) if log else np.linspace(*ends, 60)
        data.append(_line(span, PUBLISHED_CURVE(span), "soft", "dot", "published curve"))
        if quality.curve is not None and quality.curve is not PUBLISHED_CURVE:
            data.append(_line(span, quality.curve(span), "text", "dash", f"{quality.curve.name} curve"))
    shapes = []
    ceiling = ceiling_of(quality, measure)
    if ceiling is not None:
        data.append(
            _line([left, right], [ceiling.value] * 2, "soft", "longdash", f"{ceiling.label}: {number(ceiling.value)}")
        )
        if np.isfinite(ceiling.low) and np.isfinite(ceiling.high):
            band = {"xref": "paper", "x0": 0, "x1": 1, "y0": ceiling.low, "y1": ceiling.high}
            shapes.append({"type": "rect", **band, "fillcolor": "var(--band)", "line": {"width": 0}, "layer": "below"})
    beside = dict(
        zip(table.index, _labels(cost, table[measure].to_numpy(), table["strategy"].tolist(), log), strict=True)
    )
    for family, rows in table.groupby("family", sort=False):
        texts = [
            f"<b>{escape(str(row['strategy']))}</b><br>{SHOWN[measure]} "
            f"{with_interval(row[measure], row[f'{measure}_low'], row[f'{measure}_high'])}"
            f"<br>relative cost {number(row['relative_cost'], 3)}{_steps(row['steps'])}"
            f"<br>{row['n_pairs']} pairs, {escape(str(family))}"
            for row in rows.to_dict("records")
        ]
        marks = _marks(rows["relative_cost"], rows[measure], texts, str(family))
        # An interval may not contain the value of a small sample; an error bar has no negative length.
        low, high = (
            np.nan_to_num(np.clip(sign * (rows[f"{measure}_{end}"] - rows[measure]), 0, None).to_numpy(dtype=float))
            for end, sign in (("low", -1), ("high", 1))
        )
        marks["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": numbers(high),
            "arrayminus": numbers(low),
            "color": marks["marker"]["color"],
            "thickness": 1.2,
            "width": 0,
        }
        marks |= {
            "mode": "markers+text",
            "text": [beside[at][0] for at in rows.index],
            "textposition": [beside[at][1] for at in rows.index],
            "textfont": {"color": "var(--text)", "size": 11},
            "cliponaxis": False,
        }
        data.append(marks)
    axes = _axes("relative cost (proxy / target)" + (", log scale" if log else ""), SHOWN[measure])
    if log:
        axes["xaxis"] |= {"type": "log", "tickvals": list(TICKS), "ticktext": [f"{tick:g}" for tick in TICKS]}
    return {"data": data, "layout": {**axes, "shapes": shapes}}


def _steps(steps: float) -> str:
    """Steps as a part of a text, empty where they are not known."""
    return f", {steps:,.0f} steps" if np.isfinite(steps) else ""


def _labels(cost: Any, values: Any, names: Sequence[str], log: bool) -> list[tuple[str, str]]:
    """The name beside each point, in lines, and where it is; only beside those that nothing cheaper beats.

    A name that would cover another one is left out, as pointing shows it.
    """
    along = np.log10(cost) if log else np.asarray(cost)
    (left, right), (low, high) = (
        (float(np.min(each)), max(end, float(np.max(each))))
        for each, end in ((along, 0.0 if log else 1.0), (values, 1.0))
    )
    found = [("", "top right")] * len(names)
    taken: list[tuple[float, float, float, float]] = []
    kept = frontier(list(cost), list(values))
    for index in sorted(np.flatnonzero(kept).tolist(), key=lambda number: -values[number]):
        x = (along[index] - left) / ((right - left) or 1.0) * PLOT_PIXELS[0]
        y = (values[index] - low) / ((high - low) or 1.0) * PLOT_PIXELS[1]
        lines = wrapped(str(names[index]), 26).split("\n")
        width, height = LETTER_PIXELS[0] * max(map(len, lines)), LETTER_PIXELS[1] * len(lines)
        # Left above a point of the frontier there is no other point.
        for side in ("left", "right") if x > PLOT_PIXELS[0] / 4 else ("right",):
            box = (x - width, x, y, y + height) if side == "left" else (x, x + width, y, y + height)
            if not any(box[0] < b[1] and b[0] < box[1] and box[2] < b[3] and b[2] < box[3] for b in taken):
                taken.append(box)
                found[index] = ("<br>".join(map(escape, lines)), f"top {side}")
                break
    return found


def _policies(quality: StudyQuality) -> Figure:
    """Regret against cost, a line per proxy, with random search and full search."""
    found, full = lines(quality), quality.policies.full
    if full is None or not found:
        return {"data": [], "layout": {}}
    data: list[Figure] = []
    objective = quality.objective
    for line in found:
        # Random search over all configurations is full search.
        policies = (*line.policies, full) if line.name == RANDOM_SEARCH else line.policies
        texts = [
            f"<b>{escape(describe(policy))}</b><br>regret {loss_text(policy.regret, objective)}"
            f"<br>cost {policy.cost.value:.1f}"
            for policy in policies
        ]
        xs, ys = ([getattr(policy, name).value for policy in policies] for name in ("cost", "regret"))
        if line.name == RANDOM_SEARCH:
            data.append(_line(xs, ys, "text", "dash", "", 2) | {"mode": "lines+markers", "hovertext": texts})
        else:
            marks = _marks(xs, ys, texts, line.family, 8)
            color = marks["marker"]["color"]
            data.append(marks | {"mode": "lines+markers", "line": {"color": color, "width": 1}})
    text = f"<b>full search</b><br>regret {loss_text(full.regret, objective)}<br>cost {full.cost.value:.0f}"
    star = {"color": "var(--text)", "symbol": "star", "size": 15, "line": {"color": "var(--back)", "width": 1}}
    data.append(_marks([full.cost.value], [full.regret.value], [text], "") | {"name": "full search", "marker": star})
    tolerance = [tolerance_line(quality)] * 2
    data.append(
        _line([0, full.cost.value], tolerance, "soft", "dot", f"tolerance, {objective.amount(tolerance[0])}", 1)
    )
    layout = _axes("cost in full trainings", f"regret, {unit_of(objective.metric)}")
    for axis in layout.values():
        axis["rangemode"] = "tozero"
    return {"data": data, "layout": layout}


def _transfer(panel: TransferPanel) -> Figure:
    points = panel.points
    if points.empty:
        return {"data": [], "layout": {}}
    ends = [float(points[["left", "right"]].min().min()), float(points[["left", "right"]].max().max())]
    data = [_line(ends, ends, "line", "solid", "the same on both", 1)]
    for family, rows in points.groupby("family", sort=False):
        texts = [
            f"<b>{escape(str(row['strategy']))}</b><br>{escape(panel.left)}: {number(row['left'])}"
            f"<br>{escape(panel.right)}: {number(row['right'])}<br>{escape(str(family))}"
            for row in rows.to_dict("records")
        ]
        data.append(_marks(rows["left"], rows["right"], texts, str(family), 9))
    return {"data": data, "layout": _axes(_cut(panel.left), _cut(panel.right))}


def _axes(x: str, y: str) -> Figure:
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}


def _cut(name: str, letters: int = 32) -> str:
    return escape(name if len(name) <= letters else name[: letters - 1] + "…")


def _by_epoch(quality: StudyQuality, column: str) -> Figure:
    table = quality.curves[quality.curves[column].notna()]
    if table.empty:
        return {"data": [], "layout": {}}
    epoch = table["epoch"].to_numpy(dtype=float)
    low, high = (table[f"{column}_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
    data: list[Figure] = []
    if np.isfinite([*low, *high]).all():
        band = _line([*epoch, *epoch[::-1]], [*high, *low[::-1]], "band", "solid", "", 0)
        data.append(band | {"fill": "toself", "fillcolor": "var(--band)", "hoverinfo": "skip"})
    count = {"correlation": "n_runs", "chance": "n_comparisons"}[column]
    what = {"correlation": "runs", "chance": "pairs of runs"}[column]
    texts = [
        f"after epoch {row['epoch']}<br>{column} "
        f"{with_interval(row[column], row[f'{column}_low'], row[f'{column}_high'])}<br>{row[count]} {what}"
        for row in table.to_dict("records")
    ]
    color = EPOCH_STYLES[column].name
    curve = _line(epoch, table[column], color, "solid", "", 2) | {"mode": "lines+markers", "hovertext": texts}
    data.append(curve | {"marker": {"color": f"var(--{color})", "size": 7}})
    if column == "chance":
        data.append(_line([epoch.min(), epoch.max()], [0.5, 0.5], "soft", "dot", "chance level"))
    return {"data": data, "layout": _axes("after epoch", column)}
