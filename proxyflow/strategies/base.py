"""What a strategy is: a pure choice of examples from a pool, with one canonical spelling."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from proxyflow.errors import InvalidValue, UserError
from proxyflow.registry import Registry
from proxyflow.seeds import generator
from proxyflow.settings import Choice, Number, normalise, settings_of

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Showing:
    """What an epoch shows of a subset.

    Attributes:
        passes: how often each example.
        batch_size: in batches of how many.
    """

    passes: int
    batch_size: int


@dataclass(frozen=True, eq=False)
class Pool:
    """All that a strategy may look at: the training examples, in any order.

    Attributes:
        example_ids: `(n,) int64`.
        labels: `(n,) int64`.
        content_hashes: `(n,)` strings that identify the images.
        scores: measure name to `(n,) float64`; empty where no scores were taken.
        embeddings: `(n, d) float32`, or None where none were taken.
        confusion: `(classes, classes)`, row c the mean probabilities that examples of class c are given, or None.
        classes: every label of the data set, sorted, those without an example included; None is those that occur.
    """

    example_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    content_hashes: NDArray[np.str_]
    scores: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    classes: NDArray[np.int64] | None = None
    embeddings: NDArray[np.float32] | None = None
    confusion: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.example_ids)

    @property
    def all_classes(self) -> NDArray[np.int64]:
        """`classes`, or the labels that occur."""
        return np.unique(self.labels) if self.classes is None else self.classes

    def sorted_by_content(self) -> Pool:
        """The same examples in an order that depends on their content alone."""
        order = np.lexsort((self.example_ids, self.labels, self.content_hashes))
        return self.take(order)

    def take(self, positions: Positions) -> Pool:
        """Some of the examples, in the given order."""
        return Pool(
            self.example_ids[positions],
            self.labels[positions],
            self.content_hashes[positions],
            {name: values[positions] for name, values in self.scores.items()},
            self.classes,
            None if self.embeddings is None else self.embeddings[positions],
            self.confusion,
        )


@dataclass(frozen=True)
class Strategy(ABC):
    """One way to choose a proxy.

    A subclass is a frozen dataclass whose fields are declared with `settings.setting`; the first field is the
    argument after the colon, the others are options after commas.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    family: ClassVar[str]
    source: ClassVar[str]
    # Its examples are made, and `select` only says in whose place.
    synthetic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        try:
            normalise(self)
        except InvalidValue as error:
            symbols = {field.name: field.metadata.get("symbol", field.name) for field in settings_of(self)}
            name = f"strategy {self.name}: {symbols[error.name]}"
            raise InvalidValue(name, error.value, error.rule) from None

    @property
    def canonical(self) -> str:
        """The one spelling that tags, files and tables use: defaults left out, numbers in shortest form."""
        fields = settings_of(self)
        given = [field for field in fields[1:] if getattr(self, field.name) != field.default]
        argument = "".join(f":{getattr(self, field.name)}" for field in fields[:1])
        return self.name + argument + "".join(f",{field.name}={getattr(self, field.name)}" for field in given)

    @property
    def needs(self) -> frozenset[str]:
        """What of a score run it chooses by: columns of its table, `embeddings`, `confusion`."""
        return frozenset()

    @property
    def needs_scores(self) -> bool:
        """Whether a model has to be trained on all examples before it can choose."""
        return bool(self.needs)

    @property
    def balanced(self) -> bool:
        """Whether it promises every class in proportion."""
        return False

    @property
    def depends_on_seed(self) -> bool:
        """Whether another seed may choose other examples."""
        return True

    def simplified(self) -> Strategy:
        """The simplest strategy that chooses the same (`random:1.0` is `full`)."""
        return self

    @property
    def data_strategy(self) -> Strategy:
        """The strategy whose subset is trained on; another one only where this one changes no data."""
        return self

    def epochs(self, full_epochs: int) -> int:
        """How many epochs to train for where the target trains `full_epochs`."""
        return full_epochs

    def showing(self, chosen: int, available: int, batch_size: int) -> Showing:
        """What an epoch shows of `chosen` examples where the target's shows all `available` ones once."""
        return Showing(1, batch_size)

    def classes(self, pool: Pool) -> NDArray[np.int64]:
        """The classes that are trained on and validated on, sorted, out of the pool's.

        Raises:
            UserError: there are not so many.
        """
        return pool.all_classes

    def select(self, pool: Pool, seed: int) -> NDArray[np.int64]:
        """Chooses examples.

        Args:
            pool: the training set; its order has no influence.
            seed: the run's seed; its stream `select` is used.

        Returns:
            Sorted unique example ids.

        Raises:
            UserError: the request is impossible for this pool.
        """
        if not len(pool):
            raise UserError(f"strategy {self.canonical}: the training set is empty")
        self._check(pool)
        ordered = pool.sorted_by_content()
        chosen = self._choose(ordered, generator(seed, "select"))
        return np.sort(ordered.example_ids[chosen])

    def size(self, pool: Pool) -> int:
        """How many examples `select` gives."""
        return len(self.select(pool, 0))

    def _check(self, pool: Pool) -> None:
        held = {*pool.scores, *(name for name in ("embeddings", "confusion") if getattr(pool, name) is not None)}
        missing = sorted(self.needs - held)
        if missing:
            raise UserError(
                f"strategy {self.canonical} needs scores ({', '.join(missing)}): run the entry point score first"
            )
        if self.balanced:
            empty = np.setdiff1d(self.classes(pool), pool.labels)
            if len(empty):
                raise UserError(
                    f"strategy {self.canonical} takes examples of every class, and class "
                    f"{', '.join(map(str, empty[:5]))} has none; use a strategy with balance=none, or other classes"
                )

    @abstractmethod
    def _choose(self, pool: Pool, rng: np.random.Generator) -> Positions:
        """Positions in `pool`, which is in content order."""


