"""What a package's scalar budget trains, so that every search can run on the target's epochs and on our proxies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.peers.blackbox import TARGET, Replay

# Packages count rungs as the whole part of log(top) / log(eta), which is 4 for 3^5: they would leave the cheapest out.
MOST_RUNGS = 5


@dataclass(frozen=True)
class Epochs:
    """The target's own epochs: a budget is how many; a training that goes on pays only for new ones."""

    replay: Replay

    @property
    def top(self) -> int:
        """The largest budget."""
        return int(self.replay.box.epochs[TARGET])

    @property
    def budgets(self) -> list[int]:
        """All that have a value of their own, the smallest first."""
        return list(range(1, self.top + 1))

    def propose(self, values: Mapping[str, Any], budget: float) -> int:
        """The configuration that a new trial, which starts with this budget, stands for."""
        return self.replay.propose(values, epoch=self._epoch(budget))

    def value(self, configuration: int, budget: float) -> float:
        """What a package is told; more is better.

        Raises:
            BudgetSpent: the search ends here.
        """
        return self.replay.train_to(configuration, self._epoch(budget))

    def _epoch(self, budget: float) -> int:
        return min(max(round(budget), 1), self.top)


@dataclass(frozen=True)
class Ladder:
    """Proxies from cheap to full: a budget of eta^k is number k of them, each of which is a training of its own."""

    replay: Replay
    proxies: tuple[str, ...]
    eta: int = 3

    @property
    def top(self) -> int:
        """The largest budget."""
        return self.budgets[-1]

    @property
    def budgets(self) -> list[int]:
        """All that have a value of their own, the smallest first."""
        return [self.eta**rung for rung in range(len(self.proxies))]

    def propose(self, values: Mapping[str, Any], budget: float) -> int:
        """The configuration that a new trial, which starts with this budget, stands for."""
        return self.replay.propose(values, self._proxy(budget))

    def value(self, configuration: int, budget: float) -> float:
        """What a package is told; more is better.

        Raises:
            BudgetSpent: the search ends here.
        """
        return self.replay.train(configuration, self._proxy(budget))

    def _proxy(self, budget: float) -> str:
        rung = round(math.log(max(budget, 1.0), self.eta))
        return self.proxies[min(rung, len(self.proxies) - 1)]


Fidelity = Epochs | Ladder


def fidelity_of(replay: Replay, rungs: tuple[str, ...], eta: int = 3) -> Fidelity:
    """Proxies where some are given, else the target's epochs; `eta` is the package's reduction factor.

    Raises:
        ValueError: too many proxies.
    """
    if len(rungs) > MOST_RUNGS:
        raise ValueError(f"a ladder has at most {MOST_RUNGS} proxies, not {len(rungs)}")
    return Ladder(replay, rungs, eta) if rungs else Epochs(replay)


class Incumbent:
    """The best value at the highest budget so far, which is what the packages themselves return."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._best = (-math.inf, -math.inf)
        self._configuration = 0

    def add(self, configuration: int, value: float, budget: float = 1.0) -> None:
        """Takes a result, and recommends what is best with it."""
        if (budget, value) > self._best:
            self._best, self._configuration = (budget, value), configuration
        self._replay.recommend(self._configuration)
