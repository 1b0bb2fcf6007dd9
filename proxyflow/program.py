"""What a program calls that proxyflow runs: `proxyflow.report`. Imports nothing else of proxyflow."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

OUTPUT_VARIABLE = "PROXYFLOW_OUTPUT"
METRICS_FILE = "metrics.jsonl"


def report(epoch: float | None = None, **values: Any) -> None:
    """Reports values of a training after an epoch.

    In a program that proxyflow runs, they go to the file `metrics.jsonl` in its output folder. In any other program
    they are logged to the active MLflow run if there is one; else nothing happens, so a script needs no other branch.

    Args:
        epoch: The epoch, counted from 1; None is the next one. Fractions are points within an epoch.
        **values: By name, among them the study's metric; tensors and arrays of one element are accepted.

    Raises:
        ValueError: A value is no number.

    Examples:
        >>> for epoch in range(1, 3):
        ...     report(epoch=epoch, valid_accuracy=0.4 * epoch)  # after each epoch
    """
    numbers = {name: _number(name, value) for name, value in values.items()}
    output = os.environ.get(OUTPUT_VARIABLE)
    if output:
        line = json.dumps({**({} if epoch is None else {"epoch": _number("epoch", epoch)}), **numbers})
        # One write of a whole line: a reader never sees a part of it.
        with (Path(output) / METRICS_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        return
    mlflow = sys.modules.get("mlflow")
    if mlflow is not None and mlflow.active_run() is not None:
        mlflow.log_metrics(numbers, step=None if epoch is None else int(epoch))


def _number(name: str, value: Any) -> float:
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError):  # the last is torch's for several elements
        raise ValueError(f"{name}={value!r} is no number; report numbers, or tensors of one element") from None
