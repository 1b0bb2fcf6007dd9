"""What a table that names image files says of each image: its row, the user's id, and its group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PREFIX = "origin_"  # of the arrays in a file


@dataclass(frozen=True, eq=False)
class Origin:
    """Rows of a table, one for each image of a store.

    Attributes:
        positions: `(n,) int64`, the row of each image in the table, from 0.
        identifiers: `(n,)` text, what the user calls each image; None where the table has no ids.
        groups: `(n,)` text, see `protocol.Examples`; None without groups.
    """

    positions: NDArray[np.int64]
    identifiers: NDArray[np.str_] | None = None
    groups: NDArray[np.str_] | None = None

    def take(self, rows: NDArray[np.int64]) -> Origin:
        """Of some of the images, in another order."""
        identifiers, groups = (None if each is None else each[rows] for each in (self.identifiers, self.groups))
        return Origin(self.positions[rows], identifiers, groups)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays by their names in a file."""
        named = {"positions": self.positions, "identifiers": self.identifiers, "groups": self.groups}
        return {f"{PREFIX}{name}": array for name, array in named.items() if array is not None}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> Origin | None:
        """What `arrays` gave; None where a file has nothing of it."""
        named = {name.removeprefix(PREFIX): array for name, array in arrays.items() if name.startswith(PREFIX)}
        return Origin(**named) if named else None  # type: ignore[arg-type]
