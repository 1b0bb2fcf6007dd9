"""What the findings say of searches on tables on which nothing was chosen is what was replayed."""

from __future__ import annotations

import pandas as pd
import pytest
from entry_points import ROOT

FOLDER = ROOT / "benchmarks" / "results" / "search" / "held-out"
ROWS = {
    "`search`, without memory": "ours",
    "`search`, memory of digits and emoji": "ours, memory of related tables",
    "`search` on `random:0.1+batch:16`": "ours on random:0.1+batch:16",
    "`random:0.1+batch:16`, then the best in full": "random:0.1+batch:16 + top-K",
    "shortest schedule, then the best in full": "shortest schedule + top-K",
    "SMAC 2.4, multi-fidelity on curves": "smac_multifidelity",
    "Syne Tune, ASHA on curves": "syne_tune_asha",
    "Optuna 5, TPE with Hyperband, on curves": "optuna_hyperband",
    "NePS, PriorBand on our rungs": "neps_priorband on our rungs",
    "FLAML, by sample size": "flaml_samples",
    "random search in full": "random search",
    "default, no search": "default",
}
PAGE = (ROOT / "docs" / "explanation" / "findings.md").read_text(encoding="utf-8")


def test_the_table_of_fashion_20k_has_what_was_replayed() -> None:
    start = PAGE.index("| fashion-20k, full trainings spent |")
    _, _, *lines = PAGE[start : PAGE.index("\n\n", start)].splitlines()
    told = {
        cells[0]: [float(each) for each in cells[1:]] for cells in (line.strip("| ").split(" | ") for line in lines)
    }
    assert told.keys() == ROWS.keys()
    found = []
    for judge in ("test", "validation"):
        table = pd.read_csv(FOLDER / f"{judge}-regret.csv")
        found.append(table[table["table"] == "fashion-20k"].set_index(["policy", "budget"])["regret"])
    for name, policy in ROWS.items():
        measured = [each.loc[(policy, budget)] for each in found for budget in (4, 8, 18)]
        assert told[name] == pytest.approx(measured, abs=0.0051), name


@pytest.mark.parametrize("judge", ["test", "validation"])
def test_the_costs_of_other_searches_are_those_that_were_replayed(judge: str) -> None:
    start = PAGE.index("**Over the two tables on which nothing was chosen")
    told = PAGE[start : PAGE.index("\n\n", start)]
    table = pd.read_csv(FOLDER / f"{judge}-speedup.csv")
    costs = table[table["of"] == "ours"].set_index("policy")[["speedup", "low", "high"]]
    best = {"test": "neps_priorband on our rungs", "validation": "optuna_hyperband"}[judge]
    for policy in (best, "syne_tune_asha", "random search"):
        speedup, low, high = costs.loc[policy]
        assert f"{speedup:.2f} [{low:.2f}, {high:.2f}]" in told, policy
