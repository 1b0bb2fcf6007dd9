"""Data sets by name: found, decoded once, and ready to be chosen from."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from proxyflow.data.assemble import Assembled, assemble
from proxyflow.data.cache import locked, open_or_build
from proxyflow.data.images import ImageSet
from proxyflow.data.sources import Found, Source, datasets
from proxyflow.data.splits import fixed_part
from proxyflow.errors import UNPRINTABLE, InvalidValue, UserError

DATA_VARIABLE, CACHE_VARIABLE = "PROXYFLOW_DATA_DIR", "PROXYFLOW_CACHE_DIR"

# Images of at most this short side, all of one size, are padded and cropped like CIFAR-10's.
SMALL_SIDE = 48
# Others are trained on at this size, or less where they are smaller.
DEFAULT_SIZE = 128

# `NAME@N` is a fixed part of a data set with N training examples.
PART = re.compile(r"(?P<name>.*)@(?P<n>[0-9]+)")


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set: everything that a subset of it is chosen from.

    Attributes:
        name: its name in the catalog.
        class_names: one per label, in label order.
        train: the full training set.
        valid: the fixed, class-balanced validation examples (500 where the data set has that many).
        image_size: side in pixels at which it is trained on by default.
        crop: how training images are cropped, one of `augment.CROPS`.
        mean, std: per-channel statistics of the training pixels in 0..1, for normalisation.
        skipped: files that were left out because they hold no usable image, each with the reason.
    """

    name: str
    class_names: tuple[str, ...]
    train: ImageSet
    valid: ImageSet
    image_size: int
    crop: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over pixels and labels of both sets; the same on every machine."""
        return hashlib.sha256(f"{self.train.fingerprint} {self.valid.fingerprint}".encode()).hexdigest()


@dataclass(frozen=True)
class DataOptions:
    """Where data sets are, and how strict their reading is.

    Attributes:
        data_dir: where downloads are looked for and kept; None is the variable PROXYFLOW_DATA_DIR, else
            `~/.cache/proxyflow`.
        skip_bad: leave out files that hold no usable image and count them.
    """

    data_dir: Path | None = None
    skip_bad: bool = False

    @property
    def folder(self) -> Path:
        """The data directory."""
        return absolute("data_dir", str(self.data_dir or os.environ.get(DATA_VARIABLE) or "~/.cache/proxyflow"))

    @property
    def cache(self) -> Path:
        """Where decoded images are kept: the variable PROXYFLOW_CACHE_DIR, else below the data directory."""
        named = os.environ.get(CACHE_VARIABLE)
        return absolute(CACHE_VARIABLE, named) if named else self.folder / "decoded"


def absolute(name: str, path: str) -> Path:
    """A path that a user gave, with `~` filled in.

    Raises:
        InvalidValue: it is below the home of a user that does not exist.
    """
    try:
        return Path(os.path.normpath(Path(path).expanduser().absolute()))
    except RuntimeError as error:
        raise InvalidValue(name, path, f"{error}; write the whole path") from None


def spelling(name: str, source: Source) -> str:
    """How a data set is asked for: `digits`, or `folder:PATH`."""
    return f"{name}:PATH" if source.takes_path else name


@dataclass(frozen=True)
class Request:
    """A data set's name, taken apart.

    Attributes:
        kind: its key in the catalog.
        path: absolute, empty where the source takes none.
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
        InvalidValue: a path is missing, or is where none belongs.
    """
    match = PART.fullmatch(name)
    part = None
    before, at, after = name.rpartition("@")
    if at and not match and before in datasets:
        raise InvalidValue("dataset", name, f"{after or 'nothing'} is no number of examples; write {before}@2000, say")
    # A folder may itself be called pictures@2000.
    if match and not (":" in name and absolute("dataset", name.partition(":")[2]).is_dir()):
        name, part = match["name"], int(match["n"])
    kind, colon, path = name.partition(":")
    if kind not in datasets and Path(name).is_dir():
        raise InvalidValue("dataset", name, f"it is a folder; write dataset=folder:{name}")
    source = datasets[kind] if kind in datasets else datasets[name]
    if source.takes_path and not path:
        raise InvalidValue("dataset", name, f"it needs a path: {spelling(kind, source)}")
    if UNPRINTABLE.search(path):
        rule = "its path must be UTF-8 without control characters, as it names runs; rename the folder"
        raise InvalidValue("dataset", ascii(name), rule)
    folder = str(absolute("dataset", path)) if path else ""
    if source.takes_path and not Path(folder).is_dir():
        hint = "; separate data sets by commas" if " " in path else ""
        raise InvalidValue(
            "dataset",
            name,
            "there is no such folder; give one that holds train/CLASS/*.jpg and val/CLASS/*.jpg, or CLASS/*.jpg" + hint,
        )
    if colon and not source.takes_path:
        raise InvalidValue("dataset", name, f"{kind} takes no path; write dataset={kind}")
    return Request(kind, folder, part)


def canonical_name(name: str) -> str:
    """A data set's name, checked against the catalog; paths become absolute."""
    return parse_request(name).name


