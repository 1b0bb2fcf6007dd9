"""All measures of all strategies of a study, with notes that explain empty cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from proxyflow.quality.best import BEST_COLUMNS, BestConfigurations, best_configurations, best_rows, mean_over_datasets
from proxyflow.quality.bootstrap import Draws, Estimate, draw, number_configurations, percentile
from proxyflow.quality.ceiling import ceiling_gaps, noise_ceiling
from proxyflow.quality.comparisons import compare_strategies
from proxyflow.quality.configurations import Configurations
from proxyflow.quality.cost_basis import CostBasis, choose_cost_basis, cost_notes
from proxyflow.quality.costs import CostCurve, curve_for, distances, lasso_powers
from proxyflow.quality.epochs import EPOCH_COLUMNS, epoch_table
from proxyflow.quality.hyperparameters import hyperparameter_table
from proxyflow.quality.influence import influence_table
from proxyflow.quality.measures import Floats
from proxyflow.quality.notes import strategy_notes, study_notes
from proxyflow.quality.objective import Objective
from proxyflow.quality.options import Families, QualityOptions
from proxyflow.quality.pairs import Pairs, make_pairs
from proxyflow.quality.policies import Replay, replay
from proxyflow.quality.ranked import MEASURED_RANKED, RANKED, Ranked, measure_ranked, ranked_notes
from proxyflow.quality.robustness import robustness_table
from proxyflow.quality.runs import TARGET, select_runs
from proxyflow.quality.seeds import (
    ACROSS_SEEDS,
    MEASURED_ACROSS_SEEDS,
    MEASURED_OF_MEANS,
    OF_MEANS,
    across_seeds,
    has_several_seeds,
    mean_over_seeds,
)
from proxyflow.quality.selection import selection_table
from proxyflow.quality.steps import median_steps, with_steps
from proxyflow.quality.strategy_measures import (
    MEASURE_COLUMNS,
    MEASURES,
    StrategyMeasures,
    measure,
    measure_rows,
    relative_cost,
)
from proxyflow.quality.transfer import measure_parts
from proxyflow.quality.validation_noise import validation_noise
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
    "spearman_all",
    "spearman_all_low",
    "spearman_all_high",
    "cost_adjusted_r2",
    "relative_cost",
    "steps",
    "relative_examples",
    "regret",
    "best_recovered",
    "n_pairs",
    "n_missing",
    "n_unranked",
    *(f"{name}{RANKED}{end}" for name in MEASURED_RANKED for end in ("", "_low", "_high")),
]
# Those that hold no whole numbers and no text.
FLOAT_COLUMNS = [name for name in STRATEGY_COLUMNS[2:] if not name.startswith("n_")]
# Proxies below which a cubic mostly follows its own points.
FEW_PROXIES = 8
CURVE_OF = ("relative_cost", "r2")


@dataclass(frozen=True, eq=False)
class StudyQuality:
    """How good the proxies of a study are.

    Attributes:
        strategies: one row per strategy, columns `STRATEGY_COLUMNS`; the target first, then by cost.
        measures: one row per strategy and measure with its interval, see `strategy_measures.MEASURES`, and
            `cost_adjusted_r2`; with several seeds also those over means, whose names end in `seeds.OF_MEANS`, and those
            over pairs of different seeds, whose names end in `seeds.ACROSS_SEEDS`; where there are configurations that
            the strategy cannot rank also those without them, whose names end in `ranked.RANKED`.
        means: strategy to its measures over means over seeds, where it has several.
        across: strategy to its measures over pairs of different seeds, where it has several.
        ranked: strategy to what it cannot rank, and its measures without that.
        steps: strategy to the median optimizer steps of its trainings, nan where they are not known.
        best: one row per strategy, data set and seed, see `best.best_rows`.
        best_configurations: the published table 1, see `best.best_configurations`.
        selection: what choosing the strategies' examples costs, see `selection.selection_table`.
        ceiling: see `ceiling.noise_ceiling`.
        ceiling_gaps: see `ceiling.ceiling_gaps`.
        influence: see `influence.influence_table`.
        policies: every policy replayed on the study.
        noise: see `validation_noise.validation_noise`.
        parts, transfer: see `transfer.measure_parts`.
        curves: see `epochs.epoch_table`; empty where no curve was given.
        hyperparameters: see `hyperparameters.hyperparameter_table`.
        comparisons: see `comparisons.compare_strategies`.
        robustness: see `robustness.robustness_table`.
        verdict: the conclusion in sentences.
        pairs: strategy to its pairs.
        runs: the trainings that count.
        objective: what they are compared by.
        configurations: theirs.
        cost: what relative cost counts, and why.
        curve: what `cost_adjusted_r2` is the distance to, None where it is undetermined.
        lasso: see `costs.lasso_powers`.
        epochs: the study's full epoch count, None where no target run states one.
        notes: strategy (or empty) and a sentence.
    """

    strategies: pd.DataFrame
    measures: pd.DataFrame
    means: Mapping[str, StrategyMeasures]
    across: Mapping[str, StrategyMeasures]
    ranked: Mapping[str, Ranked]
    steps: Mapping[str, float]
    best: pd.DataFrame
    best_configurations: BestConfigurations
    selection: pd.DataFrame
    ceiling: pd.DataFrame
    ceiling_gaps: pd.DataFrame
    influence: pd.DataFrame
    policies: Replay
    noise: pd.DataFrame
    parts: pd.DataFrame
    transfer: pd.DataFrame
    curves: pd.DataFrame
    hyperparameters: pd.DataFrame
    comparisons: pd.DataFrame
    robustness: pd.DataFrame
    verdict: Verdict
    pairs: Mapping[str, Pairs]
    runs: pd.DataFrame
    objective: Objective
    configurations: Configurations
    cost: CostBasis
    curve: CostCurve | None
    lasso: dict[int, float] | None
    epochs: int | None
    notes: tuple[tuple[str, str], ...]


def measure_study(
    trainings: pd.DataFrame,
    options: QualityOptions,
    families: Families,
    curves: pd.DataFrame | None = None,
) -> StudyQuality:
    """Computes every measure of a study. A measure that is not defined yet is empty, with a note; nothing is an error.

    Args:
        trainings: all trainings of the study, see `tracking.queries.reader.trainings`.
        curves: the metric after each epoch: `run_id`, `epoch`, `objective`; those of the target's runs are used.
    """
    selected = select_runs(trainings)
    cost = choose_cost_basis(selected.frame, options.cost_basis)
    runs, objective = number_configurations(selected.frame), selected.objective
    target = runs[runs["strategy"] == TARGET]
    options = replace(
        options,
        cost_basis=cost.basis,
        objective=objective,
        good=objective.good(options.good),
        tolerance=objective.tolerated(target, options.tolerance),
    )
    configurations = Configurations.of(runs)
    draws = draw(runs, options.bootstrap) if options.bootstrap and len(target) else None
    measured = {name: measure(make_pairs(runs, name), draws, options) for name in sorted(runs["strategy"].unique())}
    best = [best_rows(each.pairs, name, configurations.default, objective) for name, each in measured.items()]
    ranked = {name: measure_ranked(each, draws, options) for name, each in measured.items()}
    steps = median_steps(runs, families.is_synthetic)
    table = _strategy_table(measured, best, ranked, steps, families)
    synthetic = table["strategy"].map(families.is_synthetic).to_numpy(dtype=bool)
    curve, rough = _choose_curve(table[~synthetic], options)
    if curve is not None:
        table["cost_adjusted_r2"] = table["r2"] - curve(table["relative_cost"].to_numpy(dtype=np.float64))
    adjusted = _adjusted(measured, table, synthetic, options)
    order = table.assign(proxy=table["strategy"] != TARGET).sort_values(
        ["proxy", "relative_cost", "strategy"], kind="stable", ascending=[True, False, True]
    )
    ordered = {name: measured[name] for name in order["strategy"]}
    means, across = _over_seeds(ordered, runs, draws, options)
    pairs = {name: each.pairs for name, each in ordered.items()}
    ceiling = noise_ceiling(target, draws, options)
    policies = replace(replay(pairs, target, draws, options), steps=steps)
    noise = validation_noise(target, objective.metric)
    parts, transfer = measure_parts(pairs, draws, options, families)
    return StudyQuality(
        strategies=table.loc[order.index].reset_index(drop=True),
        measures=_measure_table(ordered, adjusted, {OF_MEANS: means, ACROSS_SEEDS: across}, ranked),
        means=means,
        across=across,
        ranked=ranked,
        steps=steps,
        best=_concat(best, BEST_COLUMNS),
        best_configurations=best_configurations(target, configurations),
        selection=with_steps(selection_table(pairs, options.cost_basis), steps),
        ceiling=ceiling.table,
        ceiling_gaps=ceiling_gaps(ceiling, across, means),
        influence=influence_table(ordered, options, {OF_MEANS: means, ACROSS_SEEDS: across}),
        policies=policies,
        noise=noise,
        parts=parts,
        transfer=transfer,
        curves=pd.DataFrame(columns=EPOCH_COLUMNS)
        if curves is None
        else epoch_table(target, curves.assign(value=objective.value_of(curves["objective"])), draws),
        hyperparameters=hyperparameter_table(
            {name: each for name, each in pairs.items() if name != TARGET}, draws, configurations
        ),
        comparisons=with_steps(compare_strategies(ordered, draws, options), steps),
        robustness=with_steps(robustness_table(ordered, draws, options), steps),
        verdict=judge(policies, draws, target, options, ranked),
        pairs=pairs,
        runs=runs,
        objective=objective,
        configurations=configurations,
        cost=cost,
        curve=curve,
        lasso=lasso_powers(*(table.loc[~synthetic, name].to_numpy(dtype=np.float64) for name in CURVE_OF)),
        epochs=selected.epochs,
        notes=(
            *(("", note) for note in selected.notes),
            *(("", note) for note in study_notes(target, noise, objective.metric, rough if len(table) else "")),
            *cost_notes(runs, cost.basis),
            *((name, note) for name, each in ranked.items() for note in ranked_notes(name, each)),
            *((name, reason) for name, each in measured.items() for reason in strategy_notes(name, each, options)),
        ),
    )


def _over_seeds(
    ordered: Mapping[str, StrategyMeasures], runs: pd.DataFrame, draws: Draws | None, options: QualityOptions
) -> tuple[dict[str, StrategyMeasures], dict[str, StrategyMeasures]]:
    """Measures over means of seeds, and over pairs of different seeds, of the strategies that have several."""
    means = {
        name: measure(mean_over_seeds(each.pairs), draws, options, MEASURED_OF_MEANS)
        for name, each in ordered.items()
        if has_several_seeds(each.pairs)
    }
    across = {
        name: measure(found, draws, options, MEASURED_ACROSS_SEEDS)
        for name in ordered
        if len((found := across_seeds(runs, name)).frame)
    }
    return means, across


def _strategy_table(
    measured: Mapping[str, StrategyMeasures],
    best: list[pd.DataFrame],
    ranked: Mapping[str, Ranked],
    steps: Mapping[str, float],
    families: Families,
) -> pd.DataFrame:
    """The table of strategies, but for the cost adjustment, which needs all of them."""
    rows = [
        _row(name, each, chosen, families) | _ranked_cells(ranked[name]) | {"steps": steps[name]}
        for (name, each), chosen in zip(measured.items(), best, strict=True)
    ]
    table = pd.DataFrame(rows, columns=STRATEGY_COLUMNS)
    return table.astype({**dict.fromkeys(FLOAT_COLUMNS, np.float64), "n_unranked": "Int64"})


def _ranked_cells(ranked: Ranked) -> dict[str, object]:
    """The cells on what a strategy cannot rank; empty where that is not known."""
    cells: dict[str, object] = {"n_unranked": pd.NA if ranked.n_unranked is None else ranked.n_unranked}
    for name in MEASURED_RANKED:
        value, low, high = ranked.estimates.get(name, Estimate()).cells
        column = f"{name}{RANKED}"
        cells |= {column: value, f"{column}_low": low, f"{column}_high": high}
    return cells


def _measure_table(
    measured: Mapping[str, StrategyMeasures],
    adjusted: Mapping[str, dict[str, Estimate]],
    suffixed: Mapping[str, Mapping[str, StrategyMeasures]],
    ranked: Mapping[str, Ranked],
) -> pd.DataFrame:
    rows = []
    for name, each in measured.items():
        rows.append(measure_rows(name, {**each.estimates, **adjusted[name]}, len(each.pairs.frame)))
        for suffix, more in suffixed.items():
            if name in more:
                estimates = {f"{key}{suffix}": estimate for key, estimate in more[name].estimates.items()}
                rows.append(measure_rows(name, estimates, len(more[name].pairs.frame)))
        if ranked[name].some:
            without = {f"{key}{RANKED}": estimate for key, estimate in ranked[name].estimates.items()}
            rows.append(measure_rows(name, without, len(each.pairs.frame) - (ranked[name].n_unranked or 0)))
    return _concat(rows, MEASURE_COLUMNS)


def _concat(frames: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _row(name: str, measured: StrategyMeasures, best: pd.DataFrame, families: Families) -> dict[str, object]:
    """A strategy's row of the table."""
    estimates, frame = measured.estimates, measured.pairs.frame
    examples = relative_cost(measured.pairs, np.ones((1, len(frame))), "examples_seen")
    row: dict[str, object] = {"strategy": name, "family": families.family_of(name)}
    for measure_name in ("r2", "spearman", "spearman_all"):
        each = estimates[measure_name]
        row |= {measure_name: each.value, f"{measure_name}_low": each.low, f"{measure_name}_high": each.high}
    return row | {
        "cost_adjusted_r2": np.nan,
        "relative_cost": estimates["relative_cost"].value,
        "relative_examples": float(examples[0]),
        "regret": mean_over_datasets(best, "regret"),
        "best_recovered": mean_over_datasets(best, "recovered"),
        "n_pairs": len(frame),
        "n_missing": measured.pairs.n_missing,
    }


def _choose_curve(table: pd.DataFrame, options: QualityOptions) -> tuple[CostCurve | None, str]:
    """The cost curve over strategies that are not synthetic, and a note on it."""
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
        f"the cost curve has 3 free coefficients and is fitted to {proxies} proxies: cost_adjusted_r2 is imprecise; "
        f"{advice}"
    )


def _adjusted(
    measured: Mapping[str, StrategyMeasures], table: pd.DataFrame, synthetic: np.ndarray, options: QualityOptions
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


def _stacked(measured: Mapping[str, StrategyMeasures], name: str, sampled: int) -> Floats:
    blank = np.full(sampled, np.nan)
    return np.stack([MEASURES[name].value(each.samples.get(name, blank)) for each in measured.values()], axis=1)
