"""What the lookup tables say together: which proxies rank well and why, and what a search with each of them loses.

    python -m benchmarks.tables.findings

It answers the questions of reports/tables/plan.md by its rules, from the committed trainings alone, and writes
`quality.csv` (each proxy on each table), `contrasts.csv` (differences between proxies, by table and over tables),
`regression.csv` (what explains quality) and `regret.csv` (what searches lose). `--out` writes elsewhere.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import comb
from scipy.stats import rankdata

from benchmarks.tables.__main__ import tables_at
from proxyflow.core.errors import UserError
from proxyflow.core.seeds import generator
from proxyflow.proxies import Epochs, parse_proxy
from proxyflow.quality.runs import TARGET
from proxyflow.tables import REPORTS, LookupTable, load

Floats = NDArray[np.float64]
SAMPLES = 2000
# By share of the target's FLOPs, in the mean over tables, with what the others are compared with; see the plan.
BANDS = {
    "tenth": ((0.05, 0.15), ("random:0.1", "epochs, shortest")),
    "quarter": ((0.16, 0.35), ("random:0.25", "epochs, a quarter")),
}
FINALISTS = (1, 3, 5)
RANDOM = (2, 4, 8, 16, 32)
MEASURES = ("r2", "spearman")
TEXT = "sections"
MEAN, WITHOUT = "mean of tables", "mean without"


@dataclass(frozen=True, eq=False)
class Measured:
    """A proxy on a table.

    Attributes:
        role: what it stands for in every table, such as `half size`.
        proxy: its spelling.
        cost: mean FLOPs relative to the target's, without choosing examples.
        choice: FLOPs of choosing its examples, in mean trainings of the target.
        steps: median optimizer steps.
        share: examples that a training presents, relative to the target.
        values: `(configurations, seeds)`.
        samples: measure to `(SAMPLES,)`, in bootstrap samples of configurations.
        estimates: measure to its value.
    """

    role: str
    proxy: str
    cost: float
    choice: float
    steps: float
    share: float
    values: Floats
    samples: Mapping[str, Floats]
    estimates: Mapping[str, float]


def role_of(proxy: str, epochs: int) -> str:
    """What a proxy stands for, whatever the epochs of the target.

    Example:
        >>> role_of("epochs:5", 20), role_of("random:0.4+size:8", 20), role_of("epochs:1+width:0.5", 4)
        ('epochs, a quarter', 'random:0.4+half size', 'epochs, a quarter+half width')
    """
    parsed = parse_proxy(proxy)
    share = parsed.epochs(epochs) / epochs
    named = []
    if share < 1:
        named = ["epochs, " + ("shortest" if share < 0.2 else "a quarter" if share < 0.4 else "half")]
    data = "" if parsed.data.canonical == TARGET else parsed.data.canonical
    if data == "random:0.2" and named:
        return "epochs, shortest"  # where a quarter of the epochs is one
    names = {"size": "half size", "width": "half width"}
    rest = [names.get(each.name, each.canonical) for each in parsed.reductions if not isinstance(each, Epochs)]
    return "+".join(filter(None, [data, *named, *rest]))


def values_of(table: LookupTable, proxy: str, test: bool = False) -> Floats:
    """`(configurations, seeds)` values, more is better; in points where the metric is a share."""
    sign, of = table.metric.sign * table.metric.scale, table.test if test else table.value
    return np.array([[sign * of(c, proxy, seed=s) for s in table.seeds[proxy]] for c in range(len(table))])


def correlations(x: Floats, y: Floats) -> dict[str, Floats]:
    """r2 and Spearman's correlation of each row of `x` and `y`, `(samples, configurations)` each."""
    return {"r2": _correlation(x, y) ** 2, "spearman": _correlation(rankdata(x, axis=1), rankdata(y, axis=1))}


def _correlation(x: Floats, y: Floats) -> Floats:
    x, y = (each - each.mean(axis=1, keepdims=True) for each in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))


def draws_of(table: LookupTable, n: int = SAMPLES) -> NDArray[np.int64]:
    """`(samples, configurations)` places: the same for tables that share their configurations."""
    key = "|".join(each.to_json() for each in table.configurations)
    return generator(0, "findings", key).integers(0, len(table), (n, len(table)))


def measured(table: LookupTable) -> list[Measured]:
    """All proxies of a table, the cheapest first."""
    target = values_of(table, TARGET).mean(axis=1)
    draws = draws_of(table)
    runs = table.runs
    of_target = runs[runs["strategy"] == TARGET]
    epochs = int(of_target["epochs"].max())
    flops, examples = of_target["train_flops"].mean(), of_target["examples_seen"].mean()
    found = []
    for proxy in table.proxies:
        if proxy == TARGET:
            continue
        rows = runs[runs["strategy"] == proxy]
        values = values_of(table, proxy)
        means = values.mean(axis=1)
        estimates = {name: float(each[0]) for name, each in correlations(means[None], target[None]).items()}
        found.append(
            Measured(
                role=role_of(proxy, epochs),
                proxy=proxy,
                cost=float(rows["train_flops"].mean() / flops),
                choice=table.choice_cost(proxy, "flops") / flops,
                steps=float(rows["steps"].median()),
                share=float(rows["examples_seen"].mean() / examples),
                values=values,
                samples=correlations(means[draws], target[draws]),
                estimates=estimates,
            )
        )
    return found


