"""Functions of users: on the command line by their name, and from Python as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from entry_points import Entry
from mlflow.tracking import MlflowClient

import proxyflow as pf
from proxyflow.core.errors import InvalidValue, TrainingFailed

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture(autouse=True)
def support(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SUPPORT))


def sweep(entry: Entry, tmp_path: Path, trainer: str, *more: str) -> Any:
    (tmp_path / "grid.yaml").write_text("[{width: 0.1}, {width: 0.3}, {width: 0.6}, {width: 0.9}]")
    fixed = ("--trainer", trainer, "--datasets", "digits@100", "--grid", str(tmp_path / "grid.yaml"), "--epochs", "2")
    return entry("sweep", *fixed, "--study", tmp_path.name, "--metric", "valid_loss", *more)


def test_a_function_by_its_name_goes_through_sweep_and_report(entry: Entry, tmp_path: Path) -> None:
    done = sweep(entry, tmp_path, "python:user_functions:fit", "--strategies", "full,random:0.5,epochs:1")
    assert done.status == 0, done.err
    done = sweep(entry, tmp_path, "python:user_functions:fit", "--strategies", "full,random:0.5,epochs:1")
    assert "(0 now)" in done.out
    done = entry("report", "--study", tmp_path.name, "--out", str(tmp_path), "--bootstrap", "20")
    assert done.status == 0, done.err
    best = pd.read_csv(tmp_path / tmp_path.name / "best.csv").set_index("strategy")
    assert (best["best_config"] == "width=0.3").all()
    client = MlflowClient()
    experiment = client.get_experiment_by_name(tmp_path.name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`proxyflow.kind` = 'training'")
    assert {run.data.tags["proxyflow.trainer"] for run in runs} == {"python:user_functions:fit"}
    assert {run.data.tags["proxyflow.goal"] for run in runs} == {"minimize"}


@pytest.mark.parametrize(
    ("trainer", "more", "wrong"),
    [
        ("python:user_functions:fit_at_once", ("--strategies", "full,epochs:1"), "strategy"),
        ("python:user_functions:no_such", (), "trainer"),
        ("python:user_functions", (), "trainer"),
        ("python:no_such_module:fit", (), "trainer"),
        ("python:user_functions:takes_more", (), "trainer"),
        ("user_functions:fit", (), "trainer"),
    ],
)
def test_a_wrong_function_is_refused_before_any_run(
    entry: Entry, tmp_path: Path, trainer: str, more: tuple[str, ...], wrong: str
) -> None:
    done = sweep(entry, tmp_path, trainer, *(more or ("--strategies", "full")))
    assert done.status == 2, done.err
    assert f"{wrong}=" in done.err
    assert MlflowClient().get_experiment_by_name(tmp_path.name) is None


@pytest.mark.parametrize(
    ("function", "words"),
    [("broken", ("no such width", "user_functions.py")), ("other_metric", ("valid_loss", "metric=valid_los"))],
)
def test_a_function_that_fails_says_where(entry: Entry, tmp_path: Path, function: str, words: tuple[str, ...]) -> None:
    done = sweep(entry, tmp_path, f"python:user_functions:{function}", "--strategies", "full")
    assert done.status == 1
    assert all(word in done.err for word in words), done.err


def features(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    return rng.normal(size=(n, 4)) + labels[:, None], labels


def test_a_study_in_python(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data, labels = features(1200)
    seen: list[int] = []

    def train(job: Any) -> float:
        chosen, truth = job.train.of(data), job.train.of(labels)
        assert len(chosen) == len(job.train.indices)
        assert (np.array(job.class_names)[job.train.labels] == truth.astype(str)).all()
        assert not set(job.train.indices) & set(job.valid.indices)
        seen.append(len(chosen))
        centres = np.stack([chosen[truth == c].mean(axis=0) for c in range(3)])
        distances = ((job.valid.of(data)[:, None] - centres * job.config["scale"]) ** 2).sum(axis=2)
        return float((distances.argmin(axis=1) == job.valid.of(labels)).mean())

    def run() -> Any:
        return pf.study(
            train,
            labels=labels,
            grid={"scale": [0.0, 0.5, 1.0, 2.0]},
            strategies="full,random:0.1",
            name=tmp_path.name,
            out=tmp_path / "made",
            bootstrap=20,
        )

    frame, report = run()
    assert len(seen) == len(frame) == 8
    assert set(frame["strategy"]) == {"full", "random:0.1"}
    # Validation takes at most a third of each class.
    assert sorted(set(seen)) == [80, 801]
    full = frame[frame["strategy"] == "full"]
    assert list(full["objective"]) == sorted(full["objective"], reverse=True)
    assert set(full["config.scale"]) == {0.0, 0.5, 1.0, 2.0}
    assert report.page.is_file()
    assert list(report.table["strategy"]) == ["full", "random:0.1"]
    again, _ = run()
    assert len(seen) == 8, "finished trainings are found again"
    pd.testing.assert_frame_equal(again, frame)


def test_wrong_arguments_of_a_study(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    labels = ["a", "b"] * 300

    def train(job: Any) -> float:
        return 0.5

    wrong: list[tuple[str, dict[str, Any]]] = [
        ("labels", {}),
        ("labels", {"labels": labels, "dataset": "digits"}),
        ("grid", {"labels": labels, "grid": {}}),
        ("epochs", {"labels": labels, "epochs": 0}),
        ("metric", {"labels": labels, "metric": "quality"}),
        ("study", {"labels": labels, "name": " "}),
        ("strategy", {"labels": labels, "strategies": "randm:0.1"}),
    ]
    for name, arguments in wrong:
        with pytest.raises(InvalidValue) as caught:
            pf.study(train, **{"grid": [{"a": 1}], **arguments})
        assert caught.value.name == name
    with pytest.raises(InvalidValue):
        pf.study(lambda: 0.5, labels=labels, grid=[{"a": 1}])  # type: ignore[arg-type,misc]

    def broken(job: Any) -> float:
        raise ValueError("no such layer")

    with pytest.raises(TrainingFailed):
        pf.study(broken, labels=labels, grid=[{"a": 1}], name=f"{tmp_path.name} broken", strategies="full")


def test_a_function_is_told_what_a_proxy_reduces(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[tuple[int, int, dict[str, Any]]] = []

    def train(job: Any) -> float:
        told.append((len(job.train), job.epochs, dict(job.reduced)))
        return float(job.config["a"]) / 10

    train.fidelities = ("data", "epochs", "size")  # type: ignore[attr-defined]
    labels = np.arange(60) % 3
    grid = [{"a": value} for value in (1, 2, 3)]
    study = pf.study(train, labels=labels, grid=grid, strategies=["full", "size:16 + random:.5+epochs:2"], epochs=4)
    assert set(study.frame["strategy"]) == {"full", "random:0.5+epochs:2+size:16"}
    n = max(each[0] for each in told)
    assert {(each[0] == n, each[1], str(each[2])) for each in told} == {(True, 4, "{}"), (False, 2, "{'size': 16}")}
    with pytest.raises(InvalidValue, match="data, epochs, size"):
        pf.study(train, labels=labels, grid=grid, strategies=["full", "width:0.5"], epochs=4)


def test_a_sweep_whose_metric_is_never_reported_ends_after_a_few(entry: Entry, tmp_path: Path) -> None:
    done = sweep(entry, tmp_path, "python:user_functions:other_metric", "--strategies", "full,random:0.5")
    assert done.status == 1
    assert "metric=valid_los" in done.err
    client = MlflowClient()
    experiment = client.get_experiment_by_name(tmp_path.name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`proxyflow.kind` = 'training'")
    assert len(runs) == 3
