"""Every measure agrees with scipy for every kind of metric: a share, losses to be minimized, values above 1 and below 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import training, trainings_frame
from scipy import stats

from proxyflow.quality.measures import Good
from proxyflow.quality.objective import columns_of
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.summary import StudyQuality, measure_study
from proxyflow.reporting.families import FAMILIES
from proxyflow.spaces.metric import ACCURACY, Metric

# Metric, its level and its spread.
METRICS = {
    "accuracy": (ACCURACY, 0.7, 0.05),
    "error rate": (Metric("valid_error", "minimize", share=True), 0.3, 0.05),
    "loss": (Metric("valid_loss", "minimize"), 0.4, 0.1),
    "rmse above 1": (Metric("rmse", "minimize"), 1300.0, 200.0),
    "auc": (Metric("valid_auc"), 0.8, 0.05),
    "log-likelihood": (Metric("log_likelihood"), -2500.0, 300.0),
    "negative log-likelihood": (Metric("nll", "minimize", "last"), 2e-6, 4e-7),
}
CONFIGS = ["default", *(f"lr={number}" for number in range(1, 20)), *(f"flip={number}" for number in range(12))]
NOISE = {"full": 0.0, "random:0.5": 0.4, "random:0.1": 1.0, "easiest:0.1": 3.0}
DATASETS = ("digits", "letters")
SEEDS = 2


def study(metric: Metric, level: float, spread: float, seed: int = 3, configs: Sequence[str] = CONFIGS) -> pd.DataFrame:
    """A study whose better configurations are better in the metric's own direction."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for number, dataset in enumerate(DATASETS):
        quality = rng.normal(size=len(configs))
        for strategy, noise in NOISE.items():
            for run_seed in range(SEEDS):
                values = quality + (noise + 0.2) * rng.normal(size=len(configs))
                for config, value in zip(configs, values, strict=True):
                    objective = level * (1 + number / 10) + metric.sign * spread * float(value)
                    changes = {**columns_of(metric), "dataset": dataset, "seed": run_seed, "n_valid": 500}
                    rows.append(training(strategy, config, objective, **changes))
    return trainings_frame(rows).assign(n_valid=pd.array([500] * len(rows), dtype="Int64"))


def measured(frame: pd.DataFrame, **options: Any) -> StudyQuality:
    curves = frame.loc[frame["strategy"] == "full", ["run_id", "objective"]].assign(epoch=1)
    return measure_study(frame, QualityOptions(cost_basis="examples_seen", **options), FAMILIES, curves)


