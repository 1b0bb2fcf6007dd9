"""The noise of the validation images beside what the good configurations differ by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import study_rows, trainings_frame

from proxyflow.quality.options import QualityOptions
from proxyflow.quality.summary import measure_study
from proxyflow.quality.validation_noise import NOISE_COLUMNS, noise_notes, validation_noise
from proxyflow.reporting.families import FAMILIES
from proxyflow.spaces.metric import ACCURACY

GOOD = [0.90, 0.92, 0.94]
WORSE = [0.2, 0.3, 0.4]


def target(accuracies: Mapping[str, Sequence[float]], n_valid: Any = 500, seeds: int = 1) -> pd.DataFrame:
    """The target's runs by data set, one configuration for each accuracy, each seed off by a hundredth."""
    rows = []
    for dataset, values in accuracies.items():
        for seed in range(seeds):
            rows += study_rows({"full": [value + 0.01 * seed for value in values]}, dataset=dataset, seed=seed)
    return trainings_frame(rows).assign(n_valid=pd.array([n_valid] * len(rows), dtype="Int64"))


def test_the_better_half_is_described_with_its_standard_error_in_points() -> None:
    [row] = validation_noise(target({"digits": [*WORSE, *GOOD]}), ACCURACY).to_dict("records")
    assert list(row) == NOISE_COLUMNS
    assert (row["dataset"], row["n_valid"], row["n_configurations"]) == ("digits", 500, 3)
    assert row["objective"] == pytest.approx(0.92)
    assert row["standard_error"] == pytest.approx(100 * math.sqrt(0.92 * 0.08 / 500))
    assert row["spread"] == pytest.approx(2.0)


def test_the_standard_error_is_that_of_accuracies_over_drawn_images() -> None:
    [row] = validation_noise(target({"digits": [0.8] * 2}, n_valid=400), ACCURACY).to_dict("records")
    drawn = np.random.default_rng(0).binomial(400, 0.8, 100_000) / 400
    assert row["standard_error"] == pytest.approx(100 * drawn.std(), rel=0.02)


def test_seeds_are_averaged_and_data_sets_are_apart() -> None:
    table = validation_noise(target({"a": [*WORSE, *GOOD], "b": [0.5, 0.6, 0.7]}, seeds=3), ACCURACY).set_index(
        "dataset"
    )
    assert table["objective"].tolist() == pytest.approx([0.93, 0.66])
    assert table["spread"].tolist() == pytest.approx([2.0, 100 * math.sqrt(0.005)])
    assert table["n_configurations"].tolist() == [3, 2], "half of three is rounded up"


def test_the_smallest_validation_set_counts_where_runs_differ() -> None:
    runs = target({"a": GOOD})
    runs.loc[0, "n_valid"] = 100
    assert validation_noise(runs, ACCURACY)["n_valid"].tolist() == [100]


@pytest.mark.parametrize("n_valid", [None, 0])
def test_what_is_not_known_is_empty(n_valid: int | None) -> None:
    runs = target({"a": GOOD, "b": [0.5]}, n_valid)
    for frame in (runs, runs.drop(columns="n_valid")):
        table = validation_noise(frame, ACCURACY)
        assert table["standard_error"].isna().all()
        assert table["spread"].isna().tolist() == [False, True]
        assert noise_notes(table, ACCURACY) == []
    empty = validation_noise(runs.iloc[:0], ACCURACY)
    assert empty.empty
    assert list(empty) == NOISE_COLUMNS


@pytest.mark.parametrize(("images", "told"), [(100, True), (700, True), (800, False), (10_000, False)])
def test_a_standard_error_above_half_of_the_spread_is_told(images: int, told: bool) -> None:
    # The spread is 2 points, and 1 point is the standard error of 736 images at .92.
    notes = noise_notes(validation_noise(target({"digits": [*WORSE, *GOOD]}, images), ACCURACY), ACCURACY)
    assert len(notes) == told
    assert all("digits" in note and f"{images:,}" in note and "valid_examples" in note for note in notes)


def test_the_report_has_the_table_and_the_notes() -> None:
    rows = target({"digits": [*WORSE, *GOOD]}, 100)
    quality = measure_study(rows, QualityOptions(bootstrap=0), FAMILIES)
    pd.testing.assert_frame_equal(quality.noise, validation_noise(rows, ACCURACY))
    assert ("", noise_notes(quality.noise, ACCURACY)[0]) in quality.notes
