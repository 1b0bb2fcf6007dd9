"""A file of predictions meets its examples by id, whatever its order and format; what does not fit is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from array_table import ArrayTable, Rows
from made_up import digits, noise_dataset
from scipy.special import softmax

from proxyflow.core.errors import InvalidValue
from proxyflow.data.catalog import part_of
from proxyflow.data.predictions import read_predictions
from proxyflow.data.protocol import Dataset, Examples, by_content
from proxyflow.scores.table import SelectionCost
from proxyflow.scoring.external import scores_from_file
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import choose_subset

NAMES = ("cat", "dog", "owl")
LABELS = np.arange(30) % 3
VALUES = softmax(2 * np.eye(3)[LABELS] + np.random.default_rng(0).normal(size=(30, 3)), axis=1)


@pytest.fixture
def dataset(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Rows with ids of their user: text, of examples that are not in the order of their ids."""
    monkeypatch.setattr(Rows, "identifiers", lambda self, examples: np.array([f"r-{each:02}" for each in examples.ids]))
    return Dataset("rows", NAMES, ArrayTable.made_up(LABELS), ArrayTable.made_up([0, 1, 2], seed=1), None)


def table(ids: Any = None, columns: Any = NAMES) -> pd.DataFrame:
    frame = pd.DataFrame(VALUES, columns=list(columns))
    frame.insert(0, "id", [f"r-{row:02}" for row in range(30)] if ids is None else ids)
    return frame


