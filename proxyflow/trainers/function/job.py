"""What the user's function is given: a configuration, the examples to train and validate on, and a way to report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from proxyflow.core.errors import InvalidValue
from proxyflow.trainers.results import EpochRecord

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Part:
    """The training or the validation examples of one training.

    Attributes:
        ids: `(n,)` what the user calls them: the ids of an index or table; numbers where there are none.
        labels: `(n,) int64`, indices into `FunctionJob.class_names`.
        indices: `(n,) int64`, their positions in the user's own data, in the order of the file, folder or labels that
            the data set was made from.
    """

    ids: NDArray[Any]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, data: Any) -> Any:
        """Selects these examples from the user's data.

        Args:
            data: All examples in their own order: a map-style torch data set, a Hugging Face `datasets.Dataset`, a
                list or tuple, an array or tensor, a sparse matrix, a pandas frame or series, or a pyarrow table.

        Returns:
            An object of the same kind with the examples at `indices`; for a torch data set, torch's `Subset`.

        Raises:
            InvalidValue: It is shorter than the data set, or of a kind that cannot be selected from.

        Example:
            >>> part = Part(np.array([0, 2]), np.array([1, 0]), np.array([0, 2]))
            >>> part.of(["a", "b", "c"])
            ['a', 'c']
        """
        if isinstance(data, Mapping):
            rule = "select from each of its values: {name: part.of(value) for name, value in data.items()}"
            raise InvalidValue("data", type(data).__name__, rule)
        length = _length(data)
        last = int(self.indices.max(initial=-1))
        if length <= last:
            rule = f"it has {length:,} examples, and the data set has one at position {last:,}; give all examples"
            raise InvalidValue("data", type(data).__name__, f"{rule}, in the order of the data set")
        return _selected(data, self.indices)


def _length(data: Any) -> int:
    shape = getattr(data, "shape", None)
    if shape is not None and not callable(shape) and len(shape):
        return int(shape[0])
    try:
        return len(data)
    except TypeError:
        rule = "examples cannot be selected from it; give a list, array, frame, torch data set or datasets.Dataset"
        raise InvalidValue("data", type(data).__name__, rule) from None


def _selected(data: Any, indices: NDArray[np.int64]) -> Any:
    kind = type(data).__module__.partition(".")[0]
    if isinstance(data, list | tuple):
        chosen = [data[index] for index in indices.tolist()]
        return tuple(chosen) if type(data) is tuple else chosen
    if kind in ("pandas", "pyarrow"):
        return data.take(indices)
    if hasattr(data, "select") and hasattr(data, "features"):  # datasets.Dataset
        return data.select(indices.tolist())
    if hasattr(data, "tocsr"):  # some formats of scipy.sparse have no rows
        data = data.tocsr()
    if hasattr(data, "shape"):  # numpy, scipy.sparse, torch, jax
        return data[indices]
    if hasattr(data, "__getitem__"):
        from torch.utils.data import Subset  # imports torch

        return Subset(data, indices.tolist())
    raise InvalidValue(
        "data", type(data).__name__, "it has no __getitem__; give a map-style data set, a list, an array or a frame"
    )


@dataclass(eq=False)
class FunctionJob:
    """One training, as the user's function sees it.

    Attributes:
        config: The hyperparameters by name.
        train, valid: The examples to train and to validate on.
        class_names: Names of all classes, by label.
        epochs: Passes over the training examples.
        seed: Root of all random streams.
        device: The `torch.device` to train on.
        checkpoints: A folder for checkpoints: it holds those of a shorter training of the same configuration, and an
            interrupted training finds its own again.
        reduced: What the proxy reduces beside examples and epochs, by name: `size`, `width`, `batch`. Empty for the
            target, and unless the function names them in its attribute `fidelities`.

    Example:
        >>> def train(job):
        ...     for epoch in range(1, job.epochs + 1):
        ...         job.report(epoch=epoch, valid_loss=job.config["learning_rate"] / epoch)
    """

    config: Mapping[str, Any]
    train: Part
    valid: Part
    class_names: tuple[str, ...]
    epochs: int
    seed: int
    device: torch.device
    checkpoints: Path
    reduced: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    _metric: str = ""
    _record: Callable[[EpochRecord], bool] = lambda record: False
    _records: list[EpochRecord] = field(default_factory=list)
    _pending: dict[str, float] = field(default_factory=dict)
    _pending_epoch: int | None = None
    _first: int | None = None
    _seen: set[str] = field(default_factory=set)

    def report(self, epoch: int | None = None, **values: float) -> bool:
        """Reports values after an epoch.

        Args:
            epoch: The epoch, counted from 1 (or from 0, if the first report is of epoch 0); None is the next one.
            **values: By name; one call for each epoch, or the last of several, has the metric. Tensors of one element
                are accepted.

        Returns:
            Whether the training should stop early.
        """
        numbers = {name: _number(name, value) for name, value in values.items()}
        self._seen |= set(numbers)
        if self._first is None and epoch is not None:
            self._first = int(epoch)
        if epoch is None:
            epoch = self._pending_epoch
        elif epoch != self._pending_epoch and self._pending_epoch is not None:
            self._pending.clear()
        self._pending |= numbers
        self._pending_epoch = epoch
        if self._metric not in self._pending:
            return False
        self._pending_epoch = None
        done = self._records[-1].epoch if self._records else 0
        number = done + 1 if epoch is None else int(epoch) + (1 if self._first == 0 else 0)
        record = EpochRecord(max(number, done + 1), dict(self._pending))
        self._pending.clear()
        self._records.append(record)
        return self._record(record)


def _number(name: str, value: Any) -> float:
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError):  # the last is torch's for several elements
        raise InvalidValue(name, value, "report numbers, or tensors and arrays of one element") from None


def returned_values(returned: object, metric: str) -> dict[str, float]:
    """What a function returned as values by name: the metric alone, a mapping, or nothing.

    Raises:
        InvalidValue: It is something else.
    """
    if returned is None:
        return {}
    if isinstance(returned, Mapping):
        return {str(name): _number(str(name), value) for name, value in returned.items()}
    return {metric: _number(metric, returned)}
