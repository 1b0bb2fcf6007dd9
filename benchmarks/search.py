"""Our search and its peers, replayed on lookup tables at equal cost and judged by test values that none of them sees.

    python -m benchmarks.search --tables reports/digits reports/sections --peers optuna_tpe syne_tune_asha --out OUT

Every replicate of a search sees a random part of a table's configurations, with the default, and one or two of the
target's seeds; another seed judges it. Costs are in full trainings, by `--unit`. Searches that plan for their budget
(`screen`, `halving`) are replayed for each budget; the others once, and asked at each.

With `--memories` our search is also replayed with the memory of earlier studies on other tables: those of the same
trainer (related) and the others (unrelated). Each is a random part of its table, without the configurations that the
replicate may choose from, as an earlier study does not have the very candidates of the next.

It writes `traces.jsonl` (what each replicate recommended at what cost; a second run goes on from there), `regret.csv`
(regret of each search at each budget, by table and over tables) and `speedup.csv` (what our search pays for each other
search's regret). `--judge validation` judges by the examples that searches choose by, with a seed that they do not see:
what a search can find, without the luck that all replicates of a table share by its one test set. Peers run in
environments of their own, see benchmarks/peers.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from heapq import heappop, heappush
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.peers.__main__ import WITHOUT_RUNGS
from benchmarks.peers.blackbox import TARGET, Blackbox, BudgetSpent
from benchmarks.peers.export import box_of
from benchmarks.peers.launch import PEERS, CannotLaunch, launch
from benchmarks.peers.simple import halving, random_search, screen
from proxyflow.core.errors import UserError
from proxyflow.core.seeds import generator, stream_seed
from proxyflow.proxies import parse_proxy
from proxyflow.searching.decisions import Decision, decide
from proxyflow.searching.knowledge import FIRST, Knowledge, Observation, SearchPlan
from proxyflow.searching.ladder import Ladder, auto_ladder
from proxyflow.searching.memory import Memory
from proxyflow.tables import LookupTable, load

Floats = NDArray[np.float64]
BUDGETS = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 18.0)
PART = 0.7  # of the configurations, that a replicate may choose from
SAMPLES = 2000
OURS = "ours"
RELATED, UNRELATED = f"{OURS}, memory of related tables", f"{OURS}, memory of unrelated tables"
SMALL_BATCHES, BATCH_SIZE = "random:0.1+batch:16", 64
Trace = list[tuple[float, int]]


@dataclass(frozen=True, eq=False)
class Case:
    """A table to search on.

    Attributes:
        table: the table.
        box: the same for replays, its costs in the chosen unit.
        unranked: by proxy, `(configurations, seeds)`.
        related, unrelated: earlier studies, of the same trainer and of others.
    """

    table: LookupTable
    box: Blackbox
    unranked: Mapping[str, NDArray[np.bool_]]
    related: tuple[Memory, ...] = ()
    unrelated: tuple[Memory, ...] = ()

    @classmethod
    def of(cls, folder: Path, unit: str, judge: str = "test") -> Case:
        table = load(folder)
        box = box_of(table, unit)
        if judge == "validation":
            box = replace(box, judge=box.values[TARGET], judged_by=judge)
        runs = table.runs.set_index(["strategy", "configuration", "seed"])["unranked"].fillna(value=False).astype(bool)
        unranked = {
            proxy: np.array([[bool(runs[proxy, c, s]) for s in seeds] for c in range(len(box))])
            for proxy, seeds in box.seeds.items()
        }
        return cls(table, box, unranked)

    def remembering(self, others: Iterable[LookupTable]) -> Case:
        """The case with the memory of other tables."""
        memories: dict[bool, list[Memory]] = {True: [], False: []}
        own = set(self.table.runs["trainer"])
        for other in others:
            if other.name != self.table.name:
                memories[set(other.runs["trainer"]) == own].append(memory_of(other))
        return replace(self, related=tuple(memories[True]), unrelated=tuple(memories[False]))


def memory_of(table: LookupTable) -> Memory:
    """What a study of a whole table found on its target, as means over seeds."""
    of_target = table.runs[table.runs["strategy"] == TARGET].groupby("configuration")["objective"].mean()
    return Memory(table.name, table.configurations, tuple(of_target.sort_index().to_list()))


def remembered(memory: Memory, case: Case, replicate: int) -> Memory:
    """A part of a memory, as large as that of a table which a replicate may not choose from, and without the rest."""
    chosen = [case.table.configurations[c] for c in case.box.part_of(replicate, PART)]
    others = [place for place, each in enumerate(memory.configurations) if each not in chosen]
    drawn = generator(replicate, "search benchmark", "memory", memory.name).permutation(others)
    places = drawn[: len(case.box) - len(chosen)].tolist()
    found = ((memory.configurations[place], memory.values[place]) for place in places)
    configurations, values = zip(*found, strict=True)
    return Memory(memory.name, configurations, values)


def ladder_of(case: Case) -> tuple[str, ...]:
    """The rungs that `ladder=auto` has for the table's trainer: user code cannot say what narrow networks save."""
    own = set(case.table.runs["trainer"]) == {"images"}
    fidelities = {"data", "epochs", "batch"} | ({"width"} if own else set())
    rungs = auto_ladder(fidelities, case.box.epochs[TARGET], BATCH_SIZE)
    return tuple(each.canonical for each in rungs if each.canonical in case.box.values)


