"""What a function is given selects from any data, and what it reports becomes epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from proxyflow.core.errors import InvalidValue
from proxyflow.trainers.function.job import FunctionJob, Part, returned_values
from proxyflow.trainers.results import EpochRecord

CHOSEN = [4, 0, 2]
PART = Part(np.array(["e", "a", "c"]), np.array([1, 0, 1]), np.array(CHOSEN))
NUMBERS = np.arange(10, 15)


class Squares(Dataset[int]):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> int:
        if not isinstance(index, int):
            raise TypeError(type(index))
        return index**2


class HuggingFace:
    """As `datasets.Dataset` selects."""

    features = ("text",)

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("it is selected from by select")

    def select(self, indices: list[int]) -> HuggingFace:
        assert all(type(index) is int for index in indices)
        return HuggingFace([self.rows[index] for index in indices])


ODD_INDEX = [9, 9, 1, 0, 2]
KINDS: dict[str, tuple[Any, Callable[[Any], Any], list[Any]]] = {
    "list": (list("abcde"), list, list("eac")),
    "tuple": (tuple("abcde"), list, list("eac")),
    "array": (NUMBERS, list, [14, 10, 12]),
    "matrix": (np.stack([NUMBERS, NUMBERS], axis=1), lambda found: found[:, 1].tolist(), [14, 10, 12]),
    "tensor": (torch.from_numpy(NUMBERS), torch.Tensor.tolist, [14, 10, 12]),
    "csr": (scipy.sparse.csr_matrix(NUMBERS[:, None]), lambda found: found.toarray()[:, 0].tolist(), [14, 10, 12]),
    "coo": (scipy.sparse.coo_array(NUMBERS[:, None]), lambda found: found.toarray()[:, 0].tolist(), [14, 10, 12]),
    "frame": (pd.DataFrame({"x": NUMBERS}, index=ODD_INDEX), lambda found: found["x"].tolist(), [14, 10, 12]),
    "series": (pd.Series(NUMBERS, index=ODD_INDEX), list, [14, 10, 12]),
    "index": (pd.Index(NUMBERS), list, [14, 10, 12]),
    "categories": (pd.Categorical(list("abcde")), list, list("eac")),
    "table": (pa.table({"x": NUMBERS}), lambda found: found["x"].to_pylist(), [14, 10, 12]),
    "chunks": (pa.chunked_array([[10, 11], [12, 13, 14]]), pa.ChunkedArray.to_pylist, [14, 10, 12]),
    "torch data set": (Squares(), lambda found: [found[i] for i in range(len(found))], [16, 0, 4]),
    "tensors": (TensorDataset(torch.from_numpy(NUMBERS)), lambda found: [int(x) for (x,) in found], [14, 10, 12]),
    "datasets": (HuggingFace([10, 11, 12, 13, 14]), lambda found: found.rows, [14, 10, 12]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_examples_are_selected_by_position(kind: str) -> None:
    data, plain, expected = KINDS[kind]
    assert plain(PART.of(data)) == expected


@pytest.mark.parametrize("kind", ["list", "tuple", "array", "tensor", "frame", "series", "table", "datasets", "csr"])
def test_what_is_selected_is_of_the_same_kind(kind: str) -> None:
    data = KINDS[kind][0]
    assert type(PART.of(data)) is type(data)
    nothing = Part(np.array([]), np.array([], dtype=np.int64), np.array([], dtype=np.int64))
    assert type(nothing.of(data)) is type(data)


class Stream(IterableDataset[int]):
    """Has no length."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(10))


WRONG = {
    "too short": [1, 2],
    "a pair of arrays": (NUMBERS, NUMBERS),
    "a mapping": {number: number for number in range(10)},
    "an iterator": iter(range(10)),
    "a stream": Stream(),
    "a scalar": np.array(5),
    "a set": set(range(10)),
    "None": None,
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_has_not_all_examples_is_refused(kind: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        PART.of(WRONG[kind])
    assert (caught.value.name, caught.value.value) == ("data", type(WRONG[kind]).__name__)


# Reports.


def job_of(reports: list[tuple[Any, dict[str, Any]]], stop_at: int = 100) -> tuple[FunctionJob, list[bool]]:
    job = FunctionJob(
        {}, PART, PART, ("a", "b"), 3, 0, torch.device("cpu"), Path(), "loss", lambda record: record.epoch >= stop_at
    )
    return job, [job.report(epoch, **values) for epoch, values in reports]


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([0, 1, 2], [1, 2, 3]),
        ([None, None], [1, 2]),
        ([1, None, 3], [1, 2, 3]),
        ([2, 4], [2, 4]),
        ([1, 1, 2], [1, 2, 3]),
        ([3, 1], [3, 4]),
        ([np.int64(1), 2.0], [1, 2]),
    ],
)
def test_how_functions_count(epochs: list[Any], expected: list[int]) -> None:
    job, _ = job_of([(epoch, {"loss": 1}) for epoch in epochs])
    assert [record.epoch for record in job._records] == expected


def test_values_of_one_epoch_are_one_record() -> None:
    job, _ = job_of([(1, {"train": 1}), (1, {"loss": 2}), (2, {"train": 3}), (None, {"loss": 4})])
    assert job._records == [EpochRecord(1, {"train": 1, "loss": 2}), EpochRecord(2, {"train": 3, "loss": 4})]


def test_an_epoch_without_the_metric_is_none() -> None:
    job, _ = job_of([(1, {"train": 1}), (2, {"loss": 2})])
    assert job._records == [EpochRecord(2, {"loss": 2})]


def test_it_says_when_to_stop() -> None:
    assert job_of([(1, {"train": 1}), (1, {"loss": 1}), (2, {"loss": 1})], stop_at=2)[1] == [False, False, True]


def test_numbers_of_any_library() -> None:
    job, _ = job_of([(1, {"loss": torch.tensor(0.5, requires_grad=True), "x": np.array([2])})])
    assert job._records == [EpochRecord(1, {"loss": 0.5, "x": 2.0})]
    job, _ = job_of([(1, {"loss": math.nan})])
    assert math.isnan(job._records[0].values["loss"])


@pytest.mark.parametrize("value", [None, "high", [1], torch.zeros(2), np.zeros(2), {}])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        job_of([(1, {"loss": value})])
    assert caught.value.name == "loss"


@pytest.mark.parametrize(
    ("returned", "values"),
    [
        (None, {}),
        (0.5, {"loss": 0.5}),
        (np.float32(0.5), {"loss": 0.5}),
        ({"loss": 1, "steps": 2}, {"loss": 1, "steps": 2}),
    ],
)
def test_what_a_function_returns(returned: Any, values: dict[str, float]) -> None:
    assert returned_values(returned, "loss") == values


@pytest.mark.parametrize("returned", ["done", [0.5, 0.4], (x for x in ()), object()])
def test_what_a_function_must_not_return(returned: Any) -> None:
    with pytest.raises(InvalidValue):
        returned_values(returned, "loss")
