"""The summary is what people read and quote: each number in its column, and a reason wherever there is none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import noisy_study, study_rows, training, trainings_frame
from scipy.stats import pearsonr, spearmanr

from proxyflow.quality.costs import PUBLISHED_CURVE
from proxyflow.quality.measures import Good
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import make_pairs
from proxyflow.quality.summary import StudyQuality, measure_study
from proxyflow.reporting.families import FAMILIES

COLUMNS = [
    "strategy",
    "family",
    "r2",
    "r2_low",
    "r2_high",
    "spearman",
    "spearman_low",
    "spearman_high",
    "spearman_all",
    "spearman_all_low",
    "spearman_all_high",
    "cost_adjusted_r2",
    "relative_cost",
    "steps",
    "relative_examples",
    "regret",
    "best_recovered",
    "n_pairs",
    "n_missing",
    "n_unranked",
    "r2_ranked",
    "r2_ranked_low",
    "r2_ranked_high",
    "spearman_ranked",
    "spearman_ranked_low",
    "spearman_ranked_high",
    "regret_ranked",
    "regret_ranked_low",
    "regret_ranked_high",
]
PROXIES = {
    "random:0.1": (0.1, 0.06),
    "random:0.5": (0.5, 0.02),
    "easiest:0.25": (0.25, 0.03),
    "hardest:0.5": (0.55, 0.04),
    "epochs:5": (0.26, 0.05),
}
QUICK = QualityOptions(bootstrap=200)


def measure(rows: Sequence[dict[str, Any]] | pd.DataFrame, options: QualityOptions = QUICK) -> StudyQuality:
    frame = rows if isinstance(rows, pd.DataFrame) else trainings_frame(rows)
    return measure_study(frame, options, FAMILIES)


def row_of(quality: StudyQuality, strategy: str) -> dict[str, Any]:
    found = quality.strategies[quality.strategies["strategy"] == strategy]
    assert len(found) == 1
    return {str(key): value for key, value in found.iloc[0].items()}


def notes_of(quality: StudyQuality, strategy: str) -> str:
    return "\n".join(note for name, note in quality.notes if name == strategy)


@pytest.fixture(scope="module")
def quality() -> StudyQuality:
    return measure(noisy_study(PROXIES))


def test_the_columns_are_those_of_the_contract(quality: StudyQuality) -> None:
    assert list(quality.strategies.columns) == COLUMNS


def test_the_target_comes_first_and_then_the_costliest(quality: StudyQuality) -> None:
    assert list(quality.strategies["strategy"]) == [
        "full",
        "hardest:0.5",
        "random:0.5",
        "epochs:5",
        "easiest:0.25",
        "random:0.1",
    ]
    assert list(quality.pairs) == list(quality.strategies["strategy"])


def test_the_families_are_those_of_the_strategies(quality: StudyQuality) -> None:
    assert row_of(quality, "full")["family"] == "Baseline"
    assert row_of(quality, "hardest:0.5")["family"] == "Hard Examples"


def test_the_target_explains_itself_at_its_own_cost(quality: StudyQuality) -> None:
    row = row_of(quality, "full")
    for name, value in {
        "r2": 1,
        "r2_low": 1,
        "r2_high": 1,
        "spearman": 1,
        "cost_adjusted_r2": 0,
        "relative_cost": 1,
        "relative_examples": 1,
        "regret": 0,
        "best_recovered": 1,
        "n_pairs": 32,
        "n_missing": 0,
    }.items():
        assert row[name] == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("strategy", PROXIES)
def test_every_number_agrees_with_a_computation_by_hand(quality: StudyQuality, strategy: str) -> None:
    frame = trainings_frame(noisy_study(PROXIES))
    x, y, of_good, of_all, regrets, recovered = [], [], [], [], [], []
    for dataset in ("digits", "letters"):
        part = frame[frame["dataset"] == dataset]
        sides = [part[part["strategy"] == name].set_index("config") for name in (strategy, "full")]
        a, b = (side["objective"].sort_index().to_numpy() for side in sides)
        za, zb = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
        top = np.argsort(-a)[: len(a) // 2]
        x, y = [*x, *za], [*y, *zb]
        of_good.append(spearmanr(a[top], b[top]).statistic)
        of_all.append(spearmanr(a, b).statistic)
        regrets.append(100 * (b.max() - b[a.argmax()]))
        recovered.append(float(b.max() == b[a.argmax()]))
    row = row_of(quality, strategy)
    assert row["r2"] == pytest.approx(pearsonr(x, y).statistic ** 2, abs=1e-12)
    assert row["spearman"] == pytest.approx(np.mean(of_good), abs=1e-12)
    assert row["spearman_all"] == pytest.approx(np.mean(of_all), abs=1e-12)
    assert row["regret"] == pytest.approx(np.mean(regrets), abs=1e-9)
    assert row["best_recovered"] == np.mean(recovered)
    assert row["relative_cost"] == pytest.approx(PROXIES[strategy][0], abs=1e-12)
    assert row["relative_examples"] == pytest.approx(PROXIES[strategy][0], abs=1e-12)


@pytest.mark.parametrize("name", ["r2", "spearman"])
def test_intervals_have_their_value_inside_and_some_width(quality: StudyQuality, name: str) -> None:
    proxies = quality.strategies.iloc[1:]
    assert (proxies[f"{name}_low"] < proxies[name]).all()
    assert (proxies[name] < proxies[f"{name}_high"]).all()


def test_the_cost_adjustment_is_the_distance_to_the_fitted_curve(quality: StudyQuality) -> None:
    assert quality.curve is not None
    table = quality.strategies
    expected = table["r2"] - quality.curve(table["relative_cost"].to_numpy())
    np.testing.assert_allclose(table["cost_adjusted_r2"], expected, atol=1e-12)
    # Least squares leave residuals that average out against every term of the model.
    proxies = table.iloc[1:]
    for power in (1, 2, 3):
        assert (proxies["cost_adjusted_r2"] * (proxies["relative_cost"] ** power - 1)).sum() == pytest.approx(
            0, abs=1e-9
        )


def test_the_published_curve_is_used_where_it_is_asked_for() -> None:
    quality = measure(noisy_study(PROXIES), QualityOptions(cost_curve="published", bootstrap=0))
    table = quality.strategies
    assert quality.curve is PUBLISHED_CURVE
    expected = table["r2"] - PUBLISHED_CURVE(table["relative_cost"].to_numpy())
    np.testing.assert_allclose(table["cost_adjusted_r2"], expected, atol=1e-12)


def test_synthetic_data_do_not_move_the_curve_but_get_their_distance() -> None:
    without = measure(noisy_study(PROXIES))
    quality = measure(noisy_study({**PROXIES, "distilled:10": (0.026, 1.0)}))
    assert without.curve is not None
    assert quality.curve is not None
    np.testing.assert_allclose(quality.curve.coefficients, without.curve.coefficients, atol=1e-9)
    row = row_of(quality, "distilled:10")
    assert row["family"] == "Distillation"
    assert row["cost_adjusted_r2"] == pytest.approx(row["r2"] - float(quality.curve(np.array(row["relative_cost"]))))


def test_relative_cost_is_the_ratio_of_the_sums_over_pairs_and_not_the_mean_of_ratios() -> None:
    rows = study_rows({"full": [0.9, 0.8, 0.7]}) + study_rows({"random:0.1": [0.5, 0.4, 0.3]})
    for row, seconds in zip(rows, [100, 200, 700, 20, 20, 60], strict=True):
        row["train_seconds"] = seconds
    # A target run without a partner costs nothing here, since it is in no pair.
    rows.append(training(config="alone", accuracy=0.6, train_seconds=1e6))
    row = row_of(measure(rows), "random:0.1")
    assert row["relative_cost"] == pytest.approx(0.1)
    assert row["n_missing"] == 1


@pytest.mark.parametrize(("basis", "expected"), [("train_seconds", 0.2), ("examples_seen", 0.3), ("train_flops", 0.4)])
def test_cost_is_counted_on_the_chosen_basis(basis: str, expected: float) -> None:
    cheap = {"train_seconds": 20.0, "examples_seen": 6_000.0, "train_flops": 4e11}
    rows = study_rows({"full": [0.9, 0.8, 0.7]}) + study_rows({"random:0.1": [0.5, 0.4, 0.3]}, **cheap)
    row = row_of(measure(rows, QualityOptions(cost_basis=basis, bootstrap=0)), "random:0.1")
    assert row["relative_cost"] == pytest.approx(expected)
    assert row["relative_examples"] == pytest.approx(0.3)


def test_the_good_configurations_are_those_of_the_options() -> None:
    rows = study_rows({"full": [0.1, 0.2, 0.3, 0.7, 0.8, 0.9], "random:0.1": [0.1, 0.3, 0.2, 0.4, 0.5, 0.6]})
    spearmans = [
        row_of(measure(rows, QualityOptions(good=good, bootstrap=0)), "random:0.1")["spearman"]
        for good in (Good(0.5), Good(1.0), Good(threshold=0.4), Good(threshold=0.2))
    ]
    assert spearmans[0] == spearmans[2] == pytest.approx(1)
    assert spearmans[1] == pytest.approx(1 - 6 * 2 / (6 * 35))
    assert spearmans[3] == pytest.approx(1 - 6 * 2 / (5 * 24))


def test_no_bootstrap_leaves_the_measures_without_intervals() -> None:
    quality = measure(noisy_study(PROXIES), QualityOptions(bootstrap=0))
    assert quality.strategies[["r2_low", "r2_high", "spearman_low", "spearman_high"]].isna().all(axis=None)
    assert quality.strategies[["r2", "spearman"]].notna().all(axis=None)


def test_the_same_study_gives_the_same_report_in_whatever_order_its_runs_are(quality: StudyQuality) -> None:
    shuffled = trainings_frame(noisy_study(PROXIES)).sample(frac=1, random_state=0)
    again = measure(shuffled)
    pd.testing.assert_frame_equal(again.strategies, quality.strategies, check_exact=True)
    pd.testing.assert_frame_equal(
        again.best.sort_values(list(again.best.columns[:3]), ignore_index=True), sorted_best(quality)
    )
    assert set(again.notes) == set(quality.notes)


def sorted_best(quality: StudyQuality) -> pd.DataFrame:
    return quality.best.sort_values(list(quality.best.columns[:3]), ignore_index=True)


@pytest.mark.parametrize("strategy", PROXIES)
def test_a_strategys_measures_and_intervals_do_not_depend_on_which_others_there_are(
    quality: StudyQuality, strategy: str
) -> None:
    alone = row_of(measure(noisy_study({strategy: PROXIES[strategy]})), strategy)
    together = row_of(quality, strategy)
    for name in COLUMNS:
        if name != "cost_adjusted_r2":
            missing = pd.isna(alone[name]), pd.isna(together[name])
            assert missing == (True, True) or alone[name] == together[name], name


def test_two_strategies_of_equal_results_have_equal_intervals_as_they_share_their_samples() -> None:
    rows = noisy_study({"random:0.1": (0.1, 0.05)})
    rows += [{**row, "strategy": "random:0.2", "run_id": ""} for row in rows if row["strategy"] == "random:0.1"]
    quality = measure(rows)
    one, other = row_of(quality, "random:0.1"), row_of(quality, "random:0.2")
    for name in ("r2", "spearman"):
        assert [one[name + part] for part in ("", "_low", "_high")] == [other[name + p] for p in ("", "_low", "_high")]
    difference = quality.comparisons.set_index("measure").loc["r2"]
    assert (difference["difference"], difference["low"], difference["high"]) == (0, 0, 0)
    assert difference["probability"] == 0.5


def test_missing_runs_are_counted_and_not_guessed() -> None:
    rows = noisy_study({"random:0.1": (0.1, 0.05), "random:0.5": (0.5, 0.02)})
    lost = [row for row in rows if row["strategy"] == "random:0.1" and row["config"] == "lr=3"]
    assert len(lost) == 2
    lost[0]["status"] = "failed"
    rows.remove(lost[1])
    quality = measure(rows)
    assert (row_of(quality, "random:0.1")["n_pairs"], row_of(quality, "random:0.1")["n_missing"]) == (30, 2)
    assert (row_of(quality, "random:0.5")["n_pairs"], row_of(quality, "random:0.5")["n_missing"]) == (32, 0)
    assert "1 training(s) are failed" in notes_of(quality, "")


def test_the_epochs_of_the_study_are_those_of_its_target(quality: StudyQuality) -> None:
    assert quality.epochs == 20


NO_TARGET: list[list[dict[str, Any]]] = [
    [],
    study_rows({"random:0.1": [0.5, 0.4, 0.3]}),
    [*study_rows({"random:0.1": [0.5, 0.4, 0.3]}), training(status="failed")],
    [training(accuracy=np.nan)],
]


@pytest.mark.parametrize("rows", NO_TARGET)
def test_a_study_without_a_finished_target_is_empty_with_a_note(rows: list[dict[str, Any]]) -> None:
    quality = measure(rows)
    assert "no training of the target (strategy full) is finished" in notes_of(quality, "")
    assert quality.strategies[["r2", "spearman", "relative_cost", "regret"]].isna().all(axis=None)
    assert quality.verdict.strategy == ""
    assert quality.verdict.sentences[0].startswith("No verdict yet")
    for table in (quality.comparisons, quality.ceiling, quality.transfer, quality.curves):
        assert table.empty


# Which note speaks of which cells: r2 and cost make up the cost-adjusted r2.
SPOKEN_OF = {
    "r2": "r2",
    "spearman": "spearman",
    "relative_cost": "relative_cost",
    "relative_examples": "relative_examples|no examples_seen",
    "regret": "regret",
    "best_recovered": "best_recovered",
    "cost_adjusted_r2": "(cost_adjusted_r2|r2|relative_cost) is empty",
}


def check_that_empty_cells_have_notes(quality: StudyQuality, strategy: str) -> None:
    row, notes = row_of(quality, strategy), notes_of(quality, strategy) + "\n" + notes_of(quality, "")
    empty = [name for name in SPOKEN_OF if pd.isna(row[name])]
    assert empty
    for name in empty:
        assert re.search(SPOKEN_OF[name], notes), f"{name} is empty and no note says why:\n{notes}"


TARGET_ACCURACIES = [0.9, 0.8, 0.7, 0.6]


def test_constant_proxy_accuracies_leave_empty_cells_with_a_note() -> None:
    quality = measure(study_rows({"full": TARGET_ACCURACIES, "random:0.1": [0.5] * 4}))
    row = row_of(quality, "random:0.1")
    assert all(pd.isna(row[name]) for name in COLUMNS[2:9])
    assert "the proxy's values on digits" in notes_of(quality, "random:0.1")
    check_that_empty_cells_have_notes(quality, "random:0.1")


def test_constant_target_accuracies_leave_empty_cells_with_a_note() -> None:
    quality = measure(study_rows({"full": [0.5] * 4, "random:0.1": TARGET_ACCURACIES}))
    assert "the target's values on digits" in notes_of(quality, "random:0.1")
    check_that_empty_cells_have_notes(quality, "random:0.1")
    check_that_empty_cells_have_notes(quality, "full")


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_pairs_leave_empty_cells_with_their_number(n: int) -> None:
    quality = measure(study_rows({"full": TARGET_ACCURACIES, "random:0.1": TARGET_ACCURACIES[:n]}))
    row = row_of(quality, "random:0.1")
    assert (row["n_pairs"], row["n_missing"]) == (n, 4 - n)
    assert f"{n} pair(s), and it takes at least 3" in notes_of(quality, "random:0.1")
    check_that_empty_cells_have_notes(quality, "random:0.1")


def test_no_pair_at_all_leaves_empty_cells_with_a_true_note() -> None:
    rows = [*study_rows({"full": TARGET_ACCURACIES}), training("random:0.1", "elsewhere", 0.5)]
    quality = measure(rows)
    row = row_of(quality, "random:0.1")
    assert (row["n_pairs"], row["n_missing"]) == (0, 5)
    notes = notes_of(quality, "random:0.1")
    assert "0 pair(s)" in notes
    # The run does have its seconds; what it lacks is a partner.
    assert "have no train_seconds" not in notes
    check_that_empty_cells_have_notes(quality, "random:0.1")


def test_too_few_good_configurations_leave_spearman_empty_with_their_number() -> None:
    rows = study_rows({"full": TARGET_ACCURACIES, "random:0.1": TARGET_ACCURACIES})
    quality = measure(rows, QualityOptions(good=Good(threshold=0.75), bootstrap=10))
    row = row_of(quality, "random:0.1")
    assert row["r2"] == pytest.approx(1)
    assert all(pd.isna(row[name]) for name in ("spearman", "spearman_low", "spearman_high"))
    assert "spearman is empty: 2 good configuration(s)" in notes_of(quality, "random:0.1")


def test_good_configurations_that_tie_leave_spearman_empty_with_a_note() -> None:
    quality = measure(study_rows({"full": [0.9, 0.8, 0.7, 0.6, 0.5], "random:0.1": [0.5, 0.5, 0.5, 0.4, 0.3]}))
    assert pd.isna(row_of(quality, "random:0.1")["spearman"])
    assert "tie" in notes_of(quality, "random:0.1")
    check_that_empty_cells_have_notes(quality, "random:0.1")


def test_a_tie_for_the_first_place_leaves_regret_empty_with_a_note() -> None:
    quality = measure(study_rows({"full": [0.9, 0.8, 0.7, 0.6], "random:0.1": [0.5, 0.5, 0.4, 0.3]}))
    row = row_of(quality, "random:0.1")
    assert pd.isna(row["regret"])
    assert pd.isna(row["best_recovered"])
    check_that_empty_cells_have_notes(quality, "random:0.1")


@pytest.mark.parametrize("basis", ["train_seconds", "examples_seen", "train_flops"])
def test_runs_that_lack_a_cost_leave_empty_cells_with_a_note(basis: str) -> None:
    proxies = {name: values for name, values in PROXIES.items() if name != "random:0.1"}
    rows = noisy_study(proxies) + [
        {**row, basis: np.nan} for row in noisy_study(PROXIES) if row["strategy"] == "random:0.1"
    ]
    quality = measure(rows, QualityOptions(cost_basis=basis, bootstrap=0))
    row = row_of(quality, "random:0.1")
    assert pd.isna(row["relative_cost"])
    assert not pd.isna(row["r2"])
    check_that_empty_cells_have_notes(quality, "random:0.1")


def test_runs_that_lack_their_examples_leave_that_cell_empty_with_a_note() -> None:
    rows = study_rows({"full": TARGET_ACCURACIES}) + study_rows({"random:0.1": TARGET_ACCURACIES}, examples_seen=np.nan)
    quality = measure(rows)
    assert pd.isna(row_of(quality, "random:0.1")["relative_examples"])
    check_that_empty_cells_have_notes(quality, "random:0.1")


def test_one_run_without_its_cost_makes_the_sum_unknown_and_not_smaller() -> None:
    rows = study_rows({"full": TARGET_ACCURACIES, "random:0.1": TARGET_ACCURACIES})
    rows[5]["train_seconds"] = np.nan
    by_seconds = QualityOptions(bootstrap=0, cost_basis="train_seconds")
    assert pd.isna(row_of(measure(rows, by_seconds), "random:0.1")["relative_cost"])


def test_too_few_costs_leave_the_adjustment_empty_with_a_note() -> None:
    quality = measure(noisy_study({"random:0.1": (0.1, 0.05), "random:0.5": (0.5, 0.02)}))
    assert quality.curve is None
    assert quality.strategies["cost_adjusted_r2"].isna().all()
    assert "cost_curve=published" in notes_of(quality, "")
    check_that_empty_cells_have_notes(quality, "random:0.1")


def fitted_to(quality: StudyQuality) -> int:
    found = re.search(r"fitted to (\d+) proxies", notes_of(quality, ""))
    assert found
    return int(found[1])


def test_a_curve_of_few_proxies_is_noted_with_their_number() -> None:
    assert fitted_to(measure(noisy_study(PROXIES))) == 5
    with_synthetic = measure(noisy_study({**PROXIES, "distilled:10": (0.026, 1.0)}))
    assert fitted_to(with_synthetic) == 5


def test_proxies_that_the_curve_cannot_use_are_not_counted_among_those_it_is_fitted_to() -> None:
    rows = noisy_study(PROXIES) + study_rows({"easiest:0.1": [0.5] * 16}, train_seconds=10.0)
    quality = measure(rows)
    assert pd.isna(row_of(quality, "easiest:0.1")["r2"])
    assert fitted_to(quality) == 5


def test_a_curve_of_many_proxies_needs_no_note() -> None:
    many = {f"random:0.{number}": (number / 10, 0.02) for number in range(1, 10)}
    quality = measure(noisy_study(many))
    assert "fitted to" not in notes_of(quality, "")


def test_a_negative_correlation_is_noted_since_r2_hides_it() -> None:
    quality = measure(study_rows({"full": TARGET_ACCURACIES, "random:0.1": TARGET_ACCURACIES[::-1]}))
    assert row_of(quality, "random:0.1")["r2"] == pytest.approx(1)
    assert "negative" in notes_of(quality, "random:0.1")
    assert "negative" not in notes_of(quality, "full")


def test_samples_that_leave_a_measure_undefined_are_noted() -> None:
    quality = measure(study_rows({"full": TARGET_ACCURACIES, "random:0.1": [0.5, 0.5, 0.5, 0.4]}))
    assert re.search(r"r2: \d+% of the bootstrap samples leave it undefined", notes_of(quality, "random:0.1"))


def test_the_check_of_the_powers_is_made_where_there_are_enough_strategies(quality: StudyQuality) -> None:
    assert quality.lasso is None
    many = {f"random:0.{number}": (number / 10, 0.02) for number in range(1, 10)}
    found = measure(noisy_study(many), QualityOptions(bootstrap=0)).lasso
    assert found is not None
    assert list(found) == [1, 2, 3, 4, 5, 6]


def test_the_pairs_of_each_strategy_come_with_the_summary(quality: StudyQuality) -> None:
    for strategy, pairs in quality.pairs.items():
        pd.testing.assert_frame_equal(pairs.frame, make_pairs(quality.runs, strategy).frame)
        assert row_of(quality, strategy)["n_pairs"] == len(pairs.frame)
