"""What choosing a proxy costs: a strategy by scores has to train a model on all examples before it saves anything."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from proxyflow.quality.pairs import Pairs

SELECTION_COLUMNS = [
    "strategy",
    "cost_basis",
    "selection_cost",
    "relative_cost",
    "relative_cost_with_selection",
    "pays_off_after",
    "n_pairs",
]


def selection_table(pairs: Mapping[str, Pairs], basis: str) -> pd.DataFrame:
    """The cost of every strategy without and with what its choice took.

    A choice is charged once per data set, however many configurations and seeds use it; each strategy is charged in
    full, as if it were the only one that used the scores.

    Args:
        pairs: strategy to its pairs, the target included.
        basis: the unit of cost, one of `pairs.COSTS`.

    Returns:
        Columns `SELECTION_COLUMNS`: `selection_cost` in the unit of `basis`, summed over the data sets;
        `relative_cost` as in the table of strategies; the same with the selection's cost added to the proxy's side;
        `pays_off_after`, the least number of configurations, each run once on every data set, for which choosing and
        running the proxy costs no more than running the target. Missing where a cost is not known, and
        `pays_off_after` also where the proxy itself costs no less than the target.
    """
    rows = []
    for strategy, matched in pairs.items():
        frame = matched.frame
        proxy, target = (float(frame[f"{basis}_{side}"].sum(min_count=len(frame) or 1)) for side in ("proxy", "target"))
        # Seconds of the same choice differ a little from process to process.
        by_dataset = frame.groupby("dataset")[f"selection_{basis}"].max()
        selection = float(by_dataset.sum(min_count=len(by_dataset) or 1))
        saved = (target - proxy) / len(frame) * len(by_dataset) if len(frame) else math.nan
        rows.append(
            {
                "strategy": strategy,
                "cost_basis": basis,
                "selection_cost": selection,
                "relative_cost": proxy / target if target else math.nan,
                "relative_cost_with_selection": (proxy + selection) / target if target else math.nan,
                "pays_off_after": math.ceil(selection / saved) if saved > 0 and math.isfinite(selection) else pd.NA,
                "n_pairs": len(frame),
            }
        )
    return pd.DataFrame(rows, columns=SELECTION_COLUMNS).astype({"pays_off_after": "Int64"})
