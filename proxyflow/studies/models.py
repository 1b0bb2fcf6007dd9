"""Saves trained models: weights as safetensors, or an MLflow model; never a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from proxyflow.core.files import write_json
from proxyflow.studies.context import temporary_folder
from proxyflow.subsets import Subset
from proxyflow.tracking import names
from proxyflow.tracking.runs.models import log_model
from proxyflow.tracking.runs.run import Run
from proxyflow.trainers.job import TrainingSpec
from proxyflow.trainers.model_access import model_access

if TYPE_CHECKING:
    import torch


def save_model(
    run: Run,
    model: torch.nn.Module,
    spec: TrainingSpec,
    subset: Subset,
    about: Mapping[str, Any],
    weights: bool,
    logged: bool,
) -> None:
    """Logs a model with a run.

    Args:
        about: further entries of the description, such as the epoch of the weights.
        weights: log safetensors with a JSON description.
        logged: log an MLflow model; this moves the network to the CPU and to eval mode.
    """
    access = model_access(spec.trainer, "saving it")
    description = {**access.describe_model(spec, subset), **about}
    if weights:
        from safetensors.torch import save_file  # imports safetensors

        state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
        with temporary_folder() as folder:
            save_file(state, str(folder / "model.safetensors"))
            write_json(folder / "model.json", description)
            run.log_folder(folder, names.WEIGHTS)
    if logged:
        log_model(run, model, access.input_shape(subset), len(subset.classes), description)
