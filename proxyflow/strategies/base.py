"""What a strategy is: a pure function that selects examples from a pool, with one canonical spelling."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.core.files import known_sha256
from proxyflow.core.registry import Registry, class_problem
from proxyflow.core.seeds import generator
from proxyflow.core.settings import Choice, Number
from proxyflow.core.spelling import LONGEST_SPELLING, Spelled, parse_spelling
from proxyflow.strategies.embeddings import EmbeddingRows

Positions = NDArray[np.int64]
FEWEST_EXAMPLES = 2  # batch norm needs two per batch


def content_order(
    ids: NDArray[np.int64], labels: NDArray[np.int64], content_hashes: NDArray[np.str_]
) -> NDArray[np.int64]:
    """`(n,)` positions in an order that depends on the examples' content; ids decide between copies alone."""
    return np.lexsort((ids, labels, content_hashes))


@dataclass(frozen=True)
class EpochPlan:
    """How an epoch presents a subset.

    Attributes:
        passes: how often each example is presented.
        batch_size: examples per batch.
    """

    passes: int
    batch_size: int


@dataclass(frozen=True, eq=False)
class ExamplePool:
    """All that a strategy may use: the training examples, in any order.

    Attributes:
        ids: `(n,) int64`.
        labels: `(n,) int64`.
        content_hashes: `(n,)` strings that identify the examples' content.
        scores: name of a score to `(n,) float64`; empty without scores.
        embeddings: `(n, d) float32`, or rows of a file that are read when they are indexed, or None.
        confusion: `(classes, classes)`, row c the mean predicted probabilities of examples of class c, or None.
        classes: every label of the data set, sorted, including those without examples; None: those that occur.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    content_hashes: NDArray[np.str_]
    scores: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    classes: NDArray[np.int64] | None = None
    embeddings: NDArray[np.float32] | EmbeddingRows | None = None
    confusion: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def all_classes(self) -> NDArray[np.int64]:
        """`classes`, or the labels that occur."""
        return np.unique(self.labels) if self.classes is None else self.classes

    def sorted_by_content(self) -> ExamplePool:
        """The same examples in an order that depends on their content alone."""
        return self.take(content_order(self.ids, self.labels, self.content_hashes))

    def take(self, positions: Positions) -> ExamplePool:
        """Some of the examples, in the given order."""
        embeddings = self.embeddings
        if isinstance(embeddings, EmbeddingRows):
            embeddings = embeddings.take(positions)
        elif embeddings is not None:
            embeddings = embeddings[positions]
        return ExamplePool(
            self.ids[positions],
            self.labels[positions],
            self.content_hashes[positions],
            {name: values[positions] for name, values in self.scores.items()},
            self.classes,
            embeddings,
            self.confusion,
        )


@dataclass(frozen=True)
class Strategy(Spelled, ABC):
    """One way to select examples for a proxy; a subclass is spelled as `Spelled` says."""

    kind: ClassVar[str] = "strategy"
    summary: ClassVar[str]
    family: ClassVar[str]
    source: ClassVar[str]
    # Its examples are generated; `select` returns the real ones that they replace.
    synthetic: ClassVar[bool] = False
    # With equal seed and options, a larger `fraction` selects all that a smaller one does, and more.
    nested: ClassVar[bool] = False
    # It is a curriculum: it presents what it selects in an order, by draws of its own (`ranking`, `draw`).
    ranks: ClassVar[bool] = False
    # What it costs and when it helps, for `--help`, beyond the summary.
    helps: ClassVar[str] = ""
    # What it reduces, as trainers name it (`Trainer.fidelities`).
    reduces: ClassVar[frozenset[str]] = frozenset({"data"})

    @property
    def needs(self) -> frozenset[str]:
        """What it uses of a score run: columns of its table, `embeddings`, `confusion`."""
        return frozenset()

    @property
    def needs_scores(self) -> bool:
        """Whether a model has to be trained on all examples first."""
        return bool(self.needs)

    @property
    def files(self) -> Mapping[str, Path]:
        """Files of the user's that the choice depends on besides the data set, by the option that names them."""
        return {}

    def inputs(self) -> dict[str, str]:
        """SHA-256 of each of `files`, by its option.

        Raises:
            InvalidValue: there is no such file.
        """
        found = {}
        for option, path in self.files.items():
            if not path.is_file():
                raise InvalidValue(f"strategy {self.name}: {option}", f"{path}", f"no such file in {Path.cwd()}")
            found[option] = known_sha256(path)
        return found

    @property
    def stated_seconds(self) -> float:
        """Seconds of work elsewhere that the user states, charged with the selection."""
        return 0.0

    @property
    def balanced(self) -> bool:
        """Whether it selects every class in proportion."""
        return False

    @property
    def depends_on_seed(self) -> bool:
        """Whether another seed may select other examples."""
        return True

    def simplified(self) -> Strategy:
        """The simplest strategy that selects the same (`random:1.0` is `full`)."""
        return self

    @property
    def subset_strategy(self) -> Strategy:
        """The strategy that makes the subset; another one where options decide how the subset is presented alone."""
        return self

    def presented(self, chosen: int) -> int:
        """How many examples an epoch presents of the `chosen` ones."""
        return chosen

    def epoch_plan(self, chosen: int, available: int, batch_size: int) -> EpochPlan:
        """How an epoch presents `chosen` examples where the target's presents all `available` ones once."""
        return EpochPlan(1, batch_size)

    def classes(self, pool: ExamplePool) -> NDArray[np.int64]:
        """The classes that are trained on and validated on, sorted, out of the pool's.

        Raises:
            UserError: there are too few.
        """
        return pool.all_classes

    def select(self, pool: ExamplePool, seed: int) -> NDArray[np.int64]:
        """Selects examples.

        Args:
            pool: the training set; its order has no influence.
            seed: the run's seed; its stream `select` is used.

        Returns:
            Sorted unique example ids.

        Raises:
            UserError: the request is impossible for this pool.
        """
        self._check(pool)
        ordered = pool.sorted_by_content()
        chosen = self._choose(ordered, generator(seed, "select"))
        return np.sort(ordered.ids[chosen])

    def ranking(self, pool: ExamplePool, seed: int) -> NDArray[np.int64] | None:
        """The ids of all selected examples in the order of a curriculum; None unless the strategy `ranks`.

        Args:
            pool, seed: as in `select`.

        Raises:
            UserError: the request is impossible for this pool.
        """
        if not self.ranks:
            return None
        self._check(pool)
        ordered = pool.sorted_by_content()
        return ordered.ids[self._ranked(ordered, generator(seed, "ranking"))]

    def draw(self, ranking: NDArray[np.int64], batch_size: int, step: int, steps: int, seed: int) -> NDArray[np.int64]:
        """The examples of one step, for a strategy that `ranks`.

        Args:
            ranking: `(n,)`, the examples from first to last.
            batch_size: at most n.
            step: number of the step, from 0.
            steps: steps of the whole training.
            seed: the run's seed; a stream of that step is used.

        Returns:
            `(batch_size,)` distinct ones of the ranking.
        """
        raise NotImplementedError(f"{type(self).__name__} presents all examples in every epoch")

    def size(self, pool: ExamplePool) -> int:
        """How many examples `select` returns, without needing scores.

        Where scores decide the number, as for classes of different sizes, a pool without scores gives the smallest one.
        """
        return len(self.select(pool, 0))

    def lacking(self, pool: ExamplePool) -> str:
        """Why it cannot select from such a training set, empty where it can; needs no scores."""
        if not len(pool):
            return "the training set is empty"
        if reason := self._too_few(pool):
            return reason
        empty = np.setdiff1d(self._promised(pool), pool.labels)
        if len(empty):
            named = f"{', '.join(map(str, empty[:5]))}{', ...' if len(empty) > 5 else ''}"
            return (
                f"it takes examples of every class, and class {named} has none; use a strategy with balance=none, or "
                "other classes"
            )
        return ""

    def untrainable(self, pool: ExamplePool) -> str:
        """Why what it selects cannot be trained on, empty where it can; needs no scores.

        A study calls it before it trains a model for scores.
        """
        if reason := self.lacking(pool):
            return reason
        n = self.presented(self.size(pool))
        if n >= FEWEST_EXAMPLES:
            return ""
        return (
            f"an epoch has {n} of {len(pool):,} training examples, and training needs at least {FEWEST_EXAMPLES}; "
            "choose a larger share"
        )

    def _too_few(self, pool: ExamplePool) -> str:
        """Why the classes that it needs are missing, empty where they are not."""
        return ""

    def _promised(self, pool: ExamplePool) -> NDArray[np.int64]:
        """The classes that must each have an example, as far as they are known without scores."""
        return self.classes(pool) if self.balanced else np.empty(0, dtype=np.int64)

    def _check(self, pool: ExamplePool) -> None:
        if not len(pool):
            raise UserError(f"strategy {self.canonical}: {self.lacking(pool)}")
        held = {*pool.scores, *(name for name in ("embeddings", "confusion") if getattr(pool, name) is not None)}
        missing = sorted(self.needs - held)
        if missing:
            raise UserError(
                f"strategy {self.canonical} needs scores ({', '.join(missing)}): run the entry point score first"
            )
        if reason := self.lacking(pool):
            raise UserError(f"strategy {self.canonical}: {reason}")

    def _ranked(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        """Positions in `pool`, which is in content order, from first to last; for a strategy that `ranks`."""
        raise NotImplementedError(f"{type(self).__name__} presents all examples in every epoch")

    @abstractmethod
    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> Positions:
        """Positions in `pool`, which is in content order."""


strategies: Registry[type[Strategy]] = Registry(
    "strategy",
    "proxyflow.strategies",
    partial(class_problem, base=Strategy, texts=("name", "summary", "family", "source")),
)


def register_strategy(cls: type[Strategy]) -> type[Strategy]:
    """Class decorator: registers a strategy under its own name."""
    return strategies.add(cls.name, cls)


FRACTION = Number(low=0, high=1, above=True, example="0.1")
BALANCE = Choice(("none", "class"))


def parse_strategy(text: str) -> Strategy:
    """Reads a strategy that selects examples, without further reductions; `proxies.parse_proxy` reads these as well.

    Raises:
        InvalidValue: unknown name, missing or superfluous argument, unknown option, value out of range, or a spelling
            that is too long for the tag that strategies are read back from.

    Example:
        >>> parse_strategy("hardest:.50,drop=.05").canonical
        'hardest:0.5,drop=0.05'
        >>> parse_strategy("random:1").canonical
        'full'
    """
    parsed = parse_spelling(text, strategies, Strategy.kind).simplified()
    if len(parsed.canonical) > LONGEST_SPELLING:
        rule = f"its spelling has {len(parsed.canonical):,} characters, and runs can keep {LONGEST_SPELLING:,}"
        raise InvalidValue("strategy", parsed.canonical, rule)
    return parsed
