"""Which scores find wrong labels, and what does `drop=0.05` discard?

On Fashion-MNIST 5 % of the training labels are replaced by another class at random (seeded; which ones is kept aside).
Then the examples are scored as a user would score them, and the hardest 5 % by each score are compared with the wrong
ones. As many are looked at as are wrong, so precision and recall are the same number for `hardest:0.05`. Dropping 5 %
discards just these, or with `balance=class` the hardest 5 % of each class. Models that trained on a wrong label may
have learnt it by heart; held-out loss comes from models that never saw the example.

    python -m benchmarks.mislabels [--quick] [--json PATH]
"""

from __future__ import annotations

import dataclasses
import time
import warnings

import numpy as np
from numpy.typing import NDArray

from benchmarks.bench import image_spec, parse_options, write_json
from proxyflow.core.seeds import generator
from proxyflow.data.catalog import Dataset, load_dataset
from proxyflow.scores.table import ExampleScores
from proxyflow.scoring.scorer import score_examples
from proxyflow.scoring.spec import ScoringSpec
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import choose_subset
from proxyflow.trainers.devices import configure_threads, pick_device

WRONG, FOLDS, SEED = 0.05, 5, 0


def with_wrong_labels(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, NDArray[np.bool_]]:
    """The data set with a share of its training labels replaced by another class, and which ones they are."""
    rng = generator(seed, "mislabels")
    labels, classes = dataset.train.labels.copy(), len(dataset.class_names)
    wrong = np.zeros(len(labels), dtype=bool)
    wrong[rng.permutation(len(labels))[: round(share * len(labels))]] = True
    labels[wrong] = (labels[wrong] + rng.integers(1, classes, wrong.sum())) % classes
    train = dataclasses.replace(dataset.train, labels=labels)
    return dataclasses.replace(dataset, name=f"{dataset.name} with wrong labels", train=train), wrong


def chosen(dataset: Dataset, scores: ExampleScores, strategy: str) -> NDArray[np.bool_]:
    """Which training examples a strategy chooses."""
    subset = choose_subset(dataset, parse_strategy(strategy), SEED, scores)
    return np.isin(dataset.train.ids, subset.train.ids)


def found(picked: NDArray[np.bool_], wrong: NDArray[np.bool_]) -> tuple[float, float]:
    """Precision and recall of picking wrong labels."""
    hits = float((picked & wrong).sum())
    return hits / picked.sum(), hits / wrong.sum()


def main() -> None:
    options = parse_options(__doc__, dataset="", epochs="", size="")
    threads = configure_threads()
    name = options.dataset or ("fashion-mnist@1500" if options.quick else "fashion-mnist")
    epochs = int(options.epochs or 3)
    size = int(options.size or 16)
    dataset, wrong = with_wrong_labels(load_dataset(name), WRONG, SEED)
    training = image_spec(epochs, SEED, size)
    begun = time.perf_counter()
    scoring = score_examples(dataset, ScoringSpec(training, holdout_folds=FOLDS), pick_device())
    seconds = time.perf_counter() - begun
    print(
        f"{name}: {wrong.sum():,} of {len(wrong):,} training labels are wrong; xresnet18, {size} px, {epochs} epochs, "
        f"{FOLDS} folds, accuracy on {len(dataset.valid)} rightly labelled validation images "
        f"{scoring.results[0].final:.3f}; {seconds:,.0f} s on {threads} thread(s)"
    )
    print(f"\n{'score':<26} {'hardest 5 %':>22}   {'dropped with balance=class':>26}")
    print(f"{'':<26} {'precision':>11} {'recall':>10}   {'precision':>15} {'recall':>10}")
    figures = {"seconds": seconds, "examples": float(len(wrong)), "wrong": float(wrong.sum())}
    for score in scoring.scores.names:
        hardest = found(chosen(dataset, scoring.scores, f"hardest:{WRONG},by={score}"), wrong)
        half = chosen(dataset, scoring.scores, f"hardest:0.5,by={score},balance=class")
        kept = chosen(dataset, scoring.scores, f"hardest:0.5,drop={WRONG},by={score},balance=class")
        dropped = found(half & ~kept, wrong)
        figures |= {f"precision_{score}": hardest[0], f"recall_{score}": hardest[1]}
        figures |= {f"dropped_precision_{score}": dropped[0], f"dropped_recall_{score}": dropped[1]}
        print(f"{score:<26} {hardest[0]:>11.3f} {hardest[1]:>10.3f}   {dropped[0]:>15.3f} {dropped[1]:>10.3f}")
    write_json(options.json, {}, figures)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
