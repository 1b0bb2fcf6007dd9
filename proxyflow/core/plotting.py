"""Matplotlib style and saving, shared by all figures; equal data give equal files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from proxyflow.core.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.fonttype": "none",
    # Makes identifiers in SVG files deterministic.
    "svg.hashsalt": "proxyflow",
}
PNG: dict[str, Any] = {"dpi": 144}
SVG: dict[str, Any] = {"metadata": {"Date": None}}


@contextmanager
def subplots(
    columns: int, rows: int, width: float, height: float, sharex: bool = False, sharey: bool = False
) -> Iterator[tuple[Figure, np.ndarray]]:
    """Yields a figure of `width` x `height` inches and its `(rows, columns)` axes."""
    import matplotlib  # imports matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, np.asarray(figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey))


def save_figure(figure: Figure, folder: Path, name: str, svg: bool = True) -> None:
    """Saves a figure as PNG, and as SVG unless it consists of images (`svg=False`)."""
    for suffix, options in (("png", PNG), ("svg", SVG))[: 1 + svg]:
        with atomic_write(folder / f"{name}.{suffix}") as path:
            figure.savefig(path, facecolor="white", **options)


def escape_mathtext(name: str) -> str:
    """Escapes dollar signs, which matplotlib would read as formulas."""
    return name.replace("$", r"\$")
