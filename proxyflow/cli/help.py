"""Help in two lengths: `--help` is one screen with the common options, `--help-all` explains every option by topic."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import click

from proxyflow.cli.options import Option, Topic
from proxyflow.cli.program import start_of
from proxyflow.cli.style import styled

INDENT = 2


class Formatter(click.HelpFormatter):
    """Click's formatter with bold headings."""

    def write_heading(self, heading: str) -> None:
        self.write(f"{'':>{self.current_indent}}{styled(f'{heading}:', bold=True)}\n")


class Context(click.Context):
    """Click's context with this formatter."""

    formatter_class = Formatter


@dataclass(frozen=True)
class Section:
    """A section at the end of the long help.

    Attributes:
        title: its heading.
        write: writes what is below the heading; called only when the long help is asked for.
    """

    title: str
    write: Callable[[click.HelpFormatter], None]


@dataclass(frozen=True)
class Help:
    """What a command's help is made of, besides usage and description.

    Attributes:
        name: of the command.
        example: options that work as they are.
        options: of the command, in the order in which they are shown.
        sections: at the end of the long help.
    """

    name: str
    example: str
    options: Sequence[Option]
    sections: Sequence[Section]

    def write_short(self, formatter: click.HelpFormatter) -> None:
        """The example, a line or two for each common option, and the names of the others."""
        self._write_example(formatter)
        with formatter.section("Common options"):
            formatter.write_dl([each.brief for each in self.options if each.common])
        if further := self._further():
            with formatter.section("More options"):
                _write_names(formatter, {topic: [each.opts[0] for each in others] for topic, others in further})
        also = ", ".join(section.title.lower() for section in self.sections)
        formatter.write_paragraph()
        formatter.write_text(f"--help-all explains every option{f', and lists {also}' if also else ''}.")

    def write_long(self, formatter: click.HelpFormatter, ctx: click.Context) -> None:
        """The examples, every option by topic, and the sections."""
        self._write_example(formatter, as_project=True)
        common = [each for each in self.options if each.common]
        for title, options in [("Common options", common), *self._further()]:
            with formatter.section(title):
                formatter.write_dl([record for each in options if (record := each.get_help_record(ctx)) is not None])
        for section in self.sections:
            with formatter.section(section.title):
                section.write(formatter)

    def _further(self) -> list[tuple[str, list[Option]]]:
        """By topic the options that are not common."""
        others = {topic: [each for each in self.options if each.topic is topic and not each.common] for topic in Topic}
        return [(topic.value, options) for topic, options in others.items() if options]

    def _write_example(self, formatter: click.HelpFormatter, as_project: bool = False) -> None:
        words = shlex.split(self.example)
        pairs = list(zip(words[::2], words[1::2], strict=True))
        typed = [f"{option} {shlex.quote(value)}" for option, value in pairs]
        with formatter.section("Example"):
            _write_command(formatter, start_of(self.name), typed)
            if as_project:
                params = [f"-P {option[2:].replace('-', '_')}={shlex.quote(value)}" for option, value in pairs]
                _write_command(formatter, f"mlflow run . -e {self.name}", params)


def _write_names(formatter: click.HelpFormatter, names: Mapping[str, Sequence[str]]) -> None:
    """Writes names by topic; unlike click, breaks no line at a hyphen of a name."""
    indent, widest = " " * formatter.current_indent, max(map(len, names))
    for topic, listed in names.items():
        head = f"{indent}{topic:{widest}}{'':{INDENT}}"
        lines = textwrap.wrap(
            ", ".join(listed),
            formatter.width,
            initial_indent=head,
            subsequent_indent=" " * len(head),
            break_on_hyphens=False,
        )
        formatter.write("".join(f"{line}\n" for line in lines))


def _write_command(formatter: click.HelpFormatter, start: str, parts: Sequence[str]) -> None:
    """Writes a command as a shell takes it, on several lines where it is longer than one."""
    lines, room = [start], formatter.width - formatter.current_indent - len(" \\")
    for part in parts:
        if len(lines[-1]) + 1 + len(part) <= room:
            lines[-1] += f" {part}"
        else:
            lines.append(f"{'':>{INDENT}}{part}")
    indent = " " * formatter.current_indent
    formatter.write("".join(f"{indent}{line} \\\n" for line in lines[:-1]) + f"{indent}{lines[-1]}\n")
