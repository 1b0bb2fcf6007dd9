"""Held-out loss: how surprised a model is that never saw the example, so that memorised wrong labels look hard."""

from __future__ import annotations

from proxyflow.scoring.measures.base import Evidence, Floats, Measure, measures
from proxyflow.scoring.measures.loss import loss


def _of_folds(evidence: Evidence) -> Floats:
    assert evidence.held_out is not None
    return loss(evidence.held_out, evidence.labels)


measures.add(
    "heldout_loss",
    Measure(
        "cross-entropy in nats under a model that did not train on the example (needs holdout_folds)",
        "Stone 1974, cross-validatory choice; k-fold, each example scored once per repeat",
        higher_is_harder=True,
        needs="folds",
        compute=_of_folds,
    ),
)
