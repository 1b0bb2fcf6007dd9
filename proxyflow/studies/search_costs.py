"""What a search took in hours and dollars, next to what training all of its candidates in full would take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from proxyflow.studies.bill import Bill
from proxyflow.studies.search import Found

SLOW = 0.8  # of a full training's time: a proxy that takes as long saves nothing


@dataclass(frozen=True)
class SearchBill:
    """What a search took.

    Attributes:
        rungs: by rung.
        total: of all rungs.
        all_in_full: what training every candidate in full once would take, by the full trainings that there are.
    """

    rungs: tuple[Bill, ...]
    total: Bill
    all_in_full: Bill


def slow_rungs(found: Found) -> list[int]:
    """The rungs whose trainings cost little by their work, and yet take nearly as long as those in full."""
    seconds: dict[int, list[float]] = {}
    costs: dict[int, list[float]] = {}
    for each, run_id, work in zip(found.knowledge.observations, found.run_ids, found.works, strict=True):
        seconds.setdefault(each.trial.rung, []).append(found.bills[run_id].seconds)
        costs.setdefault(each.trial.rung, []).append(work)
    target = len(found.spec.ladder) - 1
    if not fmean(seconds.get(target, [0.0])) > 0:
        return []
    in_full = fmean(seconds[target])
    return [
        rung
        for rung in sorted(seconds)
        if rung < target and saves_no_time(fmean(costs[rung]), fmean(seconds[rung]) / in_full)
    ]


def saves_no_time(cost: float, time: float) -> bool:
    """Whether a training that costs little, relative to one in full, takes nearly as long."""
    return time > SLOW and cost < SLOW / 2


def saving_note(names: Sequence[str]) -> str:
    """What is told of such proxies."""
    return (
        f"A training on {', '.join(names)} takes nearly as long as one in full, so it saves little time: what takes "
        "long is not what the proxy reduces (a program's start, say)"
    )


def bill_of(found: Found) -> SearchBill:
    """What a search took: its own trainings, not those that a sweep had paid."""
    observed = list(zip(found.knowledge.observations, found.run_ids, strict=True))
    paid = [(each, run_id) for each, run_id in observed if each.cost > 0]
    target = len(found.spec.ladder) - 1
    rungs = tuple(
        Bill.sum(found.bills[run_id] for each, run_id in paid if each.trial.rung == rung) for rung in range(target + 1)
    )
    works = zip(observed, found.works, strict=True)
    in_full = [(found.bills[run_id], work) for (each, run_id), work in works if each.trial.rung == target]
    work = sum(work for _, work in in_full)
    seen = Bill.sum(bill for bill, _ in in_full)
    # One full training is the mean of the candidates that the search began with.
    all_in_full = seen.times(len(found.spec.candidates) / work if work else math.nan)
    return SearchBill(rungs, Bill.sum(found.bills[run_id] for _, run_id in paid), all_in_full)
