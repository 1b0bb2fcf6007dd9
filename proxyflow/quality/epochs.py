"""What is known of a training's end after n epochs (Shleifer & Prokop 2019, section 4 and figure 4)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from proxyflow.quality.bootstrap import Draws, Estimate, percentile
from proxyflow.quality.measures import Accuracies, Floats, slope
from proxyflow.quality.pairs import positions

EPOCH_COLUMNS = [
    "epoch",
    "correlation",
    "correlation_low",
    "correlation_high",
    "chance",
    "chance_low",
    "chance_high",
    "n_runs",
    "n_comparisons",
]


def epoch_table(target: pd.DataFrame, curves: pd.DataFrame, draws: Draws | None) -> pd.DataFrame:
    """Per epoch: the correlation of accuracy then with the best at the end, and the chance that who is ahead stays so.

    Args:
        target: the target's runs: `run_id`, `dataset`, `config`, `cluster`, `seed`, `best_valid_accuracy`.
        curves: `run_id`, `epoch`, `valid_accuracy`; runs without a curve, and epochs that a diverged run did not
            reach or whose accuracy is no number, are left out.
        draws: bootstrap samples, None for no intervals.

    Returns:
        Columns `EPOCH_COLUMNS`. `correlation` is pooled on accuracies normalised within each data set; `chance` is
        over pairs of runs with different configurations of one data set that differ in the end (`n_comparisons`),
        those that tie after n epochs counted half.
    """
    # An accuracy that is no number, as one run logs it, would leave the whole epoch without one.
    joined = curves.dropna(subset="valid_accuracy").merge(
        target[["run_id", "dataset", "config", "cluster", "seed", "best_valid_accuracy"]], on="run_id"
    )
    rows = []
    for epoch, frame in joined.sort_values(["dataset", "config", "seed"]).groupby("epoch", sort=True):
        now, end = (frame[name].to_numpy(dtype=np.float64) for name in ("valid_accuracy", "best_valid_accuracy"))
        frame = frame.reset_index(drop=True)
        strata = positions(frame, ["dataset"])
        pairs = Accuracies(now, end, strata, strata)
        different = [_different(frame["config"].to_numpy()[part]) for part in strata]
        ones = np.ones((1, len(frame)))
        weights = None if draws is None else draws.of(frame)
        correlation = _estimate(float(slope(pairs, ones)[0]), None if weights is None else slope(pairs, weights))
        chance, comparisons = _chance(pairs, different, ones)
        samples = None if weights is None else _chance(pairs, different, weights)[0]
        ahead = _estimate(float(chance[0]), samples)
        values = (epoch, *_triple(correlation), *_triple(ahead), len(frame), int(comparisons[0]))
        rows.append(dict(zip(EPOCH_COLUMNS, values, strict=True)))
    return pd.DataFrame(rows, columns=EPOCH_COLUMNS)


def _different(configs: np.ndarray) -> Floats:
    return np.asarray(np.triu(configs[:, None] != configs, k=1), dtype=np.float64)


def _chance(pairs: Accuracies, different: list[Floats], weights: Floats) -> tuple[Floats, Floats]:
    """The chance and how many comparisons it is over, both `(samples,)`."""
    agreement, count = np.zeros(len(weights)), np.zeros(len(weights))
    for rows, counted in zip(pairs.strata, different, strict=True):
        w = weights[:, rows]
        x, y = (np.sign(side[rows][:, None] - side[rows]) for side in (pairs.proxy, pairs.target))
        agreement += np.einsum("sp,sp->s", w @ (counted * x * y), w)
        count += np.einsum("sp,sp->s", w @ (counted * np.abs(y)), w)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (1 + agreement / count) / 2, count


def _estimate(value: float, samples: Floats | None) -> Estimate:
    if samples is None or not np.isfinite(value):
        return Estimate(value)
    return Estimate(value, *percentile(samples))


def _triple(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high
