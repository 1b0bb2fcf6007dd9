"""A subset: which examples of which data set, chosen how, with the validation examples to judge it by."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from proxyflow.data.catalog import Dataset
from proxyflow.data.images import ImageSet
from proxyflow.errors import UserError
from proxyflow.scoring.table import CONFUSION, EMBEDDINGS, ExampleScores, SelectionCost
from proxyflow.strategies import Pool, Strategy


@dataclass(frozen=True, eq=False)
class Subset:
    """All that a training needs; it does not refer back to the full data set.

    Attributes:
        dataset, dataset_fingerprint: what it was chosen from.
        strategy: canonical spelling.
        seed: the run's seed that the choice was made with.
        class_names: names of all classes of the data set, by label.
        classes: the labels that are trained on and validated on, sorted.
        train, valid: the examples, with the data set's own labels and ids.
        scores: `(len(train),) float64`, the score that the choice was made by, or None.
        score_run: the run that the scores came from, or empty.
        image_size: side in pixels at which it is trained on by default.
        crop: how training images are cropped, one of `data.augment.CROPS`.
        mean, std: per-channel statistics of the full training set in 0..1.
        selection: what choosing it cost, the scores that it needs included; None where it is not known.
        n_source: training examples of the data set that it was made from; None where it is not known.
    """

    dataset: str
    dataset_fingerprint: str
    strategy: str
    seed: int
    class_names: tuple[str, ...]
    classes: tuple[int, ...]
    train: ImageSet
    valid: ImageSet
    scores: NDArray[np.float64] | None
    score_run: str
    image_size: int
    crop: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    selection: SelectionCost | None = None
    n_source: int | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what is trained on and judged by: equal content is an equal subset, however chosen."""
        parts = (self.train.fingerprint, self.valid.fingerprint, ",".join(map(str, self.classes)))
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    @property
    def class_counts(self) -> dict[str, int]:
        """Training examples per class name, classes without any included."""
        return {self.class_names[c]: int((self.train.labels == c).sum()) for c in self.classes}

    def repeated(self, passes: int) -> Subset:
        """The subset with each training example so many times, each time augmented by draws of its own."""
        if passes == 1:
            return self
        train, n = self.train, len(self.train)
        every = train.take(np.tile(np.arange(n), passes))
        # Augmentation is drawn by the example's id.
        ids = every.example_ids + np.repeat(np.arange(passes), n) * (train.example_ids.max() + 1)
        return dataclasses.replace(self, train=dataclasses.replace(every, example_ids=ids), scores=None)


def align_scores(scores: ExampleScores, train: ImageSet) -> ExampleScores:
    """Puts a score table into the order of a training set, matching examples by content.

    Raises:
        UserError: the table is of other examples.
    """
    table = scores.frame.reset_index(drop=True).sort_values(["content_hash", "label", "example_id"], kind="stable")
    order = train.by_content
    same = (
        len(table) == len(train)
        and np.array_equal(table["content_hash"].to_numpy(str), train.content_hashes[order])
        and np.array_equal(table["label"].to_numpy(), train.labels[order])
    )
    if not same:
        raise UserError(
            f"the scores of run {scores.run_id or '(unlogged)'} are of other examples than this training set; "
            "score this data set, or name a score run of it"
        )
    inverse = np.empty(len(order), dtype=np.int64)
    inverse[order] = np.arange(len(order))
    rows = table.iloc[inverse]
    # The frame's index says where its rows were, which is where their embeddings are.
    embeddings = None if scores.embeddings is None else scores.embeddings[rows.index.to_numpy()]
    return dataclasses.replace(scores, frame=rows.reset_index(drop=True), embeddings=embeddings)


def choose_subset(dataset: Dataset, strategy: Strategy, seed: int, scores: ExampleScores | None = None) -> Subset:
    """Applies a strategy to a data set.

    Args:
        scores: needed where `strategy.needs_scores`; ignored otherwise.

    Raises:
        UserError: scores are missing, of other examples or not finite, or the request is impossible.
    """
    if strategy.synthetic:
        raise UserError(f"strategy {strategy.canonical} is made and not chosen: use the entry point distill")
    begun = time.perf_counter()
    pool = pool_of(dataset, strategy, scores)
    train = dataset.train
    chosen = np.flatnonzero(np.isin(train.example_ids, strategy.select(pool, seed)))
    classes = strategy.classes(pool)
    scored = scores if strategy.needs_scores else None
    cost = scored.cost_of(strategy.needs) if scored else SelectionCost()
    by = getattr(strategy, "by", None)
    return Subset(
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint,
        strategy=strategy.canonical,
        seed=seed,
        class_names=dataset.class_names,
        classes=tuple(int(c) for c in classes),
        train=train.take(chosen),
        valid=dataset.valid.take(np.isin(dataset.valid.labels, classes)),
        scores=pool.scores[by][chosen] if by else None,
        score_run=scored.run_id if scored else "",
        image_size=dataset.image_size,
        crop=dataset.crop,
        mean=dataset.mean,
        std=dataset.std,
        selection=None if cost is None else cost + SelectionCost(time.perf_counter() - begun),
        n_source=len(train),
    )


def pool_of(dataset: Dataset, strategy: Strategy, scores: ExampleScores | None) -> Pool:
    """What a strategy may look at: the training set with the scores that it asks for.

    Raises:
        UserError: scores are missing, of other examples or not finite.
    """
    columns: dict[str, NDArray[np.float64]] = {}
    embeddings = confusion = None
    if strategy.needs_scores:
        if scores is None:
            raise UserError(f"strategy {strategy.canonical} needs scores: run the entry point score first")
        scores = align_scores(scores, dataset.train)
        for need in sorted(strategy.needs):
            scores.check(need)
            if need == EMBEDDINGS and scores.embeddings is not None:
                embeddings = scores.embeddings.astype(np.float32)
            elif need == CONFUSION:
                confusion = scores.confusion
            else:
                columns[need] = scores.frame[need].to_numpy(dtype=np.float64)
    train = dataset.train
    all_classes = np.arange(len(dataset.class_names))
    return Pool(train.example_ids, train.labels, train.content_hashes, columns, all_classes, embeddings, confusion)
