"""Logging a trained network as an MLflow model: an exported graph, never a pickle."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from proxyflow.tracking.run import Run

if TYPE_CHECKING:
    import torch


def log_model(run: Run, model: torch.nn.Module, image_size: int, description: dict[str, Any]) -> None:
    """Logs `model` with signature and input example; `mlflow.pyfunc` loads it.

    Args:
        image_size: side of its `(n, 3, size, size) float32` input.
        description: how to prepare the input and read the output; kept as the model's metadata.
    """
    import logging

    import mlflow.pytorch
    import numpy as np
    import torch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    # It looks for the version of a pip that uv's environments do not have.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    shape = (-1, 3, image_size, image_size)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), shape)]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, len(description["class_names"])))]),
    )
    experiment = run.client.get_run(run.id).info.experiment_id
    logged = run.client.create_logged_model(experiment, name="model", source_run_id=run.id)
    with warnings.catch_warnings():
        # Exporting warns about the exporter's own deprecations, which nobody here can act on.
        warnings.simplefilter("ignore")
        mlflow.pytorch.log_model(
            model.cpu().eval(),
            name="model",
            signature=signature,
            input_example=np.zeros((2, 3, image_size, image_size), dtype=np.float32),
            pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", f"mlflow=={version('mlflow')}"],
            metadata=description,
            serialization_format="pt2",
            run_id=run.id,
            model_id=logged.model_id,
        )
