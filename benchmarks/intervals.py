"""Do the report's 95 % intervals hold the truth in 95 % of studies? Simulated studies whose truth is known.

A study has 36 configurations on one data set (36 pairs) or on two (72 pairs), or 36 under two seeds (72 pairs of 36
configurations). Values of proxy and target are drawn with correlations from 0 to .97 and three shapes: normal;
skewed, as where a few configurations fail; and rounded to 1 in 500, as 500 validation images give them, so that
they tie. The truth is the measure of 400,000 configurations. Spearman is that of the best half by proxy accuracy.

It draws the two data sets independently of each other, and has no configuration that fails, so it cannot see what makes
intervals of real studies too narrow: `benchmarks.coverage` does.

Coverage is the share of studies whose interval holds the truth; a key has the mean over the shapes and correlations,
with the lowest and highest beside it. How the percentile interval of Spearman does stands beside, as it is not used.
Last, how often the interval of r2 is sure of too much in studies of a few configurations.

    python -m benchmarks.intervals [--quick] [--json PATH]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from benchmarks.bench import parse_options, write_json
from proxyflow.core.seeds import generator
from proxyflow.quality import bootstrap
from proxyflow.quality.measures import Floats
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import Pairs
from proxyflow.quality.runs import TARGET
from proxyflow.quality.strategy_measures import MEASURES, measure

CONFIGURATIONS = 36
SHAPES = ("normal", "skewed", "rounded")
CORRELATIONS = (0.0, 0.3, 0.6, 0.8, 0.9, 0.97)
MEASURED = ("r2", "spearman", "kendall")
TRUTH_FROM = 400_000
# Configurations of studies that are too small for a verdict, or just not.
FEW = (3, 4, 5, 6, 8, 12)
# Share of the noise that a second seed draws anew.
NOISE = 0.3


@dataclass(frozen=True)
class Design:
    """What a study consists of; `name` ends its keys."""

    name: str
    datasets: int = 1
    seeds: int = 1


DESIGNS = (Design("36"), Design("72", datasets=2), Design("36_of_2_seeds", seeds=2))


@dataclass(frozen=True)
class Case:
    design: Design
    shape: str
    correlation: float


def accuracies(case: Case, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Proxy and target accuracies of so many configurations, `(count, seeds)` each."""
    quality = rng.normal(size=(2, count))
    own = case.correlation * quality[0] + np.sqrt(1 - case.correlation**2) * quality[1]
    sides = []
    for side in (own, quality[0]):
        noise = rng.normal(size=(count, case.design.seeds))
        # Under one seed the noise is part of what is drawn anyway.
        mixed = side[:, None] if case.design.seeds == 1 else np.sqrt(1 - NOISE) * side[:, None] + np.sqrt(NOISE) * noise
        shaped = -np.exp(-0.8 * mixed) if case.shape == "skewed" else mixed
        accuracy = 0.85 + 0.03 * shaped
        sides.append(np.rint(500 * accuracy) / 500 if case.shape == "rounded" else accuracy)
    return sides[0], sides[1]


def study(case: Case, count: int, rng: np.random.Generator, name: str) -> Pairs:
    """The pairs of one simulated study."""
    frames = []
    for dataset in range(case.design.datasets):
        proxy, target = accuracies(case, count, rng)
        seeds = np.broadcast_to(np.arange(case.design.seeds), proxy.shape)
        config = np.broadcast_to(np.arange(count)[:, None], proxy.shape)
        columns = {"config": config, "seed": seeds, "value_proxy": proxy, "value_target": target}
        frame = pd.DataFrame({key: value.ravel() for key, value in columns.items()})
        frames.append(frame.assign(dataset=f"{name} {dataset}", cluster=frame["config"] + count * dataset))
    return Pairs(pd.concat(frames, ignore_index=True), 0)


