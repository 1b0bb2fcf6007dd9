"""Each strategy against what its definition says, computed in another way."""

from __future__ import annotations

import dataclasses
import math
from itertools import combinations

import numpy as np
import pytest

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.proxies import parse_proxies
from proxyflow.strategies import ExamplePool, parse_strategy
from proxyflow.strategies.kmeans_coreset import sensitivities

N = 120


def pool_of(seed: int = 0, n: int = N, width: int = 4) -> ExamplePool:
    """Examples of three classes in a skewed cloud, with random scores."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3)
    points = (rng.exponential(size=(n, width)) + labels[:, None]).astype(np.float32)
    scores = {name: rng.normal(size=n) for name in ("loss", "margin")}
    hashes = np.array([f"{value:08x}" for value in rng.permutation(n)])
    return ExamplePool(np.arange(n), labels, hashes, scores, None, points, None)


def with_confusion(table: list[list[float]]) -> ExamplePool:
    n = len(table)
    return dataclasses.replace(pool_of(), labels=np.arange(N) % n, confusion=np.array(table))


@pytest.mark.parametrize("balance", ["none", "class"])
@pytest.mark.parametrize("fraction", ["0.05", "0.1", "0.3"])
def test_the_mean_of_a_herd_is_nearer_to_the_mean_of_all_than_that_of_a_random_sample(
    fraction: str, balance: str
) -> None:
    pool = pool_of()
    points = np.asarray(pool.embeddings, dtype=np.float64)

    def off(spelling: str, seed: int) -> float:
        return float(
            np.linalg.norm(points[parse_strategy(spelling).select(pool, seed)].mean(axis=0) - points.mean(axis=0))
        )

    herd = off(f"herding:{fraction},balance={balance}", 0)
    random = np.array([off(f"random:{fraction}", seed) for seed in range(200)])
    # All at once it is a rare sample that comes as near; class by class the errors of three add up.
    assert (random < herd).mean() < (0.05 if balance == "none" else 0.3)


def test_a_herd_grows_by_the_example_that_brings_its_mean_nearest() -> None:
    pool = pool_of()
    points = np.asarray(pool.embeddings, dtype=np.float64)
    chosen: list[int] = []
    for size in range(1, 8):
        herd = set(parse_strategy(f"herding:{size / N!r}").select(pool, 0).tolist())
        off = {
            i: np.linalg.norm(points[[*chosen, i]].mean(axis=0) - points.mean(axis=0))
            for i in set(range(N)) - set(chosen)
        }
        chosen.append(min(off, key=lambda i: off[i]))
        assert herd == set(chosen)


def test_k_centers_are_within_twice_the_smallest_radius_that_any_choice_has() -> None:
    pool = pool_of(n=14, width=2)
    points = np.asarray(pool.embeddings, dtype=np.float64)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)

    def radius(chosen: tuple[int, ...]) -> float:
        return float(distances[:, list(chosen)].min(axis=1).max())

    for size in (1, 2, 3, 4):
        best = min(radius(chosen) for chosen in combinations(range(14), size))
        found = parse_strategy(f"k-center:{size / 14!r}").select(pool, 0)
        assert radius(tuple(found)) <= 2 * best + 1e-6


def test_k_center_finds_what_lies_far_out_and_begins_in_the_middle() -> None:
    pool = pool_of()
    points = np.asarray(pool.embeddings).copy()
    points[17], points[90] = 100, -100
    middle = int(np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1)))
    far = dataclasses.replace(pool, embeddings=points)
    assert set(parse_strategy(f"k-center:{3 / N!r}").select(far, 0)) == {17, 90, middle}


def test_examples_in_one_place_are_each_chosen_once() -> None:
    same = dataclasses.replace(pool_of(), embeddings=np.ones((N, 4), dtype=np.float32))
    for name in ("k-center", "herding", "kmeans-coreset"):
        assert len(parse_strategy(f"{name}:0.9").select(same, 0)) == 108


def test_sensitivities_are_those_of_the_paper() -> None:
    from sklearn.cluster import kmeans_plusplus

    points = np.asarray(pool_of().embeddings)
    k = 3
    state = int(np.random.default_rng(7).integers(2**32))
    _, centres = kmeans_plusplus(points, k, random_state=state, n_local_trials=1)
    squared = [[math.dist(point, points[centre]) ** 2 for centre in centres] for point in points.tolist()]
    cell = [row.index(min(row)) for row in squared]
    nearest = [min(row) for row in squared]
    mean = math.fsum(nearest) / N
    alpha = 16 * (math.log2(k) + 2)
    expected = []
    for point in range(N):
        own = [i for i in range(N) if cell[i] == cell[point]]
        within = math.fsum(nearest[i] for i in own)
        expected.append(alpha * nearest[point] / mean + 2 * alpha * within / (len(own) * mean) + 4 * N / len(own))
    found = sensitivities(points, k, np.random.default_rng(7))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_coreset_prefers_what_lies_far_out() -> None:
    pool = pool_of()
    points = np.asarray(pool.embeddings).copy()
    points[:6] += 60
    far = dataclasses.replace(pool, embeddings=points)
    taken = [
        np.intersect1d(parse_strategy("kmeans-coreset:0.1,clusters=1").select(far, s), range(6)).size for s in range(60)
    ]
    assert np.mean(taken) > 3 * 6 * 0.1


def test_half_of_a_mix_is_the_easiest_and_the_rest_is_drawn_from_all_others() -> None:
    pool = pool_of()
    easiest = set(np.argsort(pool.scores["loss"])[:12])
    others = set()
    for seed in range(40):
        chosen = set(parse_strategy("mix:0.2").select(pool, seed).tolist())
        assert len(chosen) == 24
        assert easiest <= chosen
        others |= chosen - easiest
    assert len(others) > 90


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("slice:0-1", "full"),
        ("slice:0-.1", "hardest:0.1"),
        ("slice:0.9-1.0", "easiest:0.1"),
        ("slice:.7-1,by=el2n", "easiest:0.3,by=el2n"),
        ("slice:0.05-0.5", "hardest:0.5,drop=0.05"),
        ("slice:0.05-0.95,balance=class", "hardest:0.95,drop=0.05,balance=class"),
        ("slice:.050-0.96", "slice:0.05-0.96"),
        ("slice:0.5-0.99999", "slice:0.5-0.99999"),
        ("slice:0.00001-0.999995", "slice:0.00001-0.999995"),
        ("classes=5+0+3", "classes:0+3+5"),
        ("classes:3+3+1,fraction=.50", "classes:1+3,fraction=0.5"),
        ("k-center:1", "full"),
        ("mix:1.0", "full"),
    ],
)
def test_one_choice_has_one_spelling(text: str, canonical: str) -> None:
    assert parse_strategy(text).canonical == canonical
    assert parse_strategy(canonical).canonical == canonical


@pytest.mark.parametrize(
    "text", ["slice:0.5-0.5", "slice:0.6-0.5", "slice:0.5", "slice:a-b", "slice:0-1.1", "slice:-1-1"]
)
def test_a_window_that_is_none_says_what_one_is(text: str) -> None:
    with pytest.raises(InvalidValue, match="two quantiles a-b with 0 <= a < b <= 1"):
        parse_strategy(text)


@pytest.mark.parametrize("text", ["classes:3", "classes:a+b", "classes:1,2", "classes:-1+2", "classes:1++2"])
def test_a_list_of_classes_that_is_none_says_what_one_is(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_strategy(text)


@pytest.mark.parametrize("text", ["hardest:0.96,drop=0.05", "hardest:1.0,drop=0.3"])
def test_more_than_there_is_after_dropping_is_refused_with_the_window_that_may_be_meant(text: str) -> None:
    strategy, drop = text.removeprefix("hardest:").split(",drop=")
    with pytest.raises(InvalidValue, match=rf"is over 1; write slice:{drop}-{strategy}"):
        parse_strategy(text)


def test_the_easiest_classes_are_those_with_the_surest_diagonal() -> None:
    table = np.full((4, 4), 0.1)
    table[np.diag_indices(4)] = [0.3, 0.9, 0.2, 0.6]
    chosen = parse_strategy("easiest-classes:2").classes(with_confusion(table.tolist()))
    assert chosen.tolist() == [1, 3]


def test_confusable_classes_begin_with_the_worst_pair_and_add_what_is_mistaken_for_it() -> None:
    table = [
        [0.6, 0.0, 0.0, 0.1, 0.0],
        [0.0, 0.65, 0.35, 0.0, 0.0],
        [0.0, 0.2, 0.7, 0.0, 0.1],
        [0.4, 0.0, 0.0, 0.5, 0.0],
        [0.0, 0.0, 0.05, 0.0, 0.9],
    ]
    pool = with_confusion(table)
    chosen = {count: parse_strategy(f"confusable-classes:{count}").classes(pool).tolist() for count in (2, 3, 4)}
    assert chosen == {2: [1, 2], 3: [1, 2, 4], 4: [0, 1, 2, 4]}


def test_confusion_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"confusable-classes:2 needs scores \(confusion\)"):
        parse_strategy("confusable-classes:2").select(pool_of(), 0)


@pytest.mark.parametrize("text", ["slice:0.9-0.95,balance=class", "hardest:0.95,drop=0.05,balance=class"])
@pytest.mark.parametrize("sizes", [(4, 996), (1, 1, 998), (2, 3, 5, 990)])
def test_dropping_leaves_every_class_something_where_every_class_is_promised_some(
    text: str, sizes: tuple[int, ...]
) -> None:
    n = sum(sizes)
    pool = dataclasses.replace(pool_of(n=n), labels=np.repeat(np.arange(len(sizes)), sizes))
    chosen = parse_strategy(text).select(pool, 0)
    assert len(chosen) == (50 if text.startswith("slice") else 900)
    assert set(pool.labels[chosen]) == set(range(len(sizes)))


def test_classes_can_be_named_in_a_list() -> None:
    found = parse_proxies("full,classes=0+3,easiest:0.1,by=el2n classes=1+2,fraction=0.5")
    assert [s.canonical for s in found] == ["full", "classes:0+3", "easiest:0.1,by=el2n", "classes:1+2,fraction=0.5"]
