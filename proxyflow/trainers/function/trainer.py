"""The trainer `python:MODULE:FUNCTION`: calls the user's function for each training."""

from __future__ import annotations

import gc
import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from proxyflow.core.errors import InvalidValue, OutOfMemory, TrainingFailed, one_line
from proxyflow.data.modality import modalities
from proxyflow.data.protocol import Examples
from proxyflow.proxies import Proxy
from proxyflow.spaces.grids import Grid
from proxyflow.spaces.metric import ACCURACY, Metric
from proxyflow.subsets import Subset
from proxyflow.trainers.function.job import FunctionJob, Part, returned_values
from proxyflow.trainers.function.source import (
    KIND,
    check_signature,
    digest_of_function,
    files_of_target,
    load_function,
)
from proxyflow.trainers.job import Job
from proxyflow.trainers.protocol import Trainer
from proxyflow.trainers.reduced import reduced_values, reduction_names, unsupported_values
from proxyflow.trainers.reported import check_found, losses_are_finite, passed_examples, whole_training
from proxyflow.trainers.results import EpochRecord, Trained, TrainingResult
from proxyflow.trainers.user_code import MISMATCH_REMEDY, NO_WATCH
from proxyflow.trainers.workspace import checkpoint_folder, explained

if TYPE_CHECKING:
    import torch

    from proxyflow.data.protocol import Dataset

WAYS = "job.report(epoch=1, NAME=value), or return the value"
PACKAGE = Path(__file__).parents[2]  # whose frames of a traceback are not the user's


@dataclass(frozen=True)
class FunctionTrainer(Trainer):
    """Calls `def train(job)` for each training, see docs/how-to/own-training.md.

    Attributes:
        target: `MODULE:FUNCTION`, importable from `folder` or installed.
        reported: The metric that the function reports or returns.
        watch: Patterns of further files of the function.
        folder: Where its module is looked for; None is the working folder of this process.
        function: The function itself, for trainings in this process that need not find it by its name.
    """

    takes_target: ClassVar[bool] = True
    description: ClassVar[str] = "your own Python function, def train(job), called in the worker's process"
    mismatch_remedy: ClassVar[str] = MISMATCH_REMEDY
    fidelities_from: ClassVar[str] = "a function names what it reduces in its attribute fidelities"

    target: str = ""
    reported: Metric = ACCURACY
    watch: tuple[str, ...] = ()
    folder: Path | None = None
    function: Callable[[FunctionJob], Any] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return f"{KIND}:{self.target or 'MODULE:FUNCTION'}"

    @property
    def metric(self) -> Metric:
        return self.reported

    @property
    def fidelities(self) -> frozenset[str]:
        named = getattr(self.load(), "fidelities", ("data", "epochs"))
        known = ("data", "epochs", *reduction_names())
        unknown = sorted(set(named) - set(known))
        if unknown:
            raise InvalidValue("fidelities", unknown[0], f"a function names some of {', '.join(known)}")
        return frozenset({"data", *named})

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"watch": ",".join(self.watch) or NO_WATCH}

    @property
    def place(self) -> Path:
        """Where the function's module is looked for."""
        return self.folder if self.folder is not None else Path.cwd()

    def load(self) -> Callable[[FunctionJob], Any]:
        """The function.

        Raises:
            InvalidValue: It cannot be imported.
        """
        return self.function if self.function is not None else load_function(self.target, self.place)

    @cached_property
    def _digest(self) -> str:
        """Of the function as it was when the study was planned: it may count its calls."""
        assert self.function is not None
        return digest_of_function(self.function)

    def identity(self, data: Dataset | Subset, device: torch.device | None) -> dict[str, Any]:
        """The function's name, the metric, and the content of its files, or its own source."""
        return {"function": self.target, "metric": self.metric.to_json(), "files": self._files}

    @property
    def _files(self) -> dict[str, str]:
        """What the function's results depend on, by file."""
        if self.function is not None:
            return {"": self._digest}
        return files_of_target(self.target, self.place, self.watch)

    def check_request(self, configurations: Grid) -> Sequence[str]:
        check_signature(self.load(), self.name)
        _ = self._files
        return ()

    def unsupported(self, proxy: Proxy, data: Dataset | Subset, configurations: Grid) -> str:
        return unsupported_values(proxy)

    def train(self, job: Job) -> Trained:
        """Calls the function and takes what it reported or returned.

        Raises:
            TrainingFailed: It raised an exception, or did not report the metric.
        """
        from proxyflow.core import cuda  # these import torch
        from proxyflow.trainers.devices import peak_memory_mb, reset_peak_memory

        function = self.load()
        if job.device.type == "cuda":
            # What the function of an earlier training has left behind.
            gc.collect()
            cuda.empty_cache()
        with explained(job.workspace), checkpoint_folder(job) as checkpoints:
            logging = _Timed(job.record)
            given = _job_of(job, checkpoints, self.metric.name, logging)
            reset_peak_memory(job.device, self.name)
            begun = time.perf_counter()
            try:
                values = returned_values(_call(function, given), self.metric.name)
            except OutOfMemory:
                raise
            except (Exception, SystemExit) as error:  # sys.exit would end the whole study
                raise TrainingFailed(_explained(error)) from error
            seconds = time.perf_counter() - begun - logging.seconds
            records = given._records
            if not records and self.metric.name in values:
                # A result without epochs is that of the last one.
                record = EpochRecord(job.epochs, values)
                records.append(record)
                job.record(record)
            check_found(records, self.metric, {*given._seen, *values}, WAYS)
            measured: dict[str, Any] = {
                "train_seconds": seconds,
                "setup_seconds": begun - job.started,
                "examples_seen": passed_examples(records, len(job.subset.train), job.epochs),
            }
            told = measured | whole_training(values)
            extra = {"peak_memory_mb": peak_memory_mb(job.device)} | {
                name: value
                for name, value in values.items()
                if name != self.metric.name and name not in told and math.isfinite(value)
            }
            diverged = not losses_are_finite(records)
            return Trained(TrainingResult(self.metric, tuple(records), diverged, metrics=extra, **told))


