"""All measures of all strategies of a study, with the notes that say why a cell is empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from proxyflow.quality.best import BEST_COLUMNS, BestConfigurations, averaged, best_configurations, best_rows
from proxyflow.quality.bootstrap import Estimate, draw, numbered, percentile
from proxyflow.quality.ceiling import noise_ceiling
from proxyflow.quality.comparisons import compare_strategies
from proxyflow.quality.costs import CostCurve, curve_for, distances, lasso_powers
from proxyflow.quality.epochs import EPOCH_COLUMNS, epoch_table
from proxyflow.quality.hyperparameters import hyperparameter_table
from proxyflow.quality.measured import MEASURE_COLUMNS, MEASURES, Measured, measure, measure_rows, relative_cost
from proxyflow.quality.measures import MIN_PAIRS, Floats
from proxyflow.quality.options import QualityOptions, Vocabulary
from proxyflow.quality.pairs import Pairs, make_pairs
from proxyflow.quality.robustness import robustness_table
from proxyflow.quality.runs import TARGET, count_runs
from proxyflow.quality.seeds import MEASURED_OF_MEANS, OF_MEANS, over_seeds, several
from proxyflow.quality.selection import selection_table
from proxyflow.quality.transfer import measure_parts
from proxyflow.quality.verdict import Verdict, judge

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
CURVE_OF = ("relative_cost", "r2")
NO_TARGET = f"no training of the target (strategy {TARGET}) is finished, so there is nothing to compare with yet."


@dataclass(frozen=True, eq=False)
class StudyQuality:
    """What a study says of its proxies.

    Attributes:
        strategies: one row per strategy, columns `STRATEGY_COLUMNS`; the target first, then by cost.
        measures: one row per strategy and measure with its interval, see `measured.MEASURES`, and `cost_adjusted_r2`;
            with several seeds also those over means, whose names end in `seeds.OF_MEANS`.
        means: strategy to its measures over means over seeds, where it has several.
        best: one row per strategy, data set and seed, see `best.best_rows`.
        best_configurations: the published table 1, see `best.best_configurations`.
        selection: what choosing the strategies' examples costs, see `selection.selection_table`.
        ceiling: see `ceiling.noise_ceiling`.
        parts, transfer: see `transfer.measure_parts`.
        curves: see `epochs.epoch_table`; empty where no curve was given.
        hyperparameters: see `hyperparameters.hyperparameter_table`.
        comparisons: see `comparisons.compare_strategies`.
        robustness: see `robustness.robustness_table`.
        verdict: the whole in plain words.
        pairs: strategy to its pairs.
        runs: the trainings that count.
        curve: what `cost_adjusted_r2` is the distance to, None where it is undetermined.
        lasso: see `costs.lasso_powers`.
        epochs: the study's full epoch count, None where no target run states one.
        notes: strategy (or empty) and what has to be said.
    """

    strategies: pd.DataFrame
    measures: pd.DataFrame
    means: Mapping[str, Measured]
    best: pd.DataFrame
    best_configurations: BestConfigurations
    selection: pd.DataFrame
    ceiling: pd.DataFrame
    parts: pd.DataFrame
    transfer: pd.DataFrame
    curves: pd.DataFrame
    hyperparameters: pd.DataFrame
    comparisons: pd.DataFrame
    robustness: pd.DataFrame
    verdict: Verdict
    pairs: Mapping[str, Pairs]
    runs: pd.DataFrame
    curve: CostCurve | None
    lasso: dict[int, float] | None
    epochs: int | None
    notes: tuple[tuple[str, str], ...]


def measure_study(
    trainings: pd.DataFrame,
    options: QualityOptions,
    vocabulary: Vocabulary,
    curves: pd.DataFrame | None = None,
) -> StudyQuality:
    """Computes every measure of a study. What cannot be told of it yet is empty, with a note; nothing is an error.

    Args:
        trainings: all trainings of the study, see `tracking.reader.trainings`.
        curves: accuracies of the target's runs after each epoch: `run_id`, `epoch`, `valid_accuracy`.
    """
    counted = count_runs(trainings)
    runs = numbered(counted.frame)
    target = runs[runs["strategy"] == TARGET]
    draws = draw(runs, options.bootstrap) if options.bootstrap and len(target) else None
    measured = {name: measure(make_pairs(runs, name), draws, options) for name in sorted(runs["strategy"].unique())}
    best = [best_rows(each.pairs, name, vocabulary) for name, each in measured.items()]
    table = _strategy_table(measured, best, vocabulary)
    synthetic = table["strategy"].map(vocabulary.is_synthetic).to_numpy(dtype=bool)
    curve, rough = _choose_curve(table[~synthetic], options)
    if curve is not None:
        table["cost_adjusted_r2"] = table["r2"] - curve(table["relative_cost"].to_numpy(dtype=np.float64))
    adjusted = _adjusted(measured, table, synthetic, options)
    order = table.assign(proxy=table["strategy"] != TARGET).sort_values(
        ["proxy", "relative_cost", "strategy"], kind="stable", ascending=[True, False, True]
    )
    ordered = {name: measured[name] for name in order["strategy"]}
    means = {
        name: measure(over_seeds(each.pairs), draws, options, MEASURED_OF_MEANS)
        for name, each in ordered.items()
        if several(each.pairs)
    }
    pairs = {name: each.pairs for name, each in ordered.items()}
    selection = selection_table(pairs, options.cost_basis)
    ceiling = noise_ceiling(target, options.good, draws)
    parts, transfer = measure_parts(pairs, draws, options, vocabulary)
    notes = [
        *counted.notes,
        *_unequal_seeds(target),
        *([NO_TARGET] if target.empty else []),
        *([rough] if rough and len(table) else []),
    ]
    return StudyQuality(
        strategies=table.loc[order.index].reset_index(drop=True),
        measures=_measure_table(ordered, adjusted, means),
        means=means,
        best=_concat(best, BEST_COLUMNS),
        best_configurations=best_configurations(target, vocabulary),
        selection=selection,
        ceiling=ceiling,
        parts=parts,
        transfer=transfer,
        curves=pd.DataFrame(columns=EPOCH_COLUMNS) if curves is None else epoch_table(target, curves, draws),
        hyperparameters=hyperparameter_table({name: each for name, each in pairs.items() if name != TARGET}, draws),
        comparisons=compare_strategies(ordered, draws, options),
        robustness=robustness_table(ordered, draws, options),
        verdict=judge(ordered, ceiling, selection, options),
        pairs=pairs,
        runs=runs,
        curve=curve,
        lasso=lasso_powers(*(table.loc[~synthetic, name].to_numpy(dtype=np.float64) for name in CURVE_OF)),
        epochs=counted.epochs,
        notes=tuple(
            [("", note) for note in notes]
            + [(name, reason) for name, each in measured.items() for reason in _reasons(each, options)]
        ),
    )


def _unequal_seeds(target: pd.DataFrame) -> list[str]:
    """A note where some configurations of the target have fewer seeds than others."""
    counts = target.groupby(["dataset", "config"])["seed"].nunique()
    if counts.nunique() < 2:
        return []
    return [
        f"the target's configurations have {counts.min()} to {counts.max()} seeds each: means over fewer seeds are "
        "noisier, so measures of means are rough until all have the same."
    ]


def _strategy_table(measured: Mapping[str, Measured], best: list[pd.DataFrame], vocabulary: Vocabulary) -> pd.DataFrame:
    """The table of strategies, but for the cost adjustment, which needs all of them."""
    rows = [_row(name, each, chosen, vocabulary) for (name, each), chosen in zip(measured.items(), best, strict=True)]
    return pd.DataFrame(rows, columns=STRATEGY_COLUMNS).astype(dict.fromkeys(STRATEGY_COLUMNS[2:-2], np.float64))


def _measure_table(
    measured: Mapping[str, Measured], adjusted: Mapping[str, dict[str, Estimate]], means: Mapping[str, Measured]
) -> pd.DataFrame:
    rows = []
    for name, each in measured.items():
        rows.append(measure_rows(name, {**each.estimates, **adjusted[name]}, len(each.pairs.frame)))
        if name in means:
            of_means = {f"{key}{OF_MEANS}": estimate for key, estimate in means[name].estimates.items()}
            rows.append(measure_rows(name, of_means, len(means[name].pairs.frame)))
    return _concat(rows, MEASURE_COLUMNS)


def _concat(frames: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _row(name: str, measured: Measured, best: pd.DataFrame, vocabulary: Vocabulary) -> dict[str, object]:
    """A strategy's row of the table."""
    estimates, frame = measured.estimates, measured.pairs.frame
    examples = relative_cost(measured.pairs, np.ones((1, len(frame))), "examples_seen")
    row: dict[str, object] = {"strategy": name, "family": vocabulary.family_of(name)}
    for measure_name in ("r2", "spearman"):
        each = estimates[measure_name]
        row |= {measure_name: each.value, f"{measure_name}_low": each.low, f"{measure_name}_high": each.high}
    return row | {
        "cost_adjusted_r2": np.nan,
        "relative_cost": estimates["relative_cost"].value,
        "relative_examples": float(examples[0]),
        "regret": averaged(best, "regret"),
        "best_recovered": averaged(best, "recovered"),
        "n_pairs": len(frame),
        "n_missing": measured.pairs.n_missing,
    }


