"""Held-out loss: the loss under a model that did not train on the example, which cannot have memorized its label."""

from __future__ import annotations

from proxyflow.scores.base import Floats, Score, ScoreInputs, known_scores
from proxyflow.scores.loss import loss


def _of_folds(inputs: ScoreInputs) -> Floats:
    assert inputs.held_out is not None
    return loss(inputs.held_out, inputs.labels)


known_scores.add(
    "heldout_loss",
    Score(
        "cross-entropy in nats under a model that did not train on the example (needs holdout_folds)",
        "Stone 1974, cross-validatory choice; k-fold, each example scored once per repeat",
        higher_is_harder=True,
        needs="folds",
        compute=_of_folds,
    ),
)