def _on_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def load_dataset(name: str, options: DataOptions | None = None, say: Callable[[str], None] = _on_stderr) -> Dataset:
    """Loads a data set by its name in the catalog, decoding it where that has not been done yet.

    Args:
        say: tells the user what was found, and of what should be looked at.

    Raises:
        UnknownName: no data set has that name.
        UserError: it is not there, or wrong.
    """
    options = options or DataOptions()
    request = parse_request(name)
    source, name = datasets[request.kind], request.whole
    try:
        if source.cached:
            with locked(options.cache, name, say) as problem:
                found = source.find(request.path, options.folder)
                assembled = open_or_build(name, found, options.cache, options.skip_bad, say, problem)
        else:
            found = source.find(request.path, options.folder)
            assembled = assemble(
                name, found.listing(), options.skip_bad, lambda n: np.empty(n, dtype=np.uint8), show=False
            )
    except OSError as error:
        raise UserError(f"dataset={name} cannot be read ({error})") from None
    dataset = _dataset(name, found, assembled)
    if request.part is not None:
        dataset = part_of(dataset, request.part)
    for line in describe(dataset):
        say(line)
    return dataset


def _dataset(name: str, found: Found, assembled: Assembled) -> Dataset:
    store, n_train = assembled.store, assembled.n_train
    rows = np.arange(len(store), dtype=np.int64)
    train, valid = (
        # Ids count within the training order, the order that every score table uses.
        ImageSet(store, rows[part], assembled.labels[part], np.arange(len(rows[part]), dtype=np.int64))
        for part in (slice(0, n_train), slice(n_train, None))
    )
    crop, image_size = _default_view(train)
    return Dataset(
        name,
        assembled.class_names,
        train,
        valid,
        found.image_size or image_size,
        found.crop or crop,
        assembled.mean,
        assembled.std,
        assembled.skipped,
    )


def part_of(dataset: Dataset, n: int) -> Dataset:
    """A fixed part of a data set, with every class in proportion; the validation examples stay the same.

    It is the same part in every study, chosen by content, and is a data set of its own with its own fingerprint. It is
    normalised as the whole is.

    Raises:
        InvalidValue: there are not that many training examples, or fewer than classes were asked for.
    """
    name, train, n_classes = f"{dataset.name}@{n}", dataset.train, len(dataset.class_names)
    if not n_classes <= n < len(train):
        raise InvalidValue(
            "dataset",
            name,
            f"a part has at least one example per class ({n_classes}) and fewer than all ({len(train):,}); leave out "
            f"@{n} for all",
        )
    chosen = train.take(fixed_part(train.labels, train.content_hashes, n))
    renumbered = dataclasses.replace(chosen, example_ids=np.arange(n, dtype=np.int64))
    return dataclasses.replace(dataset, name=name, train=renumbered)


def _default_view(train: ImageSet) -> tuple[str, int]:
    """How images that nobody has said anything about are cropped, and at which size they are trained on."""
    short = train.sizes.min(axis=1)
    if len(np.unique(train.sizes, axis=0)) == 1 and short[0] <= SMALL_SIDE:
        return "padded", max(32, -(-int(short[0]) // 8) * 8)
    return "resized", int(np.clip(np.median(short) // 32 * 32, 32, DEFAULT_SIZE))


def describe(dataset: Dataset) -> list[str]:
    """What was loaded, in a line, and a line for each thing that should be looked at."""
    train, valid = dataset.train, dataset.valid
    sizes = np.concatenate([train.sizes, valid.sizes])
    low, high = sizes.min(axis=0), sizes.max(axis=0)
    size = f"{low[1]} x {low[0]}" if np.array_equal(low, high) else f"{low[1]} x {low[0]} to {high[1]} x {high[0]}"
    colours = "grey" if train.channels == 1 else "RGB"
    lines = [
        f"data set {dataset.name}: {len(train):,} training and {len(valid):,} validation images of {size} pixels, "
        f"{colours}, {len(dataset.class_names)} classes: {', '.join(dataset.class_names)}"
    ]
    if dataset.skipped:
        lines.append(
            f"{_counted(len(dataset.skipped), 'file')} left out: {'; '.join(dataset.skipped[:3])}"
            + ("; ..." if len(dataset.skipped) > 3 else "")
        )
    doubled = int(np.isin(train.content_hashes, valid.content_hashes).sum())
    if doubled:
        lines.append(
            f"warning: in {dataset.name} {_counted(doubled, 'training image')} also in the validation set, so its "
            "accuracy flatters models that learn by heart"
        )
    small = train.sizes.min(axis=1) < dataset.image_size
    if dataset.crop == "resized" and small.any():
        least = int(train.sizes.min(axis=1).argmin())
        height, width = train.sizes[least]
        file = f"{train.store.files[int(train.rows[least])]}, " if train.store.files else ""
        lines.append(
            f"warning: in {dataset.name} {_counted(int(small.sum()), 'training image')} smaller than "
            f"its image_size={dataset.image_size} and enlarged to it (the smallest: {file}{width} x {height})"
        )
    return lines


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{' is' if n == 1 else 's are'}"
