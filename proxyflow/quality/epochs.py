"""How well n epochs predict a training's result (Shleifer & Prokop 2019, section 4 and figure 4)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from proxyflow.quality.bootstrap import Draws, Estimate, percentile
from proxyflow.quality.measures import Floats, Values, slope
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
    """Per epoch: the correlation of the value then with the result, and the chance that the better run stays better.

    Args:
        target: the target's runs: `run_id`, `dataset`, `config`, `cluster`, `seed`, `value`.
        curves: `run_id`, `epoch`, `value`; runs without a curve, and epochs that a diverged run did not reach or
            whose value is no number, are left out.
        draws: bootstrap samples, None for no intervals.

    Returns:
        Columns `EPOCH_COLUMNS`. `correlation` is pooled on values normalised within each data set; `chance` is
        over pairs of runs with different configurations of one data set that differ in the end (`n_comparisons`),
        those that tie after n epochs counted half.
    """
    # One run's missing value would make the whole epoch undefined.
    results = target[["run_id", "dataset", "config", "cluster", "seed", "value"]].rename(columns={"value": "result"})
    joined = curves.dropna(subset="value").merge(results, on="run_id")
    rows = []
    for epoch, frame in joined.sort_values(["dataset", "config", "seed"]).groupby("epoch", sort=True):
        now, end = (frame[name].to_numpy(dtype=np.float64) for name in ("value", "result"))
        frame = frame.reset_index(drop=True)
        strata = positions(frame, ["dataset"])
        pairs = Values(now, end, strata, strata)
        different = [_different(frame["config"].to_numpy()[part]) for part in strata]
        ones = np.ones((1, len(frame)))
        weights = None if draws is None else draws.of(frame)
        correlation = _estimate(float(slope(pairs, ones)[0]), None if weights is None else slope(pairs, weights))
        chance, comparisons = _chance(pairs, different, ones)
        samples = None if weights is None else _chance(pairs, different, weights)[0]
        ahead = _estimate(float(chance[0]), samples)
        values = (epoch, *correlation.cells, *ahead.cells, len(frame), int(comparisons[0]))
        rows.append(dict(zip(EPOCH_COLUMNS, values, strict=True)))
    return pd.DataFrame(rows, columns=EPOCH_COLUMNS)


def _different(configs: np.ndarray) -> Floats:
    return np.asarray(np.triu(configs[:, None] != configs, k=1), dtype=np.float64)


def _chance(pairs: Values, different: list[Floats], weights: Floats) -> tuple[Floats, Floats]:
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
