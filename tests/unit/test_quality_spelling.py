"""Names of strategies are read in one place, so that a composition counts as what it trains."""

from __future__ import annotations

import pytest
from made_up import training, trainings_frame

from proxyflow.core.spelling import parts_of
from proxyflow.quality.runs import select_runs
from proxyflow.quality.spelling import epochs_named


@pytest.mark.parametrize(
    ("strategy", "parts"),
    [
        ("full", ["full"]),
        ("epochs:5", ["epochs:5"]),
        ("random:0.25+epochs:5+size:16", ["random:0.25", "epochs:5", "size:16"]),
        ("classes:0+3+7", ["classes:0+3+7"]),
        ("classes:0+3+epochs:5", ["classes:0+3", "epochs:5"]),
        ("hardest:0.5,drop=0.05+width:0.5", ["hardest:0.5,drop=0.05", "width:0.5"]),
        ("", [""]),
    ],
)
def test_a_plus_before_a_digit_joins_no_parts(strategy: str, parts: list[str]) -> None:
    assert parts_of(strategy) == parts


@pytest.mark.parametrize(
    ("strategy", "epochs"),
    [
        ("epochs:5", 5),
        ("random:0.25+epochs:5", 5),
        ("epochs:10+size:16", 10),
        ("classes:0+3+epochs:2+batch:16", 2),
        ("full", None),
        ("size:16", None),
        ("random:0.25+size:5", None),
        ("my-epochs:5", None),
        ("epochs:", None),
        ("epochs:0", None),
        ("epochs:2.5", None),
        ("epochs:many", None),
    ],
)
def test_the_epochs_are_those_of_the_part_that_states_them(strategy: str, epochs: int | None) -> None:
    assert epochs_named(strategy) == epochs


def test_a_composition_counts_where_it_trained_the_epochs_that_it_names() -> None:
    rows = [
        training(run_id="target", epochs=20),
        training("random:0.25+epochs:5", run_id="both", epochs=5),
        training("epochs:5+size:16", run_id="first", epochs=5),
        training("random:0.25+epochs:5", config="lr=1", run_id="too long", epochs=20),
        training("epochs:5+size:16", config="lr=1", run_id="also too long", epochs=20),
        training("random:0.25+size:16", run_id="whole", epochs=20),
    ]
    counted = select_runs(trainings_frame(rows))
    assert set(counted.frame["run_id"]) == {"target", "both", "first", "whole"}
    assert any("2 finished training(s) have other epoch counts" in note for note in counted.notes)
