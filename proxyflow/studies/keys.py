"""Keys of the runs that a study needs, on the device of this process; no torch where there is no GPU."""

from __future__ import annotations

from proxyflow.data.catalog import Dataset
from proxyflow.distillation.spec import DistillationSpec
from proxyflow.scoring.spec import ScoringSpec
from proxyflow.studies.lab import Lab
from proxyflow.studies.plan import PlannedTraining, distillation_key, score_key, training_key
from proxyflow.subsets import Subset


def key_of_training(lab: Lab, planned: PlannedTraining, dataset: str, subset: str, image_size: int, crop: str) -> str:
    """The key of a training whose subset is known by its fingerprint.

    Args:
        dataset, subset: fingerprints.
        image_size, crop: of the data set.
    """
    size = planned.settings.image_size or image_size
    precision = lab.precision(planned.settings.precision, size)
    return training_key(planned, dataset, subset, size, crop, precision)


def key_of_training_on(lab: Lab, planned: PlannedTraining, subset: Subset) -> str:
    """The key of a training whose subset is at hand."""
    return key_of_training(lab, planned, subset.dataset_fingerprint, subset.fingerprint, subset.image_size, subset.crop)


def key_of_distillation(dataset: Dataset, spec: DistillationSpec) -> str:
    """The key of the run that makes these synthetic images."""
    return distillation_key(dataset.fingerprint, spec, dataset.image_size)


def key_of_scores(lab: Lab, dataset: Dataset, spec: ScoringSpec) -> str:
    """The key of the score run that `spec` asks for."""
    settings = spec.training.settings
    image_size = settings.image_size or dataset.image_size
    precision = lab.precision(settings.precision, image_size)
    return score_key(dataset.fingerprint, spec, image_size, dataset.crop, precision)
