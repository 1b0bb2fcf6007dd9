"""Data that are no images go through the catalog, strategies, subsets and their files without any code of images."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from array_table import MODALITY, ArrayTable, TableSource
from made_up import digits, random_images, random_scores

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.data.catalog import DataOptions, load_dataset
from proxyflow.data.evaluation import EvaluationSettings
from proxyflow.data.images.batches import DeviceImages
from proxyflow.data.protocol import Contents, Dataset, by_content, datasets, fingerprint
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import choose_subset
from proxyflow.subsets.artifact import read_subset, write_subset

NAMES = ("cat", "dog", "owl")


def made_up(n: int = 90, groups: np.ndarray | None = None) -> ArrayTable:
    return ArrayTable.made_up(np.arange(n) % 3, groups)


def dataset() -> Dataset:
    return Dataset("rows", NAMES, made_up(), ArrayTable.made_up([0, 1, 2] * 4, seed=1), "standardized")


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set `rows` of 1,800 examples in pairs."""
    labels = np.arange(1800) // 2 % 3
    table = ArrayTable.made_up(labels, np.array([f"person {number // 2}" for number in range(1800)]))
    monkeypatch.setitem(datasets._items, "rows", TableSource(Contents(NAMES, table, None)))


def load(name: str = "rows", evaluation: EvaluationSettings | None = None, said: list[str] | None = None) -> Dataset:
    options = DataOptions(evaluation=evaluation or EvaluationSettings())
    return load_dataset(name, options, [].append if said is None else said.append)


@pytest.mark.parametrize("examples", [made_up(8), random_images([0, 1, 2, 0, 1, 2, 0, 1])], ids=["rows", "images"])
def test_the_fingerprint_depends_on_content_and_labels_alone(examples: ArrayTable) -> None:
    mixed = np.random.default_rng(0).permutation(8)
    assert fingerprint(examples.take(mixed)) == fingerprint(examples)
    assert fingerprint(examples.with_ids(examples.ids + 7)) == fingerprint(examples)
    relabelled = dataclasses.replace(examples, labels=examples.labels[::-1].copy())
    others = (examples.take(np.arange(7)), examples.take(np.r_[np.arange(8), 0]), relabelled)
    assert len({fingerprint(examples), *map(fingerprint, others)}) == 4
    assert np.array_equal(mixed[by_content(examples.take(mixed))], by_content(examples))


@pytest.mark.parametrize(
    ("strategy", "n"),
    [
        *(("full", 90), ("random:0.5", 45), ("half-classes:1", 60), ("easiest:0.2", 18), ("hardest:0.1,by=el2n", 9)),
        *(("mix:0.2", 18), ("k-center:0.1", 9), ("herding:0.1", 9), ("confusable-classes:2", 60)),
    ],
)
def test_strategies_choose_from_them(strategy: str, n: int) -> None:
    data = dataset()
    subset = choose_subset(data, parse_strategy(strategy), 3, random_scores(data.train))
    assert isinstance(subset.train, ArrayTable)
    assert (len(subset.train), subset.modality, subset.preprocessing) == (n, MODALITY, "standardized")
    assert np.array_equal(subset.train.values, data.train.values[subset.train.ids])
    assert set(subset.valid.labels) == set(subset.classes)
    assert len(set(subset.repeated(3).train.ids)) == 3 * n


@pytest.mark.parametrize("strategy", ["random:0.5", "easiest:0.5"])
def test_a_subset_of_them_travels_as_files(strategy: str, tmp_path: Path) -> None:
    data = dataclasses.replace(dataset(), test=ArrayTable.made_up([0, 1, 2], seed=2))
    subset = choose_subset(data, parse_strategy(strategy), 3, random_scores(data.train))
    manifest = json.loads(write_subset(subset, tmp_path).read_text(encoding="utf-8"))
    assert manifest["modality"] == MODALITY
    found = read_subset(tmp_path)
    assert (found.fingerprint, found.preprocessing) == (subset.fingerprint, subset.preprocessing)
    for theirs, ours in zip(
        (found.train, found.valid, found.test), (subset.train, subset.valid, subset.test), strict=True
    ):
        assert np.array_equal(theirs.values, ours.values)
        assert np.array_equal(theirs.ids, ours.ids)


@pytest.mark.parametrize(
    "change", [{"modality": "smells"}, {"modality": 3}, {"width": 0}, {"width": 101}, {"width": 2}, {"seed": -1}]
)
def test_a_manifest_with_a_wrong_entry_is_refused_by_its_file(change: dict[str, object], tmp_path: Path) -> None:
    path = write_subset(choose_subset(dataset(), parse_strategy("full"), 0), tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(UserError, match=str(tmp_path)):
        read_subset(tmp_path)


@pytest.mark.usefixtures("source")
def test_the_catalog_loads_splits_and_describes_them() -> None:
    said: list[str] = []
    data = load(evaluation=EvaluationSettings(300, 60), said=said)
    assert (len(data.train), len(data.valid), data.test and len(data.test)) == (1440, 300, 60)
    assert "1,440 training, 300 validation and 60 test rows of 3 numbers, 3 classes: cat, dog, owl" in said[0]
    assert "100 validation rows of each" in said[0]
    assert said[-1] == "warning: these numbers are made up"
    sides = [set(examples.groups) for examples in (data.train, *data.held_out.values()) if examples.groups is not None]
    assert len(sides) == 3
    assert sum(map(len, sides)) == len(set.union(*sides)) == 900, "no group is on two sides"
    assert load(evaluation=EvaluationSettings(300, 60)).fingerprint == data.fingerprint


@pytest.mark.usefixtures("source")
def test_a_part_of_them_has_whole_groups() -> None:
    part = load("rows@300")
    assert (len(part.train), part.train.ids.tolist()) == (300, list(range(300)))
    assert part.train.groups is not None
    assert np.unique(part.train.groups, return_counts=True)[1].tolist() == [2] * 150
    assert fingerprint(part.valid) == fingerprint(load("rows").valid)


def test_a_class_without_examples_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = Contents(NAMES, made_up(), ArrayTable.made_up([0, 1] * 9, seed=1))
    monkeypatch.setitem(datasets._items, "rows", TableSource(contents))
    with pytest.raises(InvalidValue, match="owl") as caught:
        load()
    assert (caught.value.name, caught.value.value) == ("dataset", "rows")


def test_code_of_images_refuses_them_by_their_modality() -> None:
    data = dataset()
    with pytest.raises(InvalidValue) as caught:
        DeviceImages(data.train, range(3), digits().preprocessing, torch.device("cpu"))
    assert (caught.value.name, caught.value.value) == ("modality", MODALITY)
