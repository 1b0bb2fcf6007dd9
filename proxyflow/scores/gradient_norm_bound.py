"""The upper bound of gradient norms by which importance sampling weights examples."""

from __future__ import annotations

from proxyflow.scores.base import Floats, Labels, Score, known_scores, of_model
from proxyflow.scores.el2n import el2n


def gradient_norm_bound(logits: Floats, labels: Labels) -> Floats:
    """2-norm of the gradient of an example's loss with respect to the last layer's outputs before the softmax.

    Up to a factor that all examples share it bounds the norm of the gradient of all weights. With softmax and
    cross-entropy it has the formula of EL2N, but of the fully trained model.
    """
    return el2n(logits, labels)


known_scores.add(
    "gradient_norm_bound",
    Score(
        "2-norm of the gradient of the example's loss with respect to the logits of the trained model, 0 to sqrt(2)",
        "Katharopoulos & Fleuret 2018, arXiv 1803.00942, equation 20",
        higher_is_harder=True,
        needs="model",
        compute=of_model(gradient_norm_bound),
    ),
)
