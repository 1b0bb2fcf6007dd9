"""What relative cost counts, by what the trainings say of their devices, and which costs are not to be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import training, trainings_frame

from proxyflow.quality.cost_basis import CostBasis, choose_cost_basis, cost_notes
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import COSTS
from proxyflow.quality.summary import StudyQuality, measure_study
from proxyflow.reporting.families import FAMILIES

N = 6
PROXIES = {"random:0.1": 0.1, "random:0.5": 0.5}


def runs(**changes: Any) -> pd.DataFrame:
    """The target and two proxies; a change is a value for all, or one for each strategy."""
    rows = []
    for strategy, share in {"full": 1.0, **PROXIES}.items():
        own = {name: value[strategy] if isinstance(value, dict) else value for name, value in changes.items()}
        costs = {"train_seconds": 100 * share, "examples_seen": 20_000 * share, "train_flops": 1e12 * share}
        alone = {"device": "cpu", "device_shared": False}
        rows += [training(strategy, f"lr={n}", 0.5 + n / 50, **{**costs, **alone, **own}) for n in range(N)]
    return trainings_frame(rows)


def but_one(frame: pd.DataFrame, **changes: Any) -> pd.DataFrame:
    """The frame with one training changed."""
    changed = frame.copy()
    for name, value in changes.items():
        changed.loc[changed.index[-1], name] = value
    return changed


@pytest.mark.parametrize(
    ("frame", "basis", "named"),
    [
        (runs(), "train_seconds", "alone"),
        (runs(device_shared=pd.NA), "train_seconds", f"for {3 * N} of {3 * N}"),
        (runs().drop(columns=["device_shared", "device"]), "train_seconds", f"for {3 * N} of {3 * N}"),
        (but_one(runs(), device_shared=pd.NA), "train_seconds", f"for 1 of {3 * N}"),
        (but_one(runs(), device=""), "train_seconds", "alone"),
        (but_one(runs(), device_shared=True), "train_flops", f"1 of {3 * N} trainings shared"),
        (but_one(runs(), device="Tesla P100"), "train_flops", "Tesla P100, cpu"),
        (but_one(runs(), train_seconds=np.nan), "train_flops", f"1 of {3 * N} trainings have no train_seconds"),
        (but_one(runs(), device_shared=True, train_flops=np.nan), "examples_seen", "shared"),
        (but_one(runs(), device_shared=True).drop(columns="train_flops"), "examples_seen", "shared"),
        (but_one(runs(), train_seconds=np.nan, train_flops=np.nan, examples_seen=np.nan), "examples_seen", "no train"),
        (
            but_one(runs(examples_seen=20_000), device_shared=True).drop(columns="train_flops"),
            "train_seconds",
            "random:0.1, random:0.5 see as many examples as the target",
        ),
        (runs().iloc[:0], "train_seconds", ""),
    ],
)
def test_auto_is_seconds_only_where_all_were_alone_on_one_kind_of_device(
    frame: pd.DataFrame, basis: str, named: str
) -> None:
    chosen = choose_cost_basis(frame)
    assert chosen.basis == basis
    assert named in chosen.reason


@pytest.mark.parametrize("basis", COSTS)
def test_what_a_user_asks_for_is_taken(basis: str) -> None:
    chosen = choose_cost_basis(but_one(runs(), device_shared=True), basis)
    assert chosen == CostBasis(basis, chosen.reason)
    assert f"cost_basis={basis}" in chosen.reason


def quality(frame: pd.DataFrame, basis: str = "auto") -> StudyQuality:
    return measure_study(frame, QualityOptions(bootstrap=0, cost_basis=basis), FAMILIES)


def relative_cost(measured: StudyQuality) -> dict[str, float]:
    return measured.strategies.set_index("strategy")["relative_cost"].to_dict()


def test_the_report_measures_by_the_chosen_basis_and_says_which() -> None:
    slow = runs(train_seconds={"full": 100.0, "random:0.1": 90.0, "random:0.5": 50.0})
    assert relative_cost(quality(slow))["random:0.1"] == pytest.approx(0.9)
    shared = but_one(slow, device_shared=True)
    found = quality(shared)
    assert found.cost.basis == "train_flops"
    assert relative_cost(found)["random:0.1"] == pytest.approx(0.1)
    assert set(found.selection["cost_basis"]) == {"train_flops"}
    by_seconds = quality(shared, "train_seconds")
    assert by_seconds.cost.basis == "train_seconds"
    assert relative_cost(by_seconds)["random:0.1"] == pytest.approx(0.9)


def test_trainings_that_shared_their_device_are_counted_by_strategy() -> None:
    frame = runs(device_shared={"full": True, "random:0.1": False, "random:0.5": pd.NA})
    [(strategy, note)] = cost_notes(but_one(frame, device_shared=True), "train_flops")
    assert strategy == ""
    assert f"{N + 1} of {3 * N} trainings" in note
    assert f"full {N}, random:0.5 1" in note
    assert "random:0.1" not in note
    many = pd.concat([frame.assign(strategy=f"random:0.{n}") for n in range(20)]).assign(device_shared=True)
    assert "and 12 more strategies" in dict(cost_notes(many, "train_flops"))[""]


def test_nothing_is_said_of_costs_that_go_by_the_examples() -> None:
    assert cost_notes(runs(), "train_seconds") == []
    # A tenth of the examples, with a validation set that takes as long as they do.
    validated = runs(n_valid=300, epochs=20, train_seconds={"full": 110.0, "random:0.1": 20.0, "random:0.5": 60.0})
    assert cost_notes(validated, "train_seconds") == []
    assert cost_notes(runs(device="cpu").iloc[:0], "train_seconds") == []


@pytest.mark.parametrize(("seconds", "named"), [(108.0, 2), (16.0, 1), (14.0, 0), (7.0, 0), (6.0, 1)])
def test_a_proxy_is_named_whose_seconds_contradict_its_examples(seconds: float, named: int) -> None:
    frame = runs(train_seconds={"full": 100.0, "random:0.1": seconds, "random:0.5": 50.0})
    notes = cost_notes(frame, "train_seconds")
    assert [strategy for strategy, _ in notes] == ["random:0.1"] * named
    assert any("costs more than the target" in note for _, note in notes) == (seconds > 100)
    by_examples = cost_notes(frame, "examples_seen")
    assert len(by_examples) == min(named, 1), "by examples it is cheap, and its seconds are odd all the same"


def test_smaller_images_are_no_contradiction_where_operations_are_known() -> None:
    small = {"full": 100.0, "random:0.1": 2.5, "random:0.5": 50.0}
    frame = runs(train_seconds=small, train_flops={name: 1e10 * value for name, value in small.items()})
    assert cost_notes(frame, "train_seconds") == []
    assert cost_notes(frame.drop(columns="train_flops"), "train_seconds") != []


def test_costs_that_are_not_known_contradict_nothing() -> None:
    for column in COSTS:
        assert cost_notes(but_one(runs(), **{column: np.nan}), "train_seconds") == []
    assert cost_notes(runs()[runs()["strategy"] != "full"], "train_seconds") == []
