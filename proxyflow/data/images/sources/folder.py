"""Any folder of labeled images: a folder per class, with or without a validation set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from proxyflow.core.errors import UserError
from proxyflow.data.images import kinds
from proxyflow.data.images.listing import Found, Listing, as_text, files_signature
from proxyflow.data.images.sources.base import ImageSource
from proxyflow.data.images.sources.layout import layout_of
from proxyflow.data.images.sources.walk import Aside, check_links, files_in, folders_in, images_below
from proxyflow.data.options import absolute
from proxyflow.data.protocol import datasets


class Folder(ImageSource):
    """A folder of your own images."""

    description = (
        "your own images: PATH/train/CLASS/*.jpg and PATH/val/CLASS/*.jpg, or PATH/CLASS/*.jpg, of which a "
        "validation set is split off"
    )
    takes_path = True

    def canonical_path(self, path: str) -> str:
        folder = absolute("dataset", path)
        if folder.is_dir():
            return str(folder)
        hint = "; separate data sets by commas" if " " in path else ""
        # A relative path counts from where the command runs, which under `mlflow run` is the project's folder.
        where = "" if str(folder) == path else f" {folder}"
        raise ValueError(
            f"there is no such folder{where}; give one that holds train/CLASS/*.jpg and val/CLASS/*.jpg, or "
            f"CLASS/*.jpg{hint}"
        )

    def find(self, path: str, data_dir: Path) -> Found:
        try:
            return find_folder(Path(path))
        except UserError as error:
            raise UserError(f"dataset=folder:{path} cannot be read as labeled images: {error}") from None


def find_folder(root: Path, class_names: Mapping[str, str] | None = None) -> Found:
    """Lists a folder of images.

    Args:
        class_names: readable names of the class folders; by default the folders' own.

    Raises:
        UserError: a class is empty or missing, or there are fewer than two.
    """
    layout, aside = layout_of(root), Aside()
    train_folder, valid_folder = layout.train, layout.valid
    train = _classes_of(train_folder, aside)
    valid = _classes_of(valid_folder, aside) if valid_folder is not None else {}
    for place in dict.fromkeys((root, train_folder, valid_folder)):
        if place is not None:
            aside.outside += sum(1 for _ in files_in(place, aside))
    aside.folders.extend(layout.aside)
    if len(train) < 2:
        there = f"has one class, {next(iter(train))}" if train else "has no class folders with images in them"
        raise UserError(f"{train_folder} {there}; at least 2 are needed, each a folder of its images")
    if valid_folder is not None:
        _check_same(train, valid, train_folder, valid_folder)
    labels = {name: label for label, name in enumerate(train)}
    rows = [(file, labels[name], False) for name, files in train.items() for file in files]
    rows += [(file, labels[name], True) for name, files in valid.items() for file in files]
    files = [file[len(str(root)) :].lstrip(os.sep) for file, _, _ in rows]
    names = [as_text((class_names or {}).get(name, name)) for name in train]
    listing = partial(
        Listing.of_files,
        names,
        root,
        files,
        np.array([label for _, label, _ in rows], dtype=np.int64),
        np.array([is_valid for _, _, is_valid in rows]) if valid else None,
    )
    signature = files_signature(root, files)
    return Found(signature, listing, layout=layout.described, notes=aside.lines(root), own_split=bool(valid))


def _classes_of(folder: Path, aside: Aside) -> dict[str, list[str]]:
    """Class folders in alphabetical order with the image files below each."""
    check_links(folder)
    found = {}
    for path in folders_in(folder):
        here = Aside()
        files = sorted(images_below(path, here))
        if not files:
            there = "; ".join(here.lines(path))
            raise UserError(
                f"the class folder {path} holds no images ({', '.join(sorted(kinds.suffixes()))}); fill it or delete it"
                + (f" ({there})" if there else "")
            )
        aside.other.update(here.other)
        aside.system.update(here.system)
        found[path.name] = files
    return found


def _check_same(
    train: Mapping[str, object], valid: Mapping[str, object], train_folder: Path, valid_folder: Path
) -> None:
    unknown, absent = sorted(set(valid) - set(train)), sorted(set(train) - set(valid))
    if unknown:
        raise UserError(
            f"{valid_folder} has classes that {train_folder} lacks: {', '.join(unknown)}; a model cannot predict "
            "a class that it was not trained on"
        )
    if absent:
        raise UserError(
            f"{valid_folder} lacks classes of {train_folder}: {', '.join(absent)}; add them, or remove {valid_folder} "
            "so that a validation set is split off"
        )


datasets.add("folder", Folder())
