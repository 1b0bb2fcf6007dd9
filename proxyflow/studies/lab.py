"""What all steps of a study share: the server, the device, and what has been loaded already."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from proxyflow.data.catalog import DataOptions, Dataset, load_dataset
from proxyflow.scoring.table import ExampleScores
from proxyflow.subsets import Subset
from proxyflow.tracking import names
from proxyflow.tracking.connection import Client
from proxyflow.tracking.runs import RunWriter, Taken

if TYPE_CHECKING:
    import torch


T = TypeVar("T")
MAX_PARAM = 500  # what MLflow's older servers take


def say_on_stderr(text: str) -> None:
    """Tells the user something beside the result, which goes to stdout."""
    print(text, file=sys.stderr, flush=True)


@dataclass(eq=False)
class Lab:
    """The bench at which runs are made, one process long.

    Attributes:
        client: a connected tracking client.
        writer: opens runs in the study's experiment.
        device: what trainings run on.
        price_per_hour: US dollars per hour of this machine, None where unknown.
        say: tells the user what is found or made.
        data: where data sets are.
    """

    client: Client
    writer: RunWriter
    device: torch.device
    price_per_hour: float | None = None
    say: Callable[[str], None] = say_on_stderr
    data: DataOptions = field(default_factory=DataOptions)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    subsets: dict[str, Subset] = field(default_factory=dict)
    scores: dict[str, ExampleScores] = field(default_factory=dict)

    def dataset(self, name: str) -> Dataset:
        """The data set of that name, loaded once."""
        if name not in self.datasets:
            self.datasets[name] = load_dataset(name, self.data, self.say)
        return self.datasets[name]

    def cost_usd(self, seconds: float) -> float | None:
        """What that time costs on this machine, None where the price is unknown."""
        return None if self.price_per_hour is None else seconds / 3600 * self.price_per_hour


def dataset_params(dataset: Dataset) -> dict[str, Any]:
    """What a run's params say of the data set that was read."""
    params: dict[str, Any] = {"dataset": dataset.name, "classes": ", ".join(dataset.class_names)[:MAX_PARAM]}
    return params | ({"n_skipped": len(dataset.skipped)} if dataset.skipped else {})


def once(lab: Lab, kind: names.Kind, key: str, what: str, find: Callable[[], T | None], make: Callable[[], T]) -> T:
    """Finds a result or makes it, and where another process is making it, waits for that.

    Args:
        kind, key: of the run that holds the result.
        what: names it for the user.
        make: opens that run with `claim`.
    """
    told = False
    while True:
        found = find()
        if found is not None:
            return found
        if not lab.writer.is_taken(kind, key):
            with suppress(Taken):
                return make()
        if not told:
            lab.say(f"{what}: another process is making them; waiting for it")
            told = True
        # Of two that withdrew for each other's sake one must come first.
        time.sleep(random.uniform(0.3, 1.5))


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder for files on their way to or from the server."""
    with tempfile.TemporaryDirectory(prefix="proxyflow-") as folder:
        yield Path(folder)
