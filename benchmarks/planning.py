"""How long does a sweep of the published size take to find that nothing is left to do?

1,728 trainings (2 data sets x 24 strategies x 36 configurations), finished, on a real MLflow server (4 workers, as
MLflow starts it) over HTTP with SQLite. Scores, synthetic images and subsets are made by the real code; the trainings'
runs are written with real keys, tags, params and metrics, without training. What is timed is the `sweep` command in a
process that has imported what it needs: planning, finding scores, images, subsets and finished trainings, and the run
of the study itself.

Memory is that of the whole process; what it had after the imports is quoted beside.

    python -m benchmarks.planning [--quick] [--json PATH]
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.bench import parse_options, write_json
from benchmarks.server import Server

ROOT = Path(__file__).parent.parent
STUDY = "planning"
DATASETS = ("digits@400", "digits@600")
STRATEGIES = "paper"
QUICK_STRATEGIES = "full,random:0.5"
ROUNDS = 5
WORKERS = 4  # as MLflow starts it


def words(quick: bool) -> list[str]:
    options = {
        "study": STUDY,
        "datasets": DATASETS[0] if quick else ",".join(DATASETS),
        "strategies": QUICK_STRATEGIES if quick else STRATEGIES,
        "grid": "paper",
        "epochs": "20",
        "image-size": "8",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def fill(quick: bool) -> int:
    """Makes scores and subsets, and writes the trainings as finished; gives how many there are."""
    from mlflow.entities import Metric, Param

    from proxyflow.cli.opening import open_context
    from proxyflow.data.catalog import DataOptions
    from proxyflow.studies.dependencies import Dependencies, subset_id, subsets_of
    from proxyflow.studies.plan import StudySpec, plan_trainings
    from proxyflow.studies.presets import load_strategies
    from proxyflow.studies.tasks import Task
    from proxyflow.tracking import names
    from proxyflow.trainers import ImageTrainer
    from proxyflow.trainers.images.grids import paper_grid

    spec = StudySpec(
        datasets=DATASETS[:1] if quick else DATASETS,
        strategies=load_strategies(QUICK_STRATEGIES if quick else STRATEGIES),
        grid=paper_grid(),
        trainer=ImageTrainer(image_size=8),
        epochs=20,
        seeds=(0,),
    )
    context = open_context(STUDY, DataOptions())
    planned = list(plan_trainings(spec))
    with context.writer.open("study", "filled", "Made by a benchmark.", main=True) as run:
        dependencies = Dependencies.of(context, spec)
        made = {key: dependencies.ensure(each, run.id) for key, each in subsets_of(planned).items()}
        tasks = [dependencies.task(each, made[subset_id(each)]) for each in planned]

    def write(task: Task) -> None:
        training, of_training = task.planned, task.planned.spec
        configuration, metric = of_training.configuration, of_training.trainer.metric
        tags = {
            names.KIND: "training",
            names.VERSION: names.SCHEMA_VERSION,
            names.STATUS: "finished",
            names.STUDY: STUDY,
            names.DATASET: training.dataset,
            names.DATASET_FINGERPRINT: context.dataset(training.dataset).fingerprint,
            names.STRATEGY: training.strategy.canonical,
            names.CONFIG: configuration.name,
            names.CONFIG_GROUP: configuration.group,
            names.CONFIG_JSON: configuration.to_json(),
            names.TRAINER: of_training.trainer.name,
            names.METRIC: metric.name,
            names.GOAL: metric.goal,
            names.METRIC_JSON: metric.to_json(),
            names.SEED: str(of_training.seed),
            names.EPOCHS: str(of_training.epochs),
            names.SUBSET_FINGERPRINT: task.subset.fingerprint,
            names.SUBSET_RUN: task.subset.run_id,
            names.RUN_KEY: task.key,
            names.OWNER: "benchmark 1 1.0",
            names.DESCRIPTION: "A training that was written, not done: it stands for one of a finished study.",
        }
        run_id = context.client.create_run(context.writer.experiment_id, tags=tags, run_name=training.title).info.run_id
        values = {**configuration, **of_training.trainer.settings, "epochs": of_training.epochs}
        metrics = [Metric(name, 0.5, 0, 0) for name in (names.OBJECTIVE, *names.RUN_METRICS, *names.EPOCH_METRICS)]
        params = [Param(name, str(value)) for name, value in values.items()]
        context.client.log_batch(run_id, metrics=metrics, params=params)
        context.client.set_terminated(run_id)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, tasks))
    return len(tasks)


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def plan(quick: bool) -> tuple[float, float, float]:
    """The command once, in this process; gives its seconds, and peak MB before and after."""
    import proxyflow.studies.study
    import proxyflow.tracking.runs  # noqa: F401
    from proxyflow.cli.app import load_command
    from proxyflow.cli.running import status_of

    before = megabytes()
    begun = time.perf_counter()
    status = status_of(load_command("sweep"), words(quick))
    seconds = time.perf_counter() - begun
    if status:
        raise SystemExit(status)
    return seconds, before, megabytes()


def child(what: str, quick: bool, server: Server, folder: Path) -> tuple[str, float]:
    variables = {
        "MLFLOW_TRACKING_URI": server.uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PROXYFLOW_STATE_DIR": str(folder / "state"),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "benchmarks.planning", "--child", what, *(["--quick"] if quick else [])]
    begun = time.perf_counter()
    ended = subprocess.run(command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True)
    seconds = time.perf_counter() - begun
    if ended.returncode:
        raise SystemExit(f"{what} ended with {ended.returncode}:\n{ended.stdout[-2000:]}\n{ended.stderr[-2000:]}")
    return ended.stdout.strip().splitlines()[-1], seconds


def main() -> None:
    options = parse_options(__doc__, child="")
    if options.child == "fill":
        print(fill(options.quick))
        return
    if options.child == "plan":
        print(*plan(options.quick))
        return
    with tempfile.TemporaryDirectory() as name, Server(Path(name), workers=WORKERS) as server:
        runs = int(child("fill", options.quick, server, Path(name))[0])
        print(f"{runs} trainings are written", file=sys.stderr)
        measured = [child("plan", options.quick, server, Path(name)) for _ in range(3 if options.quick else ROUNDS)]
    told = [[float(word) for word in line.split()] for line, _ in measured]
    seconds = [each[0] for each in told]
    figures = {
        "runs": runs,
        f"seconds_{runs}_runs": statistics.median(seconds),
        "lowest_seconds": min(seconds),
        "highest_seconds": max(seconds),
        "whole_command_seconds": statistics.median(wall for _, wall in measured),
        "peak_memory_mb": max(each[2] for each in told),
        "imports_memory_mb": max(each[1] for each in told),
        "added_memory_mb": max(each[2] - each[1] for each in told),
    }
    for key, value in figures.items():
        print(f"{key:<24} {value:>9.2f}")
    write_json(options.json, {}, figures)


if __name__ == "__main__":
    main()
