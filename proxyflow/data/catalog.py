"""Data sets by name: found, read, split, and ready to be chosen from."""

from __future__ import annotations

import dataclasses
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import proxyflow.data.images.sources
import proxyflow.data.table.sources  # noqa: F401  (both register the data sets that come with the package)
from proxyflow.core.errors import UNPRINTABLE, InvalidValue, UserError
from proxyflow.data.description import describe
from proxyflow.data.evaluation import split
from proxyflow.data.options import CACHE_VARIABLE, DATA_VARIABLE, DataOptions, absolute
from proxyflow.data.protocol import Contents, Dataset, Say, Source, content_ranks, datasets, numbered
from proxyflow.data.splits import fixed_part

__all__ = [
    "CACHE_VARIABLE",
    "DATA_VARIABLE",
    "DataOptions",
    "Dataset",
    "Request",
    "absolute",
    "canonical_name",
    "dataset_of",
    "datasets",
    "describe",
    "load_dataset",
    "parse_request",
    "part_of",
    "syntax_of",
]

# `NAME@N` is a fixed part of a data set with N training examples.
PART = re.compile(r"(?P<name>.*)@(?P<n>[0-9]+)")


def syntax_of(name: str, source: Source) -> str:
    """How a data set is named: `digits`, or `folder:PATH`."""
    return f"{name}:PATH" if source.takes_path else name


@dataclass(frozen=True)
class Request:
    """A data set's name, taken apart.

    Attributes:
        kind: its key in the catalog.
        path: canonical, empty where the source takes none.
        part: how many training examples to keep, None for all.
    """

    kind: str
    path: str
    part: int | None

    @property
    def whole(self) -> str:
        """The name of the data set that it is, or is a part of."""
        return f"{self.kind}:{self.path}" if self.path else self.kind

    @property
    def name(self) -> str:
        """The canonical spelling."""
        return self.whole if self.part is None else f"{self.whole}@{self.part}"


def parse_request(name: str) -> Request:
    """Reads `digits`, `folder:PATH`, or either with `@N`, a fixed part of N training examples.

    Raises:
        UnknownName: no data set has that name.
        InvalidValue: a path is missing, wrong, or given where none belongs.
    """
    if len(name) > 2 and name[0] == name[-1] == '"' and name[1:-1].partition(":")[0] in datasets:
        plain = name[1:-1].replace('""', '"')
        raise InvalidValue("dataset", name, f"no quotes are needed here; write dataset={plain}")
    match = PART.fullmatch(name)
    part = None
    before, at, after = name.rpartition("@")
    if at and not match and before in datasets:
        raise InvalidValue("dataset", name, f"{after or 'nothing'} is not a number of examples; write {before}@2000")
    # A folder or file may itself be called pictures@2000.
    if match and not (":" in name and absolute("dataset", name.partition(":")[2]).exists()):
        name, part = match["name"], int(match["n"])
    kind, colon, path = name.partition(":")
    if kind not in datasets and Path(name).is_dir():
        raise InvalidValue("dataset", name, f"it is a folder; write dataset=folder:{name}")
    source = datasets[kind] if kind in datasets else datasets[name]
    if source.takes_path and not path:
        raise InvalidValue("dataset", name, f"it needs a path: {syntax_of(kind, source)}")
    if UNPRINTABLE.search(path):
        rule = "its path must be UTF-8 without control characters, as it names runs; rename the folder"
        raise InvalidValue("dataset", ascii(name), rule)
    if colon and not source.takes_path:
        raise InvalidValue("dataset", name, f"{kind} takes no path; write dataset={kind}")
    try:
        return Request(kind, source.canonical_path(path) if path else "", part)
    except ValueError as error:
        raise InvalidValue("dataset", name, str(error)) from None


def canonical_name(name: str) -> str:
    """A data set's name, checked against the catalog; its path is canonical."""
    return parse_request(name).name


def _on_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def load_dataset(name: str, options: DataOptions | None = None, say: Say = _on_stderr) -> Dataset:
    """Loads a data set by its name in the catalog.

    Args:
        name: as `parse_request` reads it.
        options: where data sets are, and how many examples validate and test.
        say: tells the user what was found, and what to look at.

    Raises:
        UnknownName: no data set has that name.
        UserError: it is missing or wrong.

    Example:
        >>> digits = load_dataset("digits", say=lambda line: None)
        >>> len(digits.train), len(digits.valid), digits.modality
        (1297, 500, 'images')
    """
    options = options or DataOptions()
    request = parse_request(name)
    name = request.whole
    try:
        contents = datasets[request.kind].load(name, request.path, options, say)
    except OSError as error:
        raise UserError(f"dataset={name} cannot be read ({error})") from None
    dataset = dataset_of(name, contents, options, request.part)
    for line in describe(dataset):
        say(line)
    return dataset


def dataset_of(name: str, contents: Contents, options: DataOptions, part: int | None = None) -> Dataset:
    """A data set whose contents are at hand, with its validation and test examples.

    Args:
        part: how many training examples to keep, None for all.

    Raises:
        UserError: the contents cannot be split, or have no such part.

    Example:
        >>> from proxyflow.data.table.contents import contents_of
        >>> pets = dataset_of("pets", contents_of(["cat", "dog"] * 60), DataOptions())
        >>> len(pets.train), len(pets.valid), pets.class_names
        (80, 40, ('cat', 'dog'))
    """
    chosen = split(name, contents, options.evaluation, part)
    dataset = Dataset(
        name,
        contents.class_names,
        chosen.train,
        chosen.valid,
        contents.preprocessing,
        chosen.test,
        contents.skipped,
        contents.layout,
        contents.notes,
        chosen.warnings,
    )
    return dataset if part is None else part_of(dataset, part)


def part_of(dataset: Dataset, n: int) -> Dataset:
    """A fixed part of a data set, with every class in proportion; the validation examples stay the same.

    It is the same part in every study, chosen by content, and is a data set of its own with its own fingerprint. Its
    preprocessing is that of the whole. Groups are kept whole, so that the part has as many examples as they allow.

    Raises:
        InvalidValue: there are not that many training examples, or there are fewer than classes.
    """
    name, train, n_classes = f"{dataset.name}@{n}", dataset.train, len(dataset.class_names)
    if not n_classes <= n < len(train):
        raise InvalidValue(
            "dataset",
            name,
            f"a part has at least one example per class ({n_classes}) and fewer than all ({len(train):,}); leave out "
            f"@{n} for all",
        )
    chosen = train.take(fixed_part(train.labels, content_ranks(train), n, train.groups))
    return dataclasses.replace(dataset, name=name, train=numbered(chosen))
