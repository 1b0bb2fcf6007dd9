"""What does it cost to score?

`scoring_over_forward`: the time to score the 60,000 images of Fashion-MNIST with a trained XResNet18 at 32 px (logits,
embeddings and every measure of one model) over that of bare forward passes of one constant batch in eval mode. Batches
of the two are taken in turn, so that what else the machine does meets them alike.

`instrumented_over_plain_training`: a training of 20 epochs that gives all scores (watched at every step, looked at
after three early epochs and at its end, measures computed) over the same training plain, in turn.

Both count CPU seconds, as the machines that we have are shared; on a GPU, seconds by the clock.

    python -m benchmarks.scoring [--quick] [--json PATH]
"""

from __future__ import annotations

import statistics
import time
import warnings

import numpy as np
import torch

from benchmarks.bench import parse_options, write_json
from proxyflow.data.batches import VALID_BATCH, DeviceImages, View
from proxyflow.data.catalog import Dataset, load_dataset
from proxyflow.scoring.measures import Evidence, Look
from proxyflow.scoring.scorer import look_at, measure, score_examples
from proxyflow.scoring.spec import ScoringSpec
from proxyflow.strategies import Full
from proxyflow.subsets import choose_subset
from proxyflow.training.devices import batch_layout, pick_device, resolve_precision, synchronize, use_cores
from proxyflow.training.engine import TrainingSpec, get_engine
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings
from proxyflow.training.models import build_model, lay_out

SIZE, EPOCHS = 32, 20
X18 = Hyperparameters(arch="xresnet18")
# A CPU's work is counted in its own seconds, which other processes do not lengthen; a GPU's by the clock on the wall.
clock = time.process_time if pick_device().type == "cpu" else time.perf_counter
# Batches that are taken at a time before it is the other's turn.
IN_TURN = 2


def forward(dataset: Dataset, device: torch.device) -> tuple[dict[str, float], dict[str, float]]:
    """Scoring by one model against bare forward passes: ratios and figures."""
    precision = resolve_precision("fp32", device, SIZE)
    layout = batch_layout(device, precision, SIZE)
    view = View(SIZE, dataset.crop, dataset.mean, dataset.std)
    images = DeviceImages(dataset.train, tuple(range(len(dataset.class_names))), view, device, layout=layout)
    model = lay_out(build_model(X18, len(dataset.class_names), 0).to(device), layout).eval()
    constant = images.batch(torch.arange(VALID_BATCH))
    n = len(dataset.train)
    bare, ours, looks = [], [], []

    def bare_passes(count: int) -> float:
        begun = clock()
        with torch.inference_mode():
            for _ in range(count):
                model(constant)
        synchronize(device)
        return clock() - begun

    bare_passes(IN_TURN)
    for begin in range(0, n, IN_TURN * VALID_BATCH):
        positions = np.arange(begin, min(begin + IN_TURN * VALID_BATCH, n))
        begun = clock()
        looks.append(look_at(model, images, positions, keep_embeddings=True))
        ours.append(clock() - begun)
        # As many images, the last batch in part.
        bare.append(bare_passes(IN_TURN) * len(positions) / (IN_TURN * VALID_BATCH))
    import sklearn.cluster  # measured is what scoring takes, not what importing does
    import sklearn.covariance  # noqa: F401

    begun = clock()
    embeddings = np.concatenate([look.embeddings for look in looks if look.embeddings is not None])
    look = Look(np.concatenate([x.logits for x in looks]), np.concatenate([x.lengths for x in looks]), embeddings)
    history = np.random.default_rng(0).integers(0, 2, (EPOCHS, n)).astype(np.float64)
    table = measure(Evidence(dataset.train.labels, 0, look, look, history), {1: look})
    measuring = clock() - begun
    total = sum(ours) + measuring
    print(
        f"{n:,} images, xresnet18 at {SIZE} px: bare {n / sum(bare):,.0f} images/s, looked at {n / sum(ours):,.0f}, "
        f"with {len(table)} columns of scores ({measuring:.1f} s) {n / total:,.0f}"
    )
    pairs = np.array(ours) / np.array(bare)
    low, high = np.quantile(pairs, (0.25, 0.75))
    # The median of neighbours, which bursts of others do not move, and what measuring adds to it.
    ratio = float(np.median(pairs)) + measuring / sum(bare)
    print(
        f"scoring over forward: {ratio:.3f} (passes alone {np.median(pairs):.3f}, quartiles {low:.2f}..{high:.2f}, "
        f"{len(pairs)} pairs; by total time {total / sum(bare):.3f})"
    )
    return (
        {"scoring_over_forward": ratio, "look_over_forward": float(np.median(pairs))},
        {
            "images": float(n),
            "images_per_second_bare": n / sum(bare),
            "images_per_second_scored": n / total,
            "measuring_seconds": measuring,
            "scoring_over_forward_by_total_time": total / sum(bare),
        },
    )


def instrumented(dataset: Dataset, device: torch.device, epochs: int, rounds: int) -> tuple[float, dict[str, float]]:
    """A training that gives all scores against the same training plain: the median ratio, and figures."""
    settings = TrainingSettings(epochs=epochs, batch_size=64, image_size=SIZE)
    spec = TrainingSpec(X18, settings, 0)
    full = choose_subset(dataset, Full(), 0)
    train = get_engine(spec.engine).train
    train(full, TrainingSpec(X18, settings.replace(epochs=1), 0), device)  # kernels, imports
    plain, ours = [], []
    for number in range(rounds):
        for kind in ("plain", "ours") if number % 2 else ("ours", "plain"):
            begun = clock()
            if kind == "plain":
                train(full, spec, device)
                plain.append(clock() - begun)
            else:
                score_examples(dataset, ScoringSpec(spec), device)
                ours.append(clock() - begun)
    ratios = [a / b for a, b in zip(ours, plain, strict=True)]
    ratio = statistics.median(ratios)
    print(
        f"{len(dataset.train):,} images, {epochs} epochs: plain {statistics.median(plain):.1f} s, with all scores "
        f"{statistics.median(ours):.1f} s; ratio {ratio:.3f} ({min(ratios):.3f}..{max(ratios):.3f}, {rounds} rounds)"
    )
    return ratio, {"seconds_plain": statistics.median(plain), "seconds_instrumented": statistics.median(ours)}


def main() -> None:
    options = parse_options(__doc__)
    device, threads = pick_device(), use_cores()
    print(f"{device}, {threads} thread(s)")
    ratios, figures = forward(load_dataset("fashion-mnist@3000" if options.quick else "fashion-mnist"), device)
    part = load_dataset("fashion-mnist@200" if options.quick else "fashion-mnist@1000")
    ratio, more = instrumented(part, device, EPOCHS, 1 if options.quick else 3)
    write_json(options.json, ratios | {"instrumented_over_plain_training": ratio}, figures | more)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
