"""Trains the scoring models and gives every training example its scores."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from proxyflow.data.batches import VALID_BATCH, DeviceImages, View
from proxyflow.data.catalog import Dataset
from proxyflow.data.images import ImageSet
from proxyflow.errors import TrainingFailed
from proxyflow.scoring.measures import Floats, measures
from proxyflow.scoring.table import ExampleScores
from proxyflow.seeds import generator, stream_seed
from proxyflow.strategies import Full
from proxyflow.subsets import Subset, choose_subset
from proxyflow.training.engine import EpochRecord, Trained, TrainingResult, TrainingSpec, get_engine


@dataclass(frozen=True)
class ScoringSpec:
    """How examples are scored.

    Attributes:
        training: the scoring model's configuration; by default all hyperparameters are the default ones.
        repeats: trainings with seeds of their own whose scores are averaged.
        holdout_folds: 0, or the number of folds for `heldout_loss`, each a training of its own.
    """

    training: TrainingSpec
    repeats: int = 1
    holdout_folds: int = 0

    @property
    def trainings(self) -> int:
        """How many models are trained in all."""
        return self.repeats + self.holdout_folds


@dataclass(frozen=True, eq=False)
class Scoring:
    """Scores, and what they cost.

    Attributes:
        scores: one row per example of the training set, in its order.
        results: one per trained model, repeats first.
        scoring_seconds: time of the passes that took the scores, without training.
        agreement: measure to mean Spearman rank correlation between repeats; empty for one repeat.
    """

    scores: ExampleScores
    results: tuple[TrainingResult, ...]
    scoring_seconds: float
    agreement: dict[str, float | None]

    @property
    def train_seconds(self) -> float:
        return sum(result.train_seconds for result in self.results)

    def summary(self) -> dict[str, Any]:
        """What `scores/summary.json` holds."""
        frame = self.scores.frame
        described = {
            name: {
                "description": measures[name].description,
                "source": measures[name].source,
                "higher_is_harder": measures[name].higher_is_harder,
                "mean": float(frame[name].mean()),
                "std": float(frame[name].std(ddof=0)),
                "quantiles": {str(q): float(frame[name].quantile(q)) for q in (0, 0.1, 0.25, 0.5, 0.75, 0.9, 1)},
                "agreement_between_repeats": self.agreement.get(name),
            }
            for name in self.scores.names
        }
        return {"n_examples": len(frame), "measures": described, "correct": float(frame["correct"].mean())}


def score_examples(
    dataset: Dataset,
    spec: ScoringSpec,
    device: torch.device,
    on_epoch: Callable[[int, EpochRecord], None] | None = None,
) -> Scoring:
    """Scores the whole training set.

    Args:
        on_epoch: called with the number of the model and each of its epochs.

    Raises:
        TrainingFailed: a scoring model diverged, so its scores rank nothing.
    """
    full = choose_subset(dataset, Full(), spec.training.seed)
    image_size = spec.training.settings.image_size or dataset.image_size
    view = View(image_size, dataset.crop, dataset.mean, dataset.std)
    everything = DeviceImages(dataset.train, full.classes, view, device)
    results: list[TrainingResult] = []
    tables: list[dict[str, Floats]] = []
    seconds = 0.0
    for repeat in range(spec.repeats):
        trained, history = _train(full, spec, repeat, ("repeat", repeat), device, on_epoch)
        begun = time.perf_counter()
        logits = predict(trained.model, everything)
        table = _measure(logits, dataset.train.labels, history)
        seconds += time.perf_counter() - begun
        results.append(trained.result)
        tables.append(table)
    columns = {name: np.mean([table[name] for table in tables], axis=0) for name in tables[0]}
    if spec.holdout_folds:
        logits = np.empty((len(dataset.train), len(full.classes)))
        folds = assign_folds(dataset.train, spec.holdout_folds, spec.training.seed)
        for fold in range(spec.holdout_folds):
            others = dataclasses.replace(full, train=dataset.train.take(folds != fold))
            trained, _ = _train(others, spec, spec.repeats + fold, ("fold", fold), device, on_epoch)
            begun = time.perf_counter()
            logits[folds == fold] = predict(trained.model, everything, np.flatnonzero(folds == fold))
            seconds += time.perf_counter() - begun
            results.append(trained.result)
        columns["heldout_loss"] = measures["heldout_loss"].from_logits(logits, dataset.train.labels)
    frame = pd.DataFrame(
        {
            "example_id": dataset.train.example_ids,
            "content_hash": dataset.train.content_hashes,
            "label": dataset.train.labels,
            **columns,
        }
    )
    agreement = {name: _agreement([table[name] for table in tables]) for name in tables[0]}
    return Scoring(ExampleScores(frame), tuple(results), seconds, agreement if spec.repeats > 1 else {})


def _train(
    subset: Subset,
    spec: ScoringSpec,
    number: int,
    stream: tuple[str, int],
    device: torch.device,
    on_epoch: Callable[[int, EpochRecord], None] | None,
) -> tuple[Trained, NDArray[np.float64]]:
    """One scoring model, and whether each example was right at each presentation (nan: not presented)."""
    settings = spec.training.settings
    # The first repeat is the training that anybody gets with this seed; the others have seeds of their own.
    seed = spec.training.seed if number == 0 else stream_seed(spec.training.seed, "scoring", *stream)
    history = np.full((settings.epochs, len(subset.train)), np.nan)

    def watch(index: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, epoch: int) -> None:
        history[epoch, index.cpu().numpy()] = (logits.argmax(1) == labels).cpu().numpy()

    trained = get_engine(spec.training.engine).train(
        subset,
        dataclasses.replace(spec.training, seed=seed),
        device,
        on_epoch=(lambda record: on_epoch(number, record)) if on_epoch else None,
        on_batch=watch,
    )
    if trained.result.diverged:
        raise TrainingFailed(
            f"the scoring model diverged in epoch {len(trained.result.records) + 1} with "
            f"{spec.training.hyperparameters.name}, seed {seed}: its scores would rank nothing; try another seed"
        )
    return trained, history


def predict(
    model: torch.nn.Module, images: DeviceImages, positions: Sequence[int] | NDArray[np.int64] | None = None
) -> Floats:
    """Logits of a model in eval mode without augmentation, `(n, classes) float64`."""
    device = images.device
    index = torch.arange(len(images)) if positions is None else torch.as_tensor(np.asarray(positions))
    model.eval()
    with torch.no_grad():
        parts = [model(images.batch(part.to(device))).double().cpu() for part in torch.split(index, VALID_BATCH)]
    return torch.cat(parts).numpy()


def _measure(logits: Floats, labels: NDArray[np.int64], history: NDArray[np.float64]) -> dict[str, Floats]:
    inputs = {"model": logits, "history": history}
    table = {
        name: measure.from_logits(inputs[measure.needs], labels)
        for name, measure in measures.items()
        if measure.needs in inputs
    }
    table["correct"] = (logits.argmax(axis=1) == labels).astype(np.float64)
    return table


def assign_folds(images: ImageSet, folds: int, seed: int) -> NDArray[np.int64]:
    """`(n,)` fold of each example: every class in proportion, by content and seed, whatever the order."""
    order = np.lexsort((images.example_ids, images.content_hashes, images.labels))
    shuffled = order[np.lexsort((generator(seed, "folds").random(len(order)), images.labels[order]))]
    result = np.empty(len(order), dtype=np.int64)
    result[shuffled] = np.arange(len(order)) % folds
    return result


def _agreement(columns: list[Floats]) -> float | None:
    """Mean Spearman correlation over pairs of repeats, None where it is undefined."""
    from scipy.stats import spearmanr  # a second of import, for repeats alone

    values = [float(spearmanr(a, b).statistic) for a, b in combinations(columns, 2) if np.ptp(a) > 0 and np.ptp(b) > 0]
    return float(np.mean(values)) if values else None
