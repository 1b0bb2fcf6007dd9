"""Labels of points, placed where they cover neither labels nor points, with a line to a point that is far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.plotting import escape_mathtext
from proxyflow.reporting.figures.layout import wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = 7.5
# Inches per letter and per line at that size, a little more than DejaVu Sans takes on average.
LETTER, LINE = 0.062 * SIZE / 7.5, 0.125 * SIZE / 7.5
POINT = 0.06
MAX_LETTERS = 26

Box = tuple[float, float, float, float]


def label_points(
    axis: Axes,
    xs: Sequence[float],
    ys: Sequence[float],
    names: Sequence[str],
    others: Sequence[tuple[float, float]] = (),
) -> None:
    """Writes `names` next to the points of an axis whose limits are final; a name without room is left out.

    Args:
        others: further points that names may not cover.
    """
    figure = axis.figure
    place = axis.get_position()
    width, height = place.width * figure.get_figwidth(), place.height * figure.get_figheight()  # type: ignore[union-attr]
    (x0, x1), (y0, y1) = _along(axis, axis.get_xlim()), axis.get_ylim()

    def in_inches(xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
        along = _along(axis, xs)
        return [((x - x0) / (x1 - x0) * width, (y - y0) / (y1 - y0) * height) for x, y in zip(along, ys, strict=True)]

    points = in_inches(xs, ys)
    drawn = [*points, *in_inches([x for x, _ in others], [y for _, y in others])]
    taken: list[Box] = [(x - POINT, y - POINT, x + POINT, y + POINT) for x, y in drawn]
    for index in sorted(range(len(points)), key=lambda number: (-points[number][1], points[number][0])):
        x, y = points[index]
        text = wrapped(names[index], MAX_LETTERS)
        lines = text.split("\n")
        box = _free(x, y, (LETTER * max(map(len, lines)), LINE * len(lines)), (width, height), taken)
        if box is None:
            continue
        taken.append(box)
        at_left, middle = box[0] > x, (box[1] + box[3]) / 2
        edge = box[0] if at_left else box[2] if box[2] < x else (box[0] + box[2]) / 2
        far = max(abs(edge - x) - POINT, abs(middle - y) - LINE * len(lines) / 2) > 0.04
        axis.annotate(
            escape_mathtext(text),
            (xs[index], ys[index]),
            xytext=((box[0] - x) * 72, (middle - y) * 72),
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize=SIZE,
            linespacing=1.05,
            color="#33383f",
            zorder=3,
            # Curves and bars that pass below a name leave it readable.
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.4},
        )
        if far:
            to = x0 + edge / width * (x1 - x0)
            axis.plot(
                [xs[index], 10**to if axis.get_xscale() == "log" else to],
                [ys[index], y0 + middle / height * (y1 - y0)],
                color="#b4bac2",
                linewidth=0.6,
                zorder=1,
            )


def _along(axis: Axes, xs: Sequence[float]) -> list[float]:
    """Where values are along the x axis, in its own scale."""
    return [math.log10(x) for x in xs] if axis.get_xscale() == "log" else list(xs)


def side_by_side(xs: NDArray[np.float64], apart: float) -> NDArray[np.float64]:
    """Places at least so far apart, in the order of `xs` and as near to them as that allows.

    Those that are too near are spread evenly around their mean.
    """
    places = np.array(xs, dtype=np.float64)
    order = np.argsort(places, kind="stable")
    groups: list[list[int]] = []
    for index in order:
        groups.append([int(index)])
        # A group that grew may now reach the one before it.
        while len(groups) > 1 and _first(groups[-1], xs, apart) - _last(groups[-2], xs, apart) < apart:
            last = groups.pop()
            groups[-1] += last
    for group in groups:
        places[group] = _first(group, xs, apart) + apart * np.arange(len(group))
    return places


def _first(group: Sequence[int], xs: NDArray[np.float64], apart: float) -> float:
    return float(np.mean(xs[group])) - apart * (len(group) - 1) / 2


def _last(group: Sequence[int], xs: NDArray[np.float64], apart: float) -> float:
    return float(np.mean(xs[group])) + apart * (len(group) - 1) / 2


def _free(x: float, y: float, text: tuple[float, float], size: tuple[float, float], taken: Sequence[Box]) -> Box | None:
    """The nearest box for a text (length, height) beside (x, y) that is inside the axis and overlaps nothing."""
    length, height = text
    for distance in (0.0, 0.14, 0.28, 0.42, 0.56, 0.75, 0.95, 1.2, 1.5):
        for side in ("right", "left"):
            for rise in (0.0,) if not distance else (distance, -distance):
                left = x + POINT + 0.03 if side == "right" else x - POINT - 0.03 - length
                if distance:
                    left += 0.05 if side == "right" else -0.05
                box = (left, y + rise - height / 2, left + length, y + rise + height / 2)
                inside = box[0] >= 0 and box[2] <= size[0] + 0.1 and box[1] >= 0 and box[3] <= size[1] + 0.05
                if inside and not any(_overlap(box, other) for other in taken):
                    return box
    return None


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
