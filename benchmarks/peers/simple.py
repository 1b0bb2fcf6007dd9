"""Searches that need no package: the bars that any other search has to pass."""

from __future__ import annotations

import numpy as np

from benchmarks.peers.blackbox import TARGET, BudgetSpent, Replay
from benchmarks.peers.fidelity import Epochs, Incumbent


def random_search(replay: Replay, seed: int, rungs: tuple[str, ...] = ()) -> None:
    """Full trainings of configurations in random order; the best value wins. It has no rungs."""
    incumbent = Incumbent(replay)
    try:
        for configuration in _shuffled(replay, seed):
            incumbent.add(configuration, replay.train(configuration))
    except BudgetSpent:
        return


def halving(replay: Replay, seed: int, rungs: tuple[str, ...] = ()) -> None:
    """Successive halving with eta 2 from the first epoch on, of as many configurations as the budget pays for.

    Rungs are the target's epochs 1, 2, 4 and so on, or the given proxies. What is left of the budget trains the best
    ones that were stopped, those of the highest rung first.
    """
    order, incumbent = _shuffled(replay, seed), Incumbent(replay)
    steps = _steps(replay, rungs)
    alive = order[: _affordable(replay, len(order), steps, rungs)]
    stopped: list[int] = []
    try:
        for step, level in enumerate(steps):
            values = {}
            for configuration in alive:
                values[configuration] = _value(replay, configuration, level, rungs)
                incumbent.add(configuration, values[configuration], step)
            ranked = sorted(alive, key=lambda each: -values[each])
            keep = max(1, len(alive) // 2) if step + 1 < len(steps) else len(alive)
            alive, stopped = ranked[:keep], ranked[keep:] + stopped
        for configuration in stopped:
            incumbent.add(configuration, _value(replay, configuration, steps[-1], rungs), len(steps) - 1)
    except BudgetSpent:
        return


def screen(replay: Replay, seed: int, rungs: tuple[str, ...] = ()) -> None:
    """A proxy on as many configurations as half of the budget pays for, then full trainings of the best ones.

    The proxy is the first of the given rungs, else the cheapest schedule of fewer epochs, else the cheapest proxy.
    """
    proxy, incumbent = rungs[0] if rungs else _cheapest(replay), Incumbent(replay)
    values: dict[int, float] = {}
    try:
        for configuration in _shuffled(replay, seed):
            if replay.cost + replay.box.costs[proxy].mean() > replay.budget / 2:
                break
            values[configuration] = replay.train(configuration, proxy)
            incumbent.add(configuration, values[configuration], 0)
        for configuration in sorted(values, key=lambda each: -values[each]):
            incumbent.add(configuration, replay.train(configuration), 1)
    except BudgetSpent:
        return


def _shuffled(replay: Replay, seed: int) -> list[int]:
    return [int(each) for each in np.random.default_rng(seed).permutation(len(replay.box))]


def _cheapest(replay: Replay) -> str:
    schedules = [each for each in replay.box.proxies if each.startswith("epochs:") and "+" not in each]
    return (schedules or [*replay.box.proxies])[0]


def _steps(replay: Replay, rungs: tuple[str, ...]) -> list[int]:
    """Epochs after which half is stopped, the last one at the end; numbers of proxies where these are given."""
    if rungs:
        return list(range(len(rungs)))
    top = Epochs(replay).top
    return [2**power for power in range(top.bit_length()) if 2**power < top] + [top]


def _value(replay: Replay, configuration: int, level: int, rungs: tuple[str, ...]) -> float:
    return replay.train(configuration, rungs[level]) if rungs else replay.train_to(configuration, level)


def _affordable(replay: Replay, most: int, steps: list[int], rungs: tuple[str, ...]) -> int:
    """How many configurations may start so that the expected cost of all rungs fits the budget; at least one."""
    if rungs:
        prices = [float(replay.box.costs[proxy].mean()) for proxy in rungs]
    else:
        epochs = replay.box.epochs[TARGET]
        prices = [(step - before) / epochs for before, step in zip([0, *steps], steps, strict=False)]
    fits = [count for count in range(1, most + 1) if _price(count, prices) <= replay.budget]
    return max(fits, default=1)


def _price(count: int, prices: list[float]) -> float:
    price = 0.0
    for each in prices:
        price += count * each
        count = max(1, count // 2)
    return price
