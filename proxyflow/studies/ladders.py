"""The rungs of a search that names none."""

from __future__ import annotations

from proxyflow.proxies import Proxy
from proxyflow.searching.ladder import auto_ladder
from proxyflow.trainers.model_access import ModelAccess
from proxyflow.trainers.protocol import Trainer

PRICED = {"data", "epochs"}  # reductions whose cost is known of any training


def default_ladder(trainer: Trainer, epochs: int) -> tuple[Proxy, ...]:
    """See `auto_ladder`: of a trainer whose operations are not known, without reductions whose saving is not known.

    Args:
        trainer: the trainer.
        epochs: of the target.
    """
    known = set(trainer.fidelities) if isinstance(trainer, ModelAccess) else set(trainer.fidelities) & PRICED
    return auto_ladder(known, epochs)
