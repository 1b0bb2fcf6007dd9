"""Published figure 4: how well an early epoch predicts the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from proxyflow.quality.summary import StudyQuality
from proxyflow.reporting.figures.layout import save_figure, subplots, write_text
from proxyflow.reporting.series import EPOCH_STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "epochs"
PANELS = (
    ("correlation", "correlation with the final result"),
    ("chance", "chance that the better run stays better"),
)


def draw(quality: StudyQuality, folder: Path) -> bool:
    """Draws correlation and chance by epoch; False where the study has no curve."""
    table = quality.curves
    if not table[["correlation", "chance"]].notna().any(axis=None):
        return False
    with subplots(2, 1, (4.6, 3.2), (0.75, 0), (0.6, 0.2, 0.6, 0.4)) as (figure, axes):
        for axis, (column, title) in zip(axes[0], PANELS, strict=True):
            axis.set_title(title)
            _draw_curve(axis, quality, column)
        save_figure(figure, folder, NAME)
    return True


def _draw_curve(axis: Axes, quality: StudyQuality, column: str) -> None:
    known = quality.curves[quality.curves[column].notna()]
    if known.empty:
        write_text(axis, "undefined at every epoch")
        return
    epoch, value = known["epoch"].to_numpy(dtype=float), known[column].to_numpy(dtype=float)
    low, high = (known[f"{column}_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
    colour = EPOCH_STYLES[column].light
    axis.fill_between(epoch, low, high, color=colour, alpha=0.16, linewidth=0)
    axis.plot(epoch, value, color=colour, marker="o", markersize=4, linewidth=1.6)
    if column == "chance":
        axis.axhline(0.5, color="#8a93a0", linewidth=1, linestyle=":")
        axis.annotate(
            "chance level", (epoch.max(), 0.5), xytext=(0, 3), textcoords="offset points", ha="right", fontsize=8
        )
    axis.set(xlabel="after epoch", ylabel=column)
    axis.set_ylim(min(0.45 if column == "chance" else 0.0, float(np.nanmin([*value, *low])) - 0.03), 1.03)
    axis.locator_params(axis="x", integer=True)
