"""Scores the examples of a data set by predictions in a file, from a model that was trained elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue
from proxyflow.core.files import sha256_of
from proxyflow.data.predictions import read_predictions
from proxyflow.data.protocol import Dataset, by_content
from proxyflow.scores.apply import CORRECT
from proxyflow.scores.predictions import AUTO, PredictionKind, Predictions, check_predictions, score_predictions
from proxyflow.scores.summary import summarize
from proxyflow.scores.table import ExampleScores, SelectionCost

IN_SAMPLE = (
    "in-sample predictions are optimistic: a model that trained on an example has learned its label, wrong ones too. "
    "Out-of-sample predictions, from cross-validation for instance, give better scores; declare them with held_out=true"
)


@dataclass(frozen=True, eq=False)
class ExternalScores:
    """Scores by predictions in a file.

    Attributes:
        scores: one row per training example, in the order of the training set.
        path: the file.
        file_sha256: of the file's bytes.
        content_sha256: of the predictions, whatever the file's format and the order of its rows.
        kind, held_out: as of `Predictions`.
        chance: accuracy to expect of these predicted classes if they had nothing to do with the labels, plus three
            standard errors.
        ignored: rows of the file that are of no training example.
        left_out: score name to what it needs beyond the predictions.
    """

    scores: ExampleScores
    path: Path
    file_sha256: str
    content_sha256: str
    kind: PredictionKind
    held_out: bool
    chance: float
    ignored: int
    left_out: dict[str, str]

    @property
    def accuracy(self) -> float:
        """Share of the examples whose predicted class is their label."""
        return float(self.scores.frame[CORRECT].mean())

    def summary(self) -> dict[str, Any]:
        """The description of the scores in `scores/summary.json`."""
        source = {
            "file": str(self.path),
            "sha256": self.file_sha256,
            "content_sha256": self.content_sha256,
            "kind": self.kind,
            "held_out": self.held_out,
            "ignored_rows": self.ignored,
        }
        return summarize(self.scores) | {"predictions": source, "left_out": self.left_out}

    def notes(self) -> Iterator[str]:
        """What the user should know of the predictions."""
        ignored = f"; {self.ignored:,} rows of other examples ignored" if self.ignored else ""
        yield (
            f"{self.path.name}: {self.kind} of {len(self.scores.frame):,} training examples, {self.accuracy:.1%} of "
            f"which they classify as labelled{ignored}"
        )
        yield f"not from predictions: {'; '.join(f'{name} ({need})' for name, need in self.left_out.items())}"
        if not self.held_out:
            yield f"warning: {IN_SAMPLE}"
        if self.accuracy <= self.chance:
            yield (
                "warning: these predictions agree with the labels no better than by chance: check that ids, the order "
                "of the rows and the columns are those of this data set"
            )
        if self.scores.cost is None:
            yield "note: the cost of these predictions is unknown, so reports cannot charge it; train_seconds states it"


def scores_from_file(
    path: Path, dataset: Dataset, kind: str = AUTO, held_out: bool = False, cost: SelectionCost | None = None
) -> ExternalScores:
    """Scores all training examples by predictions in a file.

    Args:
        path: `.parquet`, `.csv` or `.npy`, see `read_predictions`.
        kind: `logits`, `probabilities`, or `auto`, see `check_predictions`.
        held_out: whether each example was predicted by a model that did not train on it.
        cost: of the model behind the predictions; None where not known.

    Raises:
        InvalidValue: the file is not of this form, or not of these examples.
    """
    rows = read_predictions(path, dataset)
    try:
        predictions = check_predictions(rows.values, kind, held_out, rows.names.__getitem__)
    except InvalidValue as error:
        raise InvalidValue(f"{path.name}: {error.name}", error.value, error.rule) from None
    train = dataset.train
    order = by_content(train)
    ordered = Predictions(predictions.values[order], predictions.kind, held_out)
    scored = score_predictions(ordered, train.labels[order])
    inverse = np.argsort(order)
    keys = {"example_id": train.ids, "content_hash": train.content_hashes, "label": train.labels}
    columns = {name: values[inverse] for name, values in scored.columns.items()}
    scores = ExampleScores(
        pd.DataFrame({**keys, **columns}),
        confusion=scored.confusion,
        cost=None if cost is None else (cost, SelectionCost()),
    )
    content = sha256(np.ascontiguousarray(ordered.values).tobytes()).hexdigest()
    return ExternalScores(
        scores,
        path,
        sha256_of(path),
        content,
        predictions.kind,
        held_out,
        _chance(predictions.values.argmax(axis=1), train.labels),
        rows.ignored,
        scored.left_out,
    )


def _chance(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """The largest accuracy that predicted classes would be likely to have if they were unrelated to the labels."""
    n, classes = len(labels), max(int(predicted.max()), int(labels.max())) + 1
    shares = [np.bincount(each, minlength=classes) / n for each in (predicted, labels)]
    expected = float(shares[0] @ shares[1])
    return expected + 3 * math.sqrt(expected * (1 - expected) / n)
