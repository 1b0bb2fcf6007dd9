"""For which hyperparameters a proxy's answers hold: effects of one change alone, on the proxy and on the target."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from proxyflow.quality.bootstrap import Draws, Estimate, percentile
from proxyflow.quality.measures import MIN_PAIRS, Floats
from proxyflow.quality.pairs import Pairs

HYPERPARAMETER_COLUMNS = [
    "strategy",
    "hyperparameter",
    "r2",
    "r2_low",
    "r2_high",
    "sign_agreement",
    "sign_agreement_low",
    "sign_agreement_high",
    "n_comparisons",
]
DEFAULT = "default"
# An interval from fewer of the bootstrap samples would be of those that happened to be drawn.
DEFINED_SHARE = 0.5


def differences_of(config: str) -> dict[str, str]:
    """What a configuration's name says: hyperparameter to value, those at their default absent.

    Example:
        >>> differences_of("arch=xresnet18,lr=0.01")
        {'arch': 'xresnet18', 'lr': '0.01'}
    """
    return dict(part.split("=", 1) for part in config.split(",") if "=" in part)


def _is_told(config: str) -> bool:
    return config == DEFAULT or all("=" in part for part in config.split(","))


def hyperparameter_table(pairs: Mapping[str, Pairs], draws: Draws | None) -> pd.DataFrame:
    """Per strategy and hyperparameter: do comparisons of two configurations that differ in it alone come out alike?

    Compared are any two configurations of one data set and seed whose names differ in one hyperparameter;
    names that are no list of differences are left out. An effect is
    the difference of their accuracies, in units of the accuracies' standard deviation on that data set and side.

    Returns:
        Columns `HYPERPARAMETER_COLUMNS`. `r2` is the share of the target's effects (their mean square) that the
        proxy's explain by a regression without intercept, which does not depend on which of two is subtracted; missing
        below 3 comparisons. `sign_agreement` is the share of the comparisons that differ on the target whose better
        side is the same on the proxy, ties on the proxy counted half. `n_comparisons` are those that differ on the
        target.
    """
    rows = []
    for strategy, each in pairs.items():
        # A name that says nothing is not the default's, as which it would be taken.
        matched = each.where(each.frame["config"].map(_is_told).to_numpy(dtype=bool))
        frame = matched.frame
        told = pd.DataFrame([differences_of(config) for config in frame["config"]], index=frame.index).fillna("")
        names = told.columns
        codes = np.stack([pd.factorize(told[name])[0] for name in names], axis=1) if len(names) else np.zeros((0, 0))
        for column, name in enumerate(names):
            row = _row(matched, codes, column, draws)
            if row is not None:
                rows.append({"strategy": strategy, "hyperparameter": name, **row})
    return pd.DataFrame(rows, columns=HYPERPARAMETER_COLUMNS)


def _row(pairs: Pairs, codes: np.ndarray, column: int, draws: Draws | None) -> dict[str, float] | None:
    ones = np.ones((1, len(codes)))
    r2, agreement, count = _compare(pairs, codes, column, ones)
    if not count[0]:
        return None
    estimates = {"r2": Estimate(float(r2[0])), "sign_agreement": Estimate(float(agreement[0]))}
    if draws is not None:
        *samples, _ = _compare(pairs, codes, column, draws.of(pairs.frame))
        for (name, estimate), values in zip(estimates.items(), samples, strict=True):
            if np.isfinite(estimate.value) and np.isfinite(values).mean() >= DEFINED_SHARE:
                estimates[name] = Estimate(estimate.value, *percentile(values))
    row: dict[str, float] = {"n_comparisons": int(count[0])}
    for name, estimate in estimates.items():
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row


def _compare(pairs: Pairs, codes: np.ndarray, column: int, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """r2 and sign agreement of the effects of one hyperparameter, and how many comparisons there are."""
    both, square_x, square_y, agree, count = (np.zeros(len(weights)) for _ in range(5))
    accuracies = pairs.accuracies
    scale = [np.ones(len(accuracies)), np.ones(len(accuracies))]
    for side, values in zip(scale, (accuracies.proxy, accuracies.target), strict=True):
        for rows in accuracies.strata:
            side[rows] = values[rows].std() or 1.0
    for rows in accuracies.contests:
        part = codes[rows]
        alone = (part[:, None] != part).sum(axis=2) == 1
        alone = np.triu(alone & (part[:, None, column] != part[None, :, column]))
        left, right = np.nonzero(alone)
        if not len(left):
            continue
        # Few comparisons are of one hyperparameter, so a list of them is smaller than a matrix.
        w = weights[:, rows[left]] * weights[:, rows[right]]
        x, y = (
            (values[rows[left]] - values[rows[right]]) / spread[rows[0]]
            for values, spread in zip((accuracies.proxy, accuracies.target), scale, strict=True)
        )
        both += w @ (x * y)
        square_x += w @ (x * x)
        square_y += w @ (y * y)
        agree += w @ (np.sign(x) * np.sign(y))
        count += w @ np.abs(np.sign(y))
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = np.where(count >= MIN_PAIRS, both**2 / (square_x * square_y), np.nan)
        return r2, (1 + agree / count) / 2, count
