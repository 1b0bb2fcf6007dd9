"""What a loaded data set is, in lines for people: its size, its classes, and what to look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxyflow.data.evaluation import TEST, VALID
from proxyflow.data.modality import modalities
from proxyflow.data.protocol import Dataset, Examples, copies_in

# The largest class over the smallest, from which on a warning is given.
STRONG_IMBALANCE = 4


def describe(dataset: Dataset) -> list[str]:
    """What was loaded, in a line, and a line for each thing to look at."""
    train, modality = dataset.train, modalities[dataset.modality]
    sizes = [f"{len(examples):,} {what}" for what, examples in {"training": train, **dataset.held_out}.items()]
    counts = f"{', '.join(sizes[:-1])} and {sizes[-1]}"
    layout = f" ({dataset.layout})" if dataset.layout else ""
    lines = [
        f"data set {dataset.name}{layout}: {counts} {modality.noun}s{modality.summary(dataset)}, "
        f"{len(dataset.class_names)} classes: {', '.join(dataset.class_names)}; {balance(dataset)}",
        *dataset.notes,
        *dataset.warnings,
        *imbalance(dataset),
    ]
    if dataset.skipped:
        lines.append(
            f"{counted(len(dataset.skipped), 'file')} left out: {'; '.join(dataset.skipped[:3])}"
            + ("; ..." if len(dataset.skipped) > 3 else "")
        )
    for what, examples in dataset.held_out.items():
        doubled = int(copies_in(train, examples).sum())
        if doubled:
            lines.append(
                f"warning: in {dataset.name} {counted(doubled, f'training {modality.noun}')} also in the {what} set, "
                "so its accuracy flatters models that memorize"
            )
    return lines + modality.warnings(dataset)


def balance(dataset: Dataset) -> str:
    """How many validation and test examples the classes have."""
    names, parts, noun = dataset.class_names, [], modalities[dataset.modality].noun
    for what, examples in dataset.held_out.items():
        counts = _by_class(examples, dataset)
        low, high = int(counts.argmin()), int(counts.argmax())
        of_each = f"{what} {noun}s of each"
        if counts[low] == counts[high]:
            parts.append(f"{counts[low]:,} {of_each}")
        else:
            parts.append(f"from {counts[low]:,} ({names[low]}) to {counts[high]:,} ({names[high]}) {of_each}")
    return "; ".join(parts)


def imbalance(dataset: Dataset) -> list[str]:
    """A warning where a metric is mostly about some classes, or where training examples are of few."""
    names, lines, noun = dataset.class_names, [], modalities[dataset.modality].noun
    held_out = {what: _by_class(examples, dataset) for what, examples in dataset.held_out.items()}
    train = _by_class(dataset.train, dataset)
    # Both sets are even where each takes of every class what it has of the one that has the fewest in all.
    least = int(np.sum(list(held_out.values()), axis=0).argmin())
    options = {"validation": VALID, "test": TEST}
    even = " ".join(f"{options[what]}={counts[least] * len(names)}" for what, counts in held_out.items())
    for what, counts in held_out.items():
        low, high = int(counts.argmin()), int(counts.argmax())
        if counts[high] >= STRONG_IMBALANCE * counts[low]:
            always = counts[high] / counts.sum()
            lines.append(
                f"warning: the {what} set of {dataset.name} has {counts[high]:,} {noun}s of {names[high]} and "
                f"{counts[low]:,} of {names[low]}: a model that always answers {names[high]} has an accuracy of "
                f"{always:.2f}; {even} takes as many of each"
            )
    low, high = int(train.argmin()), int(train.argmax())
    if train[high] >= STRONG_IMBALANCE * train[low]:
        lines.append(
            f"warning: {dataset.name} has {train[high]:,} training {noun}s of {names[high]} and {train[low]:,} of "
            f"{names[low]}, of which a tenth is {max(1, round(train[low] / 10)):,}"
        )
    return lines


def counted(n: int, noun: str) -> str:
    """The number with its noun and verb: `1 file is`, `2 files are`."""
    return f"{n:,} {noun}{' is' if n == 1 else 's are'}"


def _by_class(examples: Examples, dataset: Dataset) -> NDArray[np.int64]:
    return np.bincount(examples.labels, minlength=len(dataset.class_names))
