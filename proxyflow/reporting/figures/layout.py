"""Layout of the figures, with margins in inches: matplotlib's automatic layouts take seconds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.files import atomic_write
from proxyflow.core.plotting import STYLE, SVG
from proxyflow.core.spelling import parts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from proxyflow.reporting.styles import MarkerStyle

DPI = 110
SOFT = "#59616b"
SUFFIXES = ("png", "svg")


@contextmanager
def subplots(
    columns: int,
    rows: int,
    panel: tuple[float, float],
    gap: tuple[float, float],
    margins: tuple[float, float, float, float],
    **options: Any,
) -> Iterator[tuple[Figure, NDArray[Any]]]:
    """A figure with `(rows, columns)` axes.

    Args:
        panel, gap: width and height of a panel, and between panels, in inches.
        margins: left, right, bottom, top in inches.
        options: of `Figure.subplots`.
    """
    import matplotlib  # imports matplotlib
    from matplotlib.figure import Figure

    left, right, bottom, top = margins
    width = left + columns * panel[0] + (columns - 1) * gap[0] + right
    height = bottom + rows * panel[1] + (rows - 1) * gap[1] + top
    # Titles at a fixed height: matplotlib would measure all ticks to place them.
    with matplotlib.rc_context({**STYLE, "axes.titley": 1.0}):
        figure = Figure(figsize=(width, height), dpi=DPI)
        figure.subplots_adjust(
            left=left / width,
            right=1 - right / width,
            bottom=bottom / height,
            top=1 - top / height,
            wspace=gap[0] / panel[0],
            hspace=gap[1] / panel[1],
        )
        yield figure, np.asarray(figure.subplots(rows, columns, squeeze=False, **options))


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Saves a figure as PNG and as SVG."""
    for suffix in SUFFIXES:
        with atomic_write(folder / f"{name}.{suffix}") as path, warnings.catch_warnings():
            # Letters that the font lacks are boxes in the PNG; the SVG and the page have them.
            warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
            figure.savefig(path, facecolor="white", dpi=DPI, **(SVG if suffix == "svg" else {}))


def legend(figure: Figure, styles: Mapping[str, MarkerStyle], columns: int, bottom: float = 0.08) -> None:
    """A legend of shapes below the panels, `bottom` inches above the edge."""
    from matplotlib.lines import Line2D  # imports matplotlib

    from proxyflow.core.plotting import escape_mathtext

    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=each.marker,
            color=each.light,
            markersize=7,
            label=escape_mathtext(short(name, 40)),
        )
        for name, each in styles.items()
    ]
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=max(1, min(columns, len(handles))),
        bbox_to_anchor=(0.5, bottom / figure.get_figheight()),
        borderaxespad=0,
        fontsize=9,
        handletextpad=0.3,
        columnspacing=1.4,
    )


def legend_height(entries: int, columns: int) -> float:
    """Inches that a legend takes."""
    return 0.19 * -(-entries // max(columns, 1)) + 0.1 if entries else 0.0


def short(text: str, letters: int) -> str:
    """A name cut to so many letters; the page has it in full.

    Characters that cannot be printed are replaced: they would break the SVG or the line.
    """
    seen = "".join(letter if letter.isprintable() else "\ufffd" for letter in text[: letters + 1])
    return seen if len(seen) <= letters else seen[: letters - 1] + "…"


def wrapped(text: str, letters: int, lines: int = 3) -> str:
    """A name of a strategy in lines of at most so many letters, broken before the `+` of a combination.

    What does not fit is cut, as by `short`; the page has it in full.
    """
    first, *rest = parts_of(text)
    found = [first]
    for part in (f"+{part}" for part in rest):
        if len(found[-1]) + len(part) <= letters:
            found[-1] += part
        else:
            found.append(part)
    if len(found) > lines:
        found = [*found[: lines - 1], "".join(found[lines - 1 :])]
    return "\n".join(short(line, letters) for line in found)


def write_text(axis: Axes, text: str) -> None:
    """Writes into an empty panel why it is empty."""
    axis.set(xticks=[], yticks=[])
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color=SOFT, fontsize=9)
