"""Difficulty measures as pure functions of logits or of a training's history, behind one registry.

All work in float64 from logits: in float32 the cross-entropy of a well-learnt example is exactly 0
from a logit gap of about 20, and the ties that this makes would follow the order of the files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from proxyflow.registry import Registry

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Measure:
    """One column of a score table.

    Attributes:
        description: what the number says of an example, with its unit.
        source: where the definition comes from.
        higher_is_harder: the direction in which difficulty grows.
        needs: `model` (logits of a trained model), `history` (correctness at each presentation in
            training), or `folds` (logits of models that never saw the example).
        from_logits: `(n, classes) float64, (n,) int64 -> (n,) float64`; for `history`
            measures the first argument is the history instead.
    """

    description: str
    source: str
    higher_is_harder: bool
    needs: Literal["model", "history", "folds"]
    from_logits: Callable[[Floats, Labels], Floats]

    def hardness(self, values: Floats) -> Floats:
        """The values with their sign set so that higher is harder."""
        return values if self.higher_is_harder else -values


measures: Registry[Measure] = Registry("score")


def loss(logits: Floats, labels: Labels) -> Floats:
    """Cross-entropy in nats against the hard label, whatever smoothing training used."""
    rows = np.arange(len(labels))
    gaps = logits - logits[rows, labels][:, None]
    gaps[rows, labels] = -np.inf
    # log(1 + sum e^gap): log1p keeps what is below the last bit of 1, or examples learnt well would tie at 0.
    highest = np.maximum(gaps.max(axis=1), 0.0)
    rest = np.exp(gaps - highest[:, None]).sum(axis=1)
    with np.errstate(divide="ignore"):
        far = highest + np.log(np.exp(-highest) + rest)
    return np.asarray(np.where(highest > 0, far, np.log1p(rest)))


def margin(logits: Floats, labels: Labels) -> Floats:
    """The true class's logit minus the largest other logit: negative where the model is wrong."""
    rows = np.arange(len(labels))
    others = logits.copy()
    others[rows, labels] = -np.inf
    return np.asarray(logits[rows, labels] - others.max(axis=1))


def entropy(logits: Floats, labels: Labels) -> Floats:
    """Entropy of the predicted distribution in nats; the label plays no part."""
    log_p = np.asarray(log_softmax(logits, axis=1))
    p = np.exp(log_p)
    # p log p tends to 0 with p; a plain product would be 0 * -inf = nan there.
    return np.asarray(-(p * np.where(p > 0, log_p, 0.0)).sum(axis=1))


def el2n(logits: Floats, labels: Labels) -> Floats:
    """Length of the error vector, the 2-norm of softmax(logits) - onehot(label)."""
    rows = np.arange(len(labels))
    error = np.exp(np.asarray(log_softmax(logits, axis=1)))
    # p - 1 is minus the sum of the other probabilities, which keeps its digits where p is almost 1.
    error[rows, labels] = 0.0
    error[rows, labels] = -error.sum(axis=1)
    return np.asarray(np.linalg.norm(error, axis=1))


def forgetting_events(history: Floats, labels: Labels) -> Floats:
    """How often an example went from right to wrong between consecutive presentations in training.

    Args:
        history: `(epochs, n)`, 1 right, 0 wrong, nan where the example was not presented.
        labels: unused; every measure takes the same arguments.

    Returns:
        `(n,)` counts. A never-learnt example gets `epochs`, which no count can reach, so that it ranks
        as most forgotten and averages over repeats stay finite.
    """
    epochs, n = history.shape
    events = np.zeros(n)
    last = np.zeros(n)
    learnt = np.zeros(n, dtype=bool)
    for presentation in history:
        shown = ~np.isnan(presentation)
        events += shown & (last == 1) & (presentation == 0)
        last = np.where(shown, presentation, last)
        learnt |= shown & (presentation == 1)
    return np.where(learnt, events, float(epochs))


measures.add(
    "loss",
    Measure(
        "cross-entropy in nats against the hard label",
        "Shleifer & Prokop 2019, section 3.2 (easiest and hardest examples)",
        higher_is_harder=True,
        needs="model",
        from_logits=loss,
    ),
)
measures.add(
    "margin",
    Measure(
        "logit of the true class minus the largest other logit",
        "Pleiss et al. 2020, arXiv 2001.10528, equation 1 (at one point of training)",
        higher_is_harder=False,
        needs="model",
        from_logits=margin,
    ),
)
measures.add(
    "entropy",
    Measure(
        "entropy of the predicted distribution in nats",
        "Settles 2009, Active Learning Literature Survey, section 3.1",
        higher_is_harder=True,
        needs="model",
        from_logits=entropy,
    ),
)
measures.add(
    "el2n",
    Measure(
        "2-norm of predicted probabilities minus the one-hot label, 0 to sqrt(2)",
        "Paul et al. 2021, arXiv 2107.07075, definition 2.2 (there at an early epoch: score with few epochs)",
        higher_is_harder=True,
        needs="model",
        from_logits=el2n,
    ),
)
measures.add(
    "forgetting_events",
    Measure(
        "times the example went from right to wrong in training; never learnt counts as the number of epochs",
        "Toneva et al. 2019, arXiv 1812.05159, section 2",
        higher_is_harder=True,
        needs="history",
        from_logits=forgetting_events,
    ),
)
measures.add(
    "heldout_loss",
    Measure(
        "cross-entropy in nats under a model that did not train on the example (needs holdout_folds)",
        "Stone 1974, cross-validatory choice; k-fold, each example scored once",
        higher_is_harder=True,
        needs="folds",
        from_logits=loss,
    ),
)