def ours(case: Case, replicate: int, budget: float) -> Trace:
    """Our search without memory."""
    return searched(case, replicate, budget).trace


@dataclass(frozen=True, eq=False)
class Searched:
    """A search that has ended.

    Attributes:
        trace: what it recommended at what cost.
        knowledge: at its end.
        order: numbers of the configurations, in the order of its candidates.
        ended: the last decision.
    """

    trace: Trace
    knowledge: Knowledge
    order: tuple[int, ...]
    ended: Decision


def searched(
    case: Case, replicate: int, budget: float, rungs: Sequence[str] = (), workers: int = 1, **changes: object
) -> Searched:
    """Our search: the candidates are tried in random order while nothing is known, the default first.

    Args:
        case: the table.
        replicate: its number.
        budget: in full trainings.
        rungs: of the ladder, instead of those that search has.
        workers: trainings at a time, each of which takes as long as it costs; a free worker waits for none.
        changes: of the `SearchPlan`.
    """
    box, table = case.box, case.table
    names = tuple(rungs) or ladder_of(case)
    part = box.part_of(replicate, PART)
    order = [part[0], *generator(replicate, "search benchmark", "order").permutation(part[1:]).tolist()]
    steps = {name: float(table.runs.loc[table.runs["strategy"] == name, "steps"].median()) for name in names}
    ladder = Ladder.of([parse_proxy(name) for name in names], [steps[name] / steps[TARGET] for name in names])
    plan = SearchPlan(
        table.space,
        table.metric,
        ladder,
        tuple(table.configurations[c] for c in order),
        budget,
        confirm=min(2, len(box.seeds[TARGET]) - 1),
        seeds=min(2, *(len(box.seeds[name]) for name in names)),
        seed=stream_seed(replicate, "search benchmark") % 2**31,
    )
    plan = replace(plan, **changes)  # type: ignore[arg-type]
    # What a search knows of costs beforehand: arithmetic, and of seconds a proxy's mean.
    cost = np.stack([box.costs[name].mean(axis=1)[order] for name in names], axis=1)
    if box.unit == "seconds":
        cost = np.tile(cost.mean(axis=0), (len(order), 1))
    replay, sign = box.replay(replicate, budget), table.metric.sign
    observed: list[Observation] = []
    running: list[tuple[float, int, Observation]] = []  # when each ends, and its number
    now, started = 0.0, 0
    while True:
        knowledge = Knowledge(plan, tuple(observed), tuple(each.trial for *_, each in running))
        if len(observed) >= FIRST:
            replay.recommend(order[knowledge.recommended])
        decision = decide(knowledge, cost, budget - replay.cost)
        trial, before = decision.trial, replay.cost
        if trial is not None:
            number, name = order[plan.places[trial.configuration]], names[trial.rung]
            try:
                value = sign * replay.train(number, name, trial.seed)
            except BudgetSpent:
                trial = None
            else:
                took = replay.cost - before
                unranked = bool(case.unranked[name][number, replay.column(name, trial.seed)])
                heappush(running, (now + took, started, Observation(trial, value, took, unranked)))
                started += 1
        if not running:
            break
        if trial is None or len(running) == workers:
            now, _, ended = heappop(running)
            observed.append(ended)
    return Searched(replay.trace, knowledge, tuple(order), decision)


