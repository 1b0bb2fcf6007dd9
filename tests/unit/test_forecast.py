"""What a dry run prints: dependencies first, then each training, then time and money per strategy and in all."""

from __future__ import annotations

import pytest
from image_training import planned_of

from proxyflow.studies.estimate import Size
from proxyflow.studies.forecast import Forecast, RunPlan, ScoringPlan, SubsetPlan, forecast_lines
from proxyflow.trainers import ImageTrainer, TrainingSpec
from proxyflow.trainers.images.space import image_configuration


def expected(strategy: str, rate: float, seconds: float, work: float, finished: bool = False) -> RunPlan:
    spec = TrainingSpec(image_configuration(learning_rate=rate), 4, 0, ImageTrainer())
    planned = planned_of(strategy, spec)
    return RunPlan(planned, Size(100, 50, 10, work), finished, 0.0 if finished else seconds)


TRAININGS = (
    expected("full", 0.003, 3600, 100, finished=True),
    expected("easiest:0.1", 0.003, 360, 10),
    expected("full", 0.01, 3600, 100),
    expected("easiest:0.1", 0.01, 360, 10),
)
SCORES = ScoringPlan("digits", 6, "", 720)
CHOICES = (
    SubsetPlan("digits", "full", 0, "the-run-of-it", "", 2),
    SubsetPlan("digits", "easiest:0.1", 0, "", "scores", 2),
)
PLAN = Forecast((SCORES,), CHOICES, TRAININGS)


def tables(plan: Forecast, price: float | None = None) -> list[list[list[str]]]:
    """The printed tables, each as rows of words."""
    text = "\n".join(forecast_lines(plan, price))
    return [[line.split() for line in table.splitlines()] for table in text.split("\n\n")]


def test_dependencies_come_before_what_waits_for_them() -> None:
    scores, subsets, trainings, _, _ = tables(PLAN)
    assert scores[1:] == [["digits", "6", "12", "min", "to", "do"]]
    assert subsets[1:] == [
        ["digits", "full", "0", "2", "run", "the-run-of-it"],
        ["digits", "easiest:0.1", "0", "scores", "2", "to", "do"],
    ]
    assert [row[1] for row in trainings[1:]] == ["full", "easiest:0.1"] * 2
    assert trainings[1] == ["digits", "full", "default", "0", "4", "100", "0", "s", "finished"]
    assert trainings[4] == ["digits", "easiest:0.1", "lr=0.01", "0", "4", "100", "6.0", "min", "to", "do"]


def test_totals_are_per_strategy_and_in_all() -> None:
    *_, strategies, total = tables(PLAN)
    assert strategies[1:] == [
        ["full", "2", "1", "1.0", "h", "1.000"],
        ["easiest:0.1", "2", "2", "12", "min", "0.100"],
    ]
    assert " ".join(total[0]) == "4 runs, 3 to do: about 1.4 h, 12 min of it scoring"


def test_a_price_gives_dollars() -> None:
    *_, strategies, total = tables(PLAN, price=2.0)
    assert [row[5] for row in strategies[1:]] == ["2.00", "0.40"]
    assert " ".join(total[0]).endswith("about 1.4 h, 12 min of it scoring, 2.80 US dollars")


def test_trainings_share_the_time_between_jobs_and_scorings_do_not() -> None:
    plan = Forecast((SCORES,), CHOICES, TRAININGS, jobs=3)
    assert plan.seconds == pytest.approx(720 + (3600 + 720) / 3)
    *_, strategies, total = tables(plan)
    assert [row[3:5] for row in strategies[1:]] == [["20", "min"], ["4.0", "min"]]
    assert " ".join(total[0]) == "4 runs, 3 to do: about 36 min, 12 min of it scoring, 3 trainings at a time"


def test_scores_that_are_there_name_their_run_and_cost_nothing() -> None:
    there = Forecast((ScoringPlan("digits", 6, "the-scores", 0.0),), CHOICES, TRAININGS)
    scores, *_, total = tables(there)
    assert scores[1] == ["digits", "6", "0", "s", "run", "the-scores"]
    assert "scoring" not in " ".join(total[0])


def test_a_study_without_scores_and_without_a_target_says_no_more_than_it_knows() -> None:
    plan = Forecast((), CHOICES[1:], TRAININGS[1::2])
    subsets, _, strategies, total = tables(plan)
    assert subsets[0][:2] == ["subset", "of"]
    assert strategies[1] == ["easiest:0.1", "2", "2", "12", "min"]
    assert " ".join(total[0]) == "2 runs, 2 to do: about 12 min"
