"""A subset: which examples of which data set, how they were selected, and the validation examples."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import UserError
from proxyflow.data.modality import modalities
from proxyflow.data.protocol import Dataset, Examples, by_content, fingerprint
from proxyflow.scores.table import CONFUSION, EMBEDDINGS, ExampleScores, SelectionCost
from proxyflow.strategies import ExamplePool, Strategy
from proxyflow.strategies.embeddings import EmbeddingRows


@dataclass(frozen=True, eq=False)
class Subset:
    """All that a training needs; it does not refer back to the full data set.

    Attributes:
        dataset, dataset_fingerprint: what it was selected from.
        strategy: canonical spelling.
        seed: the run's seed that the selection used.
        class_names: names of all classes of the data set, by label.
        classes: the labels that are trained on and validated on, sorted.
        train, valid: the examples, with the data set's own labels and ids.
        scores: `(len(train),) float64`, the score that was used for the selection; of a curriculum, each example's
            place in the ranking; or None.
        score_run: the run that the scores came from, or empty.
        preprocessing: how examples reach a model, that of the data set; opaque to all code but that of the modality.
        selection: the cost of the selection, including the scores that it needs; None where it is not known.
        n_source: training examples of the data set that it was made from; None where it is not known.
        test: examples of the same classes that no training uses; None where the data set has none.
        ranked: whether it is of a curriculum, so that results depend on the ranking.
    """

    dataset: str
    dataset_fingerprint: str
    strategy: str
    seed: int
    class_names: tuple[str, ...]
    classes: tuple[int, ...]
    train: Examples
    valid: Examples
    scores: NDArray[np.float64] | None
    score_run: str
    preprocessing: Any
    selection: SelectionCost | None = None
    n_source: int | None = None
    test: Examples | None = None
    ranked: bool = False

    @property
    def modality(self) -> str:
        """What kind of data it is: `images`, for instance."""
        return self.train.modality

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of training, validation and test examples: equal content is an equal subset, however selected.

        That of a curriculum covers its ranking as well.
        """
        parts = [fingerprint(self.train), fingerprint(self.valid), ",".join(map(str, self.classes))]
        if self.test is not None:
            parts.append(fingerprint(self.test))
        if self.ranked:
            assert self.scores is not None
            parts.append(hashlib.sha256(self.scores[by_content(self.train)].tobytes()).hexdigest())
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    @property
    def order(self) -> NDArray[np.int64] | None:
        """`(len(train),)` positions in `train` in the order of a curriculum; None where there is none."""
        return np.argsort(self.scores, kind="stable") if self.ranked and self.scores is not None else None

    @property
    def class_counts(self) -> dict[str, int]:
        """Training examples per class name, classes without any included."""
        return {self.class_names[c]: int((self.train.labels == c).sum()) for c in self.classes}

    def repeated(self, passes: int) -> Subset:
        """The subset with each training example so many times, each augmented independently."""
        if passes == 1:
            return self
        train, n = self.train, len(self.train)
        every = train.take(np.tile(np.arange(n), passes))
        # Augmentation depends on the example's id.
        ids = every.ids + np.repeat(np.arange(passes), n) * (train.ids.max() + 1)
        return dataclasses.replace(self, train=every.with_ids(ids), scores=None)


def describe_difference(examples: Examples, others: Iterable[tuple[str, int]]) -> str:
    """Which examples are not among others, by content and label, for people; empty where none differs.

    Args:
        others: content hash and label of each.
    """
    left, new = Counter(others), []
    keys = zip(examples.content_hashes.tolist(), examples.labels.tolist(), strict=True)
    for position, key in enumerate(keys):
        if left[key]:
            left[key] -= 1
        else:
            new.append(position)
    gone, modality = left.total(), modalities[examples.modality]
    said = []
    if new:
        said.append(f"{modality.name_of(examples, new[0])} is new or changed, the first of {len(new):,}")
    if gone:
        said.append(f"{gone:,} {modality.noun}s are gone or were changed")
    return "; ".join(said)


def align_scores(scores: ExampleScores, train: Examples) -> ExampleScores:
    """Puts a score table into the order of a training set, matching examples by content.

    Raises:
        UserError: the table is of other examples.
    """
    table = scores.frame.reset_index(drop=True).sort_values(["content_hash", "label", "example_id"], kind="stable")
    order = by_content(train)
    same = (
        len(table) == len(train)
        and np.array_equal(table["content_hash"].to_numpy(str), train.content_hashes[order])
        and np.array_equal(table["label"].to_numpy(), train.labels[order])
    )
    if not same:
        scored = zip(table["content_hash"].tolist(), table["label"].tolist(), strict=True)
        raise UserError(
            f"the scores of run {scores.run_id or '(unlogged)'} are of other examples than this training set "
            f"({describe_difference(train, scored)}); "
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
        raise UserError(f"strategy {strategy.canonical} generates its examples: use the entry point distill")
    begun = time.perf_counter()
    pool = pool_of(dataset, strategy, scores)
    train = dataset.train
    chosen = np.flatnonzero(np.isin(train.ids, strategy.select(pool, seed)))
    classes = strategy.classes(pool)
    scored = scores if strategy.needs_scores else None
    cost = scored.cost_of(strategy.needs) if scored else SelectionCost()
    by, ranking = getattr(strategy, "by", None), strategy.ranking(pool, seed)
    column = pool.scores[by][chosen] if by is not None and by in pool.scores else None
    if ranking is not None:
        column = _places(train.ids[chosen], ranking)
    return Subset(
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint,
        strategy=strategy.canonical,
        seed=seed,
        class_names=dataset.class_names,
        classes=tuple(int(c) for c in classes),
        train=train.take(chosen),
        valid=dataset.valid.take(np.isin(dataset.valid.labels, classes)),
        test=None if dataset.test is None else dataset.test.take(np.isin(dataset.test.labels, classes)),
        scores=column,
        ranked=ranking is not None,
        score_run=scored.run_id if scored else "",
        preprocessing=dataset.preprocessing,
        selection=None if cost is None else cost + SelectionCost(time.perf_counter() - begun + strategy.stated_seconds),
        n_source=len(train),
    )


def _places(ids: NDArray[np.int64], ranking: NDArray[np.int64]) -> NDArray[np.float64]:
    """The place of each example in a ranking of the same ids, the first 0."""
    sorter = np.argsort(ranking)
    return sorter[np.searchsorted(ranking, ids, sorter=sorter)].astype(np.float64)


def pool_of(dataset: Dataset, strategy: Strategy, scores: ExampleScores | None) -> ExamplePool:
    """The pool that a strategy selects from: the training set with the scores, or the embeddings of a file, it needs.

    Raises:
        UserError: scores are missing, of other examples or not finite, or a file is not of the training examples.
    """
    columns: dict[str, NDArray[np.float64]] = {}
    embeddings: NDArray[np.float32] | EmbeddingRows | None = None
    confusion = None
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
    elif path := strategy.files.get(EMBEDDINGS):
        from proxyflow.data.embeddings import read_embeddings  # imports pyarrow

        embeddings = read_embeddings(path, dataset)
    train = dataset.train
    all_classes = np.arange(len(dataset.class_names))
    return ExamplePool(train.ids, train.labels, train.content_hashes, columns, all_classes, embeddings, confusion)
