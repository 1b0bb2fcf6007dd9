"""Trains the scoring models and gives every training example its scores.

One training gives all of them but the held-out one: it is watched while it goes on, and its model is looked at after
a few early epochs and at its end.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
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
from proxyflow.errors import InvalidValue, TrainingFailed
from proxyflow.scoring.measures import Evidence, Floats, Look, at_epoch, measure_of, measures
from proxyflow.scoring.measures.base import probabilities
from proxyflow.scoring.spec import ScoringSpec
from proxyflow.scoring.table import ExampleScores, SelectionCost
from proxyflow.seeds import generator, stream_seed
from proxyflow.strategies import Full
from proxyflow.subsets import Subset, choose_subset
from proxyflow.training.devices import batch_layout, resolve_precision
from proxyflow.training.engine import EpochRecord, OnBatch, OnModel, Trained, TrainingResult, get_engine
from proxyflow.training.models import embed

OnModelEpoch = Callable[[int, EpochRecord], None]


@dataclass(frozen=True, eq=False)
class Scoring:
    """Scores, and what they cost.

    Attributes:
        scores: one row per example of the training set, in its order.
        early: the epochs that early measures were taken at.
        results: one per trained model; of each repeat the model on everything, then its folds.
        scoring_seconds: time of the passes that took the scores and of the measures, without training.
        agreement: measure to mean Spearman rank correlation between repeats; empty for one repeat.
        model: the first of the models, as it was after the last epoch.
    """

    scores: ExampleScores
    early: tuple[int, ...]
    results: tuple[TrainingResult, ...]
    scoring_seconds: float
    agreement: dict[str, float | None]
    model: torch.nn.Module

    @property
    def train_seconds(self) -> float:
        return sum(result.train_seconds for result in self.results)

    def summary(self) -> dict[str, Any]:
        """What `scores/summary.json` says of the scores."""
        frame = self.scores.frame
        described = {}
        for name in self.scores.names:
            measure = measure_of(name)
            assert measure is not None
            described[name] = {
                "description": measure.description,
                "source": measure.source,
                "higher_is_harder": measure.higher_is_harder,
                "mean": float(frame[name].mean()),
                "std": float(frame[name].std(ddof=0)),
                "quantiles": {str(q): float(frame[name].quantile(q)) for q in (0, 0.1, 0.25, 0.5, 0.75, 0.9, 1)},
                "agreement_between_repeats": self.agreement.get(name),
            }
        return {
            "n_examples": len(frame),
            "measures": described,
            "correct": float(frame["correct"].mean()),
            "early_epochs": list(self.early),
        }


def score_examples(
    dataset: Dataset, spec: ScoringSpec, device: torch.device, on_epoch: OnModelEpoch | None = None
) -> Scoring:
    """Scores the whole training set.

    Args:
        on_epoch: called with the number of the model and each of its epochs.

    Raises:
        TrainingFailed: a scoring model diverged, so its scores rank nothing.
    """
    return _Scorer(dataset, spec, device, on_epoch).run()


class _Scorer:
    """One scoring: all that its trainings share, and what has been found so far.

    Examples are looked at in the order of their content, so that no score depends on the order of the files.
    """

    def __init__(
        self, dataset: Dataset, spec: ScoringSpec, device: torch.device, on_epoch: OnModelEpoch | None
    ) -> None:
        self.dataset, self.spec, self.device, self.on_epoch = dataset, spec, device, on_epoch
        self.full = choose_subset(dataset, Full(), spec.training.seed)
        train, settings = dataset.train, spec.training.settings
        if spec.holdout_folds > len(train):
            raise InvalidValue(
                "holdout_folds", spec.holdout_folds, f"{dataset.name} has {len(train)} training examples to share out"
            )
        self.order = train.by_content
        image_size = settings.image_size or dataset.image_size
        view = View(image_size, dataset.crop, dataset.mean, dataset.std)
        layout = batch_layout(device, resolve_precision(settings.precision, device, image_size), image_size)
        self.images = DeviceImages(train.take(self.order), self.full.classes, view, device, layout=layout)
        self.labels = train.labels[self.order]
        self.results: list[TrainingResult] = []
        self.model: torch.nn.Module | None = None
        self.seconds = 0.0

    def run(self) -> Scoring:
        spec, train = self.spec, self.dataset.train
        columns: dict[str, list[Floats]] = {}
        confusions, embeddings = [], None
        whole, folds = SelectionCost(), SelectionCost()
        for repeat in range(spec.repeats):
            # The first repeat is the training that anybody gets with this seed; the others have seeds of their own.
            seed = spec.training.seed
            seed = seed if repeat == 0 else stream_seed(seed, "scoring", "repeat", repeat)
            evidence, early = self._look_while_training(seed)
            whole += self._cost_since(whole + folds)
            if spec.holdout_folds:
                evidence = dataclasses.replace(evidence, held_out=self._held_out(seed))
                folds += self._cost_since(whole + folds)
            begun = time.perf_counter()
            for name, values in measure(evidence, early).items():
                columns.setdefault(name, []).append(values)
            assert evidence.model is not None
            assert evidence.early is not None
            shown = evidence.held_out if evidence.held_out is not None else evidence.early.logits
            confusions.append(confusion_of(shown, self.labels))
            if embeddings is None:
                embeddings = evidence.model.embeddings
            self.seconds += time.perf_counter() - begun
            whole += self._cost_since(whole + folds)
        inverse = np.argsort(self.order)
        means = {name: np.mean(values, axis=0)[inverse] for name, values in columns.items()}
        keys = {"example_id": train.example_ids, "content_hash": train.content_hashes, "label": train.labels}
        assert embeddings is not None
        with np.errstate(over="ignore"):  # what half precision cannot hold is infinite, and refused where it is needed
            halves = embeddings[inverse].astype(np.float16)
        scores = ExampleScores(
            pd.DataFrame({**keys, **means}),
            embeddings=halves,
            confusion=np.mean(confusions, axis=0),
            cost=(whole, folds),
        )
        agreement = {name: rank_agreement(columns[name]) for name in scores.names} if spec.repeats > 1 else {}
        assert self.model is not None
        return Scoring(scores, spec.early, tuple(self.results), self.seconds, agreement, self.model)

    def _look_while_training(self, seed: int) -> tuple[Evidence, dict[int, Look]]:
        """Trains on everything; gives what was seen on the way and at the end, and the looks at early models."""
        epochs, early = self.spec.training.settings.epochs, self.spec.early
        # Kept on the device: asking it at each step would make the training wait.
        right = torch.full((epochs, len(self.labels)), -1, dtype=torch.int8, device=self.device)
        looks: dict[int, Look] = {}

        def watch(index: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, epoch: int) -> None:
            right[epoch, index] = (logits.argmax(1) == labels).to(torch.int8)

        def look(model: torch.nn.Module, epoch: int) -> None:
            if epoch in early or epoch == epochs:
                begun = time.perf_counter()
                looks[epoch] = look_at(model, self.images, keep_embeddings=epoch == epochs)
                self.seconds += time.perf_counter() - begun

        self._train(self.full, seed, watch, look)
        begun = time.perf_counter()
        history = right.cpu().numpy()[:, self.order].astype(np.float64)
        history[history < 0] = np.nan
        self.seconds += time.perf_counter() - begun
        evidence = Evidence(self.labels, seed, model=looks[epochs], early=looks[early[0]], history=history)
        return evidence, {epoch: looks[epoch] for epoch in early}

    def _held_out(self, seed: int) -> Floats:
        """Logits of every example under the model of the other folds."""
        train, count = self.dataset.train, self.spec.holdout_folds
        folds = assign_folds(train, count, seed)
        logits = np.empty((len(train), len(self.full.classes)))
        for fold in range(count):
            others = dataclasses.replace(self.full, train=train.take(folds != fold))
            trained = self._train(others, stream_seed(seed, "scoring", "fold", fold))
            begun = time.perf_counter()
            members = np.flatnonzero(folds[self.order] == fold)
            logits[members] = look_at(trained.model, self.images, members).logits
            self.seconds += time.perf_counter() - begun
        return logits

    def _train(
        self, subset: Subset, seed: int, on_batch: OnBatch | None = None, on_model: OnModel | None = None
    ) -> Trained:
        spec, number, on_epoch = self.spec.training, len(self.results), self.on_epoch
        trained = get_engine(spec.engine).train(
            subset,
            dataclasses.replace(spec, seed=seed),
            self.device,
            on_epoch=(lambda record: on_epoch(number, record)) if on_epoch else None,
            on_batch=on_batch,
            on_model=on_model,
        )
        if trained.result.diverged:
            raise TrainingFailed(
                f"the scoring model diverged in epoch {len(trained.result.records) + 1} with "
                f"{spec.hyperparameters.name}, seed {seed}: its scores would rank nothing; try another seed"
            )
        self.results.append(trained.result)
        if self.model is None:
            self.model = trained.model
        return trained

    def _cost_since(self, before: SelectionCost) -> SelectionCost:
        """What was spent since `before` was all."""
        spent = (
            self.seconds + sum(result.train_seconds for result in self.results),
            float(sum(result.examples_seen for result in self.results)),
            sum(result.train_flops for result in self.results),
        )
        return SelectionCost(*(now - then for now, then in zip(spent, dataclasses.astuple(before), strict=True)))


def look_at(
    model: torch.nn.Module,
    images: DeviceImages,
    positions: NDArray[np.int64] | None = None,
    keep_embeddings: bool = False,
) -> Look:
    """What a model says of images in eval mode, without augmentation.

    Every batch has the same size, the last one filled up with examples that are then left out, because kernels may
    round differently for another size.
    """
    on_host = np.arange(len(images)) if positions is None else positions
    assert len(on_host), "there are no images to look at"
    full = -(-len(on_host) // VALID_BATCH) * VALID_BATCH
    on_host = np.concatenate((on_host, np.full(full - len(on_host), on_host[0])))
    # Copied once: copying each batch's positions would make each wait for the device.
    index = torch.from_numpy(on_host).to(images.canvas.place)
    logits, lengths, embeddings = [], [], []
    model.eval()
    with torch.inference_mode():
        for begin in range(0, full, VALID_BATCH):
            part = slice(begin, begin + VALID_BATCH)
            embedded, predicted = embed(model, images.batch(index[part], on_host[part]))
            logits.append(predicted.double())
            lengths.append(embedded.double().norm(dim=1))
            if keep_embeddings:
                embeddings.append(embedded.float())
        n = len(images) if positions is None else len(positions)
        kept = torch.cat(embeddings)[:n].cpu().numpy() if keep_embeddings else None
        return Look(torch.cat(logits)[:n].cpu().numpy(), torch.cat(lengths)[:n].cpu().numpy(), kept)


def measure(evidence: Evidence, early: dict[int, Look]) -> dict[str, Floats]:
    """Every measure that the evidence allows, early ones also at each of their epochs, and `correct`."""
    table: dict[str, Floats] = {}
    for name, each in measures.items():
        if not evidence.has(each.needs):
            continue
        table[name] = each.compute(evidence)
        if each.needs == "early":
            for epoch, look in early.items():
                table[at_epoch(name, epoch)] = each.compute(dataclasses.replace(evidence, early=look))
    assert evidence.model is not None
    table["correct"] = (evidence.model.logits.argmax(axis=1) == evidence.labels).astype(np.float64)
    return table


def confusion_of(logits: Floats, labels: NDArray[np.int64]) -> Floats:
    """`(classes, classes)`, row c the mean probabilities that examples of class c are given.

    Probabilities rather than first choices: a class that is rarely mistaken still says by which it nearly is.
    """
    given = probabilities(logits)
    table = np.zeros((given.shape[1], given.shape[1]))
    np.add.at(table, labels, given)
    counts = np.bincount(labels, minlength=len(table))
    return table / np.maximum(counts, 1)[:, None]


def assign_folds(images: ImageSet, folds: int, seed: int) -> NDArray[np.int64]:
    """`(n,)` fold of each example: every class in proportion, by content and seed, whatever the order.

    Copies of an image share a fold, or the model of the others would have seen it.
    """
    by_content = images.by_content
    _, first, content = np.unique(images.content_hashes[by_content], return_index=True, return_inverse=True)
    labels = images.labels[by_content][first]
    shuffled = np.lexsort((generator(seed, "folds").random(len(labels)), labels))
    fold_of = np.empty(len(labels), dtype=np.int64)
    fold_of[shuffled] = np.arange(len(labels)) % folds
    result = np.empty(len(by_content), dtype=np.int64)
    result[by_content] = fold_of[content]
    return result


def rank_agreement(columns: list[Floats]) -> float | None:
    """Mean Spearman correlation over pairs of repeats, None where it is undefined."""
    from scipy.stats import spearmanr  # a second of import, for repeats alone

    values = [float(spearmanr(a, b).statistic) for a, b in combinations(columns, 2) if np.ptp(a) > 0 and np.ptp(b) > 0]
    return float(np.mean(values)) if values else None
