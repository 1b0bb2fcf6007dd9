"""Logging a trained network as an MLflow model, with the retries and checks of `artifacts.transfer`."""

from __future__ import annotations

import logging
import tempfile
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.entities import LoggedModelOutput

from proxyflow.tracking.artifacts.store import open_repository
from proxyflow.tracking.runs.run import Run

if TYPE_CHECKING:
    import torch


def log_model(
    run: Run, model: torch.nn.Module, input_shape: tuple[int, ...], n_outputs: int, description: dict[str, Any]
) -> None:
    """Logs `model` as an exported graph with signature and input example; `mlflow.pyfunc` loads it.

    MLflow's own `log_model` would send the user's password to any server that the experiment names, and lose the model
    where the store refuses it. So MLflow only writes the files, which are uploaded like all artifacts.

    Args:
        input_shape: of one of its `float32` inputs, without the batch.
        n_outputs: of the model, for each input.
        description: how to prepare the input and read the output; kept as the model's metadata.

    Raises:
        StoreFailed, UserError: see `upload`; an untrusted store is refused before anything is created.
    """
    open_repository(run.client, run.id)
    import mlflow.pytorch  # start-up time: torch, as the next lines
    import torch  # start-up time
    from mlflow.models import Model, ModelSignature  # start-up time
    from mlflow.types import Schema, TensorSpec  # start-up time

    # MLflow warns of a missing pip, which uv's environments do not have.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *input_shape))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, n_outputs))]),
    )
    experiment = run.client.get_run(run.id).info.experiment_id
    logged = run.client.create_logged_model(experiment, name="model", source_run_id=run.id)
    run.client.log_outputs(run.id, models=[LoggedModelOutput(logged.model_id, step=0)])
    try:
        with tempfile.TemporaryDirectory(prefix="proxyflow-") as temporary, warnings.catch_warnings():
            # The exporter warns of its own deprecations.
            warnings.simplefilter("ignore")
            folder = Path(temporary, "model")
            mlflow.pytorch.save_model(
                model.cpu().eval(),
                str(folder),
                mlflow_model=Model(logged.artifact_location, run.id, model_id=logged.model_id),
                signature=signature,
                input_example=np.zeros((2, *input_shape), dtype=np.float32),
                pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", f"mlflow=={version('mlflow')}"],
                metadata=description,
                serialization_format="pt2",
            )
            run.log_model(logged.model_id, folder)
    except Exception:
        with suppress(Exception):
            run.client.finalize_logged_model(logged.model_id, "FAILED")
        raise
