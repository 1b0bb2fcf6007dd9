"""The noise ceiling: how well the target predicts itself, as a proxy would that is as noisy and otherwise perfect.

A proxy whose accuracies are less noisy than the target's may lie above it.

Where a study has several seeds, each target run is set against the next seed's. Where it has one, the noise of a
validation set of so many images is simulated. The latter is an upper bound on the noise that matters: a proxy is judged
by the same images, so part of the noise is common to both sides.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from proxyflow.quality.best import PERCENT
from proxyflow.quality.bootstrap import Draws, Estimate, percentile
from proxyflow.quality.measures import Accuracies, Floats, Good, expected_regret, r2, slope, spearman
from proxyflow.quality.pairs import Pairs, positions
from proxyflow.seeds import generator

CEILING_COLUMNS = ["source", "measure", "value", "low", "high", "n"]
SEEDS, SEED_MEANS, VALIDATION = "seeds", "seed_means", "validation"
REPEATS = 200


def noise_ceiling(target: pd.DataFrame, good: Good, draws: Draws | None) -> pd.DataFrame:
    """What r2 and Spearman the target has with itself, and what its first choice loses.

    Args:
        target: the target's runs: `dataset`, `config`, `cluster`, `seed`, `best_valid_accuracy`, and `n_valid` where it
            is known.
        draws: bootstrap samples, None for no intervals.

    Returns:
        Columns `CEILING_COLUMNS`. `source` is one of

        - `seeds`: the target under another seed, `n` pairs of runs; seeds that lack configurations weigh by the pairs
          that they have; also `expected_regret` in points, of the best configuration under one seed by another;
        - `seed_means`: the target's mean over its seeds against that over as many others, from the former by the
          formula of Spearman and Brown (1910), r2 alone;
        - `validation`: two draws of the validation images, simulated; `n` runs, the interval is that of one draw.
    """
    rows = [*_under_other_seeds(target, good, draws), *_of_means(target, draws), *_under_other_images(target, good)]
    return pd.DataFrame(rows, columns=CEILING_COLUMNS)


def other_seed_pairs(target: pd.DataFrame) -> list[Pairs]:
    """The target as a proxy of itself: each seed's runs against those of the next seed, the last against the first."""
    seeds = sorted(target["seed"].unique())
    side = target[["dataset", "config", "cluster", "seed", "best_valid_accuracy"]]
    found = []
    for seed, other in zip(seeds, [*seeds[1:], *seeds[:1]], strict=True):
        if seed == other:
            continue
        left, right = (side[side["seed"] == which].drop(columns="seed") for which in (seed, other))
        both = left.merge(right, on=["dataset", "config", "cluster"], suffixes=("_proxy", "_target"))
        both.columns = both.columns.str.replace("best_valid_accuracy", "accuracy")
        found.append(Pairs(both.assign(seed=seed).sort_values(["dataset", "config"], ignore_index=True), 0))
    return [pairs for pairs in found if len(pairs.frame)]


def _under_other_seeds(target: pd.DataFrame, good: Good, draws: Draws | None) -> list[dict[str, object]]:
    rows = []
    for name in ("r2", "spearman", "expected_regret"):
        told, values = [], []
        for each in other_seed_pairs(target):
            value = float(_measured(name, each.accuracies, np.ones((1, len(each.frame))), good)[0])
            # A seed that has only begun tells nothing yet, and takes nothing from what the others tell.
            if np.isfinite(value):
                told.append(each)
                values.append(value)
        if not told:
            continue
        sizes = [len(each.frame) for each in told]
        estimate = Estimate(float(np.average(values, weights=sizes)))
        if draws is not None:
            samples = [_measured(name, each.accuracies, draws.of(each.frame), good) for each in told]
            estimate = Estimate(estimate.value, *percentile(np.average(samples, axis=0, weights=sizes)))
        rows.append(_row(SEEDS, name, estimate, sum(sizes)))
    return rows


