"""Reads predictions for the examples of a data set from a file that another program wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue, shortened
from proxyflow.data.example_files import ID, FileForm, read_example_file
from proxyflow.data.protocol import Dataset


@dataclass(frozen=True, eq=False)
class PredictionRows:
    """Predictions of the training examples.

    Attributes:
        values: `(n, classes) float64` in the order of the training set and of the class names; not checked yet.
        names: `(n,)`, what messages call the examples.
        ignored: rows of the file that are of no training example.
    """

    values: NDArray[np.float64]
    names: Sequence[str]
    ignored: int


def read_predictions(path: Path, dataset: Dataset) -> PredictionRows:
    """Reads the predictions of a data set's training examples.

    Args:
        path: a file as `read_example_file` takes it. Columns of a table are a column per class, named by the class
            names or by 0 to k - 1; an array has the shape `(n, classes)`.

    Raises:
        InvalidValue: see `read_example_file`; or the columns are not the classes.
    """
    found = read_example_file(path, dataset, PREDICTIONS)
    return PredictionRows(found.values[found.rows].astype(np.float64), found.names, found.ignored)


def _class_columns(path: Path, found: Sequence[str], dataset: Dataset) -> list[str]:
    """The columns of the classes, in the order of these."""
    classes = dataset.class_names
    numbers = [str(number) for number in range(len(classes))]
    # Class names come first: a data set may call its classes 1 and 0.
    if {*found} in ({*classes}, {*numbers}):
        return list(classes) if {*found} == {*classes} else numbers
    # Whichever of both is meant.
    expected = list(classes) if {*found} & {*classes} or not {*found} & {*numbers} else numbers
    wanted = shortened(", ".join(expected))
    unknown = [name for name in found if name not in expected]
    if unknown:
        hint = "" if unknown[0] else "; write the table without its index"
        rule = f"it is no class; give {ID} and one column per class: {wanted}, or 0 to {len(classes) - 1}{hint}"
        raise InvalidValue(f"{path.name}: column", unknown[0], rule)
    missing = [name for name in expected if name not in found]
    raise InvalidValue(f"{path.name}: column", missing[0], f"it is missing; give one column per class: {wanted}")


def _check_width(path: Path, width: int, dataset: Dataset) -> None:
    classes = len(dataset.class_names)
    if width != classes:
        rule = f"it has {width} columns; give one for each of the {classes} classes, in their order"
        raise InvalidValue("predictions", path, rule)


PREDICTIONS = FileForm("predictions", "(n, classes)", _class_columns, _check_width, np.float64)
