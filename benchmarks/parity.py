"""Does the fast engine give the results of the reference?

1. Losses of the first 50 steps with XResNet18, the same weights, batches and schedule in both engines, for each
   optimizer with and without smoothing: in fp32 at a gentle rate, where rounding stays rounding, and at the published
   rate, where it does not. Beside the latter stands what the reference differs from itself if every initial weight is
   moved by one part in 10 million: no code that adds up in another order can come closer than that.
2. Accuracies over paired seeds on digits and fashion-mnist: two one-sided t tests of equivalence (Schuirmann 1987) with
   a margin of one point, on the mean of the differences of pairs.

    python -m benchmarks.parity [--quick] [--json PATH]
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import nn

from benchmarks.bench import image_spec, parse_options, train_images, write_json
from benchmarks.data import quiet
from proxyflow.core.errors import UserError
from proxyflow.data.catalog import DataOptions, load_dataset
from proxyflow.spaces.configuration import Configuration
from proxyflow.strategies import Full, parse_strategy
from proxyflow.subsets import Subset, choose_subset
from proxyflow.trainers.devices import configure_threads, pick_device
from proxyflow.trainers.images import session
from proxyflow.trainers.images.models import build_model
from proxyflow.trainers.model_access import Hooks

STEPS, BATCH = 50, 16
GENTLE = {"adam": 3e-6, "sgd": 3e-4, "rmsprop": 3e-6}
PUBLISHED = 0.003
MARGIN = 0.01  # of accuracy
LEVEL = 0.05


def losses(engine: str, subset: Subset, optimizer: str, smoothing: float, rate: float) -> NDArray[np.float64]:
    """Losses of the first steps of a training."""
    seen: list[float] = []

    def watch(index: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, epoch: int) -> None:
        seen.append(float(nn.functional.cross_entropy(logits.double(), labels, label_smoothing=smoothing)))

    changes = {"optimizer": optimizer, "label_smoothing": smoothing, "learning_rate": rate, "batch_size": BATCH}
    spec = image_spec(5, image_size=8, precision="fp32", engine=engine, **changes)
    train_images(subset, spec, pick_device(), Hooks(on_batch=watch))
    return np.array(seen[:STEPS])


@contextmanager
def moved_weights() -> Iterator[None]:
    """Trainings begin with weights that differ in about the last bit of fp32."""

    def build(configuration: Configuration, n_classes: int, seed: int) -> nn.Module:
        model = build_model(configuration, n_classes, seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1 + 1e-7)
        return model

    session.build_model = build
    try:
        yield
    finally:
        session.build_model = build_model


def first_steps(figures: dict[str, float]) -> None:
    """Largest relative differences of losses in the first steps."""
    subset = choose_subset(quiet("digits", Path(tempfile.gettempdir())), parse_strategy("random:0.15"), 0)
    print(f"largest relative difference of {STEPS} losses, fp32, XResNet18, batches of {BATCH}")
    print(f"{'':<24} {'gentle rate':>14} {'rate ' + str(PUBLISHED):>14} {'reference, moved':>18}")
    for optimizer, gentle in GENTLE.items():
        for smoothing in (0.0, 0.1):
            found = {}
            for name, rate in (("gentle", gentle), ("published", PUBLISHED)):
                fast, reference = (losses(engine, subset, optimizer, smoothing, rate) for engine in ("fast", "fastai"))
                found[name] = float(np.abs(fast / reference - 1).max())
            with moved_weights():
                moved = losses("fastai", subset, optimizer, smoothing, PUBLISHED)
            found["reference_moved"] = float(np.abs(moved / reference - 1).max())
            label = f"{optimizer}_smoothing_{smoothing:g}"
            figures |= {f"largest_difference_{name}_{label}": value for name, value in found.items()}
            columns = (f"{value:>14.1e}" for value in found.values())
            print(f"{label:<24} {' '.join(columns)}", flush=True)


def digits_case(data_dir: Path) -> Subset:
    return choose_subset(quiet("digits", data_dir), Full(), 0)


def fashion_case(data_dir: Path) -> Subset:
    """4,000 examples, judged by 4,000 others of the training set: 500 would leave a point of noise of their own."""
    dataset = load_dataset("fashion-mnist", DataOptions(data_dir), lambda text: None)
    full = choose_subset(dataset, Full(), 0)
    order = np.random.default_rng(0).permutation(len(dataset.train))
    train, valid = (np.sort(order[part]) for part in (slice(0, 4000), slice(4000, 8000)))
    return dataclasses.replace(full, train=dataset.train.take(train), valid=dataset.train.take(valid))


def paired_seeds(name: str, subset: Subset, seeds: int, epochs: int, figures: dict[str, float]) -> None:
    """Two one-sided tests on the differences of best accuracies."""
    accuracies: dict[str, list[float]] = {"fast": [], "fastai": []}
    for seed in range(seeds):
        for engine, found in accuracies.items():
            spec = image_spec(epochs, seed, 16, engine=engine, learning_rate=PUBLISHED)
            found.append(train_images(subset, spec, pick_device()).result.best)
    differences = np.array(accuracies["fast"]) - np.array(accuracies["fastai"])
    mean, error = float(differences.mean()), float(stats.sem(differences))
    half = float(stats.t.ppf(1 - LEVEL, seeds - 1)) * error
    # Equivalent where both one-sided tests reject: where the 90 % interval lies within the margin.
    p = max(stats.t.sf((mean + MARGIN) / error, seeds - 1), stats.t.cdf((mean - MARGIN) / error, seeds - 1))
    for engine, found in accuracies.items():
        figures[f"accuracy_{engine}_{name}"] = float(np.mean(found))
    figures |= {
        f"difference_points_{name}": 100 * mean,
        f"difference_low_points_{name}": 100 * (mean - half),
        f"difference_high_points_{name}": 100 * (mean + half),
        f"equivalence_p_{name}": float(p),
    }
    verdict = "equivalent" if p < LEVEL else "not shown to be equivalent"
    means = {engine: np.mean(found) for engine, found in accuracies.items()}
    interval = f"{100 * (mean - half):+.2f}..{100 * (mean + half):+.2f}"
    print(f"{name}: {len(subset.train):,} examples, {epochs} epochs, {seeds} seeds, judged by {len(subset.valid):,}")
    print(
        f"  accuracy of fast {means['fast']:.4f}, of the reference {means['fastai']:.4f}; difference {100 * mean:+.2f} "
        f"points (90 %: {interval}), p = {p:.4f}: {verdict} within {100 * MARGIN:g} point"
    )
    print("  fast      " + " ".join(f"{value:.4f}" for value in accuracies["fast"]))
    print("  reference " + " ".join(f"{value:.4f}" for value in accuracies["fastai"]), flush=True)


def main() -> None:
    options = parse_options(__doc__)
    configure_threads()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="proxyflow-bench-") as temporary_folder:
        data_dir = Path(temporary_folder)
        if options.quick:
            paired_seeds("digits", digits_case(data_dir), 3, 2, figures)
        else:
            first_steps(figures)
            paired_seeds("digits", digits_case(data_dir), 8, 10, figures)
            try:
                paired_seeds("fashion_mnist", fashion_case(data_dir), 8, 3, figures)
            except UserError as error:
                print(f"fashion-mnist was left out: {error}")
    write_json(options.json, {}, figures)


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    warnings.simplefilter("ignore")
    main()
