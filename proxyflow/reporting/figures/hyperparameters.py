"""For which hyperparameters a proxy's ranking holds: a heat map with its numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from proxyflow.core.plotting import escape_mathtext
from proxyflow.quality.summary import StudyQuality
from proxyflow.reporting.figures.layout import save_figure, short, subplots
from proxyflow.reporting.series import hyperparameter_label, hyperparameter_names
from proxyflow.reporting.tables import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "hyperparameters"
PANELS = (("r2", "r² along one hyperparameter", 0.0), ("sign_agreement", "share of changes with the same sign", 0.5))
# Rows that fit into a figure; hyperparameters.csv has all.
MAX_STRATEGIES = 40
# Letters of a name; inches per letter and per further line of a head.
LETTERS = 56
LETTER, LINE = 0.071, 0.14


def draw(quality: StudyQuality, folder: Path) -> bool:
    """Draws r2 and sign agreement per strategy and hyperparameter; False where nothing is known of any."""
    names = hyperparameter_names(quality)
    if not names:
        return False
    table = quality.hyperparameters
    strategies = list(dict.fromkeys(table["strategy"]))[:MAX_STRATEGIES]
    size = (0.72 * len(names), 0.23 * len(strategies))
    rows = [short(name, LETTERS) for name in strategies]
    heads = [hyperparameter_label(name).replace(" ", "\n") for name in names]
    lines = max(head.count("\n") for head in heads)
    margins = (max(1.0, LETTER * max(map(len, rows)) + 0.15), 0.2, 0.2, 0.75 + LINE * lines)
    with subplots(2, 1, (max(size[0], 2.7), max(size[1], 0.7)), (0.35, 0), margins, sharey=True) as (figure, axes):
        for axis, (column, title, floor) in zip(axes[0], PANELS, strict=True):
            cells = table.pivot_table(index="strategy", columns="hyperparameter", values=column, dropna=False)
            _draw_map(axis, cells.reindex(index=strategies, columns=names).to_numpy(dtype=float), floor)
            axis.set_title(title, fontsize=9.5, pad=20 + 72 * LINE * lines)
            axis.set_xticks(range(len(names)), [escape_mathtext(_cut(head)) for head in heads], fontsize=8)
        axes[0, 0].set_yticks(range(len(strategies)), [escape_mathtext(name) for name in rows], fontsize=8.5)
        save_figure(figure, folder, NAME)
    return True


def _cut(head: str) -> str:
    return "\n".join(short(line, 11) for line in head.split("\n"))


def _draw_map(axis: Axes, cells: np.ndarray, floor: float) -> None:
    axis.imshow(cells, cmap="Blues", vmin=floor, vmax=1.25 - floor / 4, aspect="auto")
    axis.grid(False)
    axis.tick_params(length=0, labeltop=True, labelbottom=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    for (row, column), value in np.ndenumerate(cells):
        text = "–" if not math.isfinite(value) else number(value)
        colour = "white" if math.isfinite(value) and value > floor + (1 - floor) * 0.72 else "#1d2126"
        axis.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
