"""The verdict of a study in sentences: the cheapest search that loses little enough, or what is needed to decide.

It is about searches, not correlations, since regret is what a user loses: `policies` replays them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proxyflow.quality.bootstrap import Draws, Estimate
from proxyflow.quality.influence import centre, decisive_configurations
from proxyflow.quality.objective import Objective
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.policies import FULL_SEARCH, PROXY, Policy, Replay, finalists_of, loss_interval
from proxyflow.quality.ranked import Ranked
from proxyflow.quality.safety import safety_verdict
from proxyflow.quality.truth import SAME_RUNS

MANY = 2000  # configurations; more are unrealistic
PROMISING = 3  # undecided policies for which the verdict says what would decide
# With fewer configurations intervals of a loss are too narrow: in simulated studies with one seed .69 of the
# recommendations from 8 configurations were right, .90 of those from 16 and .97 from 24 (benchmarks/coverage.py).
ENOUGH = 16

# In simulated studies of one data set .77 to 1.00 of the recommendations were right, with two data sets .96 to .99
# (benchmarks/coverage.py).
ONE_DATASET = "Intervals from a single data set are less reliable: confirm the verdict on another data set."


@dataclass(frozen=True)
class Verdict:
    """The verdict of a study.

    Attributes:
        strategy: the recommended policy's proxy, empty where none is recommended, or none with a proxy.
        k: how many configurations the recommended policy trains on the full data, 0 where none is recommended.
        tolerance: what a policy may lose, see `Objective.loss`.
        criterion: the loss that is compared with the tolerance: `regret`, or `excess` over full search where that is
            itself not shown to lose less than the tolerance.
        compared: how many policies were compared.
        depends_on: configurations without any one of which the verdict would differ.
        sentences: plain language, the first is the verdict itself.
        proxies: for each proxy, the cheapest first, whether it is safe to take its first choice.
    """

    strategy: str
    k: int
    tolerance: float
    criterion: str
    compared: int
    depends_on: tuple[str, ...]
    sentences: tuple[str, ...]
    proxies: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Candidate:
    """A policy with what it is judged by.

    Attributes:
        policy: the policy.
        lost: its regret, or its excess over full search.
        samples: `(samples,)` of the same.
    """

    policy: Policy
    lost: Estimate
    samples: NDArray[np.float64]

    def ends(self, used: NDArray[np.bool_]) -> tuple[float, float]:
        """The interval over these bootstrap samples."""
        value = centre(self.samples, used, self.lost.value)
        return loss_interval(self.samples[used], value, finalists_of(self.policy))


def judge(
    replay: Replay,
    draws: Draws | None,
    target: pd.DataFrame,
    options: QualityOptions,
    ranked: Mapping[str, Ranked] | None = None,
) -> Verdict:
    """The cheapest policy whose whole interval of regret is within the tolerance.

    Where full search itself is not within it, because single runs are too noisy, policies are compared with full search
    instead.

    Args:
        replay: the policies.
        draws: their bootstrap samples.
        target: the target's runs, with `cluster`.
        options: the tolerance, and what it is in.
        ranked: strategy to what it cannot rank.
    """
    tolerance, full = options.tolerance, replay.full
    reason = _why_none(replay, draws)
    if reason or full is None or draws is None:
        return Verdict("", 0, tolerance, "regret", 0, (), (f"No verdict yet: {reason}.",))
    absolute = full.regret.high <= tolerance
    candidates = _candidates(replay, full, absolute)
    chosen = _cheapest(candidates, tolerance, np.ones(len(draws.counts), dtype=bool))
    # Another policy may become the cheapest with little consequence, but it must stay good enough.
    at_stake = [chosen] if chosen else candidates
    depends_on = decisive_configurations(draws, target, lambda used: _cheapest(at_stake, tolerance, used) is not None)
    sentences = [
        _recommendation(chosen, replay, absolute, options) if chosen else _refusal(candidates, absolute, options),
        *([] if absolute else [_of_full_search(full, replay, options)]),
        *([] if chosen else _what_would_decide(candidates, replay, absolute, options)),
        _compared(candidates, replay),
        *_too_expensive(replay, full, candidates),
        *_left_out(replay),
        *_unranked(chosen, ranked or {}),
        *_dependence(depends_on, chosen),
        *([ONE_DATASET] if chosen and target["dataset"].nunique() == 1 else []),
    ]
    return Verdict(
        chosen.policy.strategy if chosen else "",
        chosen.policy.k if chosen else 0,
        tolerance,
        "regret" if absolute else "excess",
        len(candidates),
        tuple(depends_on),
        tuple(sentences),
        _of_proxies(candidates, absolute, options),
    )


def _why_none(replay: Replay, draws: Draws | None) -> str:
    """Why there is no verdict, empty where there is one."""
    if not replay.policies:
        return "it needs finished trainings of the target, with at least three configurations of a data set and seed"
    if draws is None:
        return "it needs intervals (bootstrap=0 disables them)"
    if not any(policy.kind == PROXY for policy in replay.policies):
        missing = f" ({', '.join(replay.left_out[:PROMISING])} lack some)" if replay.left_out else ""
        return f"it needs a proxy that has nearly all of the target's configurations, data sets and seeds{missing}"
    if replay.fewest < ENOUGH:
        few = f"{replay.fewest} configurations are too few for reliable intervals; at least {ENOUGH} are needed"
        return f"{few}; a sweep with more keeps those that are finished (policies.csv has the losses so far)"
    if not any(math.isfinite(policy.cost.value) for policy in replay.policies if policy.kind == PROXY):
        return "no proxy's cost is known, so none is the cheapest; choose another cost_basis"
    return ""


def _candidates(replay: Replay, full: Policy, absolute: bool) -> list[Candidate]:
    """Every policy that is not known to cost as much as full search, with what it is judged by."""
    found = []
    for policy in replay.policies:
        if policy.kind != FULL_SEARCH and not policy.cost.value >= full.cost.value:
            lost, samples = (policy.regret, policy.samples) if absolute else (policy.excess, policy.excess_samples)
            found.append(Candidate(policy, lost, samples))
    return found


def _cheapest(candidates: Sequence[Candidate], tolerance: float, used: NDArray[np.bool_]) -> Candidate | None:
    """The cheapest candidate whose interval over these bootstrap samples is within the tolerance."""
    good = [each for each in candidates if math.isfinite(each.policy.cost.value) and each.ends(used)[1] <= tolerance]
    return min(good, key=lambda each: (each.policy.cost.value, each.policy.strategy, each.policy.k), default=None)


def describe(policy: Policy) -> str:
    """A policy in words."""
    many = f"{policy.k} configurations" if policy.k != 1 else "one configuration"
    if policy.kind != PROXY:
        return f"{policy.kind} over {many}"
    return f"rank by {policy.strategy}, then train the {_finalists(policy)} on the full data"


def _finalists(policy: Policy) -> str:
    return f"best {policy.k}" if policy.k != 1 else "best one"


def loss_text(loss: Estimate, objective: Objective) -> str:
    """A loss with its interval, where there is one, without its unit."""
    text = objective.amount(loss.value)
    return f"{text} [{objective.amount(loss.low)}, {objective.amount(loss.high)}]" if loss.has_interval else text


def _safety(subject: str, loss: Estimate, absolute: bool, options: QualityOptions) -> str:
    """Whether a way to tune is safe."""
    objective = options.objective
    than = "" if absolute else " more than full search"
    return safety_verdict(subject, loss, options.tolerance, objective.unit, objective.amount, than)


def _subject(policy: Policy) -> str:
    """A policy, to begin a sentence on its safety."""
    if policy.kind != PROXY:
        return _upper(describe(policy))
    return f"Tuning on {policy.strategy} and training the {_finalists(policy)} on the full data"


def _of_proxies(candidates: Sequence[Candidate], absolute: bool, options: QualityOptions) -> tuple[str, ...]:
    """Whether it is safe to tune on each proxy alone."""
    alone = [each for each in candidates if each.policy.kind == PROXY and each.policy.k == 1]
    return tuple(
        _safety(f"Tuning on {each.policy.strategy}", each.lost, absolute, options)
        for each in sorted(alone, key=lambda each: np.nan_to_num(each.policy.cost.value, nan=np.inf))
    )


def _limit(options: QualityOptions) -> str:
    """The tolerance with its unit."""
    return f"{options.tolerance:.3g} {options.objective.unit}"


def _recommendation(chosen: Candidate, replay: Replay, absolute: bool, options: QualityOptions) -> str:
    policy, full, objective = chosen.policy, replay.full, options.objective
    text = _safety(_subject(policy), chosen.lost, absolute, options)
    text += f" It is the cheapest search that is, and costs {policy.cost.value:.1f} full trainings"
    if not policy.choice_known:
        text += " (without the unknown cost of choosing its examples)"
    if not absolute:
        text += f"; against the best it loses {loss_text(policy.regret, objective)}"
    if full is not None:
        text += f"; full search loses {loss_text(full.regret, objective)} and costs {full.cost.value:.0f}"
    if math.isfinite(policy.random.value):
        text += f", random search at equal cost loses {loss_text(policy.random, objective)}"
    return text + "."


def _refusal(candidates: Sequence[Candidate], absolute: bool, options: QualityOptions) -> str:
    safe = f"to lose at most {_limit(options)}" + ("" if absolute else " more than full search does")
    if any(each.lost.value <= options.tolerance for each in candidates):
        return f"No cheaper search is shown to be safe, {safe}: the intervals are too wide."
    return (
        f"No cheaper search is safe, {safe}: train more of the best on the full data, use a more expensive proxy, or "
        "choose a larger tolerance."
    )


def _of_full_search(full: Policy, replay: Replay, options: QualityOptions) -> str:
    lost = loss_text(full.regret, options.objective)
    return (
        f"Full search itself is not shown to find a configuration within {_limit(options)} of the best: it loses "
        f"{lost}, judged by {replay.judged_by}, because runs of one configuration differ. So policies are compared "
        "with full search; more seeds or more validation examples would decide how far all of them are from the best."
    )


def _compared(candidates: Sequence[Candidate], replay: Replay) -> str:
    proxies = {each.policy.strategy for each in candidates} - {""}
    sizes = ", ".join(map(str, sorted({each.policy.k for each in candidates})))
    text = (
        f"{len(candidates)} policies were compared: {len(proxies)} prox{'ies' if len(proxies) != 1 else 'y'} and "
        f"random search, each with k = {sizes}. Intervals are not corrected for choosing the cheapest of so many. "
        f"Judged by {replay.judged_by}."
    )
    if replay.judged_by == SAME_RUNS:
        text += " This favours every policy, as the runs that choose also judge: add a second seed, or test_examples."
    return text


def _too_expensive(replay: Replay, full: Policy, candidates: Sequence[Candidate]) -> list[str]:
    """Proxies with which every search costs as much as full search."""
    compared = {each.policy.strategy for each in candidates}
    costs: dict[str, float] = {}
    for policy in replay.policies:
        if policy.kind == PROXY and policy.strategy not in compared:
            costs[policy.strategy] = min(policy.cost.value - policy.k, costs.get(policy.strategy, math.inf))
    return [
        f"{strategy} saves too little: ranking by it alone costs {cost:.1f} of {full.cost.value:.0f} full trainings "
        "(if programs spend most of their time starting: let them report train_seconds, or use "
        "cost_basis=examples_seen)."
        for strategy, cost in costs.items()
    ]


def _left_out(replay: Replay) -> list[str]:
    if not replay.left_out:
        return []
    more = f" and {len(replay.left_out) - PROMISING} more" if len(replay.left_out) > PROMISING else ""
    return [
        f"Left out, because configurations, data sets or seeds of the target are missing: "
        f"{', '.join(replay.left_out[:PROMISING])}{more}."
    ]


def _unranked(chosen: Candidate | None, ranked: Mapping[str, Ranked]) -> list[str]:
    """That the recommended policy's proxy cannot rank some configurations."""
    found = ranked.get(chosen.policy.strategy) if chosen else None
    if chosen is None or found is None or not found.some:
        return []
    return [
        f"{chosen.policy.strategy} cannot rank {found.share_text}: they learn nothing on it, so this search passes "
        "them over, however good they are on the full data."
    ]


