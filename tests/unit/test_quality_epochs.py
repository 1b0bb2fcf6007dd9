"""Whether a training may be stopped early is read off these numbers, so each is held against scipy or brute force."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from made_up import training, trainings_frame
from scipy.stats import pearsonr, zscore

from proxyflow.quality.bootstrap import draw, number_configurations
from proxyflow.quality.epochs import EPOCH_COLUMNS, epoch_table

DATASETS = {"digits": 0.9, "letters": 0.6}
EPOCHS = 4


def study(seeds: int = 1, n: int = 7) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The target's runs and their curves, in steps of 1 in 50 so that some tie."""
    rng = np.random.default_rng(0)
    rows, curves = [], []
    for dataset, level in DATASETS.items():
        for number in range(n):
            for seed in range(seeds):
                noise = rng.normal(size=EPOCHS) / np.arange(1, EPOCHS + 1)
                curve = np.rint(50 * (level + 0.05 * (number / n + noise))) / 50
                row = training("full", f"lr={number}", float(curve.max()), dataset=dataset, seed=seed)
                rows.append(row)
                curves += [(row["run_id"], epoch, value) for epoch, value in enumerate(curve, start=1)]
    return number_configurations(trainings_frame(rows)), pd.DataFrame(curves, columns=["run_id", "epoch", "value"])


def joined(target: pd.DataFrame, curves: pd.DataFrame, epoch: int) -> pd.DataFrame:
    now = curves[curves["epoch"] == epoch].rename(columns={"value": "now"})
    return now.merge(target.rename(columns={"value": "end"}), on="run_id")


def by_hand(frame: pd.DataFrame) -> tuple[float, float, int]:
    """Correlation of pooled z-scores, chance and number of comparisons, over all pairs of runs."""
    z = [np.concatenate([zscore(part[name]) for _, part in frame.groupby("dataset")]) for name in ("now", "end")]
    won, count = 0.0, 0
    for (_, a), (_, b) in combinations(frame.iterrows(), 2):
        if a["dataset"] != b["dataset"] or a["config"] == b["config"]:
            continue
        end = a["end"] - b["end"]
        now = a["now"] - b["now"]
        if end == 0:
            continue
        count += 1
        won += 0.5 if now == 0 else float(np.sign(now) == np.sign(end))
    return float(pearsonr(*z).statistic), won / count, count


@pytest.mark.parametrize("seeds", [1, 3])
def test_each_epoch_agrees_with_scipy_and_with_a_count_of_all_comparisons(seeds: int) -> None:
    target, curves = study(seeds)
    table = epoch_table(target, curves, None)
    assert list(table.columns) == EPOCH_COLUMNS
    assert list(table["epoch"]) == list(range(1, EPOCHS + 1))
    for row in table.to_dict("records"):
        correlation, chance, count = by_hand(joined(target, curves, row["epoch"]))
        assert row["correlation"] == pytest.approx(correlation, abs=1e-9)
        assert row["chance"] == pytest.approx(chance, abs=1e-9)
        assert (row["n_runs"], row["n_comparisons"]) == (14 * seeds, count)
        assert math.isnan(row["correlation_low"])
        assert math.isnan(row["chance_high"])


def test_intervals_are_those_of_the_drawn_configurations_with_their_seeds() -> None:
    target, curves = study(seeds=2, n=5)
    draws = draw(target, 60)
    row = epoch_table(target, curves, draws).iloc[0]
    frame = joined(target, curves, 1)
    correlations, chances = [], []
    for counts in draws.of(frame).astype(int):
        drawn = frame.loc[np.repeat(np.arange(len(frame)), counts)]
        if min(drawn.groupby("dataset")["config"].nunique()) > 1:
            correlation, chance, _ = by_hand(drawn)
            correlations.append(correlation)
            chances.append(chance)
    assert len(correlations) > 50
    assert (row["correlation_low"], row["correlation_high"]) == pytest.approx(
        tuple(np.quantile(correlations, [0.025, 0.975])), abs=1e-9
    )
    assert (row["chance_low"], row["chance_high"]) == pytest.approx(
        tuple(np.quantile(chances, [0.025, 0.975])), abs=0.02
    )
    assert row["chance_low"] <= row["chance"] <= row["chance_high"]


