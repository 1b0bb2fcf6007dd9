"""What could a study decide? Simulated studies, drawn from the spread and the noise of a pilot's accuracies.

A simulated study has 36 configurations on each data set of the pilot. What the target's accuracies really are is drawn
from the pilot's configurations, with replacement; what a proxy's really are is drawn so that they explain as
much of it as the published table says of two strategies of like cost (Shleifer & Prokop 2019, table 2). Every proxy has
the spread and the noise of `random:0.1`, also where the question is of dearer ones, whose noise is likely less. Each
accuracy is then measured with noise, drawn from what the pilot's configurations (of the better or the worse half)
differ by between two seeds, on the target and on the proxy `random:0.1`, and rounded to 1 in 500.

Printed are, for one seed to three, over single runs and over means over the seeds, the share of studies in which the
interval of the difference of the two r2 lies above 0, and half the width of that interval and of the two strategies'
own.

    python -m benchmarks.power --pilot RUNS.csv [--quick] [--json PATH]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from benchmarks.bench import parse_options, write_json
from proxyflow.core.seeds import generator
from proxyflow.quality import bootstrap
from proxyflow.quality.measures import Floats
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import Pairs
from proxyflow.quality.runs import TARGET, select_runs
from proxyflow.quality.seeds import mean_over_seeds
from proxyflow.quality.strategy_measures import MEASURES, measure
from proxyflow.reporting.recorded import read_recorded

CONFIGURATIONS, SEEDS, VALID = 36, (1, 2, 3), 500
ENOUGH = 8  # configurations of a pilot
NOISY = "random:0.1"
HALF_WIDTHS = ("half_width_of_difference", "half_width", "half_width_of_other")
# Published r2 of strategies whose costs are alike.
QUESTIONS = {
    "easiest:0.1 and random:0.1": (0.81, 0.41),
    "easiest:0.5 and random:0.5": (0.96, 0.87),
    "easiest:0.5 and hardest:0.5": (0.96, 0.79),
    "random:0.25 and epochs of 25 %": (0.65, 0.64),
}


@dataclass(frozen=True, eq=False)
class Observed:
    """A strategy's accuracies in the pilot, on one data set.

    Attributes:
        mean: `(configurations,)`, over the seeds.
        noise: `(configurations,)`, standard deviation of one run between seeds.
        seeds: how many there are to a mean.
    """

    mean: Floats
    noise: Floats
    seeds: int

    @property
    def truth(self) -> Floats:
        """The means, shrunk to the spread that they would have without what is left of the noise."""
        noise, spread = float((self.noise**2).mean()) / self.seeds, float(self.mean.var())
        share = np.sqrt(max(0.0, 1 - noise / spread)) if spread else 0.0
        return np.asarray(self.mean.mean() + share * (self.mean - self.mean.mean()))

    @property
    def better(self) -> np.ndarray:
        """Which configurations are of the better half."""
        return np.asarray(self.mean >= np.median(self.mean))


def observed(runs: pd.DataFrame, dataset: str, strategy: str) -> Observed:
    rows = runs[(runs["dataset"] == dataset) & (runs["strategy"] == strategy)]
    table = rows.pivot(index="config", columns="seed", values="value").dropna()
    if len(table.columns) < 2 or len(table) < ENOUGH:
        raise SystemExit(f"the pilot needs {strategy} of {dataset}: {ENOUGH} configurations, two seeds or more")
    return Observed(table.mean(axis=1).to_numpy(), table.std(axis=1, ddof=1).to_numpy(), len(table.columns))


def measured(truth: Floats, pilot: Observed, seeds: int, rng: np.random.Generator) -> Floats:
    """Values as trainings would give them, `(configurations, seeds)`.

    Args:
        truth: `(configurations,)`.
    """
    better = truth >= np.median(truth)
    scale = np.where(better, *(rng.choice(pilot.noise[pilot.better == half], len(truth)) for half in (True, False)))
    noisy = truth[:, None] + scale[:, None] * rng.normal(size=(len(truth), seeds))
    return np.asarray(np.rint(np.clip(noisy, 0, 1) * VALID) / VALID)


def study(pilots: list[tuple[Observed, Observed]], r2s: tuple[float, ...], seeds: int, rng: np.random.Generator,
          name: str) -> list[Pairs]:  # fmt: skip
    """The pairs of each proxy of one simulated study."""
    frames: list[list[pd.DataFrame]] = [[] for _ in r2s]
    for number, (target, proxy) in enumerate(pilots):
        truth, own_truth = target.truth, proxy.truth
        quality = rng.choice(truth, CONFIGURATIONS) + 0.1 * truth.std() * rng.normal(size=CONFIGURATIONS)
        accuracies = measured(quality, target, seeds, rng)
        z = (quality - quality.mean()) / quality.std()
        for r2, into in zip(r2s, frames, strict=True):
            own = np.sqrt(r2) * z + np.sqrt(1 - r2) * rng.normal(size=CONFIGURATIONS)
            of_proxy = measured(own_truth.mean() + own_truth.std() * own, proxy, seeds, rng)
            rows, columns = np.indices(accuracies.shape)
            frame = pd.DataFrame(
                {
                    "config": rows.ravel(),
                    "seed": columns.ravel(),
                    "value_proxy": of_proxy.ravel(),
                    "value_target": accuracies.ravel(),
                }
            )
            into.append(frame.assign(dataset=f"{name} {number}", cluster=frame["config"] + CONFIGURATIONS * number))
    return [Pairs(pd.concat(parts, ignore_index=True), 0) for parts in frames]


def power(
    pilots: list[tuple[Observed, Observed]], question: str, seeds: int, means: bool, studies: int, samples: int
) -> dict[str, float]:
    """What so many simulated studies could tell of one question."""
    rng = generator(0, "power", question, seeds)
    found: list[dict[str, float]] = []
    for number in range(studies):
        sides = study(pilots, QUESTIONS[question], seeds, rng, f"study {number}")
        draws = bootstrap.draw(sides[0].frame.assign(strategy=TARGET), samples)
        both = [
            measure(mean_over_seeds(pairs) if means else pairs, draws, QualityOptions(), ("r2",)) for pairs in sides
        ]
        (one, left), (other, right) = (each.signed("r2") for each in both)
        low, high = MEASURES["r2"].difference(left - right, one - other)
        halves = [(each.estimates["r2"].high - each.estimates["r2"].low) / 2 for each in both]
        values = [each.estimates["r2"].value for each in both]
        found.append(
            {
                "decided": float(low > 0),
                "half_width_of_difference": (high - low) / 2,
                "half_width": float(halves[0]),
                "half_width_of_other": float(halves[1]),
                "r2": values[0],
                "r2_of_other": values[1],
            }
        )
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def main() -> None:
    options = parse_options(__doc__, pilot="")
    if not options.pilot:
        raise SystemExit("give --pilot RUNS.csv, which a report of the pilot wrote")
    studies, samples = (50, 200) if options.quick else (400, 500)
    runs = select_runs(read_recorded(Path(options.pilot))[0]).frame
    datasets = sorted(runs["dataset"].unique())
    pilots = [(observed(runs, dataset, TARGET), observed(runs, dataset, NOISY)) for dataset in datasets]
    for dataset, sides in zip(datasets, pilots, strict=True):
        for strategy, side in zip((TARGET, NOISY), sides, strict=True):
            print(
                f"{dataset:<20} {strategy:<12} {len(side.mean)} configurations: {side.mean.mean():.3f}, spread "
                f"{side.mean.std():.3f}; noise {np.sqrt((side.noise**2).mean()):.4f}, of the better half "
                f"{np.sqrt((side.noise[side.better] ** 2).mean()):.4f}"
            )
    cases = [(question, seeds, means) for question in QUESTIONS for seeds in SEEDS for means in (False, seeds > 1)]
    cases = list(dict.fromkeys(cases))
    found = Parallel(n_jobs=-1)(delayed(power)(pilots, *case, studies, samples) for case in cases)
    print(f"\n{'question':<32} seeds of     decided  half-width: difference, one, other   r2: one, other")
    figures: dict[str, float] = {"studies_of_each_case": studies, "bootstrap_samples": samples}
    for (question, seeds, means), each in zip(cases, found, strict=True):
        unit = "means" if means else "runs"
        widths = "".join(f"{each[name]:>9.2f}" for name in HALF_WIDTHS)
        case = f"{question:<32} {seeds:>5} {unit:<6}"
        print(f"{case} {each['decided']:>7.2f} {widths}  {each['r2']:>17.2f}{each['r2_of_other']:>9.2f}")
        figures |= {f"{name}, {question}, {seeds} seeds, {unit}": value for name, value in each.items()}
    write_json(options.json, {}, figures)


if __name__ == "__main__":
    main()
