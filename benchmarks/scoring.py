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

from benchmarks.bench import image_spec, parse_options, train_images, write_json
from proxyflow.data.catalog import load_dataset
from proxyflow.data.images.batches import VALID_BATCH
from proxyflow.data.protocol import Dataset
from proxyflow.scores import ModelOutputs, ScoreInputs
from proxyflow.scores.apply import apply_scores
from proxyflow.scoring.scorer import score_examples
from proxyflow.scoring.spec import ScoringSpec
from proxyflow.strategies import Full
from proxyflow.subsets import choose_subset
from proxyflow.trainers.devices import configure_threads, pick_device, synchronize
from proxyflow.trainers.images.arithmetic import memory_format_for, resolve_precision
from proxyflow.trainers.images.models import build_model, set_memory_format
from proxyflow.trainers.images.predictor import ImagePredictor

SIZE, EPOCHS = 32, 20
# A CPU's work is counted in its own seconds, which other processes do not lengthen; a GPU's by the clock on the wall.
clock = time.process_time if pick_device().type == "cpu" else time.perf_counter
# Batches that are taken at a time before it is the other's turn.
IN_TURN = 2


def forward(dataset: Dataset, device: torch.device) -> tuple[dict[str, float], dict[str, float]]:
    """Scoring by one model against bare forward passes: ratios and figures."""
    precision = resolve_precision("fp32", device, SIZE)
    layout = memory_format_for(device, precision, SIZE)
    spec = image_spec(1, image_size=SIZE, precision="fp32")
    predict = ImagePredictor(spec.trainer, choose_subset(dataset, Full(), 0), dataset.train, device)
    network = build_model(spec.configuration, len(dataset.class_names), 0)
    model = set_memory_format(network.to(device), layout).eval()
    constant = predict.images.batch(torch.arange(VALID_BATCH))
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
        looks.append(predict(model, positions, keep_embeddings=True))
        ours.append(clock() - begun)
        # As many images, the last batch in part.
        bare.append(bare_passes(IN_TURN) * len(positions) / (IN_TURN * VALID_BATCH))
    import sklearn.cluster  # measured is what scoring takes, not what importing does
    import sklearn.covariance  # noqa: F401

    begun = clock()
    embeddings = np.concatenate([look.embeddings for look in looks if look.embeddings is not None])
    look = ModelOutputs(
        np.concatenate([x.logits for x in looks]), np.concatenate([x.lengths for x in looks]), embeddings
    )
    history = np.random.default_rng(0).integers(0, 2, (EPOCHS, n)).astype(np.float64)
    table = apply_scores(ScoreInputs(dataset.train.labels, 0, look, look, history), {1: look})
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
    spec = image_spec(epochs, image_size=SIZE)
    full = choose_subset(dataset, Full(), 0)
    train_images(full, image_spec(1, image_size=SIZE), device)  # kernels, imports
    plain, ours = [], []
    for number in range(rounds):
        for kind in ("plain", "ours") if number % 2 else ("ours", "plain"):
            begun = clock()
            if kind == "plain":
                train_images(full, spec, device)
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
    device, threads = pick_device(), configure_threads()
    print(f"{device}, {threads} thread(s)")
    ratios, figures = forward(load_dataset("fashion-mnist@3000" if options.quick else "fashion-mnist"), device)
    part = load_dataset("fashion-mnist@200" if options.quick else "fashion-mnist@1000")
    ratio, more = instrumented(part, device, EPOCHS, 1 if options.quick else 3)
    write_json(options.json, ratios | {"instrumented_over_plain_training": ratio}, figures | more)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
