"""Whether a search knows how sure it is: its intervals and its stopping rule, over replays with a known truth.

    python -m benchmarks.search_coverage --tables reports/digits reports/sections --replicates 850 --jobs 2 --json OUT

The truth of a configuration on a proxy is the mean of its trainings in a lookup table (of log odds, where the metric is
a share). Each replay draws its seeds anew: the truth plus a difference between a training and that mean, drawn from
those of all configurations that are about as good, and made larger by sqrt(k / (k - 1)), as means of k seeds follow
their seeds. So what the search does not know is real, and what it should say is known:

- the interval of the value of the configuration that it returns, against the truth of that configuration,
- where it stops because the best is within the tolerance: whether it is.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from benchmarks.peers.blackbox import Floats
from benchmarks.search import PART, Case, check_least, searched
from proxyflow.core.errors import UserError
from proxyflow.core.seeds import generator
from proxyflow.searching.scales import Scale

TOLERANCE = 0.5
BUDGETS = (4.0, 8.0, 18.0)
ALIKE = 15  # configurations on each side, by value, whose seeds differ alike
SURE = "the best configuration is within the tolerance"


def simulated(case: Case, replicate: int) -> tuple[Case, Floats]:
    """A table whose seeds are drawn anew, and the truth of each configuration on the target."""
    box, rng = case.box, generator(replicate, "search coverage", "seeds")
    values = dict[str, Floats]()
    for proxy, known in box.values.items():
        sign = case.table.metric.sign
        scale = Scale.of(case.table.metric, sign * known.ravel())
        found = scale.forward(sign * known)
        mean, k = found.mean(axis=1), known.shape[1]
        if k == 1:  # nothing says how its seeds differ
            values[proxy] = known
            continue
        off = (found - mean[:, None]) * np.sqrt(k / (k - 1))
        place = np.argsort(np.argsort(mean, kind="stable"), kind="stable")
        ordered = off[np.argsort(mean, kind="stable")]
        rows = place[:, None] + rng.integers(-ALIKE, ALIKE + 1, known.shape)
        noise = ordered[np.clip(rows, 0, len(mean) - 1), rng.integers(0, k, known.shape)]
        noise *= rng.choice([-1.0, 1.0], known.shape)
        values[proxy] = sign * scale.back(mean[:, None] + noise)
        truth = sign * scale.back(mean)  # of the target, which is the last
    return replace(case, box=replace(box, values=values, judge=np.tile(truth[:, None], (1, 3)))), truth


def replay(asked: tuple[Case, int, float, int]) -> dict[str, Any]:
    """One search, and whether what it said is true."""
    case, replicate, budget, workers = asked
    world, truth = simulated(case, replicate)
    done = searched(world, replicate, budget, workers=workers, tolerance=TOLERANCE)
    chosen = done.order[done.knowledge.recommended]
    sign = case.table.metric.sign
    _, low, high = done.knowledge.value_of(done.knowledge.recommended)
    best = max(truth[number] for number in case.box.part_of(replicate, PART))
    within = 1 - done.knowledge.chance_of_better(done.knowledge.recommended, TOLERANCE)
    return {
        "table": case.box.table,
        "budget": budget,
        "covered": bool(low <= sign * truth[chosen] <= high),
        "below": bool(truth[chosen] < min(sign * low, sign * high)),
        "width": 100 * (high - low),
        "stopped": done.ended.reason == SURE,
        "right": bool(best - truth[chosen] <= TOLERANCE / 100),
        "said": within,
    }


def share(flags: Sequence[bool]) -> list[float]:
    """A share with its 95 % interval (Wilson 1927)."""
    if not flags:
        return [float("nan")] * 3
    ends = binomtest(sum(flags), len(flags)).proportion_ci(method="wilson")
    return [round(each, 4) for each in (sum(flags) / len(flags), ends.low, ends.high)]


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is covered, and how often stops are right."""
    stops = [each for each in rows if each["stopped"]]
    return {
        "n": len(rows),
        "interval_covers": share([each["covered"] for each in rows]),
        "truth_is_below": share([each["below"] for each in rows]),
        "median_width_in_points": round(float(np.median([each["width"] for each in rows])), 3),
        "stops": len(stops),
        "stops_that_are_wrong": share([not each["right"] for each in stops]),
        "said_to_be_within_the_tolerance": round(float(np.mean([each["said"] for each in rows])), 4),
        "within_the_tolerance": share([each["right"] for each in rows]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", type=Path, required=True, help="folders with runs.csv and curves.csv")
    parser.add_argument("--replicates", type=int, default=850, help="of each table and budget")
    parser.add_argument("--budgets", nargs="+", type=float, default=list(BUDGETS))
    parser.add_argument("--workers", type=int, default=1, help="trainings at a time of each search")
    parser.add_argument("--jobs", type=int, default=1, help="processes that replay")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rows", type=Path, default=Path(os.devnull), help="a file for a line of JSON for each replay")
    args = parser.parse_args()
    numbers = {name: (getattr(args, name), 1) for name in ("replicates", "workers", "jobs")}
    check_least(parser, **numbers, budgets=(min(args.budgets), 0.1))
    try:
        cases = [Case.of(folder, "flops") for folder in args.tables]
    except UserError as error:
        parser.error(str(error))
    asked = [
        (case, number, budget, args.workers)
        for number in range(args.replicates)
        for case in cases
        for budget in args.budgets
    ]
    rows = []
    with Pool(args.jobs) as pool, args.rows.open("w", encoding="utf-8") as file:
        for row in pool.imap(replay, asked, chunksize=4):
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
    found = {"all": summary(rows)}
    for case in cases:
        for budget in args.budgets:
            part = [each for each in rows if (each["table"], each["budget"]) == (case.box.table, budget)]
            found[f"{case.box.table}, budget {budget:g}"] = summary(part)
    text = json.dumps(found, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