# Searches that plan for their budget, and so are replayed for each.
Run = Callable[[Case, int, float], Trace]


def _simple(search: Callable[..., None], *rungs: str) -> Run:
    def run(case: Case, replicate: int, budget: float) -> Trace:
        part = case.box.part_of(replicate, PART)
        replay = case.box.part(part).replay(replicate, budget)
        search(replay, stream_seed(replicate, "search benchmark", "order") % 2**31, rungs)
        return [(cost, part[c]) for cost, c in replay.trace]

    return run


def default(case: Case, replicate: int, budget: float) -> Trace:
    """No search at all."""
    return [(0.0, 0)]


def ours_on_small_batches(case: Case, replicate: int, budget: float) -> Trace:
    """Our search with one proxy, a tenth of the examples in small batches; see `docs/explanation/findings.md`."""
    return searched(case, replicate, budget, (SMALL_BATCHES, TARGET)).trace


def ours_with_memory(name: str, case: Case, replicate: int, budget: float) -> Trace:
    """Our search with the memory of earlier studies, the `related` or the `unrelated` ones."""
    memories = tuple(remembered(memory, case, replicate) for memory in getattr(case, name))
    return searched(case, replicate, budget, memories=memories).trace


POLICIES: dict[str, tuple[Run, bool]] = {
    OURS: (ours, True),
    RELATED: (partial(ours_with_memory, "related"), True),
    UNRELATED: (partial(ours_with_memory, "unrelated"), True),
    f"{OURS} on {SMALL_BATCHES}": (ours_on_small_batches, True),
    "random search": (_simple(random_search), False),
    "successive halving on curves": (_simple(halving), True),
    "shortest schedule + top-K": (_simple(screen), True),
    "random:0.25 + top-K": (_simple(screen, "random:0.25"), True),
    f"{SMALL_BATCHES} + top-K": (_simple(screen, SMALL_BATCHES), True),
    "default": (default, False),
}


def can_run(name: str, case: Case) -> bool:
    """Whether there are the memories that a policy needs."""
    return bool({RELATED: case.related, UNRELATED: case.unrelated}.get(name, True))


def traces_of(case: Case, name: str, replicate: int, budgets: Sequence[float]) -> dict[float, Trace]:
    """A replicate's trace, by the budget that it was planned for."""
    run, _ = POLICIES[name]
    return {budget: run(case, replicate, budget) for budget in budgets_of(name, budgets)}


def budgets_of(name: str, budgets: Sequence[float]) -> Sequence[float]:
    """The budgets that a search is replayed with: all if it plans for them, else the largest."""
    return budgets if POLICIES[name][1] else [max(budgets)]


def regret_of(box: Blackbox, replicate: int, trace: Iterable[tuple[float, int]], cost: float) -> float:
    """In points: how far what was recommended last is below the best configuration of the replicate's part.

    The best one is by the mean over seeds, as the best of one seed is partly the luckiest; so a regret may be negative.
    """
    chosen = 0
    for spent, configuration in trace:
        if spent <= cost + 1e-9:
            chosen = configuration
    judge = box.seeds[TARGET].index(box.order_of(replicate)[-1])
    best = box.judge[box.part_of(replicate, PART)].mean(axis=1).max()
    return float(best - box.judge[chosen, judge]) * 100


def _work(asked: tuple[Case, str, int, tuple[float, ...]]) -> list[dict[str, object]]:
    case, name, replicate, budgets = asked
    traces = traces_of(case, name, replicate, budgets)
    return [
        {"policy": name, "table": case.box.table, "replicate": replicate, "budget": budget, "trace": trace}
        for budget, trace in traces.items()
    ]


