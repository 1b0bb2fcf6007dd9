"""Means over seeds: less noise on both sides, so a proxy that is good must look better than by single runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_up import training, trainings_frame

from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import make_pairs
from proxyflow.quality.runs import TARGET
from proxyflow.quality.seeds import has_several_seeds, mean_over_seeds
from proxyflow.quality.summary import StudyQuality, measure_study
from proxyflow.reporting.families import FAMILIES


def runs(seeds: int, n: int = 40, noise: float = 0.02, sign: float = 1.0) -> pd.DataFrame:
    """A target, a proxy that is as good as it but for noise, and one that tells nothing, of the same cost."""
    rng = np.random.default_rng(3)
    truth = 0.8 + 0.02 * rng.normal(size=n)
    other = 0.8 + 0.02 * rng.normal(size=n)
    rows = []
    for strategy, values in {TARGET: truth, "random:0.5": 0.8 + sign * (truth - 0.8), "easiest:0.5": other}.items():
        cost = {"train_seconds": 100.0 if strategy == TARGET else 50.0}
        for seed in range(seeds):
            accuracies = values + noise * rng.normal(size=n)
            rows += [
                training(strategy, f"lr={i}", float(accuracy), seed=seed, **cost)
                for i, accuracy in enumerate(accuracies)
            ]
    return trainings_frame(rows)


@pytest.fixture(scope="module")
def quality() -> StudyQuality:
    return measure_study(runs(3), QualityOptions(bootstrap=300), FAMILIES)


def value(quality: StudyQuality, measure: str, strategy: str = "random:0.5") -> pd.Series:
    table = quality.measures
    return table[(table["strategy"] == strategy) & (table["measure"] == measure)].iloc[0]


def test_means_are_those_over_the_seeds_that_both_sides_have() -> None:
    rows = [
        training(TARGET, "a", 0.9, seed=0),
        training(TARGET, "a", 0.8, seed=1),
        training(TARGET, "b", 0.7, seed=0),
        training("random:0.1", "a", 0.5, seed=0, train_seconds=10.0),
        training("random:0.1", "a", 0.7, seed=1, train_seconds=30.0),
        training("random:0.1", "a", 0.1, seed=2),  # the target lacks it
        training("random:0.1", "b", 0.4, seed=0),
    ]
    pairs = make_pairs(trainings_frame(rows), "random:0.1")
    assert has_several_seeds(pairs)
    means = mean_over_seeds(pairs)
    assert means.frame["config"].tolist() == ["a", "b"]
    assert means.frame["value_proxy"].tolist() == pytest.approx([0.6, 0.4])
    assert means.frame["value_target"].tolist() == pytest.approx([0.85, 0.7])
    assert means.frame["train_seconds_proxy"].tolist() == pytest.approx([20.0, 100.0])
    assert list(means.frame.columns) == [name for name in pairs.frame if name != "unranked"]
    assert not has_several_seeds(means)
    assert means.n_missing == pairs.n_missing == 1


def test_a_cost_that_is_not_known_of_every_run_is_not_known_of_the_mean() -> None:
    rows = [training(name, "a", 0.9, seed=seed) for name in (TARGET, "random:0.1") for seed in (0, 1)]
    rows[-1]["train_flops"] = np.nan
    means = mean_over_seeds(make_pairs(trainings_frame(rows), "random:0.1")).frame
    assert np.isnan(means["train_flops_proxy"].iloc[0])
    assert means["train_flops_target"].iloc[0] == 1e12


def test_r2_of_means_is_numpys_and_higher_than_that_of_single_runs(quality: StudyQuality) -> None:
    frame = quality.runs.groupby(["strategy", "config"])["objective"].mean()
    expected = np.corrcoef(frame["random:0.5"], frame[TARGET])[0, 1] ** 2
    of_means = value(quality, "r2_of_means")
    assert of_means["value"] == pytest.approx(expected, abs=1e-9)
    assert of_means["n_pairs"] == 40
    assert value(quality, "r2")["n_pairs"] == 120
    assert of_means["value"] > value(quality, "r2")["value"] + 0.15
    assert of_means["low"] < of_means["value"] < of_means["high"]


def stepped_up(table: pd.DataFrame, seeds: int) -> float:
    """Spearman and Brown's formula on the mean correlation of one seed's column with the next one's."""
    following = [*table.columns[1:], table.columns[0]]
    single = np.mean([np.corrcoef(table[one], table[other])[0, 1] for one, other in zip(table, following, strict=True)])
    return float(seeds * single / (1 + (seeds - 1) * single))


