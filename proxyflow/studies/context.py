"""State shared by all steps of a study: the tracking client, the device, and caches of loaded data."""

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

from proxyflow.core.errors import one_line, printable
from proxyflow.data.catalog import DataOptions, Dataset, load_dataset
from proxyflow.scores.table import ExampleScores
from proxyflow.subsets import Subset
from proxyflow.tracking import names
from proxyflow.tracking.artifacts import uri as _uri  # noqa: F401 (it registers how weights of runs are fetched)
from proxyflow.tracking.artifacts.cache import ArtifactCache
from proxyflow.tracking.artifacts.transfer import fetch
from proxyflow.tracking.connection import Client
from proxyflow.tracking.queries.reader import search
from proxyflow.tracking.queries.tracked_run import TrackedRun
from proxyflow.tracking.runs.claims import AlreadyClaimed
from proxyflow.tracking.runs.writer import RunWriter
from proxyflow.tracking.ui.links import Links

if TYPE_CHECKING:
    import torch


T = TypeVar("T")


def print_to_stderr(text: str) -> None:
    """Prints a status line to stderr (stdout is for results); escapes control characters of names from others."""
    print(printable(text), file=sys.stderr, flush=True)


@dataclass(eq=False)
class StudyContext:
    """Client, device and caches of a command, for the lifetime of its process.

    Attributes:
        client: a connected tracking client.
        writer: opens runs in the study's experiment.
        chosen_device: device to train on; None for the current GPU, or the CPU if there is none.
        price_per_hour: US dollars per hour of this machine; None if unknown.
        say: prints a status line.
        data: location and evaluation split of data sets.
        datasets, subsets, scores: caches by name or run id.
    """

    client: Client
    writer: RunWriter
    chosen_device: torch.device | None = None
    price_per_hour: float | None = None
    say: Callable[[str], None] = print_to_stderr
    data: DataOptions = field(default_factory=DataOptions)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    subsets: dict[str, Subset] = field(default_factory=dict)
    scores: dict[str, ExampleScores] = field(default_factory=dict)
    _cache_works: bool = field(default=True, init=False)

    def dataset(self, name: str) -> Dataset:
        """The data set of that name, cached."""
        if name not in self.datasets:
            self.datasets[name] = load_dataset(name, self.data, self.say)
        return self.datasets[name]

    @cached_property
    def links(self) -> Links:
        """Links between runs, for their descriptions."""
        return Links(self.client)

    @cached_property
    def device(self) -> torch.device:
        """Device to train on; imports torch."""
        from proxyflow.trainers.devices import configure_threads, pick_device  # imports torch

        configure_threads()
        return self.chosen_device or pick_device()

    def fetch(self, run_id: str, path: str, target: Path, sha256: str = "") -> Path:
        """Downloads an artifact; files with a known checksum are cached on this machine."""
        if not sha256:
            return fetch(self.client, run_id, path, target)
        download = partial(self._download, run_id, path, sha256)
        try:
            return ArtifactCache(self.data.folder / "artifacts").place(sha256, target, download)
        except OSError as error:
            if self._cache_works:
                self.say(f"note: cannot cache downloads in {self.data.folder / 'artifacts'}: {one_line(error)}")
                self._cache_works = False
            return fetch(self.client, run_id, path, target, sha256)

    def _download(self, run_id: str, path: str, sha256: str, target: Path) -> Path:
        return fetch(self.client, run_id, path, target, sha256)

    def cost_usd(self, seconds: float) -> float | None:
        """Cost of that time on this machine; None if the price is unknown."""
        return None if self.price_per_hour is None else seconds / 3600 * self.price_per_hour


def dataset_params(dataset: Dataset) -> dict[str, Any]:
    """Params that describe a data set."""
    params: dict[str, Any] = {"dataset": dataset.name, "classes": ", ".join(dataset.class_names)}
    return params | ({"n_skipped": len(dataset.skipped)} if dataset.skipped else {})


def find_finished(context: StudyContext, kind: names.Kind, key: str) -> TrackedRun | None:
    """The finished run of this kind with this key, or None."""
    return next((run for run in search(context.client, KIND=kind, RUN_KEY=key) if run.finished), None)


def find_or_make(
    context: StudyContext, kind: names.Kind, key: str, what: str, find: Callable[[], T | None], make: Callable[[], T]
) -> T:
    """Finds a result, or makes it; waits while another process is making it.

    Args:
        kind, key: kind and key of the run that holds the result.
        what: name of the result in messages.
        find: returns the result, or None.
        make: makes the result in a run that it opens with `claim`.
    """
    reported = False
    while True:
        found = find()
        if found is not None:
            return found
        if not context.writer.is_claimed(kind, key):
            with suppress(AlreadyClaimed):
                return make()
        if not reported:
            context.say(f"{what}: another process is making them; waiting for it")
            reported = True
        # Two processes that both withdrew their claims must not retry at the same moment.
        time.sleep(random.uniform(0.3, 1.5))


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A temporary folder for files on their way to or from the server."""
    with tempfile.TemporaryDirectory(prefix="proxyflow-") as folder:
        yield Path(folder)
