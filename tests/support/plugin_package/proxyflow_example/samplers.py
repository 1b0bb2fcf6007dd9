"""A sampler: the best configuration with one hyperparameter at an end of its range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from proxyflow.core.seeds import generator
from proxyflow.searching.samplers import Told
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.space import Space

LAST = 1 - 1e-9


class Edges:
    """For optima that lie at the ends of ranges."""

    description = "an example: the best configuration, moved to an end of one range"

    def propose(self, space: Space, told: Sequence[Told], seed: int) -> Iterator[Configuration]:
        rng = generator(seed, "sampler", "edges")
        best = max(told, key=lambda each: each.value).configuration if told else space.centre
        known = {each.name: min(each.to_unit(best[each.name]), LAST) for each in space.tunable if each.name in best}
        while True:
            moved = space.tunable[rng.integers(len(space.tunable))].name
            yield space.from_unit({**known, moved: float(rng.choice([0.0, LAST]))})


edges = Edges()