def _call(function: Callable[[FunctionJob], Any], job: FunctionJob) -> Any:
    try:
        return function(job)
    except SystemExit as error:
        if error.code in (None, 0):
            return None
        raise


class _Timed:
    """Adds up the seconds that reporting takes, which are not the training's."""

    def __init__(self, record: Callable[[EpochRecord], bool]) -> None:
        self._record = record
        self.seconds = 0.0

    def __call__(self, record: EpochRecord) -> bool:
        begun = time.perf_counter()
        stop = self._record(record)
        self.seconds += time.perf_counter() - begun
        return stop


def _job_of(job: Job, checkpoints: Path, metric: str, record: Callable[[EpochRecord], bool]) -> FunctionJob:
    return FunctionJob(
        config=dict(job.configuration),
        train=_part(job.subset.train),
        valid=_part(job.subset.valid),
        class_names=tuple(job.subset.class_names),
        epochs=job.epochs,
        seed=job.seed,
        device=job.device,
        checkpoints=checkpoints,
        reduced=reduced_values(job.spec.proxy),
        _metric=metric,
        _record=record,
    )


def _part(examples: Examples) -> Part:
    modality = modalities[examples.modality]
    return Part(modality.identifiers(examples), examples.labels.copy(), modality.positions(examples))


def _explained(error: BaseException) -> str:
    """An exception of the user's code with the place where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if "site-packages" not in frame.filename and not Path(frame.filename).is_relative_to(PACKAGE)
    ]
    place = own[-1] if own else frames[-1]
    where = f"{Path(place.filename).name}, line {place.lineno}, in {place.name}"
    return f"the function raised {type(error).__name__}: {one_line(error)} ({where})"
