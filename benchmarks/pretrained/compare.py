"""Compares what proxies are worth from pretrained and from random weights, see reports/pretrained/plan.md.

    python -m benchmarks.pretrained.compare

It answers the questions of the plan by its rules, from the committed trainings alone, and writes `quality.csv` (each
proxy from each kind of weights) and `contrasts.csv` (the differences that the questions ask for), and prints the tables
of README.md. `--out` writes elsewhere.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.pretrained.data import NONE, STUDIES
from benchmarks.tables.findings import MEASURES, correlations, interval, losses, values_of
from proxyflow.core.seeds import generator
from proxyflow.quality.runs import TARGET
from proxyflow.reporting.tables import with_interval as interval_text
from proxyflow.tables import REPORTS, LookupTable, load

Floats = NDArray[np.float64]
FOLDER = REPORTS / "pretrained"
SAMPLES = 4000
WEIGHTS = "weights"
EASIEST, RANDOM = "easiest:", "random:"


@dataclass(frozen=True, eq=False)
class Arm:
    """The trainings of a study from one kind of weights.

    Attributes:
        table: its trainings.
        configurations: what they are but for their weights, in this order.
        values: by proxy, `(configurations, seeds)` in the order of both arms, more is better.
        tested: `(configurations, seeds)`, the target's values on test examples.
    """

    table: LookupTable
    configurations: tuple[str, ...]
    values: Mapping[str, Floats]
    tested: Floats

    @property
    def proxies(self) -> tuple[str, ...]:
        """All but the target, the cheapest first."""
        return tuple(proxy for proxy in self.table.proxies if proxy != TARGET)


def arm_of(table: LookupTable) -> Arm:
    """An arm with its configurations in an order that does not depend on their weights."""
    kept = [
        json.dumps({k: v for k, v in each.items() if k != WEIGHTS}, sort_keys=True) for each in table.configurations
    ]
    order = sorted(range(len(table)), key=kept.__getitem__)
    values = {proxy: values_of(table, proxy)[order] for proxy in table.proxies}
    return Arm(table, tuple(kept[place] for place in order), values, values_of(table, TARGET, test=True)[order])


def places_of(study: str, n: int) -> NDArray[np.int64]:
    """`(1 + SAMPLES, n)` places: all configurations, then bootstrap samples of them, the same in both arms."""
    drawn = generator(0, "pretrained", study).integers(0, n, (SAMPLES, n))
    return np.concatenate([np.arange(n)[None], drawn])


def quality_of(arm: Arm, proxy: str, places: NDArray[np.int64]) -> dict[str, Floats]:
    """By measure `(1 + SAMPLES,)`: of all configurations, then of the samples."""
    x, y = (arm.values[name].mean(axis=1)[places] for name in (proxy, TARGET))
    return correlations(x, y)


def regret_of(arm: Arm, proxy: str, places: NDArray[np.int64]) -> Floats:
    """`(1 + SAMPLES,)` points that the proxy's first choice loses, chosen by one seed and judged by the others."""
    target, n = arm.values[TARGET], arm.values[proxy].shape[1]

    def judged(seed: int) -> Floats:
        truth = np.delete(arm.tested, seed, axis=1).mean(axis=1)
        return losses(arm.values[proxy][:, seed][places], target[:, seed][places], truth[places], 1)

    return np.asarray(np.mean([judged(seed) for seed in range(n)], axis=0))


def with_interval(samples: Floats) -> dict[str, float]:
    low, high = interval(samples[1:])
    return {"value": float(samples[0]), "low": low, "high": high}


def quality(studies: Mapping[str, Mapping[str, Arm]]) -> pd.DataFrame:
    """A row for each proxy and measure of each arm."""
    rows = []
    for study, arms in studies.items():
        for weights, arm in arms.items():
            runs, places = arm.table.runs, places_of(study, len(arm.table))
            of_target = runs[runs["strategy"] == TARGET]
            for proxy in arm.proxies:
                own = runs[runs["strategy"] == proxy]
                costs = {
                    "cost": own["train_flops"].mean() / of_target["train_flops"].mean(),
                    "steps": own["steps"].median(),
                }
                measured = quality_of(arm, proxy, places) | {"regret": regret_of(arm, proxy, places)}
                for measure, samples in measured.items():
                    named = {"study": study, "weights": weights, "proxy": proxy, "measure": measure}
                    rows.append(named | costs | with_interval(samples))
    return pd.DataFrame(rows)


