"""The tables on the page of what all lookup tables say together, from what `benchmarks.tables.findings` writes.

    python -m benchmarks.tables.together [reports/tables]

It prints Markdown; the folder's README.md has it word by word, which a test checks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from benchmarks.tables.findings import BANDS, MEAN
from proxyflow.reporting.tables import with_interval
from proxyflow.tables import REPORTS

FOLDER = REPORTS / "tables"
NAMES = ("quality", "contrasts", "regression", "regret")
FINALISTS = 3
TITLES = {"r2": "r2", "spearman": "Spearman"}


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables of findings."""
    return {name: pd.read_csv(folder / f"{name}.csv") for name in NAMES}


def markdown(rows: Iterable[Iterable[str]]) -> str:
    """A table; the first row has the heads."""
    heads, *others = ([*row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *others))


def _points(value: float) -> str:
    return with_interval(value, float("nan"), float("nan")).split(" ")[0]


def _name(role: str) -> str:
    """As code where it is a proxy's spelling, else in words."""
    return f"`{role}`" if ":" in role and " " not in role else role


def band(found: dict[str, pd.DataFrame], question: str) -> str:
    """Proxies of similar cost: quality on each table, and differences from the usual proxies; the best first."""
    (low, high), baselines = BANDS[question]
    quality = found["quality"]
    contrasts = found["contrasts"]
    contrasts = contrasts[(contrasts["question"] == question) & (contrasts["table"] == MEAN)]
    contrasts = contrasts.set_index(["a", "b", "measure"])
    cost = quality.groupby("role")["cost"].mean()
    kept = [role for role, of in cost.items() if low <= of <= high]
    mean = quality.groupby(["role", "measure"])["value"].mean()
    tables = list(dict.fromkeys(quality["table"]))

    def difference(role: str, baseline: str, measure: str) -> str:
        if role == baseline:
            return ""
        row = contrasts.loc[(role, baseline, measure)]
        text = with_interval(*map(float, row[["difference", "low", "high"]]))
        return f"**{text}**" if row["shown"] else text

    rows = [["proxy", "cost", "r2, mean", *(f"Spearman, {table}" for table in tables), "mean"]]
    rows[0] += [f"{measure} less {_name(baseline)}" for measure in TITLES.values() for baseline in baselines]
    for role in sorted(kept, key=lambda role: -mean[role, "spearman"]):
        own = quality[(quality["role"] == role) & (quality["measure"] == "spearman")].set_index("table")["value"]
        rows.append(
            [
                _name(role),
                f"{cost[role]:.2f}",
                _points(mean[role, "r2"]),
                *(_points(own[table]) if table in own else "" for table in tables),
                _points(mean[role, "spearman"]),
                *(difference(role, each, measure) for measure in TITLES for each in baselines),
            ]
        )
    return markdown(rows)


def explained(found: dict[str, pd.DataFrame]) -> str:
    """How much of the variance within tables predictors explain."""
    table = found["regression"]
    table = table[table["tables"] == "all tables"]
    scopes, measures = list(dict.fromkeys(table["scope"])), list(dict.fromkeys(table["measure"]))
    parts = table.set_index(["scope", "measure", "predictors"])
    rows = [["explained by", *(f"{TITLES[measure]}, {scope}" for scope in scopes for measure in measures)]]
    for predictors in dict.fromkeys(table["predictors"]):
        keys = [(scope, measure, predictors) for scope in scopes for measure in measures]
        cells = [
            with_interval(*map(float, parts.loc[key, ["explained", "low", "high"]])) if key in parts.index else ""
            for key in keys
        ]
        rows.append([predictors, *cells])
    return markdown(rows)


def regrets(found: dict[str, pd.DataFrame]) -> str:
    """What a search loses that ranks all configurations by a proxy and trains the best in full, the cheapest first."""
    regret = found["regret"]
    tables = [table for table in dict.fromkeys(regret["table"]) if not table.startswith("mean")]
    known = regret.set_index(["policy", "k", "table"])
    rows = [["search", "cost", *tables, "mean"]]
    policies = regret[(regret["table"] == MEAN)].sort_values("cost")
    for _, row in policies.iterrows():
        policy, k = str(row["policy"]), int(row["k"])
        simple = policy in ("full search", "random search")
        if not simple and k != FINALISTS:
            continue
        name = policy if policy == "full search" else f"random search, {k} in full" if simple else _name(policy)
        rows.append(
            [
                name,
                f"{row['cost']:.1f}",
                *(
                    _points(float(known.loc[(policy, k, table), "regret"])) if (policy, k, table) in known.index else ""
                    for table in tables
                ),
                with_interval(*map(float, row[["regret", "low", "high"]])),
            ]
        )
    return markdown(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="with the four tables of findings")
    folder = parser.parse_args().folder
    try:
        found = read(folder)
    except FileNotFoundError as error:
        parser.error(f"{folder} has no {Path(error.filename).name}: python -m benchmarks.tables.findings makes it")
    print(*(explained(found), *(band(found, question) for question in BANDS), regrets(found)), sep="\n\n")


if __name__ == "__main__":
    main()
