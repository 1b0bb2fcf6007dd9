"""Writes a lookup table as a box of plain arrays, since other packages' environments do not have proxyflow.

python -m benchmarks.peers.export digits --unit flops --out digits.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.blackbox import TARGET, Blackbox, Floats, Parameter
from proxyflow.core.errors import UserError
from proxyflow.spaces.parameters import Categorical, Numeric
from proxyflow.spaces.space import Space
from proxyflow.tables import UNITS, LookupTable, load


def box_of(table: LookupTable, unit: str = "flops", label: str = "") -> Blackbox:
    """The box of a table, under its name or a label.

    Seeds that single configurations lack are left out, and proxies without any left, as a replay must not end at a
    hole.

    Raises:
        UserError: the target has no seed that all configurations have, or the unit was not measured.
    """
    seeds = {proxy: _complete_seeds(table, proxy) for proxy in table.proxies}
    seeds = {proxy: found for proxy, found in seeds.items() if found}
    if TARGET not in seeds:
        raise UserError(f"{table.name} has no seed with which every configuration has a full training")
    everywhere = range(len(table))

    def grid(of: Any, proxy: str) -> Floats:
        return np.array([[of(each, proxy, seed) for seed in seeds[proxy]] for each in everywhere], dtype=float)

    costs = {proxy: grid(lambda *cell: table.cost(cell[0], cell[1], seed=cell[2], unit=unit), proxy) for proxy in seeds}
    one = float(costs[TARGET].mean())
    if not all(np.isfinite(each).all() for each in costs.values()):
        raise UserError(f"{table.name} has no {unit} of some trainings: take another unit")
    sign = table.metric.sign
    values = {proxy: sign * grid(lambda *cell: table.value(cell[0], cell[1], seed=cell[2]), proxy) for proxy in seeds}
    test = sign * grid(lambda *cell: table.test(cell[0], cell[1], seed=cell[2]), TARGET)
    has_test = bool(np.isfinite(test).all())
    return Blackbox(
        table=label or table.name,
        metric=table.metric.name,
        unit=unit,
        judged_by="test" if has_test else "validation",
        configurations=tuple(dict(each) for each in table.configurations),
        space=_space_of(table.space),
        epochs={proxy: _epochs(table, proxy) for proxy in seeds},
        seeds=seeds,
        choice_costs={proxy: table.choice_cost(proxy, unit) / one for proxy in seeds},
        values=values,
        costs={proxy: each / one for proxy, each in costs.items()},
        judge=test if has_test else values[TARGET],
        curves=_curves(table, seeds[TARGET]),
    )


def _complete_seeds(table: LookupTable, proxy: str) -> tuple[int, ...]:
    everywhere = range(len(table))
    return tuple(s for s in table.seeds[proxy] if all(table.is_trained(each, proxy, s) for each in everywhere))


def _epochs(table: LookupTable, proxy: str) -> int:
    return int(table.runs.loc[table.runs["strategy"] == proxy, "epochs"].max())


def _space_of(space: Space) -> tuple[Parameter, ...]:
    return tuple(_parameter_of(each) for each in space.parameters if not each.is_fixed)


def _parameter_of(parameter: Any) -> Parameter:
    if isinstance(parameter, Categorical):
        return Parameter(parameter.name, "categorical", choices=parameter.choices)
    if isinstance(parameter, Numeric) and parameter.is_bounded:
        kind = "int" if parameter.whole else "float"
        return Parameter(parameter.name, kind, parameter.low, parameter.high, parameter.log)
    raise UserError(
        f"{parameter.name} has no bounds that a search could draw between: put a space.yaml beside runs.csv"
    )


def _curves(table: LookupTable, seeds: tuple[int, ...]) -> Floats | None:
    """The target's curves, turned so that more is better; none if a training has no curve."""
    runs = table.runs
    wanted = runs[(runs["strategy"] == TARGET) & runs["seed"].isin(seeds)]
    if not set(wanted["run_id"]) <= set(table.curves):
        return None
    epochs = range(1, _epochs(table, TARGET) + 1)
    cells = [[[table.value(c, epoch=e, seed=s) for e in epochs] for s in seeds] for c in range(len(table))]
    return table.metric.sign * np.array(cells, dtype=float)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.export", description=__doc__.splitlines()[0])
    parser.add_argument("table", help="a name in reports/, or the folder of a report")
    parser.add_argument("--dataset", help="which one, where the study has several")
    parser.add_argument("--unit", default="flops", choices=list(UNITS), help="what costs are made of")
    parser.add_argument("--out", type=Path, required=True, help="the .npz file; a .json file is written beside it")
    asked = parser.parse_args(arguments)
    table = load(asked.table, asked.dataset)
    box = box_of(table, asked.unit, f"{table.name}/{asked.dataset}" if asked.dataset else "")
    box.save(asked.out)
    print(f"{asked.out}: {len(box)} configurations, {len(box.proxies)} fidelities, judged by {box.judged_by}")


if __name__ == "__main__":
    main()