def sides(frame: pd.DataFrame, strategy: str, dataset: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The metric's own values on the proxy and on the target."""
    part = frame[(frame["dataset"] == dataset) & (frame["seed"] == seed)]
    proxy, target = (
        part[part["strategy"] == name].set_index("config")["objective"].sort_index() for name in (strategy, "full")
    )
    return proxy.to_numpy(), target.to_numpy()


@pytest.mark.parametrize("name", METRICS)
def test_measures_of_any_metric_agree_with_scipy(name: str) -> None:
    metric, level, spread = METRICS[name]
    frame = study(metric, level, spread)
    quality = measured(frame, bootstrap=0)
    table = quality.measures.pivot(index="strategy", columns="measure", values="value")
    scale = 100 if metric.share else 1
    for strategy in NOISE:
        x, y, of_good, of_all, agreement, regret = [], [], [], [], [], []
        for dataset in DATASETS:
            of_seeds = [sides(frame, strategy, dataset, seed) for seed in range(SEEDS)]
            x += [*stats.zscore(np.concatenate([proxy for proxy, _ in of_seeds]))]
            y += [*stats.zscore(np.concatenate([target for _, target in of_seeds]))]
            for proxy, target in of_seeds:
                best_first = np.argsort(proxy)[:: 1 if metric.goal == "minimize" else -1]
                good = best_first[: -(-len(CONFIGS) // 2)]
                of_good.append(stats.spearmanr(proxy[good], target[good]).statistic)
                of_all.append(stats.spearmanr(proxy, target).statistic)
                agreement.append(stats.kendalltau(proxy, target).statistic)
                best = target.min() if metric.goal == "minimize" else target.max()
                regret.append(scale * abs(best - target[best_first[0]]))
        row = table.loc[strategy]
        assert row["r2"] == pytest.approx(stats.linregress(x, y).rvalue ** 2, abs=1e-9)
        assert row["spearman"] == pytest.approx(np.mean(of_good), abs=1e-9)
        assert row["spearman_all"] == pytest.approx(np.mean(of_all), abs=1e-9)
        assert row["kendall"] == pytest.approx(np.mean(agreement), abs=1e-9)
        assert row["regret"] == pytest.approx(np.mean(regret), rel=1e-9)
        assert (quality.strategies.set_index("strategy").loc[strategy, "regret"]) == pytest.approx(np.mean(regret))
    assert table.loc["random:0.5", "r2"] > table.loc["easiest:0.1", "r2"]


@pytest.mark.parametrize("name", METRICS)
def test_tables_show_the_metrics_own_values(name: str) -> None:
    metric, level, spread = METRICS[name]
    frame = study(metric, level, spread)
    quality = measured(frame, bootstrap=20)
    better = min if metric.goal == "minimize" else max
    for row in quality.best.to_dict("records"):
        proxy, target = sides(frame, row["strategy"], row["dataset"], row["seed"])
        assert row["proxy_objective"] == pytest.approx(better(proxy), rel=1e-12)
        assert row["target_best_objective"] == pytest.approx(better(target), rel=1e-12)
        loss = metric.scale * metric.sign * (row["target_best_objective"] - row["target_objective"])
        assert row["regret"] == pytest.approx(loss, rel=1e-9, abs=1e-12 * abs(level))
    target = frame[frame["strategy"] == "full"]
    for row in quality.best_configurations.values.to_dict("records"):
        means = target[target["dataset"] == row["dataset"]].groupby("config")["objective"].mean()
        assert row["objective"] == pytest.approx(better(means))
        assert means[row["config"]] == pytest.approx(better(means))
        assert row["default_objective"] == pytest.approx(means["default"])
    assert (quality.policies.table["regret"] >= 0).all()
    # What a value ends at is what it is after the only epoch.
    assert quality.curves["correlation"].tolist() == pytest.approx([1])
    assert quality.curves["chance"].tolist() == pytest.approx([1])


@pytest.mark.parametrize("name", METRICS)
def test_binomial_noise_is_that_of_shares_alone(name: str) -> None:
    metric, level, spread = METRICS[name]
    quality = measured(study(metric, level, spread), bootstrap=0)
    sources = set(quality.ceiling["source"])
    assert ("validation" in sources) == metric.share
    assert len(quality.noise) == (len(DATASETS) if metric.share else 0)
    assert any("standard error" in note for _, note in quality.notes) == bool(
        (quality.noise["standard_error"] > quality.noise["spread"] / 2).any()
    )
    if metric.share:
        p = quality.noise["objective"]
        assert quality.noise["standard_error"].tolist() == pytest.approx((100 * np.sqrt(p * (1 - p) / 500)).tolist())


@pytest.mark.parametrize("name", METRICS)
def test_a_threshold_is_in_the_metrics_own_unit_and_direction(name: str) -> None:
    metric, level, spread = METRICS[name]
    frame = study(metric, level, spread)
    quality = measured(frame, bootstrap=0, good=Good(threshold=level))
    found = []
    for dataset in DATASETS:
        for seed in range(SEEDS):
            proxy, target = sides(frame, "random:0.1", dataset, seed)
            good = proxy <= level if metric.goal == "minimize" else proxy >= level
            if good.sum() >= 3:
                found.append(stats.spearmanr(proxy[good], target[good]).statistic)
    row = quality.strategies.set_index("strategy").loc["random:0.1"]
    assert row["spearman"] == pytest.approx(np.mean(found), abs=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_a_tolerance_is_points_or_per_cent_of_the_spread(name: str) -> None:
    metric, level, spread = METRICS[name]
    frame = study(metric, level, spread)
    quality = measured(frame, bootstrap=0, tolerance=10.0)
    means = frame[frame["strategy"] == "full"].groupby(["dataset", "config"])["objective"].mean()
    by_hand = 10.0 if metric.share else 0.1 * means.groupby("dataset").std(ddof=1).mean()
    assert quality.verdict.tolerance == pytest.approx(by_hand)


LOSSES = ("regret", "expected_regret")
FEW = CONFIGS[::4]
DIRECTIONS: Mapping[str, Metric] = {
    "maximize": Metric("figure_of_merit"),
    "minimize": Metric("figure_of_merit", "minimize"),
}


@settings(max_examples=5)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1.0, 2.0**-40, 2.0**40, -7.0 * 2**20]),
    st.sampled_from([2.0**-30, 1.0, 2.0**30]),
)
def test_a_metric_and_its_negative_to_be_minimized_are_the_same(seed: int, level: float, spread: float) -> None:
    """All but the values themselves: negation is exact, so every number is identical, intervals included."""
    frame = study(DIRECTIONS["maximize"], level, spread, seed, FEW)
    flipped = frame.assign(objective=-frame["objective"], **columns_of(DIRECTIONS["minimize"]))
    one, other = measured(frame, bootstrap=20), measured(flipped, bootstrap=20)
    for name in ("measures", "strategies", "ceiling", "ceiling_gaps", "influence", "parts", "transfer", "curves"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name), check_exact=True)
    for name in ("hyperparameters", "comparisons", "robustness"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name), check_exact=True)
    pd.testing.assert_frame_equal(one.policies.table, other.policies.table, check_exact=True)
    assert one.verdict == other.verdict
    signs = [name for name in one.best if name.endswith("objective")]
    pd.testing.assert_frame_equal(one.best.assign(**{name: -one.best[name] for name in signs}), other.best)


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2.0**-40, 2.0**-3, 2.0**40]))
def test_the_unit_of_a_metric_changes_losses_alone_and_by_as_much(seed: int, factor: float) -> None:
    metric = Metric("rmse", "minimize")
    frame = study(metric, 1.5, 0.25, seed, FEW)
    scaled = frame.assign(objective=frame["objective"] * factor)
    one, other = measured(frame, bootstrap=20), measured(scaled, bootstrap=20)
    for name in ("measures", "ceiling", "influence"):
        before, after = getattr(one, name), getattr(other, name)
        is_loss = before["measure"].str.startswith(LOSSES)
        pd.testing.assert_frame_equal(before[~is_loss], after[~is_loss], check_exact=True)
        numbers = [column for column in ("value", "low", "high", "without") if column in before]
        losses = factor * before.loc[is_loss, numbers]
        np.testing.assert_allclose(after.loc[is_loss, numbers], losses, rtol=1e-9, atol=1e-10 * factor)
    losses = [name for name in one.policies.table if name.startswith(("regret", "excess", "random_"))]
    np.testing.assert_allclose(
        other.policies.table[losses], factor * one.policies.table[losses], rtol=1e-9, atol=1e-10 * factor
    )
    without: dict[str, Any] = {"tolerance": 0.0, "sentences": (), "proxies": ()}
    assert replace(other.verdict, **without) == replace(one.verdict, **without)
