"""The content of a program's own files, so that an edited script is a new experiment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from proxyflow.core.errors import InvalidValue
from proxyflow.core.files import digest, sha256_of
from proxyflow.trainers.program.imports import MOST_FILES, files_of_module, imported_files, module_name, stamp_of

# What a folder of an MLflow project is made of.
OF_PROJECTS = ("MLproject", "**/*.py", "**/*.yaml", "**/*.yml", "**/*.toml", "**/*.txt")
INTERPRETERS = re.compile(r"(python|bash|sh|zsh)[\d.]*(\.exe)?")
# Where no sources of a user are.
SKIPPED = {".git", "__pycache__", ".venv", "venv", "site-packages", "node_modules", "mlruns", "mlartifacts"}


def watched_files(
    words: Sequence[str], folder: Path, watch: Iterable[str], places: Sequence[Path] = ()
) -> dict[str, str]:
    """SHA-256 of the files that belong to a command, by their paths relative to its folder.

    These are the files that its words name, the Python modules below `folder` that a script imports, all sources of an
    MLflow project, and what the patterns of `watch` match.

    Args:
        words: the program and its arguments; those with placeholders are no files.
        folder: the command's working folder.
        watch: patterns relative to it, such as `src/**/*.py`.
        places: further folders where modules of the user may be.

    Raises:
        InvalidValue: a pattern matches no file, or so many that it cannot be meant.
    """
    named = [folder / word for word in words if _is_file(folder / word)]
    found = dict.fromkeys(named)
    for script in named:
        if script.suffix == ".py":
            # Python looks for modules beside the script itself, not beside a link to it.
            beside = script.resolve().parent if script.is_symlink() else script.parent
            found |= dict.fromkeys(imported_files(script, "", (beside, folder)))
    looked = (folder, *places)
    for module in _modules(words):
        for name in (module, f"{module}.__main__"):
            for path in files_of_module(name, looked):
                found |= dict.fromkeys((path, *imported_files(path, module_name(path, looked), looked)))
    for project in _projects(words, folder):
        for pattern in OF_PROJECTS:
            found |= dict.fromkeys(_matching(project, pattern))
    for pattern in watch:
        matching = _matching(folder, pattern)
        if not matching:
            raise InvalidValue("watch", pattern, f"no file in {folder} matches it; it is a pattern such as src/**/*.py")
        found |= dict.fromkeys(matching)
    if len(found) > MOST_FILES:
        raise InvalidValue("watch", ", ".join(watch), f"it matches {len(found):,} files; name the program's sources")
    return _checksums(sorted(found), folder)


def script_of(words: Sequence[str]) -> str | None:
    """The script that a command gives to an interpreter; None if it is another command.

    Example:
        >>> script_of(["python", "-u", "train.py", "--lr", "{lr}"])
        'train.py'
    """
    if not words or not INTERPRETERS.fullmatch(Path(words[0]).name):
        return None
    rest = iter(words[1:])
    for word in rest:
        if word in ("-m", "-c") or "{" in word:
            return None
        if word in ("-W", "-X"):
            next(rest, None)
        elif not word.startswith("-"):
            return word
    return None


def mentions(path: Path, text: str) -> bool:
    """Whether a file of a program has a text in it."""
    try:
        return text.encode() in path.read_bytes()
    except OSError:
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a word that is too long for a name, or has a zero byte
        return False


def _checksums(paths: Sequence[Path], folder: Path) -> dict[str, str]:
    """SHA-256 by path. Files outside of the folder go by name alone, as they are elsewhere on another machine."""
    found: dict[str, str] = {}
    for path in paths:
        try:
            checksum = _checksum(path, stamp_of(path))
        except FileNotFoundError:  # deleted a moment ago
            continue
        except OSError:  # a program that may be run but not read
            checksum = "unreadable"
        inside = path.is_relative_to(folder)
        name = path.relative_to(folder).as_posix() if inside else f"/{path.name}"
        # Two files elsewhere may have one name.
        found[name] = digest([found[name], checksum]) if name in found else checksum
    return found


@lru_cache(maxsize=MOST_FILES)
def _checksum(path: Path, stamp: tuple[int, int]) -> str:
    return sha256_of(path)


def _modules(words: Sequence[str]) -> list[str]:
    """The module of `python -m MODULE`."""
    return [after for before, after in pairwise(words) if before == "-m" and after != "mlflow"]


def is_mlflow_run(words: Sequence[str]) -> bool:
    """Whether a command is `mlflow run`, or `python -m mlflow run`."""
    names = [Path(word).name.removesuffix(".exe") for word in words[:4]]
    return names[:2] == ["mlflow", "run"] or (names[1:4] == ["-m", "mlflow", "run"])


def _projects(words: Sequence[str], folder: Path) -> list[Path]:
    """The local folder of an MLflow project that a command runs."""
    if not is_mlflow_run(words):
        return []
    return [folder / word for word in words if (folder / word / "MLproject").is_file()]


def _matching(folder: Path, pattern: str) -> list[Path]:
    try:
        paths = folder.glob(pattern)
        return [path for path in paths if path.is_file() and SKIPPED.isdisjoint(path.relative_to(folder).parts)]
    except (ValueError, NotImplementedError) as error:
        raise InvalidValue("watch", pattern, f"{error}; give a pattern relative to {folder}") from None
