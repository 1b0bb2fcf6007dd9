"""How all figures look: one style, one way to save, and the same file for the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from proxyflow.files import replacing

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
    # The same study gives the same file: identifiers in the SVG are derived from this, not drawn at random.
    "svg.hashsalt": "proxyflow",
}
PNG: dict[str, Any] = {"dpi": 144}
SVG: dict[str, Any] = {"metadata": {"Date": None}}


@contextmanager
def canvas(
    columns: int, rows: int, width: float, height: float, sharex: bool = False, sharey: bool = False
) -> Iterator[tuple[Figure, np.ndarray]]:
    """A figure of so many inches with `(rows, columns)` axes."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, np.asarray(figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey))


def save(figure: Figure, folder: Path, name: str, svg: bool = True) -> None:
    """Saves a figure as PNG, and as SVG where drawn lines are what it consists of."""
    for suffix, options in (("png", PNG), ("svg", SVG))[: 1 + svg]:
        with replacing(folder / f"{name}.{suffix}") as path:
            figure.savefig(path, facecolor="white", **options)


def as_text(name: str) -> str:
    """A name as matplotlib draws it: dollar signs are part of it, and begin no formula."""
    return name.replace("$", r"\$")