def _of_means(target: pd.DataFrame, draws: Draws | None) -> list[dict[str, object]]:
    """What r2 the mean over so many seeds has with that over as many others.

    Data sets differ in how much of their differences is noise, so the formula is applied to each by itself.
    """
    slopes, spread, sizes = [], [], []
    for _, runs in target.groupby("dataset", sort=True):
        found = [_slopes(each, draws) for each in other_seed_pairs(runs)]
        told = [each for each in found if np.isfinite(each[0])]
        if not told:
            continue
        seeds = float(runs.groupby("config")["seed"].nunique().mean())
        slopes.append(_stepped_up(np.mean([value for value, _ in told]), seeds))
        spread.append(_stepped_up(np.mean([samples for _, samples in told], axis=0), seeds))
        sizes.append(len(runs))
    if not slopes:
        return []
    estimate = Estimate(float(np.average(slopes, weights=sizes) ** 2))
    if draws is not None:
        estimate = Estimate(estimate.value, *percentile(np.average(spread, axis=0, weights=sizes) ** 2))
    return [_row(SEED_MEANS, "r2", estimate, sum(sizes))]


def _slopes(pairs: Pairs, draws: Draws | None) -> tuple[float, Floats]:
    """The correlation of two seeds, and that of each bootstrap sample."""
    weights = np.zeros((0, len(pairs.frame))) if draws is None else draws.of(pairs.frame)
    return float(slope(pairs.accuracies, np.ones((1, len(pairs.frame))))[0]), slope(pairs.accuracies, weights)


def _stepped_up(correlation: Floats | np.floating, seeds: float) -> Floats:
    """The correlation of two means over so many seeds, from that of two single ones.

    One below 0 is that of noise alone, and leaves nothing to be predicted.
    """
    single = np.maximum(correlation, 0)
    return np.asarray(seeds * single / (1 + (seeds - 1) * single))


def _under_other_images(target: pd.DataFrame, good: Good) -> list[dict[str, object]]:
    """Two measurements of the same configurations on as many images each, from their accuracies without the noise."""
    known = target[target["n_valid"].fillna(0) > 0] if "n_valid" in target else target.iloc[:0]
    if known.empty:
        return []
    images = known["n_valid"].to_numpy(dtype=np.int64)
    observed = known["best_valid_accuracy"].to_numpy(dtype=np.float64)
    strata, contests = positions(known, ["dataset"]), positions(known, ["dataset", "seed"])
    truth = np.empty(len(observed))
    for rows in strata:
        truth[rows] = _without_noise(observed[rows], images[rows])
    rng = generator(0, "ceiling")
    values: dict[str, list[float]] = {"r2": [], "spearman": []}
    for _ in range(REPEATS):
        first, second = rng.binomial(images, truth) / images, rng.binomial(images, truth) / images
        sample = Accuracies(first, second, strata, contests)
        for name, found in values.items():
            found.append(float(_measured(name, sample, np.ones((1, len(first))), good)[0]))
    rows_of = []
    for name, found in values.items():
        defined = np.array(found)[np.isfinite(found)]
        if len(defined) > REPEATS / 2:
            rows_of.append(_row(VALIDATION, name, Estimate(float(defined.mean()), *percentile(defined)), len(known)))
    return rows_of


def _without_noise(observed: Floats, images: np.ndarray) -> Floats:
    """Accuracies shrunk towards their mean, to the spread that is left without binomial noise."""
    spread, noise = observed.var(), float(np.mean(observed * (1 - observed) / images))
    share = max(0.0, 1 - noise / spread) if spread > 0 else 0.0
    return np.asarray(np.clip(observed.mean() + np.sqrt(share) * (observed - observed.mean()), 0, 1))


def _measured(name: str, pairs: Accuracies, weights: Floats, good: Good) -> Floats:
    if name == "expected_regret":
        return PERCENT * expected_regret(pairs, weights)
    return r2(pairs, weights) if name == "r2" else spearman(pairs, weights, good)


def _row(source: str, measure: str, estimate: Estimate, n: int) -> dict[str, object]:
    values = (source, measure, estimate.value, estimate.low, estimate.high, n)
    return dict(zip(CEILING_COLUMNS, values, strict=True))