def by_seed(frame: pd.DataFrame, dataset: str = "digits") -> pd.DataFrame:
    target = frame[(frame["strategy"] == TARGET) & (frame["dataset"] == dataset)]
    return target.pivot(index="config", columns="seed", values="objective")


def test_the_ceiling_of_means_is_that_of_spearman_and_brown(quality: StudyQuality) -> None:
    row = quality.ceiling[quality.ceiling["source"] == "seed_means"].iloc[0]
    assert row["value"] == pytest.approx(stepped_up(by_seed(quality.runs), 3) ** 2, abs=1e-12)
    assert row["low"] < row["value"] < row["high"] <= 1


def test_data_sets_of_different_noise_have_ceilings_of_their_own() -> None:
    frame = pd.concat([runs(3, noise=0.04), runs(3, noise=0.001).assign(dataset="letters")], ignore_index=True)
    frame["run_id"] = [str(number) for number in range(len(frame))]
    quality = measure_study(frame, QualityOptions(bootstrap=0), FAMILIES)
    told = quality.ceiling.set_index("source").loc["seed_means", "value"]
    expected = np.mean([stepped_up(by_seed(frame, name), 3) for name in ("digits", "letters")]) ** 2
    assert told == pytest.approx(expected, abs=1e-12)


def test_a_seed_that_has_only_begun_takes_no_ceiling_away() -> None:
    begun = trainings_frame([training(TARGET, f"lr={number}", 0.8, seed=2) for number in range(2)])
    frame = pd.concat([runs(2), begun], ignore_index=True)
    quality = measure_study(frame, QualityOptions(bootstrap=50), FAMILIES)
    row = quality.ceiling[quality.ceiling["source"] == "seed_means"].iloc[0]
    assert np.isfinite([row["value"], row["low"], row["high"]]).all()
    assert any("have 2 to 3 seeds each" in note for _, note in quality.notes)


def test_configurations_of_the_same_sum_tie() -> None:
    triples = [(131, 138, 144), (131, 139, 143), (131, 140, 142), (131, 141, 141), (132, 137, 144), (132, 139, 142)]
    assert {sum(each) for each in triples} == {413}
    rows = [
        training(name, f"lr={i}", hits / 500, seed=seed)
        for name in (TARGET, "random:0.1")
        for i, each in enumerate(triples)
        for seed, hits in enumerate(each)
    ]
    frame = trainings_frame(rows)
    means = mean_over_seeds(make_pairs(frame, "random:0.1")).frame
    assert means["value_proxy"].nunique() == means["value_target"].nunique() == 1
    floats = frame[frame["strategy"] == TARGET].groupby("config")["objective"].mean()
    assert floats.nunique() > 1, "or this shows nothing"


def test_two_strategies_are_compared_by_means_as_well(quality: StudyQuality) -> None:
    table = quality.comparisons.set_index("measure")
    single, means = table.loc["r2"], table.loc["r2_of_means"]
    assert single["strategy"] == means["strategy"] == "random:0.5"
    assert means["difference"] > single["difference"]
    assert (single["n_pairs"], means["n_pairs"]) == (120, 40)


def test_with_one_seed_there_are_no_means() -> None:
    quality = measure_study(runs(1), QualityOptions(bootstrap=50), FAMILIES)
    assert not quality.means
    assert not quality.across
    names = [*quality.measures["measure"], *quality.comparisons["measure"], *quality.ceiling["source"]]
    assert not [name for name in names if "mean" in name or "across" in name]


def test_a_proxy_that_is_wrong_for_sure_is_worse_than_one_that_tells_nothing() -> None:
    quality = measure_study(runs(2, sign=-1.0), QualityOptions(bootstrap=200), FAMILIES)
    row = quality.comparisons.set_index("measure").loc["r2_of_means"]
    assert (row["strategy"], row["other"]) == ("easiest:0.5", "random:0.5")
    assert row["low"] > 0
    assert value(quality, "r2_of_means")["value"] > value(quality, "r2_of_means", "easiest:0.5")["value"]