def truth(case: Case) -> dict[str, float]:
    one = Case(Design("truth", seeds=case.design.seeds), case.shape, case.correlation)
    pairs = study(
        one, TRUTH_FROM // case.design.seeds, generator(0, "truth", case.shape, str(case.correlation)), "truth"
    )
    # A measure of pairs does not see which of them are of one configuration; tau takes a matrix of all comparisons.
    found = measure(pairs, None, QualityOptions(), ("r2", "spearman"))
    few = measure(study(one, 4000, generator(0, "tau"), "truth"), None, QualityOptions(), ("kendall",))
    return {name: each.value for name, each in (found.estimates | few.estimates).items()}


def coverage(case: Case, studies: int, samples: int) -> dict[str, float]:
    """Share of simulated studies whose interval holds the truth, by measure."""
    wanted = truth(case)
    hits = dict.fromkeys([*MEASURED, "spearman_percentile"], 0)
    rng = generator(1, case.design.name, case.shape, str(case.correlation))
    for number in range(studies):
        pairs = study(case, CONFIGURATIONS, rng, f"study {number}")
        draws = bootstrap.draw(pairs.frame.assign(strategy=TARGET), samples)
        found = measure(pairs, draws, QualityOptions(), MEASURED)
        for name in MEASURED:
            estimate = found.estimates[name]
            hits[name] += estimate.low <= wanted[name] <= estimate.high
        low, high = bootstrap.percentile(MEASURES["spearman"].value(found.samples["spearman"]))
        hits["spearman_percentile"] += low <= wanted["spearman"] <= high
    return {name: count / studies for name, count in hits.items()}


def sure_of_too_much(configurations: int, studies: int, samples: int) -> float:
    """Share of studies of so few configurations whose whole interval of r2 lies above .9, where the truth is .81."""
    case = Case(Design(str(configurations)), "rounded", 0.9)
    rng = generator(2, "few", configurations)
    hits = 0
    for number in range(studies):
        pairs = study(case, configurations, rng, f"study {number}")
        draws = bootstrap.draw(pairs.frame.assign(strategy=TARGET), samples)
        hits += measure(pairs, draws, QualityOptions(), ("r2",)).estimates["r2"].low > 0.9
    return hits / studies


def cases(quick: bool) -> Iterator[Case]:
    for design in DESIGNS:
        for shape in SHAPES[:: 2 if quick else 1]:
            for correlation in CORRELATIONS[1::3] if quick else CORRELATIONS:
                yield Case(design, shape, correlation)


def main() -> None:
    options = parse_options(__doc__)
    studies, samples = (150, 400) if options.quick else (400, 1000)
    all_cases = list(cases(options.quick))
    found = Parallel(n_jobs=-1)(delayed(coverage)(case, studies, samples) for case in all_cases)
    figures: dict[str, float] = {"studies_of_each_case": studies, "bootstrap_samples": samples}
    print(f"{'study':<16} {'shape':<8} {'correlation':>11} {'r2':>6} {'Spearman':>9} {'(percentile)':>12} {'tau':>6}")
    for case, each in zip(all_cases, found, strict=True):
        print(
            f"{case.design.name:<16} {case.shape:<8} {case.correlation:>11.2f} {each['r2']:>6.3f} "
            f"{each['spearman']:>9.3f} {each['spearman_percentile']:>12.3f} {each['kendall']:>6.3f}"
        )
    print()
    for design in DESIGNS:
        of_design = [each for case, each in zip(all_cases, found, strict=True) if case.design == design]
        for name in (*MEASURED, "spearman_percentile"):
            shares = [each[name] for each in of_design]
            key = f"coverage_{name}_{design.name}"
            figures |= {key: float(np.mean(shares)), f"{key}_lowest": min(shares), f"{key}_highest": max(shares)}
            print(f"{key:<44} {np.mean(shares):.3f}  ({min(shares):.3f} to {max(shares):.3f})")
    print()
    for count in FEW:
        figures[f"above_.9_of_{count}"] = share = sure_of_too_much(count, 10 * studies, samples)
        print(f"{count} configurations: the whole interval of r2 lies above .9 in {share:.1%}, where the truth is .81")
    write_json(options.json, {}, figures)


if __name__ == "__main__":
    main()
