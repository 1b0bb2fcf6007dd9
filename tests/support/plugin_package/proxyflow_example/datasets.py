"""A data set that needs no download: stripes, told apart by their width."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from proxyflow.data.images.listing import Found, Listing
from proxyflow.data.images.sources.base import ImageSource

CLASSES = ("narrow", "medium", "wide", "flat")
SIDE, EXAMPLES = 12, 320


class Waves(ImageSource):
    """Sine waves of three lengths and none, in noise."""

    description = "320 made-up pictures of stripes, in four widths"
    takes_path = False
    cached = False

    def find(self, path: str, data_dir: Path) -> Found:
        return Found("waves-1", self._list, image_size=SIDE, own_split=False)

    @staticmethod
    def _list() -> Listing:
        rng = np.random.default_rng(0)
        labels = np.arange(EXAMPLES, dtype=np.int64) % len(CLASSES)
        frequency = np.array([4.0, 2.0, 1.0, 0.0])[labels]
        phase = rng.uniform(0, 2 * np.pi, EXAMPLES)
        stripes = np.sin(2 * np.pi * frequency[:, None] * np.linspace(0, 1, SIDE) + phase[:, None])
        levels = 128 + 60 * stripes[:, None, :] + rng.normal(0, 30, (EXAMPLES, SIDE, SIDE))
        return Listing.of_arrays(CLASSES, levels.clip(0, 255).astype(np.uint8)[..., np.newaxis], labels)


waves = Waves()
