"""What does a training cost under proxyflow beside the user's own command, or the user's own function?

A program that trains for a moment on digits, with MLflow's log or with `metrics.jsonl`: run bare (`subprocess.run`),
and as a training of `trainer=program`, in turn. The difference in wall time is what proxyflow adds: its run on the
tracking server, the data folder (made once), the process group and its end. The same for a function, called bare and
as a training of `trainer=python:...`. The store is SQLite. The start of proxyflow itself is not in it: a sweep has one.

    python -m benchmarks.trainer [--quick] [--json PATH]
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.bench import parse_options, write_json
from proxyflow.spaces.space import Space
from proxyflow.strategies import Full
from proxyflow.trainers import FunctionTrainer, ProgramTrainer, Trainer, TrainingSpec
from proxyflow.trainers.function.job import FunctionJob

EPOCHS = 3
WARM_UP = 2
PROGRAM = """
import json, os, sys, time
begun = time.perf_counter()
rate, epochs = float(sys.argv[1]), int(sys.argv[2])
for epoch in range(1, epochs + 1):
    while time.perf_counter() - begun < 0.05 * epoch:
        rate = rate * 1.0000001
    if "PROXYFLOW_OUTPUT" in os.environ:
        with open(os.environ["PROXYFLOW_OUTPUT"] + "/metrics.jsonl", "a") as file:
            file.write(json.dumps({"epoch": epoch, "valid_accuracy": min(rate / epoch, 1.0)}) + chr(10))
"""


def function(job: FunctionJob) -> None:
    """As the program."""
    begun = time.perf_counter()
    rate = job.config["rate"]
    for epoch in range(1, job.epochs + 1):
        while time.perf_counter() - begun < 0.05 * epoch:
            rate = rate * 1.0000001
        job.report(epoch=epoch, valid_accuracy=min(rate / epoch, 1.0))


class _BareJob:
    """What the function needs when nobody tracks it."""

    epochs = EPOCHS

    def __init__(self, rate: float) -> None:
        self.config = {"rate": rate}

    def report(self, **values: float) -> bool:
        return False


def seconds_of(work: Callable[[float], object], rate: float) -> float:
    """The wall time of a training."""
    begun = time.perf_counter()
    work(rate)
    return time.perf_counter() - begun


def measure(n: int, bare: Callable[[float], object], tracked: Callable[[float], object]) -> list[float]:
    """What the tracked way takes longer, of `n` pairs that alternate in order."""
    differences = []
    for number in range(n + WARM_UP):
        rate = 0.1 + number / 1000
        ways = (bare, tracked) if number % 2 else (tracked, bare)
        seconds = {way: seconds_of(way, rate) for way in ways}
        differences.append(seconds[tracked] - seconds[bare])
    return differences[WARM_UP:]


def main() -> None:
    options = parse_options(__doc__)
    n = 10 if options.quick else 40
    figures: dict[str, float] = {}
    # A relative path in the options counts from where the benchmark was started.
    with tempfile.TemporaryDirectory(prefix="proxyflow-bench-") as temporary, contextlib.chdir(temporary):
        folder = Path(temporary)
        (folder / "train.py").write_text(PROGRAM)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        os.environ["PROXYFLOW_DATA_DIR"] = str(folder / "data")
        os.environ["PROXYFLOW_STATE_DIR"] = str(folder / "state")
        from proxyflow.cli.opening import open_context  # imports mlflow, as the next ones
        from proxyflow.data.catalog import DataOptions
        from proxyflow.studies.plan import PlannedTraining
        from proxyflow.studies.subsets import ensure_subset, load_planned_subset
        from proxyflow.studies.trainings import train

        context = open_context("bench", DataOptions())
        context.say = lambda text: None
        dataset = context.dataset("digits")
        reference = ensure_subset(context, dataset, Full(), 0, None)

        def tracked(trainer: Trainer) -> Callable[[float], object]:
            def run(rate: float) -> object:
                configuration = Space.around([], {"rate": rate}).configuration({"rate": rate})
                planned = PlannedTraining("digits", TrainingSpec(configuration, EPOCHS, 0, trainer))
                subset = load_planned_subset(context, planned, reference)
                return train(context, planned, subset, reference.run_id, claim=True)

            return run

        program = ProgramTrainer(f"{sys.executable} train.py {{rate}} {{epochs}}", folder=folder)
        ways = {
            "program": (
                lambda rate: subprocess.run([sys.executable, "train.py", str(rate), str(EPOCHS)], check=True),
                tracked(program),
            ),
            "function": (
                lambda rate: function(_BareJob(rate)),  # type: ignore[arg-type]
                tracked(FunctionTrainer("benchmarks.trainer:function", function=function)),
            ),
        }
        for name, (bare, own) in ways.items():
            more = measure(n, bare, own)
            figures[f"overhead_seconds_per_training_{name}"] = statistics.median(more)
            low, high = min(more), max(more)
            print(f"{name:<9} {n:>3} pairs: {statistics.median(more):6.3f} s more ({low:.3f} to {high:.3f})")
    write_json(options.json, {}, figures)


if __name__ == "__main__":
    main()
