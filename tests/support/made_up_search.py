"""Searches that were never run: what they would have found, from a formula."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxyflow.proxies import parse_proxies
from proxyflow.searching.candidates import candidates_of
from proxyflow.searching.knowledge import Knowledge, Observation, Trial
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.metric import ACCURACY
from proxyflow.studies.bill import Bill
from proxyflow.studies.search import Found
from proxyflow.studies.search_trials import SearchSpec
from proxyflow.trainers import FunctionTrainer

SPACE = {
    "learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
    "width": {"low": 16, "high": 128, "step": 16},
    "optimizer": ["adam", "sgd"],
}
COSTS = (0.05, 0.25, 1.0)  # of a training, by rung


def found_search(
    trained: tuple[int, ...] = (24, 8, 3),
    space: Mapping[str, Any] = SPACE,
    ended: str = "the budget is spent",
    usd_per_hour: float = 2.5,
    seconds: float = 600.0,
) -> Found:
    """A search over three rungs.

    Args:
        trained: configurations by rung, the same ones first; each with two seeds on the last.
        ended: why it ended; empty while it runs.
        seconds: of a full training.
    """
    trainer = FunctionTrainer("mine:train", ACCURACY, folder=Path.cwd(), function=lambda job: 0.5)
    chosen = candidates_of(space, 32, 0)
    candidates = chosen.grid
    ladder = parse_proxies("random:0.25+epochs:2 epochs:2 full")
    spec = SearchSpec("digits", trainer, chosen.space, candidates, ladder, epochs=8, tolerance=0.5)
    observations = []
    for rung, n in enumerate(trained):
        for place, seed in itertools.product(range(n), range(2 if rung == 2 else 1)):
            value = 0.7 + 0.1 * rung + 0.05 * math.sin(place) + 0.004 * seed + 0.02 * math.cos(7 * place) / (rung + 1)
            trial = Trial(candidates[place], rung, seed)
            observations.append(Observation(trial, value, COSTS[rung], unranked=rung == 0 and place == 5))
    run_ids = tuple(f"{number:032x}" for number in range(len(observations)))
    took = [seconds * each.cost for each in observations]
    bills = {key: Bill(each, each / 3600 * usd_per_hour) for key, each in zip(run_ids, took, strict=True)}
    return Found(
        spec,
        Knowledge(spec.plan([0.06, 0.25, 1.0]), tuple(observations)),
        sum(each.cost for each in observations),
        len(observations),
        (),
        ended,
        run_ids,
        bills=bills,
        works=tuple(each.cost for each in observations),
    )


def command_of(best: Configuration) -> str:
    """A command as long as those that train a configuration."""
    return f"mlflow run . -e train -P study=pets -P dataset=digits -P config='{best.to_json()}' -P epochs=8"
