"""Published figure 2: quality of proxies against their cost, by runs or by means over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proxyflow.quality.ceiling import SEED_MEANS
from proxyflow.quality.costs import PUBLISHED_CURVE, CostCurve
from proxyflow.quality.summary import StudyQuality
from proxyflow.reporting.families import style_of, styles_of
from proxyflow.reporting.figures.labels import label_points, side_by_side
from proxyflow.reporting.figures.layout import legend, legend_height, save_figure, subplots, write_text
from proxyflow.reporting.series import TICKS, TITLES, Ceiling, ceiling_of, measured, measured_means, on_log_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "quality_by_cost"
OF_MEANS = "quality_by_cost_of_means"
MEASURES = ("r2", "spearman")
LEGEND_COLUMNS = 6
# The legend of lines: its height in inches, and where it begins as a share of the axis below it.
LINES_HEIGHT, LINES_AT = 0.35, -0.12
# Between the intervals of strategies of similar cost, in relative cost.
APART = 0.02
# The same as a difference of logarithms.
APART_LOG = 0.035


def draw(quality: StudyQuality, folder: Path) -> bool:
    """Draws r2 and Spearman over single runs against relative cost; False where no strategy has either."""
    known = {measure: measured(quality, measure) for measure in MEASURES}
    ceilings = {measure: ceiling_of(quality, measure) for measure in MEASURES}
    return _draw(known, ceilings, quality.curve, "single runs" if quality.means else "", folder, NAME)


def draw_means(quality: StudyQuality, folder: Path) -> bool:
    """Draws the same over means over seeds; False where no strategy has several."""
    known = {measure: measured_means(quality, measure) for measure in MEASURES}
    ceilings = {measure: ceiling_of(quality, measure, SEED_MEANS) for measure in MEASURES}
    return _draw(known, ceilings, None, "means over seeds", folder, OF_MEANS)


def _draw(
    known: Mapping[str, pd.DataFrame],
    ceilings: Mapping[str, Ceiling | None],
    curve: CostCurve | None,
    over: str,
    folder: Path,
    name: str,
) -> bool:
    if not any(len(table) for table in known.values()):
        return False
    styles = styles_of(name for table in known.values() for name in table["family"])
    bottom = 0.6 + LINES_HEIGHT + legend_height(len(styles), LEGEND_COLUMNS)
    with subplots(2, 1, (5.4, 4.6), (0.55, 0), (0.6, 0.25, bottom, 0.35)) as (figure, axes):
        for axis, measure in zip(axes[0], MEASURES, strict=True):
            axis.set_title(TITLES[measure] + (f", {over}" if over else ""))
            _draw_measure(axis, known[measure], measure, ceilings[measure], curve)
        legend(figure, styles, LEGEND_COLUMNS)
        save_figure(figure, folder, name)
    return True


def _draw_measure(
    axis: Axes, known: pd.DataFrame, measure: str, ceiling: Ceiling | None, curve: CostCurve | None
) -> None:
    if known.empty:
        write_text(axis, "no strategy has a value")
        return
    cost = known["relative_cost"].to_numpy(dtype=float)
    value, low, high = (known[f"{measure}{part}"].to_numpy(dtype=float) for part in ("", "_low", "_high"))
    place = _place(axis, cost)
    axis.set_ylim(min(0.0, float(np.nanmin([*value, *low]))) - 0.03, max(1.04, float(np.nanmax(value)) + 0.04))
    scale = "log scale, " if axis.get_xscale() == "log" else ""
    axis.set(xlabel=f"relative cost (proxy / target), {scale}spread where similar", ylabel=measure)
    _draw_ceiling(axis, ceiling)
    if measure == "r2":
        _draw_curves(axis, curve, cost)
    axis.vlines(
        place, low, high, color=[style_of(str(name)).light for name in known["family"]], linewidth=0.9, alpha=0.6
    )
    for family, rows in known.assign(place=place).groupby("family", sort=False):
        seen = style_of(str(family))
        axis.plot(
            rows["place"], rows[measure], linestyle="", marker=seen.marker, color=seen.light, markersize=7,
            markeredgecolor="white", markeredgewidth=0.5, zorder=4,
        )  # fmt: skip
    if axis.get_legend_handles_labels()[0]:
        # Below the axis, since points and names may be anywhere in it.
        axis.legend(loc="upper left", bbox_to_anchor=(0, LINES_AT), fontsize=8, ncols=2, borderaxespad=0, borderpad=0)
    label_points(axis, place.tolist(), value.tolist(), [str(name) for name in known["strategy"]])


def _place(axis: Axes, cost: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sets the limits of the costs, and gives each its place: intervals at the same place would cover each other."""
    if on_log_scale(cost):
        logs = side_by_side(np.log10(cost), APART_LOG)
        axis.set_xscale("log")
        # Room for names on both sides.
        axis.set_xlim(10 ** (float(logs.min()) - 0.15), 10 ** (max(0.0, float(logs.max())) + 0.2))
        axis.set_xticks([tick for tick in TICKS if 10 ** float(logs.min()) / 1.3 <= tick <= 1])
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.minorticks_off()
        return np.asarray(10**logs)
    place = side_by_side(cost, APART)
    right = max(1.06, float(cost.max()) * 1.06, float(place.max()) + APART)
    axis.set_xlim(min(-0.03, float(place.min()) - APART), right)
    return place


def _draw_ceiling(axis: Axes, found: Ceiling | None) -> None:
    if found is None:
        return
    if np.isfinite(found.low) and np.isfinite(found.high):
        axis.axhspan(found.low, found.high, color="#8a93a0", alpha=0.16, linewidth=0, zorder=0)
    label = f"{found.label} ({found.value:.2f})"
    axis.axhline(found.value, color="#6b7480", linewidth=1.1, linestyle=(0, (6, 2)), zorder=1, label=label)


def _draw_curves(axis: Axes, curve: CostCurve | None, cost: np.ndarray) -> None:
    """The cost curve over the costs that it is fitted to, and the published one for orientation."""
    span = np.linspace(min(float(cost.min()), 1.0), max(float(cost.max()), 1.0), 400)
    lines = [(PUBLISHED_CURVE, ":", "#8a93a0")]
    if curve is not None and curve is not PUBLISHED_CURVE:
        lines.append((curve, "--", "#33383f"))
    for line, style, colour in lines:
        label = f"{line.name} curve"
        axis.plot(span, line(span), color=colour, linewidth=1.3, linestyle=style, zorder=1.5, label=label)
