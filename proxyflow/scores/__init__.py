"""Scores of difficulty: pure functions of model outputs, one file each, behind one registry.

All work in float64 from logits: in float32 the cross-entropy of a well-learned example is exactly 0 from a logit gap of
about 20, and the ties that this makes would follow the order of the files.
"""

# The order of these imports is the order in which the scores are registered, and so of the columns of a table.

from proxyflow.scores.base import EARLY, NEEDS, ScoreInputs, Floats, Labels, ModelOutputs, Score, Need, known_scores
from proxyflow.scores.loss import loss
from proxyflow.scores.margin import margin
from proxyflow.scores.entropy import entropy
from proxyflow.scores.least_confidence import least_confidence
from proxyflow.scores.el2n import el2n
from proxyflow.scores.grand_last_layer import grand_last_layer
from proxyflow.scores.gradient_norm_bound import gradient_norm_bound
from proxyflow.scores.forgetting_events import forgetting_events
from proxyflow.scores.first_learned_epoch import first_learned_epoch
from proxyflow.scores.prototype_distance import prototype_distance
from proxyflow.scores.training_value import training_value
import proxyflow.scores.heldout_loss  # noqa: F401  (its formula is that of loss)
from proxyflow.scores.names import AT_EPOCH, ScoreName, at_epoch, score_of

__all__ = [
    "AT_EPOCH",
    "EARLY",
    "NEEDS",
    "Floats",
    "Labels",
    "ModelOutputs",
    "Need",
    "Score",
    "ScoreInputs",
    "ScoreName",
    "at_epoch",
    "el2n",
    "entropy",
    "first_learned_epoch",
    "forgetting_events",
    "gradient_norm_bound",
    "grand_last_layer",
    "known_scores",
    "least_confidence",
    "loss",
    "margin",
    "prototype_distance",
    "score_of",
    "training_value",
]
