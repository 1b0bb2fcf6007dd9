"""The page's tables as rows, from the frames of a study's quality."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from proxyflow.quality.bootstrap import Estimate
from proxyflow.quality.pairs import UNRANKED
from proxyflow.quality.ranked import Ranked
from proxyflow.quality.runs import TARGET
from proxyflow.quality.summary import StudyQuality
from proxyflow.reporting.families import style_of
from proxyflow.reporting.series import drawable, hyperparameter_label, hyperparameter_names
from proxyflow.reporting.styles import MarkerStyle
from proxyflow.reporting.tables import number

# Notes that the page shows before `more`.
OPEN_NOTES = 6


@dataclass(frozen=True)
class StrategyRow:
    """A strategy in the first table."""

    strategy: str
    family: str
    style: MarkerStyle
    measures: Mapping[str, Estimate]
    steps: float
    relative_examples: float
    n_pairs: int
    n_missing: int
    ranked: Ranked


def strategy_rows(quality: StudyQuality) -> list[StrategyRow]:
    """One row per strategy with every measure; the table of strategies replaces what `measures` lacks."""
    found = {
        (row["strategy"], row["measure"]): Estimate(row["value"], row["low"], row["high"])
        for row in quality.measures.to_dict("records")
    }
    rows = []
    for row in quality.strategies.to_dict("records"):
        name = str(row["strategy"])
        measures = {}
        for measure in (
            "r2",
            "spearman",
            "spearman_all",
            "cost_adjusted_r2",
            "relative_cost",
            "regret",
            "best_recovered",
        ):
            low, high = (row.get(f"{measure}_{end}", math.nan) for end in ("low", "high"))
            measures[measure] = found.get((name, measure), Estimate(row[measure], low, high))
        for measure in ("kendall", "top5_overlap"):
            measures[measure] = found.get((name, measure), Estimate())
        rows.append(
            StrategyRow(
                name,
                str(row["family"]),
                style_of(str(row["family"])),
                measures,
                row["steps"],
                row["relative_examples"],
                int(row["n_pairs"]),
                int(row["n_missing"]),
                quality.ranked[name],
            )
        )
    return rows


@dataclass(frozen=True)
class MeanRow:
    """A strategy in the table of means over seeds."""

    strategy: str
    measures: Mapping[str, Estimate]
    n_pairs: int


def mean_rows(quality: StudyQuality) -> list[MeanRow]:
    """One row per proxy that was run under several seeds."""
    return [
        MeanRow(
            name,
            measured.estimates,
            len(measured.pairs.frame),
        )
        for name, measured in quality.means.items()
        if name != TARGET
    ]


@dataclass(frozen=True)
class Completeness:
    """How much of the study is there.

    Attributes:
        counts: status to number of trainings, finished ones first.
        counted: trainings that enter the measures.
        unranked: trainings that learned nothing, of those that enter the measures.
        planned: those that the study planned, None where unknown, or where more count than its newest sweep planned.
    """

    counts: Mapping[str, int]
    counted: int
    planned: int | None
    diverged: int
    unranked: int
    missing: int
    notes: tuple[tuple[str, str], ...]
    more_notes: tuple[tuple[str, str], ...]

    @property
    def partial(self) -> bool:
        return self.planned is not None and self.counted < self.planned


def completeness(quality: StudyQuality, trainings: pd.DataFrame, planned: int | None) -> Completeness:
    """Counts of trainings that finished, failed, diverged or are missing."""
    counts = {str(status): int(n) for status, n in trainings["status"].value_counts().items()}
    order = sorted(counts, key=lambda status: (status != "finished", status))
    return Completeness(
        {status: counts[status] for status in order},
        len(quality.runs),
        # A sweep that adds to a study plans its own trainings alone, so its number is not that of the study.
        None if planned is not None and planned < len(quality.runs) else planned,
        int(quality.runs["diverged"].astype("boolean").fillna(False).astype(bool).sum()),
        int(quality.runs[UNRANKED].fillna(False).sum()),
        int(quality.strategies["n_missing"].sum()),
        tuple(quality.notes[:OPEN_NOTES]),
        tuple(quality.notes[OPEN_NOTES:]),
    )


def best_settings(quality: StudyQuality) -> list[tuple[str, list[tuple[str, bool]]]]:
    """Published Table 1: per setting and data set its value, and whether it differs from the default."""
    table = quality.best_configurations.settings
    datasets = list(quality.best_configurations.values["dataset"])
    cells = {(row.dataset, row.setting): (str(row.value), bool(row.differs)) for row in table.itertuples()}
    return [
        (hyperparameter_label(str(name)), [cells.get((dataset, name), ("", False)) for dataset in datasets])
        for name in dict.fromkeys(table["setting"])
    ]


def recovery(quality: StudyQuality) -> tuple[list[tuple[str, Any]], list[tuple[str, list[Any]]]]:
    """Whether each proxy finds the target's best configuration.

    Returns:
        Data set and seed of each column; strategy and, per column, its row of `best` or None.
    """
    if quality.best.empty:
        return [], []
    table = quality.best[quality.best["strategy"] != TARGET]
    keys = list(
        zip(table["strategy"].astype(str), table["dataset"].astype(str), table["seed"].astype(int), strict=True)
    )
    columns = sorted({key[1:] for key in keys})
    cells = dict(zip(keys, table.itertuples(), strict=True))
    names = [str(name) for name in quality.strategies["strategy"] if name in set(table["strategy"])]
    return columns, [(name, [cells.get((name, *column)) for column in columns]) for name in names]


def hyperparameter_rows(quality: StudyQuality) -> tuple[list[str], list[tuple[str, list[Any]]]]:
    """Labels of the hyperparameters; strategy and, per hyperparameter, its row of the table or None."""
    names = hyperparameter_names(quality)
    table = quality.hyperparameters
    cells = {(str(row.strategy), str(row.hyperparameter)): row for row in table.itertuples()}
    strategies = [str(name) for name in dict.fromkeys(table["strategy"])] if names else []
    rows = [(strategy, [cells.get((strategy, str(name))) for name in names]) for strategy in strategies]
    return [hyperparameter_label(name) for name in names], rows


def compared_rows(
    quality: StudyQuality, study: str, compared: Mapping[str, pd.DataFrame]
) -> tuple[list[str], list[tuple[str, list[Any]]]]:
    """Names of the studies, this one first; strategy and, per study, its row of `strategies` or None."""
    if not compared:
        return [], []
    tables = [quality.strategies, *compared.values()]
    found = [{str(row["strategy"]): row for row in table.to_dict("records")} for table in tables]
    names = dict.fromkeys(name for rows in found for name in rows)
    return [study, *compared], [(name, [rows.get(name) for rows in found]) for name in names]


def first_shown(quality: StudyQuality) -> str:
    """The proxy whose points are shown first: the recommended one, else the one that is best for its cost."""
    names = drawable(quality)
    if quality.verdict.strategy in names:
        return str(quality.verdict.strategy)
    table = quality.strategies[quality.strategies["strategy"].isin(names)]
    best = table.sort_values("cost_adjusted_r2", ascending=False, kind="stable", na_position="last")["strategy"]
    return str(best.iloc[0]) if len(best) else ""


def whole(value: float) -> str:
    """A count, or a median of counts, as a whole number; empty where it is nan."""
    return f"{value:,.0f}" if math.isfinite(value) else ""


def signed(value: float, digits: int = 2, write: Callable[[float, int], str] = number) -> str:
    """A number with its sign, a true minus included; empty where there is none."""
    text = write(value, digits)
    if not text or not float(text):
        return text
    return text.replace("-", "−") if text.startswith("-") else f"+{text}"


def bar_percent(value: float) -> float:
    """Where a value is on a bar from 0 to 1, in percent."""
    return round(100 * min(max(value, 0.0), 1.0), 1)


def percent(value: float) -> str:
    """A share in whole percent; shares close to 0 or 1 are not rounded to them."""
    if not math.isfinite(value):
        return ""
    if 0.995 <= value < 1:
        return "> 99 %"
    if 0 < value < 0.005:
        return "< 1 %"
    return f"{100 * value:.0f} %"
