"""What docs/how-to/mlflow-ui.md promises of search and of data sets works on a real store."""

from __future__ import annotations

import re
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from benchmarks.made_up_study import write_runs
from proxyflow.tracking.connection import connect
from proxyflow.tracking.runs.writer import RunWriter

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "mlflow-ui.md"
SEARCHES = re.findall(r"^```search\n(.+?)\n```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
STUDY = "searched"


@pytest.fixture(scope="module")
def experiment(store: str) -> str:
    """A study with runs of every kind, of which some have failed."""
    writer = RunWriter(connect(), STUDY)
    write_runs(store, writer.experiment_id, STUDY, 864)
    for kind in ("score", "report"):
        with writer.open(kind, f"a {kind}", ""):  # type: ignore[arg-type]
            pass
    with pytest.raises(ZeroDivisionError), writer.open("training", "a training", ""):
        raise ZeroDivisionError
    return writer.experiment_id


def test_the_page_has_searches() -> None:
    assert len(SEARCHES) == 8


@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_of_the_page_finds_some_and_not_all(search: str, experiment: str) -> None:
    found = MlflowClient().search_runs([experiment], search, max_results=1000)
    assert 0 < len(found) < 800


def test_a_subset_is_loaded_by_mlflow_s_own_call(store: str, tmp_path: Path) -> None:
    writer = RunWriter(connect(), "loaded")
    (tmp_path / "manifest.json").write_text("{}")
    with writer.open("subset", "a subset", "") as subset:
        subset.log_folder(tmp_path, "subset")
    with writer.open("training", "a training", "") as training:
        training.log_data("digits full", "f" * 64, "training", 10, 2, artifact=(subset.id, "subset"))
    dataset = mlflow.get_run(training.id).inputs.dataset_inputs[0]
    folder = Path(mlflow.data.get_source(dataset).load(str(tmp_path / "there")))
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]
