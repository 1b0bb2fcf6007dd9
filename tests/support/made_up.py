"""Made-up data sets, scores and trainings, since the rules under test need numbers and no trained model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from proxyflow.data.catalog import Dataset, load_dataset
from proxyflow.data.images.preprocessing import Preprocessing
from proxyflow.data.images.store import ImageSet
from proxyflow.quality.objective import columns_of
from proxyflow.quality.spelling import epochs_named
from proxyflow.reporting.tables import RUN_COLUMNS
from proxyflow.scores import known_scores
from proxyflow.scores.table import ExampleScores, SelectionCost
from proxyflow.spaces.metric import ACCURACY

# What a hyperparameter is called in the name of a configuration, to its own name; and the defaults.
LABELS = {
    "arch": "arch",
    "lr": "learning_rate",
    "stem1": "stem_channels_1",
    "stem2": "stem_channels_2",
    "flip": "flip_probability",
    "opt": "optimizer",
    "smooth": "label_smoothing",
}
DEFAULTS = ("xresnet50", 0.003, 32, 32, 0.5, "adam", 0.1)


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
        preprocessing=Preprocessing(8, "padded", (0.5,) * channels, (0.25,) * channels),
    )


def random_scores(images: ImageSet, seed: int = 0, run_id: str = "score-run") -> ExampleScores:
    """A score table with every measure, in the order of `images`."""
    rng = np.random.default_rng(seed)
    columns = {name: rng.normal(size=len(images)) for name in known_scores}
    keys = {"example_id": images.ids, "content_hash": images.content_hashes, "label": images.labels}
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
        **columns_of(ACCURACY),
        "epochs": epochs_named(strategy) or 20,
        "objective": accuracy,
        "train_seconds": 100.0,
        "examples_seen": 20_000.0,
        "train_flops": 1e12,
        "start_time": 1_000,
        "end_time": 2_000,
        **changes,
    }
    row.setdefault("config_json", values_of(row["config"]))
    row["run_id"] = row["run_id"] or "{dataset}/{strategy}/{config}/{seed}".format(**row)
    return row


def values_of(config: str) -> str:
    """The values of a configuration that tests name as the image trainer does, in JSON; none of another name."""
    values: dict[str, Any] = dict(zip(LABELS.values(), DEFAULTS, strict=True))
    for part in config.split(",") if config != "default" else ():
        label, _, text = part.partition("=")
        names = [name for short, name in LABELS.items() if short.rstrip("12") == label]
        texts = text.split("-") if len(names) > 1 else [text]
        if not names or len(texts) != len(names):
            return ""
        values |= {name: float(each) if each[:1].isdigit() else each for name, each in zip(names, texts, strict=True)}
    return json.dumps(values)


def trainings_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as the tracking reader gives them, every column there and whole numbers nullable, and as they are compared.

    `value` is the objective: statistics on parts of a frame need it, and `select_runs` makes it anew.
    """
    frame = pd.DataFrame(list(rows), columns=RUN_COLUMNS)
    whole = dict.fromkeys(("epochs", "n_test", "start_time", "end_time"), "Int64")
    found = frame.astype({**whole, "seed": "int64", "device_shared": "boolean", "objective": "float64"})
    return found.assign(config_json=found["config_json"].fillna(""), value=found["objective"])


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
