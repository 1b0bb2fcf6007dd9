"""What a search trains next: a pure function of what it has seen, so that it resumes from its trainings alone.

Each decision takes the training that is expected to raise the value of the best configuration most for its cost
(knowledge gradient per cost, Frazier et al. 2009; over several fidelities Poloczek, Wang & Frazier 2017), by the joint
model of all rungs (`surrogate`). Which configuration, on which rung and with which seed is one decision: cheap rungs
explore while they tell much, promising configurations move up, doubtful finalists get another seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyflow.searching.knowledge import FIRST, Knowledge, Trial
from proxyflow.searching.surrogate import Floats, knowledge_gradient

SURE = 0.05
CONFIRMED = 2  # full trainings of the best configuration, before a search ends because it is sure
# Trainings in a row after which it has to be sure: it is asked after each, and may once be lucky.
CONSECUTIVE = 4
WAITING = "the first trainings have not ended yet"
SPENT = "the budget is spent"


@dataclass(frozen=True)
class Decision:
    """What to do next.

    Attributes:
        trial: the training to start; None where the search ends.
        reason: why, in a few words.
        gain: the expected rise of the best value per full training, in standard deviations of the values; nan without
            a model.
    """

    trial: Trial | None
    reason: str
    gain: float = math.nan


def decide(knowledge: Knowledge, cost: Floats, left: float) -> Decision:
    """The next training of a search.

    Args:
        knowledge: what it knows.
        cost: `(candidates, rungs)` of a training, in full trainings.
        left: how much of the budget is neither spent nor pending.

    Returns:
        The training that is expected to be worth most for its cost; none where nothing is affordable, nothing is worth
        its cost, or the search is sure.
    """
    plan, target = knowledge.plan, knowledge.plan.ladder.target
    # Nobody should be told of a value on the full data that was not measured there: one training in full is kept back
    # for it until there is one.
    full = bool(knowledge.in_full) or any(trial.rung == target for trial in knowledge.pending)
    if full and not len(_affordable(knowledge, cost[:, target], target, left)):
        # Proxies could still reorder what was trained in full, but find nothing else.
        reason = _why_nothing_in_full(knowledge, cost[:, target])
        return Decision(None, reason if knowledge.in_full else WAITING)
    # So proxies leave what the next training in full costs, too.
    kept = max(_kept(knowledge, cost[:, target], left), _reserved(knowledge, cost[:, target]))
    opening = _opening(knowledge, cost, left, kept)
    if opening is not None:
        return Decision(opening, "nothing is known yet")
    if not knowledge.observations:
        if knowledge.pending:
            return Decision(None, WAITING)
        return Decision(None, "the budget does not pay for a training of any candidate")
    if _is_sure(knowledge):
        place, ended = knowledge.best, len(knowledge.seeds_seen(knowledge.best))
        confirmed = ended >= min(CONFIRMED, plan.confirm)
        if confirmed and all(_is_sure(knowledge.before(ago)) for ago in range(1, CONSECUTIVE)):
            return Decision(None, "the best configuration is within the tolerance")
        # One training may have been lucky, and then it looks better than it is.
        if not confirmed and len(knowledge.seeds(place, target)) == ended and cost[place, target] <= left + 1e-9:
            return Decision(knowledge.next_trial(place, target), "confirms the best configuration with another seed")
    best, chosen = -math.inf, None
    for rung in range(len(plan.ladder)):
        places = _affordable(knowledge, cost[:, rung], rung, left if rung == target else left - kept)
        if not len(places) or knowledge.is_dropped(rung):
            continue
        gains = knowledge_gradient(knowledge.mean, knowledge.shift(rung, places)) / cost[places, rung]
        gains *= knowledge.ranked[rung]
        place = int(np.argmax(gains))
        if gains[place] > best:
            best, chosen = float(gains[place]), (int(places[place]), rung)
    place, rung = chosen if chosen is not None else (knowledge.best, target)
    # What is left is for the full data. The first training there is of the best candidate: only what was trained in
    # full can be recommended, which the gain does not know.
    if not full and left + 1e-9 < kept + cost[place, rung] and chosen is not None:
        payable = [at for at in np.argsort(-knowledge.mean, kind="stable") if cost[at, target] <= left + 1e-9]
        if payable:
            return Decision(knowledge.next_trial(int(payable[0]), target), "what is left is for the full data")
    if chosen is None:
        return Decision(None, _why_nothing_in_full(knowledge, cost[:, target]))
    return Decision(knowledge.next_trial(place, rung), "the largest expected gain for its cost", best)


def _why_nothing_in_full(knowledge: Knowledge, cost: Floats) -> str:
    """Why no candidate is trained in full any more."""
    target = knowledge.plan.ladder.target
    open_ = [place for place in range(len(cost)) if knowledge.is_open(place, target)]
    if any(math.isfinite(cost[place]) for place in open_):
        return SPENT
    return f"every candidate{' that has not failed' if open_ else ''} was trained with all of its seeds"


def _kept(knowledge: Knowledge, cost: Floats, left: float) -> float:
    """What is kept back for the next training in full: of the best candidate that can be paid, else the least."""
    payable = _affordable(knowledge, cost, knowledge.plan.ladder.target, left)
    if not len(payable) or not knowledge.observations:
        return float(np.min(cost))
    return float(cost[payable[int(np.argmax(knowledge.mean[payable]))]])


def _reserved(knowledge: Knowledge, cost: Floats) -> float:
    """What is left of the part of the budget that full trainings are to have, without those that have been started."""
    target = knowledge.plan.ladder.target
    spent = sum(each.cost for each in knowledge.observations if each.trial.rung == target)
    started = (each.configuration for each in knowledge.pending if each.rung == target)
    spent += sum(float(cost[knowledge.plan.places[configuration]]) for configuration in started)
    return max(0.0, knowledge.plan.in_full * knowledge.plan.budget - spent)


def _opening(knowledge: Knowledge, cost: Floats, left: float, kept: float) -> Trial | None:
    """The first trainings: candidates in their order, or that of memories, on the cheapest rung that learns."""
    plan, target = knowledge.plan, knowledge.plan.ladder.target
    rung = next(number for number in range(len(plan.ladder)) if not knowledge.is_dropped(number))
    # Counted when they have ended, so that many workers open with many candidates.
    if sum(each.trial.rung == rung for each in knowledge.observations) >= FIRST:
        return None
    places = list(range(len(plan.candidates)))
    if plan.memories:
        remembered = Knowledge(plan, ()).mean
        places.sort(key=lambda place: -remembered[place])
    for on, most in ((rung, left if rung == target else left - kept), (target, left)):
        for place in places:
            if not knowledge.seeds(place, on) and cost[place, on] <= most + 1e-9:
                return knowledge.next_trial(place, on)
        if knowledge.observations or knowledge.pending:
            break  # what is kept back is for the best, once something is known
    return None


def _affordable(knowledge: Knowledge, cost: Floats, rung: int, left: float) -> NDArray[np.int64]:
    open_ = [place for place in range(len(cost)) if knowledge.is_open(place, rung) and cost[place] <= left + 1e-9]
    return np.array(open_, dtype=np.int64)


def _is_sure(knowledge: Knowledge) -> bool:
    """Whether the best configuration was trained in full, and is very likely within the tolerance of the best."""
    plan, best = knowledge.plan, knowledge.best
    if plan.tolerance is None or best not in knowledge.in_full:
        return False
    return knowledge.chance_of_better(best, plan.tolerance) < SURE
