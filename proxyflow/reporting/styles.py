"""Marker styles: a colour for light and for dark backgrounds, and a shape, so that kinds differ without colour, too."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

# A shape by its name, or as a regular polygon or star: corners, kind, angle.
Marker = str | tuple[int, Literal[0, 1, 2], int]


@dataclass(frozen=True)
class MarkerStyle:
    """How points of one kind are drawn everywhere: in matplotlib, in plotly and in HTML.

    Attributes:
        name: of its CSS variable and its SVG symbol.
        light, dark: colours with a contrast of at least 3 : 1 (WCAG 1.4.11) to white and to the dark page.
        marker: the shape as matplotlib takes it.
        symbol: plotly's.
        path: the shape as an SVG path around (0, 0), 20 units wide.
    """

    name: str
    light: str
    dark: str
    marker: Marker
    symbol: str
    path: str


def _polygon(corners: int, turned: float = 0, inner: float = 1) -> str:
    """A regular polygon, or a star where every second corner is drawn in."""
    steps = corners if inner == 1 else 2 * corners
    points = []
    for step in range(steps):
        angle = 2 * math.pi * (step / steps + turned)
        radius = 9 if step % 2 == 0 or inner == 1 else 9 * inner
        points.append(f"{radius * math.sin(angle):.2f},{-radius * math.cos(angle):.2f}")
    return "M" + "L".join(points) + "Z"


_PLUS = "M-2.7,-8H2.7V-2.7H8V2.7H2.7V8H-2.7V2.7H-8V-2.7H-2.7Z"
_CROSS = "M-4,-7.8L0,-3.8 4,-7.8 7.8,-4 3.8,0 7.8,4 4,7.8 0,3.8 -4,7.8 -7.8,4 -3.8,0 -7.8,-4Z"
# After Okabe & Ito and Tol, whose palettes colour-blind readers can distinguish, each darkened for white paper or
# lightened for dark paper until the contrast suffices.
_KINDS: tuple[tuple[str, str, Marker, str, str], ...] = (
    ("#1d2126", "#f1f3f5", "o", "circle", "M0,-8A8,8 0 1,1 0,8A8,8 0 1,1 0,-8Z"),
    ("#0072b2", "#4fa8e0", "s", "square", "M-7,-7H7V7H-7Z"),
    ("#d55e00", "#ff8a3d", "D", "diamond", "M0,-9L9,0 0,9 -9,0Z"),
    ("#008f68", "#2fc795", "^", "triangle-up", "M0,-8L9,7H-9Z"),
    ("#bc5c92", "#e39ac4", "v", "triangle-down", "M0,8L9,-7H-9Z"),
    ("#a97400", "#f2bc40", "P", "cross", _PLUS),
    ("#2e8ac2", "#9bd5fa", "X", "x", _CROSS),
    ("#332288", "#a79bf5", "*", "star", _polygon(5, inner=0.42)),
    ("#7a7a1e", "#c9c95a", "p", "pentagon", _polygon(5)),
    ("#882255", "#e0709f", "h", "hexagon", _polygon(6)),
    ("#2a877a", "#6fd3c3", "<", "triangle-left", "M-8,0L7,-9V9Z"),
    ("#b3202c", "#ff8f8f", "d", "diamond-tall", "M0,-10L6,0 0,10 -6,0Z"),
    ("#4b6e00", "#a8d24a", "8", "octagon", _polygon(8, turned=1 / 16)),
    ("#7b4fb5", "#cdb0f5", (4, 1, 0), "star-diamond", _polygon(4, inner=0.42)),
    ("#0d6e8a", "#5cc8e6", (6, 1, 0), "hexagram", _polygon(6, inner=0.55)),
    ("#8c5a2b", "#d9a066", (4, 1, 45), "star-square", _polygon(4, turned=1 / 8, inner=0.42)),
    ("#a3005c", "#ff7ab8", (3, 1, 0), "star-triangle-up", _polygon(3, inner=0.35)),
    ("#6f757c", "#a4aab2", ">", "triangle-right", "M8,0L-7,-9V9Z"),
)
STYLES = tuple(MarkerStyle(f"mark-{index}", *kind) for index, kind in enumerate(_KINDS))
# For what is of no kind that is known.
GREY = STYLES[-1]


def style(index: int) -> MarkerStyle:
    """The style of the index-th kind; styles but `GREY` repeat after the last."""
    return STYLES[index % (len(STYLES) - 1)]
