"""Steps stand beside costs, as trainings logged them; of early trainings they are counted only where that is exact."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import noisy_study, training, trainings_frame

from proxyflow.quality.options import QualityOptions
from proxyflow.quality.steps import median_steps, steps_of, with_steps
from proxyflow.quality.summary import measure_study
from proxyflow.reporting.families import FAMILIES, is_synthetic


def steps(**changes: Any) -> float:
    row = {"trainer": "", "examples_seen": 6400.0, "config_json": json.dumps({"batch_size": 64}), **changes}
    return float(steps_of(trainings_frame([training(**row)]), is_synthetic).iloc[0])


def test_steps_are_those_that_were_logged() -> None:
    assert steps(steps=7.0) == 7.0


def test_version_0_1_0_took_whole_batches_so_its_examples_tell_its_steps() -> None:
    assert steps() == 100.0
    assert steps(strategy="random:0.1") == 100.0


@pytest.mark.parametrize(
    "changes",
    [
        {"examples_seen": 6401.0},
        {"examples_seen": math.nan},
        {"trainer": "program"},
        {"trainer": "images"},
        {"strategy": "distilled:10"},
        {"config_json": "{}"},
        {"config_json": ""},
        {"config_json": "no JSON"},
        {"config_json": "[64]"},
        {"config_json": json.dumps({"batch_size": 0})},
        {"config_json": json.dumps({"batch_size": "64"})},
    ],
)
def test_where_that_would_be_a_guess_they_are_not_known(changes: dict[str, Any]) -> None:
    assert np.isnan(steps(**changes))


def test_a_median_is_over_all_trainings_and_missing_where_one_is_not_known() -> None:
    counts = {"full": [100.0, 300.0, 200.0], "random:0.1": [10.0, math.nan, 30.0]}
    rows = [
        training(name, f"lr={index}", steps=each, trainer="images")
        for name, found in counts.items()
        for index, each in enumerate(found)
    ]
    found = median_steps(trainings_frame(rows), is_synthetic)
    assert found["full"] == 200.0
    assert np.isnan(found["random:0.1"])


def test_a_frame_without_these_columns_has_none() -> None:
    frame = pd.DataFrame({"strategy": ["full", "random:0.1"]})
    assert median_steps(frame, is_synthetic) == pytest.approx({"full": math.nan, "random:0.1": math.nan}, nan_ok=True)


def test_steps_stand_after_the_costs() -> None:
    one = pd.DataFrame({"strategy": ["a", "b"], "relative_cost": [0.1, 0.2], "n_pairs": [1, 2]})
    found = with_steps(one, {"a": 10.0})
    assert list(found.columns) == ["strategy", "relative_cost", "steps", "n_pairs"]
    assert found["steps"].tolist() == pytest.approx([10.0, math.nan], nan_ok=True)
    two = one.assign(other=["b", "a"], other_relative_cost=[0.2, 0.1])
    both = with_steps(two, {"a": 10.0, "b": 20.0})
    assert list(both.columns)[-3:] == ["other_relative_cost", "steps", "other_steps"]
    assert both[["steps", "other_steps"]].to_numpy().tolist() == [[10.0, 20.0], [20.0, 10.0]]


def test_every_table_of_strategies_with_a_cost_has_them() -> None:
    cost = {"random:0.1": (0.1, 0.05), "easiest:0.1": (0.1, 0.04)}
    trainings = trainings_frame(noisy_study(cost))
    counts = {"full": 400.0, "random:0.1": 40.0, "easiest:0.1": 41.0}
    quality = measure_study(
        trainings.assign(steps=trainings["strategy"].map(counts)), QualityOptions(bootstrap=50), FAMILIES
    )
    assert quality.strategies.set_index("strategy")["steps"].to_dict() == counts
    assert quality.selection.set_index("strategy")["steps"].to_dict() == counts
    for table in (quality.comparisons, quality.robustness):
        assert len(table)
        assert table["steps"].tolist() == [counts[name] for name in table["strategy"]]
        assert table["other_steps"].tolist() == [counts[name] for name in table["other"]]
    policies = quality.policies.table
    assert policies["steps"].tolist() == [counts[name or "full"] for name in policies["strategy"]]
