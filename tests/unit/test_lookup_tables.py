"""Lookup tables give the values of the files that they are read from, and say what they do not have."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from proxyflow.core.errors import InvalidValue, NotFound, UnknownName, UserError
from proxyflow.reporting.tables import read_tables
from proxyflow.tables import REPORTS, LookupTable, load

RATES = (0.3, 0.01, 0.1)
COMMITTED = sorted(path.parent.name for path in REPORTS.glob("*/runs.csv"))


def row(rate: float, proxy: str, seed: int, **values: Any) -> dict[str, Any]:
    epochs = 2 if proxy == "epochs:2" else 4
    config_json = json.dumps({"learning_rate": rate, "optimizer": "adam"})
    described = {"run_id": f"{rate}-{proxy}-{seed}", "config": f"lr={rate}", "config_json": config_json}
    judged = {"metric": "loss", "goal": "minimize", "aggregate": "last", "share": False, "trainer": "program"}
    costs = {
        "train_seconds": 10.0 * epochs,
        "train_flops": 1e9 * epochs,
        "examples_seen": 100 * epochs,
        "steps": epochs,
    }
    measured = {
        "objective": rate + seed / 100,
        "test_objective": rate,
        "selection_train_seconds": math.nan,
        "epochs": epochs,
    }
    status = {"dataset": "rows", "strategy": proxy, "seed": seed, "status": "finished", "diverged": False}
    return described | status | judged | costs | measured | values


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "runs.csv", index=False)
    curves = [
        {"run_id": each["run_id"], "epoch": epoch, "objective": each["objective"] + 1 / epoch, "epoch_seconds": epoch}
        for each in rows
        for epoch in range(1, each["epochs"] + 1)
        if not (each["diverged"] and epoch > 1)
    ]
    pd.DataFrame(curves).to_csv(folder / "curves.csv", index=False)
    return folder


ROWS = [
    *(row(rate, "full", seed) for rate in RATES for seed in (0, 1)),
    *(row(rate, "epochs:2", 0, diverged=rate == 0.3, objective=math.nan if rate == 0.3 else rate) for rate in RATES),
    *(row(rate, "easiest:0.25", 0, selection_train_seconds=33.0, examples_seen=100) for rate in RATES[1:]),
    row(0.1, "full", 7, status="failed"),
]


@pytest.fixture
def table(tmp_path: Path) -> LookupTable:
    return load(write(tmp_path / "mine", ROWS))


def test_what_it_holds(table: LookupTable) -> None:
    assert (table.name, table.dataset, len(table)) == ("mine", "rows", 3)
    assert [each["learning_rate"] for each in table.configurations] == [0.01, 0.1, 0.3]
    assert table.proxies == ("easiest:0.25", "epochs:2", "full") or table.proxies == (
        "epochs:2",
        "easiest:0.25",
        "full",
    )
    assert table.seeds == {"full": (0, 1), "epochs:2": (0,), "easiest:0.25": (0,)}
    assert table.space.names == ("learning_rate", "optimizer")


def test_values_by_place_and_by_hyperparameters(table: LookupTable) -> None:
    assert table.value(1, seed=1) == pytest.approx(0.11)
    assert table.value({"optimizer": "adam", "learning_rate": 0.1}, "full", None, 1) == pytest.approx(0.11)
    assert table.value(np.int64(0), "epochs:2") == 0.01
    assert table.value(0, "epochs:2", epoch=1) == pytest.approx(1.01)
    assert table.curve(0).tolist() == pytest.approx([1.01, 0.51, 0.01 + 1 / 3, 0.26])
    assert table.test(2, seed=1) == 0.3


def test_a_proxy_in_another_spelling_is_the_same(table: LookupTable) -> None:
    assert table.value(1, "easiest:0.250") == table.value(1, "easiest:0.25")


def test_costs(table: LookupTable) -> None:
    assert table.cost(0) == 40
    assert table.cost(0, epoch=2) == 1 + 2  # as measured
    assert table.cost(0, epoch=2, unit="flops") == 2e9
    assert table.cost(0, "epochs:2", unit="steps") == 2
    assert table.choice_cost("easiest:0.25") == 33
    assert table.choice_cost("epochs:2") == 0


def test_what_diverged_has_the_worst_value(table: LookupTable) -> None:
    assert table.value(2, "epochs:2") == 0.1, "a loss has no worst value; the proxy's worst one is that of place 1"
    assert table.value(2, "epochs:2", epoch=2) == 0.1
    assert len(table.curve(2, "epochs:2")) == 1
    assert table.cost(2, "epochs:2", epoch=2) == 1


def test_an_accuracy_that_diverged_is_0(tmp_path: Path) -> None:
    rows = [{**each, "metric": "accuracy", "goal": "maximize", "share": True} for each in ROWS]
    assert load(write(tmp_path / "mine", rows)).value(2, "epochs:2") == 0


def test_what_was_not_trained(table: LookupTable) -> None:
    assert not table.is_trained(2, "easiest:0.25")
    assert not table.is_trained(1, seed=7), "it failed"
    assert table.is_trained(1, seed=1)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"configuration": 3}, "configuration"),
        ({"configuration": -1}, "configuration"),
        ({"configuration": {"learning_rate": 0.2, "optimizer": "adam"}}, "configuration"),
        ({"configuration": 0, "proxy": "random:0.1"}, "proxy"),
        ({"configuration": 0, "seed": 2}, "seed"),
        ({"configuration": 0, "epoch": 5}, "epoch"),
        ({"configuration": 0, "epoch": 0}, "epoch"),
    ],
)
def test_what_it_does_not_have_is_named(table: LookupTable, asked: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        table.value(**asked)
    assert caught.value.name == name


def test_units_are_named(table: LookupTable) -> None:
    with pytest.raises(UnknownName):
        table.cost(0, unit="minutes")
    with pytest.raises(UnknownName):
        table.choice_cost("full", unit="minutes")


def test_without_curves_there_are_whole_trainings(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", ROWS)
    (folder / "curves.csv").unlink()
    table = load(folder)
    assert table.value(0) == 0.01
    with pytest.raises(InvalidValue):
        table.value(0, epoch=1)


def test_a_space_and_a_grid_beside_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", ROWS)
    (folder / "space.yaml").write_text("learning_rate: {low: 0.001, high: 1, log: true}\noptimizer: [adam, sgd]\n")
    (folder / "grid.yaml").write_text(json.dumps([{"learning_rate": rate, "optimizer": "adam"} for rate in RATES]))
    table = load(folder)
    assert [each["learning_rate"] for each in table.configurations] == list(RATES), "the default is the first"
    assert not table.space["learning_rate"].is_fixed
    assert not table.space["optimizer"].is_fixed, "sgd is in the space, though no configuration has it"


def test_several_data_sets(tmp_path: Path) -> None:
    other = [each | {"dataset": "others", "run_id": f"other-{each['run_id']}"} for each in ROWS]
    folder = write(tmp_path / "mine", ROWS + other)
    with pytest.raises(InvalidValue) as caught:
        load(folder)
    assert caught.value.name == "dataset"
    with pytest.raises(UnknownName):
        load(folder, "neither")
    assert load(folder, "others").dataset == "others"


def test_what_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load("no-such-table")
    (tmp_path / "runs.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError):
        load(tmp_path)
    (tmp_path / "runs.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError):
        load(tmp_path)
    write(tmp_path, [{**each, "config_json": ""} for each in ROWS])
    with pytest.raises(UserError):
        load(tmp_path)


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_tables_give_what_their_files_say(name: str) -> None:
    tables = read_tables(REPORTS / name)
    runs = tables["runs"][tables["runs"]["status"] == "finished"]
    for dataset, group in runs.groupby("dataset"):
        table = load(name, str(dataset))
        assert len(table.runs) == len(group)
        for each in group.sample(25, random_state=0).to_dict("records"):
            cell = (json.loads(each["config_json"]), each["strategy"])
            assert table.value(*cell, seed=each["seed"]) == each["objective"]
            assert table.cost(*cell, seed=each["seed"]) == each["train_seconds"]
