"""Reads embeddings of the examples of a data set, those of a frozen model for example, from a file of the user's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from proxyflow.core.errors import InvalidValue
from proxyflow.data.example_files import ID, FileForm, read_example_file
from proxyflow.data.protocol import Dataset
from proxyflow.strategies.embeddings import EmbeddingRows

MOST_DIMENSIONS = 2**16


def read_embeddings(path: Path, dataset: Dataset) -> EmbeddingRows:
    """The embeddings of a data set's training examples; of an array's file, what is asked for is read later.

    Args:
        path: a file as `read_example_file` takes it: a table with a column `id` and one per dimension, whatever their
            names, which is read into memory; or an array `(n, d)`, which is not.

    Raises:
        InvalidValue: see `read_example_file`; or a value is not finite.
    """
    found = read_example_file(path, dataset, EMBEDDINGS)
    embeddings = EmbeddingRows(found.values, found.rows)
    rule = "embeddings must be finite numbers; compute those of this example again"
    embeddings.check_finite(lambda row, value: InvalidValue(f"{path.name}: {found.names[row]}", value, rule))
    return embeddings


def _dimensions(path: Path, found: Sequence[str], dataset: Dataset) -> list[str]:
    _check_width(path, len(found), dataset)
    return list(found)


def _check_width(path: Path, width: int, dataset: Dataset) -> None:
    if not 1 <= width <= MOST_DIMENSIONS:
        rule = f"it has {width:,} columns besides {ID}; give one per dimension, {MOST_DIMENSIONS:,} at most"
        raise InvalidValue("embeddings", path, rule)


EMBEDDINGS = FileForm("embeddings", "(n, d)", _dimensions, _check_width, np.float32)
