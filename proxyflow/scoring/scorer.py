"""Trains scoring models and computes the scores of all training examples.

One training yields all scores except the held-out one: hooks record each prediction during the training, and the model
predicts all examples after a few early epochs and at the end.
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

from proxyflow.core.errors import InvalidValue, TrainingFailed
from proxyflow.core.seeds import stream_seed
from proxyflow.data.protocol import Dataset, by_content
from proxyflow.data.splits import assign_folds
from proxyflow.scores import Floats, ModelOutputs, ScoreInputs
from proxyflow.scores.apply import apply_scores, confusion_of
from proxyflow.scores.summary import summarize
from proxyflow.scores.table import ExampleScores, SelectionCost
from proxyflow.scoring.spec import ScoringSpec, fold_problem
from proxyflow.strategies import Full
from proxyflow.subsets import Subset, choose_subset
from proxyflow.trainers.job import Job
from proxyflow.trainers.model_access import NO_HOOKS, Hooks, model_access
from proxyflow.trainers.results import EpochRecord, Trained, TrainingResult

OnModelEpoch = Callable[[int, EpochRecord], None]


@dataclass(frozen=True, eq=False)
class ScoringResult:
    """Scores and their cost.

    Attributes:
        scores: one row per training example, in the order of the training set.
        early: the epochs of early scores.
        results: one result per trained model; for each repeat, the model on all examples, then those of its folds.
        scoring_seconds: time of predictions and scores, without training.
        agreement: score name to mean Spearman rank correlation between repeats; empty for one repeat.
        model: the first model, after its last epoch.
        subset: the subset that it was trained on.
    """

    scores: ExampleScores
    early: tuple[int, ...]
    results: tuple[TrainingResult, ...]
    scoring_seconds: float
    agreement: dict[str, float | None]
    model: torch.nn.Module
    subset: Subset

    @property
    def train_seconds(self) -> float:
        return sum(result.train_seconds for result in self.results)

    def summary(self) -> dict[str, Any]:
        """The description of the scores in `scores/summary.json`."""
        return summarize(self.scores, self.agreement) | {"early_epochs": list(self.early)}


def score_examples(
    dataset: Dataset, spec: ScoringSpec, device: torch.device, on_epoch: OnModelEpoch | None = None
) -> ScoringResult:
    """Scores all training examples.

    Args:
        on_epoch: called with the number of the model and the record of each of its epochs.

    Raises:
        TrainingFailed: a scoring model diverged.
    """
    return _Scorer(dataset, spec, device, on_epoch).run()


class _Scorer:
    """The state of one scoring.

    Examples are processed in the order of their content hashes, so that scores do not depend on the order of files.
    """

    def __init__(
        self, dataset: Dataset, spec: ScoringSpec, device: torch.device, on_epoch: OnModelEpoch | None
    ) -> None:
        self.dataset, self.spec, self.device, self.on_epoch = dataset, spec, device, on_epoch
        self.access = model_access(spec.training.trainer, "scoring examples")
        self.full = dataclasses.replace(choose_subset(dataset, Full(), spec.training.seed), test=None)
        train = dataset.train
        if spec.holdout_folds and (reason := fold_problem(spec.holdout_folds, train)):
            raise InvalidValue("holdout_folds", spec.holdout_folds, f"{dataset.name}: {reason}")
        self.order = by_content(train)
        self.predict = self.access.predictor(self.full, train.take(self.order), device)
        self.labels = train.labels[self.order]
        self.results: list[TrainingResult] = []
        self.model: torch.nn.Module | None = None
        self.seconds = 0.0

    def run(self) -> ScoringResult:
        spec, train = self.spec, self.dataset.train
        columns: dict[str, list[Floats]] = {}
        confusions, embeddings = [], None
        whole, folds = SelectionCost(), SelectionCost()
        for repeat in range(spec.repeats):
            # The first repeat equals an ordinary training with this seed; the others derive their seeds from it.
            seed = spec.training.seed
            seed = seed if repeat == 0 else stream_seed(seed, "scoring", "repeat", repeat)
            inputs, early = self._train_and_predict(seed)
            whole += self._cost_since(whole + folds)
            if spec.holdout_folds:
                inputs = dataclasses.replace(inputs, held_out=self._held_out(seed))
                folds += self._cost_since(whole + folds)
            started = time.perf_counter()
            for name, values in apply_scores(inputs, early).items():
                columns.setdefault(name, []).append(values)
            assert inputs.model is not None
            assert inputs.early is not None
            logits = inputs.held_out if inputs.held_out is not None else inputs.early.logits
            confusions.append(confusion_of(logits, self.labels))
            if embeddings is None:
                embeddings = inputs.model.embeddings
            self.seconds += time.perf_counter() - started
            whole += self._cost_since(whole + folds)
        inverse = np.argsort(self.order)
        means = {name: np.mean(values, axis=0)[inverse] for name, values in columns.items()}
        keys = {"example_id": train.ids, "content_hash": train.content_hashes, "label": train.labels}
        assert embeddings is not None
        with np.errstate(over="ignore"):  # values out of range become infinite; strategies reject them
            halves = embeddings[inverse].astype(np.float16)
        scores = ExampleScores(
            pd.DataFrame({**keys, **means}),
            embeddings=halves,
            confusion=np.mean(confusions, axis=0),
            cost=(whole, folds),
        )
        agreement = {name: rank_agreement(columns[name]) for name in scores.names} if spec.repeats > 1 else {}
        assert self.model is not None
        return ScoringResult(scores, spec.early, tuple(self.results), self.seconds, agreement, self.model, self.full)

    def _train_and_predict(self, seed: int) -> tuple[ScoreInputs, dict[int, ModelOutputs]]:
        """Trains on all examples; returns the inputs of the scores, and the outputs of early models by epoch."""
        epochs, early = self.spec.training.epochs, self.spec.early
        # On the device, because a copy at each step would synchronize.
        correct = torch.full((epochs, len(self.labels)), -1, dtype=torch.int8, device=self.device)
        outputs: dict[int, ModelOutputs] = {}

        def on_batch(index: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, epoch: int) -> None:
            correct[epoch, index] = (logits.argmax(1) == labels).to(torch.int8)

        def on_model(model: torch.nn.Module, epoch: int) -> None:
            if epoch in early or epoch == epochs:
                started = time.perf_counter()
                outputs[epoch] = self.predict(model, keep_embeddings=epoch == epochs)
                self.seconds += time.perf_counter() - started

        self._train(self.full, seed, Hooks(on_batch, on_model))
        started = time.perf_counter()
        history = correct.cpu().numpy()[:, self.order].astype(np.float64)
        history[history < 0] = np.nan
        self.seconds += time.perf_counter() - started
        inputs = ScoreInputs(self.labels, seed, model=outputs[epochs], early=outputs[early[0]], history=history)
        return inputs, {epoch: outputs[epoch] for epoch in early}

    def _held_out(self, seed: int) -> Floats:
        """Logits of each example, by the model that was trained on the other folds."""
        train, count = self.dataset.train, self.spec.holdout_folds
        folds = assign_folds(train, count, seed)
        logits = np.empty((len(train), len(self.full.classes)))
        for fold in range(count):
            others = dataclasses.replace(self.full, train=train.take(folds != fold))
            trained = self._train(others, stream_seed(seed, "scoring", "fold", fold))
            started = time.perf_counter()
            members = np.flatnonzero(folds[self.order] == fold)
            assert trained.model is not None
            logits[members] = self.predict(trained.model, members).logits
            self.seconds += time.perf_counter() - started
        return logits

    def _train(self, subset: Subset, seed: int, hooks: Hooks = NO_HOOKS) -> Trained:
        training, number, on_epoch = self.spec.training, len(self.results), self.on_epoch
        callback = (lambda record: on_epoch(number, record)) if on_epoch else None
        job = Job(dataclasses.replace(training, seed=seed), subset, self.device, callback)
        trained = self.access.train_with_hooks(job, hooks)
        if trained.result.diverged:
            raise TrainingFailed(
                f"the scoring model diverged in epoch {len(trained.result.records) + 1} with "
                f"{training.configuration.name}, seed {seed}, so its scores are meaningless; try another seed"
            )
        self.results.append(trained.result)
        if self.model is None:
            self.model = trained.model
        return trained

    def _cost_since(self, before: SelectionCost) -> SelectionCost:
        """The total cost minus `before`."""
        spent = (
            self.seconds + sum(result.train_seconds for result in self.results),
            float(sum(result.examples_seen or 0 for result in self.results)),
            sum(result.train_flops or 0.0 for result in self.results),
        )
        return SelectionCost(*(now - then for now, then in zip(spent, dataclasses.astuple(before), strict=True)))


def rank_agreement(columns: list[Floats]) -> float | None:
    """Mean Spearman correlation over pairs of repeats; None if undefined."""
    from scipy.stats import spearmanr  # takes a second to import, and only repeats need it

    values = [float(spearmanr(a, b).statistic) for a, b in combinations(columns, 2) if np.ptp(a) > 0 and np.ptp(b) > 0]
    return float(np.mean(values)) if values else None
