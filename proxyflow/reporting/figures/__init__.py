"""The report's static figures, as PNG and SVG: searches, the published figures 1 to 4, hyperparameters, comparisons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from proxyflow.quality.summary import StudyQuality
from proxyflow.reporting.figures import (
    comparisons,
    epochs,
    hyperparameters,
    proxy_against_target,
    quality_by_cost,
    regret_by_cost,
    transfer,
)
from proxyflow.reporting.figures.layout import SUFFIXES

FIGURES: dict[str, Callable[[StudyQuality, Path], bool]] = {
    **{
        module.NAME: module.draw
        for module in (
            *(regret_by_cost, quality_by_cost, proxy_against_target),
            *(transfer, epochs, hyperparameters, comparisons),
        )
    },
    quality_by_cost.OF_MEANS: quality_by_cost.draw_means,
}


def draw_figures(quality: StudyQuality, folder: Path) -> None:
    """Draws every figure that the study has data for, and removes what an earlier report drew and this one does not."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        if not draw(quality, folder):
            for suffix in SUFFIXES:
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
