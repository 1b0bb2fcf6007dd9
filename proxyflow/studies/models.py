"""What is kept of a trained network: its weights as files, or an MLflow model; never a pickle."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxyflow.files import write_json
from proxyflow.studies.lab import scratch
from proxyflow.tracking import names
from proxyflow.tracking.models import log_model
from proxyflow.tracking.run import Run
from proxyflow.training.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    import torch

INPUT = "(n, 3, size, size) float32, pixels in 0..1 less mean, divided by std; grey repeated to 3 channels"


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network, and what its user must know.

    Attributes:
        epoch: that its weights are of.
        valid_accuracy: with these weights.
        class_names: of its outputs, in their order.
        image_size: side of its input in pixels.
        mean, std: of each channel, pixels in 0 to 1.
    """

    network: torch.nn.Module
    hyperparameters: Hyperparameters
    epoch: int
    valid_accuracy: float
    class_names: tuple[str, ...]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def description(self) -> dict[str, Any]:
        """All but the weights, as JSON has it."""
        return {
            "hyperparameters": dataclasses.asdict(self.hyperparameters),
            "epoch": self.epoch,
            "valid_accuracy": self.valid_accuracy,
            "class_names": list(self.class_names),
            "image_size": self.image_size,
            "input": INPUT,
            "mean": list(self.mean),
            "std": list(self.std),
        }


def keep_model(run: Run, model: Model, weights: bool, logged: bool) -> None:
    """Logs a model with a run.

    Args:
        weights: as safetensors with a JSON description.
        logged: as an MLflow model; the network is on the CPU and in eval mode afterwards.
    """
    if weights:
        from safetensors.torch import save_file

        state = {name: value.cpu().contiguous() for name, value in model.network.state_dict().items()}
        with scratch() as folder:
            save_file(state, str(folder / "model.safetensors"))
            write_json(folder / "model.json", model.description)
            run.log_folder(folder, names.WEIGHTS)
    if logged:
        log_model(run, model.network, model.image_size, model.description)
