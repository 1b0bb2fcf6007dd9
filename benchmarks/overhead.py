"""What does a run cost besides its training?

20 trainings of 2 epochs on `easiest:0.1` of digits, as one sweep and as separate `mlflow run` calls: the wall time of
the whole commands, imports and all, minus the `train_seconds` that the runs report. Scores and subset, which both need,
are made beforehand; the store is SQLite. A sweep that has nothing left to do shows what a process costs at all.

    python -m benchmarks.overhead [--quick] [--json PATH]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.bench import parse_options, write_json

ROOT = Path(__file__).parent.parent
EPOCHS, STRATEGY = 2, "easiest:0.1"
SWEPT, SEPARATE = "swept", "separate"


def command(folder: Path, words: list[str]) -> float:
    """Runs a command with its store in `folder`; gives its wall time in seconds."""
    variables = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    begun = time.perf_counter()
    ended = subprocess.run(words, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True)
    seconds = time.perf_counter() - begun
    if ended.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}")
    return seconds


def rates(n: int) -> list[str]:
    """Learning rates, one per configuration."""
    return [f"{0.001 + 0.0005 * i:.4f}" for i in range(n)]


def sweep(folder: Path, learning_rates: list[str]) -> float:
    configurations = "".join(f"  - {{learning_rate: {rate}}}\n" for rate in learning_rates)
    (folder / "grid.yaml").write_text("base: {arch: xresnet18}\nconfigurations:\n" + configurations)
    options = {
        "study": SWEPT,
        "datasets": "digits",
        "strategies": STRATEGY,
        "grid": "grid.yaml",
        "epochs": str(EPOCHS),
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return command(folder, [sys.executable, "-m", "entrypoints.sweep", *words])


def mlflow_run(folder: Path, learning_rate: str) -> float:
    options = {
        "dataset": "digits",
        "strategy": STRATEGY,
        "epochs": str(EPOCHS),
        "arch": "xresnet18",
        "learning_rate": learning_rate,
        "study": SEPARATE,
    }
    words = [word for name, value in options.items() for word in ("-P", f"{name}={value}")]
    mlflow = [shutil.which("mlflow", path=str(Path(sys.executable).parent)) or "mlflow", "run", str(ROOT)]
    return command(folder, [*mlflow, "-e", "train", "--env-manager", "local", "--experiment-name", SEPARATE, *words])


def trained(folder: Path, study: str) -> tuple[int, float]:
    """How many trainings of a study have finished, and their `train_seconds` in all."""
    from mlflow.tracking import MlflowClient

    from proxyflow.tracking.connection import experiment_ids
    from proxyflow.tracking.queries.reader import trainings

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    frame = trainings(client, experiment_ids(client, study))
    done = frame[frame["status"] == "finished"]
    return len(done), float(done["train_seconds"].sum())


def report(way: str, wall: float, n: int, seconds: float) -> float:
    """Prints what was measured, and gives the overhead per run."""
    overhead = (wall - seconds) / n
    print(f"{way:<11} {n:>3} trainings: {wall:7.1f} s in all, {seconds:6.1f} s trained, {overhead:6.2f} s more per run")
    return overhead


def main() -> None:
    options = parse_options(__doc__)
    swept, separate = (4, 1) if options.quick else (20, 20)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="proxyflow-bench-") as temporary_folder:
        folder = Path(temporary_folder)
        sweep(folder, ["0.5"])  # makes scores and subset
        _, before = trained(folder, SWEPT)
        wall = sweep(folder, rates(swept))
        finished, seconds = trained(folder, SWEPT)
        assert finished == swept + 1, f"{finished - 1} of {swept} trainings finished"
        figures["overhead_seconds_per_run"] = report("sweep", wall, swept, seconds - before)
        figures["start_seconds"] = sweep(folder, rates(swept))
        figures["overhead_seconds_per_run_without_start"] = (wall - figures["start_seconds"] - seconds + before) / swept
        print(f"of which the process took {figures['start_seconds']:.1f} s once, without a training")
        write_json(options.json, {}, figures)  # the rest takes longer, and is not what the goal is about
        wall = sum(mlflow_run(folder, rate) for rate in rates(separate))
        finished, seconds = trained(folder, SEPARATE)
        assert finished == separate, f"{finished} of {separate} trainings finished"
        figures["overhead_seconds_per_run_mlflow_run"] = report("mlflow run", wall, separate, seconds)
    write_json(options.json, {}, figures)


if __name__ == "__main__":
    main()
