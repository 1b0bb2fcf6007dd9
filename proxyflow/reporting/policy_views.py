"""What searches with a proxy lose and cost, as rows and lines for the page and the figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from proxyflow.quality.bootstrap import Estimate
from proxyflow.quality.influence import LOWER
from proxyflow.quality.policies import FULL_SEARCH, PROXY, RANDOM_SEARCH, Policy
from proxyflow.quality.runs import TARGET
from proxyflow.quality.seeds import ACROSS_SEEDS
from proxyflow.quality.summary import StudyQuality
from proxyflow.quality.verdict import describe
from proxyflow.reporting.series import frontier

# Measures whose most influential configurations the page shows; influence.csv has all.
SHOWN_INFLUENCE = ("r2", "spearman", "spearman_all", "kendall")


@dataclass(frozen=True)
class PolicyRow:
    """A policy in the table of searches; `steps` are those of the trainings that it ranks configurations by."""

    name: str
    family: str
    recommended: bool
    cost: Estimate
    steps: float
    regret: Estimate
    excess: Estimate
    random: Estimate
    better_than_random: float


@dataclass(frozen=True)
class Line:
    """The policies of one proxy, or random search, by cost.

    Attributes:
        name: the strategy, or `RANDOM_SEARCH`.
        family: of the strategy, empty for random search.
    """

    name: str
    family: str
    policies: tuple[Policy, ...]


def policy_rows(quality: StudyQuality) -> list[PolicyRow]:
    """Full search, the recommended policy, and those for which no cheaper one loses less, the cheapest first."""
    known = [each for each in quality.policies.policies if np.isfinite(each.cost.value)]
    if not known:
        return []
    costs = [each.cost.value for each in known]
    kept = frontier(costs, [-each.regret.value for each in known])
    families = _families(quality)
    rows = []
    for policy, best in sorted(zip(known, kept, strict=True), key=lambda pair: pair[0].cost.value):
        chosen = (policy.strategy, policy.k) == (quality.verdict.strategy, quality.verdict.k)
        recommended = chosen and policy.kind != FULL_SEARCH
        if best or recommended or policy.kind == FULL_SEARCH:
            steps = quality.steps.get(policy.strategy or TARGET, math.nan)
            rows.append(_row(policy, families.get(policy.strategy, ""), recommended, steps))
    return rows


def first_of_frontier(quality: StudyQuality) -> list[Policy]:
    """Per proxy its cheapest policy for which no cheaper policy loses less, the recommended one left out."""
    known = [each for each in quality.policies.policies if np.isfinite(each.cost.value)]
    kept = frontier([each.cost.value for each in known], [-each.regret.value for each in known])
    chosen = (quality.verdict.strategy, quality.verdict.k)
    found: dict[str, Policy] = {}
    for policy, best in sorted(zip(known, kept, strict=True), key=lambda pair: pair[0].cost.value):
        if best and policy.kind == PROXY and (policy.strategy, policy.k) != chosen:
            found.setdefault(policy.strategy, policy)
    return list(found.values())


def _row(policy: Policy, family: str, recommended: bool, steps: float) -> PolicyRow:
    return PolicyRow(
        f"{policy.strategy}, best {policy.k}" if policy.kind == PROXY else describe(policy),
        family,
        recommended,
        _shown(policy.cost),
        steps,
        _shown(policy.regret),
        _shown(policy.excess),
        _shown(policy.random),
        policy.better_than_random,
    )


def _shown(estimate: Estimate) -> Estimate:
    # A cost that no sample changes needs no interval.
    return Estimate(estimate.value) if estimate.low == estimate.high else estimate


def _families(quality: StudyQuality) -> Mapping[str, str]:
    return dict(zip(quality.strategies["strategy"].astype(str), quality.strategies["family"].astype(str), strict=True))


def lines(quality: StudyQuality) -> list[Line]:
    """Random search, then a line per proxy whose cost is known."""
    families = _families(quality)
    found: dict[str, list[Policy]] = {}
    for policy in quality.policies.policies:
        if policy.kind != FULL_SEARCH and np.isfinite(policy.cost.value):
            found.setdefault(policy.strategy if policy.kind == PROXY else RANDOM_SEARCH, []).append(policy)
    return [Line(name, families.get(name, ""), tuple(policies)) for name, policies in found.items()]


@dataclass(frozen=True)
class InfluenceRow:
    """A measure with its most influential configurations; an empty name where none moves it that way."""

    strategy: str
    measure: str
    value: float
    lowest: float
    lowest_config: str
    highest: float
    highest_config: str


def influence_rows(quality: StudyQuality) -> list[InfluenceRow]:
    """One row per strategy and measure of single runs."""
    table = quality.influence[quality.influence["measure"].isin(SHOWN_INFLUENCE)]
    found = []
    for (strategy, measure), rows in table.groupby(["strategy", "measure"], sort=False):
        sides = [
            (float(side["without"].iloc[0]), str(side["config"].iloc[0])) if len(side) else (float("nan"), "")
            for side in (rows[rows["direction"] == LOWER], rows[rows["direction"] != LOWER])
        ]
        found.append(InfluenceRow(str(strategy), str(measure), float(rows["value"].iloc[0]), *sides[0], *sides[1]))
    return found


@dataclass(frozen=True)
class AcrossRow:
    """A proxy's r2 and Spearman over pairs of different seeds, and how far they are below the noise ceiling."""

    strategy: str
    measures: Mapping[str, Estimate]
    gaps: Mapping[str, Estimate]


def across_rows(quality: StudyQuality) -> list[AcrossRow]:
    """One row per proxy that was run under several seeds."""
    gaps = {(row["strategy"], row["measure"]): row for row in quality.ceiling_gaps.to_dict("records")}
    rows = []
    for name, measured in quality.across.items():
        if name == TARGET:
            continue
        estimates = {key: _shown(each) for key, each in measured.estimates.items()}
        below = {}
        for key in ("r2", "spearman"):
            row = gaps.get((name, f"{key}{ACROSS_SEEDS}"))
            below[key] = Estimate(row["difference"], row["low"], row["high"]) if row else Estimate()
        rows.append(AcrossRow(name, estimates, below))
    return rows


def tolerance_line(quality: StudyQuality) -> float:
    """The regret up to which policies are within the tolerance: of the best configuration, or of full search."""
    full, verdict = quality.policies.full, quality.verdict
    above = full.regret.value if full is not None and verdict.criterion == "excess" else 0.0
    return above + verdict.tolerance
