"""The joint model of rungs: its gradient, its posterior against another library's, and what it learns of rungs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from proxyflow.searching.surrogate import JITTER, Belief, Evidence, Fit, Parameters, Prior, knowledge_gradient

RNG = np.random.default_rng(0)
POINTS = RNG.random((30, 3))


def evidence(n: int, rungs: int = 3) -> Evidence:
    place, rung = RNG.integers(0, len(POINTS), n), RNG.integers(0, rungs, n)
    value = np.sin(4 * POINTS[place, 0]) + 0.1 * RNG.standard_normal(n)
    return Evidence(place, rung, value, np.where(RNG.random(n) < 0.2, 3.0, 0.0))


@pytest.mark.parametrize("memories", [0, 1])
def test_the_gradient_is_that_of_the_loss(memories: int) -> None:
    fit = Fit(POINTS, evidence(40, 4), np.array([0.6, 0.7, 0.8]), memories=memories)
    x = fit.means + 0.3 * RNG.standard_normal(len(fit.means))
    steps = 1e-6 * np.eye(len(x))
    numeric = [(fit.loss(x + step)[0] - fit.loss(x - step)[0]) / 2e-6 for step in steps]
    np.testing.assert_allclose(fit.loss(x)[1], numeric, rtol=1e-4, atol=1e-6)


def test_without_observations_the_parameters_are_their_priors() -> None:
    nothing = Evidence(np.zeros(0, int), np.zeros(0, int), np.zeros(0), np.zeros(0))
    fit = Fit(POINTS, nothing, np.array([0.7]))
    belief = Belief(POINTS, nothing, fit.unpack(fit.best()))
    assert belief.parameters.trust == pytest.approx([0.7, 1.0])
    assert belief.mean.tolist() == [0.0] * len(POINTS)
    assert (np.diag(belief.covariance) > 0).all()
    assert knowledge_gradient(belief.mean, belief.shift(0, np.arange(3))).min() > 0


def test_the_posterior_of_one_rung_is_that_of_scikit_learn() -> None:
    observed = Evidence(np.arange(12), np.zeros(12, int), np.sin(4 * POINTS[:12, 0]), np.zeros(12))
    length, spread, noise = np.array([0.4, 0.9, 1.3]), 1.3, 0.2
    parameters = Parameters(length, 1.0, 0.5, np.array([1.0]), np.array([spread]), np.array([noise]), np.ones(1))
    prior = Prior(offset=2.0, offset_of_rung=1.0)
    belief = Belief(POINTS, observed, parameters, prior)
    kernel = ConstantKernel(spread**2, "fixed") * Matern(length, "fixed", nu=2.5) + ConstantKernel(3.0, "fixed")
    oracle = GaussianProcessRegressor(kernel, alpha=(noise * spread) ** 2 + JITTER, optimizer=None)
    oracle.fit(POINTS[:12], observed.value)
    mean, covariance = oracle.predict(POINTS, return_cov=True)
    np.testing.assert_allclose(belief.mean, mean, atol=1e-6)
    np.testing.assert_allclose(belief.covariance, covariance, atol=1e-6)


def test_one_more_observation_moves_the_means_as_predicted() -> None:
    seen = evidence(20)
    fit = Fit(POINTS, seen, np.array([0.7, 0.8]))
    parameters = fit.unpack(fit.means)
    belief = Belief(POINTS, seen, parameters)
    place, rung = 5, 1
    for value in (-1.0, 2.0):
        more = Evidence(
            np.append(seen.place, place),
            np.append(seen.rung, rung),
            np.append(seen.value, value),
            np.append(seen.doubt, 0),
        )
        moved = Belief(POINTS, more, parameters).mean - belief.mean
        shift = belief.shift(rung, np.array([place]))[:, 0]
        # The means move along the shift, by the surprise in standard deviations.
        assert np.corrcoef(moved, shift)[0, 1] ** 2 == pytest.approx(1, abs=1e-6)
        surprise = (value - belief.mean_of(rung)[place]) / (moved @ shift / (shift @ shift))
        assert surprise > 0, "a better value than expected raises what is alike"


def test_knowledge_gradient_of_two_configurations_has_a_closed_form() -> None:
    mean, shift = np.array([0.0, -0.3]), np.array([[0.0], [0.5]])
    z = 0.3 / 0.5
    expected = 0.5 * norm.pdf(z) - 0.3 * norm.cdf(-z)
    assert knowledge_gradient(mean, shift)[0] == pytest.approx(expected, rel=0.1)
    assert knowledge_gradient(mean, np.array([[0.5], [0.5]]))[0] == pytest.approx(0, abs=1e-12), "none gains on another"


def observed_on_both(agree: bool) -> Fit:
    place = np.tile(np.arange(25), 2)
    rung = np.repeat([0, 1], 25)
    target = RNG.standard_normal(25)
    proxy = target + 0.05 * RNG.standard_normal(25)
    if not agree:
        proxy = RNG.standard_normal(25)
        proxy -= target * (proxy @ target) / (target @ target)  # whatever is drawn, it says nothing of the target
    return Fit(POINTS, Evidence(place, rung, np.concatenate([proxy, target]), np.zeros(50)), np.array([0.7]))


def test_a_rung_that_agrees_is_trusted_and_one_that_does_not_is_dropped() -> None:
    good, bad = observed_on_both(agree=True), observed_on_both(agree=False)
    found = [fit.unpack(fit.best()) for fit in (good, bad)]
    # What a value tells of the target: with a seed each, noise and disagreement of the rung look the same.
    agreement = [each.trust[0] / np.sqrt(1 + each.noise[0] ** 2) for each in found]
    assert agreement[0] > 0.85
    assert agreement[1] < 0.55
    gains = []
    for fit in (good, bad):
        belief = Belief(POINTS, fit.evidence, fit.unpack(fit.best()))
        gains.append(knowledge_gradient(belief.mean, belief.shift(0, np.arange(25, 30))).max())
    assert gains[0] > 2 * gains[1]
