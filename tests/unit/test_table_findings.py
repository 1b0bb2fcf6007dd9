"""What the findings are computed by: searches that are replayed, roles of proxies, and explained variance."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from benchmarks.tables.findings import SAMPLES, Measured, contrasts, explained, losses, random_losses, role_of

RNG = np.random.default_rng(0)


def of(role: str, r2: float, noise: float = 0.0, cost: float = 0.1) -> Measured:
    samples = r2 + noise * RNG.standard_normal(SAMPLES)
    return Measured(
        role,
        role,
        cost,
        0.0,
        10.0,
        cost,
        np.zeros((3, 2)),
        {"r2": samples, "spearman": samples},
        {"r2": r2, "spearman": r2},
    )


@pytest.mark.parametrize(
    ("proxy", "epochs", "role"),
    [
        ("epochs:1", 20, "epochs, shortest"),
        ("random:0.2+epochs:1", 4, "epochs, shortest"),
        ("epochs:1", 4, "epochs, a quarter"),
        ("epochs:10", 20, "epochs, half"),
        ("size:8+width:0.5", 20, "half size+half width"),
        ("random:0.1+batch:16", 20, "random:0.1+batch:16"),
        ("curriculum:0.25,order=random", 20, "curriculum:0.25,order=random"),
    ],
)
def test_roles_are_the_same_whatever_the_target(proxy: str, epochs: int, role: str) -> None:
    assert role_of(proxy, epochs) == role


def test_a_search_takes_the_best_of_the_proxys_best() -> None:
    proxy, target, truth = (np.array([each], dtype=float) for each in ([3, 2, 1, 0], [5, 6, 7, 8], [10, 20, 30, 40]))
    assert [losses(proxy, target, truth, k)[0] for k in (1, 2, 4)] == [30, 20, 0]


def test_random_search_is_the_mean_over_all_subsets() -> None:
    target, truth = RNG.standard_normal((2, 1, 7))
    subsets = [list(each) for each in combinations(range(7), 3)]
    chosen = [each[int(target[0, each].argmax())] for each in subsets]
    assert random_losses(target, truth, 3)[0] == pytest.approx(truth.max() - truth[0, chosen].mean())
    assert random_losses(target, truth, 7)[0] == pytest.approx(truth.max() - truth[0, target.argmax()])


def test_explained_variance_is_within_groups() -> None:
    groups = np.repeat([0, 1], 20)
    x = RNG.standard_normal((40, 2))
    assert explained(2 * x[:, 0] + 100 * groups, x[:, [0]], groups) == pytest.approx(1)
    assert explained(x[:, 0], x[:, [1]], groups) < 0.3


def test_a_difference_is_shown_if_it_is_clear_and_tables_agree() -> None:
    base = [of("random:0.1", 0.5), of("epochs, shortest", 0.5)]
    tables = {name: [*base, of("clear", 0.8, 0.05), of("noisy", 0.6, 0.5)] for name in "abc"}
    tables["d"] = [*base, of("clear", 0.4, 0.05), of("noisy", 0.6, 0.5)]
    found = contrasts(tables).set_index(["a", "b", "measure", "table"])
    clear = found.loc[("clear", "random:0.1", "r2", "mean of tables")]
    assert clear["shown"], "three of four agree"
    assert clear["difference"] == pytest.approx((0.3 * 3 - 0.1) / 4)
    assert clear["low"] < clear["difference"] < clear["high"]
    assert not found.loc[("noisy", "random:0.1", "r2", "mean of tables")]["shown"]
    assert ("clear", "random:0.1", "r2", "mean without d") in found.index
    tables["e"] = tables["d"]
    assert not contrasts(tables).query("a == 'clear' and table == 'mean of tables'")["shown"].any(), "two disagree"
