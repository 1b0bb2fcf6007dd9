"""A joint model of all rungs: what every observation, on whichever proxy, says about every configuration's target.

The values of configuration `c` on rung `r` are Gaussian, with covariance (Bonilla et al. 2008, "Multi-task Gaussian
process prediction", eq. 2, with a part of its own for each configuration):

    cov(y[c, r], y[c', r']) = S[r] S[r'] C[r, r'] (h k(c, c') + (1 - h) [c = c']) + noise + offsets

`k` is a Matern-5/2 kernel with a length scale per column of the configurations' points: configurations that are alike
have similar values. The rest, 1 - h, belongs to a configuration alone. `C` says how far rungs agree. With `rho[r]` the
correlation of rung `r` with the target, `C[r, r'] = rho[r] rho[r'] + tau q[r] q[r']` for `q = sqrt(1 - rho^2)`: what a
proxy gets wrong, others get wrong alike, to the degree `tau`. A memory, which is a rung of another study, errs by
itself. All parameters have priors and are fitted by their largest posterior density, so few observations leave them
near the priors, and a rung that misleads loses its weight.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
JITTER = 1e-8
SQRT_5 = np.sqrt(5.0)
WIDEST = 4.0  # standard deviations of a prior that a parameter may be off
ALMOST_0 = 1e-12


@dataclass(frozen=True)
class Prior:
    """Means and standard deviations of the parameters' priors, on the scale in which they are fitted.

    Values are standardized, so that 1 is the spread of the configurations.

    Attributes:
        length: log of a length scale, in units of a hyperparameter's range.
        shared: logit of h, the share of the variance that hyperparameters explain.
        common: logit of tau.
        trust, trust_of_memory: standard deviations of the logits of rho, whose means are given per rung; of a memory
            little is known.
        spread: log of S.
        noise: log of the noise's standard deviation relative to S: of two seeds of one configuration.
        offset, offset_of_rung: variances of the mean value, in common and by rung.
    """

    length: tuple[float, float] = (np.log(0.8), 0.6)
    shared: tuple[float, float] = (1.5, 0.8)
    common: tuple[float, float] = (0.5, 0.7)
    trust: float = 0.8
    trust_of_memory: float = 1.5
    spread: tuple[float, float] = (0.0, 0.4)
    noise: tuple[float, float] = (np.log(0.4), 0.5)
    offset: float = 25.0
    offset_of_rung: float = 400.0


@dataclass(frozen=True, eq=False)
class Evidence:
    """Observations.

    Attributes:
        place: `(n,)`, which configuration.
        rung: `(n,)`, on which rung; the last one is the target.
        value: `(n,)`, standardized, more is better.
        doubt: `(n,)`, by how much the noise variance is multiplied, less 1: of trainings that learned nothing.
    """

    place: Ints
    rung: Ints
    value: Floats
    doubt: Floats

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, eq=False)
class Parameters:
    """Of the model, see the module's text; `trust` is rho, with 1 for the target; `alike` is 0 for memories, else 1."""

    length: Floats
    shared: float
    common: float
    trust: Floats
    spread: Floats
    noise: Floats
    alike: Floats

    @cached_property
    def agreement(self) -> Floats:
        """`(rungs, rungs)`, C."""
        own = _own(self.trust) * self.alike
        matrix = np.outer(self.trust, self.trust) + self.common * np.outer(own, own)
        np.fill_diagonal(matrix, 1.0)
        return matrix


def _own(trust: Floats) -> Floats:
    return np.sqrt(np.maximum(1 - trust**2, ALMOST_0))


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)))


def _matern(squared: Floats) -> Floats:
    """Matern-5/2 of squared scaled distances."""
    distance = SQRT_5 * np.sqrt(squared + 1e-16)
    return np.asarray((1 + distance + distance**2 / 3) * np.exp(-distance))


