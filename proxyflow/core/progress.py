"""Progress of long work: a bar on a terminal, else periodic lines on stderr."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 15.0
MINUTE, HOUR = 60, 3600  # seconds


class Progress:
    """Shows finished items, rate and remaining time.

    Args:
        label: name of the work.
        items: total number of items; None if unknown.
        unit: plural noun of an item.
        work: total work; items may differ in work, and the remaining time is estimated by work. Defaults to `items`.

    Example:
        >>> with Progress("training", items=3, unit="epochs") as progress:
        ...     progress.advance()
    """

    def __init__(self, label: str, items: int | None, unit: str, work: float | None = None) -> None:
        self.label, self.items, self.unit = label, items, unit
        self.work = float(items or 0) if work is None else work
        self.done_items = 0
        self.done_work = 0.0
        self._skipped_items, self._skipped_work = 0, 0.0
        self.started = time.monotonic()
        self._last_line = self.started
        self._bar = (
            tqdm(
                total=max(self.work, 1e-9),
                desc=label,
                bar_format="{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]",
                file=sys.stderr,
                leave=False,
                dynamic_ncols=True,
            )
            if items != 0 and sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif kind is None and (self.items or self.done_items):
            self._line("", ended=True)

    def skip(self, items: int, work: float) -> None:
        """Counts items that were done earlier; they do not affect the rate and the remaining time."""
        self.done_items, self._skipped_items = self.done_items + items, self._skipped_items + items
        self.done_work, self._skipped_work = self.done_work + work, self._skipped_work + work
        if self._bar is not None:
            self._bar.initial = self._bar.n = self._bar.last_print_n = self.done_work
            self._bar.refresh()

    def advance(self, work: float = 1.0, note: str = "") -> None:
        """Counts one finished item worth `work`, with a note about it."""
        self.done_items += 1
        self.done_work += work
        if self._bar is not None:
            text = f"{self._count()}, {format_rate(self._rate(), self.unit)}"
            self._bar.set_postfix_str(f"{text} · {note}" if note else text, refresh=False)
            self._bar.update(work)
        elif not self._is_whole() and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._line(note)

    def step(self, work: float, note: str = "") -> None:
        """Counts work of an unfinished item; pass `advance` only the rest of it."""
        self.done_work += work
        if self._bar is not None:
            self._bar.update(work)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._line(note)

    def seconds_left(self) -> float:
        """Estimated remaining time at the rate so far; 0 if nothing is done yet."""
        done = self.done_work - self._skipped_work
        left = max(self.work - self.done_work, 0.0)
        return (time.monotonic() - self.started) / done * left if done > 0 else 0.0

    def say(self, text: str) -> None:
        """Prints a line without breaking the bar."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def _count(self) -> str:
        return f"{self.done_items} {self.unit}" if self.items is None else f"{self.done_items}/{self.items} {self.unit}"

    def _is_whole(self) -> bool:
        return self.items is not None and self.done_items >= self.items

    def _rate(self) -> float:
        return (self.done_items - self._skipped_items) / max(time.monotonic() - self.started, 1e-9)

    def _line(self, note: str, ended: bool = False) -> None:
        elapsed = time.monotonic() - self.started
        share = min(self.done_work / self.work, 1.0) if self.work else 1.0
        rate = f", {format_rate(self._rate(), self.unit)}" if self.done_items > self._skipped_items else ""
        over = self._is_whole() or (ended and self.items is None)
        ending = f", took {format_seconds(elapsed)}" if over else ""
        if not over and self.done_work > self._skipped_work:  # else nothing tells how long it takes
            ending = f", {format_seconds(self.seconds_left())} left"
        text = f"{self.label}: {self._count()} ({share:.0%}){rate}{ending}"
        print(f"{text} · {note}" if note else text, file=sys.stderr, flush=True)
        self._last_line = time.monotonic()


def format_rate(per_second: float, unit: str) -> str:
    """Formats a rate: `2.5 epochs/s`, or per minute or hour if that is at least 1."""
    for scale, name in ((1, "s"), (60, "min"), (3600, "h")):
        if per_second * scale >= 1 or name == "h":
            break
    return f"{per_second * scale:.1f} {unit}/{name}"


def format_seconds(seconds: float) -> str:
    """Formats seconds in the unit that reads best.

    Example:
        >>> [format_seconds(seconds) for seconds in (0.5, 7, 150, 9000, 101738, math.nan)]
        ['0.50 s', '7.0 s', '2.5 min', '2.5 h', '28 h', 'unknown']
    """
    if not math.isfinite(seconds):
        return "unknown"
    unit, size = ("s", 1) if seconds < MINUTE else ("min", MINUTE) if seconds < HOUR else ("h", HOUR)
    return f"{two_digits(seconds / size)} {unit}"


def two_digits(value: float) -> str:
    """A number that is not negative with two significant digits, and no digit of its whole part lost."""
    if value >= 10 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.{1 - math.floor(math.log10(value))}f}"
