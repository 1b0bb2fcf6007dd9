"""Coverage is only as good as the studies that are simulated, and a method that is computed wrongly looks bad."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_up import training, trainings_frame
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import t

from benchmarks import interval_methods as methods
from benchmarks.coverage import STUDY, Simulated, formula, regrets
from benchmarks.interval_methods import Sampled
from benchmarks.study_model import StudyModel, fit, without_noise
from proxyflow.quality.bootstrap import number_configurations
from proxyflow.quality.measures import Values
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import make_pairs
from proxyflow.quality.policies import PROXY, replay
from proxyflow.quality.runs import TARGET, select_runs
from proxyflow.reporting.recorded import read_recorded


@pytest.fixture(scope="module")
def model() -> StudyModel:
    return fit(STUDY)


def test_noise_is_taken_out_of_means_over_seeds_and_not_out_of_what_they_have_in_common() -> None:
    rng = np.random.default_rng(0)
    effects = rng.multivariate_normal([0, 5], [[1.0, 0.6], [0.6, 2.0]], size=4000)
    runs = effects[:, None] + rng.normal(size=(4000, 3, 2)) * [0.9, 1.5]
    means = runs.mean(axis=1)
    residuals = (runs - means[:, None]) * np.sqrt(3 / 2)
    found = without_noise(means, residuals)
    assert np.cov(means.T)[0, 0] > 1.2
    assert np.cov(found.T) == pytest.approx(np.array([[1.0, 0.6], [0.6, 2.0]]), abs=0.12)
    assert found.mean(axis=0) == pytest.approx(means.mean(axis=0))


def test_simulated_studies_are_like_the_real_one(model: StudyModel) -> None:
    runs = select_runs(read_recorded(STUDY)[0]).frame
    accuracy, _ = model.draw(4000, 3, np.random.default_rng(0))
    for d, dataset in enumerate(model.datasets):
        for strategy in (TARGET, "random:0.25", "epochs:10"):
            rows = runs[(runs["dataset"] == dataset) & (runs["strategy"] == strategy)]
            real = rows.pivot(index="config", columns="seed", values="value").to_numpy()
            drawn = accuracy[d, model.strategies.index(strategy)]
            assert drawn.mean() == pytest.approx(real.mean(), abs=0.02)
            assert drawn.std() == pytest.approx(real.std(), rel=0.25)
            noise = [np.sqrt(each.var(axis=1, ddof=1).mean()) for each in (drawn, real)]
            assert noise[0] == pytest.approx(noise[1], rel=0.4)
            # Extreme configurations are kept, and nothing is truncated.
            assert drawn.min() < real.min()
            assert drawn.max() > real.max()


def test_a_configuration_moves_as_a_whole_and_accuracies_are_shares_of_the_images(model: StudyModel) -> None:
    accuracy, without = model.draw(2000, 1, np.random.default_rng(1))
    images = model.images[:, :, None, None]
    assert accuracy * images == pytest.approx(np.rint(accuracy * images), abs=1e-9)
    number = model.strategies.index("random:0.25")
    residuals = []
    for dataset in without:
        slope, level = np.polyfit(dataset[number], dataset[0], 1)
        residuals.append(dataset[0] - slope * dataset[number] - level)
    # What the proxy gets wrong on one data set it gets wrong on the other.
    assert np.corrcoef(residuals)[0, 1] > 0.2


def test_own_images_leave_binomial_noise(model: StudyModel) -> None:
    own = replace(model, own_images=True).only(("fashion-mnist@4000",))
    accuracy, without = own.draw(4000, 2, np.random.default_rng(2))
    target = accuracy[0, 0]
    binomial = (without[0, 0] * (1 - without[0, 0]) / 500).mean()
    assert np.var(target[:, 0] - target[:, 1]) / 2 == pytest.approx(binomial, rel=0.1)


def test_one_data_set_of_the_model_is_that_of_the_whole(model: StudyModel) -> None:
    accuracy, _ = model.draw(4000, 2, np.random.default_rng(3))
    alone, _ = model.only(("digits",)).draw(4000, 2, np.random.default_rng(4))
    assert alone.shape == (1, len(model.strategies), 4000, 2)
    assert alone[0].mean(axis=(1, 2)) == pytest.approx(accuracy[0].mean(axis=(1, 2)), abs=0.02)


def mean_of(values: np.ndarray, samples: int = 4000) -> Sampled:
    weights = methods.weights(len(values), samples, np.random.default_rng(0))
    return methods.sampled(weights @ values / weights.sum(axis=1), len(values))


def test_intervals_of_a_mean_are_those_of_scipy() -> None:
    values = np.random.default_rng(1).gamma(1.5, size=40)
    of = mean_of(values)
    assert of.value == pytest.approx(values.mean())
    expected = t.interval(0.95, 39, loc=values.mean(), scale=values.std(ddof=1) / np.sqrt(40))
    assert methods.jackknife_t(of) == pytest.approx(expected)
    for method, name in ((methods.bca, "BCa"), (methods.percentile, "percentile"), (methods.basic, "basic")):
        theirs = scipy_bootstrap((values,), np.mean, n_resamples=20_000, method=name, rng=np.random.default_rng(2))
        assert method(of) == pytest.approx(tuple(theirs.confidence_interval), abs=0.03), name


def test_standard_errors_are_those_of_the_jackknife_where_there_are_many_configurations() -> None:
    rng = np.random.default_rng(0)
    count = 800
    quality = rng.normal(size=count)
    proxy, target = (quality[None, :, None] + 0.5 * rng.normal(size=(2, count, 2)) for _ in range(2))
    strata, contests, cluster = methods.strata_of(2, count, 2)
    pairs = Values(proxy.ravel(), target.ravel(), strata, contests)
    weights = methods.weights(count, 0, rng)
    slopes = formula("r2", pairs, weights[:, cluster])
    z = np.arctanh(slopes[1:])
    jackknife = np.sqrt((count - 1) / count * ((z - z.mean()) ** 2).sum())
    assert methods.standard_errors(pairs, cluster, weights[:1])[0] == pytest.approx(jackknife, rel=0.02)


@pytest.mark.parametrize("simulate", [methods.smoothed, methods.multilevel])
@pytest.mark.parametrize("seeds", [1, 3])
def test_slopes_of_simulated_studies_lie_around_that_of_the_study(simulate: methods.Simulate, seeds: int) -> None:
    rng = np.random.default_rng(0)
    quality = rng.normal(size=(60, 1))
    accuracy = np.stack([np.stack([quality + 0.5 * rng.normal(size=(60, seeds)) for _ in range(2)]) for _ in range(2)])
    accuracy = 0.7 + 0.05 * accuracy
    slope = np.mean([np.corrcoef(each[0].ravel(), each[1].ravel())[0, 1] for each in accuracy])
    found = simulate(accuracy, 400, rng)
    assert found.shape == (400,)
    assert np.median(found) == pytest.approx(slope, abs=0.05)
    assert 0.01 < found.std() < 0.15


def test_regrets_of_a_simulated_study_are_those_of_the_report(model: StudyModel) -> None:
    number = model.strategies.index("random:0.1")
    accuracy, _ = model.draw(12, 3, np.random.default_rng(5))
    # Without ties the order of those that tie does not matter.
    accuracy = accuracy + np.random.default_rng(6).uniform(0, 1e-5, accuracy.shape)
    rows = [
        training(strategy, f"lr={config}", float(accuracy[d, s, config, seed]), dataset=dataset, seed=seed)
        for d, dataset in enumerate(model.datasets)
        for s, strategy in ((0, TARGET), (number, "random:0.1"))
        for config in range(12)
        for seed in range(3)
    ]
    runs = number_configurations(trainings_frame(rows))
    pairs = {name: make_pairs(runs, name) for name in (TARGET, "random:0.1")}
    policies = replay(pairs, runs[runs["strategy"] == TARGET], None, QualityOptions("examples_seen")).policies
    searches = Simulated(accuracy).searches(number, np.ones((1, 12)), np.random.default_rng(7))
    found = {name: float(value[0]) for name, value in regrets(searches)}
    for policy in policies:
        if policy.kind == PROXY:
            assert found[f"regret_{policy.k}"] == pytest.approx(policy.regret.value, abs=1e-6)
            assert found[f"excess_{policy.k}"] == pytest.approx(policy.excess.value, abs=1e-6)


def test_a_study_that_no_model_can_be_fitted_to_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = pd.read_csv(STUDY, dtype=str)
    for name, part in {"one seed": rows[rows["seed"] == "0"], "no target": rows[rows["strategy"] != TARGET]}.items():
        path = tmp_path_factory.mktemp("study") / "runs.csv"
        part.to_csv(path, index=False)
        with pytest.raises(SystemExit, match=str(path)):
            fit(path)
        assert name
