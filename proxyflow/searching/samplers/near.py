"""Configurations near the best ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from proxyflow.core.seeds import generator
from proxyflow.searching.samplers.protocol import Told
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.parameters import Numeric
from proxyflow.spaces.space import Space

PARENTS = 5
STEPS = (0.03, 0.08, 0.2)  # standard deviations of a change, in units of the range
ANOTHER = 0.15  # the chance of another choice


class Near:
    """Changes one of the best configurations a little, or two of them are crossed (evolution, Back 1996)."""

    description = "near the best configurations: changes of one, and crossings of two"

    def propose(self, space: Space, told: Sequence[Told], seed: int) -> Iterator[Configuration]:
        rng = generator(seed, "sampler", "near")
        parents = [each.configuration for each in sorted(told, key=lambda each: -each.value)[:PARENTS]]
        if not parents:
            return
        weights = 1 / np.arange(1, len(parents) + 1)
        while True:
            first, second = rng.choice(len(parents), 2, p=weights / weights.sum())
            crossed, step = rng.random() < 0.5, rng.choice(STEPS)
            units = {}
            for parameter in space.tunable:
                # A parent that does not use the parameter says nothing of it.
                known = [parents[at] for at in (first, second if crossed else first) if parameter.name in parents[at]]
                if not known or (not isinstance(parameter, Numeric) and rng.random() < ANOTHER):
                    units[parameter.name] = rng.random()
                    continue
                place = parameter.to_unit(known[rng.integers(len(known))][parameter.name])
                moved = place + step * rng.standard_normal() if isinstance(parameter, Numeric) else place
                units[parameter.name] = float(np.clip(moved, 0.0, np.nextafter(1.0, 0.0)))
            yield space.from_unit(units)
