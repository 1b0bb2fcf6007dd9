"""Published figure 1: the metric on the proxy against the metric on the target, a panel per strategy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from proxyflow.core.plotting import escape_mathtext
from proxyflow.quality.summary import StudyQuality
from proxyflow.reporting.figures.layout import SOFT, legend, legend_height, save_figure, subplots, wrapped
from proxyflow.reporting.series import axis_label, dataset_styles, drawable, regression
from proxyflow.reporting.styles import style
from proxyflow.reporting.tables import number

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from proxyflow.reporting.styles import MarkerStyle

NAME = "proxy_against_target"
MAX_PANELS = 24
COLUMNS = 6
# Letters of a line of a title, and inches per further line.
TITLE_LETTERS, TITLE_LINE = 23, 0.15
# A panel is small: with more points than these they are drawn as an image also in the SVG, which stays small so.
MANY_POINTS = 150


def draw(quality: StudyQuality, folder: Path) -> bool:
    """Draws a panel per strategy, at most `MAX_PANELS`; False where no strategy has a pair."""
    known = drawable(quality)
    names = known[:MAX_PANELS]
    if not names:
        return False
    styles = dataset_styles(quality)
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    shown = styles if len(styles) > 1 else {}
    bottom = 0.62 + legend_height(len(shown), columns)
    titles = [wrapped(name, TITLE_LETTERS) for name in names]
    more = TITLE_LINE * max(title.count("\n") for title in titles)
    with subplots(columns, rows, (1.9, 1.75), (0.16, 0.68 + more), (0.62, 0.15, bottom, 0.45 + more), sharey=True) as (
        figure,
        axes,
    ):
        table = quality.strategies.set_index("strategy")
        for axis, name, title in zip(axes.flat, names, titles, strict=False):
            _draw_panel(axis, quality.pairs[name].frame, styles)
            r2 = number(float(table["r2"][name])) or "undefined"
            cost = number(float(table["relative_cost"][name])) or "unknown"
            axis.set_title(escape_mathtext(title) + "\n", fontsize=9, fontweight="bold", pad=3)
            axis.text(0, 1.03, f"r² {r2} · cost {cost}", transform=axis.transAxes, fontsize=8, color=SOFT)
        for axis in list(axes.flat)[len(names) :]:
            axis.set_axis_off()
        axes[0, 0].locator_params(axis="y", nbins=5)
        height, metric = figure.get_figheight(), quality.objective.metric
        left_out = f" (the first {len(names)} of {len(known)} strategies)" if len(known) > len(names) else ""
        figure.supxlabel(
            f"{axis_label(metric, 'proxy')}{left_out}", fontsize=10, y=(bottom - 0.55) / height, va="bottom"
        )
        figure.supylabel(axis_label(metric, "target"), fontsize=10, x=0.1 / figure.get_figwidth())
        if shown:
            legend(figure, shown, columns)
        save_figure(figure, folder, NAME)
    return True


def _draw_panel(axis: Axes, pairs: pd.DataFrame, styles: dict[str, MarkerStyle]) -> None:
    axis.tick_params(labelsize=8, length=2)
    axis.locator_params(axis="x", nbins=4)
    for dataset, rows in pairs.groupby("dataset", sort=False):
        x, y = (rows[f"objective_{side}"].to_numpy(dtype=np.float64) for side in ("proxy", "target"))
        seen = styles.get(str(dataset), style(0))
        axis.plot(
            x, y, linestyle="", marker=seen.marker, color=seen.light, markersize=3.6, alpha=0.75,
            markeredgewidth=0, rasterized=len(x) > MANY_POINTS,
        )  # fmt: skip
        line = regression(x, y)
        if line is not None:
            axis.plot(*line, color=seen.light, linewidth=1.2)
