"""One training by a program: prepares its files and environment, watches it run, and reads what it reported."""

from __future__ import annotations

import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from proxyflow.core.errors import TrainingFailed
from proxyflow.core.files import digest, write_json
from proxyflow.trainers.job import Job
from proxyflow.trainers.program.files import is_mlflow_run
from proxyflow.trainers.program.folder import subset_files
from proxyflow.trainers.program.process import MARK, Ended, NotStarted, how_it_ended, last_lines, run_process
from proxyflow.trainers.reduced import reduced_values, reduction_names
from proxyflow.trainers.reported import (
    METRICS_FILE,
    MetricLines,
    Reported,
    check_found,
    losses_are_finite,
    numbered,
    passed_examples,
    ways_of_programs,
    whole_training,
)
from proxyflow.trainers.results import EpochRecord, TrainingResult
from proxyflow.trainers.workspace import checkpoint_folder, explained

if TYPE_CHECKING:
    from proxyflow.trainers.program.trainer import ProgramTrainer

LOG, OUTPUT, CONFIG = "output.log", "output", "config.json"
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
# What `mlflow run` prints when the environment of the project is there and its command begins.
PROJECT_BEGINS = b"=== Running command"
# Between two requests to the server for what the program has logged to its run.
REQUEST_SECONDS = 5.0


def run_training(trainer: ProgramTrainer, job: Job) -> TrainingResult:
    """Runs the command for one training.

    Raises:
        TrainingFailed: See `ProgramTrainer.train`.
    """
    with explained(job.workspace), _temporary_folder(job.workspace) as place, checkpoint_folder(job) as checkpoints:
        output = job.output or place / OUTPUT
        environment = _environment(job, output, checkpoints)
        arguments = _arguments(trainer, job, place, environment)
        watched = _Watched(trainer, job, place, output)
        _free_device(job)
        setup_seconds = time.perf_counter() - job.started
        try:
            with watched.building():
                ended = _run(arguments, trainer, environment, watched)
            watched.check(ended)
            return watched.result(ended, setup_seconds)
        finally:
            _keep_output(job, place)


def _free_device(job: Job) -> None:
    """Gives back the memory of the device that this process keeps for itself, from scoring say."""
    if job.device.type == "cuda":
        from proxyflow.core import cuda  # imports torch

        cuda.empty_cache()


def _run(arguments: Sequence[str], trainer: ProgramTrainer, environment: Mapping[str, str], watched: _Watched) -> Ended:
    try:
        return run_process(arguments, trainer.place, environment, watched.log, trainer.timeout, watched.on_poll)
    except NotStarted as error:
        raise TrainingFailed(f"the program could not be started: {error}") from None


@contextmanager
def _temporary_folder(workspace: Path | None) -> Iterator[Path]:
    """A folder for one training, with an empty folder and an empty log."""
    parent = None if workspace is None else workspace / "running"
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="proxyflow-", dir=parent))
    try:
        (place / OUTPUT).mkdir()
        (place / LOG).touch()
        yield place
    finally:
        # A program may leave files that only another user can delete, as containers do.
        shutil.rmtree(place, ignore_errors=True)


def search_path(environment: Mapping[str, str]) -> str:
    """PATH, and at its end the folder of this interpreter: `python` and `mlflow` are found there if nowhere else."""
    own = str(Path(sys.executable).parent)
    return os.pathsep.join(filter(None, (environment.get("PATH", os.defpath), own)))


def _environment(job: Job, output: Path, checkpoints: Path) -> dict[str, str]:
    """The environment of the program."""
    base = {name: value for name, value in os.environ.items() if name != "MLFLOW_RUN_ID"}
    environment = base if job.run is None else job.run.environment(base)
    environment |= {
        "PATH": search_path(environment),
        "PYTHONUNBUFFERED": environment.get("PYTHONUNBUFFERED", "1"),  # a killed program has printed all it could
        "PROXYFLOW_EPOCHS": str(job.epochs),
        "PROXYFLOW_SEED": str(job.seed),
        "PROXYFLOW_CHECKPOINTS": str(checkpoints),
        MARK: str(output),
    }
    if job.device.type == "cuda":
        environment[VISIBLE_GPUS] = _visible_gpu(job.device.index or 0, environment.get(VISIBLE_GPUS))
    return environment


def _visible_gpu(index: int, visible: str | None) -> str:
    """The GPU of a worker, as the whole machine counts or names it.

    Args:
        index: among the GPUs that this process sees.
        visible: the variable of this process, None if it sees all.
    """
    seen = [each.strip() for each in visible.split(",") if each.strip()] if visible else []
    return seen[index] if index < len(seen) else str(index)


def _arguments(trainer: ProgramTrainer, job: Job, place: Path, environment: dict[str, str]) -> list[str]:
    """The command of this training; its data and its configuration are added to the environment as well."""
    data = subset_files(job.subset, job.workspace or place)
    config = place / CONFIG
    write_json(config, dict(job.configuration))
    environment |= {"PROXYFLOW_DATA": str(data.folder), "PROXYFLOW_CONFIG": str(config)}
    values: dict[str, Any] = {
        **reduced_values(job.spec.proxy),
        **job.configuration,
        "data": str(data.folder),
        "train": str(data.train),
        "valid": str(data.valid),
        "epochs": job.epochs,
        "seed": job.seed,
        "output": environment[MARK],
        "config": str(config),
    }
    # What a proxy does not reduce is left out together with its option, as hyperparameters that are not in use are.
    first, *rest = trainer.command.fill(values, inactive=[*reduction_names(), *job.configuration.space.names])
    arguments = [trainer.find_program(environment["PATH"]), *rest]
    if is_mlflow_run([first, *rest]) and job.run is not None and "--run-id" not in rest:
        # The project then logs to this run, and not to one of its own.
        after = arguments.index("run") + 1
        arguments[after:after] = ["--run-id", job.run.id]
    return arguments