def as_csv(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_csv(folder / "p.csv", index=False)
    return folder / "p.csv"


def as_parquet(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_parquet(folder / "p.parquet")
    return folder / "p.parquet"


Write = Callable[[pd.DataFrame, Path], Path]
FORMATS = pytest.mark.parametrize("write", [as_csv, as_parquet])


@FORMATS
def test_rows_and_columns_may_be_in_any_order_and_other_rows_are_counted(
    write: Write, dataset: Dataset, tmp_path: Path
) -> None:
    more = pd.DataFrame([["v-1", 0.1, 0.2, 0.7], ["v-1", 0.1, 0.2, np.nan]], columns=["id", *NAMES])
    frame = pd.concat([table(), more]).sample(frac=1, random_state=0)[["owl", "id", "cat", "dog"]]
    found = read_predictions(write(frame, tmp_path), dataset)
    np.testing.assert_array_equal(found.values, VALUES)
    assert (found.ignored, found.names[7]) == (2, "id r-07")


@FORMATS
def test_columns_may_be_numbers_of_classes(write: Write, dataset: Dataset, tmp_path: Path) -> None:
    frame = table(columns="012")[["id", "2", "0", "1"]]
    np.testing.assert_array_equal(read_predictions(write(frame, tmp_path), dataset).values, VALUES)
    # Class names come before numbers.
    reverse = dataclasses.replace(dataset, class_names=("2", "1", "0"))
    np.testing.assert_array_equal(read_predictions(write(frame, tmp_path), reverse).values, VALUES[:, ::-1])


@pytest.mark.parametrize("kind", ["int32", "int64", "uint8", "category", "string"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_ids_may_be_numbers_or_text(kind: str, precision: str, tmp_path: Path) -> None:
    data = noise_dataset(LABELS.tolist(), [0, 1, 2], 3)
    ids: Any = pd.Series(np.arange(30))
    frame = table(ids.astype(str).astype(kind) if kind in ("category", "string") else ids.astype(kind), "012")
    frame = frame.astype(dict.fromkeys("012", precision)).iloc[::-1]
    for write in (as_csv, as_parquet):
        np.testing.assert_allclose(read_predictions(write(frame, tmp_path), data).values, VALUES, rtol=1e-6)


def change(row: int, column: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def changed(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.copy()
        frame.loc[row, column] = value
        return frame

    return changed


@FORMATS
@pytest.mark.parametrize(
    ("changed", "name", "value"),
    [
        (lambda frame: frame.drop(index=4), "id", "r-04"),
        (lambda frame: frame.iloc[:0].astype({"id": "string"}), "id", "r-00"),
        (change(4, "id", "r-05"), "id", "r-05"),
        (change(4, "id", None), "id of row", 4),
        (lambda frame: frame.drop(columns="id"), "columns", "cat, dog, owl"),
        (lambda frame: frame.drop(columns="dog"), "column", "dog"),
        (lambda frame: frame.rename(columns={"dog": "dgo"}), "column", "dgo"),
        (lambda frame: frame.assign(label=0), "column", "label"),
        (lambda frame: frame.set_axis(["id", "0", "1", "3"], axis=1), "column", "3"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_id_or_column(
    write: Write,
    changed: Callable[[pd.DataFrame], pd.DataFrame],
    name: str,
    value: Any,
    dataset: Dataset,
    tmp_path: Path,
) -> None:
    path = write(changed(table()), tmp_path)
    with pytest.raises(InvalidValue) as caught:
        read_predictions(path, dataset)
    assert (caught.value.name, caught.value.value) == (f"{path.name}: {name}", value)


@FORMATS
def test_a_missing_prediction_is_refused_by_its_id(write: Write, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue) as caught:
        scores_from_file(write(change(4, "dog", np.nan)(table()), tmp_path), dataset)
    assert caught.value.name.endswith("predictions of id r-04")


@pytest.mark.parametrize(
    "text",
    ["", "id,cat,cat,owl\n", "id,cat,dog,owl\nr-00,1,2\n", "id,cat,dog,owl\nr-00,1,2,many\n", "id,cat,dog,owl\n\xff,1"],
)
def test_a_csv_file_of_another_form_is_refused(text: str, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(text, encoding="latin-1")
    with pytest.raises(InvalidValue, match=r"p\.csv"):
        read_predictions(tmp_path / "p.csv", dataset)


def test_a_parquet_file_of_another_form_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    for frame, options, named in (
        (table(np.arange(30) / 2), {}, "column id"),
        (table().assign(dog="much"), {}, "column dog"),
        (table().assign(dog=[[1.0]] * 30), {}, "column dog"),
        (table(), {"compression": "zstd"}, "snappy"),
    ):
        frame.to_parquet(path, **options)
        with pytest.raises(InvalidValue, match=named):
            read_predictions(path, dataset)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InvalidValue) as caught:
        read_predictions(path, dataset)
    assert (caught.value.name, caught.value.value) == ("predictions", path)


def test_an_array_has_a_row_per_training_example_or_per_example_of_the_source(tmp_path: Path) -> None:
    data, path = digits(), tmp_path / "p.npy"
    n, source = len(data.train), len(data.train) + len(data.valid)
    every = np.random.default_rng(0).normal(size=(source, 10))
    np.save(path, every[:n])
    np.testing.assert_array_equal(read_predictions(path, data).values, every[:n])
    np.save(path, every)
    found = read_predictions(path, data)
    from proxyflow.data.images.store import images_of

    np.testing.assert_array_equal(found.values, every[images_of(data.train).rows])
    assert found.ignored == source - n
    part = part_of(data, 100)
    np.testing.assert_array_equal(read_predictions(path, part).values, every[images_of(part.train).rows])
    # Those of all training examples are not those of a part, and not those of the source.
    np.save(path, every[:n])
    for rows, of in ((n, part), (n - 1, data), (n + 1, data)):
        np.save(path, every[:rows])
        with pytest.raises(InvalidValue) as caught:
            read_predictions(path, of)
        assert (caught.value.name, caught.value.value) == ("predictions", path)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(30),
        np.zeros((30, 4)),
        np.zeros((30, 3, 1)),
        np.zeros((30, 3), bool),
        np.full((30, 3), "a"),
        np.array({}),
    ],
)
def test_an_array_of_another_form_is_refused(array: np.ndarray, dataset: Dataset, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", array)
    with pytest.raises(InvalidValue) as caught:
        read_predictions(tmp_path / "p.npy", dataset)
    assert (caught.value.name, caught.value.value) == ("predictions", tmp_path / "p.npy")


def test_no_pickle_is_read_and_no_memory_taken_for_what_is_not_there(dataset: Dataset, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "ran").touch, ())

    path = tmp_path / "p.npy"
    np.save(path, np.array([[Evil()] * 3] * 30), allow_pickle=True)
    claims = path.with_name("huge.npy")
    with claims.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 3)})
    np.savez(tmp_path / "z.npz", VALUES)
    (tmp_path / "z.npz").rename(tmp_path / "archive.npy")
    for name in ("p.npy", "huge.npy", "archive.npy"):
        with pytest.raises(InvalidValue):
            read_predictions(tmp_path / name, dataset)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["p.pkl", "p", "p.npz", "absent.npy"])
def test_other_files_and_none_are_refused(name: str, dataset: Dataset, tmp_path: Path) -> None:
    if name != "absent.npy":
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InvalidValue) as caught:
        read_predictions(tmp_path / name, dataset)
    assert caught.value.name == "predictions"


def test_scores_are_in_the_order_of_the_training_set_and_choose(dataset: Dataset, tmp_path: Path) -> None:
    found = scores_from_file(as_csv(table(), tmp_path), dataset, held_out=True)
    assert (found.kind, found.held_out, found.ignored) == ("probabilities", True, 0)
    np.testing.assert_allclose(found.scores.frame["heldout_loss"], -np.log(VALUES[np.arange(30), LABELS]), rtol=1e-12)
    assert found.accuracy == pytest.approx((VALUES.argmax(axis=1) == LABELS).mean())
    subset = choose_subset(dataset, parse_strategy("easiest:0.2,by=heldout_loss"), 0, found.scores)
    assert {*subset.train.ids} == {*np.argsort(found.scores.frame["loss"])[:6]}
    for strategy in ("mix:0.2", "slice:0.25-0.75", "hardest:0.5,drop=0.1", "confusable-classes:2"):
        choose_subset(dataset, parse_strategy(strategy), 0, found.scores)


def test_equal_predictions_have_equal_content_in_any_file(dataset: Dataset, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", VALUES)
    files = [as_parquet(table().iloc[::-1], tmp_path), as_csv(table(), tmp_path), tmp_path / "p.npy"]
    found = [scores_from_file(path, dataset) for path in files]
    order = np.random.default_rng(1).permutation(30)
    moved = dataclasses.replace(dataset, train=dataset.train.take(order))
    found.append(scores_from_file(files[0], moved))
    assert len({each.content_sha256 for each in found}) == 1
    assert len({each.file_sha256 for each in found}) == 3
    first, last = (each.scores.frame.set_index("example_id").sort_index() for each in (found[0], found[-1]))
    pd.testing.assert_frame_equal(first, last)
    other = scores_from_file(as_csv(change(3, "cat", 0.3)(table()), tmp_path), dataset, "logits")
    assert other.content_sha256 != found[0].content_sha256


def test_the_user_is_told_what_is_doubtful(dataset: Dataset, tmp_path: Path) -> None:
    path = as_csv(table(), tmp_path)

    def warnings(**options: Any) -> list[str]:
        return [line for line in scores_from_file(path, dataset, **options).notes() if line.startswith("warning")]

    assert [("in-sample" in line and "held_out=true" in line) for line in warnings()] == [True]
    assert warnings(held_out=True) == []
    # Rows of other examples: no better than chance.
    path = as_csv(table(np.roll(table()["id"], 1)), tmp_path)
    assert len(warnings(held_out=True)) == 1


def test_a_cost_is_what_is_stated_and_unknown_otherwise(dataset: Dataset, tmp_path: Path) -> None:
    path = as_csv(table(), tmp_path)
    free = scores_from_file(path, dataset).scores
    assert free.cost_of({"loss", "margin"}) is None
    stated = SelectionCost(30.0, float("nan"), float("nan"))
    scores = scores_from_file(path, dataset, held_out=True, cost=stated).scores
    scores.save(tmp_path / "scores", {})
    loaded = type(scores).load(tmp_path / "scores")
    for needs in ({"loss", "margin"}, {"heldout_loss", "margin"}, {"confusion"}):
        cost = loaded.cost_of(needs)
        assert cost is not None
        assert (cost.train_seconds, np.isnan(cost.examples_seen), np.isnan(cost.train_flops)) == (30.0, True, True)


def test_the_order_of_content_is_no_order_of_rows(dataset: Dataset) -> None:
    """The tests above would pass by accident if the two were the same."""
    train: Examples = dataset.train
    assert not np.array_equal(by_content(train), np.arange(30))