def _choose_curve(table: pd.DataFrame, options: QualityOptions) -> tuple[CostCurve | None, str]:
    """The cost curve over strategies that are not synthetic, and what has to be said of it."""
    cost, r2 = (table[name].to_numpy(dtype=np.float64) for name in CURVE_OF)
    curve = curve_for(cost, r2, options.cost_curve)
    advice = "cost_curve=published uses the published one."
    if curve is None:
        return None, f"cost_adjusted_r2 is empty: the curve needs at least 3 proxies of different cost; {advice}"
    # The target is on the curve by construction, so it is no evidence for it.
    proxies = int((np.isfinite(cost) & np.isfinite(r2) & (table["strategy"] != TARGET)).sum())
    if options.cost_curve == "published" or proxies >= FEW_PROXIES:
        return curve, ""
    return curve, (
        f"the cost curve has 3 free coefficients and is fitted to {proxies} proxies: cost_adjusted_r2 is rough; "
        f"{advice}"
    )


def _adjusted(
    measured: Mapping[str, Measured], table: pd.DataFrame, synthetic: np.ndarray, options: QualityOptions
) -> dict[str, dict[str, Estimate]]:
    """The cost adjustment of each strategy with its interval, the curve being fitted to each bootstrap sample."""
    values = dict(zip(table["strategy"], table["cost_adjusted_r2"], strict=True))
    sampled = next((len(each.samples["r2"]) for each in measured.values() if "r2" in each.samples), 0)
    spread = np.full((sampled, len(measured)), np.nan)
    if sampled:
        cost, r2 = (_stacked(measured, name, sampled) for name in CURVE_OF)
        spread = distances(cost, r2, synthetic, options.cost_curve)
    found = {}
    for column, name in enumerate(measured):
        value = float(values[name])
        ends = percentile(spread[:, column]) if np.isfinite(value) else (np.nan, np.nan)
        found[name] = {"cost_adjusted_r2": Estimate(value, *ends)}
    return found


