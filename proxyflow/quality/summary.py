"""All measures of all strategies of a study, with the notes that say why a cell is empty."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from proxyflow.errors import UserError
from proxyflow.quality.best import averaged, best_rows
from proxyflow.quality.costs import PUBLISHED_CURVE, CostCurve, fit_curve, lasso_powers
from proxyflow.quality.measures import MIN_PAIRS, Floats, Good, interval, r2, resample, slope, spearman
from proxyflow.quality.pairs import Pairs, make_pairs
from proxyflow.quality.runs import TARGET, count_runs
from proxyflow.quality.selection import selection_table
from proxyflow.seeds import generator

STRATEGY_COLUMNS = [
    "strategy",
    "family",
    "r2",
    "r2_low",
    "r2_high",
    "spearman",
    "spearman_low",
    "spearman_high",
    "cost_adjusted_r2",
    "relative_cost",
    "relative_examples",
    "regret",
    "best_recovered",
    "n_pairs",
    "n_missing",
]
# A share of undefined bootstrap samples above which the interval's note says so.
UNDEFINED_SHARE = 0.05
# Proxies below which a cubic mostly follows its own points.
FEW_PROXIES = 8


@dataclass(frozen=True)
class QualityOptions:
    """How quality is measured; see the contract's section 5.

    Attributes:
        cost_basis: `train_seconds`, `examples_seen` or `train_flops`.
        cost_curve: `fitted` or `published`.
        good: which configurations Spearman looks at.
        bootstrap: samples for the intervals, 0 for none.
    """

    cost_basis: str = "train_seconds"
    cost_curve: str = "fitted"
    good: Good = field(default_factory=Good)
    bootstrap: int = 1000


@dataclass(frozen=True, eq=False)
class StudyQuality:
    """What a study says of its proxies.

    Attributes:
        strategies: one row per strategy, columns `STRATEGY_COLUMNS`; the target first, then by cost.
        best: one row per strategy, data set and seed, see `best.best_rows`.
        selection: what choosing the strategies' examples costs, see `selection.selection_table`.
        pairs: strategy to its pairs.
        runs: the trainings that count.
        curve: what `cost_adjusted_r2` is the distance to, None where it is undetermined.
        lasso: see `costs.lasso_powers`.
        notes: strategy (or empty) and what has to be said.
    """

    strategies: pd.DataFrame
    best: pd.DataFrame
    selection: pd.DataFrame
    pairs: Mapping[str, Pairs]
    runs: pd.DataFrame
    curve: CostCurve | None
    lasso: dict[int, float] | None
    epochs: int | None
    notes: tuple[tuple[str, str], ...]


def measure_study(
    trainings: pd.DataFrame,
    options: QualityOptions,
    family_of: Callable[[str], str],
    is_synthetic: Callable[[str], bool],
) -> StudyQuality:
    """Computes every measure of a study.

    Args:
        trainings: all trainings of the study, see `tracking.reader.trainings`.
        family_of: a strategy's family by its spelling.
        is_synthetic: whether a strategy trains on synthetic data, which the cost curve is not fitted to.

    Raises:
        UserError: no finished training of the target.
    """
    counted = count_runs(trainings)
    runs = counted.frame
    if not (runs["strategy"] == TARGET).any():
        found = ", ".join(sorted(runs["strategy"].unique())) or "nothing finished"
        raise UserError(
            f"the study has no finished training of the target (strategy {TARGET}), only {found}: run "
            f"sweep with strategies={TARGET},… in this study first"
        )
    notes = [("", note) for note in counted.notes]
    pairs = {name: make_pairs(runs, name) for name in runs["strategy"].unique()}
    rows, best = [], []
    for name, matched in pairs.items():
        chosen = best_rows(matched, name)
        best.append(chosen)
        row, reasons = _measure(name, matched, options)
        row |= {
            "family": family_of(name),
            "regret": averaged(chosen, "regret"),
            "best_recovered": averaged(chosen, "recovered"),
        }
        if np.isnan(row["regret"]):
            why = "configurations tie for the proxy's first place" if len(chosen) else "there is no pair"
            reasons.append(f"regret and best_recovered are empty: {why}.")
        rows.append(row)
        notes += [(name, reason) for reason in reasons]
    table = pd.DataFrame(rows)
    synthetic = table["strategy"].map(is_synthetic).to_numpy(dtype=bool)
    cost, quality = table["relative_cost"].to_numpy(), table["r2"].to_numpy()
    curve, reason = _choose_curve(cost[~synthetic], quality[~synthetic], options)
    if reason:
        notes.append(("", reason))
    table["cost_adjusted_r2"] = np.nan if curve is None else quality - curve(cost)
    table["_order"] = (table["strategy"] != TARGET).astype(int)
    table = table.sort_values(["_order", "relative_cost", "strategy"], kind="stable", ascending=[True, False, True])
    ordered = {name: pairs[name] for name in table["strategy"]}
    selection = selection_table(ordered, options.cost_basis)
    return StudyQuality(
        strategies=table[STRATEGY_COLUMNS].reset_index(drop=True),
        best=pd.concat(best, ignore_index=True),
        selection=selection,
        pairs=ordered,
        runs=runs,
        curve=curve,
        lasso=lasso_powers(cost[~synthetic], quality[~synthetic]),
        epochs=counted.epochs,
        notes=tuple(notes),
    )


def _choose_curve(cost: Floats, r2: Floats, options: QualityOptions) -> tuple[CostCurve | None, str]:
    """The cost curve over strategies that are not synthetic, and what has to be said of it."""
    if options.cost_curve == "published":
        return PUBLISHED_CURVE, ""
    curve = fit_curve(cost, r2)
    advice = "cost_curve=published uses the published one."
    if curve is None:
        return None, f"cost_adjusted_r2 is empty: the curve needs at least 3 proxies of different cost; {advice}"
    # The target is on the curve by construction, so it is no evidence for it.
    proxies = int((np.isfinite(cost) & np.isfinite(r2)).sum()) - 1
    if proxies >= FEW_PROXIES:
        return curve, ""
    return curve, (
        f"the cost curve has 3 free coefficients and is fitted to {proxies} proxies: cost_adjusted_r2 is rough; "
        f"{advice}"
    )


def _measure(name: str, pairs: Pairs, options: QualityOptions) -> tuple[dict[str, Any], list[str]]:
    """r2, Spearman, their intervals and the costs of one strategy, and the reasons for empty cells."""
    frame = pairs.frame
    reasons: list[str] = []
    row: dict[str, Any] = {
        "strategy": name,
        "n_pairs": len(frame),
        "n_missing": pairs.n_missing,
        "relative_cost": _ratio(frame, options.cost_basis),
        "relative_examples": _ratio(frame, "examples_seen"),
    }
    x, y = pairs.proxy[None], pairs.target[None]
    measures: dict[str, Callable[[Floats, Floats], Floats]] = {
        "r2": lambda x, y: r2(x, y, pairs.strata),
        "spearman": lambda x, y: spearman(x, y, pairs.strata, options.good),
    }
    columns = (
        resample(pairs.strata, options.bootstrap, generator(0, "bootstrap", name))
        if options.bootstrap and len(frame) >= MIN_PAIRS
        else None
    )
    for measure, formula in measures.items():
        value = float(formula(x, y)[0]) if len(frame) else float("nan")
        low = high = float("nan")
        if np.isnan(value):
            reasons.append(f"{measure} is empty: {_why_undefined(measure, pairs, options)}")
        elif columns is not None:
            values = formula(x[0][columns], y[0][columns])
            low, high = interval(values)
            undefined = float(np.isnan(values).mean())
            if undefined > UNDEFINED_SHARE:
                reasons.append(
                    f"{measure}: {undefined:.0%} of the bootstrap samples leave it undefined, so its interval is rough."
                )
        row |= {measure: value, f"{measure}_low": low, f"{measure}_high": high}
    if len(frame) and float(slope(x, y, pairs.strata)[0]) < 0:
        reasons.append(
            "the correlation is negative: what is better on the proxy is worse on the target, whatever r2 says."
        )
    for column, cost in (("relative_cost", options.cost_basis), ("relative_examples", "examples_seen")):
        if np.isnan(row[column]):
            why = f"some of the runs have no {cost}" if len(frame) else "there is no pair"
            reasons.append(f"{column} is empty: {why}.")
    return row, reasons


def _ratio(frame: pd.DataFrame, cost: str) -> float:
    proxy = frame[f"{cost}_proxy"].sum(min_count=len(frame) or 1)
    target = frame[f"{cost}_target"].sum(min_count=len(frame) or 1)
    return float(proxy / target) if target else float("nan")


def _why_undefined(measure: str, pairs: Pairs, options: QualityOptions) -> str:
    if len(pairs.frame) < MIN_PAIRS:
        return f"{len(pairs.frame)} pair(s), and it takes at least {MIN_PAIRS}."
    for name, group in pairs.frame.groupby("dataset"):
        for side in ("proxy", "target"):
            if group[f"accuracy_{side}"].nunique() < 2:
                return f"the {side} accuracies on {name} are all the same, so they rank nothing."
    good = int(options.good.mask(pairs.proxy[None], pairs.strata).sum())
    if measure == "spearman" and good < MIN_PAIRS:
        return f"{good} good configuration(s), and it takes at least {MIN_PAIRS}."
    return "the good configurations tie on one side, so they rank nothing."
