"""The noise ceiling: how well the target predicts itself, which is what an otherwise perfect proxy can reach.

A proxy as noisy as the target explains no more of it than another run of the target does; a proxy without noise
explains more. Both limits are given.

Where a study has several seeds, each target run is compared with those of every other seed. Seeds share the validation
examples, so this does not include their noise. Where the metric is a share, the noise of a validation set of that size
is also simulated. That is an upper bound on the noise that matters: a proxy is validated on the same examples, so part
of the noise is common to both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from proxyflow.core.seeds import generator
from proxyflow.quality.bootstrap import Draws, Estimate, percentile, squared, stretched_correlation
from proxyflow.quality.measures import Floats, Values, r2, slope, spearman
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import positions
from proxyflow.quality.runs import TARGET
from proxyflow.quality.seeds import ACROSS_SEEDS, MEASURED_ACROSS_SEEDS, OF_MEANS, across_seeds
from proxyflow.quality.strategy_measures import MEASURES, StrategyMeasures, measure

CEILING_COLUMNS = ["source", "measure", "value", "low", "high", "n"]
GAP_COLUMNS = ["strategy", "measure", "value", "ceiling", "difference", "low", "high", "n_pairs"]
SEEDS, SEED_MEANS, VALIDATION = "seeds", "seed_means", "validation"
NOISE_FREE, NOISE_FREE_MEANS = "noise_free", "noise_free_means"
REPEATS = 200
# Measure of a proxy to the ceiling that it is compared with.
CEILING_OF = {
    f"r2{ACROSS_SEEDS}": (SEEDS, "r2"),
    f"spearman{ACROSS_SEEDS}": (SEEDS, "spearman"),
    f"r2{OF_MEANS}": (SEED_MEANS, "r2"),
}


@dataclass(frozen=True, eq=False)
class Ceiling:
    """The noise ceiling of a study.

    Attributes:
        table: columns `CEILING_COLUMNS`.
        samples: source and measure to `(samples,) float64`, on the same draws as every strategy's; none without a
            bootstrap.
    """

    table: pd.DataFrame
    samples: Mapping[tuple[str, str], Floats]


def noise_ceiling(target: pd.DataFrame, draws: Draws | None, options: QualityOptions) -> Ceiling:
    """The measures of the target with itself, and what its first choice loses.

    Args:
        target: the target's runs: `dataset`, `config`, `cluster`, `seed`, `value`, `objective`, and `n_valid` where it
            is known.
        draws: bootstrap samples, None for no intervals.

    Returns:
        The ceiling. `source` is one of

        - `seeds`: an equally noisy proxy, which is the target under other seeds, `n` pairs of runs; also
          `expected_regret` in points, of the best configuration under one seed by another;
        - `noise_free`: a proxy without noise, by the correction for attenuation (Spearman 1904), r2 alone;
        - `seed_means`, `noise_free_means`: the same of the target's mean over its seeds, by the formula of Spearman and
          Brown (1910), r2 alone;
        - `validation`: two draws of the validation examples, simulated, for shares alone; `n` runs, the interval is
          that of one draw.
    """
    other = measure(across_seeds(target, TARGET), draws, options, MEASURED_ACROSS_SEEDS)
    n = len(other.pairs.frame)
    rows = [_row(SEEDS, name, estimate, n) for name, estimate in other.estimates.items() if np.isfinite(estimate.value)]
    samples = {(SEEDS, name): other.signed(name)[1] for name in other.samples}
    for source, estimate, values in _of_reliability(target, draws):
        rows.append(_row(source, "r2", estimate, len(target) if source != NOISE_FREE else n))
        samples[source, "r2"] = values
    if options.objective.metric.share:
        rows += _under_other_examples(target, options)
    order = [SEEDS, NOISE_FREE, SEED_MEANS, NOISE_FREE_MEANS, VALIDATION]
    table = pd.DataFrame(rows, columns=CEILING_COLUMNS)
    return Ceiling(table.sort_values("source", key=lambda each: each.map(order.index), kind="stable"), samples)


def _of_reliability(target: pd.DataFrame, draws: Draws | None) -> Iterator[tuple[str, Estimate, Floats]]:
    """The limits that follow from how well two seeds of the target agree.

    Data sets differ in how much of their differences is noise, so the formulas are applied to each by itself.
    """
    found: dict[str, list[tuple[float, Floats]]] = {NOISE_FREE: [], SEED_MEANS: [], NOISE_FREE_MEANS: []}
    sizes = []
    for _, runs in target.groupby("dataset", sort=True):
        pairs = across_seeds(runs, TARGET)
        single = float(slope(pairs.values, np.ones((1, len(pairs.frame))))[0])
        if not np.isfinite(single):
            continue
        weights = np.zeros((0, len(pairs.frame))) if draws is None else draws.of(pairs.frame)
        sampled = slope(pairs.values, weights)
        seeds = float(runs.groupby("config")["seed"].nunique().mean())
        for source, of in (
            (NOISE_FREE, lambda r: np.sqrt(np.maximum(r, 0))),
            (SEED_MEANS, lambda r, seeds=seeds: _stepped_up(r, seeds)),
            (NOISE_FREE_MEANS, lambda r, seeds=seeds: np.sqrt(_stepped_up(r, seeds))),
        ):
            found[source].append((float(of(np.array(single))), of(sampled)))
        sizes.append(len(runs))
    for source, each in found.items():
        if each:
            value = float(np.average([value for value, _ in each], weights=sizes))
            values = np.average([values for _, values in each], axis=0, weights=sizes)
            ends = squared(*stretched_correlation(values, value)) if draws is not None else ()
            yield source, Estimate(value**2, *ends), values**2


def _stepped_up(correlation: Floats | np.floating, seeds: float) -> Floats:
    """The correlation of two means over so many seeds, from that of two single ones.

    A correlation below 0 is noise alone and counts as 0.
    """
    single = np.maximum(correlation, 0)
    return np.asarray(seeds * single / (1 + (seeds - 1) * single))


def ceiling_gaps(
    ceiling: Ceiling, across: Mapping[str, StrategyMeasures], means: Mapping[str, StrategyMeasures]
) -> pd.DataFrame:
    """How far each proxy is below an equally noisy copy of the target, on the same bootstrap draws.

    Args:
        across: strategy to its measures over pairs of different seeds.
        means: strategy to its measures over means over seeds.

    Returns:
        Columns `GAP_COLUMNS`, of proxies that lack no pair; `difference` is the proxy's value minus the ceiling. An r2
        whose correlation is negative counts as negative.
    """
    known = {(row["source"], row["measure"]): float(row["value"]) for row in ceiling.table.to_dict("records")}
    everything = {OF_MEANS: means.get(TARGET), ACROSS_SEEDS: across.get(TARGET)}
    rows = []
    for suffix, by_strategy in ((ACROSS_SEEDS, across), (OF_MEANS, means)):
        for name, each in by_strategy.items():
            # The ceiling is that of all pairs, so a proxy that lacks some is not comparable.
            whole = everything[suffix]
            if whole is None or not each.pairs.keys.equals(whole.pairs.keys):
                continue
            for measure_name, estimate in each.estimates.items():
                source = CEILING_OF.get(f"{measure_name}{suffix}")
                if name == TARGET or source not in known or not np.isfinite(estimate.value):
                    continue
                value, sampled = each.signed(measure_name)
                difference, ends = sampled - ceiling.samples.get(source, np.zeros(0)), (np.nan, np.nan)
                if len(sampled):
                    ends = MEASURES[measure_name].difference(difference, value - known[source])
                n = len(each.pairs.frame)
                rows.append((name, f"{measure_name}{suffix}", value, known[source], value - known[source], *ends, n))
    return pd.DataFrame(rows, columns=GAP_COLUMNS)


def _under_other_examples(target: pd.DataFrame, options: QualityOptions) -> list[dict[str, object]]:
    """Two measurements of the same configurations on as many examples each, from their shares without the noise."""
    known = target[target["n_valid"].fillna(0) > 0] if "n_valid" in target else target.iloc[:0]
    if known.empty:
        return []
    examples = known["n_valid"].to_numpy(dtype=np.int64)
    observed = known["objective"].to_numpy(dtype=np.float64)
    strata, contests = positions(known, ["dataset"]), positions(known, ["dataset", "seed"])
    truth = np.empty(len(observed))
    for rows in strata:
        truth[rows] = _without_noise(observed[rows], examples[rows])
    rng = generator(0, "ceiling")
    values: dict[str, list[float]] = {"r2": [], "spearman": []}
    for _ in range(REPEATS):
        first, second = rng.binomial(examples, truth) / examples, rng.binomial(examples, truth) / examples
        sign = options.objective.metric.sign
        sample = Values(sign * first, sign * second, strata, contests)
        ones = np.ones((1, len(first)))
        values["r2"].append(float(r2(sample, ones)[0]))
        values["spearman"].append(float(spearman(sample, ones, options.good)[0]))
    rows_of = []
    for name, found in values.items():
        defined = np.array(found)[np.isfinite(found)]
        if len(defined) > REPEATS / 2:
            rows_of.append(_row(VALIDATION, name, Estimate(float(defined.mean()), *percentile(defined)), len(known)))
    return rows_of


def _without_noise(observed: Floats, examples: np.ndarray) -> Floats:
    """Shares shrunk towards their mean, to the spread that is left without binomial noise."""
    spread, noise = observed.var(), float(np.mean(observed * (1 - observed) / examples))
    share = max(0.0, 1 - noise / spread) if spread > 0 else 0.0
    return np.asarray(np.clip(observed.mean() + np.sqrt(share) * (observed - observed.mean()), 0, 1))


def _row(source: str, measure: str, estimate: Estimate, n: int) -> dict[str, object]:
    values = (source, measure, *estimate.cells, n)
    return dict(zip(CEILING_COLUMNS, values, strict=True))
