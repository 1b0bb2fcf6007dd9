"""Made-up data sets, scores and trainings, since the rules under test need numbers and no trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from proxyflow.data.catalog import Dataset, load_dataset
from proxyflow.data.images import ImageSet
from proxyflow.report.tables import RUN_COLUMNS
from proxyflow.scoring.measures import measures
from proxyflow.scoring.table import ExampleScores, SelectionCost


@cache
def digits() -> Dataset:
    """The embedded data set, read once for all tests."""
    return load_dataset("digits")


def random_images(labels: Sequence[int], channels: int = 1, size: int = 6, seed: int = 0) -> ImageSet:
    """Images of noise, all different, with the given labels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), size, size, channels), dtype=np.uint8)
    return ImageSet.of(pixels, np.array(labels, dtype=np.int64), np.arange(len(labels), dtype=np.int64))


def noise_dataset(train: Sequence[int], valid: Sequence[int], n_classes: int, channels: int = 1) -> Dataset:
    """A data set of noise whose labels are given."""
    return Dataset(
        name="noise",
        class_names=tuple(f"class {number}" for number in range(n_classes)),
        train=random_images(train, channels, seed=1),
        valid=random_images(valid, channels, seed=2),
        image_size=8,
        crop="padded",
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
    )


def random_scores(images: ImageSet, seed: int = 0, run_id: str = "score-run") -> ExampleScores:
    """A score table with every measure, in the order of `images`."""
    rng = np.random.default_rng(seed)
    columns = {name: rng.normal(size=len(images)) for name in measures}
    keys = {"example_id": images.example_ids, "content_hash": images.content_hashes, "label": images.labels}
    classes = int(images.labels.max()) + 1
    return ExampleScores(
        pd.DataFrame({**keys, **columns, "correct": 1.0}),
        run_id,
        embeddings=rng.normal(size=(len(images), 3)).astype(np.float16),
        confusion=rng.random((classes, classes)),
        cost=(SelectionCost(10.0, 1000.0, 1e9), SelectionCost(40.0, 4000.0, 4e9)),
    )


def training(strategy: str = "full", config: str = "default", accuracy: float = 0.9, **changes: Any) -> dict[str, Any]:
    """One row of a study's trainings: finished, at the 20 epochs of the target or those of `epochs:N`."""
    row: dict[str, Any] = {
        "run_id": "",
        "dataset": "digits",
        "strategy": strategy,
        "config": config,
        "config_group": "learning-rate" if "lr=" in config else "other",
        "seed": 0,
        "status": "finished",
        "diverged": False,
        "epochs": int(strategy.removeprefix("epochs:")) if strategy.startswith("epochs:") else 20,
        "best_valid_accuracy": accuracy,
        "train_seconds": 100.0,
        "examples_seen": 20_000.0,
        "train_flops": 1e12,
        "start_time": 1_000,
        "end_time": 2_000,
        **changes,
    }
    row["run_id"] = row["run_id"] or "{dataset}/{strategy}/{config}/{seed}".format(**row)
    return row


def trainings_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as the tracking reader gives them: every column there, whole numbers nullable."""
    frame = pd.DataFrame(list(rows), columns=RUN_COLUMNS)
    return frame.astype({"epochs": "Int64", "seed": "int64", "start_time": "Int64", "end_time": "Int64"})


def study_rows(accuracies: Mapping[str, Sequence[float]], **changes: Any) -> list[dict[str, Any]]:
    """Trainings by strategy, one per accuracy, the first of each being of the default configuration."""
    return [
        training(strategy, f"lr={number}" if number else "default", accuracy, **changes)
        for strategy, values in accuracies.items()
        for number, accuracy in enumerate(values)
    ]


def noisy_study(proxies: Mapping[str, tuple[float, float]], n: int = 16, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of a study on two data sets: strategy to (relative cost, noise added to the target's accuracy)."""
    rows = []
    for dataset, level in (("digits", 0.9), ("letters", 0.7)):
        rng = np.random.default_rng([seed, len(dataset)])
        target = level + 0.05 * rng.normal(size=n)
        for strategy, (cost, noise) in {"full": (1.0, 0.0), **proxies}.items():
            own = np.random.default_rng([seed, len(dataset), sum(strategy.encode())])
            values = target + noise * own.normal(size=n)
            costs = {"train_seconds": 100 * cost, "examples_seen": 20_000 * cost, "train_flops": 1e12 * cost}
            rows += study_rows({strategy: values.tolist()}, dataset=dataset, **costs)
    return rows