strategies: Registry[type[Strategy]] = Registry("strategy")


def register(cls: type[Strategy]) -> type[Strategy]:
    """Class decorator: registers a strategy under its own name."""
    return strategies.add(cls.name, cls)


FRACTION = Number(low=0, high=1, above=True, example="0.1")
BALANCE = Choice(("none", "class"))


def spelling(cls: type[Strategy]) -> str:
    """How a strategy is written, with its placeholder and options: `hardest:F,drop=0.0,by=loss`."""
    fields = settings_of(cls)
    argument = "".join(f":{field.metadata['symbol']}" for field in fields[:1])
    return cls.name + argument + "".join(f"[,{field.name}={field.default}]" for field in fields[1:])


def parse_strategy(text: str) -> Strategy:
    """Reads `name`, `name:argument` or `name:argument,option=value,…`.

    Raises:
        InvalidValue: unknown name, missing or superfluous argument, unknown option, value out of range.

    Example:
        >>> parse_strategy("hardest:.50,drop=.05").canonical
        'hardest:0.5,drop=0.05'
        >>> parse_strategy("random:1").canonical
        'full'
    """
    head, *parts = [part.strip() for part in text.strip().split(",")]
    if ":" not in head:
        head = head.replace("=", ":", 1)  # classes=0+3 is what people write for classes:0+3
    name, colon, argument_text = head.partition(":")
    cls = strategies[name.strip()]
    usage = f"write {spelling(cls)}"
    fields = settings_of(cls)
    values: dict[str, Any] = {}
    if fields and not argument_text.strip():
        raise InvalidValue("strategy", text, f"{fields[0].metadata['symbol']} is missing; {usage}")
    if fields:
        values[fields[0].name] = argument_text.strip()
    elif colon:
        raise InvalidValue("strategy", text, f"{name} takes no argument; {usage}")
    options = {option.name for option in fields[1:]}
    for part in parts:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in options:
            known = f"its options are {', '.join(sorted(options))}" if options else "it has no options"
            raise InvalidValue("strategy", text, f"{part!r} is not an option of {name}: {known}")
        if key in values:
            raise InvalidValue("strategy", text, f"the option {key} is given twice")
        values[key] = value
    return cls(**values).simplified()


def split_strategies(text: str) -> list[str]:
    """Splits a comma- or space-separated list; a piece `key=value` belongs to the strategy before it."""
    found: list[str] = []
    for piece in text.replace(";", " ").replace(",", " ").split():
        # classes=0+3 is a strategy, whose name is no option of another.
        named = piece.partition("=")[0] in strategies
        if found and "=" in piece and ":" not in piece and not named:
            found[-1] += f",{piece}"
        else:
            found.append(piece)
    return found


def parse_strategies(text: str) -> tuple[Strategy, ...]:
    """Reads a list of strategies; one named twice, in whatever spelling, is kept once."""
    parsed = {strategy.canonical: strategy for strategy in map(parse_strategy, split_strategies(text))}
    if not parsed:
        raise InvalidValue("strategies", text, f"name at least one of {', '.join(strategies)}")
    return tuple(parsed.values())
