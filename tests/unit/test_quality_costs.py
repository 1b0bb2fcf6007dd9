"""The cost-adjusted r2 is a distance to this curve, so a curve that is off shifts every strategy's verdict."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from proxyflow.quality.costs import PUBLISHED_CURVE, CostCurve, distances, fit_curve, lasso_powers

COSTS = np.array([0.05, 0.1, 0.13, 0.25, 0.3, 0.5, 0.55, 0.7, 0.8, 1.0])


def noisy_quality(seed: int = 0) -> np.ndarray:
    return 1 - (1 - COSTS) ** 2 + 0.1 * np.random.default_rng(seed).normal(size=len(COSTS)) * (COSTS < 1)


def fitted(cost: np.ndarray, r2: np.ndarray) -> CostCurve:
    curve = fit_curve(cost, r2)
    assert curve is not None
    return curve


def test_the_published_curve_is_that_of_the_contract() -> None:
    assert PUBLISHED_CURVE.coefficients == (0.21326, 2.83951, -3.89379, 1.84161)
    assert PUBLISHED_CURVE(np.array([0.0, 0.5])) == pytest.approx(
        [0.21326, 0.21326 + 2.83951 / 2 - 3.89379 / 4 + 1.84161 / 8], abs=1e-12
    )


def test_a_curve_is_evaluated_by_powers_and_written_as_text() -> None:
    curve = CostCurve((1.0, -2.0, 3.0, -4.0), "mine")
    assert curve(np.array([0.0, 1.0, 2.0])).tolist() == [1.0, -2.0, -23.0]
    assert curve.formula == "r2 = 1.00000 -2.00000 c +3.00000 c^2 -4.00000 c^3"


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_is_the_least_squares_under_the_constraint(seed: int) -> None:
    r2 = noisy_quality(seed)
    # A general optimiser with the constraint stated as such is the independent computation.
    powers = COSTS[:, None] ** np.arange(4)
    found = minimize(
        lambda b: ((powers @ b - r2) ** 2).sum(),
        np.zeros(4),
        constraints={"type": "eq", "fun": lambda b: b.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    curve = fitted(COSTS, r2)
    assert curve.name == "fitted"
    residual = ((curve(COSTS) - r2) ** 2).sum()
    assert residual <= found.fun + 1e-12
    np.testing.assert_allclose(curve(COSTS), powers @ found.x, atol=1e-4)


@given(st.lists(st.tuples(st.integers(1, 99), st.floats(0, 1)), min_size=3, max_size=12, unique_by=lambda p: p[0]))
def test_whatever_the_points_the_curve_goes_through_the_target(points: list[tuple[int, float]]) -> None:
    cost = np.array([cost / 100 for cost, _ in points])
    curve = fitted(cost, np.array([value for _, value in points]))
    assert float(curve(np.ones(1))[0]) == pytest.approx(1, abs=1e-7)


def test_the_target_itself_adds_nothing_to_the_fit() -> None:
    r2 = noisy_quality()
    with_target, without = fitted(COSTS, np.append(r2[:-1], 1.0)), fitted(COSTS[:-1], r2[:-1])
    np.testing.assert_allclose(with_target.coefficients, without.coefficients, atol=1e-9)


def test_the_order_of_the_strategies_does_not_matter() -> None:
    r2, order = noisy_quality(), np.random.default_rng(0).permutation(len(COSTS))
    np.testing.assert_allclose(fitted(COSTS[order], r2[order]).coefficients, fitted(COSTS, r2).coefficients, atol=1e-9)


def test_strategies_without_cost_or_quality_are_left_out() -> None:
    r2 = noisy_quality()
    cost = np.concatenate([COSTS, [0.4, np.nan, np.nan]])
    more = np.concatenate([r2, [np.nan, 0.9, np.nan]])
    assert fitted(cost, more).coefficients == fitted(COSTS, r2).coefficients


@pytest.mark.parametrize(
    "cost",
    [
        [],
        [1.0],
        [0.1, 0.5],
        [0.1, 0.5, 1.0],
        [0.1, 0.1, 0.5, 0.5, 1.0],
        [np.nan, 0.1, 0.5, 1.0],
    ],
)
def test_fewer_than_three_costs_besides_the_targets_leave_the_curve_undetermined(cost: list[float]) -> None:
    assert fit_curve(np.array(cost), np.linspace(0.2, 1, len(cost))) is None


def test_three_costs_are_enough() -> None:
    curve = fitted(np.array([0.1, 0.5, 0.7]), np.array([0.3, 0.8, 0.9]))
    np.testing.assert_allclose(curve(np.array([0.1, 0.5, 0.7, 1.0])), [0.3, 0.8, 0.9, 1.0], atol=1e-9)


def test_lasso_needs_ten_strategies_and_gives_six_powers() -> None:
    rng = np.random.default_rng(0)
    cost = np.linspace(0.05, 1, 24)
    r2 = 0.2 + 0.8 * cost + 0.01 * rng.normal(size=24)
    assert lasso_powers(cost[:9], r2[:9]) is None
    assert lasso_powers(np.append(cost[:9], np.nan), r2[:10]) is None
    found = lasso_powers(cost, r2)
    assert found is not None
    assert list(found) == [1, 2, 3, 4, 5, 6]
    assert lasso_powers(cost, r2) == found


def test_lasso_drops_powers_that_quality_does_not_need() -> None:
    cost = np.linspace(0.05, 1, 24)
    found = lasso_powers(cost, 0.2 + 0.8 * cost + 0.01 * np.random.default_rng(0).normal(size=24))
    assert found is not None
    assert found[1] > 0.1
    assert sum(abs(found[power]) < 1e-3 for power in range(4, 7)) >= 2


@pytest.mark.parametrize("seed", range(3))
def test_distances_are_the_residuals_of_the_curve_fitted_to_each_sample(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost = np.abs(COSTS * (1 + 0.02 * rng.normal(size=(40, len(COSTS)))))
    r2 = np.clip(noisy_quality(seed) + 0.05 * rng.normal(size=cost.shape), 0, 1)
    r2[3, 2] = cost[4, 5] = np.nan
    synthetic = np.arange(len(COSTS)) == 1
    found = distances(cost, r2, synthetic, "fitted")
    for sample in range(len(cost)):
        curve = fitted(cost[sample, ~synthetic], r2[sample, ~synthetic])
        expected = r2[sample] - curve(cost[sample])
        np.testing.assert_allclose(found[sample], expected, atol=1e-8)
    assert np.isnan(found[3, 2])
    assert np.isnan(found[4, 5])
    assert np.isfinite(found[:, 1]).all(), "synthetic data have their distance"


def test_distances_to_the_published_curve_need_no_fit() -> None:
    cost, r2 = np.array([[0.1, np.nan], [0.5, 1.0]]), np.array([[0.4, 0.3], [np.nan, 1.0]])
    found = distances(cost, r2, np.zeros(2, dtype=bool), "published")
    assert found[0, 0] == pytest.approx(0.4 - float(PUBLISHED_CURVE(np.array(0.1))))
    assert np.isnan(found[0, 1])
    assert np.isnan(found[1, 0])
    assert found[1, 1] == pytest.approx(1 - sum(PUBLISHED_CURVE.coefficients))


def test_samples_that_leave_the_curve_undetermined_have_no_distances() -> None:
    cost = np.array([[0.1, 0.5, 0.7, 1.0], [0.1, 0.1, 0.7, 1.0], [0.1, 0.5, np.nan, 1.0]])
    r2 = np.array([[0.3, 0.8, 0.9, 1.0]] * 3)
    found = distances(cost, r2, np.zeros(4, dtype=bool), "fitted")
    np.testing.assert_allclose(found[0], 0, atol=1e-9)
    assert np.isnan(found[1:]).all()


def test_no_samples_have_no_distances() -> None:
    assert distances(np.empty((0, 4)), np.empty((0, 4)), np.zeros(4, dtype=bool), "fitted").shape == (0, 4)
