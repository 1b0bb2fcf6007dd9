"""For which hyperparameters a proxy is reliable: effects of changing one of them, on the proxy and on the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proxyflow.quality.bootstrap import Draws, Estimate, percentile
from proxyflow.quality.configurations import ABSENT, Configurations
from proxyflow.quality.measures import MIN_PAIRS, Floats, Strata
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
# Where fewer of the bootstrap samples define a value, there is no interval.
DEFINED_SHARE = 0.5

# The positions of two pairs whose configurations are compared, a list each.
Compared = tuple[NDArray[np.int64], NDArray[np.int64]]


def hyperparameter_table(
    pairs: Mapping[str, Pairs], draws: Draws | None, configurations: Configurations
) -> pd.DataFrame:
    """Per strategy and hyperparameter: do proxy and target agree on configurations that differ in it alone?

    Compared are any two configurations of one data set and seed that differ in one of the hyperparameters that both
    have. An effect is the difference of their values, in units of the values' standard deviation on that data set and
    side.

    Returns:
        Columns `HYPERPARAMETER_COLUMNS`. `r2` is the share of the target's effects (their mean square) that the
        proxy's explain by a regression without intercept, which does not depend on which of two is subtracted; missing
        below 3 comparisons. `sign_agreement` is the share of the comparisons that differ on the target whose better
        side is the same on the proxy, ties on the proxy counted half. `n_comparisons` are those that differ on the
        target.
    """
    rows = []
    for strategy, each in pairs.items():
        names, codes = configurations.coded(each.frame["config"])
        compared: dict[int, list[Compared]] = {}
        for contest in each.values.contests:
            for column, (left, right) in _differing_alone(codes[contest]):
                compared.setdefault(column, []).append((contest[left], contest[right]))
        for column, name in enumerate(names):
            row = _row(each, compared.get(column, []), draws)
            if row is not None:
                rows.append({"strategy": strategy, "hyperparameter": name, **row})
    return pd.DataFrame(rows, columns=HYPERPARAMETER_COLUMNS)


def _differing_alone(codes: NDArray[np.int64]) -> Iterator[tuple[int, Compared]]:
    """For each hyperparameter, the rows that differ in it alone.

    Args:
        codes: `(configurations, hyperparameters)`, see `Configurations.coded`.
    """
    count = np.zeros((len(codes), len(codes)), dtype=np.int32)
    which = np.zeros_like(count)
    for number, column in enumerate(codes.T):
        known = column != ABSENT
        differs = (column[:, None] != column) & known[:, None] & known
        count += differs
        which += number * differs
    left, right = np.nonzero(np.triu(count == 1))
    of_column = which[left, right]
    for number in np.unique(of_column):
        yield int(number), (left[of_column == number], right[of_column == number])


def _row(pairs: Pairs, compared: list[Compared], draws: Draws | None) -> dict[str, float] | None:
    r2, agreement, count = _compare(pairs, compared, np.ones((1, len(pairs.frame))))
    if not count[0]:
        return None
    estimates = {"r2": Estimate(float(r2[0])), "sign_agreement": Estimate(float(agreement[0]))}
    if draws is not None:
        *samples, _ = _compare(pairs, compared, draws.of(pairs.frame))
        for (name, estimate), values in zip(estimates.items(), samples, strict=True):
            if np.isfinite(estimate.value) and np.isfinite(values).mean() >= DEFINED_SHARE:
                estimates[name] = Estimate(estimate.value, *percentile(values))
    row: dict[str, float] = {"n_comparisons": int(count[0])}
    for name, estimate in estimates.items():
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row


def _compare(pairs: Pairs, compared: list[Compared], weights: Floats) -> tuple[Floats, Floats, Floats]:
    """r2 and sign agreement of the effects of one hyperparameter, and how many comparisons there are."""
    both, square_x, square_y, agree, count = (np.zeros(len(weights)) for _ in range(5))
    values = pairs.values
    sides = [(side, _spread(side, values.strata)) for side in (values.proxy, values.target)]
    for left, right in compared:
        # One hyperparameter has few comparisons, so a list of them is smaller than a matrix.
        w = weights[:, left] * weights[:, right]
        x, y = ((side[left] - side[right]) / spread[left] for side, spread in sides)
        both += w @ (x * y)
        square_x += w @ (x * x)
        square_y += w @ (y * y)
        agree += w @ (np.sign(x) * np.sign(y))
        count += w @ np.abs(np.sign(y))
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = np.where(count >= MIN_PAIRS, np.minimum(both**2 / (square_x * square_y), 1), np.nan)
        return r2, (1 + agree / count) / 2, count


def _spread(values: Floats, strata: Strata) -> Floats:
    """The standard deviation of the values of each one's data set, 1 where all are the same."""
    spread = np.ones(len(values))
    for rows in strata:
        spread[rows] = values[rows].std() or 1.0
    return spread
