"""The user's function: found by its name, and identified by the content of its files."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import CellType, CodeType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from proxyflow.core.errors import InvalidValue, one_line
from proxyflow.core.files import digest
from proxyflow.trainers.program.files import watched_files
from proxyflow.trainers.program.imports import files_of_module

INSTALLED = {"site-packages", "dist-packages"}
DEEPEST = 4  # of values within values that identify a function
KIND = "python"
EXAMPLE = f"{KIND}:train:main, where train.py has def main(job): ..."


def split_target(target: str) -> tuple[str, str]:
    """The module and the function of `MODULE:FUNCTION`.

    Raises:
        InvalidValue: It is not of this form.
    """
    module, colon, function = target.partition(":")
    if (
        not colon
        or module.endswith(".py")
        or not all(part.isidentifier() for part in (*module.split("."), *function.split(".")))
    ):
        hint = f"; the module of {module} is {Path(module).stem}" if module.endswith(".py") else ""
        raise InvalidValue("trainer", f"{KIND}:{target}", f"it must be {KIND}:MODULE:FUNCTION, as in {EXAMPLE}{hint}")
    return module, function


def load_function(target: str, folder: Path) -> Callable[..., Any]:
    """Imports the function, from a module in `folder` or from an installed one.

    Raises:
        InvalidValue: There is no such module or function, or the import fails; the message says why.
    """
    module, function = split_target(target)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        found: Any = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # the user's code may raise anything; argparse, say, ends the process
        parents = {module[:end] for end in range(1, len(module) + 1) if module[end : end + 1] in (".", "")}
        missing = isinstance(error, ModuleNotFoundError) and error.name in parents
        where = f"there is no such module in {folder}, nor an installed one" if missing else "its import fails"
        ends = "; put what runs the program below if __name__ == '__main__'" if isinstance(error, SystemExit) else ""
        rule = where if missing else f"{where}: {type(error).__name__}: {one_line(error)}{ends}"
        raise InvalidValue("trainer", f"{KIND}:{target}", rule) from error
    _check_current(found, target, folder)
    for name in function.split("."):
        found = getattr(found, name, None)
    if not callable(found):
        functions = [name for name, each in vars(sys.modules[module]).items() if inspect.isfunction(each)]
        known = f"; it has {', '.join(sorted(functions))}" if functions else ""
        raise InvalidValue("trainer", f"{KIND}:{target}", f"module {module} has no function {function}{known}")
    check_signature(found, f"{KIND}:{target}")
    return found  # type: ignore[no-any-return]


# SHA-256 of a module's files in a folder when it was first looked for there.
_imported: WeakKeyDictionary[ModuleType, dict[Path, dict[str, str]]] = WeakKeyDictionary()


def _check_current(module: ModuleType, target: str, folder: Path) -> None:
    """Checks that the imported module is what its files say, as they are what a training is known by.

    Raises:
        InvalidValue: It comes from another folder, or was edited after its import.
    """
    name, value = module.__name__, f"{KIND}:{target}"
    expected = [path.resolve() for path in files_of_module(name, [folder])[-1:]]
    loaded = getattr(module, "__file__", None)
    if expected and (loaded is None or Path(loaded).resolve() != expected[0]):
        rule = f"a module {name} was imported from {loaded or 'Python itself'} before; rename {expected[0].name}"
        raise InvalidValue("trainer", value, rule)
    files = files_of_target(target, folder, ())
    before = _imported.setdefault(module, {}).setdefault(folder, files)
    edited = sorted(file for file in {*files, *before} if files.get(file) != before.get(file))
    if edited:
        rule = f"{edited[0]} was edited after this process had imported it; start the command, or the notebook, again"
        raise InvalidValue("trainer", value, rule)


def check_signature(function: Callable[..., Any], name: str) -> None:
    """Checks that a function can be called with a job alone.

    Raises:
        InvalidValue: It cannot.
    """
    try:
        inspect.signature(function).bind(object())
    except TypeError:
        rule = f"it is called with one argument, the job, and takes {inspect.signature(function)}; write def train(job)"
        raise InvalidValue("trainer", name, rule) from None
    except ValueError:  # a builtin without a signature
        return


def files_of_target(target: str, folder: Path, watch: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the files of the function's module, see `watched_files`."""
    module, _ = split_target(target)
    elsewhere = [] if files_of_module(module, [folder]) else _places_of_users()
    places = [place for place in elsewhere if files_of_module(module, [place])]
    return watched_files(["-m", module], folder, watch, places[:1])


def _places_of_users() -> list[Path]:
    """Where Python looks for modules that are neither its own nor installed: those of PYTHONPATH, say."""
    places = [Path(name) for name in sys.path if name]
    own = tuple({sys.prefix, sys.base_prefix, sys.exec_prefix})
    return [
        place
        for place in places
        if INSTALLED.isdisjoint(place.parts) and not any(place.is_relative_to(prefix) for prefix in own)
    ]


def digest_of_function(function: Callable[..., Any]) -> str:
    """SHA-256 of a function's source text, its defaults and the plain values that it has captured.

    Of lists and other objects that it has captured, and of what it uses by global names, nothing is known.
    """
    return digest(_content_of(function, depth=0))


def _content_of(value: object, depth: int) -> Any:
    """A value as JSON: plain ones as they are, functions by their text, others by their type."""
    if isinstance(value, str | int | float | bool | None):
        return repr(value)
    if depth > DEEPEST:
        return ""
    within = partial(_content_of, depth=depth + 1)
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(within, value)]
    if isinstance(value, dict):
        return {repr(key): within(each) for key, each in value.items()}
    if isinstance(value, CodeType):
        return [value.co_code.hex(), within(value.co_consts), within(value.co_names)]
    if isinstance(value, partial):
        return [within(value.func), within(value.args), within(value.keywords)]
    if inspect.ismethod(value):
        return [within(value.__func__), within(value.__self__)]
    if inspect.isfunction(value):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _is_set(cell)]
        # A function may note results in a list that it has captured.
        captured = [type(each).__name__ if isinstance(each, list | dict | set) else each for each in cells]
        text = _text_of(value) or within(value.__code__)
        return [text, within(value.__defaults__), within(value.__kwdefaults__), within(captured)]
    if isinstance(value, type):
        return [value.__qualname__, _text_of(value)]
    return [within(type(value)), within({name: each for name, each in getattr(value, "__dict__", {}).items()})]


def _text_of(value: Any) -> str:
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        return ""


def _is_set(cell: CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True
