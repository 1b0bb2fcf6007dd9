"""The report's figures: the published figures 1 and 2, computed from a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from proxyflow.drawing import canvas, save
from proxyflow.quality.costs import PUBLISHED_CURVE, CostCurve
from proxyflow.quality.runs import TARGET
from proxyflow.quality.summary import StudyQuality
from proxyflow.report.families import family_colours
from proxyflow.report.tables import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_PANELS = 12
PANEL_COLUMNS = 4
DATASET_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def draw_quality_by_cost(quality: StudyQuality, folder: Path) -> None:
    """Published figure 2: r2 and Spearman against relative cost, families by colour, with the cost curve."""
    table = quality.strategies
    colours = family_colours()
    with canvas(2, 1, 11, 5.2) as (figure, axes):
        for axis, measure, title in (
            (axes[0, 0], "r2", "r2: share of the target's variance explained"),
            (axes[0, 1], "spearman", "Spearman: ranking of the good configurations"),
        ):
            known = table[table[measure].notna() & table["relative_cost"].notna()]
            for family, rows in known.groupby("family", sort=False):
                colour = colours.get(str(family), "#8A8A8A")
                value, low, high = (rows[f"{measure}{part}"].to_numpy() for part in ("", "_low", "_high"))
                # An interval may not contain the value of a small sample; an error bar has no negative length.
                spread = np.nan_to_num(np.clip([value - low, high - value], 0, None))
                axis.errorbar(
                    rows["relative_cost"],
                    value,
                    yerr=spread,
                    fmt="o",
                    markersize=7,
                    color=colour,
                    ecolor=colour,
                    elinewidth=1,
                    alpha=0.9,
                    label=str(family),
                )
            if measure == "r2":
                _draw_curves(axis, quality.curve, known["relative_cost"].tolist())
            axis.set(title=title, xlabel="relative cost (proxy / target)", ylabel=measure)
            axis.set_xlim(-0.03, max(1.08, float(known["relative_cost"].max() or 1) * 1.08) if len(known) else 1.08)
            bottom = min(0.0, float(known[f"{measure}_low"].min()) if known[f"{measure}_low"].notna().any() else 0.0)
            axis.set_ylim(bottom - 0.05, 1.08)
            _label_points(axis, known["relative_cost"].tolist(), known[measure].tolist(), known["strategy"].tolist())
        handles, labels = axes[0, 0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5))
        save(figure, folder, "quality_by_cost")


def _draw_curves(axis: Axes, curve: CostCurve | None, costs: Sequence[float]) -> None:
    """The cost curve over the costs that it is fitted to, and the published one for orientation."""
    span = np.linspace(min([*costs, 1.0]), max([*costs, 1.0]), 200)
    drawn = [(PUBLISHED_CURVE, ":", "#999999")]
    if curve is not None and curve is not PUBLISHED_CURVE:
        drawn.append((curve, "--", "#333333"))
    for line, style, colour in drawn:
        axis.plot(span, line(span), color=colour, linewidth=1.4, linestyle=style, zorder=1, label=f"{line.name} curve")


def _label_points(axis: Axes, xs: Sequence[float], ys: Sequence[float], names: Sequence[str]) -> None:
    """Writes names beside points; one that would cover another moves down, with a line back to its point."""
    bottom, top = axis.get_ylim()
    line = (top - bottom) * 0.045
    placed: list[tuple[float, float]] = []
    for x, y, name in sorted(zip(xs, ys, names, strict=True), key=lambda point: (-point[1], point[0])):
        height = y
        while any(abs(x - other) < 0.3 and abs(height - at) < line for other, at in placed):
            height -= line / 2
        placed.append((x, height))
        on_left = x > 0.75
        axis.annotate(
            name,
            (x, y),
            xytext=(x + (-0.025 if on_left else 0.025), height),
            ha="right" if on_left else "left",
            va="center",
            fontsize=8,
            color="#222222",
            arrowprops={"arrowstyle": "-", "color": "#aaaaaa", "linewidth": 0.7} if height < y else None,
        )


def panel_strategies(quality: StudyQuality) -> list[str]:
    """Strategies to draw against the target: the cheapest first, at most twelve."""
    table = quality.strategies
    proxies = table[(table["strategy"] != TARGET) & (table["n_pairs"] > 0)]
    return list(proxies.sort_values("relative_cost", kind="stable")["strategy"][:MAX_PANELS])


def draw_proxy_against_target(quality: StudyQuality, folder: Path) -> None:
    """Published figure 1: proxy accuracy against target accuracy, a panel per strategy, a line per data set."""
    names = panel_strategies(quality)
    if not names:
        for suffix in ("png", "svg"):  # of an earlier report in the same folder
            (folder / f"proxy_against_target.{suffix}").unlink(missing_ok=True)
        return
    datasets = list(dict.fromkeys(quality.runs["dataset"]))
    columns = min(PANEL_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    with canvas(columns, rows, 3.1 * columns + 0.6, 3.0 * rows + 0.6, sharey=True) as (figure, axes):
        table = quality.strategies.set_index("strategy")
        for axis, name in zip(axes.flat, names, strict=False):
            for index, dataset in enumerate(datasets):
                pairs = quality.pairs[name].frame
                pairs = pairs[pairs["dataset"] == dataset]
                x, y = pairs["accuracy_proxy"].to_numpy(), pairs["accuracy_target"].to_numpy()
                colour = DATASET_COLOURS[index % len(DATASET_COLOURS)]
                axis.scatter(x, y, s=28, color=colour, alpha=0.8, linewidths=0, label=dataset)
                if len(x) > 1 and np.ptp(x) > 0:
                    ends = np.array([x.min(), x.max()])
                    axis.plot(ends, np.polyval(np.polyfit(x, y, 1), ends), color=colour, linewidth=1.4)
            r2 = number(float(table.loc[name, "r2"])) or "undefined"  # type: ignore[arg-type]
            cost = number(float(table.loc[name, "relative_cost"])) or "unknown"  # type: ignore[arg-type]
            axis.set_title(f"{name}\n", fontsize=10.5, fontweight="bold")
            axis.text(0, 1.03, f"r2 {r2} · cost {cost}", transform=axis.transAxes, fontsize=9, color="#444444")
        for axis in list(axes.flat)[len(names) :]:
            axis.set_axis_off()
        figure.supxlabel("proxy accuracy", fontsize=10)
        figure.supylabel("target accuracy", fontsize=10)
        if len(datasets) > 1:
            handles, labels = axes[0, 0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        save(figure, folder, "proxy_against_target")
