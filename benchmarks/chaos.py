"""Does a study survive anything? Its sweep is killed 20 times, its server 5 times; is the end that of a calm one?

A study of 60 tiny trainings (3 strategies x 10 configurations x 2 seeds) on a part of digits, tracked to a real MLflow
server over HTTP. The sweep gets SIGKILL at random moments, amid its start as well as amid its work, and the same
command starts it again; the server gets SIGKILL at random moments too and comes back some seconds later. In the end the
study is compared with one that nobody disturbed, on a fresh server: every metric of every epoch, and every measure of
the report that does not depend on time.

    python -m benchmarks.chaos [--quick] [--json PATH]
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.bench import parse_options, write_json
from benchmarks.server import Server

ROOT = Path(__file__).parent.parent
STUDY = "chaos"
EPOCHS = 2
STRATEGIES = ("full", "easiest:0.5", "random:0.5")
DEPENDS_ON_TIME = re.compile(r"seconds|per_second|memory|cost_usd|run_id|device")
Curves = dict[str, list[tuple[int, float]]]


@dataclass(frozen=True)
class Plan:
    """What is run, and how often what is killed."""

    configurations: int = 10
    seeds: int = 2
    kills: int = 20
    server_kills: int = 5

    @property
    def trainings(self) -> int:
        return len(STRATEGIES) * self.configurations * self.seeds


QUICK = Plan(configurations=2, seeds=1, kills=2, server_kills=1)


@dataclass(frozen=True)
class Found:
    """What the server holds of a study in the end.

    Attributes:
        accuracies: run key to what a training told of itself, time aside.
        curves: run key to the metrics of each epoch, time aside.
        doubled: trainings that are finished more than once.
        running: runs of any kind that are not ended.
        tables: the report's tables without what depends on time.
    """

    accuracies: dict[str, dict[str, float]]
    curves: dict[str, Curves]
    doubled: int
    running: int
    tables: dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Verdict:
    """The disturbed study beside the calm one, by the names that the JSON has."""

    planned: int
    finished: int
    lost: int
    doubled: int
    left_running: int
    missing_metrics: int
    different_metrics: int
    different_measures: int


def words_of(options: Mapping[str, object]) -> list[str]:
    """Options as a command takes them."""
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


class Commands:
    """Runs commands in a folder, tracked to `server`."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server = folder, server
        self.log = folder / "commands.log"

    def start(self, words: list[str]) -> subprocess.Popen[str]:
        variables = {
            "MLFLOW_TRACKING_URI": self.server.uri,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PROXYFLOW_STATE_DIR": str(self.folder / "state"),
            "PYTHONPATH": str(ROOT),
        }
        with self.log.open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"entrypoints.{words[0]}", *words[1:]],
                cwd=self.folder,
                env={**os.environ, **variables},
                stdout=log,
                stderr=log,
                text=True,
            )

    def finish(self, words: list[str]) -> None:
        self.wait(self.start(words))

    def wait(self, child: subprocess.Popen[str]) -> None:
        status = child.wait(timeout=600)
        if status:
            tail = self.log.read_text()[-3000:]
            raise SystemExit(f"{child.args} ended with {status}:\n{tail}")


class Study(Commands):
    """A study's command in a folder of its own."""

    def __init__(self, plan: Plan, folder: Path, server: Server) -> None:
        super().__init__(folder, server)
        rates = "".join(f"  - {{learning_rate: {0.002 * (i + 1):.3f}}}\n" for i in range(plan.configurations))
        (folder / "grid.yaml").write_text("base: {arch: xresnet18}\nconfigurations:\n" + rates)
        options = {
            "study": STUDY,
            "datasets": "digits@400",
            "strategies": ",".join(STRATEGIES),
            "grid": "grid.yaml",
            "epochs": str(EPOCHS),
            "image-size": "8",
            "batch-size": "64",
            "seeds": ",".join(map(str, range(plan.seeds))),
        }
        self.words = ["sweep", *words_of(options)]

    def found(self) -> Found:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(self.server.uri)
        experiment = client.get_experiment_by_name(STUDY)
        assert experiment is not None
        runs = list(client.search_runs([experiment.experiment_id], max_results=5000))
        of_key: dict[str, dict[str, float]] = {}
        curves: dict[str, Curves] = {}
        count: Counter[str] = Counter()
        for run in runs:
            tags = run.data.tags
            if tags.get("proxyflow.kind") != "training" or tags.get("proxyflow.status") != "finished":
                continue
            key = tags["proxyflow.run_key"]
            count[key] += 1
            exact = [name for name in run.data.metrics if not DEPENDS_ON_TIME.search(name)]
            of_key[key] = {name: run.data.metrics[name] for name in exact}
            history = {name: client.get_metric_history(run.info.run_id, name) for name in exact}
            curves[key] = {name: sorted((m.step, m.value) for m in values) for name, values in history.items()}
        report = ["report", "--study", STUDY, "--out", "report", "--cost-basis", "train_flops", "--bootstrap", "200"]
        self.finish(report)
        tables = {}
        for path in sorted((self.folder / "report").rglob("*.csv")):
            if path.name in ("strategies.csv", "best.csv"):
                table = pd.read_csv(path)
                tables[path.name] = table[[name for name in table if not DEPENDS_ON_TIME.search(str(name))]]
        running = sum(
            run.info.status == "RUNNING" or run.data.tags.get("proxyflow.status") == "running" for run in runs
        )
        return Found(of_key, curves, sum(n - 1 for n in count.values()), running, tables)


