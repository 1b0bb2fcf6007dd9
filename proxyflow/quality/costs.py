"""Quality against cost: the cubic that quality is expected to follow, and how far a strategy is above it.

Shleifer & Prokop 2019, section 3.2: r2 = b0 + b1 c + b2 c^2 + b3 c^3 with c the relative cost, and the residual
is the cost-adjusted r2. The curve goes through (1, 1), since the target explains itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DEGREE = 3
# Highest power that the check by LassoCV may use.
CHECK_DEGREE = 6


@dataclass(frozen=True)
class CostCurve:
    """b0 + b1 c + b2 c^2 + b3 c^3.

    Attributes:
        coefficients: b0 to b3.
        name: where it comes from.
    """

    coefficients: tuple[float, ...]
    name: str

    def __call__(self, cost: Floats) -> Floats:
        return np.asarray(np.polynomial.polynomial.polyval(cost, self.coefficients))

    @property
    def formula(self) -> str:
        """The curve as text."""
        b0, b1, b2, b3 = self.coefficients
        return f"r2 = {b0:.5f} {b1:+.5f} c {b2:+.5f} c^2 {b3:+.5f} c^3"


# Recovered from the published table, whose residuals and costs are given.
PUBLISHED_CURVE = CostCurve((0.21326, 2.83951, -3.89379, 1.84161), "published")


def fit_curve(cost: Floats, r2: Floats) -> CostCurve | None:
    """Least squares over the strategies under the constraint that c = 1 gives r2 = 1.

    Args:
        cost, r2: `(strategies,)`, synthetic data left out; rows with nan are ignored.

    Returns:
        The curve, or None where fewer than three costs besides 1 leave it undetermined.
    """
    known = np.isfinite(cost) & np.isfinite(r2)
    cost, r2 = cost[known], r2[known]
    # With b0 = 1 - b1 - b2 - b3 the constraint is part of the model: r2 - 1 = sum of b_k (c^k - 1).
    design = np.stack([cost**power - 1 for power in range(1, DEGREE + 1)], axis=1)
    if len(np.unique(cost[cost != 1])) < DEGREE:
        return None
    b, _, rank, _ = np.linalg.lstsq(design, r2 - 1, rcond=None)
    if rank < DEGREE:
        return None
    return CostCurve((float(1 - b.sum()), *map(float, b)), "fitted")


def curve_for(cost: Floats, r2: Floats, which: str) -> CostCurve | None:
    """The curve that `cost_curve=which` asks for: `published`, or `fitted` to these strategies."""
    return PUBLISHED_CURVE if which == "published" else fit_curve(cost, r2)


def distances(cost: Floats, r2: Floats, synthetic: NDArray[np.bool_], which: str) -> Floats:
    """r2 less the curve, the curve fitted to each sample anew.

    Args:
        cost, r2: `(samples, strategies)`, nan where undefined. The target need not be among them: it is on the curve.
        synthetic: `(strategies,)`, which ones the curve is not fitted to.

    Returns:
        `(samples, strategies)`, nan in samples that leave the curve undetermined.
    """
    if which == "published":
        return np.asarray(r2 - PUBLISHED_CURVE(cost))
    known = np.isfinite(cost) & np.isfinite(r2) & ~synthetic
    powers = np.stack([cost**power - 1 for power in range(1, DEGREE + 1)], axis=2)
    design, wanted = np.where(known[..., None], powers, 0), np.where(known, r2 - 1, 0)
    squares = design.swapaxes(1, 2) @ design
    # Of a sample that has too few costs the matrix has no inverse; its own tolerance says so.
    determined = np.linalg.matrix_rank(squares, hermitian=True) == DEGREE
    squares[~determined] = np.eye(DEGREE)
    b = np.linalg.solve(squares, (design.swapaxes(1, 2) @ wanted[..., None]))
    result = r2 - 1 - (powers @ b)[..., 0]
    return np.where(determined[:, None], result, np.nan)


def lasso_powers(cost: Floats, r2: Floats) -> dict[int, float] | None:
    """Coefficients that LassoCV leaves to the powers of cost up to 6: the check that three terms suffice.

    Returns:
        Power to coefficient on standardised terms, 0 where dropped; None with fewer than 10 strategies.
    """
    known = np.isfinite(cost) & np.isfinite(r2)
    if known.sum() < 10:
        return None
    from sklearn.linear_model import LassoCV  # imports sklearn
    from sklearn.preprocessing import StandardScaler

    powers = np.stack([cost[known] ** power for power in range(1, CHECK_DEGREE + 1)], axis=1)
    model = LassoCV(cv=5, max_iter=200_000, random_state=0)
    model.fit(StandardScaler().fit_transform(powers), r2[known])
    return {power: float(b) for power, b in enumerate(model.coef_, start=1)}
