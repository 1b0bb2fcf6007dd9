"""Keys of a study's runs on the device of this process; avoids importing torch if there is no GPU."""

from __future__ import annotations

from hashlib import sha256

from proxyflow.data.catalog import Dataset
from proxyflow.data.splits import fold_units
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.scoring.spec import ScoringSpec
from proxyflow.studies.context import StudyContext
from proxyflow.studies.plan import PlannedTraining, distillation_key, score_key, training_key
from proxyflow.subsets import Subset


def key_of_training(context: StudyContext, planned: PlannedTraining, dataset: Dataset, subset: str) -> str:
    """The key of a training, given the fingerprint of its subset."""
    return training_key(
        planned, dataset.fingerprint, subset, planned.spec.trainer.identity(dataset, context.chosen_device)
    )


def key_of_training_on(context: StudyContext, planned: PlannedTraining, subset: Subset) -> str:
    """The key of a training, given its subset."""
    identity = planned.spec.trainer.identity(subset, context.chosen_device)
    return training_key(planned, subset.dataset_fingerprint, subset.fingerprint, identity)


def key_of_distillation(dataset: Dataset, spec: DistillationSpec) -> str:
    """The key of the run that makes these synthetic images."""
    return distillation_key(
        dataset.fingerprint, spec, dataset.preprocessing.image_size, dataset.preprocessing.stored_side
    )


def key_of_scores(context: StudyContext, dataset: Dataset, spec: ScoringSpec) -> str:
    """The key of the score run of `spec`."""
    identity = spec.training.trainer.identity(dataset, context.chosen_device)
    if spec.holdout_folds and dataset.train.groups is not None:
        # Groups share out the examples, and a data set's fingerprint does not cover them.
        identity = {**identity, "groups": sha256(fold_units(dataset.train).tobytes()).hexdigest()}
    return score_key(dataset.fingerprint, spec, identity)
