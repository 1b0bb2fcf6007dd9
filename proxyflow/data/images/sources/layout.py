"""How a folder of images is laid out: parts with class folders in them, or class folders alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from proxyflow.core.errors import UserError
from proxyflow.data.images.sources.walk import Aside, files_in, folders_in, images_below

TRAIN, VALID = "train", ("val", "valid")
TEST_NAMES = frozenset(("test", "testing"))
PART_NAMES = frozenset(("train", "training", "val", "valid", "validation")) | TEST_NAMES


@dataclass(frozen=True)
class Layout:
    """Where the class folders are.

    Attributes:
        train: the folder of the class folders that are trained on.
        valid: of those that are validated on, None where a validation set is split off.
        described: how the folder was read, for people.
        aside: names of folders that are no part of it.
    """

    train: Path
    valid: Path | None
    described: str
    aside: tuple[str, ...] = ()


def layout_of(root: Path) -> Layout:
    """Decides by content: a part holds class folders, a class holds images. So a class may be called `train`.

    Raises:
        UserError: it is ambiguous, or parts have other names.
    """
    folders = {path.name: path for path in folders_in(root)}
    parts = {name for name in folders if name.lower() in PART_NAMES}
    if not parts:
        return _flat(root)
    valid = next((folders[name] for name in VALID if name in parts), None)
    if TRAIN not in parts:
        raise _other_names(root, parts)
    train = folders[TRAIN]
    if not folders_in(train):
        return _class_called_train(root, folders, parts)
    others = [name for name in folders if name not in (TRAIN, valid.name if valid else None)]
    if valid is not None:
        return Layout(train, valid, f"folders {TRAIN} and {valid.name}", tuple(others))
    # A folder of test images without labels is usual, and is no class; one with class folders is a misnamed part.
    if any(name.lower() not in TEST_NAMES or folders_in(folders[name]) for name in parts - {TRAIN}):
        raise _other_names(root, parts)
    classes = [name for name in others if name not in parts and _has_images(folders[name])]
    if not classes:
        return Layout(train, None, f"folder {TRAIN}, a validation set is split off", tuple(others))
    if next(files_in(train, Aside()), None) is not None:
        return _flat(root)
    raise UserError(
        f"{root} has the folder {TRAIN} with folders in it and no folder {VALID[0]}, and images in "
        f"{', '.join(classes)}: to read {TRAIN} alone, write folder:{train}; if {TRAIN} is a class like the others, "
        "put its images directly into it"
    )


def _flat(root: Path) -> Layout:
    return Layout(root, None, "a folder per class, a validation set is split off")


def _class_called_train(root: Path, folders: dict[str, Path], parts: set[str]) -> Layout:
    """A folder `train` without class folders in it: a class, where it has others beside it."""
    if parts != {TRAIN}:
        raise UserError(
            f"{folders[TRAIN]} holds images and no class folders, and {root} has the folder(s) "
            f"{', '.join(sorted(parts - {TRAIN}))} as well; a part holds a folder for each class: put the images into "
            f"class folders ({TRAIN}/CLASS/*.jpg), or rename each folder of these if it is a class"
        )
    if len(folders) == 1:
        return Layout(folders[TRAIN], None, f"folder {TRAIN}, a validation set is split off")
    return _flat(root)


def _has_images(folder: Path) -> bool:
    return next(images_below(folder, Aside()), None) is not None


def _other_names(root: Path, parts: set[str]) -> UserError:
    return UserError(
        f"{root} has the folder(s) {', '.join(sorted(parts))}, which are parts of the data and no classes; call "
        f"the parts {TRAIN} and {VALID[0]}, with a folder for each class in each, or rename the folder if it is a class"
    )
