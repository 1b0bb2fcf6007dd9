"""Ways to make a 95 % interval from what a study gives: the candidates that `benchmarks.coverage` compares.

The report's own are in `proxyflow.quality.bootstrap`; those here were tried beside them.

Sources: Efron, "Better bootstrap confidence intervals" (1987), for BCa; DiCiccio and Efron, "Bootstrap confidence
intervals" (1996), for the studentized interval; Silverman and Young, "The bootstrap: to smooth or not to smooth?"
(1987).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri, stdtrit

from proxyflow.quality import bootstrap, measures
from proxyflow.quality.measures import Floats, Strata, Values

Interval = tuple[float, float]
Simulate = Callable[[Floats, int, np.random.Generator], Floats]
NOMINAL = 0.95
NEIGHBOURS, KERNEL = 8, 0.5
ALMOST_1 = 0.999999


@dataclass(frozen=True, eq=False)
class Sampled:
    """A measure of one study, as intervals need it.

    Attributes:
        value: the estimate.
        without: `(configurations,)`, the measure without each configuration.
        samples: `(samples,)`, of the bootstrap.
        error, errors: for a correlation, the standard error of its Fisher's z, and that of each sample.
        simulated: other samples by the name of the method that they belong to.
    """

    value: float
    without: Floats
    samples: Floats
    error: float = math.nan
    errors: Floats | None = None
    simulated: dict[str, Floats] = field(default_factory=dict)


def weights(configurations: int, samples: int, rng: np.random.Generator) -> Floats:
    """How often each configuration counts: in the study itself, without each one, and in the bootstrap samples.

    Returns:
        `(1 + configurations + samples, configurations)`, see `sampled`.
    """
    counts = rng.multinomial(configurations, np.full(configurations, 1 / configurations), size=samples)
    ones = np.ones((configurations, configurations))
    return np.concatenate([ones[:1], ones - np.eye(configurations), counts]).astype(np.float64)


def sampled(raw: Floats, configurations: int, errors: Floats | None = None, **simulated: Floats) -> Sampled:
    """Takes apart what a formula gives for `weights`."""
    first, rest = 1 + configurations, slice(1 + configurations, None)
    error = math.nan if errors is None else float(errors[0])
    samples = None if errors is None else errors[rest]
    return Sampled(float(raw[0]), raw[1:first], raw[rest], error, samples, simulated)


def percentile(of: Sampled) -> Interval:
    return bootstrap.percentile(of.samples)


def of_level(level: float) -> Callable[[Sampled], Interval]:
    """The percentile interval of another level than is claimed."""

    def interval(of: Sampled) -> Interval:
        low, high = np.nanquantile(of.samples, ((1 - level) / 2, (1 + level) / 2))
        return float(low), float(high)

    return interval


def bias_corrected(of: Sampled) -> Interval:
    return bootstrap.bias_corrected(of.samples, of.value)


def bca(of: Sampled) -> Interval:
    """Bias-corrected and accelerated, the acceleration by the jackknife."""
    distance = np.nanmean(of.without) - of.without
    spread = np.nansum(distance**2)
    acceleration = float(np.nansum(distance**3) / (6 * spread**1.5)) if spread > 0 else 0.0
    samples = of.samples[np.isfinite(of.samples)]
    equal = np.abs(samples - of.value) <= bootstrap.ROUNDING
    below = (np.sum((samples < of.value) & ~equal) + np.sum(equal) / 2) / len(samples)
    bias = ndtri(np.clip(below, 1 / len(samples), 1 - 1 / len(samples)))
    moved = bias + ndtri([(1 - NOMINAL) / 2, (1 + NOMINAL) / 2])
    low, high = np.quantile(samples, ndtr(bias + moved / (1 - acceleration * moved)))
    return float(low), float(high)


def basic(of: Sampled) -> Interval:
    """The percentile interval mirrored at the value."""
    low, high = percentile(of)
    return 2 * of.value - high, 2 * of.value - low


def jackknife_t(of: Sampled) -> Interval:
    """The jackknife's standard error and Student's t; a correlation in Fisher's z."""
    is_correlation = of.errors is not None
    value, without = (_z(of.value), _z(of.without)) if is_correlation else (of.value, of.without)
    count = len(without)
    error = math.sqrt((count - 1) / count * np.nansum((without - np.nanmean(without)) ** 2))
    half = stdtrit(count - 1, (1 + NOMINAL) / 2) * error
    ends = value - half, value + half
    return (math.tanh(ends[0]), math.tanh(ends[1])) if is_correlation else (float(ends[0]), float(ends[1]))


