"""What all strategies on embeddings share: their source, a budget for all examples or each class, and large sets."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.core.settings import Number, setting
from proxyflow.strategies.base import BALANCE, FRACTION, ExamplePool, Positions, Strategy
from proxyflow.strategies.budget import apportion, count, members_by_class
from proxyflow.strategies.embeddings import SCORES, EmbeddingSource, file_of
from proxyflow.strategies.full import Full

Points = NDArray[np.float32]
# Examples that are selected from at once; more are divided into random chunks of at most CHUNK.
WHOLE, CHUNK = 20_000, 5_000


@dataclass(frozen=True)
class Geometric(Strategy):
    """A fraction of the examples, selected by their embeddings.

    These are the score run's, of a model that is trained on all examples, or with `embeddings=file:PATH` those of any
    frozen model (`proxyflow.data.embeddings`): then nothing is trained, and `embedding_seconds` is what the user states
    that computing them took.
    """

    fraction: float = setting(dataclasses.MISSING, FRACTION, "share of all training examples", symbol="F")
    balance: str = setting("none", BALANCE, "class: every class in proportion, each by itself; none: all at once")
    embeddings: str = setting(
        SCORES, EmbeddingSource(), "scores: of the score run's model; file:PATH: .npy, .parquet or .csv, of any model"
    )
    embedding_seconds: float = setting(
        0.0, Number(low=0, example="120"), "what computing the file took, charged as selection (seconds)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.embedding_seconds and self.embeddings == SCORES:
            rule = "it is of embeddings=file:PATH; what the score run took is known"
            raise InvalidValue(f"strategy {self.name}: embedding_seconds", self.embedding_seconds, rule)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset() if self.files else frozenset({"embeddings"})

    @property
    def files(self) -> Mapping[str, Path]:
        path = file_of(self.embeddings)
        return {} if path is None else {"embeddings": path}

    @property
    def stated_seconds(self) -> float:
        return self.embedding_seconds

    @property
    def balanced(self) -> bool:
        return self.balance == "class"

    def simplified(self) -> Strategy:
        return Full() if self.fraction == 1 else self

    def size(self, pool: ExamplePool) -> int:
        return max(1, count(self.fraction, len(pool)))

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        if pool.embeddings is None:
            raise UserError(f"strategy {self.canonical}: the pool has no embeddings; give those of the file")
        groups = members_by_class(pool.labels) if self.balanced else [np.arange(len(pool))]
        budgets = apportion(self.size(pool), [len(group) for group in groups])
        # This shuffle breaks ties between equal points, not the order of the source.
        return np.concatenate(
            [
                self._pick_from(pool, rng.permutation(group), budget, rng)
                for group, budget in zip(groups, budgets, strict=True)
            ]
        )

    @abstractmethod
    def _pick_from(self, pool: ExamplePool, group: Positions, budget: int, rng: np.random.Generator) -> Positions:
        """`budget` of the positions in `group`, which is in random order."""


class Chunked(Geometric):
    """Selects at once from at most `WHOLE` examples (of a class, with `balance=class`), and else from random chunks.

    Selecting takes a pass over the embeddings per chosen example, so time and memory of one selection from 1,000,000
    would be out of proportion. Each chunk is a random sample of all, of at most `CHUNK` examples, and gives a share of
    the budget in proportion to its size; only its embeddings are in memory.
    """

    def _pick_from(self, pool: ExamplePool, group: Positions, budget: int, rng: np.random.Generator) -> Positions:
        chunks = [group] if len(group) <= WHOLE else chunks_of(group)
        budgets = apportion(budget, [len(chunk) for chunk in chunks], at_least_one=False)
        chosen = []
        for chunk, share in zip(chunks, budgets, strict=True):
            points = points_of(pool, chunk)
            points -= points.mean(axis=0)
            chosen.append(chunk[self._pick(points, share, rng)])
        return np.concatenate(chosen)

    @abstractmethod
    def _pick(self, points: Points, budget: int, rng: np.random.Generator) -> Positions:
        """Positions of `budget` of the points `(n, d)`, whose mean is 0."""


def chunks_of(group: Positions) -> list[Positions]:
    """Parts of equal size, of at most `CHUNK`."""
    return np.array_split(group, -(-len(group) // CHUNK))


def points_of(pool: ExamplePool, positions: Positions) -> Points:
    """A copy of some examples' embeddings, `(n, d)`."""
    assert pool.embeddings is not None
    return pool.embeddings[positions]
