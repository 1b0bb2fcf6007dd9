"""Does a search survive anything? Its processes are killed 20 times, its server 5 times; is the end that of a calm one?

A search of 60 cheap trainings (10 configurations, 2 seeds on a quarter of the epochs and 4 on the full data) by two
processes that share it, tracked to a real MLflow server over HTTP. Processes get SIGKILL at random moments, amid their
start as well as amid their work, and the same command starts them again; the server gets SIGKILL too and comes back
some seconds later. What two processes decide depends on who is first, so the budget pays for every training that the
search may ask for: however they share it, every configuration gets its full trainings, and the end must be the same. A
cheap training that its configuration's full ones have made needless is left out, by one order of decisions more often
than by another. The search is compared with one by one process that nobody disturbed, on a fresh server.

    python -m benchmarks.search_chaos [--quick] [--json PATH]
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.bench import parse_options, write_json
from benchmarks.chaos import Commands, words_of
from benchmarks.server import Server

STUDY = "chaos"
WORKERS = 2
NO_SERVER = 2  # exit status of a command that finds none when it starts
EPOCHS, CHEAP_SEEDS = 4, 2
START_SECONDS = 600.0  # until a process begins a training, on a machine that does much else
# Trainings begin only while there are fewer than the file `allowed` says, so that work is left for every kill, however
# fast the machine is.
FUNCTION = """
import os, time
from pathlib import Path

def train(job):
    with open("begun", "a") as file:
        file.write(f"{os.getpid()}\\n")
    allowed = Path("allowed")
    while allowed.exists() and len(Path("ended").read_text().splitlines()) >= int(allowed.read_text() or 0):
        time.sleep(0.05)
    for epoch in range(1, job.epochs + 1):
        time.sleep(0.1)
        off = job.config["width"] - 0.3
        job.report(epoch=epoch, valid_accuracy=0.9 - off**2 - 0.2 / epoch - 0.001 * job.seed)
    with open("ended", "a") as file:
        file.write(f"{os.getpid()}\\n")
"""


@dataclass(frozen=True)
class Plan:
    """What is run, and how often what is killed."""

    configurations: int = 10
    confirm: int = 4
    kills: int = 20
    server_kills: int = 5

    @property
    def trainings(self) -> int:
        """All that the search may ask for."""
        return self.full_trainings + self.configurations * CHEAP_SEEDS

    @property
    def full_trainings(self) -> int:
        """What every search finishes, in whatever order it decides."""
        return self.configurations * self.confirm


QUICK = Plan(configurations=4, confirm=2, kills=3, server_kills=1)


@dataclass(frozen=True)
class Found:
    """What the server holds of a search in the end.

    Attributes:
        values: run key to the value of a finished training.
        full: run keys of the finished trainings on the full data.
        doubled: trainings that are finished more than once.
        running: runs of any kind that are not ended.
        unfinished: runs of trainings that ended without a result.
        listed: trainings in the table of the last process.
        best: the best configuration, as the last process found it.
    """

    values: dict[str, float]
    full: frozenset[str]
    doubled: int
    running: int
    unfinished: int
    listed: int
    best: str


@dataclass(frozen=True)
class Verdict:
    """The disturbed search beside the calm one, by the names that the JSON has.

    Attributes:
        planned: trainings on the full data.
        finished: those that the disturbed search finished.
        lost: those that the calm search has and the disturbed one lacks.
        different_values: trainings that both finished, at any cost, with another value.
        not_listed: finished trainings that the last process's table lacks.
    """

    planned: int
    finished: int
    lost: int
    doubled: int
    left_running: int
    different_values: int
    not_listed: int
    different_best: int


class Search(Commands):
    """A search's command in a folder of its own."""

    def __init__(self, plan: Plan, folder: Path, server: Server) -> None:
        super().__init__(folder, server)
        (folder / "cheap.py").write_text(FUNCTION)
        widths = [round(0.05 + 0.9 * place / (plan.configurations - 1), 3) for place in range(plan.configurations)]
        (folder / "space.yaml").write_text(f"width: {widths}\n")
        for name in ("begun", "ended"):
            (folder / name).touch()
        options = {
            "study": STUDY,
            "trainer": "python:cheap:train",
            "metric": "valid_accuracy",
            "dataset": "digits@100",
            "space": "space.yaml",
            "ladder": "epochs:1,full",
            "epochs": EPOCHS,
            "confirm": plan.confirm,
            "budget": 2 * plan.trainings,
            "tolerance": "none",
            "memory": "none",
        }
        self.words = ["search", *words_of(options)]

    def allow(self, trainings: int) -> None:
        (self.folder / "allowed").write_text(str(trainings))

    def begun(self) -> set[int]:
        """Processes that have begun a training."""
        return set(map(int, (self.folder / "begun").read_text().split()))

    def found(self) -> Found:
        from mlflow.artifacts import download_artifacts
        from mlflow.tracking import MlflowClient

        client = MlflowClient(self.server.uri)
        experiment = client.get_experiment_by_name(STUDY)
        assert experiment is not None
        runs = list(client.search_runs([experiment.experiment_id], max_results=5000))
        trained = [run for run in runs if run.data.tags.get("proxyflow.kind") == "training"]
        finished = [run for run in trained if run.data.tags["proxyflow.status"] == "finished"]
        count = Counter(run.data.tags["proxyflow.run_key"] for run in finished)
        running = sum(
            run.info.status == "RUNNING" or run.data.tags.get("proxyflow.status") == "running" for run in runs
        )
        last = next(run for run in runs if run.data.tags.get("proxyflow.kind") == "search")
        outcome = Path(
            download_artifacts(run_id=last.info.run_id, artifact_path="search", tracking_uri=self.server.uri)
        )
        best = [line for line in (outcome / "best.yaml").read_text().splitlines() if not line.startswith("#")]
        return Found(
            values={run.data.tags["proxyflow.run_key"]: run.data.metrics["objective"] for run in finished},
            full=frozenset(
                run.data.tags["proxyflow.run_key"] for run in finished if run.data.tags["proxyflow.strategy"] == "full"
            ),
            doubled=sum(n - 1 for n in count.values()),
            running=running,
            unfinished=len(trained) - len(finished),
            listed=len(pd.read_csv(outcome / "trials.csv")),
            best="\n".join(best),
        )


