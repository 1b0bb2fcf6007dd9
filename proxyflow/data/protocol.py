"""What all kinds of data have in common: strategies, subsets, scores, studies and reports know no more than this."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.registry import Registry, missing_member
from proxyflow.data.content import Digests, fingerprint_of, found_in, ranks_of

if TYPE_CHECKING:
    from proxyflow.data.options import DataOptions

Positions = NDArray[np.int64] | NDArray[np.bool_]
Say = Callable[[str], None]


class Examples(Protocol):
    """Some labelled examples of a data set; only code of their modality knows what an example is.

    Attributes:
        ids: `(n,) int64`, unique; in a data set the positions in its own order.
        labels: `(n,) int64`, index into the data set's class names.
        content_hashes: `(n,)` strings; two examples have the same one exactly where their content is the same.
        groups: `(n,)`, the group of each example, whose members stay on one side of every split; None without groups.
        modality: what kind of data they are, a name in `modality.modalities`.
    """

    @property
    def ids(self) -> NDArray[np.int64]: ...

    @property
    def labels(self) -> NDArray[np.int64]: ...

    @property
    def content_hashes(self) -> NDArray[np.str_]: ...

    @property
    def groups(self) -> NDArray[Any] | None: ...

    @property
    def modality(self) -> str: ...

    def __len__(self) -> int: ...

    def take(self, positions: Positions) -> Self:
        """The examples at `positions` (indices or a mask), in that order."""
        ...

    def with_ids(self, ids: NDArray[np.int64]) -> Self:
        """The same examples under other ids, `(n,) int64`."""
        ...


def numbered(examples: Examples) -> Examples:
    """The examples with their positions as ids."""
    return examples.with_ids(np.arange(len(examples), dtype=np.int64))


def digests_of(examples: Examples) -> Digests | None:
    """`(n, 32) uint8`, the content hashes as bytes, of a modality that keeps SHA-256 so; None of others.

    A modality with an attribute `digests` spares large data sets the hashes as text.
    """
    found: Digests | None = getattr(examples, "digests", None)
    return found


def content_ranks(examples: Examples) -> NDArray[np.int64]:
    """`(n,) int64`: equal where the content is the same, and in the order of `content_hashes`."""
    digests = digests_of(examples)
    if digests is not None:
        return ranks_of(digests)
    return np.asarray(np.unique(examples.content_hashes, return_inverse=True)[1], dtype=np.int64)


def copies_in(examples: Examples, others: Examples) -> NDArray[np.bool_]:
    """`(n,)`, which examples have a content that is also among `others`."""
    ours, theirs = digests_of(examples), digests_of(others)
    if ours is None or theirs is None:
        return np.isin(examples.content_hashes, others.content_hashes)
    return found_in(ours, theirs)


def by_content(examples: Examples) -> NDArray[np.int64]:
    """`(n,)` positions in an order that depends on the examples' content alone, whatever order their source has."""
    return np.lexsort((examples.ids, examples.labels, content_ranks(examples)))


def fingerprint(examples: Examples) -> str:
    """SHA-256 over content and labels that depends neither on the order of the examples nor on their ids."""
    digests = digests_of(examples)
    if digests is not None:
        return fingerprint_of(digests, examples.labels)
    rows = sorted(f"{content} {label}" for content, label in zip(examples.content_hashes, examples.labels, strict=True))
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set: everything that a subset of it is chosen from.

    Attributes:
        name: its name in the catalog.
        class_names: one per label, in label order.
        train: the full training set.
        valid: the validation examples, the same in every study, see `evaluation`.
        preprocessing: how examples reach a model by default; opaque to all code but that of the modality.
        test: examples that no training looks at; None where none were requested.
        skipped: files that were left out because they hold no usable example, each with the reason.
        layout: how its files were read, for people; empty where there is one way only.
        notes: what was not read, or was done to the content, for people.
        warnings: what the choice of validation and test examples means for the metric, for people.
    """

    name: str
    class_names: tuple[str, ...]
    train: Examples
    valid: Examples
    preprocessing: Any
    test: Examples | None = None
    skipped: tuple[str, ...] = ()
    layout: str = ""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def modality(self) -> str:
        """What kind of data it is: `images`, for instance."""
        return self.train.modality

    @property
    def held_out(self) -> dict[str, Examples]:
        """The sets that models are judged by: `validation`, and `test` where there is one."""
        return {"validation": self.valid, **({} if self.test is None else {"test": self.test})}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over content and labels of all sets; the same on every machine."""
        sets = (self.train, *self.held_out.values())
        return hashlib.sha256(" ".join(map(fingerprint, sets)).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Contents:
    """All that a source holds: a data set before its validation and test examples are chosen.

    Attributes:
        class_names: one per label, in label order.
        train: the training examples in training order; all examples where there is no validation split.
        valid: the source's own validation split; None where validation examples have to be split off.
        valid_examples: how many of it are used with `valid_examples=auto`; None: by the number of training examples.
        preprocessing, skipped, layout, notes: as of `Dataset`.
    """

    class_names: tuple[str, ...]
    train: Examples
    valid: Examples | None
    preprocessing: Any = None
    valid_examples: int | None = None
    skipped: tuple[str, ...] = ()
    layout: str = ""
    notes: tuple[str, ...] = ()


class Source(Protocol):
    """Where a data set comes from.

    Attributes:
        description: what it is, for people.
        takes_path: its name is followed by a colon and a path.
    """

    @property
    def description(self) -> str: ...

    @property
    def takes_path(self) -> bool: ...

    def canonical_path(self, path: str) -> str:
        """What follows the colon, in one spelling: absolute, for instance. Only called with `takes_path`.

        Raises:
            ValueError: nothing can be read there; the message names the rule and what would be accepted.
        """
        ...

    def load(self, name: str, path: str, options: DataOptions, say: Say) -> Contents:
        """Finds the data set, downloading it where that is possible, and reads it.

        Args:
            name: the data set's whole name, for messages and caches.
            path: what follows the colon, empty without `takes_path`.
            options: where downloads are kept, and what a modality reads of it.
            say: reports progress to the user.

        Raises:
            UserError: it is missing or wrong; the message names the file, folder or row, and what would be accepted.
            OSError: a file cannot be read.
        """
        ...


MEMBERS = {"description": str, "takes_path": bool, "load": Callable}
datasets: Registry[Source] = Registry("dataset", "proxyflow.datasets", lambda name, item: missing_member(item, MEMBERS))
