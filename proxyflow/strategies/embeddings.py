"""Where embeddings come from: a score run, or a file of the user's, of which rows are read as they are needed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue

SCORES, FILE = "scores", "file:"
CHECKED = 20_000  # rows that are checked at a time
# Strategies are listed with these between them, and joined with +.
SEPARATORS = re.compile(r"[,;+\s]")


@dataclass(frozen=True)
class EmbeddingSource:
    """`scores`, or `file:PATH`."""

    accepted: ClassVar[str] = "scores (those of the score run), or file:PATH (of any model, for example file:dino.npy)"
    example: ClassVar[str] = SCORES

    def parse(self, name: str, value: object) -> str:
        text = str(value)
        if text == SCORES:
            return text
        if not text.startswith(FILE) or text == FILE:
            raise InvalidValue(name, value, f"it must be {self.accepted}")
        if odd := SEPARATORS.search(text):
            rule = (
                f"a path in a strategy cannot have {odd[0]!r}, which separates strategies; rename the file, or link it"
            )
            raise InvalidValue(name, value, rule)
        return text


def file_of(source: str) -> Path | None:
    """The file that an `EmbeddingSource` names, None for `scores`."""
    return Path(source.removeprefix(FILE)).expanduser() if source.startswith(FILE) else None


@dataclass(frozen=True, eq=False)
class EmbeddingRows:
    """Embeddings that are read from an array, a memory map for example, only where they are asked for.

    Attributes:
        values: `(rows, d)` of any kind of numbers.
        rows: `(n,)`, the row of each example.
    """

    values: NDArray[Any]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """`(n, d)`."""
        return len(self.rows), self.values.shape[1]

    def __getitem__(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """The embeddings at these positions, in memory."""
        rows = self.rows[positions]
        # In the order of the file: a disk reads ahead, and does not jump.
        order = np.argsort(rows)
        found = np.empty((len(rows), self.values.shape[1]), dtype=np.float32)
        with np.errstate(over="ignore"):  # too large for the type is infinite, which is refused
            found[order] = self.values[rows[order]]
        return found

    def take(self, positions: NDArray[np.int64]) -> EmbeddingRows:
        """Some of the examples, in the given order, without reading them."""
        return EmbeddingRows(self.values, self.rows[positions])

    def check_finite(self, error: Callable[[int, float], Exception]) -> None:
        """Reads all of it once, in parts.

        Args:
            error: returns what to raise for an example and its value that is not finite.
        """
        for begin in range(0, len(self), CHECKED):
            values = self[np.arange(begin, min(begin + CHECKED, len(self)))]
            finite = np.isfinite(values)
            if not finite.all():
                row = int(np.argmin(finite.all(axis=1)))
                raise error(begin + row, float(values[row][~finite[row]][0]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All embeddings in memory, for code that takes any array."""
        return self[np.arange(len(self))].astype(dtype or np.float32, copy=False)