def differences(
    random: Arm, pretrained: Arm, places: NDArray[np.int64], measure: str
) -> Iterator[tuple[int, str, Floats]]:
    """Question, what is told, and its value with its samples."""
    before, after = (
        {proxy: quality_of(arm, proxy, places)[measure] for proxy in arm.proxies} for arm in (random, pretrained)
    )
    pairs = [(proxy, proxy.replace(EASIEST, RANDOM)) for proxy in random.proxies if proxy.startswith(EASIEST)]
    for easiest, other in (pair for pair in pairs if pair[1] in random.proxies):
        gains = [found[easiest] - found[other] for found in (before, after)]
        yield 1, f"{easiest} less {other}, random weights", gains[0]
        yield 1, f"{easiest} less {other}, pretrained", gains[1]
        yield 1, f"{easiest} less {other}, pretrained less random weights", gains[1] - gains[0]
    raised = {proxy: after[proxy] - before[proxy] for proxy in random.proxies}
    for proxy, found in raised.items():
        yield 2, f"{proxy}, pretrained less random weights", found
    yield 2, "mean of all proxies, pretrained less random weights", np.mean(list(raised.values()), axis=0)
    one, other_target = (arm.values[TARGET].mean(axis=1)[places] for arm in (random, pretrained))
    yield 3, "targets of both weights", correlations(one, other_target)[measure]


def contrasts(studies: Mapping[str, Mapping[str, Arm]]) -> pd.DataFrame:
    """A row for each difference that a question asks for, and for what it is made of."""
    rows = []
    for study, arms in studies.items():
        pretrained = next(arm for weights, arm in arms.items() if weights != NONE)
        if arms[NONE].configurations != pretrained.configurations:
            raise SystemExit(f"{study}: its arms do not have the same configurations")
        places = places_of(study, len(pretrained.table))
        for measure in MEASURES:
            for question, what, samples in differences(arms[NONE], pretrained, places, measure):
                row = {"question": question, "study": study, "what": what, "measure": measure}
                row |= with_interval(samples)
                rows.append(row | {"shown": not row["low"] <= 0 <= row["high"]})
    return pd.DataFrame(rows)


def load_studies(folder: Path) -> dict[str, dict[str, Arm]]:
    """Both arms of each study that has its trainings there."""
    found = {}
    for study, (_, _, pretrained) in STUDIES.items():
        places = {weights: folder / f"{study}-{weights}" for weights in (NONE, pretrained)}
        if all((place / "runs.csv").is_file() for place in places.values()):
            found[study] = {weights: arm_of(load(place)) for weights, place in places.items()}
    return found


def told(row: pd.Series) -> str:
    """A value with its interval, as reports write it."""
    return interval_text(float(row["value"]), float(row["low"]), float(row["high"]))


def page_of(study: str, quality: pd.DataFrame, contrasts: pd.DataFrame) -> str:
    """The tables of a study in Markdown, which reports/pretrained/README.md has word by word."""
    own = quality[quality["study"] == study].set_index(["proxy", "weights", "measure"])
    asked = contrasts[contrasts["study"] == study].set_index(["what", "measure"])
    proxies = list(dict.fromkeys(own.index.get_level_values("proxy")))
    arms = list(dict.fromkeys(own.index.get_level_values("weights")))
    measures = {"spearman": "Spearman", "r2": "r2"}
    heads = [f"{text}, {weights}" for text in measures.values() for weights in (*arms, "difference")]
    lines = [f"| proxy | cost | steps | {' | '.join(heads)} | regret, {' | regret, '.join(arms)} |"]
    lines.append("| --- " * (3 + len(heads) + len(arms)) + "|")
    for proxy in proxies:
        first = own.loc[(proxy, NONE, "spearman")]
        cells = [f"`{proxy}`", f"{first['cost']:.2f}", f"{first['steps']:.0f}"]
        for measure in measures:
            cells += [told(own.loc[(proxy, weights, measure)]) for weights in arms]
            cells.append(told(asked.loc[(f"{proxy}, pretrained less random weights", measure)]))
        cells += [told(own.loc[(proxy, weights, "regret")]) for weights in arms]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| question | Spearman | r2 |", "| --- | --- | --- |"]
    for what in dict.fromkeys(asked.index.get_level_values("what")):
        if not what.startswith(tuple(f"{proxy}, " for proxy in proxies)):
            row = asked.loc[what]
            lines.append(f"| {row['question'].iloc[0]}: {what} | {' | '.join(told(row.loc[m]) for m in measures)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the studies")
    parser.add_argument("--out", type=Path, help="folder to write to; by default the folder of the studies")
    args = parser.parse_args()
    studies = load_studies(args.folder)
    out = args.out or args.folder
    out.mkdir(parents=True, exist_ok=True)
    found = {"quality": quality(studies), "contrasts": contrasts(studies)}
    for name, table in found.items():
        table.to_csv(out / f"{name}.csv", index=False, float_format="%.6g")
    for study in studies:
        print(study, page_of(study, **found), sep="\n\n", end="\n\n")


if __name__ == "__main__":
    main()
