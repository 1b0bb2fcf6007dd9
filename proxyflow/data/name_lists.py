"""Lists of data set names as text: in options, study files, tags and params.

Names are separated by commas, but for those in the brackets of `table:FILE[text=body,label=stars]`. A name that holds
a comma itself, as the path of a folder may, goes in double quotes, in which two of them stand for one: `split_names`
reads what `join_names` writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from proxyflow.core.errors import InvalidValue

QUOTED = re.compile(r'\s*"(?P<name>(?:[^"]|"")*)"\s*(?P<end>,|$)', re.DOTALL)
# `[role=`, up to the bracket that closes it: a column in double quotes may hold brackets.
BRACKETS = r'\[\w+=(?:"(?:[^"]|"")*"|[^"\]])*\]'
PLAIN = re.compile(rf"(?P<name>(?:{BRACKETS}|[^,])*)(?P<end>,|$)", re.DOTALL)
QUOTING = 'a name with a comma goes in double quotes: "folder:/data/cats,dogs"'


def split_names(option: str, text: str) -> list[str]:
    """The names of a list, without those that are empty.

    Args:
        option: what the list is for, for messages.

    Raises:
        InvalidValue: a quote is not closed, or something follows it.
    """
    names, place, more = [], 0, True
    while more:
        quoted = text[place:].lstrip().startswith('"')
        found = (QUOTED if quoted else PLAIN).match(text, place)
        if found is None:
            raise InvalidValue(option, text, f"a double quote is not closed, or not followed by a comma; {QUOTING}")
        names.append(found["name"].replace('""', '"') if quoted else found["name"].strip())
        place, more = found.end(), found["end"] == ","
    return [name for name in names if name]


def join_names(names: Iterable[str]) -> str:
    """The names as `split_names` reads them."""
    return ",".join(_quoted(name) if _needs_quotes(name) else name for name in names)


def comma_hint(text: str) -> str:
    """What to write where a list was split at the comma of a path; empty where no path has one."""
    parts = text.split(",")
    for begin in range(len(parts)):
        for end in range(begin + 2, len(parts) + 1):
            name = ",".join(parts[begin:end]).strip()
            kind, _, path = name.partition(":")
            if path and "," not in kind and Path(path).expanduser().exists():
                return f"; a comma separates data sets, and {path} is one path: write {_quoted(name)}"
    return f"; {QUOTING}" if len(parts) > 1 and ":" in text and '"' not in text else ""


def _needs_quotes(name: str) -> bool:
    return "," in name or name.startswith('"') or name != name.strip()


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