def collect(
    cases: Sequence[Case], names: Sequence[str], replicates: range, budgets: Sequence[float], out: Path, jobs: int
) -> None:
    """Adds the traces of our own searches to a file; what it has is left out."""
    done = {(each["policy"], each["table"], each["replicate"], each["budget"]) for each in read_traces(out)}
    asked = [
        (case, name, replicate, tuple(budgets))
        for case in cases
        for name in names
        for replicate in replicates
        if can_run(name, case)
        if any((name, case.box.table, replicate, budget) not in done for budget in budgets_of(name, budgets))
    ]
    with Pool(jobs) as pool, out.open("a", encoding="utf-8") as file:
        for rows in pool.imap(_work, asked):
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()


def read_traces(path: Path) -> list[dict[str, object]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def regrets(
    cases: Mapping[str, Case], traces: Iterable[Mapping[str, object]], budgets: Sequence[float]
) -> pd.DataFrame:
    """Regret of each search, table, replicate and budget."""
    rows = []
    for each in traces:
        case = cases.get(str(each["table"]))
        if case is None:
            continue
        planned = POLICIES.get(str(each["policy"]), (None, False))[1]
        for budget in budgets:
            if planned and budget != each["budget"]:
                continue
            value = regret_of(case.box, int(each["replicate"]), each["trace"], budget)  # type: ignore[arg-type,call-overload]
            rows.append((each["policy"], each["table"], each["replicate"], budget, value))
    return pd.DataFrame(rows, columns=["policy", "table", "replicate", "budget", "regret"])


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Mean regret by search and budget: of each table, and over tables with 95 % intervals over replicates."""
    rng = generator(0, "search benchmark", "bootstrap")
    rows = []
    for (policy, budget), group in found.groupby(["policy", "budget"], sort=False):
        drawn, means = [], []
        for table, values in group.groupby("table")["regret"]:
            numbers = values.to_numpy()
            drawn.append(numbers[rng.integers(0, len(numbers), (SAMPLES, len(numbers)))].mean(axis=1))
            means.append(numbers.mean())
            low, high = np.quantile(drawn[-1], [0.025, 0.975])
            rows.append((policy, budget, table, means[-1], low, high, len(numbers)))
        low, high = np.quantile(np.mean(drawn, axis=0), [0.025, 0.975])
        rows.append((policy, budget, "mean of tables", np.mean(means), low, high, len(group)))
    return pd.DataFrame(rows, columns=["policy", "budget", "table", "regret", "low", "high", "n"])


def speedups(found: pd.DataFrame, budgets: Sequence[float], ours_name: str = OURS) -> pd.DataFrame:
    """What each search pays for its regret at the largest budget, relative to what ours pays for the same.

    By table: the budget over the smallest budget at which our mean regret is as small, interpolated between budgets.
    Over tables the geometric mean, with an interval over replicates.
    """
    rng = generator(0, "search benchmark", "speedup")
    tables = sorted(found["table"].unique())
    grid = np.array(sorted(budgets))
    wide = {
        (policy, table): group.pivot(index="replicate", columns="budget", values="regret").to_numpy()
        for (policy, table), group in found.groupby(["policy", "table"])
    }
    rows = []
    for policy in found["policy"].unique():
        if policy == ours_name or any((name, table) not in wide for table in tables for name in (policy, ours_name)):
            continue
        drawn = []
        for sample in range(SAMPLES // 4 + 1):
            logs = []
            for table in tables:
                mine, other = wide[ours_name, table], wide[policy, table]
                if sample:  # the first is the estimate
                    mine = mine[rng.integers(0, len(mine), len(mine))]
                    other = other[rng.integers(0, len(other), len(other))]
                logs.append(math.log(grid[-1] / cost_at(grid, mine.mean(axis=0), float(other.mean(axis=0)[-1]))))
            drawn.append(np.mean(logs))
        low, high = np.exp(np.quantile(drawn[1:], [0.025, 0.975]))
        rows.append((policy, math.exp(drawn[0]), low, high, len(tables)))
    return pd.DataFrame(rows, columns=["policy", "speedup", "low", "high", "n_tables"])


def cost_at(budgets: Floats, regret: Floats, wanted: float) -> float:
    """The smallest budget at which a regret is at most `wanted`; the largest budget where it never is.

    Example:
        >>> cost_at(np.array([2.0, 4.0, 8.0]), np.array([3.0, 1.0, 0.5]), 2.0)
        3.0
    """
    reached = np.flatnonzero(regret <= wanted)
    if not len(reached):
        return float(budgets[-1])
    at = int(reached[0])
    if at == 0:
        return float(budgets[0])
    share = (regret[at - 1] - wanted) / (regret[at - 1] - regret[at])
    return float(budgets[at - 1] + share * (budgets[at] - budgets[at - 1]))


def check_least(parser: argparse.ArgumentParser, **options: tuple[float, float]) -> None:
    """Ends with status 2 if the value of an option is below its least one; `name=(value, least)`."""
    for name, (value, least) in options.items():
        if value < least:
            parser.error(f"{name}={value:g}: give at least {least:g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", type=Path, required=True, help="folders with runs.csv and curves.csv")
    parser.add_argument("--memories", nargs="*", type=Path, default=[], help="folders of tables for memories")
    parser.add_argument(
        "--policies",
        nargs="*",
        default=list(POLICIES),
        choices=POLICIES,
        metavar="POLICY",
        help=f"some of {', '.join(POLICIES)}",
    )
    parser.add_argument(
        "--peers", nargs="*", default=[], choices=PEERS, metavar="PEER", help=f"some of {', '.join(PEERS)}"
    )
    parser.add_argument(
        "--peers-on-our-rungs",
        nargs="*",
        default=[],
        choices=sorted({*PEERS} - {*WITHOUT_RUNGS}),
        metavar="PEER",
        help="the same, on our rungs",
    )
    parser.add_argument("--replicates", type=int, default=60)
    parser.add_argument("--budgets", nargs="+", type=float, default=list(BUDGETS))
    parser.add_argument(
        "--judge",
        default="test",
        choices=("test", "validation"),
        help="by which values of a seed that no search sees: on test examples, or on those that searches choose by",
    )
    parser.add_argument("--unit", default="seconds", help="of costs: seconds, flops, examples or steps")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder for traces and tables")
    args = parser.parse_args()
    check_least(parser, replicates=(args.replicates, 1), jobs=(args.jobs, 1), budgets=(min(args.budgets), 0.1))
    try:
        replay_all(args)
    except (UserError, CannotLaunch) as error:
        parser.error(str(error))


def replay_all(args: argparse.Namespace) -> None:
    """Replays what is asked for, writes the tables and prints them."""
    args.out.mkdir(parents=True, exist_ok=True)
    earlier = [load(folder) for folder in args.memories]
    cases = [Case.of(folder, args.unit, args.judge).remembering(earlier) for folder in args.tables]
    path = args.out / "traces.jsonl"
    collect(cases, args.policies, range(args.replicates), args.budgets, path, args.jobs)
    traces = read_traces(path)
    for case in cases:
        box = args.out / f"{case.box.table}.npz"
        case.box.save(box)
        asked: list[tuple[str, str, tuple[str, ...]]] = [(peer, peer, ()) for peer in args.peers]
        asked += [(peer, f"{peer} on our rungs", ladder_of(case)) for peer in args.peers_on_our_rungs]
        for peer, name, rungs in asked:
            file = args.out / f"{case.box.table}-{name.replace(' ', '-')}.jsonl"
            launch(peer, box, file, range(args.replicates), max(args.budgets), rungs, PART)
            traces += [{**each, "policy": name, "budget": max(args.budgets)} for each in read_traces(file)]
    found = regrets({case.box.table: case for case in cases}, traces, args.budgets)
    mine = [name for name in (OURS, RELATED, UNRELATED) if found["policy"].eq(name).any()]
    faster = pd.concat(
        [speedups(found, args.budgets, name).assign(of=name) for name in mine] or [pd.DataFrame()], ignore_index=True
    )
    for name, table in (("regret", summary(found)), ("speedup", faster)):
        table.to_csv(args.out / f"{name}.csv", index=False, float_format="%.4g")
    over = summary(found).query("table == 'mean of tables'")
    n_tables = found.groupby("policy")["table"].nunique()
    few = {name: f"{name} ({n} of {len(cases)} tables)" for name, n in n_tables.items() if n < len(cases)}
    over = over.assign(policy=over["policy"].replace(few))
    print(over.pivot(index="policy", columns="budget", values="regret").round(2).to_string())
    print(faster.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
