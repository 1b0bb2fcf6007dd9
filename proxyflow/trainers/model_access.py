"""Access to the models of a trainer: an optional capability, for scores, embeddings, FLOPs and saved weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from proxyflow.core.errors import UserError
from proxyflow.spaces.configuration import Configuration
from proxyflow.spaces.grids import Grid
from proxyflow.subsets import Subset
from proxyflow.trainers.job import Job, TrainingSpec
from proxyflow.trainers.results import Trained

if TYPE_CHECKING:
    import torch

    from proxyflow.data.protocol import Examples
    from proxyflow.scores import ModelOutputs
    from proxyflow.trainers.protocol import Trainer


OnBatch = Callable[["torch.Tensor", "torch.Tensor", "torch.Tensor", int], None]


OnModel = Callable[["torch.nn.Module", int], None]


@dataclass(frozen=True)
class Hooks:
    """Callbacks into a training, used to score examples.

    Attributes:
        on_batch: Called at each step with positions in `subset.train`, logits, labels (as class indices of the model)
            and the epoch, starting at 0. It must not change the tensors; they are valid until the next step.
        on_model: Called after each finished epoch with the model and the epoch, starting at 1, outside of the measured
            time. It may switch the model to eval mode, and must not change it otherwise.
    """

    on_batch: OnBatch | None = None
    on_model: OnModel | None = None


NO_HOOKS = Hooks()


class Predictor(Protocol):
    """Applies models to a fixed set of examples."""

    def __call__(
        self, model: torch.nn.Module, positions: Any | None = None, keep_embeddings: bool = False
    ) -> ModelOutputs:
        """Returns a model's outputs in eval mode, without augmentation, for all examples or those at `positions`."""
        ...


@runtime_checkable
class ModelAccess(Protocol):
    """Optional capability of a trainer: access to its models, for scores, embeddings, FLOPs and saved weights."""

    def scoring_configuration(self, grid: Grid) -> Configuration:
        """Returns the configuration of the model that scores examples for a study over this grid.

        Args:
            grid: Its configurations; empty if examples are scored without a study.
        """
        ...

    def flops_per_example(self, configuration: Configuration, n_classes: int, preprocessing: Any) -> float:
        """Returns the floating-point operations of one training example, forward and backward (2 per multiply-add)."""
        ...

    def train_with_hooks(self, job: Job, hooks: Hooks) -> Trained:
        """Trains as `Trainer.train` does, and calls the hooks; the result includes the model."""
        ...

    def predictor(self, subset: Subset, examples: Examples, device: torch.device) -> Predictor:
        """Returns a predictor on `examples` for models that were trained on `subset`."""
        ...

    def describe_model(self, spec: TrainingSpec, subset: Subset) -> dict[str, Any]:
        """Returns what a user of a saved model needs, as JSON-compatible values: input, classes, preprocessing."""
        ...

    def input_shape(self, subset: Subset) -> tuple[int, ...]:
        """Returns the shape of one input, without the batch dimension."""
        ...


class NoModelAccess(UserError):
    """The trainer named `trainer` gives no access to its models, and the request needs it."""

    def __init__(self, trainer: str, what: str) -> None:
        super().__init__(
            f"trainer={trainer} gives no access to its models, which {what} needs: use a strategy without scores "
            "(random, half-classes, epochs), or scores of predictions of your own model (score with predictions=FILE)"
        )
        self.trainer = trainer


def model_access(trainer: Trainer, what: str) -> ModelAccess:
    """Returns the trainer if it has the capability `ModelAccess`.

    Raises:
        NoModelAccess: The trainer does not have it; the message says that `what` needs it.
    """
    if not isinstance(trainer, ModelAccess):
        raise NoModelAccess(trainer.name, what)
    return trainer
