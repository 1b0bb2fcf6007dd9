"""GraNd of the last layer: the gradient that the classifier's last layer gets from an example, early in training.

The published GraNd takes the gradient of all weights, which costs a backward pass per example; this is its last layer
alone, and is named so.
"""

from __future__ import annotations

import numpy as np

from proxyflow.scores.base import Floats, Labels, ModelOutputs, Score, ScoreInputs, errors, known_scores


def grand_last_layer(outputs: ModelOutputs, labels: Labels) -> Floats:
    """2-norm of the gradient of an example's loss with respect to the last layer's weights and biases.

    That gradient is the outer product of the error vector with the embedding and a 1 for the bias, so its norm is the
    product of their norms. Each example's loss counts in full, whatever the size of its batch.
    """
    assert outputs.lengths is not None
    error = np.linalg.norm(errors(outputs.logits, labels), axis=1)
    return np.asarray(error * np.sqrt(outputs.lengths**2 + 1))


def _early(inputs: ScoreInputs) -> Floats:
    assert inputs.early is not None
    return grand_last_layer(inputs.early, inputs.labels)


known_scores.add(
    "grand_last_layer",
    Score(
        "2-norm of the gradient of the example's loss with respect to the last layer, after an early epoch",
        "Paul et al. 2021, arXiv 2107.07075, definition 2.1 (there of all layers)",
        higher_is_harder=True,
        needs="early_embeddings",
        compute=_early,
    ),
)
