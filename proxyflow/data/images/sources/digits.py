"""scikit-learn's digits: the data set that needs no download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proxyflow.data.images.listing import Found, Listing
from proxyflow.data.images.sources.base import ImageSource
from proxyflow.data.protocol import datasets


class Digits(ImageSource):
    """scikit-learn's handwritten digits (UCI ML, Alpaydin & Kaynak 1998): part of the package, no download."""

    description = "1,797 handwritten digits of 8 x 8 grey pixels, embedded in scikit-learn (trained on at 32 px)"
    cached = False

    def find(self, path: str, data_dir: Path) -> Found:
        return Found("embedded", self._list, image_size=32, crop="padded", own_split=False)

    @staticmethod
    def _list() -> Listing:
        ink, labels = _read()
        # Ink is counted from 0 to 16; 255 levels keep all of it.
        pixels = np.rint(ink * (255 / 16)).astype(np.uint8)[..., np.newaxis]
        return Listing.of_arrays([str(digit) for digit in range(10)], pixels, labels.astype(np.int64))


def _read() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ink `(n, 8, 8)` and labels `(n,)`: the file that `load_digits` reads, as its import alone takes a second."""
    package = find_spec("sklearn")
    folders = list(package.submodule_search_locations or ()) if package is not None else []
    for folder in folders:
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.exists():
            table = np.loadtxt(path, delimiter=",")
            return table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    from sklearn.datasets import load_digits  # imports sklearn

    bunch = load_digits()
    return bunch.images, bunch.target


datasets.add("digits", Digits())