def disturb(search: Search, plan: Plan, rng: random.Random, say: bool) -> int:
    """Kills processes and the server as planned, and lets them end; gives how many kills met a process at work."""
    with_server = set(rng.sample(range(plan.kills), plan.server_kills))
    amid = 0
    search.allow(0)
    children = [search.start(search.words) for _ in range(WORKERS)]
    for n in range(plan.kills):
        amid_start = rng.random() < 0.25
        if not amid_start:
            _wait_until_all_train(search, children)
        search.allow((n + 1) * plan.full_trainings // (plan.kills + 1))
        if n in with_server:
            time.sleep(rng.uniform(0, 2))
            search.server.kill()
            time.sleep(rng.uniform(0, 3))
            search.server.begin()
            search.server.wait()
        time.sleep(rng.uniform(0, 4))
        victim = rng.randrange(WORKERS)
        amid += children[victim].poll() is None
        children[victim].kill()
        children[victim].wait()
        children[victim] = search.start(search.words)
        if say:
            print(f"kill {n + 1} of {plan.kills}{' and the server' if n in with_server else ''}", file=sys.stderr)
    _restart_refused(search, children)
    search.allow(10 * plan.trainings)
    for child in children:
        search.wait(child)
    return amid


def _wait_until_all_train(search: Search, children: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not {child.pid for child in children} <= search.begun():
        _restart_refused(search, children)
        if time.monotonic() > deadline:
            raise SystemExit(f"a search began no training:\n{search.log.read_text()[-3000:]}")
        time.sleep(0.1)


def _restart_refused(search: Search, children: list[subprocess.Popen[str]]) -> None:
    """Starts again what began while there was no server, and said so; nothing else may have ended."""
    for place, child in enumerate(children):
        if child.poll() == NO_SERVER:
            children[place] = search.start(search.words)
        elif child.returncode is not None:
            raise SystemExit(f"a search ended with {child.returncode}:\n{search.log.read_text()[-3000:]}")


def compare(plan: Plan, chaos: Found, calm: Found) -> Verdict:
    if len(calm.full) != plan.full_trainings:
        raise SystemExit(f"the calm search is not complete: {len(calm.full)} of {plan.full_trainings} full trainings")
    common = calm.values.keys() & chaos.values.keys()
    return Verdict(
        planned=plan.full_trainings,
        finished=len(chaos.full),
        lost=len(calm.full - chaos.full),
        doubled=chaos.doubled,
        left_running=chaos.running,
        different_values=sum(chaos.values[key] != calm.values[key] for key in common),
        not_listed=len(chaos.values) - chaos.listed,
        different_best=int(chaos.best != calm.best),
    )


def measure(plan: Plan, folder: Path, seed: int = 0, say: bool = False) -> tuple[Verdict, int, int]:
    """Runs the disturbed and the calm search.

    Returns:
        The verdict, how many kills met a process at work, and how many trainings were interrupted.
    """
    found, amid = [], 0
    for name in ("chaos", "calm"):
        (folder / name).mkdir()
        with Server(folder / name) as server:
            search = Search(plan, folder / name, server)
            if name == "chaos":
                amid = disturb(search, plan, random.Random(seed), say)
            # After a chaos nothing is left to train: a fresh process says what the server knows.
            search.finish(search.words)
            found.append(search.found())
    return compare(plan, *found), amid, found[0].unfinished


def main() -> None:
    options = parse_options(__doc__)
    plan = QUICK if options.quick else Plan()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        verdict, amid, interrupted = measure(plan, Path(folder), say=True)
    figures = {
        **vars(verdict),
        "interrupted_trainings": interrupted,
        "kills": plan.kills,
        "kills_amid_work": amid,
        "server_kills": plan.server_kills,
        "seconds": time.perf_counter() - begun,
    }
    for name, value in figures.items():
        print(f"{name:<22} {value:>8.0f}")
    write_json(options.json, {}, figures)


if __name__ == "__main__":
    main()
