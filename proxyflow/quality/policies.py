"""What a search with a proxy loses and costs, replayed on the study and compared with full search and random search.

A policy ranks all configurations by the proxy, trains the best k of them on the full data, and takes the best of these.
Each data set and seed of the study is one such search, judged as `truth` describes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from proxyflow.core.seeds import generator
from proxyflow.quality.bootstrap import Draws, Estimate, percentile, rounded, stretched
from proxyflow.quality.measures import MIN_PAIRS, Floats
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import PAIR, Pairs, positions
from proxyflow.quality.runs import TARGET
from proxyflow.quality.searches import DIGITS, Searches
from proxyflow.quality.truth import NEARLY_ALL, true_values

PROXY, RANDOM_SEARCH, FULL_SEARCH = "proxy", "random search", "full search"
# How many of the proxy's best are trained on the full data: at most half of them, since more is hardly a saving.
FINALISTS = (1, 2, 3, 5, 8, 12, 18, 27, 40, 60)
# Orders of configurations that tie, over which a value is a mean.
ORDERS = 200
POLICY_COLUMNS = [
    "policy",
    "strategy",
    "k",
    "cost",
    "cost_low",
    "cost_high",
    "steps",
    "regret",
    "regret_low",
    "regret_high",
    "excess",
    "excess_low",
    "excess_high",
    "random_regret",
    "random_low",
    "random_high",
    "better_than_random",
    "n_configurations",
    "n_searches",
    "judged_by",
]


@dataclass(frozen=True, eq=False)
class Policy:
    """One policy on a study.

    Attributes:
        kind: `PROXY`, `RANDOM_SEARCH` or `FULL_SEARCH`.
        strategy: the proxy's, empty for the other kinds.
        k: configurations that are trained on the full data.
        cost: in full trainings, the choice of the proxy's examples included where its cost is known; nan where that of
            a training is not.
        regret: the best configuration's true value minus that of the chosen one, see `Objective.loss`.
        excess: regret minus that of full search.
        random: regret of random search at equal cost; nan where the cost is not known.
        better_than_random: share of the bootstrap samples in which it loses less, ties counted half.
        choice_known: whether the cost includes what choosing the proxy's examples took.
        samples, excess_samples: `(samples,) float64`, regret and excess in each bootstrap sample; empty without a
            bootstrap.
    """

    kind: str
    strategy: str
    k: int
    cost: Estimate
    regret: Estimate
    excess: Estimate
    random: Estimate
    better_than_random: float
    samples: Floats
    excess_samples: Floats
    choice_known: bool = True


@dataclass(frozen=True, eq=False)
class Replay:
    """All policies on a study.

    Attributes:
        policies: full search first, then random search, then those with proxies.
        n_configurations: of a search, the mean over the searches.
        fewest: configurations of the smallest search.
        n_searches: data sets and seeds.
        judged_by: see `truth.true_values`.
        left_out: proxies that lack configurations or searches of the target, so that their policies are not comparable.
        steps: strategy to the median optimizer steps of its trainings, for the table.
    """

    policies: tuple[Policy, ...]
    n_configurations: float
    n_searches: int
    judged_by: str
    fewest: int = 0
    left_out: tuple[str, ...] = ()
    steps: Mapping[str, float] = field(default_factory=dict)

    @property
    def full(self) -> Policy | None:
        """Full search, None where nothing can be replayed."""
        return next((policy for policy in self.policies if policy.kind == FULL_SEARCH), None)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per policy, columns `POLICY_COLUMNS`; `steps` are those of the trainings that it ranks by."""
        rows = [
            (
                *(each.kind, each.strategy, each.k),
                *(*each.cost.cells, self.steps.get(each.strategy or TARGET, math.nan)),
                *(*each.regret.cells, *each.excess.cells, *each.random.cells),
                *(each.better_than_random, self.n_configurations, self.n_searches, self.judged_by),
            )
            for each in self.policies
        ]
        return pd.DataFrame(rows, columns=POLICY_COLUMNS)


def replay(pairs: Mapping[str, Pairs], target: pd.DataFrame, draws: Draws | None, options: QualityOptions) -> Replay:
    """Replays every policy on a study.

    Args:
        pairs: strategy to its pairs, the target's included.
        target: the target's runs, see `truth.true_values`.
        draws: bootstrap samples, None for no intervals.
        options: the unit of cost, which is one of `pairs.COSTS` and not `auto`, and of regret.
    """
    truth, judged_by = true_values(target)
    frames = {name: each.frame.merge(truth, on=PAIR, how="inner") for name, each in pairs.items()}
    own = frames.pop(TARGET, None)
    if own is None or not _enough(own):
        return Replay((), math.nan, 0, judged_by)
    own = _searched(own, list(frames.values()))
    searches = _searches(own, draws)
    size, count = float(searches[0].size.mean()), len(searches[0].contests)
    full = _both(each.regret_of_full() for each in searches)
    known = Estimate(size, size, size) if draws is not None else Estimate(size)
    nothing = (np.full(1, np.nan), np.zeros(0))
    scale = options.objective.loss
    policies = [_policy(FULL_SEARCH, "", round(size), known, full, full, nothing, scale)]
    sizes = own.groupby(["dataset", "seed"]).size()
    finalists = tuple(k for k in FINALISTS if k <= sizes.min() / 2)
    for k in finalists:
        lost = _both(each.regret_of_random(k) for each in searches)
        cost = Estimate(float(k), float(k), float(k)) if draws is not None else Estimate(float(k))
        policies.append(_policy(RANDOM_SEARCH, "", k, cost, lost, full, lost, scale))
    left_out = []
    for name, frame in frames.items():
        found = frame.groupby(["dataset", "seed"]).size().reindex(sizes.index, fill_value=0)
        if (found >= NEARLY_ALL * sizes).all():
            policies += _of_proxy(name, frame, searches, finalists, draws, options)
        else:
            left_out.append(name)
    return Replay(tuple(policies), size, count, judged_by, int(sizes.min()), tuple(left_out))


