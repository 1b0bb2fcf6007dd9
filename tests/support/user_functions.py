"""Functions as users write them: a loss that depends on hyperparameters, data and seed."""

from __future__ import annotations

import os
from typing import Any


def fit(job: Any) -> None:
    for epoch in range(1, job.epochs + 1):
        loss = (job.config["width"] - 0.3) ** 2 + (job.seed + 1) / (100 * epoch) + 10 / len(job.train)
        if job.report(epoch=epoch, valid_loss=loss):
            break


def classify(job: Any) -> None:
    """An accuracy that is best at a width of .3, the lower the fewer epochs.

    Is interrupted after as many trainings as the environment says.
    """
    left = int(os.environ.get("INTERRUPT_AFTER", 1000)) - 1
    os.environ["INTERRUPT_AFTER"] = str(left)
    if left < 0:
        raise KeyboardInterrupt
    for epoch in range(1, job.epochs + 1):
        off = job.config["width"] - 0.3
        job.report(epoch=epoch, valid_accuracy=0.9 - off**2 - 0.2 / epoch - 0.001 * job.seed)


def misled(job: Any) -> None:
    """An accuracy for which few examples want the opposite."""
    for epoch in range(1, job.epochs + 1):
        best = 0.3 if len(job.train) > 50 else 0.9
        job.report(epoch=epoch, valid_accuracy=0.9 - 0.5 * (job.config["width"] - best) ** 2 - 0.2 / epoch)


def idle_on_few(job: Any) -> None:
    """An accuracy that stays at that of one class where there are few examples."""
    for epoch in range(1, job.epochs + 1):
        learned = len(job.train) > 50
        job.report(epoch=epoch, valid_accuracy=0.9 - (job.config["width"] - 0.3) ** 2 if learned else 0.1)


def fit_at_once(job: Any) -> float:
    return float((job.config["width"] - 0.3) ** 2 + 10 / len(job.train))


fit_at_once.fidelities = ("data",)  # type: ignore[attr-defined]


def broken(job: Any) -> None:
    raise ValueError(f"no such width: {job.config['width']}")


def other_metric(job: Any) -> None:
    job.report(epoch=1, valid_los=0.5)


def takes_more(job: Any, more: int) -> None:
    """Cannot be called with a job alone."""