def _dependence(depends_on: Sequence[str], chosen: Candidate | None) -> list[str]:
    if not depends_on:
        return []
    verdict = "it is not shown to be safe" if chosen else "a search would be recommended"
    if len(depends_on) > PROMISING:
        which = f"any one of {len(depends_on)} configurations, such as {depends_on[0]}"
        return [f"The result is close to the tolerance: without {which}, {verdict}."]
    which = f"any one of {', '.join(depends_on)}" if len(depends_on) > 1 else depends_on[0]
    return [f"The verdict depends on a single configuration: without {which}, {verdict}."]


def _what_would_decide(
    candidates: Sequence[Candidate], replay: Replay, absolute: bool, options: QualityOptions
) -> list[str]:
    """How many configurations would decide on the policies that are nearest to being recommended."""
    needed = []
    for each in candidates:
        count = configurations_needed(each.lost, options.tolerance, replay.n_configurations)
        if count is not None and math.isfinite(each.policy.cost.value):
            needed.append((count, each.policy.cost.value, each))
    return [
        f"{_safety(_subject(each.policy), each.lost, absolute, options)} If that stays so, about {count:,} "
        f"configurations (now {replay.n_configurations:.0f}) would decide."
        for count, _, each in sorted(needed, key=lambda row: row[:2])[:PROMISING]
    ]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def configurations_needed(lost: Estimate, tolerance: float, now: float) -> int | None:
    """Configurations at which the interval would end within the tolerance: its half-width falls as 1 / sqrt(n).

    Args:
        lost: what a policy loses.
        now: configurations that it is over now.

    Returns:
        None where the value itself is not within the tolerance, or above `MANY`.
    """
    if not (math.isfinite(lost.high) and lost.value < tolerance < lost.high):
        return None
    # Rounded first, so that rounding errors do not raise a whole number.
    count = math.ceil(round(now * ((lost.high - lost.value) / (tolerance - lost.value)) ** 2, 6))
    return max(count, ENOUGH) if count <= MANY else None
