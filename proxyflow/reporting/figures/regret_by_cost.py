"""What a search with each proxy loses against what it costs, with random search and full search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from proxyflow.core.plotting import escape_mathtext
from proxyflow.quality.policies import RANDOM_SEARCH, Replay
from proxyflow.quality.summary import StudyQuality
from proxyflow.reporting.families import style_of, styles_of
from proxyflow.reporting.figures.labels import label_points
from proxyflow.reporting.figures.layout import SOFT, legend, legend_height, save_figure, subplots, wrapped
from proxyflow.reporting.policy_views import Line, first_of_frontier, lines, tolerance_line
from proxyflow.reporting.series import unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "regret_by_cost"
LEGEND_COLUMNS = 4
LINES_HEIGHT, LINES_AT = 0.35, -0.14


def draw(quality: StudyQuality, folder: Path) -> bool:
    """Draws regret against cost in full trainings, a line per proxy; False where no policy has a cost."""
    found = lines(quality)
    if not any(line.name != RANDOM_SEARCH for line in found):
        return False
    styles = styles_of(line.family for line in found if line.family)
    bottom = 0.6 + LINES_HEIGHT + legend_height(len(styles), LEGEND_COLUMNS)
    with subplots(1, 1, (7.2, 4.4), (0, 0), (0.6, 0.25, bottom, 0.35)) as (figure, axes):
        axis = axes[0, 0]
        axis.set_title("What a search loses against what it costs")
        for line in found:
            _draw_line(axis, line, quality.policies)
        _draw_full(axis, quality.policies)
        _draw_recommended(axis, quality)
        label = "tolerance above full search" if quality.verdict.criterion == "excess" else "tolerance"
        axis.axhline(tolerance_line(quality), color=SOFT, linewidth=0.8, linestyle=":", label=label)
        axis.set(xlabel="cost in full trainings", ylabel=f"regret, {unit_of(quality.objective.metric)}")
        axis.set_xlim(0, None)
        axis.set_ylim(0, None)
        named = first_of_frontier(quality)
        label_points(
            axis,
            [policy.cost.value for policy in named],
            [policy.regret.value for policy in named],
            [f"{policy.strategy}, best {policy.k}" for policy in named],
            [(policy.cost.value, policy.regret.value) for line in found for policy in line.policies],
        )
        axis.legend(loc="upper left", bbox_to_anchor=(0, LINES_AT), fontsize=8, ncols=4, borderaxespad=0, borderpad=0)
        legend(figure, styles, LEGEND_COLUMNS)
        save_figure(figure, folder, NAME)
    return True


def _draw_line(axis: Axes, line: Line, policies: Replay) -> None:
    # Random search over all configurations is full search.
    at_end = [policies.full] if line.name == RANDOM_SEARCH and policies.full is not None else []
    xs = [policy.cost.value for policy in (*line.policies, *at_end)]
    ys = [policy.regret.value for policy in (*line.policies, *at_end)]
    if line.name == RANDOM_SEARCH:
        axis.plot(xs, ys, color="#33383f", linewidth=1.6, linestyle="--", label=RANDOM_SEARCH, zorder=3)
        return
    style = style_of(line.family)
    axis.plot(xs, ys, color=style.light, linewidth=0.9, alpha=0.7, marker=style.marker, markersize=5,
              markeredgecolor="white", markeredgewidth=0.4)  # fmt: skip


def _draw_full(axis: Axes, policies: Replay) -> None:
    full = policies.full
    if full is not None:
        axis.plot([full.cost.value], [full.regret.value], "*", color="#1d2126", markersize=12, label="full search",
                  linestyle="", zorder=5)  # fmt: skip


def _draw_recommended(axis: Axes, quality: StudyQuality) -> None:
    verdict = quality.verdict
    for policy in quality.policies.policies:
        if verdict.strategy and (policy.strategy, policy.k) == (verdict.strategy, verdict.k):
            at = (policy.cost.value, policy.regret.value)
            axis.plot(*at, "o", color="none", markeredgecolor="#1d2126", markersize=12, markeredgewidth=1.3, zorder=6)
            text = wrapped(f"recommended: {policy.strategy}, best {policy.k}", 40)
            # Above the lines, which fall to the right.
            axis.annotate(
                escape_mathtext(text), at, xytext=(0.3, 0.88), textcoords="axes fraction", fontsize=9, zorder=6,
                arrowprops={"arrowstyle": "-", "color": SOFT, "linewidth": 0.8, "shrinkB": 7},
            )  # fmt: skip
