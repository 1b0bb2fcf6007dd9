"""The data sets that proxyflow knows by name, behind one registry."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from proxyflow.data.images import ImageSet
from proxyflow.registry import Registry
from proxyflow.seeds import generator

VALIDATION_EXAMPLES = 500


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set: everything that a subset of it is chosen from.

    Attributes:
        name: its name in the catalog.
        class_names: one per label, in label order.
        train: the full training set.
        valid: the fixed, class-balanced validation examples (500 where the data set has that many).
        image_size: side in pixels at which it is trained on by default.
        mean, std: per-channel statistics of the pixels in 0..1, for normalisation.
    """

    name: str
    class_names: tuple[str, ...]
    train: ImageSet
    valid: ImageSet
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over pixels and labels of both sets; the same on every machine."""
        return hashlib.sha256(f"{self.train.fingerprint} {self.valid.fingerprint}".encode()).hexdigest()


class Source(Protocol):
    """Where a data set comes from."""

    description: str

    def load(self) -> Dataset: ...


datasets: Registry[Source] = Registry("dataset")


def load_dataset(name: str) -> Dataset:
    """Loads a data set by its name in the catalog.

    Raises:
        UnknownName: no data set has that name.
    """
    return datasets[name].load()


def balanced_split(labels: np.ndarray, hashes: np.ndarray, n_valid: int) -> np.ndarray:
    """Chooses a class-balanced validation set.

    The choice depends on the examples' content alone: not on their order, and not on a run's seed,
    because every run of every study must be judged on the same examples.

    Args:
        labels: `(n,) int64`.
        hashes: `(n,)` content hashes.
        n_valid: how many examples to choose; what is left over by the division goes to the first classes.

    Returns:
        `(n,) bool`, true for validation examples.
    """
    classes = np.unique(labels)
    chosen = np.zeros(len(labels), dtype=bool)
    for rank, label in enumerate(classes):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(hashes[members], kind="stable")]
        quota = n_valid // len(classes) + (rank < n_valid % len(classes))
        order = generator(0, "validation", int(label)).permutation(len(members))
        chosen[members[order[:quota]]] = True
    return chosen


class Digits:
    """scikit-learn's handwritten digits (UCI ML, Alpaydin & Kaynak 1998): part of the package, no download."""

    description = "1,797 handwritten digits of 8 x 8 grey pixels, embedded in scikit-learn (trained on at 32 px)"

    def load(self) -> Dataset:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        # Ink is counted from 0 to 16; 255 levels keep all of it.
        pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
        everything = ImageSet(pixels, bunch.target.astype(np.int64), np.arange(len(pixels), dtype=np.int64))
        is_valid = balanced_split(everything.labels, everything.content_hashes, VALIDATION_EXAMPLES)
        train, valid = everything.take(~is_valid), everything.take(is_valid)
        # Ids count within the training order, the order that every score table uses.
        train = ImageSet(train.images, train.labels, np.arange(len(train), dtype=np.int64))
        scaled = train.images / 255.0
        return Dataset(
            name="digits",
            class_names=tuple(str(name) for name in bunch.target_names),
            train=train,
            valid=valid,
            image_size=32,
            mean=(float(scaled.mean()),),
            std=(float(scaled.std()),),
        )


datasets.add("digits", Digits())
