"""Published figure 2: what a proxy tells about the target against what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from proxyflow.quality.costs import PUBLISHED_CURVE
from proxyflow.quality.summary import StudyQuality
from proxyflow.report.families import look_of, looks_of
from proxyflow.report.figures.labels import label_points
from proxyflow.report.figures.sheet import legend, legend_height, save, say, sheet
from proxyflow.report.series import TITLES, ceiling_of, measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "quality_by_cost"
MEASURES = ("r2", "spearman")
LEGEND_COLUMNS = 6
# The legend of lines: its height in inches, and where it begins as a share of the axis below it.
LINES_HEIGHT, LINES_AT = 0.35, -0.12


def draw(quality: StudyQuality, folder: Path) -> bool:
    """Draws r2 and Spearman against relative cost; False where no strategy has either."""
    known = {measure: measured(quality, measure) for measure in MEASURES}
    if not any(len(table) for table in known.values()):
        return False
    looks = looks_of(name for table in known.values() for name in table["family"])
    bottom = 0.6 + LINES_HEIGHT + legend_height(len(looks), LEGEND_COLUMNS)
    with sheet(2, 1, (5.4, 4.6), (0.55, 0), (0.6, 0.25, bottom, 0.35)) as (figure, axes):
        for axis, measure in zip(axes[0], MEASURES, strict=True):
            _draw_measure(axis, quality, measure)
        legend(figure, looks, LEGEND_COLUMNS)
        save(figure, folder, NAME)
    return True


def _draw_measure(axis: Axes, quality: StudyQuality, measure: str) -> None:
    axis.set_title(TITLES[measure])
    known = measured(quality, measure)
    if known.empty:
        say(axis, "no strategy has a value")
        return
    cost = known["relative_cost"].to_numpy(dtype=float)
    value, low, high = (known[f"{measure}{part}"].to_numpy(dtype=float) for part in ("", "_low", "_high"))
    right = max(1.06, float(cost.max()) * 1.06)
    axis.set_xlim(-0.03, right)
    axis.set_ylim(min(0.0, float(np.nanmin([*value, *low]))) - 0.03, max(1.04, float(np.nanmax(value)) + 0.04))
    axis.set(xlabel="relative cost (proxy / target)", ylabel=measure)
    _draw_ceiling(axis, quality, measure)
    if measure == "r2":
        _draw_curves(axis, quality, cost)
    axis.vlines(cost, low, high, color=[look_of(str(name)).light for name in known["family"]], linewidth=0.9, alpha=0.6)
    for family, rows in known.groupby("family", sort=False):
        seen = look_of(str(family))
        axis.plot(
            rows["relative_cost"], rows[measure], linestyle="", marker=seen.marker, color=seen.light, markersize=7,
            markeredgecolor="white", markeredgewidth=0.5, zorder=4,
        )  # fmt: skip
    if axis.get_legend_handles_labels()[0]:
        # Below the axis: within it no corner is free of points and their names in every study.
        axis.legend(loc="upper left", bbox_to_anchor=(0, LINES_AT), fontsize=8, ncols=2, borderaxespad=0, borderpad=0)
    label_points(axis, cost.tolist(), value.tolist(), [str(name) for name in known["strategy"]])


def _draw_ceiling(axis: Axes, quality: StudyQuality, measure: str) -> None:
    found = ceiling_of(quality, measure)
    if found is None:
        return
    if np.isfinite(found.low) and np.isfinite(found.high):
        axis.axhspan(found.low, found.high, color="#8a93a0", alpha=0.16, linewidth=0, zorder=0)
    label = f"{found.label} ({found.value:.2f})"
    axis.axhline(found.value, color="#6b7480", linewidth=1.1, linestyle=(0, (6, 2)), zorder=1, label=label)


def _draw_curves(axis: Axes, quality: StudyQuality, cost: np.ndarray) -> None:
    """The cost curve over the costs that it is fitted to, and the published one for orientation."""
    span = np.linspace(min(float(cost.min()), 1.0), max(float(cost.max()), 1.0), 100)
    lines = [(PUBLISHED_CURVE, ":", "#8a93a0")]
    if quality.curve is not None and quality.curve is not PUBLISHED_CURVE:
        lines.append((quality.curve, "--", "#33383f"))
    for line, style, colour in lines:
        label = f"{line.name} curve"
        axis.plot(span, line(span), color=colour, linewidth=1.3, linestyle=style, zorder=1.5, label=label)