def disturb(study: Study, plan: Plan, rng: random.Random, say: bool) -> int:
    """Kills the sweep and the server as planned; gives how many kills met a sweep at work."""
    with_server = set(rng.sample(range(plan.kills), plan.server_kills))
    amid = 0
    for n in range(plan.kills):
        child = study.start(study.words)
        # Imports take seconds, on a busy machine more; a moment before the first call is drawn now and then.
        moments = [rng.uniform(4, 12), rng.uniform(4, 12)]
        if n in with_server:
            time.sleep(min(moments))
            study.server.kill()
            time.sleep(rng.uniform(0, 3))
            study.server.begin()
            study.server.wait()
        time.sleep(moments[1] if n not in with_server else rng.uniform(0, 3))
        amid += child.poll() is None
        child.kill()
        child.wait()
        if say:
            print(f"kill {n + 1} of {plan.kills}{' and the server' if n in with_server else ''}", file=sys.stderr)
    return amid


def compare(plan: Plan, chaos: Found, calm: Found) -> Verdict:
    missing = different = 0
    for key, wanted in calm.curves.items():
        curves = chaos.curves.get(key, {})
        for name, points in wanted.items():
            got = curves.get(name, [])
            missing += len({step for step, _ in points} - {step for step, _ in got})
            different += got != points
        different += chaos.accuracies.get(key) != calm.accuracies[key]
    # Each epoch must be there in the calm study too, or nothing would be missed.
    complete = all(
        [step for step, _ in curves["valid_accuracy"]] == list(range(1, EPOCHS + 1)) for curves in calm.curves.values()
    )
    if len(calm.curves) != plan.trainings or not complete:
        raise SystemExit(f"the calm study is not complete: {len(calm.curves)} of {plan.trainings} trainings")
    tables = sum(
        not calm.tables[name].equals(chaos.tables.get(name, pd.DataFrame())) for name in ("strategies.csv", "best.csv")
    )
    return Verdict(
        plan.trainings,
        len(chaos.curves),
        len(calm.curves.keys() - chaos.curves.keys()),
        chaos.doubled,
        chaos.running,
        missing,
        different,
        tables,
    )


def measure(plan: Plan, folder: Path, seed: int = 0, say: bool = False) -> tuple[Verdict, int]:
    """Runs the disturbed and the calm study; gives the verdict and how many kills met a sweep at work."""
    found, amid = [], 0
    for name in ("chaos", "calm"):
        (folder / name).mkdir()
        with Server(folder / name) as server:
            study = Study(plan, folder / name, server)
            if name == "chaos":
                amid = disturb(study, plan, random.Random(seed), say)
            study.finish(study.words)
            found.append(study.found())
    return compare(plan, *found), amid


def main() -> None:
    options = parse_options(__doc__)
    plan = QUICK if options.quick else Plan()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        verdict, amid = measure(plan, Path(folder), say=True)
    figures = {
        **vars(verdict),
        "kills": plan.kills,
        "kills_amid_work": amid,
        "server_kills": plan.server_kills,
        "seconds": time.perf_counter() - begun,
    }
    for name, value in figures.items():
        print(f"{name:<20} {value:>8.0f}")
    write_json(options.json, {}, figures)


if __name__ == "__main__":
    main()
