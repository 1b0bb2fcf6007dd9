"""Labelled rows of numbers: the smallest data that are no images, and all that a new modality has to bring."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from proxyflow.core.errors import InvalidValue
from proxyflow.core.validation import Fields, Numeric
from proxyflow.data.modality import Modality, Part, modalities
from proxyflow.data.options import DataOptions
from proxyflow.data.protocol import Contents, Dataset, Examples, Positions, Say

MODALITY = "rows of tests"


@dataclass(frozen=True, eq=False)
class ArrayTable:
    """Rows of numbers.

    Attributes:
        values: `(n, d) float64`.
        groups: `(n,)`, or None.
    """

    values: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    groups: np.ndarray | None = None
    modality: ClassVar[str] = MODALITY

    @staticmethod
    def made_up(labels: list[int] | np.ndarray, groups: np.ndarray | None = None, seed: int = 0) -> ArrayTable:
        """Random rows, all different."""
        rng = np.random.default_rng(seed)
        return ArrayTable(
            rng.normal(size=(len(labels), 3)), np.asarray(labels, dtype=np.int64), np.arange(len(labels)), groups
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def content_hashes(self) -> np.ndarray:
        return np.array([hashlib.sha256(row.tobytes()).hexdigest() for row in self.values], dtype="U64")

    def take(self, positions: Positions) -> ArrayTable:
        groups = None if self.groups is None else self.groups[positions]
        return ArrayTable(self.values[positions], self.labels[positions], self.ids[positions], groups)

    def with_ids(self, ids: np.ndarray) -> ArrayTable:
        return dataclasses.replace(self, ids=ids)


class RowReader:
    """Reads the column of rows."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows: list[np.ndarray] = []

    def add(self, batch: pa.RecordBatch) -> None:
        for data in batch["row"].to_pylist():
            if data is None or len(data) != 8 * self.width:
                raise ValueError(f"row {len(self.rows)} has not {self.width} numbers")
            self.rows.append(np.frombuffer(data))

    def examples(self, labels: np.ndarray, ids: np.ndarray) -> ArrayTable:
        rows, self.rows = self.rows, []
        return ArrayTable(np.stack(rows), labels, ids)


@dataclass(frozen=True)
class RowCodec:
    """Rows as their bytes."""

    width: int
    schema: ClassVar[pa.Schema] = pa.schema([("row", pa.binary())])
    leaves: ClassVar[Sequence[str]] = ("row",)
    features: ClassVar[Mapping[str, Any]] = {"row": {"dtype": "binary", "_type": "Value"}}
    rows_together: ClassVar[int] = 100
    written_by: ClassVar[str] = ""

    @property
    def entries(self) -> dict[str, Any]:
        return {"width": self.width}

    def columns(self, part: str, examples: Examples, rows: slice) -> dict[str, pa.Array]:
        assert isinstance(examples, ArrayTable)
        return {"row": pa.array([row.tobytes() for row in examples.values[rows]], type=pa.binary())}

    def reader(self, options: DataOptions) -> RowReader:
        return RowReader(self.width)

    def preprocessing(self, valid: Examples, options: DataOptions) -> str:
        return "standardized"


class Rows(Modality):
    """The modality."""

    noun = "row"

    def codec_of(self, train: Examples, valid: Examples, preprocessing: object) -> RowCodec:
        assert isinstance(train, ArrayTable)
        return RowCodec(train.values.shape[1])

    def codec_from(self, manifest: Mapping[str, Any]) -> RowCodec:
        codec = RowCodec(**Fields({"width": Numeric(low=1, whole=True)}).parse("", manifest))
        if codec.width > 100:
            raise InvalidValue("width", codec.width, "it must be at most 100")
        return codec

    def summary(self, dataset: Dataset) -> str:
        return " of 3 numbers"

    def warnings(self, dataset: Dataset) -> list[str]:
        return ["warning: these numbers are made up"]

    def positions(self, examples: Examples) -> np.ndarray:
        return examples.ids

    def write_files(self, part: Part, examples: Examples, class_names: Sequence[str], folder: Path) -> Path:
        assert isinstance(examples, ArrayTable)
        np.save(folder / f"{part}.npy", examples.values)
        return folder / f"{part}.npy"


if MODALITY not in modalities:
    modalities.add(MODALITY, Rows())


@dataclass(frozen=True)
class TableSource:
    """A source of contents that are given."""

    contents: Contents
    description: str = "made-up rows"
    takes_path: bool = False

    def canonical_path(self, path: str) -> str:
        return path

    def load(self, name: str, path: str, options: DataOptions, say: Say) -> Contents:
        return self.contents
