"""What does logging cost a training, and does everything arrive, where many log at once?

8 trainings of 20 epochs in 8 processes, to a tracking server with accounts, PostgreSQL and S3 set up as
docs/how-to/team-server.md says, everything on this one machine. A training's share is the time for which it waited in
any call that logs, from its run's creation to its end, and the processor time that sending took behind its back, over
its `train_seconds`. What each process logged is compared with what the server then has.

    python -m benchmarks.tracking [--quick] [--json PATH]
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import wraps
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from benchmarks.bench import parse_options, write_json
from benchmarks.team import Team

TRAININGS, EPOCHS = 8, 20
STUDY = "logging"
WAITS = ("log_metrics", "log_params", "log_data", "set_tags", "log_folder", "finish")


class Watch:
    """Adds up how long the main thread waits in calls, and what they were given."""

    def __init__(self) -> None:
        self.waited = 0.0
        self.sending = 0.0
        self.logged: list[tuple[str, str, float, int]] = []
        self._inside = False

    def waiting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._inside or threading.current_thread() is not threading.main_thread():
                return method(*args, **kwargs)
            self._inside, begun = True, time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self.waited += time.perf_counter() - begun
                self._inside = False

        return timed

    def behind(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.thread_time()
            try:
                return method(*args, **kwargs)
            finally:
                self.sending += time.thread_time() - begun

        return timed

    def noting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def noted(run: Any, metrics: dict[str, float | None], step: int = 0, **more: Any) -> Any:
            self.logged += [(run.id, key, float(value), step) for key, value in metrics.items() if value is not None]
            return method(run, metrics, step, **more)

        return noted


def train(number: int, environment: dict[str, str], together: Barrier, options: list[str], out: Path) -> None:
    """One training in a process of its own, watched."""
    os.environ |= environment
    sys.stderr = (out / f"{number}.err").open("w")
    from proxyflow.cli.train import train
    from proxyflow.tracking.runs import run
    from proxyflow.tracking.runs import writer as runs

    watch = Watch()
    for name in WAITS:
        setattr(run.Run, name, watch.waiting(getattr(run.Run, name)))
    run.Run.log_metrics = watch.noting(run.Run.log_metrics)  # type: ignore[method-assign]
    runs.RunWriter._create = watch.waiting(runs.RunWriter._create)  # type: ignore[method-assign]
    run.write_record = watch.behind(run.write_record)
    together.wait()
    train.main([*options, "--seed", str(number)], standalone_mode=False)
    result = {"waited": watch.waited, "sending": watch.sending, "logged": watch.logged}
    (out / f"{number}.json").write_text(json.dumps(result))


def main() -> None:
    options = parse_options(__doc__)
    epochs = 5 if options.quick else EPOCHS
    with Team(workers=4) as team, tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        environment = team.environment_of("ada") | {"OMP_NUM_THREADS": "1", "PROXYFLOW_STATE_DIR": str(out / "state")}
        os.environ |= environment
        chosen = ["--dataset", "digits", "--strategy", "full", "--study", STUDY]
        words = [*chosen, "--arch", "xresnet18", "--image-size", "8", "--epochs", str(epochs)]
        import mlflow

        mlflow.set_tracking_uri(team.uri)
        client = mlflow.MlflowClient(team.uri)
        client.create_experiment(STUDY)
        context = multiprocessing.get_context("spawn")
        together = context.Barrier(TRAININGS)
        children = [
            context.Process(target=train, args=(number, environment, together, words, out))
            for number in range(TRAININGS)
        ]
        begun = time.perf_counter()
        for child in children:
            child.start()
        for child in children:
            child.join()
        wall = time.perf_counter() - begun
        for number, child in enumerate(children):
            if child.exitcode:
                raise SystemExit(
                    f"training {number} ended with {child.exitcode}: {(out / f'{number}.err').read_text()}"
                )
        told = [json.loads((out / f"{number}.json").read_text()) for number in range(TRAININGS)]
        logged = [each for one in told for each in one["logged"]]
        histories = {
            (run_id, key): {each.step: each.value for each in client.get_metric_history(run_id, key)}
            for run_id, key in {(run_id, key) for run_id, key, _, _ in logged}
        }
        lost = sum(histories[run_id, key].get(step) != value for run_id, key, value, step in logged)
        # The subset, which one of them makes, logs as well.
        runs = [client.get_run(run_id) for run_id in {run_id for run_id, *_ in logged}]
        runs = [run for run in runs if run.data.tags["proxyflow.kind"] == "training"]
        trained = sum(run.data.metrics["train_seconds"] for run in runs)
        finished = sum(run.data.tags["proxyflow.status"] == "finished" for run in runs)
    waited, sending = sum(one["waited"] for one in told), sum(one["sending"] for one in told)
    print(f"{TRAININGS} trainings of {epochs} epochs at once, {wall:.0f} s in all")
    print(f"finished trainings                 {finished} of {TRAININGS}")
    print(f"metrics logged, lost               {len(logged)}, {lost}")
    print(f"training, seconds each             {trained / TRAININGS:.1f}")
    print(f"waiting in calls, seconds each     {waited / TRAININGS:.3f}")
    print(f"sending, processor seconds each    {sending / TRAININGS:.3f}")
    print(f"logging over training              {(waited + sending) / trained:.4f}")
    figures = {
        "trainings": TRAININGS,
        "epochs": epochs,
        "finished": finished,
        "metrics_logged": len(logged),
        "metrics_lost": lost,
        "train_seconds_each": trained / TRAININGS,
        "waiting_seconds_each": waited / TRAININGS,
        "sending_cpu_seconds_each": sending / TRAININGS,
    }
    write_json(options.json, {"logging_over_training": (waited + sending) / trained}, figures)


if __name__ == "__main__":
    main()
