"""Pages whose code blocks are run as they are written: what each kind of block means, and how outputs are compared.

| block | is |
| --- | --- |
| `python`, `yaml` | a file, whose name is its first line, a comment |
| `diff` | an edit of one of these files |
| `sh` | commands, run by bash in the folder |
| `text` | what the commands above print, at least; an ellipsis stands for what was left out |
| `console` | commands that are not run |
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES, DIFF, COMMANDS, OUTPUT, NOT_RUN = ("python", "yaml"), "diff", "sh", "text", "console"
KINDS = {*FILES, DIFF, COMMANDS, OUTPUT, NOT_RUN}
ELLIPSIS = "…"
RUN_ID = re.compile(r"\b[0-9a-f]{32}\b")
UNIT = r"(?: (?:s|min|h)\b)?"
# What another machine prints otherwise: configurations, ids of runs, numbers, times.
VARIES = re.compile(rf"(?P<id>{RUN_ID.pattern})|(?P<other>\b[a-z_]+=\S+|\d[\d.,]*{UNIT})|(?P<cut>{ELLIPSIS})")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    kind: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    """The page's blocks in order."""
    found = [Block(*match) for match in FENCE.findall(page.read_text())]
    unknown = {each.kind for each in found} - KINDS
    assert not unknown, f"{page.name} has blocks of {unknown}"
    return found


@dataclass
class Reader:
    """Somebody who follows a page in a folder, and types the ids of their own runs.

    Attributes:
        folder: where they work.
        environment: of their shell.
        ids: of their runs, by those of the page.
    """

    folder: Path
    environment: Mapping[str, str]
    ids: dict[str, str] = field(default_factory=dict)

    def follow(self, page: Path) -> Iterator[tuple[str, str]]:
        """Does what the page says; yields each block of commands with what it printed."""
        blocks = blocks_of(page)
        for block, after in zip(blocks, [*blocks[1:], Block("", "")], strict=True):
            if block.kind in FILES:
                self._write(block)
            elif block.kind == DIFF:
                self._edit(block)
            elif block.kind == COMMANDS:
                printed = self._run(block.text)
                if after.kind == OUTPUT:
                    self._compare(after.text, printed, block.text)
                yield block.text, printed

    def _write(self, block: Block) -> None:
        first, _, rest = block.text.partition("\n")
        name = re.fullmatch(r"# ([\w.-]+)", first)
        assert name is not None, f"the first line of a file is a comment with its name, not {first}"
        (self.folder / name[1]).write_text(rest)

    def _edit(self, block: Block) -> None:
        for hunk in re.split(r"^ \.\.\.\n", block.text, flags=re.MULTILINE):
            lines = [(line[:1], line[1:] + "\n") for line in hunk.splitlines()]
            old, new = ("".join(line for sign, line in lines if sign in (" ", want)) for want in "-+")
            files = [path for path in self.folder.glob("*.py") if path.read_text().count(old) == 1]
            assert len(files) == 1, f"{len(files)} files have once:\n{old}"
            files[0].write_text(files[0].read_text().replace(old, new))

    def _run(self, commands: str) -> str:
        commands = RUN_ID.sub(lambda match: self.ids.get(match[0], match[0]), commands)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.folder,
            env=dict(self.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}"
        return done.stdout

    def _compare(self, expected: str, printed: str, commands: str) -> None:
        """Checks that the lines were printed in this order, whatever their numbers are; learns the ids of runs."""
        lines = iter(printed.splitlines())
        for shown in expected.splitlines():
            if not shown.strip(f" {ELLIPSIS}"):
                continue
            pattern = pattern_of(shown)
            match = next((found for line in lines if (found := pattern.fullmatch(line.rstrip()))), None)
            assert match is not None, f"{commands}\nThe page shows:\n{shown}\nPrinted was:\n{printed}"
            self.ids |= dict(zip(RUN_ID.findall(shown), match.groups(), strict=True))


def pattern_of(shown: str) -> re.Pattern[str]:
    """What a line that a page shows stands for.

    Example:
        >>> bool(pattern_of("0.25 of 4 spent · full lr=0.1: accuracy 0.9 …").fullmatch("1.25 of 4 spent · full default: accuracy 1 (x)"))
        True
    """
    parts, end = [], 0
    for match in VARIES.finditer(shown):
        kept = re.escape(shown[end : match.start()])
        parts += [
            re.sub(r"(\\ )+", r"\\s+", kept),
            {"id": "([0-9a-f]{32})", "other": rf"\S+{UNIT}", "cut": ".*"}[str(match.lastgroup)],
        ]
        end = match.end()
    return re.compile("".join(parts) + re.sub(r"(\\ )+", r"\\s+", re.escape(shown[end:])))
