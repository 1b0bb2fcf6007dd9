"""Lookup tables: real trainings of many configurations at many fidelities, to replay any search without training.

A table is the folder of a report, with `runs.csv` and `curves.csv`. Those of this repository's `reports/` are known by
name; they are not part of the package that pip installs.

Example:
    A search that trains every configuration for one epoch, and the five best of these in full:

    >>> from proxyflow import tables
    >>> table = tables.load("digits")  # doctest: +SKIP
    >>> screened = sorted(range(len(table)), key=lambda c: -table.value(c, "epochs:1"))  # doctest: +SKIP
    >>> best = max(screened[:5], key=table.value)  # doctest: +SKIP
    >>> table.configurations[best], table.test(best)  # doctest: +SKIP
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from proxyflow.core.csv_files import read_csv
from proxyflow.core.errors import InvalidValue, NotFound, UnknownName, UserError, one_line
from proxyflow.proxies import parse_proxy
from proxyflow.quality.runs import TARGET
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.grids import grid_of
from proxyflow.spaces.metric import Metric
from proxyflow.spaces.space import Space
from proxyflow.spaces.space_file import read_yaml

REPORTS = Path(__file__).parents[1] / "reports"
RUNS, CURVES = "runs.csv", "curves.csv"
# What a training costs, by the unit's name: the column of the whole training.
UNITS = {"seconds": "train_seconds", "flops": "train_flops", "examples": "examples_seen", "steps": "steps"}
_NEEDED = [
    *("run_id", "dataset", "strategy", "config", "config_json", "seed", "status", "objective", "epochs", "trainer"),
    *("metric", "goal", "aggregate", "share", "train_seconds", "train_flops", "examples_seen", "steps"),
]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LookupTable:
    """Trainings of one data set, by configuration, proxy and seed.

    Attributes:
        name: of the folder.
        dataset: the data set.
        metric: what the values are, and whether more or less is better.
        space: the space that the configurations are from.
        configurations: all of them; elsewhere a number is one's place here. The first one is the default, where the
            folder's `grid.yaml` says so.
        proxies: their canonical spellings, the cheapest in arithmetic (else in examples) first, `full` the last.
        seeds: by proxy, those of its trainings.
        runs: a row for each training, columns as in `runs.csv`, with `configuration`, the place of its configuration.
        curves: training to the metric after each epoch, `(epochs,) float64`, by `run_id`; empty where the folder has
            no curves.
        epoch_seconds: likewise, the seconds of each epoch with its validation.
    """

    name: str
    dataset: str
    metric: Metric
    space: Space
    configurations: tuple[Configuration, ...]
    proxies: tuple[str, ...]
    seeds: Mapping[str, tuple[int, ...]]
    runs: pd.DataFrame
    curves: Mapping[str, Floats] = field(default_factory=dict)
    epoch_seconds: Mapping[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.configurations)

    def value(
        self, configuration: int | Mapping[str, Any], proxy: str = TARGET, epoch: int | None = None, seed: int = 0
    ) -> float:
        """The metric on the validation examples.

        Args:
            configuration: its place in `configurations`, or its hyperparameters.
            proxy: its spelling.
            epoch: after which epoch, counted from 1. A training's learning rate follows a schedule to its own last
                epoch, so `epochs:5` is another training than the first five epochs of `full`. None is the whole
                training's value, as studies compare it: that of the best epoch (or the last one, by the metric).
            seed: of the training.

        Returns:
            A share for accuracies. Where the training diverged, the metric's worst value (0 for accuracies), or where
            it has none, as losses do, the worst one of the proxy's trainings.

        Raises:
            InvalidValue: there is no such training or epoch; the message says what there is.
        """
        row = self._row(configuration, proxy, seed)
        if epoch is None:
            return self._finite(self._column("objective")[row], row)
        curve = self._curve(row)
        self._check_epoch(row, epoch, len(curve))
        # What diverges has no more epochs.
        return self._finite(curve[epoch - 1] if epoch <= len(curve) else math.nan, row)

    def curve(self, configuration: int | Mapping[str, Any], proxy: str = TARGET, seed: int = 0) -> Floats:
        """The metric after each epoch, `(epochs,) float64`; a training that diverged may have fewer.

        Raises:
            InvalidValue: there is no such training, or its folder has no curve of it.
        """
        return self._curve(self._row(configuration, proxy, seed)).copy()

    def test(self, configuration: int | Mapping[str, Any], proxy: str = TARGET, seed: int = 0) -> float:
        """The metric on test examples that no search should see, after the last epoch; nan where it was not measured.

        Raises:
            InvalidValue: there is no such training.
        """
        return float(self._column("test_objective")[self._row(configuration, proxy, seed)])

    def cost(
        self,
        configuration: int | Mapping[str, Any],
        proxy: str = TARGET,
        epoch: int | None = None,
        seed: int = 0,
        unit: str = "seconds",
    ) -> float:
        """What the training took, without choosing its examples (see `choice_cost`).

        Args:
            configuration: its place in `configurations`, or its hyperparameters.
            proxy: its spelling.
            epoch: up to the end of which epoch; None is the whole training.
            seed: of the training.
            unit: one of `UNITS`: seconds with validation as measured, FLOPs, examples or optimizer steps of training.

        Returns:
            nan where it was not measured.

        Raises:
            InvalidValue: there is no such training, epoch or unit.
        """
        if unit not in UNITS:
            raise UnknownName("unit", unit, UNITS)
        row = self._row(configuration, proxy, seed)
        whole = float(self._column(UNITS[unit])[row])
        if epoch is None:
            return whole
        curve = self._curve(row)
        self._check_epoch(row, epoch, len(curve))
        done = min(epoch, len(curve))
        seconds = self.epoch_seconds.get(self._column("run_id")[row])
        if unit == "seconds" and seconds is not None and np.isfinite(seconds).all():
            return float(seconds[:done].sum())
        return whole * done / max(1, len(curve))

    def choice_cost(self, proxy: str, unit: str = "seconds") -> float:
        """What choosing a proxy's examples took, once for all of its trainings: a training for scores, or nothing.

        Raises:
            InvalidValue: there is no such proxy or unit.
        """
        if unit not in UNITS:
            raise UnknownName("unit", unit, UNITS)
        column = f"selection_{UNITS[unit]}"
        rows = self.runs["strategy"] == self._proxy(proxy)
        found = self.runs.loc[rows, column].dropna() if column in self.runs else pd.Series(dtype=float)
        return float(found.max()) if len(found) else 0.0

    def is_trained(self, configuration: int | Mapping[str, Any], proxy: str = TARGET, seed: int = 0) -> bool:
        """Whether there is such a training."""
        return (self.place(configuration), self._proxy(proxy), seed) in self._rows

    def place(self, configuration: int | Mapping[str, Any]) -> int:
        """The place of a configuration in `configurations`.

        Raises:
            InvalidValue: the table does not have it.
        """
        if isinstance(configuration, (int, np.integer)):
            if 0 <= configuration < len(self):
                return int(configuration)
            rule = f"{self.name} has {len(self)} configurations: give a whole number from 0 to {len(self) - 1}"
            raise InvalidValue("configuration", configuration, rule)
        spelled = configuration
        with suppress(InvalidValue):  # as the table has it
            spelled = self.space.configuration(configuration)
        place = self._places.get(_key(spelled))
        if place is None:
            rule = f"it is none of the {len(self)} configurations of {self.name}, which was trained on a fixed sample"
            raise InvalidValue("configuration", json.dumps(dict(configuration), default=str), rule)
        return place

    @cached_property
    def _places(self) -> dict[str, int]:
        return {_key(each): place for place, each in enumerate(self.configurations)}

    @cached_property
    def _rows(self) -> dict[tuple[int, str, int], int]:
        columns = (self.runs[name] for name in ("configuration", "strategy", "seed"))
        return {cell: row for row, cell in enumerate(zip(*columns, strict=True))}

    @cached_property
    def _columns(self) -> dict[str, NDArray[Any]]:
        return {}

    def _column(self, name: str) -> NDArray[Any]:
        """A column as an array, since a search looks up single cells."""
        if name not in self._columns:
            self._columns[name] = self.runs[name].to_numpy() if name in self.runs else np.full(len(self.runs), np.nan)
        return self._columns[name]

    def _proxy(self, proxy: str) -> str:
        if proxy in self.seeds:
            return proxy
        canonical = parse_proxy(proxy).canonical
        if canonical not in self.seeds:
            raise UnknownName("proxy", proxy, self.proxies)
        return canonical

    def _row(self, configuration: int | Mapping[str, Any], proxy: str, seed: int) -> int:
        place, known = self.place(configuration), self._proxy(proxy)
        row = self._rows.get((place, known, seed))
        if row is None:
            listed = ", ".join(map(str, self.seeds[known]))
            rule = f"{known} of configuration {place} was not trained with it; the seeds of {known} are {listed}"
            raise InvalidValue("seed", seed, rule)
        return row

    def _curve(self, row: int) -> Floats:
        curve = self.curves.get(self._column("run_id")[row])
        if curve is None:
            proxy = self._column("strategy")[row]
            raise InvalidValue("proxy", proxy, f"{self.name} has no values of its single epochs: leave epoch out")
        return curve

    def _check_epoch(self, row: int, epoch: int, done: int) -> None:
        last = max(done, int(self._column("epochs")[row]))
        if not 1 <= epoch <= last:
            rule = f"{self._column('strategy')[row]} has {last} epochs, counted from 1"
            raise InvalidValue("epoch", epoch, rule)

    def _finite(self, value: float, row: int) -> float:
        if math.isfinite(value):
            return float(value)
        return self._worst[self._column("strategy")[row]]

    @cached_property
    def _worst(self) -> dict[str, float]:
        """What a training of a proxy counts with if it diverged, as in a report."""
        sign = self.metric.sign
        values = self.runs["objective"].where(np.isfinite(self.runs["objective"].astype(float)))
        found = (sign * values).groupby(self.runs["strategy"]).min() * sign
        return {str(proxy): self.metric.worst if self.metric.share else float(worst) for proxy, worst in found.items()}


def load(table: str | Path, dataset: str | None = None) -> LookupTable:
    """Reads a lookup table.

    Args:
        table: the name of a folder of this repository's `reports/`, or the path of any folder with the `runs.csv` (and
            the `curves.csv`) of a report. A `space.yaml` beside them is the space of its configurations (else it is
            made of the values that they have), and the first configuration of a `grid.yaml` is the default.
        dataset: which data set, where the study has several.

    Raises:
        UserError: there is no such table or data set; or a file is none that a report of this version writes.

    """
    folder = _folder(table)
    runs = _read(folder / RUNS, _NEEDED)
    datasets = sorted(runs["dataset"].dropna().astype(str).unique())
    if not datasets:
        raise UserError(f"{folder / RUNS} has no trainings")
    if dataset is None and len(datasets) > 1:
        raise InvalidValue("dataset", dataset, f"{folder.name} has several: give one of {', '.join(datasets)}")
    chosen = datasets[0] if dataset is None else dataset
    if chosen not in datasets:
        raise UnknownName("dataset", chosen, datasets)
    runs = runs[(runs["dataset"] == chosen) & (runs["status"] == "finished")].reset_index(drop=True)
    if runs["config_json"].isna().any() or runs["seed"].isna().any() or runs.empty:
        rule = "has no finished trainings with config_json and seed: make the report again with this version"
        raise UserError(f"{folder / RUNS} {rule}")
    metric = _metric_of(runs, folder)
    space = _space_of(folder, runs)
    configurations = _configurations_of(folder, runs, space)
    places = {_key(each): place for place, each in enumerate(configurations)}
    runs["configuration"] = runs["config_json"].map(lambda text: places[_key(json.loads(text))])
    runs = runs.drop_duplicates(["configuration", "strategy", "seed"], keep="last").reset_index(drop=True)
    seeds = {str(proxy): tuple(sorted(set(map(int, group)))) for proxy, group in runs.groupby("strategy")["seed"]}
    curves, seconds = _curves_of(folder / CURVES, set(runs["run_id"]))
    return LookupTable(
        folder.name, chosen, metric, space, configurations, _cheapest_first(runs), seeds, runs, curves, seconds
    )


def _folder(table: str | Path) -> Path:
    for folder in (Path(table), REPORTS / table):
        if (folder / RUNS).is_file():
            return folder
    known = sorted(path.parent.name for path in REPORTS.glob(f"*/{RUNS}"))
    names = f"known names are {', '.join(known)}" if known else "names are those of a clone of the repository"
    raise NotFound(f"there is no lookup table {table}: give the folder of a report with {RUNS}; {names}")


def _read(path: Path, needed: list[str]) -> pd.DataFrame:
    try:
        table = read_csv(path)
    except (OSError, ValueError) as error:  # no CSV, or no UTF-8
        raise UserError(f"{path} cannot be read: {one_line(error)}") from None
    if missing := [name for name in needed if name not in table]:
        raise UserError(f"{path} has no column {', '.join(missing)}: give the folder of a report of this version")
    return table


def _metric_of(runs: pd.DataFrame, folder: Path) -> Metric:
    kinds = runs[["metric", "goal", "aggregate", "share"]].drop_duplicates()
    if len(kinds) > 1:
        raise UserError(f"{folder / RUNS} has several metrics: {', '.join(sorted(set(kinds['metric'])))}")
    name, goal, aggregate, share = kinds.iloc[0]
    return Metric(name, goal, aggregate, bool(share))


def _schema_of(runs: pd.DataFrame) -> Space | None:
    if set(runs["trainer"]) != {"images"}:
        return None
    from proxyflow.trainers.images.space import IMAGE_SPACE

    return IMAGE_SPACE


def _space_of(folder: Path, runs: pd.DataFrame) -> Space:
    path, schema = folder / "space.yaml", _schema_of(runs)
    if path.is_file():
        return Space.load(path, schema)
    values = [json.loads(text) for text in runs["config_json"].unique()]
    found = Space.around(values, {})
    return found if schema is None else Space(found.parameters, schema)


def _configurations_of(folder: Path, runs: pd.DataFrame, space: Space) -> tuple[Configuration, ...]:
    """In the order of the folder's grid, where it has one, else of their names."""
    found = runs.drop_duplicates("config_json").sort_values(["config", "config_json"])["config_json"]
    configurations = [space.configuration(json.loads(text)) for text in found]
    grid = folder / "grid.yaml"
    if grid.is_file():
        listed = grid_of(read_yaml("grid", str(grid)), str(grid), space.schema)
        order = {_key(each): place for place, each in enumerate(listed)}
        configurations.sort(key=lambda each: order.get(_key(each), len(order)))
    return tuple(configurations)


