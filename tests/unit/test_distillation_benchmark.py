"""The figures that the benchmark of synthetic images leaves: all that its page states, and none of another part lost."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.distillation import figures_of_making, kept_figures, label_of, main
from proxyflow.scores.table import SelectionCost


def test_a_run_of_one_part_keeps_the_figures_of_the_other(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    assert kept_figures(path, "quality") == {}
    accuracy = {"accuracy_random_digits": 0.9, "minutes_gradient_steps_digits": 2.0, "seeds_digits": 5.0}
    quality = {"quality_r2_random_0.25": 0.2, "quality_target_accuracy_lowest": 0.1}
    path.write_text(json.dumps({"figures": accuracy | quality}))
    assert kept_figures(path, "quality") == accuracy
    assert kept_figures(path, "accuracy") == quality
    assert kept_figures(path, "") == {}


def test_a_part_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["distillation", "--only", "speed"])
    with pytest.raises(SystemExit, match="--only speed: a part is accuracy or quality"):
        main()


def test_what_was_chosen_and_by_what_is_told_in_numbers() -> None:
    summary = {
        "agreement": {"start 0, iteration 0": 0.25, "start 1, iteration 50": 0.5},
        "chosen": "start 1, iteration 50",
        "pilot_steps": {"real data": 32, "candidates": 32},
    }
    made = SimpleNamespace(summary=summary, cost=SelectionCost(train_seconds=90.0))
    assert figures_of_making(made) == {  # type: ignore[arg-type]
        "making_minutes": 1.5,
        "chosen_start": 1.0,
        "chosen_iteration": 50.0,
        "tau_start_0_iteration_0": 0.25,
        "tau_start_1_iteration_50": 0.5,
        "pilot_steps_real_data": 32.0,
        "pilot_steps_candidates": 32.0,
    }


@pytest.mark.parametrize(
    ("strategy", "label"),
    [
        ("full", "full"),
        ("random:0.25", "random_0.25"),
        ("real:10", "real_10"),
        ("distilled:10,iterations=500,share=0.25", "distribution_matching"),
        ("distilled:10,method=gradient-steps,iterations=500,share=0.25", "gradient_steps"),
    ],
)
def test_a_contender_goes_by_what_made_its_images(strategy: str, label: str) -> None:
    assert label_of(strategy) == label
