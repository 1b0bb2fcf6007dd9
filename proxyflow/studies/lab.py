"""What all steps of a study share: the server, the device, and what has been loaded already."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from proxyflow.data.catalog import DataOptions, Dataset, load_dataset
from proxyflow.errors import one_line, printable
from proxyflow.scoring.table import ExampleScores
from proxyflow.subsets import Subset
from proxyflow.tracking import names
from proxyflow.tracking.artifact_cache import ArtifactCache
from proxyflow.tracking.connection import Client
from proxyflow.tracking.links import Links
from proxyflow.tracking.run import Taken
from proxyflow.tracking.runs import RunWriter
from proxyflow.tracking.transfer import fetch
from proxyflow.training.precision import may_have_gpu, precision_name

if TYPE_CHECKING:
    import torch


T = TypeVar("T")
MAX_PARAM = 500  # what MLflow's older servers take


def say_on_stderr(text: str) -> None:
    """Tells the user something beside the result, which goes to stdout; names in it may be anybody's."""
    print(printable(text), file=sys.stderr, flush=True)


@dataclass(eq=False)
class Lab:
    """The bench at which runs are made, one process long.

    Attributes:
        client: a connected tracking client.
        writer: opens runs in the study's experiment.
        chosen: what trainings run on; None is the current GPU, or the CPU where there is none.
        price_per_hour: US dollars per hour of this machine, None where unknown.
        say: tells the user what is found or made.
        data: where data sets are.
    """

    client: Client
    writer: RunWriter
    chosen: torch.device | None = None
    price_per_hour: float | None = None
    say: Callable[[str], None] = say_on_stderr
    data: DataOptions = field(default_factory=DataOptions)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    subsets: dict[str, Subset] = field(default_factory=dict)
    scores: dict[str, ExampleScores] = field(default_factory=dict)
    _cache_works: bool = field(default=True, init=False)

    def dataset(self, name: str) -> Dataset:
        """The data set of that name, loaded once."""
        if name not in self.datasets:
            self.datasets[name] = load_dataset(name, self.data, self.say)
        return self.datasets[name]

    @cached_property
    def links(self) -> Links:
        """Links between runs, for their descriptions."""
        return Links(self.client)

    @cached_property
    def device(self) -> torch.device:
        """What trainings run on; imports torch."""
        from proxyflow.training.devices import pick_device, use_cores

        use_cores()
        return self.chosen or pick_device()

    def precision(self, requested: str, image_size: int) -> str:
        """The precision that a requested one is here, see `precision_name`; without torch where there is no GPU.

        Raises:
            InvalidValue: the device has no such precision.
        """
        if self.chosen is None and not may_have_gpu():
            return precision_name(requested, "cpu", image_size)
        from proxyflow.training.devices import resolve_precision

        return resolve_precision(requested, self.device, image_size).name

    def fetch(self, run_id: str, path: str, target: Path, sha256: str = "") -> Path:
        """Downloads a file of a run's artifacts; once per machine where its checksum is known."""
        if not sha256:
            return fetch(self.client, run_id, path, target)
        download = partial(self._download, run_id, path, sha256)
        try:
            return ArtifactCache(self.data.folder / "artifacts").place(sha256, target, download)
        except OSError as error:
            if self._cache_works:
                self.say(f"note: downloads are not kept in {self.data.folder / 'artifacts'}: {one_line(error)}")
                self._cache_works = False
            return fetch(self.client, run_id, path, target, sha256)

    def _download(self, run_id: str, path: str, sha256: str, target: Path) -> Path:
        return fetch(self.client, run_id, path, target, sha256)

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
