"""What holds for every study: the scale of accuracies, the order of runs and other strategies change no measure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from made_up import training, trainings_frame

from proxyflow.quality.options import QualityOptions
from proxyflow.quality.seeds import ACROSS_SEEDS, MEASURED_ACROSS_SEEDS, MEASURED_OF_MEANS, OF_MEANS
from proxyflow.quality.summary import StudyQuality, measure_study
from proxyflow.reporting.families import FAMILIES

OPTIONS = QualityOptions(bootstrap=12)
COSTS = {"full": 1.0, "random:0.1": 0.1, "easiest:0.1": 0.12, "random:0.5": 0.5, "epochs:5": 0.26, "distilled:10": 0.02}
CONFIGS = ["default", "lr=0.1", "lr=0.01", "arch=xresnet18", "arch=xresnet18,lr=0.1", "opt=sgd", "lr=0.1,opt=sgd"]
CONFIGS += ["stem=4-32", "stem=4-48", "flip=0", "smooth=0", "arch=xresnet101"]
# Values are whole multiples of this, so that what is equal stays equal under what floats do exactly.
STEP = 1 / 64
QUICK = settings(max_examples=8)


@st.composite
def studies(draw: st.DrawFn) -> pd.DataFrame:
    """Trainings on one or two data sets under one or two seeds, with ties and some runs missing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, seeds = draw(st.integers(3, len(CONFIGS))), draw(st.integers(1, 2))
    noise, missing = draw(st.sampled_from([0, 2, 10, 40])), draw(st.sampled_from([0.0, 0.1]))
    names = draw(st.lists(st.sampled_from(list(COSTS)[1:]), unique=True, min_size=1, max_size=5))
    rows = []
    for dataset in ("digits", "letters")[: draw(st.integers(1, 2))]:
        quality = rng.integers(20, 60, size=count)
        for strategy in ("full", *names):
            for seed in range(seeds):
                for config, value in zip(CONFIGS[:count], quality, strict=True):
                    if rng.random() < missing:
                        continue
                    steps = value + (0 if noise == 0 else rng.integers(-noise, noise + 1))
                    accuracy = STEP * float(np.clip(steps, 0, 64))
                    cost = COSTS[strategy] * float(rng.integers(90, 110))
                    rows.append(training(strategy, config, accuracy, dataset=dataset, seed=seed, train_seconds=cost))
    assume(any(row["strategy"] == "full" for row in rows))
    return trainings_frame(rows)


def measured(frame: pd.DataFrame) -> StudyQuality:
    curves = frame[["run_id"]].assign(epoch=1, objective=frame["objective"] / 2)
    return measure_study(frame, OPTIONS, FAMILIES, curves)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True, check_dtype=False)


def every_table(quality: StudyQuality) -> dict[str, pd.DataFrame]:
    return {
        name: getattr(quality, name)
        for name in (
            *("strategies", "measures", "best", "selection", "ceiling", "parts", "transfer"),
            *("curves", "hyperparameters", "comparisons", "robustness", "ceiling_gaps", "influence"),
        )
    }


@given(studies())
@QUICK
def test_measures_stay_within_their_bounds_and_intervals_in_order(frame: pd.DataFrame) -> None:
    quality = measured(frame)
    table = quality.measures.set_index("measure")
    bounds: Mapping[str, tuple[float, float]] = {
        "r2": (0, 1),
        "spearman": (-1, 1),
        "spearman_all": (-1, 1),
        "kendall": (-1, 1),
        "top5_overlap": (0, 1),
        "best_recovered": (0, 1),
        "regret": (0, 100),
        "expected_regret": (0, 100),
        "cost_adjusted_r2": (-np.inf, np.inf),
        "relative_cost": (0, np.inf),
    }
    if quality.means:
        bounds = {**bounds, **{f"{name}{OF_MEANS}": bounds[name] for name in MEASURED_OF_MEANS}}
    if quality.across:
        bounds = {**bounds, **{f"{name}{ACROSS_SEEDS}": bounds[name] for name in MEASURED_ACROSS_SEEDS}}
    assert set(table.index) == set(bounds)
    for name, (low, high) in bounds.items():
        values = table.loc[[name], ["value", "low", "high"]]
        assert values.stack().dropna().between(low - 1e-9, high + 1e-9).all(), name
        known = values.dropna()
        assert (known["low"] <= known["high"]).all(), name
    for column, part in (("probability", quality.comparisons), ("sign_agreement", quality.hyperparameters)):
        assert part[column].dropna().between(0, 1).all()
    assert quality.hyperparameters["r2"].dropna().between(0, 1).all()
    assert (quality.comparisons["difference"] >= 0).all()
    assert quality.curves["chance"].dropna().between(0, 1).all()
    assert quality.transfer["correlation"].dropna().between(-1, 1).all()
    assert quality.robustness["probability"].dropna().between(0, 1).all()
    points = quality.ceiling["measure"] == "expected_regret"
    assert quality.ceiling["value"].between(np.where(points, 0, -1), np.where(points, 100, 1)).all()