def _searched(own: pd.DataFrame, proxies: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The target's pairs without those of seeds that no proxy has on a data set: these only judge."""
    keys = ["dataset", "seed"]
    found = pd.concat([each[keys] for each in proxies], ignore_index=True) if proxies else own[keys]
    kept = own.merge(found.drop_duplicates(), on=keys, how="inner")
    whole = own[~own["dataset"].isin(kept["dataset"])]
    return pd.concat([kept, whole], ignore_index=True) if len(whole) else kept


def _enough(frame: pd.DataFrame) -> bool:
    """Whether the searches have configurations to choose from."""
    return len(frame) > 0 and float(frame.groupby(["dataset", "seed"]).size().mean()) >= MIN_PAIRS


Both = tuple[Floats, Floats]


def _of_proxy(
    name: str,
    frame: pd.DataFrame,
    of_target: tuple[Searches, Searches],
    finalists: tuple[int, ...],
    draws: Draws | None,
    options: QualityOptions,
) -> Iterator[Policy]:
    """The policies of one proxy, compared with full and random search on the configurations that the proxy has."""
    searches = _searches(frame, draws)
    compared = of_target if frame[PAIR].equals(of_target[0].frame[PAIR]) else searches
    full = _both(each.regret_of_full() for each in compared)
    lost = [each.regret_of_proxy(finalists) for each in searches]
    ranking = _both(each.cost_of_proxy(options.cost_basis) for each in searches)
    scale = options.objective.loss
    for k in finalists:
        cost = (ranking[0] + k, ranking[1] + k)
        at_equal_cost = float(cost[0].mean())
        nothing = (np.full(1, np.nan), np.full(len(cost[1]), np.nan))
        random = nothing
        if math.isfinite(at_equal_cost):
            trained = max(1, min(math.floor(at_equal_cost + 1e-9), round(float(compared[0].size.mean()))))
            random = _both(each.regret_of_random(trained) for each in compared)
        policy = _policy(PROXY, name, k, _estimate(cost), (lost[0][k], lost[1][k]), full, random, scale)
        yield replace(policy, choice_known=bool(frame[f"selection_{options.cost_basis}"].notna().all()))


def _searches(frame: pd.DataFrame, draws: Draws | None) -> tuple[Searches, Searches]:
    """The searches as they are, repeated over orders of those that tie, and those of each bootstrap sample."""
    contests = positions(frame, ["dataset", "seed"])
    rng = generator(0, "ties")
    shape = (ORDERS, len(frame))
    sampled = np.zeros((0, len(frame))) if draws is None else draws.of(frame)
    return (
        Searches(frame, contests, np.ones(shape), rng.random(shape), rng.random(shape)),
        Searches(frame, contests, sampled, rng.random(sampled.shape), rng.random(sampled.shape)),
    )


def _both(values: Iterable[Floats]) -> Both:
    """Of the searches as they are and of those of each bootstrap sample."""
    as_is, samples = values
    return as_is, samples


def _estimate(both: Both) -> Estimate:
    value = float(both[0].mean())
    if not len(both[1]) or not math.isfinite(value):
        return Estimate(value)
    return Estimate(value, *percentile(both[1]), float(np.isnan(both[1]).mean()))


def loss_interval(samples: Floats, value: float, k: int, lowest: float = -math.inf) -> tuple[float, float]:
    """The interval of the regret of a policy with k finalists, or of its excess.

    With one finalist few different configurations are ever chosen, and percentiles cover the truth too rarely; with two
    or more they cover it often enough (benchmarks/coverage.py).

    Args:
        samples: `(samples,)`, of the bootstrap.
        k: finalists by a proxy, 0 where none are chosen so.
        lowest: the least value that there is.
    """
    return stretched(samples, value, lowest) if k == 1 else rounded(*percentile(samples), lowest)


def finalists_of(policy: Policy) -> int:
    """Configurations that a proxy chooses, 0 where none does.

    Random search draws its own, and its regret is a mean over all that it may draw.
    """
    return policy.k if policy.kind == PROXY else 0


def _loss(both: Both, k: int, lowest: float = -math.inf) -> Estimate:
    estimate = _estimate(both)
    if not math.isfinite(estimate.low):
        return estimate
    low, high = loss_interval(both[1], estimate.value, k, lowest)
    return replace(estimate, low=low, high=high)


def _policy(
    kind: str, strategy: str, k: int, cost: Estimate, lost: Both, full: Both, random: Both, scale: float
) -> Policy:
    """A policy, from losses that times `scale` are in the unit in which they are shown."""
    better = math.nan
    finalists = k if kind == PROXY else 0
    if kind == PROXY and np.isfinite(random[1]).any():
        margin = (random[1] - lost[1])[np.isfinite(random[1] - lost[1])]
        better = float(np.mean(margin > 0) + np.mean(margin == 0) / 2)
    # Rounding errors must not separate equal values.
    excess = _both(scale * np.round(one - other, DIGITS) for one, other in zip(lost, full, strict=True))
    lost, random = (_both(scale * each for each in both) for both in (lost, random))
    return Policy(
        kind,
        strategy,
        k,
        cost,
        _loss(lost, finalists, lowest=0.0),
        _loss(excess, finalists),
        _estimate(random) if kind == PROXY else Estimate(math.nan),
        better,
        lost[1],
        excess[1],
    )