def _stacked(measured: Mapping[str, Measured], name: str, sampled: int) -> Floats:
    blank = np.full(sampled, np.nan)
    return np.stack([MEASURES[name].value(each.samples.get(name, blank)) for each in measured.values()], axis=1)


def _reasons(measured: Measured, options: QualityOptions) -> list[str]:
    """Why cells of a strategy are empty, or not what they seem."""
    estimates, frame = measured.estimates, measured.pairs.frame
    reasons = []
    for name in ("r2", "spearman"):
        if np.isnan(estimates[name].value):
            reasons.append(f"{name} is empty: {_why_undefined(name, measured.pairs, options)}")
        elif estimates[name].undefined > UNDEFINED_SHARE:
            reasons.append(
                f"{name}: {estimates[name].undefined:.0%} of the bootstrap samples leave it undefined, so its interval "
                "is rough."
            )
    slope = MEASURES["r2"].formula(measured.pairs, np.ones((1, len(frame))), options)[0] if len(frame) else np.nan
    if slope < 0:
        reasons.append(
            "the correlation is negative: what is better on the proxy is worse on the target, whatever r2 says."
        )
    for column, cost in (("relative_cost", options.cost_basis), ("relative_examples", "examples_seen")):
        if not len(frame):
            reasons.append(f"{column} is empty: there is no pair.")
        elif np.isnan(relative_cost(measured.pairs, np.ones((1, len(frame))), cost)[0]):
            reasons.append(f"{column} is empty: some of the runs have no {cost}.")
    if np.isnan(estimates["regret"].value):
        why = "configurations tie for the proxy's first place" if len(frame) else "there is no pair"
        reasons.append(f"regret and best_recovered are empty: {why}.")
    return reasons


def _why_undefined(name: str, pairs: Pairs, options: QualityOptions) -> str:
    if len(pairs.frame) < MIN_PAIRS:
        return f"{len(pairs.frame)} pair(s), and it takes at least {MIN_PAIRS}."
    for dataset, group in pairs.frame.groupby("dataset"):
        for side in ("proxy", "target"):
            if group[f"accuracy_{side}"].nunique() < 2:
                return f"the {side} accuracies on {dataset} are all the same, so they rank nothing."
    accuracies = pairs.accuracies
    good = int(options.good.mask(accuracies.proxy, accuracies.strata, np.ones((1, len(accuracies)))).sum())
    if name == "spearman" and good < MIN_PAIRS:
        return f"{good} good configuration(s), and it takes at least {MIN_PAIRS}."
    return "the good configurations tie on one side, so they rank nothing."
