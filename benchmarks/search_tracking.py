"""What does a search ask of the tracking server, and does it ask more the longer it is?

One search of 1,000 trainings that take no time, against a real MLflow server over HTTP with SQLite: requests and
seconds of each trial, from the beginning of its training to that of the next, around the 100th, the 300th and the
1,000th. Heartbeats, which go by time, are not counted. What a trial costs the server does not depend on what is
chosen, so the model of this search sees its first 20 trainings alone, or most of the time would go into it; what a
decision by all trainings takes is measured apart. Then the search is interrupted and begun again, which reads all of
its trainings. Figures are printed, and written, as soon as they are known; `--trials 300` ends after 300.

Beside it Optuna with MLflow's own storage, in an environment that uv makes: to 100 trials only, as its requests grow
with the square of the trials. For 300 and 1,000 the same growth is extrapolated, and said to be.

    python -m benchmarks.search_tracking [--quick] [--json PATH] [--trials N] [--peer no]
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import mlflow
import numpy as np

import proxyflow as pf
from benchmarks.bench import parse_options, write_json
from benchmarks.server import RequestsSent, Server
from proxyflow.searching.decisions import Decision, decide
from proxyflow.searching.knowledge import Knowledge
from proxyflow.searching.surrogate import Belief
from proxyflow.studies import search

ROOT = Path(__file__).parent.parent
TRIALS, PEER_TRIALS = (100, 300, 1000), 100
QUICK_TRIALS, QUICK_PEER_TRIALS = (20, 40), 20
AROUND = 50  # trials before each number of them that are averaged; a quarter of the first number at most
SEEN = 20  # trainings that the model sees
EPOCHS = 4


class Enough(BaseException):
    """Ends a search as Ctrl-C would; no failure of a training."""


@dataclass
class Timer:
    """Adds up the time in some functions, each second once."""

    seconds: float = 0.0
    _inside: bool = False

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        if self._inside:
            yield
            return
        self._inside, begun = True, time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - begun
            self._inside = False


@dataclass
class Watched:
    """A search that is watched.

    Attributes:
        trials: numbers of trials at which it is looked at; it ends after the last.
        reached: is told of each of them.
        marks: at the beginning of each training: requests so far, and seconds without those in the model.
        models: time in the model and in decisions.
        asked: what the last decision was made by.
    """

    trials: tuple[int, ...]
    reached: Callable[[int], None]
    marks: list[tuple[int, float]] = field(default_factory=list)
    models: Timer = field(default_factory=Timer)
    asked: tuple[Knowledge, Any, float] | None = None

    def run(self, folder: Path, most: int) -> None:
        """Searches until `most` trainings have begun in all."""
        timer, begun = self.models, time.perf_counter()

        class FewSeen(Knowledge):
            @cached_property
            def belief(self) -> Belief:
                with timer.running():
                    return Knowledge(self.plan, self.observations[:SEEN], self.pending).belief

        def timed(knowledge: Knowledge, cost: Any, left: float) -> Decision:
            self.asked = knowledge, cost, left
            with timer.running():
                return decide(knowledge, cost, left)

        def train(job: Any) -> None:
            self.marks.append((len(sent.paths), time.perf_counter() - begun - timer.seconds))
            if len(self.marks) - 1 in self.trials:
                with timer.running():
                    self.reached(len(self.marks) - 1)
            if len(self.marks) > most:
                raise Enough
            for epoch in range(1, job.epochs + 1):
                job.report(epoch=epoch, valid_accuracy=0.9 - (job.config["width"] - 0.3) ** 2 - 0.2 / epoch)

        fixed: dict[str, Any] = {"labels": ["cat", "dog"] * 300, "epochs": EPOCHS, "memory": "none", "name": "ours"}
        space = {"width": {"low": 0.05, "high": 0.95}, "rate": pf.log(1e-4, 1e-1)}
        with (
            contextlib.chdir(folder),
            RequestsSent() as sent,
            patch.object(search, "Knowledge", FewSeen),
            patch.object(search, "decide", timed),
            (folder / "search.log").open("a") as log,
            contextlib.redirect_stderr(log),
            contextlib.suppress(Enough),
        ):
            pf.search(train, space=space, budget=10 * self.trials[-1], tolerance=None, **fixed)

    def decision_seconds(self, n: int) -> float:
        """What one decision by the first `n` trainings takes, with its model."""
        assert self.asked is not None
        knowledge, cost, left = self.asked
        begun = time.perf_counter()
        decide(Knowledge(knowledge.plan, knowledge.observations[:n]), cost, left)
        return time.perf_counter() - begun


def per_trial(marks: list[tuple[int, float]], n: int, around: int) -> tuple[float, int, float]:
    """Requests of a trial around the `n`-th: their mean and their most, and the mean seconds."""
    part = np.array(marks[n - around : n + 1])
    each = np.diff(part, axis=0)
    return float(each[:, 0].mean()), int(each[:, 0].max()), float(each[:, 1].mean())


def ours(
    folder: Path, trials: tuple[int, ...], say: Callable[[str], None], write: Callable[[dict[str, float]], None]
) -> dict[str, float]:
    figures: dict[str, float] = {}
    around = min(AROUND, trials[0] // 4)
    with Server(folder) as server:
        os.environ |= {"MLFLOW_TRACKING_URI": server.uri, "PROXYFLOW_STATE_DIR": str(folder / "state")}
        mlflow.set_tracking_uri(server.uri)

        def reached(n: int) -> None:
            mean, most, seconds = per_trial(watched.marks, n, around)
            decision = watched.decision_seconds(n)
            say(
                f"search, trial {n:>5}: {mean:8.1f} requests, {most:>5} at most, {seconds:8.3f} s; "
                f"a decision by all trainings {decision:.2f} s"
            )
            figures.update(
                {
                    f"search_requests_per_trial_{n}": mean,
                    f"search_most_requests_of_a_trial_{n}": most,
                    f"search_seconds_per_trial_{n}": seconds,
                    f"decision_seconds_{n}": decision,
                }
            )
            write(figures)

        watched = Watched(trials, reached)
        watched.run(folder, trials[-1])
        again = Watched((trials[-1],), lambda n: None)
        again.run(folder, 0)
        requests, seconds = again.marks[0]
        say(f"search, begun again after {trials[-1]}: {requests} requests, {seconds:.1f} s until it trains")
        figures |= {"search_requests_to_resume": requests, "search_seconds_to_resume": seconds}
    return figures


def peer(folder: Path, trials: tuple[int, ...], most: int, say: Callable[[str], None]) -> dict[str, float]:
    """Optuna with MLflow's storage."""
    uv = shutil.which("uv")
    if uv is None:
        raise SystemExit("uv makes the environment of Optuna, and is not on the PATH: install uv, or --peer no")
    packages = [f"--with=mlflow=={version('mlflow')}", "--with=optuna==5.0.*"]
    command = [uv, "run", "--quiet", "--no-project", "--python", "3.11", *packages, "python"]
    with Server(folder) as server:
        asked = [*command, "-m", "benchmarks.peers.mlflow_storage", server.uri, str(most)]
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}
        done = subprocess.run(asked, env=variables, cwd=folder, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"Optuna ended with exit status {done.returncode}: its messages are above")
    marks = [(int(requests), float(seconds)) for requests, seconds in json.loads(done.stdout.splitlines()[-1])]
    figures: dict[str, float] = {}
    # A trial's requests grow linearly, by what the last half of the trials says.
    numbers, each = np.arange(1, most + 1), np.diff([requests for requests, _ in marks])
    slope, intercept = np.polyfit(numbers[most // 2 :], each[most // 2 :], 1)
    for n in sorted({*trials, most // 4, most // 2, most}):
        if n <= most:
            mean, largest, seconds = per_trial(marks, n, min(AROUND, most // 10))
            say(f"optuna, trial {n:>5}: {mean:8.1f} requests, {largest:>5} at most, {seconds:8.3f} s")
            figures |= {f"optuna_requests_per_trial_{n}": mean, f"optuna_seconds_per_trial_{n}": seconds}
        else:
            say(f"optuna, trial {n:>5}: {slope * n + intercept:8.1f} requests (extrapolated, not run)")
            figures[f"optuna_requests_per_trial_{n}_extrapolated"] = float(slope * n + intercept)
    return figures | {"optuna_requests_in_all": marks[-1][0], "optuna_trials": most}


def main() -> None:
    options = parse_options(__doc__, peer="no: Optuna is left out", trials="the last trial of the search; 1000")
    trials: tuple[int, ...] = QUICK_TRIALS if options.quick else TRIALS
    if options.trials and not (options.trials.isdecimal() and int(options.trials) >= QUICK_TRIALS[0]):
        print(f"--trials is {options.trials!r}: give a number of trials, {QUICK_TRIALS[0]} at least", file=sys.stderr)
        raise SystemExit(2)
    last = int(options.trials or trials[-1])
    trials = (*(n for n in trials if n < last), last)
    say = partial(print, flush=True)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary) / name for name in ("ours", "optuna")]
        for folder in folders:
            folder.mkdir()
        figures = ours(folders[0], trials, say, lambda known: write_json(options.json, {}, known))
        write_json(options.json, {}, figures)  # the rest takes long, and may not be had
        if options.peer != "no":
            figures |= peer(folders[1], trials, QUICK_PEER_TRIALS if options.quick else PEER_TRIALS, say)
    write_json(options.json, {}, figures | {"seconds": time.perf_counter() - begun})


if __name__ == "__main__":
    main()
