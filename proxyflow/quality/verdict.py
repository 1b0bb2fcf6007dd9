"""What a study says in plain words: the cheapest proxy that is good enough for sure, or what it would take to know."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from proxyflow.quality.bootstrap import Estimate
from proxyflow.quality.ceiling import SEEDS
from proxyflow.quality.measured import MEASURES, Measured
from proxyflow.quality.measures import MIN_PAIRS
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.runs import TARGET

Z = 1.959963984540054  # the ends of a 95 % interval, in standard errors
MANY = 2000  # more configurations than this nobody will run
PROMISING = 3  # undecided proxies of which it is said what would decide
# Below so many configurations on a data set intervals of r2 are too narrow to decide: where the true r2 is .81, the
# whole interval lies above .9 in 49 % of simulated studies of 3 configurations, 17 % of 4, 2 % of 8
# (benchmarks/intervals.py).
ENOUGH = 8
# An interval from fewer of the bootstrap samples than all but this share is of those that happened to be drawn.
UNDEFINED_SHARE = 0.05


@dataclass(frozen=True)
class Verdict:
    """The verdict of a study.

    Attributes:
        strategy: the cheapest proxy that is good enough, empty where none is for sure.
        tolerance: how far below the target's own r2 an interval may reach.
        least: the r2 that follows from it.
        sentences: plain language, the first is the verdict itself.
    """

    strategy: str
    tolerance: float
    least: float
    sentences: tuple[str, ...]


def judge(
    measured: Mapping[str, Measured], ceiling: pd.DataFrame, selection: pd.DataFrame, options: QualityOptions
) -> Verdict:
    """The verdict over all proxies.

    A proxy is good enough where the whole interval of its r2 lies within the tolerance of what the target has with
    itself: 1, or the noise ceiling where the study has seeds to tell it. The interval has to be of at least `ENOUGH`
    configurations on every data set, and to exclude that there is no relation at all.
    """
    own, standard = _standard(ceiling)
    least = max(0.0, own - options.tolerance)
    if own < 1 and least == 0:
        # No r2 would be asked for, and whatever is cheapest would do.
        why = f"under another seed the target explains {own:.2f} of itself, no more than the tolerance"
        return Verdict("", options.tolerance, least, (f"No verdict yet: {why}. Add configurations that differ more.",))
    proxies = {
        name: each
        for name, each in measured.items()
        if name != TARGET and np.isfinite(each.estimates["r2"].value) and np.isfinite(each.estimates["r2"].low)
    }
    if not proxies:
        why = (
            "there are no intervals (bootstrap=0)"
            if not options.bootstrap
            else (f"no proxy has {MIN_PAIRS} pairs of different accuracies and a bootstrap to judge by")
        )
        return Verdict("", options.tolerance, least, (f"No verdict yet: {why}.",))
    good = [name for name, each in proxies.items() if _reaches(each, least) and not _doubt(each)]
    cheapest = min(good, key=lambda name: _cost(proxies[name]), default="")
    asked = f"Asked for is a whole interval of r2 at {least:.2f} or above: {options.tolerance:g} below {standard}."
    if cheapest:
        cheaper = {name: each for name, each in proxies.items() if _cost(each) < _cost(proxies[cheapest])}
        sentences = [
            _recommendation(cheapest, proxies[cheapest], selection),
            asked,
            *_undecided(cheaper, least, "cheaper"),
        ]
    else:
        sentences = [_refusal(proxies, least), asked, *_undecided(proxies, least, "of them")]
    return Verdict(cheapest, options.tolerance, least, tuple(sentences))


def _standard(ceiling: pd.DataFrame) -> tuple[float, str]:
    """What r2 the target has with itself, and how that is called."""
    told = ceiling[(ceiling["source"] == SEEDS) & (ceiling["measure"] == "r2")]["value"]
    if len(told):
        own = float(told.iloc[0])
        return own, f"what the target has with itself under another seed ({own:.2f})"
    return 1.0, "the target's own 1"


def _rises(measured: Measured) -> bool:
    """Whether better on the proxy is better on the target, which r2 alone does not say."""
    return float(np.nanmean(measured.samples["r2"])) > 0


def _reaches(measured: Measured, least: float) -> bool:
    """Whether the whole interval lies at `least` or above, and there is a relation, the right way round."""
    low = measured.estimates["r2"].low
    return low >= least and low > 0 and _rises(measured)


def _reversed(measured: Measured) -> bool:
    """Whether better on the proxy is worse on the target for sure."""
    return measured.estimates["r2"].low > 0 and not _rises(measured)


def _doubt(measured: Measured) -> str:
    """Why the interval is not to be relied on, empty where it is."""
    fewest = int(measured.pairs.frame.groupby("dataset")["config"].nunique().min())
    if fewest < ENOUGH:
        return f"{fewest} configurations are too few to rely on that: it takes at least {ENOUGH} on every data set"
    undefined = measured.estimates["r2"].undefined
    if undefined > UNDEFINED_SHARE:
        return f"{undefined:.0%} of the bootstrap samples leave it undefined, so that is not to be relied on"
    return ""


def _cost(measured: Measured) -> float:
    cost = measured.estimates["relative_cost"].value
    return cost if np.isfinite(cost) else math.inf


def _told(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _recommendation(name: str, measured: Measured, selection: pd.DataFrame) -> str:
    estimates = measured.estimates
    if np.isfinite(_cost(measured)):
        text = f"{name} is the cheapest proxy that is good enough: r2 {_told(estimates['r2'])}"
        text += f", at {_cost(measured):.2f} of the target's cost"
    else:
        text = f"{name} is good enough: r2 {_told(estimates['r2'])}, at a cost that is not known"
    row = selection[selection["strategy"] == name]
    charged = float(row["relative_cost_with_selection"].iloc[0]) if len(row) else math.nan
    if np.isfinite(charged) and charged > _cost(measured) + 0.005:
        after = row["pays_off_after"].iloc[0]
        text += f" ({charged:.2f} with choosing its examples charged"
        text += f", which pays off after {after} configurations)" if pd.notna(after) else ")"
    regret = estimates["expected_regret"]
    if np.isfinite(regret.value):
        text += f". Taking its first choice loses {regret.value:.1f} points of accuracy"
        text += f" [{regret.low:.1f}, {regret.high:.1f}]" if np.isfinite(regret.low) else ""
    return text + "."


def _refusal(proxies: Mapping[str, Measured], least: float) -> str:
    which = f"None of the {len(proxies)} proxies is" if len(proxies) > 1 else "The one proxy is not"
    if any(each.estimates["r2"].high >= least for each in proxies.values()):
        return f"{which} good enough for sure: add configurations."
    # More configurations would only make that surer.
    return f"{which} good enough: add dearer ones, or choose a larger tolerance."


def _undecided(proxies: Mapping[str, Measured], least: float, which: str) -> list[str]:
    """What it would take to decide on the most promising of some proxies, from the width of their intervals."""
    reached = [name for name, each in proxies.items() if _reaches(each, least)]
    wrong = [name for name, each in proxies.items() if _reversed(each)]
    rest = {name: each for name, each in proxies.items() if name not in (*reached, *wrong)}
    undecided = [name for name, each in rest.items() if each.estimates["r2"].high >= least]
    sentences = [f"{name}, r2 {_told(proxies[name].estimates['r2'])}: {_doubt(proxies[name])}." for name in reached]
    if undecided:
        many = f"{len(undecided)} {which} are" if len(undecided) > 1 else f"One {which} is"
        sentences.append(f"{many} undecided, with {least:.2f} within the interval: {', '.join(undecided)}.")
        ranked = sorted(undecided, key=lambda name: (-proxies[name].estimates["r2"].value, _cost(proxies[name])))
        sentences += [needed(name, proxies[name], least) for name in ranked[:PROMISING]]
    elif rest and not reached:
        sentences.append(f"The intervals of all {len(rest)} {which} lie below that.")
    if wrong:
        sentences.append(f"What is better on {', '.join(wrong)} is worse on the target, whatever r2 says.")
    return sentences


def needed(name: str, measured: Measured, least: float) -> str:
    """How many configurations, or seeds, would decide whether a proxy reaches `least`, if its r2 stays what it is."""
    estimate = measured.estimates["r2"]
    configurations = measured.pairs.frame.groupby("dataset")["config"].nunique().max()
    more = configurations_needed(estimate, least, int(configurations))
    text = f"{name}, r2 {_told(estimate)}: if its r2 stays so, "
    if more is None:
        return text + f"no number of configurations up to {MANY:,} decides, as it is too close to {least:.2f}."
    text += f"about {more:,} configurations (now {configurations}) would decide"
    seeds = seeds_needed(measured, least)
    count = measured.pairs.frame["seed"].nunique()
    if seeds is not None:
        text += f", or {seeds} seeds (now {count})"
    elif count > 1:
        text += "; more seeds alone would not"
    else:
        text += "; what further seeds would do, a second one will tell"
    return text + "."


def _z(r2: float) -> float:
    return math.atanh(min(math.sqrt(max(r2, 0.0)), 0.999999))


def configurations_needed(estimate: Estimate, least: float, now: int) -> int | None:
    """Configurations at which the interval would no longer hold `least`: its half-width falls as 1 / sqrt(n) in z.

    Args:
        now: configurations that it is over now.

    Returns:
        None above `MANY`.
    """
    value, aim = _z(estimate.value), _z(least)
    width = value - _z(estimate.low) if value > aim else _z(estimate.high) - value
    if value == aim or width <= 0:
        return None
    count = math.ceil(now * (width / (value - aim)) ** 2)
    return max(count, now + 1, ENOUGH) if count <= MANY else None


def seeds_needed(measured: Measured, least: float) -> int | None:
    """Seeds at which the interval would no longer hold `least`, with the configurations as they are.

    The variance of z has a part that seeds average out, seen in how much z differs between the study's seeds, and one
    that only other configurations reduce.

    Returns:
        None where the study has one seed, or no number of seeds up to 100 is enough.
    """
    frame = measured.pairs.frame
    seeds = sorted(frame["seed"].unique())
    if len(seeds) < 2:
        return None
    per_seed = [measured.pairs.where((frame["seed"] == seed).to_numpy()) for seed in seeds]
    slopes = [
        float(MEASURES["r2"].formula(pairs, np.ones((1, len(pairs.frame))), QualityOptions())[0]) for pairs in per_seed
    ]
    if not np.isfinite(slopes).all():
        return None
    estimate = measured.estimates["r2"]
    of_seeds = float(np.var(np.arctanh(np.clip(slopes, -0.999999, 0.999999)), ddof=1)) / len(seeds)
    whole = ((_z(estimate.high) - _z(estimate.low)) / (2 * Z)) ** 2
    wanted = ((_z(estimate.value) - _z(least)) / Z) ** 2
    rest = max(0.0, whole - of_seeds)
    if wanted <= rest or of_seeds == 0:
        return None
    count = max(math.ceil(len(seeds) * of_seeds / (wanted - rest)), len(seeds) + 1)
    return count if count <= 100 else None
