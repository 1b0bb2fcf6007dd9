"""The numbers of the figures: static and interactive figures draw the same, and neither computes it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proxyflow.quality.ceiling import NOISE_FREE, NOISE_FREE_MEANS, SEED_MEANS, SEEDS, VALIDATION
from proxyflow.quality.runs import TARGET
from proxyflow.quality.seeds import OF_MEANS
from proxyflow.quality.summary import StudyQuality
from proxyflow.reporting.styles import MarkerStyle, style
from proxyflow.reporting.tables import with_interval
from proxyflow.spaces.metric import Metric

# More pairs of data sets would need a page of panels; the rest is in transfer.csv.
DATASET_COLUMNS = 3
# Of the measures over single runs, the better source first.
RUN_CEILINGS = (SEEDS, VALIDATION)
LESS_NOISY = "a proxy above it is less noisy than the target itself"
# Source to its name in a legend, and what a point above the line means.
CEILINGS = {
    SEEDS: ("noise ceiling: the target under another seed", LESS_NOISY),
    NOISE_FREE: ("limit of a proxy without noise", "a proxy is above it only by chance"),
    SEED_MEANS: ("noise ceiling: the target's means over other seeds", LESS_NOISY),
    NOISE_FREE_MEANS: ("limit of a proxy without noise, by means over seeds", "a proxy is above it only by chance"),
    VALIDATION: (
        "noise ceiling: the target under other validation examples",
        "a proxy above it agrees with the target partly because both are validated on the same examples",
    ),
}
# A relative cost; a combination of reductions may be far below it.
LOG_BELOW = 0.04
# More proxies than CROWD with at most this cost would lie on each other on a linear scale.
CHEAP, CROWD = 0.15, 8
# Of a logarithmic scale of costs.
TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
EPOCH_STYLES = {"correlation": style(1), "chance": style(3)}
TITLES = {
    "r2": "r²: share of the target's variance explained",
    "spearman": "Spearman: ranking of the good configurations",
    "cost_adjusted_r2": "cost-adjusted r²",
}


class Ceiling(NamedTuple):
    """What a measure reaches where only noise differs: the target with itself."""

    value: float
    low: float
    high: float
    label: str
    meaning: str


def ceiling_of(quality: StudyQuality, measure: str, *sources: str) -> Ceiling | None:
    """The noise ceiling of a measure: from seeds where the study has them, else from the validation examples.

    Args:
        sources: others to take it from, the best first.
    """
    table = quality.ceiling
    for source in sources or RUN_CEILINGS:
        label, meaning = CEILINGS[source]
        rows = table[(table["source"] == source) & (table["measure"] == measure) & table["value"].notna()]
        if len(rows):
            row = rows.iloc[0]
            return Ceiling(float(row["value"]), float(row["low"]), float(row["high"]), label, meaning)
    return None


@dataclass(frozen=True)
class Comparison:
    """Two proxies of similar cost.

    Attributes:
        strategy, other: the one with the larger r2 first.
        cost: relative, of the first.
        differences: `r2` and `spearman` to the difference with the ends of its interval, where there is one.
    """

    strategy: str
    other: str
    cost: float
    differences: dict[str, tuple[float, float, float]]


def comparison_rows(quality: StudyQuality) -> tuple[bool, list[Comparison]]:
    """Comparisons in the order of the table.

    Returns:
        Whether they are of means over seeds, as they are where all have several seeds, and the comparisons.
    """
    table = quality.comparisons
    counts = table["measure"].value_counts()
    # While a second seed is still running, some pairs have no means yet, and none may be left out.
    of_means = 0 < counts.get("r2", 0) == counts.get(f"r2{OF_MEANS}", 0)
    suffix = OF_MEANS if of_means else ""
    rows: dict[tuple[str, str], Comparison] = {}
    for row in table[table["measure"].isin([f"r2{suffix}", f"spearman{suffix}"])].to_dict("records"):
        interval = (float(row["difference"]), float(row["low"]), float(row["high"]))
        pair = (str(row["strategy"]), str(row["other"]))
        # The table is sorted by measure, r2 before Spearman, which may have the other one first.
        if row["measure"] == f"r2{suffix}":
            rows[pair] = Comparison(*pair, float(row["relative_cost"]), {"r2": interval})
        elif pair in rows:
            rows[pair].differences["spearman"] = interval
        elif (swapped := rows.get(pair[::-1])) is not None:
            swapped.differences["spearman"] = (-interval[0], -interval[2], -interval[1])
    return of_means, list(rows.values())


def dataset_styles(quality: StudyQuality) -> dict[str, MarkerStyle]:
    """Data set to colour and shape; the first style is the target's."""
    names = dict.fromkeys(quality.runs["dataset"])
    return {str(name): style(1 + index) for index, name in enumerate(names)}


def measured(quality: StudyQuality, measure: str) -> pd.DataFrame:
    """The strategies that have both this measure and a cost."""
    table = quality.strategies
    return table[table[measure].notna() & table["relative_cost"].notna()]


