"""What relative cost counts: seconds where they can be compared, else work; and which costs to distrust.

Seconds of trainings that shared their device with other work, or that ran on several kinds of device, depend more on
that than on the proxies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from proxyflow.quality.pairs import COSTS, PAIR
from proxyflow.quality.runs import TARGET

AUTO = "auto"
SECONDS, EXAMPLES, FLOPS = COSTS
# In the order in which `auto` tries them.
PREFERRED = (SECONDS, FLOPS, EXAMPLES)
# A note names seconds that differ from the work by more than this factor. The overhead of epochs and small batches is
# smaller.
CONTRADICTION = 1.5
# A validation example costs a forward pass, a training example about three times that.
VALIDATION_WORK = 1 / 3
NAMED = 8  # strategies that one note names
ALL_EXAMPLES = 0.95  # of the target's; an incomplete batch may be missing
WORK, OF_TARGET = "work", "_of_target"


@dataclass(frozen=True)
class CostBasis:
    """What relative cost counts.

    Attributes:
        basis: one of `pairs.COSTS`.
        reason: why, as a sentence.
    """

    basis: str
    reason: str


def choose_cost_basis(runs: pd.DataFrame, requested: str = AUTO) -> CostBasis:
    """Resolves `auto`: seconds where all runs were alone on one kind of device, else operations, else examples.

    A run for which it is not known whether others used its device counts as alone; the sentence has their number.

    Args:
        runs: the trainings that count: the costs, and `device` and `device_shared` (nullable) where they are known.
        requested: `auto`, or one of `pairs.COSTS`, which is then the basis.
    """
    if requested != AUTO:
        return CostBasis(requested, f"Relative cost counts {requested}, as cost_basis={requested} asks for.")
    shared, unknown = _shared(runs), int(_unknown(runs).sum())
    devices = _devices(runs)
    against = []
    if shared.any():
        against.append(f"{int(shared.sum())} of {len(runs)} trainings shared their device with other work")
    if len(devices) > 1:
        against.append(f"the trainings ran on {len(devices)} kinds of device ({', '.join(devices)})")
    if missing := _missing(runs, SECONDS):
        against.append(f"{missing} of {len(runs)} trainings have no {SECONDS}")
    if not against:
        unsure = f"; for {unknown} of {len(runs)} it is not known whether it was shared" if unknown else ""
        alone = "all trainings ran" if unknown == len(runs) else "all trainings ran alone"
        return CostBasis(SECONDS, f"Relative cost counts {SECONDS}: {alone} on one kind of device{unsure}.")
    basis = next((cost for cost in PREFERRED[1:] if not _missing(runs, cost)), EXAMPLES)
    if basis == EXAMPLES and (same := _as_many_examples(runs)) and not _missing(runs, SECONDS):
        told = f"{', '.join(same[:NAMED])} see as many examples as the target, so these do not show what is saved"
        return CostBasis(SECONDS, f"Relative cost counts {SECONDS}, which are too long: {'; '.join(against)}; {told}.")
    return CostBasis(basis, f"Relative cost counts {basis} and not seconds: {'; '.join(against)}.")


def _as_many_examples(runs: pd.DataFrame) -> list[str]:
    """Proxies that see as many examples as the target: they reduce the size of inputs, of networks or of batches."""
    if not {"strategy", EXAMPLES, *PAIR} <= set(runs):
        return []
    seen = runs.pivot_table(index=PAIR, columns="strategy", values=EXAMPLES, aggfunc="last").astype(float)
    if TARGET not in seen:
        return []
    ratios = seen.div(seen[TARGET], axis=0).drop(columns=TARGET).median()
    return [str(name) for name, ratio in ratios.items() if ratio > ALL_EXAMPLES]


def _shared(runs: pd.DataFrame) -> pd.Series:
    if "device_shared" not in runs:
        return pd.Series(False, runs.index)
    return runs["device_shared"].astype("boolean").fillna(False).astype(bool)


def _unknown(runs: pd.DataFrame) -> pd.Series:
    return runs["device_shared"].isna() if "device_shared" in runs else pd.Series(True, runs.index)


def _devices(runs: pd.DataFrame) -> list[str]:
    """The kinds of device that are known."""
    return sorted(set(runs["device"].dropna().astype(str)) - {""}) if "device" in runs else []


def _missing(runs: pd.DataFrame, cost: str) -> int:
    return int(runs[cost].isna().sum()) if cost in runs else len(runs)


def cost_notes(runs: pd.DataFrame, basis: str) -> list[tuple[str, str]]:
    """Notes on costs: strategy, or empty for the study, and a sentence.

    Trainings that shared their device are counted by strategy. A proxy is named whose runs cost more than the target's,
    or took another share of its seconds than its work explains.

    Args:
        runs: the trainings that count; `n_valid` and `epochs` give the work of validation.
        basis: see `CostBasis`.
    """
    notes = []
    shared = runs[_shared(runs)]
    if len(shared):
        counts = shared["strategy"].astype(str).value_counts(sort=False).sort_index()
        largest = counts.sort_values(ascending=False, kind="stable").head(NAMED)
        named = ", ".join(f"{name} {count}" for name, count in largest.items())
        more = f" and {len(counts) - NAMED} more strategies" if len(counts) > NAMED else ""
        note = (
            f"{len(shared)} of {len(runs)} trainings shared their device with other work (device_shared in runs.csv), "
            f"so their seconds are too long: {named}{more}."
        )
        notes.append(("", note))
    costs = runs.assign(**{WORK: _work(runs)}).reindex(columns=[*PAIR, "strategy", *COSTS, WORK])
    target = costs[costs["strategy"] == TARGET].drop(columns="strategy")
    for name, proxy in costs[costs["strategy"] != TARGET].groupby("strategy", sort=True):
        pairs = proxy.drop(columns="strategy").merge(target, on=PAIR, suffixes=("", OF_TARGET))
        notes += [(str(name), note) for note in _of_strategy(pairs, basis)]
    return notes


def _work(runs: pd.DataFrame) -> pd.Series:
    """What a training and its validation compute, in operations where all are known, else in training examples."""
    known = runs.reindex(columns=[EXAMPLES, FLOPS, "n_valid", "epochs"]).astype("Float64").astype(np.float64)
    validated = VALIDATION_WORK * (known["n_valid"] * known["epochs"]).fillna(0.0)
    per_example = known[FLOPS] / known[EXAMPLES] if known[FLOPS].notna().all() else 1.0
    return (known[EXAMPLES] + validated) * per_example


def _of_strategy(pairs: pd.DataFrame, basis: str) -> list[str]:
    cost, seconds, expected = (_ratio(pairs, name) for name in (basis, SECONDS, WORK))
    notes = []
    if cost > 1:
        notes.append(f"relative_cost is {cost:.2f}: by {basis} this proxy costs more than the target.")
    if np.isfinite(seconds * expected) and not 1 / CONTRADICTION <= seconds / expected <= CONTRADICTION:
        notes.append(
            f"its trainings took {seconds:.2f} of the target's seconds, and {expected:.2f} of its work by the examples "
            "seen, validation included: the device had other work, or time is not proportional to examples."
        )
    return notes


def _ratio(pairs: pd.DataFrame, cost: str) -> float:
    """The proxy's sum over the target's, nan where one is not known."""
    proxy, target = (float(pairs[name].sum(skipna=False)) for name in (cost, cost + OF_TARGET))
    return proxy / target if target > 0 else np.nan
