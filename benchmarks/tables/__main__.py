"""What the committed lookup tables hold, and whether it is what was planned.

    python -m benchmarks.tables --check

Per table: configurations, proxies, seeds; trainings that were planned and are missing; the spread of the target's
values over configurations (the points between quartiles, at least 5 wanted) and its agreement between seeds (rank
correlation of two seeds, of all configurations and of the better half). The exit status is 1 if a training is missing
or a spread too small.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.stats import spearmanr

from proxyflow.core.errors import UserError
from proxyflow.proxies import parse_proxy
from proxyflow.quality.runs import TARGET
from proxyflow.tables import REPORTS, RUNS, LookupTable, load

LEAST_SPREAD = 5.0  # points between the quartiles of the target
PLANS = ("study.yaml", "target.yaml")


@dataclass(frozen=True)
class Check:
    """What one table holds.

    Attributes:
        name: of the table.
        configurations, proxies: their numbers, the target included.
        seeds: of the proxies and of the target.
        trainings, missing, diverged, unranked: numbers of trainings.
        quartiles: of the target's means over seeds, in points or units of the metric.
        agreement, better_half: mean rank correlation of two seeds.
    """

    name: str
    configurations: int
    proxies: int
    seeds: str
    trainings: int
    missing: int
    diverged: int
    unranked: int
    quartiles: tuple[float, float]
    agreement: float
    better_half: float

    @property
    def spread(self) -> float:
        return abs(self.quartiles[1] - self.quartiles[0])

    @property
    def passed(self) -> bool:
        return self.missing == 0 and self.spread >= LEAST_SPREAD


def planned(folder: Path) -> Iterator[tuple[str, int]]:
    """The proxies and seeds that the study files ask for, also those beside `PLANS`."""
    for path in sorted(folder.glob("*.yaml")):
        plan = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(plan, dict) or "strategies" not in plan:
            continue  # a grid or a space
        for proxy in plan["strategies"]:
            for seed in plan["seeds"]:
                yield parse_proxy(proxy).canonical, seed


def target_of(table: LookupTable) -> NDArray[np.float64]:
    """`(configurations, seeds)` values of the target, turned so that more is better; nan where one is missing."""
    sign = table.metric.sign * table.metric.scale
    return np.array(
        [
            [sign * table.value(c, seed=s) if table.is_trained(c, seed=s) else np.nan for s in table.seeds[TARGET]]
            for c in range(len(table))
        ]
    )


def agreement_of(values: NDArray[np.float64]) -> float:
    """Mean rank correlation of two columns."""
    pairs = combinations(range(values.shape[1]), 2)
    return float(np.mean([spearmanr(values[:, a], values[:, b], nan_policy="omit").statistic for a, b in pairs]))


def check(folder: Path) -> Check:
    table = load(folder)
    cells = set(planned(folder))
    missing = sum(
        proxy not in table.seeds or not table.is_trained(c, proxy, seed)
        for proxy, seed in cells
        for c in range(len(table))
    )
    values = target_of(table)
    means = np.nanmean(values, axis=1)
    low, high = np.quantile(means, [0.25, 0.75])
    better = values[means >= np.median(means)]
    of_proxies = {len(seeds) for proxy, seeds in table.seeds.items() if proxy != TARGET}
    return Check(
        name=table.name,
        configurations=len(table),
        proxies=len(table.proxies),
        seeds=f"{'-'.join(map(str, sorted(of_proxies)))} + {len(table.seeds[TARGET])}",
        trainings=len(table.runs),
        missing=missing,
        diverged=int(table.runs["diverged"].sum()),
        unranked=int(table.runs["unranked"].fillna(value=False).astype(bool).sum()),
        quartiles=(float(low), float(high)),
        agreement=agreement_of(values),
        better_half=agreement_of(better),
    )


HEADS = ("table", "configurations", "proxies", "seeds", "trainings", "missing", "diverged", "unranked")
HEADS_OF_TARGET = ("quartiles of the target", "points", "seeds' Spearman", "better half")


def row_of(each: Check) -> tuple[str, ...]:
    return (
        *(each.name, str(each.configurations), str(each.proxies), each.seeds, f"{each.trainings:,}"),
        *(str(each.missing), str(each.diverged), str(each.unranked)),
        *(f"{each.quartiles[0]:.1f} to {each.quartiles[1]:.1f}", f"{each.spread:.1f}"),
        *(f"{each.agreement:.2f}", f"{each.better_half:.2f}"),
    )


def tables_at(folder: Path) -> list[Path]:
    """Folders with a plan of a table and trainings."""
    return sorted(
        path.parent for path in folder.glob(f"*/{RUNS}") if all((path.parent / name).is_file() for name in PLANS)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="folders of tables; without any, those below reports/")
    parser.add_argument("--check", action="store_true", help="print what the tables hold (the only action)")
    args = parser.parse_args()
    try:
        checks = [check(folder) for folder in args.folders or tables_at(REPORTS)]
    except (UserError, OSError) as error:
        parser.error(str(error))
    rows = [(*HEADS, *HEADS_OF_TARGET), *map(row_of, checks)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0 if checks and all(each.passed for each in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