def measured_means(quality: StudyQuality, measure: str) -> pd.DataFrame:
    """The same over means over seeds: strategies with several seeds that have both this measure and a cost."""
    table = quality.strategies[quality.strategies["strategy"].isin(quality.means)].copy()
    for part in ("value", "low", "high"):
        column = measure if part == "value" else f"{measure}_{part}"
        table[column] = [float(getattr(quality.means[name].estimates[measure], part)) for name in table["strategy"]]
    return table[table[measure].notna() & table["relative_cost"].notna()]


def drawable(quality: StudyQuality) -> list[str]:
    """Strategies to draw against the target, in the table's order: those with a pair, the target itself left out."""
    table = quality.strategies
    return [str(name) for name in table.loc[(table["strategy"] != TARGET) & (table["n_pairs"] > 0), "strategy"]]


def on_log_scale(costs: Iterable[float]) -> bool:
    """Whether costs are drawn on a logarithmic scale: where some are so low that the cheap ones would be one heap."""
    found = list(costs)
    lowest = min(found, default=1.0)
    return lowest > 0 and (lowest < LOG_BELOW or sum(cost <= CHEAP for cost in found) > CROWD)


def regression(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[list[float], list[float]] | None:
    """Ends of the least-squares line over the span of x; None where there is no line."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < 2 or np.ptp(x) == 0:
        return None
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    ends = [float(x.min()), float(x.max())]
    return ends, [float(y.mean() + slope * (end - x.mean())) for end in ends]


@dataclass(frozen=True, eq=False)
class TransferPanel:
    """One measure on one part against the same measure on another part, a point per strategy.

    Attributes:
        points: `strategy`, `family`, `left`, `right`.
    """

    split: str
    left: str
    right: str
    measure: str
    correlation: float
    low: float
    high: float
    points: pd.DataFrame

    @property
    def title(self) -> str:
        """The correlation with its interval."""
        if not math.isfinite(self.correlation):
            return "correlation undefined"
        return f"correlation {with_interval(self.correlation, self.low, self.high)}"


def transfer_panels(quality: StudyQuality) -> list[list[TransferPanel]]:
    """The panels of published figure 3: a list per measure of a panel per pair of parts; empty without any point."""
    columns: dict[tuple[str, str, str], None] = {}
    for row in quality.transfer.itertuples():
        columns.setdefault((str(row.split), str(row.left), str(row.right)), None)
    pairs = [key for key in columns if key[0] == "dataset"][:DATASET_COLUMNS]
    pairs += [key for key in columns if key[0] != "dataset"]
    grid = [[_panel(quality, *pair, measure) for pair in pairs] for measure in TITLES]
    filled = [any(len(panels[column].points) for panels in grid) for column in range(len(pairs))]
    grid = [[panel for panel, kept in zip(panels, filled, strict=True) if kept] for panels in grid]
    return [panels for panels in grid if any(len(panel.points) for panel in panels)]


def pairs_without_panel(quality: StudyQuality) -> int:
    """How many pairs of data sets have no panel for want of room."""
    of_datasets = quality.transfer.loc[quality.transfer["split"] == "dataset", ["left", "right"]]
    return max(0, len(of_datasets.drop_duplicates()) - DATASET_COLUMNS)


def _panel(quality: StudyQuality, split: str, left: str, right: str, measure: str) -> TransferPanel:
    parts, transfer = quality.parts, quality.transfer
    sides = [
        parts.loc[(parts["split"] == split) & (parts["part"] == part), ["strategy", "family", measure]]
        for part in (left, right)
    ]
    points = sides[0].merge(sides[1].drop(columns="family"), on="strategy", suffixes=("_left", "_right"))
    points = points.rename(columns={f"{measure}_left": "left", f"{measure}_right": "right"})
    points = points[points["left"].notna() & points["right"].notna() & (points["strategy"] != TARGET)]
    rows = transfer[(transfer["split"] == split) & (transfer["left"] == left) & (transfer["right"] == right)]
    rows = rows[rows["measure"] == measure]
    value, low, high = (float(rows[name].iloc[0]) if len(rows) else math.nan for name in ("correlation", "low", "high"))
    return TransferPanel(split, left, right, measure, value, low, high, points)


def frontier(costs: Sequence[float], values: Sequence[float]) -> list[bool]:
    """Which points no cheaper or equally cheap one is as good as: those that get a label where there is little room."""
    order = sorted(range(len(costs)), key=lambda index: (costs[index], -values[index]))
    best, kept = -math.inf, [False] * len(costs)
    for index in order:
        if values[index] > best:
            best, kept[index] = values[index], True
    return kept


def hyperparameter_names(quality: StudyQuality) -> list[str]:
    """The hyperparameters of which anything is known, in the order that configurations have them in."""
    table = quality.hyperparameters
    return list(dict.fromkeys(table.loc[table["r2"].notna() | table["sign_agreement"].notna(), "hyperparameter"]))


def hyperparameter_label(name: str) -> str:
    """A hyperparameter's name as people read it: `learning rate`."""
    return name.replace("_", " ")


def unit_of(metric: Metric) -> str:
    """What losses are in: points for shares, else the metric's own unit, which has the metric's name."""
    return metric.unit or metric.label


def axis_label(metric: Metric, side: str) -> str:
    """The title of an axis with values of the metric: `proxy accuracy`."""
    return f"{side} {metric.label}" + ("" if metric.goal == "maximize" else " (lower is better)")
