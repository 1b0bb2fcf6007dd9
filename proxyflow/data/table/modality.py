"""What rows of tables are to code for data of any kind: how a data set of them is described, and kept in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import printable, shortened
from proxyflow.data.description import counted
from proxyflow.data.modality import Modality, Part, modalities
from proxyflow.data.protocol import Dataset, Examples, content_ranks
from proxyflow.data.table.spelling import MODALITY

if TYPE_CHECKING:
    from proxyflow.data.table.artifact import RowCodec
    from proxyflow.data.table.store import TableSet

# Data in memory are written in the first of these that can hold every column.
PLAIN, ANY = "csv", "parquet"
# The share of rows that are copies of another one, from which on a warning is given.
MANY_COPIES = 0.1


class Rows(Modality):
    """Rows of a file, or of arrays in memory."""

    noun = "row"

    def codec_of(self, train: Examples, valid: Examples, preprocessing: Any) -> RowCodec:
        from proxyflow.data.table.artifact import RowCodec  # imports pyarrow

        return RowCodec.of(_rows(train).store)

    def codec_from(self, manifest: Mapping[str, Any]) -> RowCodec:
        from proxyflow.data.table.artifact import RowCodec

        return RowCodec.from_manifest(manifest)

    def summary(self, dataset: Dataset) -> str:
        n = _rows(dataset.train).store.table.num_columns
        return f" of {n} column{'' if n == 1 else 's'}"

    def warnings(self, dataset: Dataset) -> list[str]:
        rows = _rows(dataset.train)
        copies = len(rows) - int(content_ranks(rows).max()) - 1
        if copies < MANY_COPIES * len(rows):
            return []
        columns = ", ".join(rows.store.content)
        return [
            f"warning: in {dataset.name} {counted(copies, 'training row')} the same as another one in {columns}, and "
            "copies share a side of every split; if they are different examples, add a column that tells them apart"
        ]

    def identifiers(self, examples: Examples) -> NDArray[Any]:
        return _rows(examples).identifiers

    def positions(self, examples: Examples) -> NDArray[np.int64]:
        return _rows(examples).positions

    def name_of(self, examples: Examples, position: int) -> str:
        rows = _rows(examples).take(np.array([position]))
        name = f"row {int(rows.positions[0]) + 1:,}"  # people count the rows of a file from 1
        return f"{name} (id {shortened(printable(str(rows.identifiers[0])))})" if "id" in rows.store.roles else name

    def write_files(self, part: Part, examples: Examples, class_names: Sequence[str], folder: Path) -> Path:
        """Writes `train.csv` or `valid.csv`, or another format as the source is, with the columns as they were."""
        from proxyflow.data.table.formats import formats

        rows = _rows(examples)
        table = rows.table
        form = formats[rows.store.format or (PLAIN if _is_flat(table) else ANY)]
        path = folder / f"{part}{form.suffixes[0]}"
        form.write(table, path)
        return path


def _is_flat(table: Any) -> bool:
    import pyarrow as pa

    return not any(pa.types.is_list(field.type) for field in table.schema)


def _rows(examples: Examples) -> TableSet:
    from proxyflow.data.table.store import rows_of

    return rows_of(examples)


modalities.add(MODALITY, Rows())
