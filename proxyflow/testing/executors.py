"""What every executor promises: it says what it can do, and trains each task once with the results of any other."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from proxyflow.core.errors import InvalidValue
from proxyflow.studies.executors import Resources, executors
from proxyflow.testing.checks import Check, Contract

# The smallest study that trains on the target and on a proxy.
STUDY = ("--datasets", "digits@100", "--strategies", "full,random:0.5", "--epochs", "1", "--image-size", "8")
GRID = "base: {arch: xresnet18}\nconfigurations: [{}, {optimizer: sgd}]\n"
TRAININGS = 4

contract = Contract[str]()


def executor_checks(name: str) -> tuple[Check, ...]:
    """Checks of a registered executor; the last one runs two small studies in processes of their own."""
    return contract.checks(name)


@contract.promise
def it_says_in_a_line_what_it_is(name: str) -> None:
    text = executors[name].description
    assert text.strip(), f"the executor {name} has no description"
    assert "\n" not in text, f"the description of the executor {name} has several lines"


@contract.promise
def the_defaults_are_always_possible(name: str) -> None:
    executors[name].check(Resources())


@contract.promise
def what_it_has_no_room_for_is_refused_before_anything_is_begun(name: str) -> None:
    asked, refused = 100_000, ""
    try:
        jobs = executors[name].jobs(Resources(jobs=asked))
    except InvalidValue as error:
        jobs, refused = 0, error.name
    assert refused in ("", "jobs"), f"that there is no room for {asked:,} jobs is said of {refused}"
    assert jobs <= asked, f"it finds room for {jobs} trainings, where at most {asked:,} are asked for"


@contract.promise
def it_trains_each_task_once_with_the_results_of_one_process(name: str) -> None:
    made, expected = _results(name), _results("local")
    assert sorted(made) == sorted(expected), f"it made trainings with the keys {sorted(made)}, not {sorted(expected)}"
    assert made == expected, f"its results are {made}, and those of executor=local {expected}"


@cache
def _results(name: str) -> dict[str, float]:
    """Run key to result of the trainings of a small study, made in a store of its own."""
    from proxyflow.tracking.databases import open_database  # imports mlflow, as the next one
    from proxyflow.tracking.queries.reader import search

    with tempfile.TemporaryDirectory(prefix="proxyflow-") as folder:
        uri = f"sqlite:///{Path(folder).as_posix()}/mlflow.db"
        (Path(folder) / "grid.yaml").write_text(GRID, encoding="utf-8")
        variables = {"MLFLOW_TRACKING_URI": uri, "PROXYFLOW_STATE_DIR": str(Path(folder) / "state")}
        ended = subprocess.run(
            [sys.executable, "-m", "proxyflow", "sweep", *STUDY, "--grid", "grid.yaml", "--executor", name],
            cwd=folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, (
            f"a small study with executor={name} ends with {ended.returncode}:\n{ended.stderr}"
        )
        runs = [run for run in search(open_database(uri, uri, 5), KIND="training") if run.finished]
    assert len(runs) == TRAININGS, f"executor={name} finished {len(runs)} trainings of {TRAININGS}:\n{ended.stderr}"
    return {run.tags["proxyflow.run_key"]: run.metrics["objective"] for run in runs}