@dataclass(frozen=True, eq=False)
class Fit:
    """The density of parameters, given observations, and where it is largest.

    Attributes:
        points: `(configurations, columns)`, see `encode`.
        evidence: the observations.
        trust: `(rungs - 1,)`, prior means of rho.
        prior: the other priors.
        memories: how many of the first rungs are memories.
    """

    points: Floats
    evidence: Evidence
    trust: Floats
    prior: Prior = field(default_factory=Prior)
    memories: int = 0

    @cached_property
    def _alike(self) -> Floats:
        return np.where(np.arange(self.rungs) < self.memories, 0.0, 1.0)

    @cached_property
    def rungs(self) -> int:
        return len(self.trust) + 1

    @cached_property
    def _columns(self) -> int:
        return int(self.points.shape[1])

    @cached_property
    def means(self) -> Floats:
        """Of the parameters' priors, in the order of `unpack`."""
        prior, logits = self.prior, np.log(self.trust / (1 - self.trust))
        each = np.ones(self.rungs)
        lengths = np.full(self._columns, prior.length[0])
        return np.concatenate(
            [lengths, [prior.shared[0], prior.common[0]], logits, prior.spread[0] * each, prior.noise[0] * each]
        )

    @cached_property
    def deviations(self) -> Floats:
        prior, each = self.prior, np.ones(self.rungs)
        lengths = np.full(self._columns, prior.length[1])
        trust = np.where(self._alike[:-1] > 0, prior.trust, prior.trust_of_memory)
        return np.concatenate(
            [lengths, [prior.shared[1], prior.common[1]], trust, prior.spread[1] * each, prior.noise[1] * each]
        )

    def unpack(self, x: Floats) -> Parameters:
        """Parameters from the scale in which they are fitted."""
        d, rungs = self._columns, self.rungs
        trust, spread, noise = np.split(x[d + 2 :], [rungs - 1, 2 * rungs - 1])
        shared, common = _sigmoid(x[d : d + 2])
        rho = np.append(_sigmoid(trust), 1.0)
        return Parameters(np.exp(x[:d]), float(shared), float(common), rho, np.exp(spread), np.exp(noise), self._alike)

    @cached_property
    def _squares(self) -> Floats:
        """`(n, n, columns)` squared differences of the observed points."""
        seen = self.points[self.evidence.place]
        return np.asarray((seen[:, None] - seen[None]) ** 2)

    @cached_property
    def _same(self) -> tuple[Floats, Floats]:
        """Whether two observations are of one configuration, and of one rung."""
        place, rung = self.evidence.place, self.evidence.rung
        return (place[:, None] == place[None]).astype(float), (rung[:, None] == rung[None]).astype(float)

    def loss(self, x: Floats) -> tuple[float, Floats]:
        """The negative log posterior density of parameters, up to a constant, and its gradient."""
        found, evidence, d, rungs = self.unpack(x), self.evidence, self._columns, self.rungs
        rung, (same, same_rung) = evidence.rung, self._same
        weights = found.length**-2
        distance = SQRT_5 * np.sqrt(self._squares @ weights + 1e-16)
        decay = np.exp(-distance)
        matern = (1 + distance + distance**2 / 3) * decay
        alike = found.shared * matern + (1 - found.shared) * same
        spread = np.outer(found.spread[rung], found.spread[rung])
        agreement = found.agreement[rung][:, rung]
        signal = spread * agreement * alike
        noise = (found.noise[rung] * found.spread[rung]) ** 2 * (1 + evidence.doubt)
        covariance = signal + self.prior.offset + self.prior.offset_of_rung * same_rung
        covariance[np.diag_indices(len(evidence))] += noise + JITTER
        lower = np.linalg.cholesky(covariance)
        solved = cho_solve((lower, True), evidence.value)
        value = 0.5 * evidence.value @ solved + np.log(np.diag(lower)).sum()
        # The loss changes by the sum of `slope` times the change of the covariance.
        slope = 0.5 * (cho_solve((lower, True), np.eye(len(evidence))) - np.outer(solved, solved))
        by_rung = np.zeros((len(evidence), rungs))
        by_rung[np.arange(len(evidence)), rung] = 1.0
        of_matern = slope * spread * agreement * found.shared * (5 / 3) * (1 + distance) * decay
        of_shared = (slope * spread * agreement * (matern - same)).sum() * found.shared * (1 - found.shared)
        pairs = by_rung.T @ (slope * spread * alike) @ by_rung
        np.fill_diagonal(pairs, 0.0)  # a rung agrees with itself
        own, trust = _own(found.trust), found.trust
        shared_error = own * found.alike
        of_common = shared_error @ pairs @ shared_error * found.common * (1 - found.common)
        of_trust = 2 * (pairs @ trust) - 2 * found.common * (pairs @ shared_error) * found.alike * trust / own
        diagonal = np.diag(slope) * noise
        gradient = np.concatenate(
            [
                np.einsum("ij,ijd->d", of_matern, self._squares) * weights,
                [of_shared, of_common],
                (of_trust * trust * (1 - trust))[:-1],
                2 * by_rung.T @ ((slope * signal).sum(axis=1) + diagonal),
                2 * by_rung.T @ diagonal,
            ]
        )
        assert len(gradient) == d + 3 * rungs + 1
        off = (x - self.means) / self.deviations
        return float(value + 0.5 * off @ off), gradient + off / self.deviations

    def best(self, start: Floats | None = None, steps: int = 30) -> Floats:
        """Where the density is largest, on the scale in which it is fitted.

        Args:
            start: where to begin, such as the result with fewer observations.
            steps: of the optimizer (L-BFGS).
        """
        x = self.means if start is None else start
        if not len(self.evidence):
            return x
        bounds = list(zip(self.means - WIDEST * self.deviations, self.means + WIDEST * self.deviations, strict=True))
        options = {"maxiter": steps}
        return np.asarray(minimize(self.loss, x, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x)


@dataclass(frozen=True, eq=False)
class Belief:
    """What is believed of every configuration's target, given observations and parameters.

    Attributes:
        points, evidence: see `Fit`.
        parameters: of the model.
        prior: for the offsets.
    """

    points: Floats
    evidence: Evidence
    parameters: Parameters
    prior: Prior = field(default_factory=Prior)

    @cached_property
    def _alike(self) -> Floats:
        """`(configurations, configurations)`."""
        scaled = self.points / self.parameters.length
        squares = np.maximum(((scaled[:, None] - scaled[None]) ** 2).sum(axis=2), 0)
        alike = self.parameters.shared * _matern(squares)
        np.fill_diagonal(alike, 1.0)
        return np.asarray(alike)

    def _between(self, rung: int, rungs: Ints) -> Floats:
        """`(n,)` the factor of `_alike` between a rung and others, without offsets."""
        found = self.parameters
        return np.asarray(found.spread[rung] * found.spread[rungs] * found.agreement[rung, rungs])

    def _offset(self, rung: int, rungs: Ints) -> Floats:
        return np.asarray(self.prior.offset + self.prior.offset_of_rung * (rungs == rung))

    @cached_property
    def _lower(self) -> Floats:
        place, rung, found = self.evidence.place, self.evidence.rung, self.parameters
        spread = np.outer(found.spread[rung], found.spread[rung])
        covariance = spread * found.agreement[rung][:, rung] * self._alike[place][:, place]
        covariance += self.prior.offset + self.prior.offset_of_rung * (rung[:, None] == rung[None])
        noise = (found.noise[rung] * found.spread[rung]) ** 2 * (1 + self.evidence.doubt)
        covariance[np.diag_indices(len(rung))] += noise + JITTER
        return np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)

    def _whitened(self, rung: int, places: Ints) -> Floats:
        """`(n, places)` covariance of the observations with values on a rung, solved by the Cholesky factor."""
        evidence = self.evidence
        factor, offset = self._between(rung, evidence.rung), self._offset(rung, evidence.rung)
        covariance = factor[:, None] * self._alike[evidence.place][:, places] + offset[:, None]
        return np.asarray(solve_triangular(self._lower, covariance, lower=True))

    @cached_property
    def target(self) -> int:
        """The number of the target's rung."""
        return len(self.parameters.trust) - 1

    @cached_property
    def _everywhere(self) -> Ints:
        return np.arange(len(self.points))

    @cached_property
    def _of_target(self) -> Floats:
        return self._whitened(self.target, self._everywhere)

    def _of_rung(self, rung: int) -> Floats:
        return self._of_target if rung == self.target else self._whitened(rung, self._everywhere)

    @cached_property
    def mean(self) -> Floats:
        """`(configurations,)`, of the target without noise."""
        return self.mean_of(self.target)

    def mean_of(self, rung: int) -> Floats:
        """`(configurations,)`, of a rung without noise."""
        if not len(self.evidence):
            return np.zeros(len(self.points))
        return np.asarray(self._of_rung(rung).T @ solve_triangular(self._lower, self.evidence.value, lower=True))

    @cached_property
    def covariance(self) -> Floats:
        """`(configurations, configurations)`, of the target without noise."""
        return self.covariance_of(self.target, self.target)

    def covariance_of(self, first: int, second: int) -> Floats:
        """`(configurations, configurations)`, between the values of two rungs without noise."""
        there = np.array([second])
        prior = self._between(first, there)[0] * self._alike + self._offset(first, there)[0]
        if not len(self.evidence):
            return np.asarray(prior)
        return np.asarray(prior - self._of_rung(first).T @ self._of_rung(second))

    def shift(self, rung: int, places: Ints) -> Floats:
        """How far one more observation moves the target's means, per standard deviation of its value.

        Args:
            rung: of the observation.
            places: `(k,)`, of which configurations; each is one observation, by itself.

        Returns:
            `(configurations, k)`.
        """
        found, here = self.parameters, np.array([rung])
        # The first value of a rung tells its level, which looks one step ahead as if it told nothing of configurations.
        # Others will follow, so it counts as if the level were known.
        known = 0.0 if (self.evidence.rung == rung).any() else self.prior.offset_of_rung
        between, of_rung = self._offset(self.target, here)[0], self._offset(rung, here)[0]
        prior = self._between(self.target, here)[0] * self._alike[:, places] + between - known * (rung == self.target)
        spread = found.spread[rung] ** 2
        variance = np.full(len(places), spread + of_rung - known + found.noise[rung] ** 2 * spread)
        if len(self.evidence):
            whitened = self._whitened(rung, places)
            prior = prior - self._of_target.T @ whitened
            variance = variance - (whitened**2).sum(axis=0)
        return np.asarray(prior / np.sqrt(np.maximum(variance, ALMOST_0)))


_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)


def knowledge_gradient(mean: Floats, shift: Floats) -> Floats:
    """By how much the best mean is expected to rise with one more observation (Frazier et al. 2009).

    Args:
        mean: `(configurations,)`, of the target.
        shift: `(configurations, k)`, see `Belief.shift`.

    Returns:
        `(k,)`, in the unit of the values; never below 0, but for rounding.
    """
    weights = _WEIGHTS / _WEIGHTS.sum()
    raised = [weight * (mean[:, None] + shift * node).max(axis=0) for node, weight in zip(_NODES, weights, strict=True)]
    return np.asarray(np.sum(raised, axis=0) - mean.max())
