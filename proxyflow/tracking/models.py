"""Logging a trained network as an MLflow model: an exported graph, never a pickle."""

from __future__ import annotations

import tempfile
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxyflow.tracking.artifact_store import store_of
from proxyflow.tracking.run import Run

if TYPE_CHECKING:
    import torch


def log_model(run: Run, model: torch.nn.Module, image_size: int, description: dict[str, Any]) -> None:
    """Logs `model` with signature and input example; `mlflow.pyfunc` loads it.

    MLflow's own call would send it wherever the experiment says, with the user's password, and lose it where its store
    refuses; so MLflow only writes the files, and they go the way of all artifacts.

    Args:
        image_size: side of its `(n, 3, size, size) float32` input.
        description: how to prepare the input and read the output; kept as the model's metadata.

    Raises:
        StoreFailed, UserError: see `Run.log_folder`; of a store that is not to be talked to, before anything is made.
    """
    store_of(run.client, run.id)
    import logging

    import mlflow.pytorch
    import numpy as np
    import torch
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model, ModelSignature
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
    run.client.log_outputs(run.id, models=[LoggedModelOutput(logged.model_id, step=0)])
    try:
        with tempfile.TemporaryDirectory(prefix="proxyflow-") as temporary, warnings.catch_warnings():
            # Exporting warns about the exporter's own deprecations, which nobody here can act on.
            warnings.simplefilter("ignore")
            folder = Path(temporary, "model")
            mlflow.pytorch.save_model(
                model.cpu().eval(),
                str(folder),
                mlflow_model=Model(logged.artifact_location, run.id, model_id=logged.model_id),
                signature=signature,
                input_example=np.zeros((2, 3, image_size, image_size), dtype=np.float32),
                pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", f"mlflow=={version('mlflow')}"],
                metadata=description,
                serialization_format="pt2",
            )
            run.log_model(logged.model_id, folder)
    except Exception:
        with suppress(Exception):
            run.client.finalize_logged_model(logged.model_id, "FAILED")
        raise
