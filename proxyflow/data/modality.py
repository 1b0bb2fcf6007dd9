"""What generic code asks about one kind of data: how to describe it, and how to keep it in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.registry import Registry
from proxyflow.data.options import DataOptions
from proxyflow.data.protocol import Dataset, Examples

if TYPE_CHECKING:
    import pyarrow as pa


Part = Literal["train", "valid"]
# Columns that a subset of any modality has in its files.
KEYS = ("label", "example_id", "score")


class Reader(Protocol):
    """Turns columns of a subset's files back into examples, part after part."""

    def add(self, batch: pa.RecordBatch) -> None:
        """Reads some rows.

        Raises:
            ValueError: a value is not what the codec writes; the message names its row.
        """
        ...

    def examples(self, labels: NDArray[np.int64], ids: NDArray[np.int64]) -> Examples:
        """All rows that were added since the last call."""
        ...


class Codec(Protocol):
    """How the examples of one subset are kept in its files, beside the columns of every subset (`KEYS`).

    Attributes:
        schema: its columns; none is called as one of `KEYS`.
        leaves: those that are read; of a structure its leaf, as `image.bytes`.
        features: how Hugging Face's `datasets` describes its columns.
        entries: its entries of the subset's manifest, as JSON values.
        rows_together: how many rows are written and read at once; a batch whose values are above 2 GB cannot be read.
    """

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def leaves(self) -> Sequence[str]: ...

    @property
    def features(self) -> Mapping[str, Any]: ...

    @property
    def entries(self) -> dict[str, Any]: ...

    @property
    def rows_together(self) -> int: ...

    def columns(self, part: str, examples: Examples, rows: slice) -> dict[str, pa.Array]:
        """Its columns of some rows of a part (`train`, `valid` or `test`)."""
        ...

    def reader(self, options: DataOptions) -> Reader:
        """What reads the columns of all parts of a subset."""
        ...

    def preprocessing(self, valid: Examples, options: DataOptions) -> Any:
        """The subset's preprocessing."""
        ...

    @property
    def written_by(self) -> str:
        """What else can make the content differ from the stated fingerprint, and the remedy; may be empty."""
        ...


class Modality(Protocol):
    """One kind of data.

    Attributes:
        noun: what an example is called in messages: `image`.
    """

    @property
    def noun(self) -> str: ...

    def codec_of(self, train: Examples, valid: Examples, preprocessing: Any) -> Codec:
        """How a subset with these examples and this preprocessing is kept in files."""
        ...

    def codec_from(self, manifest: Mapping[str, Any]) -> Codec:
        """How the subset with this manifest was kept in files.

        Args:
            manifest: as it was read from JSON; of its own entries nothing has been validated.

        Raises:
            InvalidValue: an entry of the codec is missing or wrong, or contradicts another one.
        """
        ...

    def summary(self, dataset: Dataset) -> str:
        """What follows the number of examples in the description of a data set: ` of 8 x 8 pixels, grey`."""
        ...

    def warnings(self, dataset: Dataset) -> list[str]:
        """What the user should look at."""
        ...

    def identifiers(self, examples: Examples) -> NDArray[Any]:
        """`(n,)` what the user calls the examples: the ids of a table; the examples' own where there are no others."""
        return examples.ids

    def positions(self, examples: Examples) -> NDArray[np.int64]:
        """`(n,)` where the examples are in the source's own order: the rows of a file, from 0."""
        ...

    def name_of(self, examples: Examples, position: int) -> str:
        """What messages call the example at a position."""
        return f"{self.noun} {self.identifiers(examples)[position]}"

    def write_files(self, part: Part, examples: Examples, class_names: Sequence[str], folder: Path) -> Path:
        """Writes the examples in the layout that programs for such data read.

        Args:
            part: which part of a subset they are.
            class_names: of all classes, by label.
            folder: an existing folder, in which the other part is written as well.

        Returns:
            The file or folder inside of `folder` that has the examples.
        """
        ...


modalities: Registry[Modality] = Registry("modality")
