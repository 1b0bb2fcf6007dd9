"""The rungs of a search that names none."""

from __future__ import annotations

from proxyflow.proxies import Proxy
from proxyflow.searching.ladder import auto_ladder
from proxyflow.spaces.space import Space
from proxyflow.trainers.model_access import ModelAccess
from proxyflow.trainers.protocol import Trainer

PRICED = {"data", "epochs", "batch"}  # reductions whose operations are known of any training
BATCH = "batch_size"  # the hyperparameter, in the image trainer and by convention


def default_ladder(trainer: Trainer, space: Space, epochs: int) -> tuple[Proxy, ...]:
    """See `auto_ladder`: of a trainer whose operations are not known, without reductions whose saving is not known.

    Args:
        trainer: the trainer.
        space: what the search chooses from; the default of its `batch_size` says what a small batch is.
        epochs: of the target.
    """
    known = set(trainer.fidelities) if isinstance(trainer, ModelAccess) else set(trainer.fidelities) & PRICED
    size = space.centre.get(BATCH)
    return auto_ladder(known, epochs, size if isinstance(size, int) else None)
