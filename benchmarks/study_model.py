"""Simulated studies from a real one: a generative model of accuracies, fitted to the `runs.csv` of a study.

On the logit scale an accuracy is what its configuration reaches on average (a vector over all data sets and
strategies) plus the noise of one run. Both are drawn from the study itself:

- Averages: a configuration of the study is drawn, with its whole vector, and is moved by a kernel: a normal with
  the covariance of its nearest neighbours, times `kernel` squared. The vector is moved as a whole, so that what a
  proxy gets wrong stays correlated across data sets and strategies. Extreme configurations have distant neighbours,
  so they move furthest; nothing is truncated. The means over the study's seeds carry noise themselves, so that they
  are first shrunk to the covariance that is left without it (see `without_noise`).
- Noise of a run: a normal with the covariance, over data sets and strategies, of the seeds' residuals of the
  configuration and its nearest neighbours. Unstable configurations are noisier, and proxy and target correlate
  under one seed as they do in the study.

All seeds of a study are judged by the same validation images, so that the differences between seeds hold the noise of
the images only in part: on fashion-mnist the target's seeds differ by .009, while two draws of 500 images would differ
by .016 at the same accuracy. The part that all seeds share is in the averages. By default accuracies are therefore
only rounded to whole images; with `own_images` every run is judged by images of its own, a binomial draw, and the
noise between seeds is reduced by as much where it is larger.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import expit, logit

from proxyflow.quality.measures import Floats
from proxyflow.quality.runs import TARGET, select_runs
from proxyflow.reporting.recorded import read_recorded

NEIGHBOURS = 8
KERNEL = 0.5
MIN_CONFIGURATIONS = 12
# Correlations of noise are estimated from few degrees of freedom, so they are taken by half.
CORRELATION_KEPT = 0.5


@dataclass(frozen=True, eq=False)
class StudyModel:
    """What simulated studies are drawn from. A cell is one strategy on one data set.

    Attributes:
        datasets, strategies: names; the first strategy is the target.
        images: `(datasets, strategies)`, validation images.
        costs: `(strategies,)`, of a training, in full ones: operations, or examples where these are not known.
        averages: `(configurations, cells)`, logit accuracies without noise.
        residuals: `(configurations, seeds, cells)`, of sum 0 over the seeds, scaled to the variance of one run.
        neighbours: `(configurations, NEIGHBOURS)`, each configuration first, then the nearest others.
        kernel: how far drawn configurations move, in standard deviations of their neighbours.
        own_images: every run is judged by validation images of its own.
    """

    datasets: tuple[str, ...]
    strategies: tuple[str, ...]
    images: Floats
    costs: Floats
    averages: Floats
    residuals: Floats
    neighbours: np.ndarray
    kernel: float = KERNEL
    own_images: bool = False

    def only(self, datasets: tuple[str, ...]) -> StudyModel:
        """The same on some data sets alone."""
        keep = [self.datasets.index(name) for name in datasets]
        cells = np.arange(self.averages.shape[1]).reshape(self.images.shape)[keep].ravel()
        return replace(
            self,
            datasets=datasets,
            images=self.images[keep],
            averages=self.averages[:, cells],
            residuals=self.residuals[:, :, cells],
        )

    def draw(self, configurations: int, seeds: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """One simulated study.

        Returns:
            Values `(datasets, strategies, configurations, seeds)`, and what they are without the noise of the runs,
            `(datasets, strategies, configurations)`.
        """
        base = rng.integers(len(self.averages), size=configurations)
        near = self.averages[self.neighbours[base]]
        pull = rng.normal(size=near.shape[:2]) / np.sqrt(near.shape[1] - 1)
        averages = self.averages[base] + self.kernel * np.einsum("nk,nkc->nc", pull, near - near.mean(axis=1)[:, None])
        noise = self._noise(base, averages, seeds, rng)
        runs = expit(averages[:, None] + noise)
        shape = (*self.images.shape, configurations)
        runs = np.moveaxis(runs, -1, 0).reshape(*shape, seeds)
        images = self.images[:, :, None, None]
        judged = rng.binomial(images.astype(np.int64), runs) if self.own_images else np.rint(runs * images)
        return judged / images, np.moveaxis(expit(averages), -1, 0).reshape(shape)

    def _noise(self, base: np.ndarray, averages: Floats, seeds: int, rng: np.random.Generator) -> Floats:
        residuals = self.residuals[self.neighbours[base]]
        count, near, of_study, cells = residuals.shape
        residuals = residuals.reshape(count, near * of_study, cells)
        pull = rng.normal(size=(count, seeds, near * of_study)) / np.sqrt(near * of_study)
        noise = pull @ residuals
        if self.own_images:
            variance = (residuals**2).mean(axis=1)
            accuracy = expit(averages)
            binomial = 1 / (self.images.ravel() * accuracy * (1 - accuracy))
            noise *= np.sqrt(np.clip(1 - binomial / variance, 0, 1))[:, None]
        return np.asarray(noise)


def fit(path: Path) -> StudyModel:
    """The model of a study's `runs.csv`, of the strategies and configurations that have every data set and seed."""
    runs = select_runs(read_recorded(path)[0]).frame
    datasets = tuple(sorted(runs["dataset"].unique()))
    seeds = sorted(runs["seed"].unique())
    table = runs.pivot(index=["dataset", "strategy", "seed"], columns="config", values="objective")
    whole = table.notna().all(axis=1).groupby("strategy").agg(["all", "size"])
    names = whole.index[whole["all"] & (whole["size"] == len(datasets) * len(seeds))]
    if TARGET not in names or len(seeds) < 2 or table.shape[1] < MIN_CONFIGURATIONS:
        raise SystemExit(
            f"{path}: the model needs the target ({TARGET}) of every configuration on every data set, under two seeds "
            f"or more, and at least {MIN_CONFIGURATIONS} configurations"
        )
    strategies = (TARGET, *(name for name in names if name != TARGET))
    accuracy = np.array([[[table.loc[d, s, k] for k in seeds] for s in strategies] for d in datasets])
    known = runs.groupby(["dataset", "strategy"])["n_valid"].first()
    images = np.array([[float(known[d, s]) for s in strategies] for d in datasets])
    totals = runs.groupby("strategy")[["train_flops", "examples_seen"]].sum(min_count=1).loc[list(strategies)]
    costs = totals["train_flops" if totals["train_flops"].notna().all() else "examples_seen"].to_numpy(np.float64)
    # (configurations, seeds, cells)
    logits = _logits(accuracy, images[:, :, None, None]).transpose(3, 2, 0, 1).reshape(table.shape[1], len(seeds), -1)
    means = logits.mean(axis=1)
    residuals = (logits - means[:, None]) * np.sqrt(len(seeds) / (len(seeds) - 1))
    averages = without_noise(means, residuals)
    return StudyModel(datasets, strategies, images, costs / costs[0], averages, residuals, _nearest(averages))


