"""The table of proxies on the page of a lookup table, from the tables of its report.

    python -m benchmarks.tables.page reports/digits

It prints Markdown; the folder's README.md has it word by word, which a test checks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from proxyflow.core.errors import UserError
from proxyflow.quality.policies import PROXY
from proxyflow.quality.runs import TARGET
from proxyflow.reporting.tables import read_tables, with_interval

FINALISTS = 3
HEADS = (
    "proxy",
    "cost",
    "time",
    "steps",
    "r2 of means",
    "Spearman of means",
    "Spearman, single runs",
    "regret of the first choice",
    f"of the best {FINALISTS}",
    "not ranked",
)


def proxy_table(folder: Path) -> str:
    """A row for each proxy, the cheapest first; blank where there is none, as of means of a proxy with one seed."""
    tables = read_tables(folder)
    strategies = tables["strategies"].set_index("strategy").drop(index=TARGET)
    measures = tables["measures"].set_index(["strategy", "measure"])
    seconds = tables["runs"].groupby("strategy")["train_seconds"].mean()
    policies = tables["policies"][tables["policies"]["policy"] == PROXY].set_index(["strategy", "k"])

    def measured(name: str, measure: str) -> str:
        if (name, measure) not in measures.index:
            return ""
        return with_interval(*map(float, measures.loc[(name, measure), ["value", "low", "high"]]))

    def lost(name: str, k: int) -> str:
        if (name, k) not in policies.index:
            return ""
        return with_interval(*map(float, policies.loc[(name, k), ["regret", "regret_low", "regret_high"]]))

    rows = [
        (
            *(
                f"`{name}`",
                f"{of['relative_cost']:.2f}",
                f"{seconds[name] / seconds[TARGET]:.2f}",
                f"{of['steps']:.0f}",
            ),
            *(measured(name, each) for each in ("r2_of_means", "spearman_all_of_means", "spearman_all")),
            *(lost(name, k) for k in (1, FINALISTS)),
            str(int(of["n_unranked"])),
        )
        for name, of in strategies.sort_values("relative_cost", kind="stable").iterrows()
    ]
    lines = [HEADS, ("---",) * len(HEADS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def whole(tables: dict[str, pd.DataFrame]) -> str:
    """Full search in a sentence."""
    full = tables["policies"][tables["policies"]["policy"] == "full search"].iloc[0]
    lost = with_interval(*map(float, full[["regret", "regret_low", "regret_high"]]))
    return f"Full search over {full['k']:.0f} configurations loses {lost} points, judged by {full['judged_by']}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a table's folder, with the tables of its report")
    folder = parser.parse_args().folder
    try:
        print(proxy_table(folder), whole(read_tables(folder)), sep="\n\n")
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
