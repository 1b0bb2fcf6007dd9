"""scikit-learn's digits: the data set that is always there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from proxyflow.data.sources.base import Found, Listing, datasets


class Digits:
    """scikit-learn's handwritten digits (UCI ML, Alpaydin & Kaynak 1998): part of the package, no download."""

    description = "1,797 handwritten digits of 8 x 8 grey pixels, embedded in scikit-learn (trained on at 32 px)"
    takes_path = False
    cached = False

    def find(self, path: str, data_dir: Path) -> Found:
        return Found("embedded", self._list, image_size=32, crop="padded")

    @staticmethod
    def _list() -> Listing:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        # Ink is counted from 0 to 16; 255 levels keep all of it.
        pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
        names = [str(name) for name in bunch.target_names]
        return Listing.of_arrays(names, pixels, bunch.target.astype(np.int64))


datasets.add("digits", Digits())
