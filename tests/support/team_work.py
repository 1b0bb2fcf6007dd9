"""What people of a team do from their machines: entry points with an account's variables set, and nothing else."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from proxyflow.cli.app import load_command
from proxyflow.cli.running import status_of

DATA = "digits@100"
SMALL = ("--image-size", "8", "--batch-size", "100")
GRID = "base: {arch: xresnet10-w16}\nconfigurations:\n  - {}\n  - {learning_rate: 0.01}\n  - {optimizer: sgd}\n"
# Of the machine and of the moment; all else has to be the same wherever it is tracked.
TIMES = ("seconds", "_memory_", "per_second")


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str


@dataclass
class Person:
    """Who works with these variables.

    Attributes:
        variables: what the person has set.
        printed: all that was shown to anybody.
    """

    variables: Mapping[str, str]
    printed: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[MlflowClient]:
        """Sets the variables for the block."""
        kept = dict(os.environ)
        uri = mlflow.get_tracking_uri()
        os.environ.update(self.variables)
        mlflow.set_tracking_uri(self.variables["MLFLOW_TRACKING_URI"])
        try:
            yield MlflowClient()
        finally:
            mlflow.set_tracking_uri(uri)
            os.environ.clear()
            os.environ.update(kept)

    def call(self, name: str, *arguments: str) -> Ended:
        """Calls an entry point in this process."""
        out, err = io.StringIO(), io.StringIO()
        with self.at_work(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = status_of(load_command(name), arguments)
        self.printed += [out.getvalue(), err.getvalue()]
        return Ended(status, out.getvalue(), err.getvalue())

    def does(self, name: str, *arguments: str) -> Ended:
        """Calls an entry point that has to succeed."""
        ended = self.call(name, *arguments)
        assert ended.status == 0, ended.err
        return ended


@dataclass(frozen=True)
class Trained:
    """A training, times left out."""

    curves: dict[str, list[tuple[int, float]]]
    metrics: dict[str, float]
    tags: dict[str, str]


def runs_of(client: MlflowClient, study: str, kind: str) -> list[Run]:
    """Newest first."""
    found = client.get_experiment_by_name(study)
    if found is None:
        return []
    return list(client.search_runs([found.experiment_id], f"tags.`proxyflow.kind` = '{kind}'", max_results=1000))


@dataclass(frozen=True)
class Study:
    """A study's numbers, as far as they may not depend on where it is tracked.

    Attributes:
        trained: by run key.
        tables: the report's, by file name.
    """

    trained: dict[str, Trained]
    tables: dict[str, pd.DataFrame]


def whole_study(person: Person, study: str, folder: Path) -> Study:
    """From scoring to report, each by its entry point; returns what came of it as the server has it."""
    grid = folder / "grid.yaml"
    grid.write_text(GRID)
    scoring = ("--arch", "xresnet10-w16", "--epochs", "2")
    person.does("score", "--dataset", DATA, "--study", study, *scoring, *SMALL)
    person.does("materialize", "--dataset", DATA, "--study", study, "--strategy", "easiest:0.5")
    swept = person.does(
        "sweep", "--datasets", DATA, "--study", study, "--grid", str(grid), "--epochs", "2", *SMALL,
        "--strategies", "full,easiest:0.5,random:0.5",
    )  # fmt: skip
    assert "9 finished (9 now)" in swept.out
    told = person.does(
        "report", "--study", study, "--out", str(folder), "--bootstrap", "50", "--cost-basis", "examples_seen"
    )
    assert "not logged" not in told.out
    with person.at_work() as client:
        trained = {
            run.data.tags["proxyflow.run_key"]: _trained(client, run) for run in runs_of(client, study, "training")
        }
    return Study(trained, {path.name: _table(path) for path in sorted((folder / study).glob("*.csv"))})


def _timeless(name: str) -> bool:
    return not any(part in name for part in TIMES)


def _trained(client: MlflowClient, run: Run) -> Trained:
    curves = {
        name: [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, name)]
        for name in ("train_loss", "valid_loss", "valid_accuracy")
    }
    wanted = ("strategy", "config", "seed", "subset_fingerprint", "dataset_fingerprint", "status", "diverged")
    return Trained(
        curves,
        {name: value for name, value in run.data.metrics.items() if _timeless(name)},
        {name: run.data.tags[f"proxyflow.{name}"] for name in wanted},
    )


def _table(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path)
    of_time = ("run_id", "start_time", "end_time", "device_shared")
    table = table[[name for name in table if _timeless(name) and name not in of_time]]
    if "note" in table:
        # What other work there was, and how long trainings took, differs from time to time.
        table = table[~table["note"].str.contains("shared their device|of the target's seconds")]
    return table.sort_values(list(table), ignore_index=True)
