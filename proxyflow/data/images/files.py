"""Images as programs read them: a folder per class, with links to the original files where there are any."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from proxyflow.data.images.store import ImageSet
from proxyflow.data.modality import Part

# The names that torchvision's `ImageFolder` users and most programs have.
CLASS_FOLDERS: Mapping[Part, str] = {"train": "train", "valid": "val"}
# What some file system does not take in a name, or reads as another folder.
UNSAFE = re.compile(r'[\x00-\x1f<>:"/\\|?*]|^\.+|[. ]+$')


def folder_names(class_names: Sequence[str]) -> list[str]:
    """A folder name for each class: its own name, unless that cannot be a folder or is that of another one.

    Example:
        >>> folder_names(["cat", "n01/tench", "n01:tench"])
        ['cat', 'n01_tench', 'n01_tench-2']
    """
    found: list[str] = []
    for label, name in enumerate(class_names):
        safe = UNSAFE.sub("_", name) or str(label)
        found.append(_free(safe, f"{safe}-{label}", {each.casefold() for each in found}))
    return found


def _free(name: str, other: str, taken: Container[str]) -> str:
    """The name, or the other one, or the other one after as many underscores as it takes."""
    if name.casefold() not in taken:
        return name
    while other.casefold() in taken:
        other = f"_{other}"
    return other


def write_class_folders(images: ImageSet, class_names: Sequence[str], folder: Path) -> Path:
    """Writes `folder/CLASS/FILE`: links to the files that images were read from, else PNG files named by id.

    Raises:
        UserError: an image's file is gone, and only a smaller copy of it is left.
    """
    store, folders = images.store, folder_names(class_names)
    for label in sorted(set(images.labels.tolist())):
        (folder / folders[label]).mkdir(parents=True, exist_ok=True)
    taken: dict[int, set[str]] = {}
    bases = [Path(store.files[row]).name if store.files else "" for row in images.rows]
    copies = Counter(zip(images.labels.tolist(), map(str.casefold, bases), strict=True))
    for row, label, number, base in zip(
        images.rows.tolist(), images.labels.tolist(), images.ids.tolist(), bases, strict=True
    ):
        place, used = folder / folders[label], taken.setdefault(label, set())
        if base and store.root is not None and (original := store.root / store.files[row]).is_file():
            numbered = f"{number:08d}-{base}"
            name = _free(base if copies[label, base.casefold()] == 1 else numbered, numbered, used)
            _link(original, place / name)
        else:
            data, suffix = store.encoded(row)
            numbered = f"{number:08d}{suffix}"
            name = _free(numbered, numbered, used)
            (place / name).write_bytes(data)
        used.add(name.casefold())
    return folder


def _link(original: Path, place: Path) -> None:
    """Links to a file; copies it where the system has no links or does not allow them."""
    with suppress(OSError, NotImplementedError):
        place.symlink_to(original.absolute())
        return
    try:
        os.link(original, place)
    except OSError:
        with place.open("xb") as file:  # never through a link into a file of the user
            file.write(original.read_bytes())