def _key(values: Mapping[str, Any]) -> str:
    told = values.told if isinstance(values, Configuration) else dict(values)
    return json.dumps(told, sort_keys=True, default=str)


def _cheapest_first(runs: pd.DataFrame) -> tuple[str, ...]:
    unit = "train_flops" if runs["train_flops"].notna().all() else "examples_seen"
    costs = runs[runs["strategy"] != TARGET].groupby("strategy")[unit].mean().sort_values(kind="stable")
    target = [TARGET] if (runs["strategy"] == TARGET).any() else []
    return (*map(str, costs.index), *target)


def _curves_of(path: Path, run_ids: set[str]) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """The metric and the seconds of each epoch, by training; epochs in between that were not logged are nan."""
    if not path.is_file():
        return {}, {}
    table = _read(path, ["run_id", "epoch", "objective"])
    table = table[table["run_id"].isin(run_ids)].sort_values(["run_id", "epoch"])
    found: tuple[dict[str, Floats], dict[str, Floats]] = ({}, {})
    for run_id, group in table.groupby("run_id", sort=False):
        epochs = group["epoch"].to_numpy()
        for curves, column in zip(found, ("objective", "epoch_seconds"), strict=True):
            curve = np.full(epochs[-1], np.nan)
            if column in group:
                curve[epochs - 1] = group[column]
            curves[str(run_id)] = curve
    return found
