"""EL2N: the length of the error vector, taken early, when it still says something of examples that are learnt later."""

from __future__ import annotations

import numpy as np

from proxyflow.scoring.measures.base import Evidence, Floats, Labels, Measure, errors, measures


def el2n(logits: Floats, labels: Labels) -> Floats:
    """Length of the error vector, the 2-norm of softmax(logits) - onehot(label)."""
    return np.asarray(np.linalg.norm(errors(logits, labels), axis=1))


def _early(evidence: Evidence) -> Floats:
    assert evidence.early is not None
    return el2n(evidence.early.logits, evidence.labels)


measures.add(
    "el2n",
    Measure(
        "2-norm of predicted probabilities minus the one-hot label after an early epoch, 0 to sqrt(2)",
        "Paul et al. 2021, arXiv 2107.07075, definition 2.2",
        higher_is_harder=True,
        needs="early",
        compute=_early,
    ),
)
