"""Published figure 3: does a strategy that measures well on one part of the study measure well on another?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from proxyflow.core.plotting import escape_mathtext
from proxyflow.quality.summary import StudyQuality
from proxyflow.reporting.families import style_of, styles_of
from proxyflow.reporting.figures.layout import SOFT, legend, legend_height, save_figure, short, subplots, write_text
from proxyflow.reporting.series import TITLES, TransferPanel, transfer_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "transfer"


def draw(quality: StudyQuality, folder: Path) -> bool:
    """Draws a row per measure and a column per pair of parts; False where there is no such pair."""
    grid = transfer_panels(quality)
    if not grid:
        return False
    columns = len(grid[0])
    styles = styles_of(family for panels in grid for panel in panels for family in panel.points["family"])
    legend_columns = max(2, 2 * columns)
    bottom = 0.6 + legend_height(len(styles), legend_columns)
    with subplots(columns, len(grid), (3.0, 2.5), (0.75, 0.85), (0.85, 0.25, bottom, 0.5)) as (figure, axes):
        for row, panels in zip(axes, grid, strict=True):
            for axis, panel in zip(row, panels, strict=True):
                _draw_panel(axis, panel)
        legend(figure, styles, legend_columns)
        save_figure(figure, folder, NAME)
    return True


def _draw_panel(axis: Axes, panel: TransferPanel) -> None:
    measure = TITLES[panel.measure].partition(":")[0]
    axis.set_title(f"{measure}\n", fontsize=10, fontweight="bold", pad=3)
    axis.text(0, 1.03, panel.title, transform=axis.transAxes, fontsize=8.5, color=SOFT)
    axis.set_xlabel(escape_mathtext(short(panel.left, 36)), fontsize=9)
    axis.set_ylabel(escape_mathtext(short(panel.right, 30)), fontsize=9)
    if panel.points.empty:
        write_text(axis, "no strategy has both values")
        return
    low = float(panel.points[["left", "right"]].min().min())
    high = float(panel.points[["left", "right"]].max().max())
    pad = 0.06 * (high - low or 1)
    axis.plot([low - pad, high + pad], [low - pad, high + pad], color="#c3c9d0", linewidth=1, zorder=1)
    axis.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad))
    axis.locator_params(nbins=6)
    for family, rows in panel.points.groupby("family", sort=False):
        seen = style_of(str(family))
        axis.plot(
            rows["left"], rows["right"], linestyle="", marker=seen.marker, color=seen.light, markersize=6,
            markeredgecolor="white", markeredgewidth=0.5,
        )  # fmt: skip
