"""What trainings took, in hours and dollars."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from proxyflow.core.progress import format_seconds, two_digits

CENT = 0.01


@dataclass(frozen=True)
class Bill:
    """What trainings took.

    Attributes:
        seconds: of training and validation; nan where unknown.
        usd: US dollars; nan without a price.
    """

    seconds: float
    usd: float

    @classmethod
    def sum(cls, bills: Iterable[Bill]) -> Bill:
        """Of several trainings; the price of none is not known."""
        found = list(bills)
        return cls(sum(each.seconds for each in found), sum(each.usd for each in found) if found else math.nan)

    def times(self, factor: float) -> Bill:
        """Of so many times as much."""
        return Bill(factor * self.seconds, factor * self.usd)

    def __str__(self) -> str:
        return self.time + (f" ({self.money})" if self.money else "")

    @property
    def time(self) -> str:
        """The time with its unit; empty where unknown.

        Example:
            >>> [Bill(seconds, math.nan).time for seconds in (0.5, 150, 9000, math.nan)]
            ['0.50 s', '2.5 min', '2.5 h', '']
        """
        return format_seconds(self.seconds) if math.isfinite(self.seconds) else ""

    @property
    def money(self) -> str:
        """The dollars; empty without a price.

        Example:
            >>> [Bill(1.0, usd).money for usd in (0.004, 12.3, math.nan)]
            ['$0.0040', '$12.30', '']
        """
        if not math.isfinite(self.usd):
            return ""
        return f"${self.usd:,.2f}" if self.usd >= CENT else f"${two_digits(self.usd)}"