def studentized(of: Sampled) -> Interval:
    """Bootstrap-t in Fisher's z, with sandwich standard errors."""
    low, high = np.nanquantile(_student(of), ((1 - NOMINAL) / 2, (1 + NOMINAL) / 2))
    return math.tanh(_z(of.value) - high * of.error), math.tanh(_z(of.value) - low * of.error)


def studentized_symmetric(of: Sampled) -> Interval:
    half = float(np.nanquantile(np.abs(_student(of)), NOMINAL)) * of.error
    return math.tanh(_z(of.value) - half), math.tanh(_z(of.value) + half)


def stretched(factor: float) -> Callable[[Sampled], Interval]:
    """The percentile interval, its ends moved away from the value; of a correlation in Fisher's z."""

    def interval(of: Sampled) -> Interval:
        if of.errors is None:
            low, high = of.value + factor * (np.array(percentile(of)) - of.value)
        else:
            value, ends = _z(of.value), _z(np.array(percentile(of)))
            low, high = np.tanh(value + factor * (ends - value))
        return float(low), float(high)

    return interval


def of_simulated(name: str) -> Callable[[Sampled], Interval]:
    """The percentile interval of samples that were simulated in another way than the bootstrap."""
    return lambda of: bootstrap.percentile(of.simulated[name])


OF_ANY: dict[str, Callable[[Sampled], Interval]] = {
    "percentile": percentile,
    "percentile_99": of_level(0.99),
    "bias_corrected": bias_corrected,
    "bca": bca,
    "basic": basic,
    "jackknife_t": jackknife_t,
    **{f"stretched_{factor:g}": stretched(factor) for factor in (1.25, 1.5, 1.75)},
}
OF_CORRELATION = OF_ANY | {
    "studentized": studentized,
    "studentized_symmetric": studentized_symmetric,
    "smoothed": of_simulated("smoothed"),
    "multilevel": of_simulated("multilevel"),
}


def _z(correlation: float | Floats) -> Floats:
    return np.asarray(np.arctanh(np.clip(correlation, -ALMOST_1, ALMOST_1)))


def _student(of: Sampled) -> Floats:
    assert of.errors is not None
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((_z(of.samples) - _z(of.value)) / of.errors)


def standard_errors(pairs: Values, cluster: np.ndarray, of_configuration: Floats) -> Floats:
    """Sandwich standard errors of Fisher's z of the slope, configurations being independent of each other.

    Args:
        cluster: `(pairs,)`, the number of the configuration.
        of_configuration: `(samples, configurations)`, weights.

    Returns:
        `(samples,)`, from the influence function of a correlation, summed over the pairs of a configuration.
    """
    influence = np.zeros(of_configuration.shape)
    total = of_configuration[:, cluster].sum(axis=1)
    for rows in pairs.strata:
        w = of_configuration[:, cluster[rows]]
        x, y = (_standardised(side[rows], w) for side in (pairs.proxy, pairs.target))
        correlation = (w * x * y).sum(axis=1, keepdims=True) / w.sum(axis=1, keepdims=True)
        member = (cluster[rows][:, None] == np.arange(influence.shape[1])).astype(np.float64)
        influence += (x * y - correlation * (x**2 + y**2) / 2) @ member
    slope = measures.slope(pairs, of_configuration[:, cluster])
    error = np.sqrt((of_configuration * influence**2).sum(axis=1)) / total
    return np.asarray(error / np.maximum(1 - slope**2, 1e-9))


