"""Any folder of labelled images: a folder per class, with or without a validation set."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from proxyflow.data.sources.base import Found, Listing, as_text, datasets, files_signature
from proxyflow.errors import UserError

SUFFIXES = frozenset((".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
LOOP = "{path} is a link to a folder that it lies in ({real}), so there is no end to it; delete it"
TRAIN, VALID = "train", ("val", "valid")
PART_NAMES = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))


class Folder:
    """A folder of the user's own."""

    description = (
        "images of your own: PATH/train/CLASS/*.jpg and PATH/val/CLASS/*.jpg, or PATH/CLASS/*.jpg, of which a "
        "validation set is split off"
    )
    takes_path = True
    cached = True

    def find(self, path: str, data_dir: Path) -> Found:
        return find_folder(Path(path))


def find_folder(root: Path, class_names: Mapping[str, str] | None = None) -> Found:
    """Lists a folder of images.

    Args:
        class_names: readable names of the class folders; by default the folders' own.

    Raises:
        UserError: a class is empty or missing, or there are fewer than two.
    """
    train_folder = root / TRAIN
    valid_folder = next((root / name for name in VALID if (root / name).is_dir()), None)
    parts = {path.name for path in root.iterdir() if path.is_dir() and path.name.lower() in PART_NAMES}
    if parts and (TRAIN not in parts or (valid_folder is None and parts != {TRAIN})):
        raise UserError(
            f"{root} has the folder(s) {', '.join(sorted(parts))}, which are parts of the data and no classes; call "
            f"the parts {TRAIN} and {VALID[0]}"
        )
    if not train_folder.is_dir():
        train_folder, valid_folder = root, None
    train = _classes_of(train_folder)
    valid = _classes_of(valid_folder) if valid_folder is not None else {}
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
    return Found(files_signature(root, files), listing)


def _classes_of(folder: Path) -> dict[str, list[str]]:
    """Class folders in alphabetical order with the image files below each."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and not path.exists():
            raise UserError(f"{path} is a link that leads nowhere ({path.readlink()}); mend it or delete it")
        if path.is_dir() and not path.name.startswith("."):
            files = sorted(_images_below(path))
            if not files:
                raise UserError(
                    f"the class folder {path} holds no images ({', '.join(sorted(SUFFIXES))}); fill it or delete it"
                )
            found[path.name] = files
    return found


def _images_below(folder: Path) -> Iterator[str]:
    """Image files at any depth; links are followed, but not in circles."""
    real = os.path.realpath(folder)
    outer = Path(os.path.realpath(folder.parent))
    if real in map(str, (outer, *outer.parents)):
        raise UserError(LOOP.format(path=folder, real=real))
    above: dict[Path, tuple[str, ...]] = {folder: (real,)}
    for place, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        here = above[Path(place)]
        for name in folders:
            path = Path(place) / name
            real = os.path.realpath(path)
            if real in here:
                raise UserError(LOOP.format(path=path, real=real))
            above[path] = (*here, real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield str(Path(place) / name)


def _refuse(error: OSError) -> None:
    """What cannot be read must not be left out without a word."""
    raise error


def _check_same(
    train: Mapping[str, object], valid: Mapping[str, object], train_folder: Path, valid_folder: Path
) -> None:
    unknown, absent = sorted(set(valid) - set(train)), sorted(set(train) - set(valid))
    if unknown:
        raise UserError(
            f"{valid_folder} has classes that {train_folder} lacks: {', '.join(unknown)}; a model cannot be judged on "
            "what it was not shown"
        )
    if absent:
        raise UserError(
            f"{valid_folder} lacks classes of {train_folder}: {', '.join(absent)}; add them, or take {valid_folder} "
            "away so that a validation set is split off"
        )


datasets.add("folder", Folder())