def interval(samples: Floats) -> tuple[float, float]:
    low, high = np.nanquantile(samples, [0.025, 0.975])
    return float(low), float(high)


def quality(tables: Mapping[str, list[Measured]]) -> pd.DataFrame:
    rows = [
        {
            "table": name,
            "role": each.role,
            "proxy": each.proxy,
            "cost": each.cost,
            "choice": each.choice,
            "steps": each.steps,
            "share": each.share,
            "measure": measure,
            "value": each.estimates[measure],
            **dict(zip(("low", "high"), interval(each.samples[measure]), strict=True)),
        }
        for name, found in tables.items()
        for each in found
        for measure in MEASURES
    ]
    return pd.DataFrame(rows)


def over_tables(values: Mapping[str, tuple[float, Floats]]) -> Iterator[tuple[str, float, Floats]]:
    """Each table's value with its samples, the mean, and the means without one table."""
    for name, (value, samples) in values.items():
        yield name, value, samples
    if len(values) < 2:
        return
    yield (
        MEAN,
        float(np.mean([value for value, _ in values.values()])),
        np.mean([s for _, s in values.values()], axis=0),
    )
    if len(values) > 2:
        for name in values:
            kept = [each for other, each in values.items() if other != name]
            yield f"{WITHOUT} {name}", float(np.mean([v for v, _ in kept])), np.mean([s for _, s in kept], axis=0)


def contrasted(tables: Mapping[str, list[Measured]]) -> Iterator[tuple[str, str, str]]:
    """Pairs of roles to compare: question, a, b."""
    costs: dict[str, list[float]] = {}
    for each in (each for found in tables.values() for each in found):
        costs.setdefault(each.role, []).append(each.cost)
    roles = {role: float(np.mean(of)) for role, of in costs.items()}
    for band, ((low, high), baselines) in BANDS.items():
        for role, cost in roles.items():
            for baseline in baselines:
                if low <= cost <= high and role != baseline:
                    yield band, role, baseline
    yield "curriculum", "curriculum:0.25", "curriculum:0.25,order=random"


def contrasts(tables: Mapping[str, list[Measured]]) -> pd.DataFrame:
    rows = []
    for question, a, b in contrasted(tables):
        for measure in MEASURES:
            differences = {}
            for name, found in tables.items():
                by_role = {each.role: each for each in found}
                if a in by_role and b in by_role:
                    one, other = by_role[a], by_role[b]
                    value = one.estimates[measure] - other.estimates[measure]
                    differences[name] = (value, one.samples[measure] - other.samples[measure])
            signs = [math.copysign(1, value) for value, _ in differences.values()]
            agree = max(signs.count(1.0), signs.count(-1.0))
            for table, value, samples in over_tables(differences):
                low, high = interval(samples)
                shown = table == MEAN and not low <= 0 <= high and agree >= len(signs) - 1
                row = {"question": question, "a": a, "b": b, "measure": measure, "table": table, "difference": value}
                rows.append(row | {"low": low, "high": high, "n_tables": len(signs), "agree": agree, "shown": shown})
    return pd.DataFrame(rows)


PREDICTORS = ("log steps", "log share", "log cost")


def explained(values: Floats, predictors: Floats, groups: NDArray[np.int64]) -> float:
    """Share of the variance within groups that predictors explain in a linear regression with a constant per group."""

    def within(x: Floats) -> Floats:
        means = np.array([x[groups == group].mean(axis=0) for group in range(groups.max() + 1)])
        return x - means[groups]

    y, x = within(values), within(predictors)
    fitted = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return float(1 - ((y - fitted) ** 2).sum() / (y**2).sum())


def regression(tables: Mapping[str, list[Measured]]) -> pd.DataFrame:
    """What explains quality, of all proxies and of those that have the target's size and width."""
    rows = []
    kept = {"all tables": list(tables)} | {f"without {name}": [t for t in tables if t != name] for name in tables}
    for scope in ("all proxies", "full size and width"):
        for label, names in kept.items():
            chosen = [
                (group, each)
                for group, name in enumerate(names)
                for each in tables[name]
                if scope == "all proxies" or not {"half size", "half width"} & set(each.role.split("+"))
            ]
            if not chosen:
                continue
            groups = np.array([group for group, _ in chosen])
            x = np.log([[each.steps, each.share, each.cost] for _, each in chosen])
            for measure in MEASURES:
                y = np.array([each.estimates[measure] for _, each in chosen])
                drawn = np.array([each.samples[measure] for _, each in chosen])
                for predictors in ([0], [1], [2], [0, 1], [0, 2]):
                    samples = np.array([explained(drawn[:, s], x[:, predictors], groups) for s in range(0, SAMPLES, 4)])
                    row = {"scope": scope, "tables": label, "measure": measure, "n": len(chosen)}
                    row["predictors"] = " and ".join(PREDICTORS[p] for p in predictors)
                    row["explained"] = explained(y, x[:, predictors], groups)
                    rows.append(row | dict(zip(("low", "high"), interval(samples), strict=True)))
                if scope == "all proxies":
                    both = np.array(
                        [
                            explained(drawn[:, s], x[:, [0]], groups) - explained(drawn[:, s], x[:, [1]], groups)
                            for s in range(0, SAMPLES, 4)
                        ]
                    )
                    row = {"scope": scope, "tables": label, "measure": measure, "n": len(chosen)}
                    row["predictors"] = "log steps less log share"
                    row["explained"] = explained(y, x[:, [0]], groups) - explained(y, x[:, [1]], groups)
                    rows.append(row | dict(zip(("low", "high"), interval(both), strict=True)))
    return pd.DataFrame(rows)


