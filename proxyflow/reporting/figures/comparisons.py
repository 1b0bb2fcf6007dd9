"""Which of two proxies of similar cost is better: differences with their intervals, and the line of no difference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from proxyflow.core.plotting import escape_mathtext
from proxyflow.quality.summary import StudyQuality
from proxyflow.reporting.figures.layout import SOFT, save_figure, short, subplots
from proxyflow.reporting.series import Comparison, comparison_rows
from proxyflow.reporting.styles import style
from proxyflow.reporting.tables import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "comparisons"
TITLES = {"r2": "difference of r²", "spearman": "difference of Spearman"}
# Rows that fit into a figure; comparisons.csv has all.
MAX_ROWS = 60
ROW_HEIGHT = 0.2
# Letters of a name, and of a row whose two names are in one line; inches per letter.
LETTERS, ONE_LINE = 52, 60
LETTER = 0.066


def draw(quality: StudyQuality, folder: Path) -> bool:
    """Draws the differences of r2 and of Spearman; False where no two proxies have similar costs."""
    of_means, found = comparison_rows(quality)
    if not found:
        return False
    rows = found[:MAX_ROWS]
    names, lines = _names(rows)
    height = max(ROW_HEIGHT * (1 + 0.6 * (lines - 1)) * len(rows), 0.6)
    left = max(1.2, LETTER * max(len(line) for name in names for line in name.split("\n")) + 0.2)
    with subplots(2, 1, (2.9, height), (0.2, 0), (left, 0.2, 0.55, 0.4), sharey=True) as (figure, axes):
        for axis, (measure, title) in zip(axes[0], TITLES.items(), strict=True):
            axis.set_title(f"{title}, means over seeds" if of_means else title, fontsize=9.5)
            _draw_differences(axis, rows, measure)
        axes[0, 0].set_yticks(range(len(rows)), [escape_mathtext(name) for name in names], fontsize=8)
        axes[0, 0].set_ylim(len(rows) - 0.4, -0.6)
        more = f"; {len(found) - len(rows)} more: comparisons.csv" if len(found) > len(rows) else ""
        caption = f"blue: 0 is outside the interval; in brackets the relative cost{more}"
        figure.text(0.01, 0.01, caption, fontsize=8, color=SOFT)
        save_figure(figure, folder, NAME)
    return True


def _names(rows: Sequence[Comparison]) -> tuple[list[str], int]:
    """What stands before each row, and in how many lines: long names take one each."""
    names = [(short(row.strategy, LETTERS), short(row.other, LETTERS), f"({number(row.cost)})") for row in rows]
    in_one = [f"{one} – {other}  {cost}" for one, other, cost in names]
    if max(map(len, in_one)) <= ONE_LINE:
        return in_one, 1
    return [f"{one}\n– {other}  {cost}" for one, other, cost in names], 2


def _draw_differences(axis: Axes, rows: list[Comparison], measure: str) -> None:
    axis.axvline(0, color=SOFT, linewidth=1)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("first better →", loc="right", fontsize=8.5)
    values = np.array([row.differences.get(measure, (np.nan,) * 3) for row in rows])
    for apart, colour in ((False, "#8a93a0"), (True, style(1).light)):
        chosen = np.flatnonzero(np.isfinite(values[:, 0]) & (((values[:, 1] > 0) | (values[:, 2] < 0)) == apart))
        axis.hlines(chosen, values[chosen, 1], values[chosen, 2], color=colour, linewidth=1.4)
        axis.plot(values[chosen, 0], chosen, "o", color=colour, markersize=4.5)