def _standardised(values: Floats, weight: Floats) -> Floats:
    total = weight.sum(axis=1, keepdims=True)
    centred = values - (weight @ values)[:, None] / total
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(centred / np.sqrt((weight * centred**2).sum(axis=1, keepdims=True) / total))


def smoothed(accuracy: Floats, samples: int, rng: np.random.Generator) -> Floats:
    """Slopes of a smoothed bootstrap: drawn configurations are moved by a kernel, all their accuracies together.

    Args:
        accuracy: `(datasets, 2, configurations, seeds)`, proxy first.

    Returns:
        `(samples,)`.
    """
    count = accuracy.shape[2]
    flat = np.moveaxis(accuracy, 2, 0).reshape(count, -1)
    standard = (flat - flat.mean(axis=0)) / np.maximum(flat.std(axis=0), 1e-12)
    near = np.argsort(((standard[:, None] - standard) ** 2).sum(axis=-1), axis=1, kind="stable")[:, :NEIGHBOURS]
    offsets = flat[near] - flat[near].mean(axis=1, keepdims=True)
    drawn = rng.integers(count, size=(samples, count))
    pull = KERNEL * rng.normal(size=(samples, count, NEIGHBOURS)) / math.sqrt(NEIGHBOURS - 1)
    moved = flat[drawn] + np.einsum("snk,snkc->snc", pull, offsets[drawn])
    return _slopes(np.moveaxis(moved.reshape(samples, count, *_without(accuracy.shape, 2)), 1, 3))


def multilevel(accuracy: Floats, samples: int, rng: np.random.Generator) -> Floats:
    """Slopes of studies simulated from a multilevel normal model of logit accuracies.

    Effects of configurations are correlated across data sets and sides, as are those of seeds within configurations.

    Args:
        accuracy: as for `smoothed`.
    """
    datasets, sides, count, seeds = accuracy.shape
    effects = logit(np.clip(accuracy, 0.001, 0.999)).transpose(2, 3, 0, 1).reshape(count, seeds, -1)
    means = effects.mean(axis=1)
    between = np.cov(means.T)
    within = np.zeros_like(between)
    if seeds > 1:
        rest = effects - means[:, None]
        within = np.einsum("nkc,nkd->cd", rest, rest) / (count * (seeds - 1))
        between = between - within / seeds
    drawn = _normal(between, (samples, count, 1), rng) + _normal(within, (samples, count, seeds), rng)
    found = expit(means.mean(axis=0) + drawn).reshape(samples, count, seeds, datasets, sides)
    return _slopes(found.transpose(0, 3, 4, 1, 2))


def _normal(covariance: Floats, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    return np.asarray(rng.normal(size=(*shape, len(covariance))) @ root.T)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def _slopes(accuracy: Floats) -> Floats:
    """`(samples, datasets, 2, configurations, seeds)` to the mean over data sets of the correlations."""
    flat = accuracy.reshape(*accuracy.shape[:3], -1)
    centred = flat - flat.mean(axis=-1, keepdims=True)
    x, y = centred[:, :, 0], centred[:, :, 1]
    return np.asarray(((x * y).sum(-1) / np.sqrt((x**2).sum(-1) * (y**2).sum(-1))).mean(axis=1))


def strata_of(datasets: int, configurations: int, seeds: int) -> tuple[Strata, Strata, np.ndarray]:
    """Positions of each data set, of each data set and seed, and the configuration of each pair, for accuracies
    `(datasets, configurations, seeds)` that are made flat."""
    index = np.arange(datasets * configurations * seeds).reshape(datasets, configurations, seeds)
    cluster = np.broadcast_to(np.arange(configurations)[:, None], index.shape).ravel()
    strata = [each.ravel() for each in index]
    return strata, [each[:, seed] for each in index for seed in range(seeds)], np.asarray(cluster)