class _Watched:
    """What a running program has reported so far."""

    def __init__(self, trainer: ProgramTrainer, job: Job, place: Path, output: Path) -> None:
        self.job, self.metric, self.timeout = job, trainer.metric, trainer.timeout
        self.words, self.folder = trainer.command.words, trainer.place
        self.log = place / LOG
        self.lines = MetricLines(output / METRICS_FILE)
        self.begins = 0.0  # seconds after which the training itself began
        self._uses_lines: bool | None = None  # unknown until the metric is first seen
        self._request_at = REQUEST_SECONDS
        self._seen: tuple[EpochRecord, ...] = ()  # at the last request
        self._reported: dict[int, EpochRecord] = {}
        self._stopped = False
        self._last = 0  # the epoch that was reported last
        self._building = ExitStack()

    @contextmanager
    def building(self) -> Iterator[None]:
        """Lets only one training at a time build the environment of an MLflow project, which all then use."""
        self._waits = is_mlflow_run(self.words)
        if self._waits and self.job.workspace is not None:
            project = digest([str(self.folder), *self.words])
            lock = self.job.workspace / "projects" / f"{project[:24]}.lock"
            lock.parent.mkdir(parents=True, exist_ok=True)
            self._building.enter_context(FileLock(lock))
        with self._building:
            yield

    def on_poll(self, seconds: float) -> bool:
        """Reports new epochs; returns whether the training should stop."""
        self.job.on_wait()
        if self._waits and PROJECT_BEGINS in self.log.read_bytes():
            self._waits, self.begins = False, seconds
            self._building.close()
        self.lines.read()
        if seconds < self._request_at and not self._uses_lines:
            return False
        self._request_at = seconds + REQUEST_SECONDS
        found = self._records(wait=False)
        if found is None:
            return False
        # A record is final once two polls agree on it: a line may be the first of several of an epoch, and how steps
        # count depends on those that follow.
        settled = [new for new, old in zip(found, self._seen, strict=False) if _same(new, old)]
        self._seen = found
        return self._report(settled)

    def _records(self, wait: bool = True) -> tuple[EpochRecord, ...] | None:
        """The epochs that were reported: those in the run, else those in the file.

        Args:
            wait: until the server responds; else the answer is None where it does not.
        """
        metric, epochs, run = self.metric.name, self.job.epochs, self.job.run
        if not self._uses_lines and run is not None:
            # Once this process logs what the file says, the run has it as well.
            history = run.history(metric, wait)
            if history is None:
                return None
            if history:
                self._uses_lines = False
                logged = [Reported(step, {metric: value}) for step, value in history]
                return numbered(logged, metric, epochs, logged=True)
        found = numbered(self.lines.reports, metric, epochs)
        if found:
            self._uses_lines = True
        return found

    def _report(self, records: Sequence[EpochRecord]) -> bool:
        """Reports the records that are new; returns whether the training should stop, which the last one decided."""
        for record in records:
            if self._stopped:
                break
            before = self._reported.get(record.epoch)
            if before is None or not _same(before, record):
                self._reported[record.epoch] = record
                self._stopped = self.job.record(record)
                self._last = record.epoch
        return self._stopped

    def check(self, ended: Ended) -> None:
        """Checks that the program ended well.

        Raises:
            TrainingFailed: it did not.
        """
        said = last_lines(self.log)
        output = f"; its last output: {said}" if said else "; it printed nothing"
        if ended.reason == "timeout":
            raise TrainingFailed(f"the program did not end within timeout={self.timeout:g} s and was stopped{output}")
        if ended.status and ended.reason != "stopped":
            raise TrainingFailed(f"the program failed: {how_it_ended(ended.status)}{output}")
        if ended.survivors:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(f"\n[proxyflow: {ended.survivors} process(es) outlived the program and were stopped]\n")

    def result(self, ended: Ended, setup_seconds: float) -> TrainingResult:
        """The result of the program.

        Raises:
            TrainingFailed: it has not reported its metric.
        """
        self.lines.read(ended=not ended.reason)
        records = self._records() or ()
        latest = dict(self.job.run.latest()) if self.job.run is not None else {}
        for report in self.lines.reports:
            latest |= report.values
        check_found(records, self.metric, latest, ways_of_programs(self.metric, tracked=self.job.run is not None))
        self._report(records)
        if self._stopped:
            records = tuple(record for record in records if record.epoch <= self._last)
        measured: dict[str, Any] = {
            "train_seconds": ended.seconds - self.begins,
            "setup_seconds": setup_seconds + self.begins,
            "examples_seen": passed_examples(records, len(self.job.subset.train), self.job.epochs),
        }
        diverged = not losses_are_finite(records)
        return TrainingResult(self.metric, records, diverged, **(measured | whole_training(latest)))


def _same(one: EpochRecord, other: EpochRecord) -> bool:
    """Whether two records are equal; nan is nan here."""
    if one.epoch != other.epoch or one.values.keys() != other.values.keys():
        return False
    pairs = ((value, other.values[name]) for name, value in one.values.items())
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in pairs)


def _keep_output(job: Job, place: Path) -> None:
    """Logs the output of the program as an artifact."""
    log = place / LOG
    if job.run is None or not log.is_file() or not log.stat().st_size:
        return
    kept = place / "artifacts"
    kept.mkdir(exist_ok=True)
    shutil.move(log, kept / LOG)
    job.run.log_files(kept)
