"""Which files below a folder are images, with a count of all that are not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from proxyflow.core.errors import UserError
from proxyflow.data.images import kinds
from proxyflow.data.images.listing import as_text

LOOP = "{path} is a link to a folder that it lies in ({real}), a cycle; delete it"
# Files of operating systems, storage devices and image browsers, compared without case.
SYSTEM_FOLDERS = frozenset(
    (
        *("@eadir", "@recycle", "@tmp", "#recycle", "#snapshot", "$recycle.bin", "__macosx", "lost+found"),
        *("resource.frk", "system volume information", "__pycache__"),
    )
)
SYSTEM_FILES = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"))
NAMED = 6


@dataclass
class Aside:
    """What was not read, counted.

    Attributes:
        other: files that are not of a supported image format, by suffix.
        system: files of systems and hidden files, by what tells them.
        outside: images that lie in no class folder.
        folders: folders that are no part of the data set, by name.
    """

    other: Counter[str] = field(default_factory=Counter)
    system: Counter[str] = field(default_factory=Counter)
    outside: int = 0
    folders: list[str] = field(default_factory=list)

    def lines(self, root: Path) -> tuple[str, ...]:
        """What a user should know of it: nothing, a note, or a warning where images may be among it."""
        unread = Counter({key: n for key, n in self.other.items() if key in kinds.unread_suffixes()})
        parts = []
        if self.other:
            parts.append(_counts(self.other, "file"))
        if self.outside:
            parts.append(f"{_plural(self.outside, 'image')} outside of class folders")
        if self.folders:
            parts.append(f"folder {', '.join(map(as_text, self.folders))}")
        if self.system:
            parts.append(_counts(self.system, "system file"))
        if not parts:
            return ()
        advice = ", ".join(dict.fromkeys(filter(None, map(kinds.advice_on, unread))))
        mark, remedy = ("warning: ", f"; to read {', '.join(unread)}: {advice}") if unread else ("", "")
        return (f"{mark}not read in {as_text(str(root))}: {'; '.join(parts)}{remedy}",)


def is_system(name: str) -> bool:
    """Whether a file or folder is a system's own, or hidden."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS or name.lower() in SYSTEM_FILES


def folders_in(folder: Path) -> list[Path]:
    """Folders directly in a folder, in alphabetical order, without those of systems."""
    return [path for path in sorted(folder.iterdir()) if not is_system(path.name) and path.is_dir()]


def check_links(folder: Path) -> None:
    """Refuses links directly in a folder of classes that lead nowhere.

    Raises:
        UserError: there is one.
    """
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and not path.exists() and not is_system(path.name):
            raise UserError(f"{path} is a link that leads nowhere ({path.readlink()}); repair or delete it")


def files_in(folder: Path, aside: Aside) -> Iterator[str]:
    """Images directly in a folder; files and folders of systems and other files are counted."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if is_system(path.name):
                _count_below(path, aside)
        elif _is_image(str(path), path.name, aside):
            yield str(path)


def images_below(folder: Path, aside: Aside) -> Iterator[str]:
    """Image files at any depth; links are followed, but not in circles."""
    real = os.path.realpath(folder)
    outer = Path(os.path.realpath(folder.parent))
    if real in map(str, (outer, *outer.parents)):
        raise UserError(LOOP.format(path=folder, real=real))
    above: dict[Path, tuple[str, ...]] = {folder: (real,)}
    for place, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        here = above[Path(place)]
        for name in [name for name in folders if is_system(name)]:
            _count_below(Path(place) / name, aside)
        folders[:] = [name for name in folders if not is_system(name)]
        for name in folders:
            path = Path(place) / name
            real = os.path.realpath(path)
            if real in here:
                raise UserError(LOOP.format(path=path, real=real))
            above[path] = (*here, real)
        for name in files:
            path_text = os.path.join(place, name)  # noqa: PTH118 (a Path for each of a million files takes seconds)
            if _is_image(path_text, name, aside):
                yield path_text


def _is_image(path: str, name: str, aside: Aside) -> bool:
    """Whether a file is an image by its suffix, or by its first bytes where it has none; else it is counted."""
    if is_system(name):
        aside.system["._*" if name.startswith("._") else as_text(name)] += 1
        return False
    suffix = kinds.suffix_of(name)
    if suffix in kinds.suffixes() or (not suffix and _begins_as_image(path)):
        return True
    aside.other[as_text(suffix) or "without a suffix"] += 1
    return False


def _begins_as_image(path: str) -> bool:
    try:
        if not os.path.isfile(path):  # noqa: PTH113 (as above); opening a pipe would wait
            return False
        with open(path, "rb") as file:  # noqa: PTH123
            return kinds.is_image(file.read(kinds.FIRST_BYTES))
    except OSError:
        return False  # counted like any other file without a suffix


def _count_below(folder: Path, aside: Aside) -> None:
    """Counts the files of a system's folder under its name."""
    n = sum(len(files) for _, _, files in os.walk(folder))
    if n:
        aside.system[as_text(folder.name)] += n


def _refuse(error: OSError) -> None:
    """What cannot be read must not be skipped silently."""
    raise error


def _plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _counts(counter: Counter[str], noun: str) -> str:
    """`120 files (100 .heic, 20 .txt)`, of very many kinds the most frequent."""
    named = [f"{n:,} {key}" for key, n in counter.most_common(NAMED)]
    more = ["..."] if len(counter) > NAMED else []
    return f"{_plural(counter.total(), noun)} ({', '.join(named + more)})"
