"""A fit that cannot find the curve that made the data would misjudge every strategy by the same error."""

from __future__ import annotations

import numpy as np
import pytest

from proxyflow.quality.costs import fit_curve

# Each sums to 1, so that the curve goes through the target at (1, 1).
KNOWN = [
    (0.21326, 2.83951, -3.89379, 1.84102),
    (0.0, 1.0, 0.0, 0.0),
    (0.1, 2.0, -1.8, 0.7),
    (1.0, 0.0, 0.0, 0.0),
    (-0.5, 4.0, -4.0, 1.5),
]
PUBLISHED_COSTS = np.array([0.045, 0.0514, 0.1007, 0.1284, 0.2698, 0.2998, 0.515, 0.5568, 0.728, 0.8137, 1.0])


@pytest.mark.parametrize("coefficients", KNOWN)
@pytest.mark.parametrize(
    "cost",
    [PUBLISHED_COSTS, np.linspace(0.01, 1, 30), np.array([0.1, 0.5, 0.8]), np.array([0.2, 0.4, 1.0, 1.3])],
    ids=["published costs", "even costs", "three costs", "dearer than the target"],
)
def test_the_cubic_that_made_the_data_is_found_again(coefficients: tuple[float, ...], cost: np.ndarray) -> None:
    assert sum(coefficients) == pytest.approx(1, abs=1e-12)
    r2 = sum(b * cost**power for power, b in enumerate(coefficients))
    curve = fit_curve(cost, np.asarray(r2))
    assert curve is not None
    np.testing.assert_allclose(curve.coefficients, coefficients, rtol=0, atol=1e-9)
