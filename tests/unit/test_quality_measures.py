"""These formulas are the project's claim, so each is held against scipy or a case worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import kendalltau, pearsonr, spearmanr
from sklearn.linear_model import LinearRegression

from proxyflow.quality.measures import (
    Floats,
    Good,
    Values,
    expected_regret,
    kendall,
    r2,
    recovered,
    regret,
    slope,
    spearman,
    top_overlap,
)

ALL = Good(fraction=1.0)


def strata_of(*sizes: int) -> list[np.ndarray]:
    return np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])


def pooled_z(values: Floats, strata: list[np.ndarray]) -> Floats:
    z = np.empty(len(values))
    for rows in strata:
        z[rows] = (values[rows] - np.mean(values[rows])) / np.std(values[rows])
    return z


def only(values: Floats) -> float:
    assert values.shape == (1,)
    return float(values[0])


def paired(x: Sequence[float] | Floats, y: Sequence[float] | Floats, strata: list[np.ndarray] | None = None) -> Values:
    strata = strata or strata_of(len(x))
    return Values(np.asarray(x, dtype=float), np.asarray(y, dtype=float), strata, strata)


def value(formula: Callable[[Values, Floats], Floats], x: Any, y: Any, strata: list[np.ndarray] | None = None) -> float:
    return only(formula(paired(x, y, strata), np.ones((1, len(x)))))


def r2_of(x: Any, y: Any, strata: list[np.ndarray] | None = None) -> float:
    return value(r2, x, y, strata)


def spearman_of(x: Any, y: Any, strata: list[np.ndarray] | None = None, good: Good = ALL) -> float:
    return value(lambda pairs, weights: spearman(pairs, weights, good), x, y, strata)


@pytest.fixture(params=range(5))
def sample(request: pytest.FixtureRequest) -> tuple[Floats, Floats, list[np.ndarray]]:
    """Values of 36 configurations on each of two data sets of different level and spread."""
    rng = np.random.default_rng(request.param)
    y = np.concatenate([0.9 + 0.03 * rng.normal(size=36), 0.6 + 0.1 * rng.normal(size=36)])
    x = 0.7 * y + 0.05 * rng.normal(size=72)
    # Values are multiples of 1 in 500, so they tie now and then.
    return np.rint(500 * x) / 500, np.rint(500 * y) / 500, strata_of(36, 36)


def test_r2_is_scipys_squared_correlation_of_pooled_z_scores(sample: tuple[Floats, Floats, list[np.ndarray]]) -> None:
    x, y, strata = sample
    expected = pearsonr(pooled_z(x, strata), pooled_z(y, strata)).statistic
    assert value(slope, x, y, strata) == pytest.approx(expected, abs=1e-12)
    assert r2_of(x, y, strata) == pytest.approx(expected**2, abs=1e-12)


def test_r2_is_the_variance_that_a_regression_without_intercept_explains(
    sample: tuple[Floats, Floats, list[np.ndarray]],
) -> None:
    x, y, strata = sample
    zx, zy = pooled_z(x, strata), pooled_z(y, strata)
    beta = np.linalg.lstsq(zx[:, None], zy, rcond=None)[0][0]
    explained = 1 - ((zy - beta * zx) ** 2).sum() / (zy**2).sum()
    assert value(slope, x, y, strata) == pytest.approx(beta, abs=1e-12)
    assert r2_of(x, y, strata) == pytest.approx(explained, abs=1e-12)


def test_r2_is_the_score_of_scikit_learns_regression_without_intercept(
    sample: tuple[Floats, Floats, list[np.ndarray]],
) -> None:
    x, y, strata = sample
    zx, zy = pooled_z(x, strata)[:, None], pooled_z(y, strata)
    score = LinearRegression(fit_intercept=False).fit(zx, zy).score(zx, zy)
    assert r2_of(x, y, strata) == pytest.approx(score, abs=1e-12)


def mean_of_scipys(x: Floats, y: Floats, parts: list[np.ndarray]) -> float:
    return float(np.mean([spearmanr(x[rows], y[rows]).statistic for rows in parts]))


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.7, 1.0])
def test_spearman_is_the_mean_of_scipys_over_the_good_of_each_data_set(
    sample: tuple[Floats, Floats, list[np.ndarray]], fraction: float
) -> None:
    x, y, strata = sample
    good = []
    for rows in strata:
        kept = math.ceil(round(fraction * len(rows), 6))
        good.append(rows[x[rows] >= sorted(x[rows], reverse=True)[kept - 1]])
    assert spearman_of(x, y, strata, Good(fraction)) == pytest.approx(mean_of_scipys(x, y, good), abs=1e-12)


def test_spearman_over_a_least_accuracy_is_scipys(sample: tuple[Floats, Floats, list[np.ndarray]]) -> None:
    x, y, strata = sample
    good = [rows[x[rows] >= 0.45] for rows in strata]
    assert all(len(rows) > 3 for rows in good)
    assert any(len(rows) < 36 for rows in good)
    expected = mean_of_scipys(x, y, good)
    assert spearman_of(x, y, strata, Good(threshold=0.45)) == pytest.approx(expected, abs=1e-12)


def test_spearman_ranks_within_each_seed_of_a_data_set() -> None:
    rng = np.random.default_rng(4)
    x, y, contests = rng.random(60), rng.random(60), strata_of(20, 20, 20)
    # The seeds differ in level, which pooled ranks would take for agreement.
    x, y = (side + np.repeat([0, 10, 20], 20) for side in (x, y))
    pairs = Values(x, y, strata_of(60), contests)
    found = only(spearman(pairs, np.ones((1, 60)), ALL))
    assert found == pytest.approx(mean_of_scipys(x, y, contests), abs=1e-12)
    assert abs(found) < 0.5 < spearmanr(x, y).statistic


def test_level_and_spread_of_a_data_set_do_not_change_spearman(
    sample: tuple[Floats, Floats, list[np.ndarray]],
) -> None:
    x, y, strata = sample
    first = np.isin(np.arange(len(x)), strata[0])
    moved = np.where(first, 2 * y + 3, y)
    assert spearman_of(x, moved, strata, Good(0.5)) == pytest.approx(spearman_of(x, y, strata, Good(0.5)), abs=1e-12)


def test_a_data_set_with_too_few_good_configurations_is_left_out_of_spearman() -> None:
    rng = np.random.default_rng(2)
    x, y, strata = rng.random(12), rng.random(12), strata_of(8, 4)
    found = spearman_of(x, y, strata, Good(0.5))
    kept = np.argsort(-x[:8])[:4]
    assert found == pytest.approx(spearmanr(x[kept], y[kept]).statistic, abs=1e-12)


FORMULAS = {
    "r2": r2,
    "spearman": lambda pairs, weights: spearman(pairs, weights, Good(0.5)),
    "kendall": kendall,
    "regret": regret,
    "expected regret": expected_regret,
    "recovered": recovered,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_weights_count_pairs_as_often_as_writing_them_down_again(
    sample: tuple[Floats, Floats, list[np.ndarray]], name: str
) -> None:
    x, y, strata = sample
    rng = np.random.default_rng(0)
    weights = np.concatenate([rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), 20) for rows in strata], 1)
    together = FORMULAS[name](paired(x, y, strata), weights.astype(float))
    for counts, got in zip(weights, together, strict=True):
        rows = np.repeat(np.arange(len(x)), counts)
        alone = value(FORMULAS[name], x[rows], y[rows], strata)
        assert got == pytest.approx(alone, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", FORMULAS)
def test_pairs_without_weight_might_as_well_not_be_there(
    sample: tuple[Floats, Floats, list[np.ndarray]], name: str
) -> None:
    x, y, strata = sample
    keep = np.arange(len(x)) % 3 > 0
    part = [np.flatnonzero(np.isin(np.flatnonzero(keep), rows)) for rows in strata]
    alone = value(FORMULAS[name], x[keep], y[keep], part)
    assert only(FORMULAS[name](paired(x, y, strata), keep[None].astype(float))) == pytest.approx(
        alone, abs=1e-12, nan_ok=True
    )


def test_kendall_is_scipys_on_one_data_set(sample: tuple[Floats, Floats, list[np.ndarray]]) -> None:
    x, y, strata = sample
    for rows in strata:
        expected = kendalltau(x[rows], y[rows]).statistic
        assert value(kendall, x[rows], y[rows]) == pytest.approx(expected, abs=1e-12)


def test_kendall_compares_within_data_sets_only() -> None:
    x, y = [0.9, 0.8, 0.1, 0.2], [0.9, 0.8, 0.2, 0.1]
    # One comparison of each data set, of which one agrees; across them all would agree.
    assert value(kendall, x, y, strata_of(2, 2)) == pytest.approx(0)


def test_kendall_of_a_perfect_and_of_a_reversed_proxy() -> None:
    y = np.array([0.5, 0.6, 0.9, 0.7])
    assert value(kendall, 2 * y, y) == pytest.approx(1)
    assert value(kendall, -y, y) == pytest.approx(-1)
    assert math.isnan(value(kendall, np.ones(4), y))
    assert math.isnan(value(kendall, y[:2], y[:2]))


def overlap(x: Any, y: Any, top: int) -> float:
    return value(lambda pairs, weights: top_overlap(pairs, weights, top), x, y)


def test_top_overlap_is_the_share_of_the_targets_best_among_the_proxys_best() -> None:
    y = np.arange(10.0)
    x = y.copy()
    x[[9, 0]] = x[[0, 9]]
    assert overlap(x, y, 3) == pytest.approx(2 / 3)
    assert overlap(y, y, 5) == pytest.approx(1)
    assert overlap(-y, y, 5) == pytest.approx(0)


def test_top_overlap_of_a_proxy_that_ties_is_what_chance_gives() -> None:
    assert overlap(np.ones(20), np.arange(20.0), 5) == pytest.approx(5 / 20)
    # Two for the last place: each has it with a chance of a half.
    assert overlap([5, 4, 3, 3, 1, 0], [5, 4, 3, 2, 1, 0], 3) == pytest.approx((1 + 1 + 0.5) / 3)


def test_top_overlap_of_a_configuration_that_is_drawn_twice_counts_both() -> None:
    y = np.arange(10.0)
    weights = np.array([[2.0, 0, 1, 1, 1, 0, 1, 1, 1, 2]])
    assert only(top_overlap(paired(y, y), weights, 5)) == pytest.approx(1)
    # Of the proxy's first three one is a copy of its last; the target has both copies.
    x = y.copy()
    x[[9, 7]] = [7, 9]
    assert only(top_overlap(paired(x, y), weights, 3)) == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(1, 6))
def test_top_overlap_is_what_random_order_among_the_proxys_ties_finds_on_average(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 4, 10).astype(float), rng.integers(0, 6, 10).astype(float)
    counts = rng.multinomial(10, np.full(10, 0.1))
    drawn = np.repeat(np.arange(10), counts)
    third = np.sort(y[drawn])[-3]
    # Every order of those that tie, as often as any other.
    orders = [np.lexsort((rng.random(10), -x[drawn]))[:3] for _ in range(4000)]
    expected = np.mean([np.mean(y[drawn][order] >= third) for order in orders])
    found = only(top_overlap(paired(x, y), counts[None].astype(float), 3))
    assert found == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_top_overlap_of_the_target_with_itself_is_1_whatever_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = np.rint(500 * (0.9 + 0.005 * rng.normal(size=36))) / 500
    weights = np.concatenate([np.ones((1, 36)), rng.multinomial(36, np.full(36, 1 / 36), 20)])
    assert len(set(y)) < 36
    assert top_overlap(paired(y, y), weights) == pytest.approx(1)


def test_either_of_two_configurations_that_tie_for_the_targets_last_place_is_among_its_best() -> None:
    y = [9, 8, 7, 7, 1, 0]
    assert overlap([9, 8, 7, 1, 1, 0], y, 3) == pytest.approx(1)
    assert overlap([9, 8, 1, 7, 1, 0], y, 3) == pytest.approx(1)
    assert overlap([9, 8, 1, 1, 7, 0], y, 3) == pytest.approx(2 / 3)


def test_top_overlap_where_all_are_equally_good_on_the_target_is_undefined() -> None:
    assert math.isnan(overlap(np.arange(20.0), np.ones(20), 5))
    # Nothing is left that is not among the best.
    assert math.isnan(overlap(np.arange(6.0), [1, 1, 1, 1, 1, 1], 3))


def test_top_overlap_of_too_few_configurations_is_undefined() -> None:
    assert math.isnan(overlap(np.arange(9.0), np.arange(9.0), 5))


def test_regret_is_what_the_first_choice_lacks_on_the_target() -> None:
    x, y = [0.5, 0.9, 0.7], [0.8, 0.7, 0.6]
    assert value(regret, x, y) == pytest.approx(0.1)
    assert value(recovered, x, y) == 0
    assert value(regret, y, y) == 0
    assert value(recovered, y, y) == 1
    assert math.isnan(value(regret, [0.9, 0.9, 0.1], y))
    assert value(expected_regret, [0.9, 0.9, 0.1], y) == pytest.approx(0.05)
    assert value(expected_regret, x, y) == pytest.approx(0.1)
    # A tie of two that are alike on the target decides nothing.
    assert value(regret, [0.9, 0.9, 0.1], [0.5, 0.5, 0.7]) == pytest.approx(0.2)


def test_regret_is_a_mean_over_data_sets_of_the_mean_over_seeds() -> None:
    x = np.array([2.0, 1, 2, 1, 2, 1])
    y = np.array([0.5, 0.9, 0.5, 0.5, 0.5, 0.7])
    strata, contests = [np.arange(4), np.arange(4, 6)], strata_of(2, 2, 2)
    found = regret(Values(x, y, strata, contests), np.ones((1, 6)))
    assert only(found) == pytest.approx(((0.4 + 0.0) / 2 + 0.2) / 2)


def test_a_perfect_proxy_explains_everything_and_ranks_perfectly() -> None:
    y = np.array([0.5, 0.6, 0.9, 0.7, 0.85])
    x = 0.3 * y + 0.1
    assert r2_of(x, y) == pytest.approx(1, abs=1e-12)
    assert spearman_of(x, y) == pytest.approx(1, abs=1e-12)
    assert spearman_of(x, y, good=Good(0.5)) == pytest.approx(1, abs=1e-12)


def test_a_reversed_proxy_explains_everything_but_ranks_the_wrong_way_round() -> None:
    y = np.array([0.5, 0.6, 0.9, 0.7, 0.85])
    assert r2_of(1 - y, y) == pytest.approx(1, abs=1e-12)
    assert value(slope, 1 - y, y) == pytest.approx(-1, abs=1e-12)
    assert spearman_of(1 - y, y) == pytest.approx(-1, abs=1e-12)


def test_an_independent_proxy_explains_nothing() -> None:
    x, y = np.array([0.4, 0.6, 0.4, 0.6]), np.array([0.7, 0.7, 0.9, 0.9])
    assert r2_of(x, y) == pytest.approx(0, abs=1e-12)
    assert spearman_of(x, y) == pytest.approx(0, abs=1e-12)
    rng = np.random.default_rng(0)
    assert r2_of(rng.random(5000), rng.random(5000)) < 0.002


def test_a_harder_data_set_gives_no_correlation_of_its_own() -> None:
    x = np.array([0.9, 0.8, 0.9, 0.8, 0.5, 0.4, 0.5, 0.4])
    y = np.array([0.9, 0.9, 0.8, 0.8, 0.5, 0.5, 0.4, 0.4])
    assert pearsonr(x, y).statistic > 0.9
    assert r2_of(x, y, strata_of(4, 4)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("constant", [0.1, 0.7, 0.9, 1 / 3])
@pytest.mark.parametrize("n", [3, 7, 36])
def test_constant_accuracies_leave_both_measures_undefined(constant: float, n: int) -> None:
    varied = np.linspace(0.1, 0.9, n)
    same = np.full(n, constant)
    for x, y in ((same, varied), (varied, same), (same, same)):
        assert math.isnan(r2_of(x, y))
        assert math.isnan(spearman_of(x, y))


def test_constant_accuracies_on_one_data_set_leave_the_pool_undefined() -> None:
    varied = np.array([0.1, 0.5, 0.3, 0.9])
    x = np.concatenate([varied, np.full(4, 0.7)])
    y = np.concatenate([varied, varied])
    assert math.isnan(r2_of(x, y, strata_of(4, 4)))
    assert math.isnan(spearman_of(x, y, strata_of(4, 4)))


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_pairs_leave_both_measures_undefined(n: int) -> None:
    x = np.linspace(0.1, 0.9, n)
    assert math.isnan(r2_of(x, x))
    assert math.isnan(spearman_of(x, x))
    three = np.linspace(0.1, 0.9, 3)
    assert r2_of(three, three) == pytest.approx(1)


def test_fewer_than_three_good_configurations_leave_spearman_alone_undefined() -> None:
    x = np.array([0.1, 0.2, 0.3, 0.4])
    assert math.isnan(spearman_of(x, x, good=Good(0.5)))
    assert math.isnan(spearman_of(x, x, good=Good(threshold=0.25)))
    assert math.isnan(spearman_of(x, x, good=Good(threshold=0.95)))
    assert r2_of(x, x) == pytest.approx(1)
    assert spearman_of(x, x, good=Good(threshold=0.2)) == pytest.approx(1)


def test_good_configurations_that_tie_leave_spearman_undefined() -> None:
    x = np.array([0.1, 0.2, 0.9, 0.9, 0.9, 0.3])
    y = np.array([0.1, 0.2, 0.6, 0.5, 0.7, 0.3])
    assert math.isnan(spearman_of(x, y, good=Good(0.5)))
    assert math.isnan(spearman_of(np.array([0.1, 0.2, 0.7, 0.8, 0.9, 0.3]), x, good=Good(0.5)))


# Shleifer & Prokop 2019, footnote 10: four configurations of which the two best on the proxy are looked at. The
# footnote gives three target accuracies; the fourth does not enter.
FOOTNOTE_PROXY = np.array([0.92, 0.93, 0.84, 0.86])
FOOTNOTE_TARGET = np.array([0.95, 0.99, 0.81, 0.79])


def test_footnote_10_looks_at_the_two_best_by_proxy_accuracy() -> None:
    assert Good(0.5).mask(FOOTNOTE_PROXY, np.ones((1, 4))).tolist() == [[True, True, False, False]]
    assert Good(threshold=0.9).mask(FOOTNOTE_PROXY, np.ones((1, 4))).tolist() == [[True, True, False, False]]


def test_footnote_10_ranks_too_few_configurations_for_a_number() -> None:
    x, y = np.concatenate([FOOTNOTE_PROXY] * 2), np.concatenate([FOOTNOTE_TARGET] * 2)
    assert math.isnan(spearman_of(x, y, strata_of(4, 4), Good(0.5)))
    # Of six configurations three are good, and the footnote's two keep their order.
    x, y = np.append(FOOTNOTE_PROXY, [0.9, 0.1]), np.append(FOOTNOTE_TARGET, [0.9, 0.1])
    assert spearman_of(x, y, good=Good(0.5)) == pytest.approx(1, abs=1e-12)


def n_good(n: int, fraction: float) -> int:
    return int(Good(fraction).mask(np.arange(n, dtype=float), np.ones((1, n))).sum())


@pytest.mark.parametrize(
    ("n", "fraction", "kept"),
    [(36, 0.5, 18), (37, 0.5, 19), (3, 0.5, 2), (1, 0.5, 1), (10, 0.01, 1), (10, 1.0, 10), (10, 0.3, 3), (36, 0.25, 9)],
)
def test_the_good_share_is_rounded_up(n: int, fraction: float, kept: int) -> None:
    assert n_good(n, fraction) == kept


@pytest.mark.parametrize(("fraction", "kept"), [(0.07, 7), (0.14, 14), (0.28, 28), (0.55, 55), (0.56, 56)])
def test_a_share_that_comes_out_whole_on_paper_is_not_rounded_up_further(fraction: float, kept: int) -> None:
    assert n_good(100, fraction) == kept


def test_a_share_may_be_a_number_of_numpys() -> None:
    assert n_good(36, float(np.float64(0.25))) == n_good(36, np.float64(0.25)) == 9


def test_ties_with_the_last_good_configuration_are_in() -> None:
    mask = Good(0.4).mask(np.array([0.1, 0.9, 0.9, 0.9, 0.2]), np.ones((1, 5)))
    assert mask.tolist() == [[False, True, True, True, False]]


scales = st.floats(0.01, 10)
shifts = st.floats(-1, 1)


@st.composite
def studies(draw: st.DrawFn) -> tuple[Floats, Floats, list[np.ndarray]]:
    """Values in steps of 1 in 500 on one to three data sets, none constant."""
    sizes = draw(st.lists(st.integers(3, 9), min_size=1, max_size=3))
    strata = strata_of(*sizes)
    sides = []
    for _ in range(2):
        values = np.array(draw(st.lists(st.integers(0, 500), min_size=sum(sizes), max_size=sum(sizes)))) / 500
        assume(all(np.ptp(values[rows]) > 0 for rows in strata))
        sides.append(values)
    return sides[0], sides[1], strata


@given(studies())
def test_measures_stay_in_their_bounds(study: tuple[Floats, Floats, list[np.ndarray]]) -> None:
    x, y, strata = study
    assert -1e-12 <= r2_of(x, y, strata) <= 1 + 1e-12
    rho = spearman_of(x, y, strata)
    assert math.isnan(rho) or -1 - 1e-12 <= rho <= 1 + 1e-12


@given(studies(), st.lists(scales, min_size=6, max_size=6), st.lists(shifts, min_size=6, max_size=6))
def test_r2_does_not_see_level_and_spread_of_a_data_set(
    study: tuple[Floats, Floats, list[np.ndarray]], by: list[float], plus: list[float]
) -> None:
    x, y, strata = study
    moved_x, moved_y = x.copy(), y.copy()
    for number, rows in enumerate(strata):
        moved_x[rows] = by[number] * x[rows] + plus[number]
        moved_y[rows] = by[-number - 1] * y[rows] + plus[-number - 1]
    assert r2_of(moved_x, moved_y, strata) == pytest.approx(r2_of(x, y, strata), abs=1e-9)


@given(studies(), st.integers(1, 8), st.integers(-3, 3), st.sampled_from([0.3, 0.5, 1.0]))
def test_spearman_on_one_data_set_does_not_see_level_and_spread(
    study: tuple[Floats, Floats, list[np.ndarray]], by: int, plus: int, fraction: float
) -> None:
    x, y, strata = study
    # Powers of 2 and whole steps keep equal accuracies exactly equal; on one data set no pooling adds new ties.
    rows = strata[0]
    x, y = np.rint(500 * x[rows]), np.rint(500 * y[rows])
    before = spearman_of(x, y, good=Good(fraction))
    after = spearman_of(2.0**by * x + plus, 2.0**-by * y - plus, good=Good(fraction))
    assert after == pytest.approx(before, abs=1e-9, nan_ok=True)


@given(studies(), st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_does_not_matter(
    study: tuple[Floats, Floats, list[np.ndarray]], random: st.DataObject
) -> None:
    x, y, strata = study
    order = list(range(len(x)))
    random.shuffle(order)  # type: ignore[attr-defined]
    at = np.argsort(order)
    moved = [np.sort(at[rows]) for rows in strata]
    assert r2_of(x[order], y[order], moved) == pytest.approx(r2_of(x, y, strata), abs=1e-9)


@given(studies())
def test_r2_is_the_same_the_other_way_round(study: tuple[Floats, Floats, list[np.ndarray]]) -> None:
    x, y, strata = study
    assert r2_of(y, x, strata) == pytest.approx(r2_of(x, y, strata), abs=1e-12)