def test_ties_after_an_epoch_count_half_and_ties_in_the_end_not_at_all() -> None:
    target = number_configurations(
        trainings_frame([training("full", f"lr={n}", a) for n, a in enumerate([0.9, 0.8, 0.8, 0.7])])
    )
    curves = pd.DataFrame(
        {"run_id": target["run_id"], "epoch": 1, "value": [0.5, 0.5, 0.6, 0.4]},
    )
    row = epoch_table(target, curves, None).iloc[0]
    # Of six comparisons one ties in the end; 0-1 ties now, 0-2 is lost, 0-3, 1-3 and 2-3 are won.
    assert row["n_comparisons"] == 5
    assert row["chance"] == pytest.approx((0.5 + 0 + 3) / 5)


def test_a_run_that_diverged_counts_in_the_epochs_that_it_reached() -> None:
    target, curves = study()
    gone = target["run_id"].iloc[0]
    shorter = curves[~((curves["run_id"] == gone) & (curves["epoch"] > 2))]
    table = epoch_table(target, shorter, None)
    assert list(table["n_runs"]) == [14, 14, 13, 13]
    without = epoch_table(target[target["run_id"] != gone], curves, None)
    whole = epoch_table(target, curves, None)
    pd.testing.assert_frame_equal(table.iloc[2:], without.iloc[2:])
    pd.testing.assert_frame_equal(table.iloc[:2], whole.iloc[:2])


def test_a_run_without_a_curve_and_a_curve_without_a_run_are_left_out() -> None:
    target, curves = study()
    other = pd.DataFrame({"run_id": "of another strategy", "epoch": [1, 2], "value": [0.1, 0.9]})
    gone = target["run_id"].iloc[3]
    table = epoch_table(target, pd.concat([curves[curves["run_id"] != gone], other]), None)
    pd.testing.assert_frame_equal(table, epoch_table(target[target["run_id"] != gone], curves, None))


def test_an_epoch_whose_accuracy_is_no_number_is_as_one_not_reached() -> None:
    target, curves = study()
    lost = (curves["run_id"] == target["run_id"].iloc[0]) & (curves["epoch"] == 3)
    table = epoch_table(target, curves.assign(value=curves["value"].mask(lost)), None)
    pd.testing.assert_frame_equal(table, epoch_table(target, curves[~lost], None))


def test_no_curves_give_an_empty_table() -> None:
    target, curves = study()
    for table in (epoch_table(target, curves.iloc[:0], None), epoch_table(target.iloc[:0], curves, None)):
        assert table.empty
        assert list(table.columns) == EPOCH_COLUMNS


def test_all_alike_after_an_epoch_tells_nothing_of_the_end() -> None:
    target, curves = study()
    table = epoch_table(target, curves.assign(value=0.1), draw(target, 20))
    assert table["correlation"].isna().all()
    assert (table["chance"] == 0.5).all()
    same = epoch_table(target.assign(value=0.9), curves, draw(target, 20))
    assert same[["correlation", "chance", "correlation_low", "chance_low"]].isna().all(axis=None)
    assert (same["n_comparisons"] == 0).all()


def test_one_configuration_under_several_seeds_has_nothing_to_compare() -> None:
    target, curves = study(seeds=3, n=1)
    table = epoch_table(target, curves, draw(target, 20))
    assert table["chance"].isna().all()


def test_the_last_epoch_of_rising_curves_is_the_end_itself() -> None:
    rows, curves = [], []
    for number in range(6):
        values = np.linspace(0.1, 0.5 + number / 20, 3)
        row = training("full", f"lr={number}", float(values[-1]))
        rows.append(row)
        curves += [(row["run_id"], epoch, value) for epoch, value in enumerate(values, start=1)]
    target = number_configurations(trainings_frame(rows))
    frame = pd.DataFrame(curves, columns=["run_id", "epoch", "value"])
    last = epoch_table(target, frame, draw(target, 50)).iloc[-1]
    assert last[["correlation", "correlation_low", "chance", "chance_low"]].tolist() == pytest.approx([1, 1, 1, 1])