@given(studies(), st.integers(0, 2**32))
@QUICK
def test_the_scale_of_accuracies_on_a_data_set_changes_no_measure(frame: pd.DataFrame, seed: int) -> None:
    rng = np.random.default_rng(seed)
    moved = frame.copy()
    for _, rows in frame.groupby(["dataset", "strategy"]).groups.items():
        # Powers of 2 and whole steps, so that equal accuracies stay equal and others different.
        moved.loc[rows, "objective"] *= 2.0 ** rng.integers(-6, 1)
        moved.loc[rows, "objective"] += STEP * rng.integers(0, 10)
    before, after = measured(frame), measured(moved)
    unmoved = [name for name in before.strategies.columns if name != "regret"]
    same(after.strategies[unmoved], before.strategies[unmoved])
    plain = before.measures["measure"].str.removesuffix(OF_MEANS).str.removesuffix(ACROSS_SEEDS)
    of_accuracy = plain.isin(["regret", "expected_regret"])
    # A mean over three seeds rounds, which may break a tie between data sets; r2 is the same but for the last digits.
    of_means = before.measures["measure"].str.endswith(OF_MEANS)
    same(after.measures[~of_accuracy & ~of_means], before.measures[~of_accuracy & ~of_means])
    r2 = before.measures["measure"] == f"r2{OF_MEANS}"
    pd.testing.assert_frame_equal(after.measures[r2], before.measures[r2], rtol=0, atol=1e-9)
    for name in ("parts", "transfer", "curves"):
        same(every_table(after)[name], every_table(before)[name])
    points = before.ceiling["measure"] == "expected_regret"
    pd.testing.assert_frame_equal(after.ceiling[~points], before.ceiling[~points], rtol=0, atol=1e-9)
    same(*(each.comparisons[~each.comparisons["measure"].str.endswith(OF_MEANS)] for each in (after, before)))
    # Its unit, a standard deviation, rounds.
    pd.testing.assert_frame_equal(after.hyperparameters, before.hyperparameters, rtol=0, atol=1e-9)
    assert after.verdict.strategy == before.verdict.strategy


@given(studies(), st.integers(0, 2**32 - 1))
@QUICK
def test_the_order_of_the_runs_changes_nothing(frame: pd.DataFrame, seed: int) -> None:
    before, after = measured(frame), measured(frame.sample(frac=1, random_state=seed))
    for name, table in every_table(before).items():
        same(every_table(after)[name], table)
    assert after.verdict == before.verdict
    assert after.notes == before.notes


@given(studies(), st.data())
@QUICK
def test_other_strategies_change_a_strategys_cost_adjustment_at_most(frame: pd.DataFrame, data: st.DataObject) -> None:
    names = [name for name in frame["strategy"].unique() if name != "full"]
    assume(names)
    kept = data.draw(st.sampled_from(names))
    together, alone = measured(frame), measured(frame[frame["strategy"].isin(["full", kept])])

    def rows_of(quality: StudyQuality, name: str) -> pd.DataFrame:
        table = every_table(quality)[name]
        return table[table["strategy"].isin(["full", kept])].reset_index(drop=True)

    columns = [name for name in together.strategies.columns if name != "cost_adjusted_r2"]
    same(rows_of(together, "strategies")[columns], rows_of(alone, "strategies")[columns])
    for name in ("measures", "best", "selection", "hyperparameters"):
        one, other = rows_of(together, name), rows_of(alone, name)
        if name == "measures":
            one, other = (each[each["measure"] != "cost_adjusted_r2"] for each in (one, other))
        same(one, other)
    same(together.ceiling, alone.ceiling)
    same(together.curves, alone.curves)
