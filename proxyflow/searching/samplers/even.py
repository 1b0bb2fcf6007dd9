"""An even sample of the space, whatever the search has seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from proxyflow.core.seeds import generator
from proxyflow.searching.samplers.protocol import Told
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.space import Space

POINTS = 64  # of the sequence, at a time


class Even:
    """The points of a Sobol sequence, scrambled (Matousek 1998); the candidates that a search begins with are such."""

    description = "fills the space evenly (scrambled Sobol sequence)"

    def propose(self, space: Space, told: Sequence[Told], seed: int) -> Iterator[Configuration]:
        yield from space.sequence(POINTS, seed)


class Uniform:
    """Independent draws."""

    description = "independent random draws"

    def propose(self, space: Space, told: Sequence[Told], seed: int) -> Iterator[Configuration]:
        rng = generator(seed, "sampler", "random")
        names = [parameter.name for parameter in space.tunable]
        while True:
            yield space.from_unit(dict(zip(names, rng.random(len(names)).tolist(), strict=True)))
