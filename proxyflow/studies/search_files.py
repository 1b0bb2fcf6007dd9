"""What a search leaves behind: the best configuration to train with, every trial, and why each was started."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy.special import comb

from proxyflow.core.files import write_text
from proxyflow.quality.objective import Objective
from proxyflow.searching.decisions import SPENT
from proxyflow.searching.knowledge import Knowledge
from proxyflow.spaces.configuration import Configuration
from proxyflow.studies.leaderboard import SHOWN
from proxyflow.studies.search import Found
from proxyflow.studies.search_costs import bill_of, saving_note, slow_rungs

BEST, TRIALS, DECISIONS = "best.yaml", "trials.csv", "decisions.jsonl"
NOTABLE = 0.1  # of a full training: more than that is not just rounding
FEWEST = 3  # configurations on two rungs, below which their correlation is an assumption


def write_search(found: Found, folder: Path) -> None:
    """Writes `best.yaml`, `trials.csv` and `decisions.jsonl`."""
    trials = trial_table(found)
    write_text(folder / BEST, best_yaml(found))
    write_text(folder / TRIALS, trials.drop(columns="reason").to_csv(index=False))
    # What another process decided, and left no reason, has none here.
    reasons = [{"number": row["number"], **json.loads(row["reason"] or "{}")} for row in trials.to_dict("records")]
    ended = {"number": len(reasons) + 1, "reason": found.ended, "end": True}
    write_text(folder / DECISIONS, "".join(json.dumps(each) + "\n" for each in [*reasons, ended]))


def best_yaml(found: Found) -> str:
    """The best configuration as `train --config` takes it, with what is known of it in comments."""
    value, low, high = found.knowledge.value_of(found.knowledge.recommended)
    metric = found.spec.trainer.metric
    head = f"# {metric.name} {value:.4f} on the full data, 95 % interval {low:.4f} to {high:.4f}\n"
    return head + yaml.safe_dump(found.best.told, sort_keys=False, allow_unicode=True)


def trial_table(found: Found) -> pd.DataFrame:
    """A row for each training that the search knows, in the order in which they ended."""
    spec = found.spec
    rows: list[dict[str, Any]] = []
    spent = 0.0
    for number, each in enumerate(found.knowledge.observations, start=1):
        spent += each.cost
        rows.append(
            {
                "number": number,
                "rung": spec.ladder[each.trial.rung].canonical,
                "config": each.trial.configuration.name,
                "seed": spec.seed + each.trial.seed,
                "value": each.value if math.isfinite(each.value) else None,
                "cost": each.cost,
                "spent": spent,
                "train_seconds": found.bills[found.run_ids[number - 1]].seconds,
                "cost_usd": found.bills[found.run_ids[number - 1]].usd,
                "unranked": each.unranked,
                "run_id": found.run_ids[number - 1],
                "config_json": each.trial.configuration.to_json(),
                "reason": found.reasons.get(found.run_ids[number - 1], ""),
            }
        )
    columns = [
        "number",
        "rung",
        "config",
        "seed",
        "value",
        "cost",
        "spent",
        "train_seconds",
        "cost_usd",
        "unranked",
        "run_id",
        "config_json",
        "reason",
    ]
    return pd.DataFrame(rows, columns=columns)


def random_search(knowledge: Knowledge, drawn: int, most: float) -> pd.DataFrame:
    """What random search on full trainings would be expected to reach, by what a search believes of its candidates.

    Args:
        knowledge: of the search.
        drawn: how many candidates it began with; those that a sampler proposed later are no random draws.
        most: the largest cost, in full trainings.

    Returns:
        Columns `cost`, `value`, and `low` and `high`, the ends of the 95 % interval of what it would be expected to
        reach if all values were known, in the metric's unit.
    """
    # For each draw of all values: the best of k is the one at place r if that is among them and all others come later.
    ordered = -np.sort(-knowledge.samples[:, :drawn], axis=1)
    n = ordered.shape[1]
    rows = []
    for k in range(1, max(1, min(n, math.floor(most))) + 1):
        chance = comb(n - 1 - np.arange(n), k - 1) / comb(n, k)
        reached = knowledge.in_metric(ordered) @ chance
        rows.append((float(k), float(reached.mean()), *np.quantile(reached, [0.025, 0.975]).tolist()))
    return pd.DataFrame(rows, columns=["cost", "value", "low", "high"])


def summary_lines(found: Found) -> list[str]:
    """What a search found, cost and saved, for a terminal."""
    if not found.knowledge.observations:
        return [f"nothing was trained: {found.ended}"]
    head = f"best configuration: {found.best.name}"
    others = [*_next_best(found), *cost_lines(found), *_rung_lines(found)]
    left = found.spec.budget - found.spent
    unspent = f"; {left:.2f} of it is left, which pays for no training in full"
    ended = found.ended + (unspent if found.ended == SPENT and left >= NOTABLE else "")
    return [head, *best_lines(found), *others, f"ended: {ended}"]


def best_lines(found: Found) -> list[str]:
    """What is known of the best configuration, and how surely."""
    knowledge, spec = found.knowledge, found.spec
    if not any(math.isfinite(each.value) for each in knowledge.observations):
        return [f"  none: all {len(knowledge.observations)} trainings diverged"]
    metric, best = spec.trainer.metric, knowledge.recommended
    value, low, high = knowledge.value_of(best)
    seeds = len(knowledge.seeds_seen(best))
    none = "none in full fits the budget" if found.ended else "none in full has ended yet"
    seen = ", ".join(f"{each:.4f}" for each in knowledge.seen_in_full(best))
    diverged = seeds - len(knowledge.seen_in_full(best))
    reached = (f", which reached {seen}" if seen else "") + (f" ({diverged} diverged)" if diverged else "")
    basis = f"{_counted(seeds, 'full training')} of it{reached}" if seeds else f"cheaper trainings alone: {none}"
    expected = f"  {metric.label} {value:.4f} expected over seeds on the full data"
    lines = [f"{expected}, 95 % interval {low:.4f} to {high:.4f}, from {basis}"]
    if spec.tolerance is not None:
        within = 1 - knowledge.chance_of_better(best, spec.tolerance)
        limit = f"{spec.tolerance:g}" if metric.share else f"{knowledge.tolerated(spec.tolerance):.2g}"
        unit = Objective(metric).unit
        lines.append(f"  no candidate is better by more than {limit} {unit}, with a probability of {within:.0%}")
    return lines + _against_default(found)


def _next_best(found: Found) -> list[str]:
    """A table of the configurations that were trained in full, the best first, if there are several."""
    knowledge = found.knowledge
    shown = sorted(knowledge.in_full, key=lambda each: -float(knowledge.mean[each]))[:SHOWN]
    if len(shown) < 2:
        return []
    lines = ["trained in full, the best first:"]
    for rank, each in enumerate(shown, start=1):
        value, low, high = knowledge.value_of(each)
        name = knowledge.plan.candidates[each].name
        lines.append(f"  {rank}  {value:.4f} [{low:.4f}, {high:.4f}]  {name}")
    return lines


def cost_lines(found: Found) -> list[str]:
    """What the search cost, next to training all candidates in full."""
    everything = len(found.spec.candidates)
    lines = [f"cost: {found.spent:.2f} full trainings, where training all {everything} candidates costs {everything}"]
    bill = bill_of(found)
    if bill.total.seconds > 0:
        compared = f", where all candidates in full take about {bill.all_in_full}" if bill.all_in_full.time else ""
        lines.append(f"  {bill.total} of training{compared}")
    return lines


def _rung_lines(found: Found) -> list[str]:
    """By rung what was trained, what memories and failures there are."""
    knowledge, spec, bill, lines = found.knowledge, found.spec, bill_of(found), list[str]()
    for rung, proxy in enumerate(spec.ladder):
        trained = [each for each in knowledge.observations if each.trial.rung == rung]
        if trained:
            told = "" if proxy.is_target else f", {_trust(knowledge, rung)}"
            cost, time = sum(each.cost for each in trained), bill.rungs[rung].time
            took = f"{cost:.2f} full trainings" + (f" ({time})" if time and cost > 0 else "")
            lines.append(f"  {proxy.canonical}: {_counted(len(trained), 'training')}, {took}{told}")
    slow = [spec.ladder[rung].canonical for rung in slow_rungs(found)]
    if slow:
        lines.append(f"  {saving_note(slow)}")
    lines += [
        f"  memory {name}: believed to explain {weight:.0%} of the values" for name, weight in knowledge.weights.items()
    ]
    if found.failed:
        lines.append(f"  {len(found.failed)} trainings failed, such as {found.failed[0][0]}: {found.failed[0][1]}")
    return lines


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _trust(knowledge: Knowledge, rung: int) -> str:
    """How far a rung of the ladder agrees with the full data, and by what that is known."""
    trained = [each for each in knowledge.observations if each.trial.rung == rung]
    idle = sum(each.unranked for each in trained)
    if idle == len(trained):
        return "of which none learned anything: it tells nothing, and more epochs may"
    places = {knowledge.plan.places[each.trial.configuration] for each in trained if not each.unranked}
    both = len(places & set(knowledge.in_full))
    correlated = f"to correlate with full by {knowledge.trust(rung):.2f}"
    known = (
        f"believed {correlated}"
        if both >= FEWEST
        else f"assumed {correlated} ({_counted(both, 'configuration')} on both)"
    )
    return f"{known}; {idle} learned nothing" if idle else known


def saving_lines(found: Found, judged: Mapping[Configuration, float], study: str) -> list[str]:
    """What a search found, cost, saved and lost, against training every candidate in full, for a terminal.

    Args:
        judged: values of all candidates on the full data, from trainings that the search has not seen.
        study: that has these trainings.
    """
    if not found.knowledge.observations:
        return summary_lines(found)
    objective, everything = Objective(found.spec.trainer.metric), len(found.spec.candidates)
    metric = objective.metric
    lines = [f"the search found {found.best.name} for {found.spent:.2f} full trainings"]
    if found.best in judged:
        best = max(judged, key=lambda each: metric.sign * judged[each])
        lost = metric.sign * (judged[best] - judged[found.best]) * objective.loss
        lines += [
            f"  its {metric.label} in study {study}, which the search has not seen: {judged[found.best]:.4f}",
            f"  the best of all {everything} there, {best.name}: {judged[best]:.4f}, for {everything} full trainings",
            f"  so the search saved {everything - found.spent:.2f} full trainings of {everything}, and lost "
            f"{objective.amount(lost)} {objective.unit}",
        ]
    return lines


def _against_default(found: Found) -> list[str]:
    """Whether the best configuration is better than the default, as far as is known."""
    knowledge = found.knowledge
    default = "default" if found.knowledge.plan.candidates[0] == found.spec.space.centre else "first candidate"
    if knowledge.recommended == 0:
        return [f"  it is the {default}: nothing was found that beats it"]
    name = f"{default} ({found.knowledge.plan.candidates[0].name})"
    if 0 not in knowledge.in_full:
        # What proxies say of it may be wrong for both alike: with few steps, say, high learning rates look best.
        return [f"  the {name} was not trained in full, so nothing is known of how they compare"]
    better = float((knowledge.samples[:, knowledge.recommended] > knowledge.samples[:, 0]).mean())
    return [f"  better than the {name} with a probability of {better:.0%}"]
