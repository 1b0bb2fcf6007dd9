"""The spelling of a table: its file, and in brackets the columns whose names are not the usual ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxyflow.core.settings import check_keys
from proxyflow.data.options import absolute

MODALITY = "rows"
# Roles with a usual name; the column of another role is used only where it is named.
USUAL = ("label", "id", "split", "group")
ENTRY = re.compile(r'\s*(?P<key>[^=,"]*?)\s*=\s*(?P<value>"(?:[^"]|"")*"|[^,]*?)\s*(?P<end>,|$)', re.DOTALL)
QUOTING = (
    'write [label=stars,id=uuid], and a column name with a comma, bracket or quote in double quotes: [label="a,b"]'
)


@dataclass(frozen=True)
class TableName:
    """A file and the columns that were named.

    Attributes:
        file: absolute path.
        named: role to column, in the order of the roles; an empty column says that there is none.
    """

    file: str
    named: Mapping[str, str]

    @property
    def text(self) -> str:
        """The one spelling: `/data/reviews.csv[label=stars,text=body]`."""
        inside = ",".join(f"{role}={_quoted(column)}" for role, column in self.named.items())
        return f"{self.file}[{inside}]" if inside else self.file


def parse_table_name(text: str, roles: Sequence[str]) -> TableName:
    """Reads `FILE` or `FILE[label=stars,id=uuid]`; names of files may have brackets themselves.

    Args:
        roles: all that may be named, in their order.

    Raises:
        ValueError: the brackets are not of this form.
        UnknownName: something else is named.
    """
    file, inside = _divide(text)
    found: dict[str, str] = {}
    place, more = 0, bool(inside.strip())
    while more:
        entry = ENTRY.match(inside, place)
        if entry is None:
            raise ValueError(f"in the brackets, {inside[place:]!r} is not ROLE=COLUMN; {QUOTING}")
        key, value = entry["key"], entry["value"]
        check_keys(f"column in brackets of {file}", [key], roles)
        if key in found:
            raise ValueError(f"the brackets name {key} twice; name one column")
        found[key] = value[1:-1].replace('""', '"') if value.startswith('"') else value
        place, more = entry.end(), entry["end"] == ","
    # The usual name is what counts without brackets.
    named = {role: found[role] for role in roles if role in found and not (role in USUAL and found[role] == role)}
    return TableName(
        str(absolute("dataset", file)), {role: named[role] for role in named if named[role] or role in USUAL}
    )


def _divide(text: str) -> tuple[str, str]:
    """The file, and what its brackets hold."""
    if not text.endswith("]") or absolute("dataset", text).is_file():
        return text, ""
    begins = [place for place, letter in enumerate(text) if letter == "["]
    if not begins:
        return text, ""
    existing = [place for place in begins if absolute("dataset", text[:place]).is_file()]
    entries = [place for place in begins if ENTRY.match(text, place + 1) and text[:place].count('"') % 2 == 0]
    # Of a file that is not there, the brackets begin where a role is named first.
    place = existing[-1] if existing else (entries[0] if entries else begins[-1])
    return text[:place], text[place + 1 : -1]


def _quoted(column: str) -> str:
    if not re.search(r'[,"\[\]]', column) and column == column.strip():
        return column
    doubled = column.replace('"', '""')
    return f'"{doubled}"'
