"""A configuration that learned nothing on a proxy is not ranked by it, which is not the same as ranked last."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import study_rows, training, trainings_frame
from scipy.stats import pearsonr, spearmanr, zscore

from proxyflow.quality.options import QualityOptions
from proxyflow.quality.ranked import RANKED
from proxyflow.quality.summary import StudyQuality, measure_study
from proxyflow.quality.unranked import flag_unranked
from proxyflow.reporting.families import FAMILIES
from proxyflow.spaces.metric import ACCURACY, Metric

PROXY = "random:0.1"
ERROR_RATE = Metric("valid_error", "minimize", share=True)
LOSS = Metric("valid_loss", "minimize")
# Three standard errors above .1 of 500 examples.
LIMIT = 0.1 + 3 * math.sqrt(0.1 * 0.9 / 500)


def flags(metric: Metric, *rows: dict[str, Any]) -> list[Any]:
    found = flag_unranked(trainings_frame([training(**row) for row in rows]), metric)
    assert found.dtype == "boolean"
    return found.astype(object).where(found.notna(), None).tolist()


def known(accuracy: float, **changes: Any) -> dict[str, Any]:
    return {"accuracy": accuracy, "chance_objective": 0.1, "n_valid": 500, **changes}


def test_up_to_three_standard_errors_above_a_constant_prediction_nothing_is_learned() -> None:
    assert flags(ACCURACY, known(LIMIT - 0.001), known(LIMIT + 0.001), known(0.0)) == [True, False, True]
    assert flags(ACCURACY, known(LIMIT)) == [True]


@pytest.mark.parametrize(("n_valid", "expected"), [(100, True), (10_000, False)])
def test_more_validation_examples_show_less(n_valid: int, expected: bool) -> None:
    assert flags(ACCURACY, known(0.18, n_valid=n_valid)) == [expected]


def test_an_error_rate_is_compared_the_other_way_round() -> None:
    limit = 0.9 - (LIMIT - 0.1)
    rows = [known(value, chance_objective=0.9) for value in (limit + 0.001, limit - 0.001)]
    assert flags(ERROR_RATE, *rows) == [True, False]


def test_where_chance_level_is_not_known_nothing_is_flagged() -> None:
    assert flags(LOSS, known(0.1)) == [None]
    unknown = [known(0.1, chance_objective=math.nan), known(0.1, n_valid=None), known(math.nan)]
    assert flags(ACCURACY, *unknown) == [None] * 3


def test_a_training_that_diverged_to_the_worst_value_learned_nothing_even_where_chance_is_not_known() -> None:
    rows = [training(accuracy=0.0, diverged=True), training(accuracy=0.4, diverged=True), training(accuracy=0.0)]
    found = flag_unranked(trainings_frame(rows), ACCURACY)
    assert found.astype(object).where(found.notna(), None).tolist() == [True, None, None]
    assert flags(ERROR_RATE, known(1.0, chance_objective=math.nan, diverged=True)) == [True]


def study(lost: dict[str, tuple[int, ...]] | None = None, n: int = 12, seeds: tuple[int, ...] = (0,)) -> pd.DataFrame:
    """Two data sets; on the proxy the configurations `lost` of a data set stay at chance level, the last ones good on
    the target."""
    rows = []
    for dataset in ("digits", "letters"):
        for seed in seeds:
            rng = np.random.default_rng([len(dataset), seed])
            target = rng.uniform(0.5, 0.9, n)
            proxy = target - 0.2 + 0.05 * rng.normal(size=n)
            for index in (lost or {}).get(dataset, ()):
                proxy[index] = 0.1
            shared = {"dataset": dataset, "seed": seed, "chance_objective": 0.1, "n_valid": 500}
            rows += study_rows({"full": target.tolist()}, steps=400.0, **shared)
            rows += study_rows({PROXY: proxy.tolist()}, steps=40.0, **shared)
    return trainings_frame(rows)


def measured(trainings: pd.DataFrame, bootstrap: int = 100) -> StudyQuality:
    return measure_study(trainings, QualityOptions(bootstrap=bootstrap), FAMILIES)


def row_of(quality: StudyQuality, strategy: str = PROXY) -> Any:
    return quality.strategies.set_index("strategy").loc[strategy]


def test_the_measures_without_unranked_pairs_are_those_of_numpy_and_scipy() -> None:
    lost = {"digits": (3, 7), "letters": (7,)}
    trainings = study(lost)
    row = row_of(measured(trainings))
    x, y, ranks, regrets = [], [], [], []
    for dataset, indices in lost.items():
        sides = [
            np.delete(rows["objective"].to_numpy(), indices)
            for name in (PROXY, "full")
            for rows in [trainings[(trainings["dataset"] == dataset) & (trainings["strategy"] == name)]]
        ]
        x += [*zscore(sides[0])]
        y += [*zscore(sides[1])]
        good = np.argsort(-sides[0])[: -(-len(sides[0]) // 2)]
        ranks.append(spearmanr(sides[0][good], sides[1][good]).statistic)
        regrets.append(100 * (sides[1].max() - sides[1][sides[0].argmax()]))
    assert row["n_unranked"] == 3
    assert row["r2_ranked"] == pytest.approx(pearsonr(x, y).statistic ** 2, abs=1e-12)
    assert row["spearman_ranked"] == pytest.approx(np.mean(ranks), abs=1e-12)
    assert row["regret_ranked"] == pytest.approx(np.mean(regrets), abs=1e-12)
    assert row["r2"] < row["r2_ranked"]
    for name in ("r2", "spearman", "regret"):
        low, value, high = (row[f"{name}{RANKED}{end}"] for end in ("_low", "", "_high"))
        assert low <= value <= high


def test_intervals_without_them_are_those_of_a_study_that_never_had_them() -> None:
    trainings = study({"digits": (4,), "letters": (4,)})
    row = row_of(measured(trainings))
    left = trainings[trainings["config"] != "lr=4"]
    # Draws differ, since a configuration less is drawn from, and so do intervals, a little.
    alone = row_of(measured(left, bootstrap=4000))
    assert row["r2_ranked"] == pytest.approx(alone["r2"], abs=1e-12)
    many = row_of(measured(trainings, bootstrap=4000))
    assert many["r2_ranked_low"] == pytest.approx(alone["r2_low"], abs=0.03)
    assert many["spearman_ranked_low"] == pytest.approx(alone["spearman_low"], abs=0.1)


def test_where_all_are_ranked_the_measures_are_the_same_and_where_it_is_unknown_empty() -> None:
    row = row_of(measured(study()))
    assert row["n_unranked"] == 0
    for end in ("", "_low", "_high"):
        assert row[f"r2_ranked{end}"] == row[f"r2{end}"]
        assert row[f"spearman_ranked{end}"] == row[f"spearman{end}"]
    assert row["regret_ranked"] == row["regret"]
    unknown = row_of(measured(study({"digits": (1,)}).assign(chance_objective=np.nan)))
    assert unknown["n_unranked"] is pd.NA
    assert np.isnan(unknown["r2_ranked"])
    assert np.isnan(unknown["regret_ranked_high"])


def test_measures_have_rows_without_them_only_where_there_are_some() -> None:
    table = measured(study({"digits": (1, 2)})).measures
    found = table[table["measure"].str.endswith(RANKED)]
    assert found["strategy"].unique().tolist() == [PROXY]
    assert found["measure"].tolist() == ["r2_ranked", "spearman_ranked", "regret_ranked"]
    assert found["n_pairs"].tolist() == [22] * 3


def test_a_note_counts_pairs_and_configurations_and_both_are_the_same_where_each_has_one_pair() -> None:
    def notes(trainings: pd.DataFrame) -> list[str]:
        return [note for name, note in measured(trainings, 0).notes if name == PROXY and "cannot rank" in note]

    (several,) = notes(study({"digits": (1, 2), "letters": (2,)}))
    assert "this proxy cannot rank 3 of 24 pairs (of 2 of the 12 configurations)" in several
    one = study({"digits": (1,)})
    (single,) = notes(one[one["dataset"] == "digits"])
    assert "this proxy cannot rank 1 of 12 configurations:" in single
    assert notes(study()) == []


def test_the_target_may_learn_nothing_as_well() -> None:
    trainings = study()
    at = (trainings["strategy"] == "full") & (trainings["config"] == "lr=5")
    quality = measured(trainings.assign(objective=trainings["objective"].mask(at, 0.1)))
    assert row_of(quality, "full")["n_unranked"] == 2
    assert any(name == "full" and note.startswith("the target cannot rank 2 of 24") for name, note in quality.notes)


def test_the_runs_that_count_are_flagged() -> None:
    runs = measured(study({"digits": (1, 2)}), 0).runs
    flagged = runs[runs["unranked"]]
    assert flagged[["dataset", "strategy", "config"]].to_numpy().tolist() == [
        ["digits", PROXY, "lr=1"],
        ["digits", PROXY, "lr=2"],
    ]
