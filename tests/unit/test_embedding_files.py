"""Embeddings of any model in a file: they meet their examples, need no training, and their content is part of the key."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from array_table import ArrayTable, Rows

from proxyflow.api import choose
from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.core.files import known_sha256
from proxyflow.data.embeddings import read_embeddings
from proxyflow.data.protocol import Dataset
from proxyflow.proxies import parse_proxies
from proxyflow.strategies import ExamplePool, parse_strategy
from proxyflow.strategies.embeddings import EmbeddingRows
from proxyflow.studies.plan import subset_key
from proxyflow.studies.study_file import load_study_file
from proxyflow.subsets import choose_subset
from proxyflow.subsets.subset import pool_of

N, D = 40, 5
LABELS = np.arange(N) % 4
VALUES = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
NAMES = ["k-center", "herding", "kmeans-coreset", "prototypes"]
EACH = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def dataset(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setattr(Rows, "identifiers", lambda self, examples: np.array([f"r-{each:02}" for each in examples.ids]))
    return Dataset(
        "rows", ("a", "b", "c", "d"), ArrayTable.made_up(LABELS), ArrayTable.made_up([0, 1, 2, 3], seed=1), None
    )


def table(**changes: Any) -> pd.DataFrame:
    frame = pd.DataFrame(VALUES, columns=[f"dim{number}" for number in range(D)])
    frame.insert(0, "id", [f"r-{row:02}" for row in range(N)])
    return frame.assign(**changes)


def npy(folder: Path, values: Any = VALUES, name: str = "e.npy") -> Path:
    np.save(folder / name, values)
    return folder / name


def of(path: Path, name: str = "k-center", more: str = "") -> str:
    return f"{name}:0.25,embeddings=file:{path}{more}"


@pytest.mark.parametrize("kind", ["npy", "parquet", "csv"])
def test_rows_meet_their_examples(kind: str, dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / f"e.{kind}"
    frame = pd.concat([table(), table(id="other")]).sample(frac=1, random_state=1)
    {
        "npy": lambda: npy(tmp_path),
        "parquet": lambda: frame.to_parquet(path),
        "csv": lambda: frame.to_csv(path, index=False),
    }[kind]()
    found = read_embeddings(path, dataset)
    assert found.shape == (N, D)
    np.testing.assert_array_equal(np.asarray(found), VALUES)
    np.testing.assert_array_equal(found.take(np.array([7, 3]))[np.array([1, 0, 1])], VALUES[[3, 7, 3]])
    assert np.asarray(found).dtype == np.float32


@EACH
def test_a_file_chooses_what_the_same_embeddings_of_a_score_run_choose(
    name: str, dataset: Dataset, tmp_path: Path
) -> None:
    strategy = parse_strategy(of(npy(tmp_path), name))
    assert not strategy.needs_scores
    subset = choose_subset(dataset, strategy, 3)
    pool = dataclasses.replace(pool_of(dataset, strategy, None), embeddings=VALUES)
    assert subset.train.ids.tolist() == parse_strategy(f"{name}:0.25").select(pool, 3).tolist()
    labels = LABELS.tolist()
    assert len(choose(f"{name}:0.25", labels, embeddings=VALUES)) == 10
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        choose(f"{name}:0.25", labels, embeddings=mapped), choose(f"{name}:0.25", labels, embeddings=VALUES)
    )


def test_the_time_is_that_of_the_choice_and_what_the_user_states(dataset: Dataset, tmp_path: Path) -> None:
    path = npy(tmp_path)
    plain = choose_subset(dataset, parse_strategy(of(path)), 0).selection
    stated = choose_subset(dataset, parse_strategy(of(path, more=",embedding_seconds=1000")), 0).selection
    assert plain is not None
    assert stated is not None
    assert 0 < plain.train_seconds < 1000 < stated.train_seconds
    assert (plain.examples_seen, plain.train_flops) == (0, 0)


def bad(values: Any) -> np.ndarray:
    changed = VALUES.copy()
    changed[17, 2] = values
    return changed


@pytest.mark.parametrize(
    ("values", "name", "rule"),
    [
        (VALUES[:-1], "embeddings", "it has 39 rows; give one for each of the 40 training examples"),
        (bad(np.nan), "e.npy: row 17", "must be finite"),
        (bad(-np.inf), "e.npy: row 17", "must be finite"),
        (np.full((N, D), 1e300), "e.npy: row 0", "must be finite"),
        (VALUES[:, 0], "embeddings", r"numbers of shape \(n, d\), and has float32 of shape \(40,\)"),
        (VALUES[:, :0], "embeddings", "it has 0 columns"),
        (VALUES.astype(object), "embeddings", "cannot be read"),
        (VALUES.astype(str), "embeddings", r"numbers of shape \(n, d\)"),
    ],
)
def test_a_file_of_something_else_is_refused(
    values: np.ndarray, name: str, rule: str, dataset: Dataset, tmp_path: Path
) -> None:
    strategy = parse_strategy(of(npy(tmp_path, values)))
    with pytest.raises(InvalidValue, match=rule) as caught:
        choose_subset(dataset, strategy, 0)
    assert caught.value.name == name


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        (table(id="r-00"), "e.csv: id"),
        (table()[:-1], "e.csv: id"),
        (table().drop(columns="id"), "e.csv: columns"),
        (table()[["id"]], "embeddings"),
        (table(dim3=np.inf), "e.csv: id r-00"),
        (table(dim3="x"), "embeddings"),
    ],
)
def test_a_table_of_something_else_is_refused(frame: pd.DataFrame, name: str, dataset: Dataset, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "e.csv", index=False)
    with pytest.raises(InvalidValue) as caught:
        choose_subset(dataset, parse_strategy(of(tmp_path / "e.csv")), 0)
    assert caught.value.name == name


def test_a_missing_file_is_known_before_anything_is_selected(tmp_path: Path) -> None:
    strategy = parse_strategy(of(tmp_path / "none.npy"))
    with pytest.raises(InvalidValue, match="no such file") as caught:
        subset_key("data", strategy, 0, "")
    assert caught.value.name == "strategy k-center: embeddings"


def test_the_key_of_a_subset_covers_the_content_of_the_file(tmp_path: Path) -> None:
    path = npy(tmp_path)
    strategy = parse_strategy(of(path))
    key = subset_key("data", strategy, 0, "")
    assert subset_key("data", strategy, 0, "") == key
    stat = path.stat()
    npy(tmp_path, -VALUES)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    other = subset_key("data", strategy, 0, "")
    assert other != key
    npy(tmp_path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 2))
    assert subset_key("data", strategy, 0, "") == key
    # What names no file has a key as before.
    assert parse_strategy("k-center:0.25").inputs() == {}


def test_a_digest_is_computed_once_for_a_file_that_did_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, reads = npy(tmp_path), []
    from proxyflow.core import files

    real = files.sha256_of
    monkeypatch.setattr(files, "sha256_of", lambda path: reads.append(path) or real(path))
    assert known_sha256(path) == known_sha256(path) == real(path)
    assert len(reads) == 1


@pytest.mark.parametrize("text", ["a b.npy", "a;b.npy", "a+b.npy", "a,b.npy"])
def test_a_path_with_a_separator_cannot_be_written(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_proxies(f"k-center:0.1,embeddings=file:{text}")
    from proxyflow.strategies import KCenter

    with pytest.raises(InvalidValue, match="which separates strategies"):
        KCenter(0.1, embeddings=f"file:{text}")


@pytest.mark.parametrize("text", ["file:", "file", "other.npy", "run:1"])
def test_a_source_that_is_none_says_what_one_is(text: str) -> None:
    with pytest.raises(InvalidValue, match="it must be scores"):
        parse_strategy(f"herding:0.1,embeddings={text}")


def test_seconds_are_of_a_file() -> None:
    with pytest.raises(InvalidValue, match="it is of embeddings=file:PATH"):
        parse_strategy("herding:0.1,embedding_seconds=3")


def test_a_list_of_strategies_keeps_a_path_with_its_strategy() -> None:
    found = parse_proxies("full,k-center:0.1,embeddings=file:C:/e.npy,balance=class,classes=0+1,random:0.1")
    assert [each.canonical for each in found] == [
        "full",
        "k-center:0.1,balance=class,embeddings=file:C:/e.npy",
        "classes:0+1",
        "random:0.1",
    ]


@pytest.mark.parametrize(
    "written", ['[full, "k-center:0.1,embeddings=file:e.npy"]', '"full,k-center:0.1,embeddings=file:e.npy"']
)
def test_a_study_files_path_is_relative_to_it(written: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(f"datasets: [digits]\nstrategies: {written}\n")
    file = load_study_file(str(tmp_path / "s.yaml"), ["datasets", "strategies"])
    assert parse_proxies(file.values["strategies"])[1].data.files == {"embeddings": tmp_path / "e.npy"}


def test_a_pool_without_embeddings_says_so_and_arrays_are_given_as_arrays(tmp_path: Path) -> None:
    strategy = parse_strategy(of(npy(tmp_path)))
    pool = ExamplePool(np.arange(N), LABELS, np.array([f"{row:02}" for row in range(N)]))
    with pytest.raises(UserError, match="no embeddings"):
        strategy.select(pool, 0)
    with pytest.raises(InvalidValue, match="give the array itself"):
        choose(strategy.canonical, LABELS.tolist())
    np.save(tmp_path / "bad.npy", bad(np.nan))
    with pytest.raises(InvalidValue, match="must be finite"):
        choose("k-center:0.25", LABELS.tolist(), embeddings=np.load(tmp_path / "bad.npy", mmap_mode="r"))


class Counting(EmbeddingRows):
    """Says how many rows were read at once."""

    most: list[int] = []  # noqa: RUF012

    def __getitem__(self, positions: Any) -> Any:
        self.most.append(len(positions))
        return super().__getitem__(positions)

    def take(self, positions: Any) -> Counting:
        return Counting(self.values, self.rows[positions])


def large_pool(n: int, lazy: bool = True) -> ExamplePool:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(n, 6)).astype(np.float32)
    hashes = np.array([f"{value:08x}" for value in rng.permutation(n)])
    rows = Counting(values, np.arange(n)) if lazy else values
    return ExamplePool(np.arange(n), np.arange(n) % 3, hashes, embeddings=rows)


@EACH
@pytest.mark.parametrize("balance", ["none", "class"])
def test_large_sets_are_read_and_selected_in_chunks(name: str, balance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyflow.strategies.geometry.WHOLE", 100)
    monkeypatch.setattr("proxyflow.strategies.prototypes.WHOLE", 100)
    monkeypatch.setattr("proxyflow.strategies.geometry.CHUNK", 40)
    Counting.most.clear()
    strategy, pool = parse_strategy(f"{name}:0.1,balance={balance}"), large_pool(900)
    chosen = strategy.select(pool, 0)
    assert len(chosen) == len(set(chosen)) == 90
    assert max(Counting.most) <= 100
    np.testing.assert_array_equal(chosen, strategy.select(large_pool(900, lazy=False), 0))
    order = np.random.default_rng(1).permutation(900)
    np.testing.assert_array_equal(chosen, strategy.select(pool.take(order), 0))
    if type(strategy).nested:
        larger = parse_strategy(f"{name}:0.37,balance={balance}").select(pool, 0)
        assert set(chosen) <= set(larger)
    if balance == "class":
        assert np.bincount(pool.labels[chosen]).tolist() == [30, 30, 30]


@pytest.mark.parametrize("keep", ["easy", "hard"])
def test_prototypes_are_the_extremes_of_the_distances_to_the_centres(keep: str) -> None:
    rng = np.random.default_rng(2)
    corners = np.array([[0, 0], [50, 0], [0, 50]])
    points = (corners[np.arange(90) % 3] + rng.normal(size=(90, 2))).astype(np.float32)
    pool = ExamplePool(np.arange(90), np.arange(90) % 3, np.array([f"{i:03}" for i in range(90)]), embeddings=points)
    centres = [points[np.arange(90) % 3 == corner].mean(axis=0) for corner in range(3)]
    distance = np.array([min(math.dist(point, centre) for centre in centres) for point in points])
    expected = np.argsort(distance if keep == "easy" else -distance)[:18]
    for balance, clusters in (("none", "classes"), ("none", "3")):
        spelling = f"prototypes:0.2,keep={keep},clusters={clusters},balance={balance}"
        assert set(parse_strategy(spelling).select(pool, 0)) == set(expected)
    balanced = parse_strategy(f"prototypes:0.2,keep={keep},balance=class").select(pool, 0)
    for corner in range(3):
        members = np.flatnonzero(np.arange(90) % 3 == corner)
        ranked = members[np.argsort(distance[members] if keep == "easy" else -distance[members])]
        assert set(balanced[balanced % 3 == corner]) == set(ranked[:6])


@pytest.mark.parametrize("text", ["0", "some", "1.5"])
def test_clusters_are_a_number_or_those_of_the_classes(text: str) -> None:
    with pytest.raises(InvalidValue, match="classes"):
        parse_strategy(f"prototypes:0.1,clusters={text}")
