"""The training value of an example: how well a linear classifier of it alone finds others of its class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.seeds import generator
from proxyflow.scores.base import Floats, Labels, Score, ScoreInputs, known_scores

# Examples that classifiers are evaluated on, examples of which the covariance is computed, and rows of outputs that
# are sorted at a time.
JUDGES, FITTED, ROWS = 512, 8192, 4096


def training_value(embeddings: NDArray[np.float32], labels: Labels, seed: int) -> Floats:
    """Gain of each example's own linear classifier over chance, on other examples.

    The classifier of an example x is the exemplar's linear discriminant, w = C^-1 (x - m) with the mean m and the
    shrunk covariance C of the embeddings (of 8,192 of them, where there are more). It ranks up to 512 judges by w;
    its gain is the average precision of the ranking for its class, minus the share of that class, which is what a
    random ranking achieves. The judges are training examples: with validation examples, the selection would use the
    data that proxies are validated on. Lapedriza et al. then train on growing sets of examples in this order; the score
    is the first step alone.

    Args:
        embeddings: `(n, d)`, in an order that depends on the examples' content alone.
        labels: `(n,)`.
        seed: draws the judges.

    Returns:
        `(n,)`, below 0 where the example misleads; 0 where no other judge has its class.
    """
    from sklearn.covariance import ledoit_wolf  # delayed for start-up time: it takes a second

    judges = choose_judges(labels, seed)
    if len(judges) < 2:
        return np.zeros(len(labels))  # no other example to rank
    fitted = generator(seed, "covariance").permutation(len(labels))[:FITTED]
    mean = embeddings.mean(axis=0, dtype=np.float64)
    centred = embeddings - mean.astype(np.float32)
    covariance, _ = ledoit_wolf(centred[fitted], assume_centered=True)
    # Directions without any variance (a unit that never fires) would make it singular.
    ridge = np.finfo(np.float32).eps * max(float(np.trace(covariance)), 1e-12)
    covariance = covariance.astype(np.float64) + ridge * np.eye(len(covariance))
    whitened = np.linalg.solve(covariance, centred[judges].T.astype(np.float64)).astype(np.float32)
    values = np.empty(len(labels))
    for begin in range(0, len(labels), ROWS):
        rows = np.arange(begin, min(begin + ROWS, len(labels)))
        outputs = centred[rows] @ whitened
        itself = rows[:, None] == judges
        outputs[itself] = -np.inf
        same = (labels[rows][:, None] == labels[judges]) & ~itself
        # Where equal outputs land means nothing, as the judges are in random order; a stable sort takes 3 x the time.
        order = np.argsort(-outputs, axis=1)
        values[rows] = _gain(np.take_along_axis(same, order, axis=1), others=len(judges) - itself.sum(axis=1))
    return values


def _gain(hits: NDArray[np.bool_], others: NDArray[np.int64]) -> Floats:
    """Average precision of rankings minus that of chance; a judge that is the example itself comes last, no hit."""
    found = hits.sum(axis=1)
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    with np.errstate(invalid="ignore"):
        gain = (precision * hits).sum(axis=1) / found - found / others
    return np.where(found > 0, gain, 0.0)


def choose_judges(labels: Labels, seed: int, most: int = JUDGES) -> NDArray[np.int64]:
    """Positions of at most `most` examples in random order, as many of each class as that gives."""
    rng = generator(seed, "judges")
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.unique(labels[by_class], return_counts=True)[1]
    rank = np.concatenate([np.arange(size) for size in sizes])  # 0 for a class's first, 1 for its second …
    chosen = by_class[np.argsort(rank, kind="stable")][:most]
    return rng.permutation(chosen)


def _of_embeddings(inputs: ScoreInputs) -> Floats:
    assert inputs.model is not None
    assert inputs.model.embeddings is not None
    return training_value(inputs.model.embeddings, inputs.labels, inputs.seed)


known_scores.add(
    "training_value",
    Score(
        "average precision, above chance, of the example's own linear classifier in finding others of its class",
        "Lapedriza et al. 2013, arXiv 1311.6510 (exemplar discriminants; the first step of their ranking)",
        higher_is_harder=False,
        needs="embeddings",
        compute=_of_embeddings,
    ),
)