def _logits(accuracy: Floats, images: Floats) -> Floats:
    """Finite also where no image, or every image, is classified correctly."""
    return np.asarray(logit((accuracy * images + 0.5) / (images + 1)))


def without_noise(means: Floats, residuals: Floats) -> Floats:
    """Means over seeds, moved towards their centre to the covariance that they would have without noise.

    In coordinates in which the noise is white, the variance of the noise is 1 in every direction, and a direction in
    which the means have the variance v is shrunk by sqrt(1 - 1 / v), or to 0 where v < 1. To shrink every cell by
    itself would leave correlations as low as the noise made them, and the noise of the runs would lower them again.

    Args:
        means: `(configurations, cells)`.
        residuals: `(configurations, seeds, cells)`, with the variance of one run.
    """
    count, seeds, cells = residuals.shape
    noise = np.einsum("nkc,nkd->cd", residuals, residuals) / (count * seeds) / seeds
    scale = np.sqrt(np.diag(noise))
    correlation = CORRELATION_KEPT * noise / np.outer(scale, scale) + (1 - CORRELATION_KEPT) * np.eye(cells)
    values, vectors = np.linalg.eigh(correlation)
    whiten = (vectors / np.sqrt(values)) @ vectors.T / scale
    back = scale[:, None] * (vectors * np.sqrt(values)) @ vectors.T
    centre = means.mean(axis=0)
    white = (means - centre) @ whiten.T
    spread, directions = np.linalg.eigh(np.cov(white.T))
    share = np.sqrt(np.clip(1 - 1 / np.maximum(spread, 1e-12), 0, 1))
    return np.asarray(centre + white @ (directions * share) @ directions.T @ back.T)


def _nearest(averages: Floats) -> np.ndarray:
    """Each configuration and the configurations that are most like it, by the Euclidean distance of standardised
    averages."""
    standard = (averages - averages.mean(axis=0)) / averages.std(axis=0)
    distance = ((standard[:, None] - standard) ** 2).sum(axis=-1)
    return np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS]
