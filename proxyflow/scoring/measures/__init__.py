"""Difficulty measures: pure functions of what models say of the examples, one file each, behind one registry.

All work in float64 from logits: in float32 the cross-entropy of a well-learnt example is exactly 0 from a logit gap of
about 20, and the ties that this makes would follow the order of the files.
"""

# The order of these imports is the order in which the measures are registered, and so of the columns of a table.

from proxyflow.scoring.measures.base import NEEDS, Evidence, Floats, Labels, Look, Measure, Need, measures
from proxyflow.scoring.measures.loss import loss
from proxyflow.scoring.measures.margin import margin
from proxyflow.scoring.measures.entropy import entropy
from proxyflow.scoring.measures.least_confidence import least_confidence
from proxyflow.scoring.measures.el2n import el2n
from proxyflow.scoring.measures.grand_last_layer import grand_last_layer
from proxyflow.scoring.measures.gradient_norm_bound import gradient_norm_bound
from proxyflow.scoring.measures.forgetting_events import forgetting_events
from proxyflow.scoring.measures.first_learned_epoch import first_learned_epoch
from proxyflow.scoring.measures.prototype_distance import prototype_distance
from proxyflow.scoring.measures.training_value import training_value
import proxyflow.scoring.measures.heldout_loss  # noqa: F401  (its formula is that of loss)
from proxyflow.scoring.measures.choice import AT_EPOCH, MeasureName, at_epoch, measure_of

__all__ = [
    "AT_EPOCH",
    "NEEDS",
    "Evidence",
    "Floats",
    "Labels",
    "Look",
    "Measure",
    "MeasureName",
    "Need",
    "at_epoch",
    "el2n",
    "entropy",
    "first_learned_epoch",
    "forgetting_events",
    "gradient_norm_bound",
    "grand_last_layer",
    "least_confidence",
    "loss",
    "margin",
    "measure_of",
    "measures",
    "prototype_distance",
    "training_value",
]