def losses(proxy: Floats, target: Floats, truth: Floats, k: int) -> Floats:
    """What a search loses that trains the `k` best of a proxy in full, for each sample and seed.

    Args:
        proxy, target: `(samples, configurations)` values of one seed; the target's decide among the `k`.
        truth: `(samples, configurations)`, what the choice is judged by.

    Returns:
        `(samples,)`.
    """
    finalists = np.argsort(-proxy, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(target, finalists, 1).argmax(axis=1)
    chosen = np.take_along_axis(finalists, best[:, None], 1)
    return truth.max(axis=1) - np.take_along_axis(truth, chosen, 1)[:, 0]


def random_losses(target: Floats, truth: Floats, k: int) -> Floats:
    """What a search loses on average that trains `k` configurations in full, at random; arguments as for `losses`."""
    n = target.shape[1]
    best_first = np.argsort(-target, axis=1, kind="stable")
    # The best of k is the one at place r if that is drawn and all others come after it.
    chance = comb(n - 1 - np.arange(n), k - 1) / comb(n, k)
    return truth.max(axis=1) - np.take_along_axis(truth, best_first, 1) @ chance


def regrets_of(table: LookupTable, found: Iterable[Measured]) -> Iterator[tuple[str, int, float, float, Floats]]:
    """Role, k, cost in full trainings, regret and its samples; the mean over seeds of the search.

    Each search uses one seed and is judged by the test values of the target's other seeds.
    """
    target, tested = values_of(table, TARGET), values_of(table, TARGET, test=True)
    everything = np.arange(len(table))[None]
    places = np.concatenate([everything, draws_of(table)])
    n = len(table)

    def judged(values: Floats, seed: int, k: int) -> Floats:
        truth = np.delete(tested, seed, axis=1).mean(axis=1)
        return losses(values[places], target[:, seed][places], truth[places], k)

    for each in found:
        for k in FINALISTS:
            lost = np.mean([judged(each.values[:, s], s, k) for s in range(each.values.shape[1])], axis=0)
            yield each.role, k, n * each.cost + each.choice + k, float(lost[0]), lost[1:]
    lost = np.mean([judged(target[:, s], s, 1) for s in range(2)], axis=0)
    yield "full search", n, n, float(lost[0]), lost[1:]
    for k in RANDOM:
        lost = np.mean(
            [
                random_losses(target[:, s][places], np.delete(tested, s, axis=1).mean(axis=1)[places], k)
                for s in range(2)
            ],
            axis=0,
        )
        yield "random search", k, k, float(lost[0]), lost[1:]


def regret(tables: Mapping[str, LookupTable], found: Mapping[str, list[Measured]]) -> pd.DataFrame:
    by_policy: dict[tuple[str, int], dict[str, tuple[float, Floats]]] = {}
    costs: dict[tuple[str, int], list[float]] = {}
    for name, table in tables.items():
        for role, k, cost, value, samples in regrets_of(table, found[name]):
            by_policy.setdefault((role, k), {})[name] = (value, samples)
            costs.setdefault((role, k), []).append(cost)
    rows = []
    for (role, k), values in by_policy.items():
        for table, value, samples in over_tables(values):
            low, high = interval(samples)
            row = {"policy": role, "k": k, "cost": float(np.mean(costs[role, k])), "table": table}
            rows.append(row | {"regret": value, "low": low, "high": high, "n_tables": len(values)})
    return pd.DataFrame(rows)


def findings(folders: Iterable[Path]) -> dict[str, pd.DataFrame]:
    tables = {folder.name: load(folder) for folder in folders}
    found = {name: measured(table) for name, table in tables.items()}
    return {
        "quality": quality(found),
        "contrasts": contrasts(found),
        "regression": regression(found),
        "regret": regret(tables, found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="folders of tables; without any, those below reports/")
    parser.add_argument("--out", type=Path, default=REPORTS / "tables", help="folder to write to")
    args = parser.parse_args()
    try:
        found = findings(args.folders or tables_at(REPORTS))
    except UserError as error:
        parser.error(str(error))
    args.out.mkdir(parents=True, exist_ok=True)
    for name, table in found.items():
        path = args.out / f"{name}.csv"
        table.to_csv(path, index=False, float_format="%.6g")
        print(f"{path}: {len(table)} rows")


if __name__ == "__main__":
    main()
