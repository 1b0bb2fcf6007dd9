"""How often do 95 % intervals hold the truth in studies like a real one? Studies simulated from its `runs.csv`.

Every simulated study has 36 configurations, drawn from the real ones by a kernel, with their own noise of the runs; see
`benchmarks.study_model`. Several ways to make an interval are tried on each (`benchmarks.interval_methods`), over
single runs and over means over the seeds:

- r2, Spearman of the good half and of all, Kendall's tau. The truth is the measure of 20,000 configurations of the same
  model, with noise.
- Regret, and its excess over that of full search, of the policies of `proxyflow.quality.policies`: train the best k by
  the proxy on the full data, take the best of these. The truth is the mean over other simulated studies of as many
  configurations and seeds. The upper end alone, which a verdict relies on, stands beside.
- Differences of r2, Spearman and tau between two proxies of like cost.
- Recommendations: whether the cheapest policy whose interval of excess ends within .5 points loses no more in truth
  (`recommendation_right`), of the studies that recommend one (`recommendation_made`).

`report` is the interval that the report gives. Designs are judged or tried: a level or a factor may be chosen by those
that are tried (one data set alone, a narrower kernel), and is reported by those that are judged. Coverage is the share
of studies and strategies whose interval holds the truth; `lowest` is that of the strategy with the lowest.

What a search says of its own certainty is compared with the truth by `benchmarks.search_coverage`.

    python -m benchmarks.coverage [--study RUNS.csv] [--quick] [--json PATH]
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from benchmarks import interval_methods as methods
from benchmarks.bench import parse_options, write_json
from benchmarks.interval_methods import Interval, Sampled
from benchmarks.study_model import StudyModel, fit
from proxyflow.core.seeds import generator
from proxyflow.quality import measures
from proxyflow.quality.measures import Floats, Good, Values
from proxyflow.quality.policies import loss_interval
from proxyflow.quality.searches import Searches
from proxyflow.quality.strategy_measures import MEASURES

STUDY = Path(__file__).parents[1] / "reports" / "clothes-and-digits" / "runs.csv"
CONFIGURATIONS = 36
# From cheap to expensive, in pairs of like cost.
STRATEGIES = ("epochs:1", "random:0.1", "easiest:0.25", "random:0.25", "half-classes:1.0", "epochs:10", "random:0.5")
COMPARED = (("easiest:0.25", "random:0.25"), ("half-classes:1.0", "random:0.5"), ("epochs:10", "random:0.5"))
FINALISTS = (1, 2, 3, 5, 8)
POINTS = 100.0  # in 1
# Configurations of smaller studies, by which the least is chosen that a verdict takes.
FEW = (8, 16, 24)
EXCESSES = tuple(f"excess_{k}" for k in FINALISTS)
TOLERANCE = 0.5  # points, the verdict's
TRUTH_FROM, TAU_FROM = 20_000, 2_000
# Orders of configurations that tie, over which the value of a regret is a mean.
ORDERS = 50
# Samples of the methods that simulate studies instead of weighing configurations, which take longer.
SIMULATED = 300
JOBS = 2
CORRELATIONS = ("r2", "spearman", "spearman_all", "kendall")
UNITS = {"": False, "_of_means": True}
HELD, TOO_HIGH, TOO_LOW = range(3)


@dataclass(frozen=True)
class Design:
    """What is simulated.

    Attributes:
        name: ends its keys.
        seeds: of a study.
        change: of the model that was fitted to the study.
        judged: whether it enters the figures that are reported, see the module's docstring.
        configurations: of a study.
    """

    name: str
    seeds: int
    change: Callable[[StudyModel], StudyModel] = lambda model: model
    judged: bool = True
    configurations: int = CONFIGURATIONS


def designs(model: StudyModel) -> Iterator[Design]:
    yield Design("1_seed", 1)
    yield Design("3_seeds", 3)
    yield Design("3_seeds_own_images", 3, lambda model: replace(model, own_images=True))
    for name in model.datasets if len(model.datasets) > 1 else ():
        yield Design(f"3_seeds_{name}", 3, partial(StudyModel.only, datasets=(name,)), judged=False)
    for few in FEW:
        for seeds in (1, 3):
            name = f"{seeds}_seed{'s' if seeds > 1 else ''}_{few}_configurations"
            yield Design(name, seeds, judged=False, configurations=few)
    yield Design("3_seeds_narrow_kernel", 3, lambda model: replace(model, kernel=model.kernel / 2), judged=False)


@dataclass(frozen=True, eq=False)
class Simulated:
    """One simulated study: accuracies `(datasets, strategies, configurations, seeds)`, the target first."""

    accuracy: Floats

    @property
    def of_means(self) -> Simulated:
        # Means of the same accuracies tie, whatever the last digits of their floats are.
        return Simulated(self.accuracy.mean(axis=3, keepdims=True).round(12))

    def pairs(self, strategy: int) -> tuple[Values, np.ndarray]:
        """A strategy's pairs, and the configuration of each."""
        datasets, _, count, seeds = self.accuracy.shape
        strata, contests, cluster = methods.strata_of(datasets, count, seeds)
        sides = (self.accuracy[:, side].ravel() for side in (strategy, 0))
        return Values(*sides, strata, contests), cluster

    def searches(self, strategy: int, weights: Floats, rng: np.random.Generator) -> Searches:
        """The searches of a strategy, judged by the other seeds, or by the same run where there is one seed.

        Args:
            weights: `(samples, configurations)`.
        """
        pairs, cluster = self.pairs(strategy)
        datasets, _, _, seeds = self.accuracy.shape
        target = self.accuracy[:, 0]
        truth = (target.sum(axis=2, keepdims=True) - target) / (seeds - 1) if seeds > 1 else target
        frame = pd.DataFrame(
            {
                "dataset": np.repeat(np.arange(datasets), len(cluster) // datasets),
                "value_proxy": pairs.proxy,
                "value_target": pairs.target,
                "truth": truth.ravel().round(12),
            }
        )
        w = weights[:, cluster]
        return Searches(frame, list(pairs.contests), w, rng.random(w.shape), rng.random(w.shape))


def formula(name: str, pairs: Values, weights: Floats) -> Floats:
    """The measure, of r2 the correlation with its sign."""
    if name == "r2":
        return measures.slope(pairs, weights)
    if name == "kendall":
        return measures.kendall(pairs, weights)
    return measures.spearman(pairs, weights, Good(1.0) if name == "spearman_all" else Good())


def regrets(searches: Searches) -> Iterator[tuple[str, Floats]]:
    """Regret and excess of every policy in points, by name."""
    full = searches.regret_of_full()
    # As the report does, at most half of the configurations.
    finalists = tuple(k for k in FINALISTS if k <= searches.weights[0].sum() / len(searches.contests) / 2)
    for k, lost in searches.regret_of_proxy(finalists).items():
        yield f"regret_{k}", POINTS * lost
        yield f"excess_{k}", POINTS * (lost - full)


def truths(model: StudyModel, design: Design, strategies: list[int], studies: int) -> dict[tuple[str, int], float]:
    """The true value of every measure of every strategy, by its name and the strategy's number."""
    rng = generator(0, "truth", design.name)
    accuracy, _ = model.draw(TRUTH_FROM, design.seeds, rng)
    found = {}
    for suffix, of_means in UNITS.items():
        whole = Simulated(accuracy).of_means if of_means else Simulated(accuracy[..., :1])
        few = Simulated(whole.accuracy[:, :, :TAU_FROM])
        for number in strategies:
            for name in CORRELATIONS:
                # Tau takes a matrix of all comparisons.
                pairs, _ = (few if name == "kendall" else whole).pairs(number)
                found[f"{name}{suffix}", number] = float(formula(name, pairs, np.ones((1, len(pairs))))[0])
    parts = Parallel(n_jobs=JOBS)(delayed(_regrets_of)(model, design, strategies, part, studies) for part in range(20))
    for key in parts[0]:
        found[key] = float(np.mean([part[key] for part in parts]))
    return found


def _regrets_of(
    model: StudyModel, design: Design, strategies: list[int], part: int, studies: int
) -> dict[tuple[str, int], float]:
    rng = generator(1, "truth", design.name, str(part))
    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(studies // 20):
        study = Simulated(model.draw(design.configurations, design.seeds, rng)[0])
        for number in strategies:
            for name, value in regrets(study.searches(number, np.ones((1, design.configurations)), rng)):
                values[name, number].append(float(value[0]))
    return {key: float(np.mean(each)) for key, each in values.items()}


def sampled_measures(study: Simulated, number: int, weights: Floats, rng: np.random.Generator) -> dict[str, Sampled]:
    """Every measure of one strategy, with its samples."""
    count = study.accuracy.shape[2]
    found = {}
    for suffix, of_means in UNITS.items():
        if of_means and study.accuracy.shape[3] == 1:
            continue
        one = study.of_means if of_means else study
        pairs, cluster = one.pairs(number)
        for name in CORRELATIONS:
            raw = formula(name, pairs, weights[:, cluster])
            if name != "r2":
                found[f"{name}{suffix}"] = methods.sampled(raw, count)
                continue
            errors = methods.standard_errors(pairs, cluster, weights)
            sides = one.accuracy[:, [number, 0]]
            others = {each.__name__: each(sides, SIMULATED, rng) for each in (methods.smoothed, methods.multilevel)}
            found[f"{name}{suffix}"] = methods.sampled(raw, count, errors, **others)
    as_is = dict(regrets(study.searches(number, np.ones((ORDERS, count)), rng)))
    for name, raw in regrets(study.searches(number, weights, rng)):
        found[name] = methods.sampled(np.concatenate([as_is[name].mean(keepdims=True), raw[1:]]), count)
    return found


def difference(one: Sampled, other: Sampled, name: str) -> Sampled:
    """The difference of two strategies on the same samples; of r2 with the sign of the correlation."""
    signed = MEASURES["r2" if name.startswith("r2") else "spearman"].signed
    sides = ((signed(np.array(each.value)), signed(each.without), signed(each.samples)) for each in (one, other))
    value, without, samples = (left - right for left, right in zip(*sides, strict=True))
    return Sampled(float(value), without, samples)


def reported(name: str, of: Sampled) -> Interval:
    """The interval that the report gives."""
    if name.startswith("difference_"):
        measure = name.removeprefix("difference_").removesuffix("_of_means")
        return MEASURES[measure].difference(of.samples, of.value)
    if name.startswith(("regret_", "excess_")):
        lowest = 0.0 if name.startswith("regret_") else -np.inf
        return loss_interval(of.samples, of.value, int(name.split("_")[1]), lowest)
    return MEASURES[name.removesuffix("_of_means")].interval(of.samples, of.value, of.without)


Outcome = tuple[str, str, str, tuple[bool, bool, bool]]


def outcomes(
    model: StudyModel, design: Design, numbers: dict[str, int], truth: dict[tuple[str, int], float], study: int,
    samples: int,
) -> list[Outcome]:  # fmt: skip
    """What every method's interval of every measure does on one simulated study.

    Returns:
        QualityMeasure, strategy, method, and whether the interval holds the truth, is too high, is too low.
    """
    rng = generator(2, design.name, str(study))
    simulated = Simulated(model.draw(design.configurations, design.seeds, rng)[0])
    weights = methods.weights(design.configurations, samples, rng)
    of_strategy = {name: sampled_measures(simulated, number, weights, rng) for name, number in numbers.items()}
    found: list[Outcome] = []
    for strategy, measured in of_strategy.items():
        for name, each in measured.items():
            found += _tried(name, strategy, each, truth[name, numbers[strategy]])
    for one, other in COMPARED:
        if one in numbers and other in numbers:
            for name in of_strategy[one]:
                if name.startswith(CORRELATIONS):
                    each = difference(of_strategy[one][name], of_strategy[other][name], name)
                    values = (truth[name, numbers[side]] for side in (one, other))
                    signed = MEASURES["r2" if name.startswith("r2") else "spearman"].signed
                    left, right = (float(signed(np.array(value))) for value in values)
                    found += _tried(f"difference_{name}", f"{one} and {other}", each, left - right)
    costs = {name: float(model.costs[number]) for name, number in numbers.items()}
    by_name = {
        (name, strategy): truth[name, number]
        for strategy, number in numbers.items()
        for name in EXCESSES
        if (name, number) in truth
    }
    return [*found, *recommendation(of_strategy, costs, by_name, design.configurations)]


def recommendation(
    of_strategy: dict[str, dict[str, Sampled]],
    costs: dict[str, float],
    truth: dict[tuple[str, str], float],
    configurations: int,
) -> Iterator[Outcome]:
    """Whether a policy is recommended, and whether it loses no more than the tolerance in truth.

    As the verdict does it where single runs are too noisy to judge by regret itself: the cheapest policy whose interval
    of excess ends within the tolerance, of all strategies and numbers of finalists.

    Args:
        truth: by the name of the measure and the strategy.
    """
    found = []
    for strategy, measured in of_strategy.items():
        for k in FINALISTS:
            name = f"excess_{k}"
            if (name, strategy) not in truth:
                continue
            if reported(name, measured[name])[1] <= TOLERANCE:
                found.append((configurations * costs[strategy] + k, truth[name, strategy]))
    yield "recommendation_made", "any", "report", (bool(found), False, not found)
    if found:
        right = min(found)[1] <= TOLERANCE
        yield "recommendation_right", "any", "report", (right, False, not right)


def _tried(name: str, strategy: str, of: Sampled, truth: float) -> Iterator[Outcome]:
    if not np.isfinite(of.value):
        return
    table = methods.OF_ANY if of.errors is None else methods.OF_CORRELATION
    for method, interval in ({"report": partial(reported, name)} | table).items():
        low, high = interval(of)
        # Regrets are multiples of 1 image in the number of them, up to the last digits of sums.
        above, below = low > truth + 1e-9, high < truth - 1e-9
        yield name, strategy, method, (not (above or below), bool(above), bool(below))


def summarise(found: list[Outcome], design: str, figures: dict[str, float]) -> None:
    """Adds a design's coverage to the figures, and prints it."""
    table = pd.DataFrame(
        [(name, strategy, method, *hits) for name, strategy, method, hits in found],
        columns=["measure", "strategy", "method", "held", "too_high", "too_low"],
    )
    by_strategy = table.groupby(["measure", "method", "strategy"], sort=False).mean()
    overall = by_strategy.groupby(["measure", "method"], sort=False)
    means, lowest = overall.mean(), overall.min()
    print(f"\n{design}\n{'measure':<36} {'method':<22} {'held':>6} {'lowest':>7} {'too high':>9} {'too low':>8}")
    for (name, method), row in means.iterrows():
        key = f"coverage_{name}_{design}_{method}"
        least = float(lowest.loc[(name, method), "held"])
        figures |= {
            key: float(row["held"]),
            f"{key}_lowest": least,
            f"{key}_too_high": row["too_high"],
            f"{key}_too_low": row["too_low"],
        }
        print(
            f"{name:<36} {method:<22} {row['held']:>6.3f} {least:>7.3f} {row['too_high']:>9.3f} {row['too_low']:>8.3f}"
        )
    for (name, method, strategy), row in by_strategy.iterrows():
        if method == "report":
            figures[f"coverage_{name}_{design}_report, {strategy}"] = row["held"]
            figures[f"coverage_{name}_{design}_report, {strategy}, upper end"] = 1 - row["too_low"]


def totals(figures: dict[str, float], judged: list[Design]) -> dict[str, float]:
    """The report's intervals over all judged designs."""
    found = {}
    for total, names in {
        "r2": ["r2", "r2_of_means"],
        "spearman": ["spearman", "spearman_of_means"],
        "spearman_all": ["spearman_all", "spearman_all_of_means"],
        "kendall": ["kendall", "kendall_of_means"],
        "regret": [f"regret_{k}" for k in FINALISTS],
        "excess": list(EXCESSES),
        "recommendation": ["recommendation_right"],
        **{f"difference_{name}": [f"difference_{name}", f"difference_{name}_of_means"] for name in CORRELATIONS},
    }.items():
        keys = [f"coverage_{name}_{design.name}_report" for design in judged for name in names]
        known = [key for key in keys if key in figures]
        if not known:
            continue
        found[f"coverage_{total}_from_study"] = float(np.mean([figures[key] for key in known]))
        found[f"coverage_{total}_from_study_upper_end"] = 1 - float(
            np.mean([figures[f"{key}_too_low"] for key in known])
        )
    return found


def main() -> None:
    options = parse_options(__doc__, study="")
    model = fit(Path(options.study or STUDY))
    chosen = [name for name in STRATEGIES if name in model.strategies] or list(model.strategies[1:6])
    studies, samples, of_truth = 120, 1000, 1000
    every = list(designs(model))
    if options.quick:
        studies, samples, of_truth = 20, 300, 100
        every = every[:2]
        chosen = chosen[2:4]
    numbers = {name: model.strategies.index(name) for name in chosen}
    figures: dict[str, float] = {"studies": studies, "bootstrap_samples": samples, "configurations": CONFIGURATIONS}
    total: dict[str, float] = {}
    for design in every:
        began, changed = monotonic(), design.change(model)
        truth = truths(changed, design, list(numbers.values()), of_truth)
        count = studies if design.judged and not changed.own_images else studies // 2
        found = Parallel(n_jobs=JOBS)(
            delayed(outcomes)(changed, design, numbers, truth, study, samples) for study in range(count)
        )
        summarise([each for part in found for each in part], design.name, figures)
        for (name, number), value in truth.items():
            figures[f"truth_{name}_{design.name}, {model.strategies[number]}"] = value
        print(f"{count} studies in {monotonic() - began:.0f} s", flush=True)
        # Of what is done already something is kept where a long run is interrupted.
        total = totals(figures, [each for each in every if each.judged])
        write_json(options.json, {}, total | figures)
    print()
    for key, value in total.items():
        print(f"{key:<54} {value:.3f}")


if __name__ == "__main__":
    main()
