"""The sampler protocol: what else a search should choose from, given what it has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxyflow.core.registry import Registry, missing_member
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.space import Space


@dataclass(frozen=True)
class Told:
    """A configuration that a search has trained.

    Attributes:
        configuration: the configuration.
        value: what is believed of its value on the target, from its trainings on all rungs; more is better.
    """

    configuration: Configuration
    value: float


class Sampler(Protocol):
    """Proposes configurations. The joint model of a search chooses among them, and which rung each is trained on.

    Attributes:
        description: one line for `--help`.
    """

    @property
    def description(self) -> str: ...

    def propose(self, space: Space, told: Sequence[Told], seed: int) -> Iterator[Configuration]:
        """Configurations of the space that are worth a training, without end or until there are no more.

        Args:
            space: the space of the search; all of its parameters are bounded.
            told: the trained configurations, in the order in which they were first trained.
            seed: of the draw; the same arguments give the same proposals.
        """
        ...


def _problem_of(name: str, item: object) -> str:
    return missing_member(item, {"description": str, "propose": Callable})


samplers = Registry[Sampler]("sampler", "proxyflow.samplers", _problem_of)
