"""Curves are those that were logged, however they are asked for; ended ones are asked for once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import requests
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray

from proxyflow.tracking import rest
from proxyflow.tracking.connection import connect, server_address
from proxyflow.tracking.delivery.retrying import with_retries
from proxyflow.tracking.queries import histories
from proxyflow.tracking.queries.curve_cache import SCHEMA, load, path_of, save
from proxyflow.tracking.queries.curves import COLUMNS, training_curves
from proxyflow.tracking.queries.histories import METRICS, columns_of

# Under what trainings log what is read.
LOGGED = ("valid_accuracy", *METRICS[1:])
A, B, C = ("a" * 32, "b" * 32, "c" * 32)


class Told:
    """Stands for a client whose runs have known curves; counts the runs that it is asked for."""

    tracking_uri = "file:///nowhere"

    def __init__(self, **lengths: int) -> None:
        self.curves = {
            run_id: {metric: list(np.linspace(0.1, 0.9, length) / (place + 1)) for place, metric in enumerate(LOGGED)}
            for run_id, length in lengths.items()
        }
        self.requests: list[tuple[str, str]] = []

    @property
    def asked(self) -> list[str]:
        """The runs that every metric was asked of, one by one."""
        for metric in LOGGED:
            runs = [run_id for run_id, each in self.requests if each == metric]
            assert sorted(runs) == sorted(run_id for run_id, each in self.requests if each == LOGGED[0])
        return runs

    def get_metric_history(self, run_id: str, metric: str) -> list[SimpleNamespace]:
        self.requests.append((run_id, metric))
        values = self.curves[run_id][metric]
        return [SimpleNamespace(step=step, value=value) for step, value in enumerate(values, start=1)]

    def expected(self, *run_ids: str) -> pd.DataFrame:
        rows = [
            (run_id, step, *values)
            for run_id in sorted(run_ids)
            for step, values in enumerate(zip(*self.curves[run_id].values(), strict=True), start=1)
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


class Served(Told):
    """The same over HTTP, where the server knows, or does not know, the request for many runs."""

    tracking_uri = "http://nowhere"

    def __init__(self, **lengths: int) -> None:
        super().__init__(**lengths)
        self.in_bulk: list[tuple[str, int]] = []

    def answer(self, client: Any, method: str, path: str, params: dict[str, Any]) -> requests.Response:
        assert (client, method) == (self, "GET")
        assert len(params["run_id"]) <= 100
        metric = params["metric_key"]
        self.in_bulk.append((metric, len(params["run_id"])))
        values = [
            {"run_id": run_id, "key": metric, "step": step, "timestamp": 0, "value": value}
            for run_id in sorted(params["run_id"])
            for step, value in enumerate(self.curves[run_id][metric], start=1)
        ]
        return response(200, json.dumps({"metrics": values[: params["max_results"]]}))


def response(status: int, body: str) -> requests.Response:
    answer = requests.Response()
    answer.status_code, answer._content = status, body.encode()
    return answer


def frame(*ends: tuple[str, int | None]) -> pd.DataFrame:
    found = pd.DataFrame(ends, columns=["run_id", "end_time"]).astype({"run_id": "str", "end_time": "Int64"})
    return found.assign(metric="valid_accuracy", share=True)


def ask(client: Told, *ends: tuple[str, int | None], study: str = "study") -> pd.DataFrame:
    return training_curves(cast(MlflowClient, client), frame(*ends), study)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PROXYFLOW_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "curves"


@pytest.mark.parametrize("way", ["one query for many runs", "run by run"])
def test_curves_of_a_database_are_those_that_were_logged(way: str, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect()
    experiment = client.create_experiment(f"curves, {way}")
    logged: dict[str, NDArray[np.float64]] = {}
    for length in (400, 3, 0):
        run_id = client.create_run(experiment).info.run_id
        logged[run_id] = np.random.default_rng(length).random((length, len(METRICS)))
        values = [
            Metric(metric, value, 5, step)
            for step, row in enumerate(logged[run_id], start=1)
            for metric, value in zip(LOGGED, row, strict=True)
        ]
        for begin in range(0, len(values), 1000):
            client.log_batch(run_id, values[begin : begin + 1000])
        client.log_batch(run_id, [Metric("best_valid_accuracy", 0.5, 5, 1)])
        client.set_terminated(run_id)
    twice = next(run_id for run_id, values in logged.items() if len(values) == 3)
    # An epoch that was logged again, one whose loss is no number, and a step and a share that no training has.
    odd = [("valid_accuracy", 0.25, 2), ("valid_loss", np.inf, 4), ("valid_loss", np.nan, 5), ("train_loss", 9.0, 0)]
    odd += [("valid_accuracy", 1.5, 6), ("epoch_seconds", -1.0, 6), ("train_loss", 0.75, 7)]
    client.log_batch(twice, [Metric(metric, value, 9, step) for metric, value, step in odd])
    logged[twice][1, 0] = 0.25
    runs = client.search_runs([experiment])
    if way == "run by run":
        monkeypatch.setattr(histories, "_database", lambda client: None)
    else:
        monkeypatch.setattr(histories, "QUERIED", 2)
        monkeypatch.setattr(MlflowClient, "get_metric_history", None)
    found = training_curves(client, frame(*((run.info.run_id, run.info.end_time) for run in runs)))
    rows = [(i, step, *row) for i in sorted(logged) for step, row in enumerate(logged[i], start=1)]
    rows += [(twice, 7, np.nan, np.nan, 0.75, np.nan)]
    expected = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS).sort_values(["run_id", "epoch"])
    pd.testing.assert_frame_equal(found, expected.reset_index(drop=True), check_exact=True)
    assert training_curves(client, frame()).dtypes.to_dict() == found.dtypes.to_dict()


def test_a_server_is_asked_for_many_runs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Served(**{f"{n:032x}": 20 for n in range(250)})
    monkeypatch.setattr(rest, "request", client.answer)
    found = ask(client, *((run_id, 1) for run_id in client.curves))
    pd.testing.assert_frame_equal(found, client.expected(*client.curves))
    assert sorted(client.in_bulk) == sorted((metric, n) for metric in LOGGED for n in (90, 90, 70))


def test_a_request_for_many_runs_fits_into_the_line_that_gunicorn_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    client, lines = Served(**{f"{n:032x}": 1 for n in range(120)}), []

    def answer(asked: Any, method: str, path: str, params: dict[str, Any]) -> requests.Response:
        prepared = requests.Request(method, f"https://host/a/path/of/{100 * 'a'}{path}", params=params).prepare()
        lines.append(f"{method} {prepared.path_url} HTTP/1.1\r\n")
        return client.answer(asked, method, path, params)

    monkeypatch.setattr(rest, "request", answer)
    ask(client, *((run_id, 1) for run_id in client.curves))
    assert 3000 < max(map(len, lines)) <= 4094


def test_no_epoch_is_lost_where_an_answer_would_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "VALUES", 450)
    client = Served(**{A: 400, B: 500, C: 20})
    monkeypatch.setattr(rest, "request", client.answer)
    pd.testing.assert_frame_equal(ask(client, (A, 1), (B, 1), (C, 1)), client.expected(A, B, C))
    assert client.asked == [B], "a curve that fills an answer by itself"


def test_a_server_that_goes_away_meanwhile_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    client, told, away = Served(**{f"{n:032x}": 2 for n in range(250)}), [], [1, 2, 3]

    def answer(*request: Any, **more: Any) -> requests.Response:
        if away:
            away.pop()
            raise requests.ConnectionError("gone")
        return client.answer(*request, **more)

    monkeypatch.setattr(rest, "request", answer)
    waiting = with_retries(cast(MlflowClient, client), 30.0, told.append)
    found = training_curves(waiting, frame(*((run_id, 1) for run_id in client.curves)))
    pd.testing.assert_frame_equal(found, client.expected(*client.curves))
    away += range(9)
    with pytest.raises(requests.ConnectionError):
        ask(client, (A, 1))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, "<html>not found"),
        (405, "{}"),
        (403, "proxy"),
        (200, "<html>all is well</html>"),
        (200, "[]"),
        (200, "{}"),
    ],
)
def test_a_server_that_knows_no_such_request_is_asked_run_by_run(
    status: int, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Served(**{f"{n:032x}": 20 for n in range(120)})
    monkeypatch.setattr(rest, "request", lambda *request, **more: response(status, body))
    found = ask(client, *((run_id, 1) for run_id in client.curves))
    pd.testing.assert_frame_equal(found, client.expected(*client.curves))
    assert sorted(client.asked) == sorted(client.curves)


def test_an_ended_run_is_asked_for_once() -> None:
    client = Told(**{A: 3, B: 2, C: 2})
    first = ask(client, (A, 10), (B, 20))
    pd.testing.assert_frame_equal(ask(client, (B, 20), (A, 10)), first)
    assert sorted(client.asked) == [A, B]
    pd.testing.assert_frame_equal(ask(client, (A, 10)), client.expected(A))
    pd.testing.assert_frame_equal(ask(client, (A, 10), (B, 20), (C, 30)), client.expected(A, B, C))
    assert sorted(client.asked) == [A, B, C]


def test_a_run_with_another_end_is_asked_for_again() -> None:
    client = Told(**{A: 3, B: 2})
    ask(client, (A, 10), (B, 20))
    client.curves[A] = {metric: [0.5, 0.6, 0.7, 0.8] for metric in LOGGED}
    pd.testing.assert_frame_equal(ask(client, (A, 11), (B, 20)), client.expected(A, B))
    pd.testing.assert_frame_equal(ask(client, (A, 11), (B, 20)), client.expected(A, B))
    assert client.asked.count(A) == 2
    assert client.asked.count(B) == 1


def test_nothing_is_kept_of_a_run_that_goes_on_or_has_no_epoch() -> None:
    client = Told(**{A: 3, B: 0})
    for _ in range(2):
        pd.testing.assert_frame_equal(ask(client, (A, None), (B, 20)), client.expected(A))
    assert len(client.asked) == 4
    assert load(path_of(server_address(cast(MlflowClient, client)), "study")).empty


def test_studies_and_servers_have_files_of_their_own(cache: Path) -> None:
    client = Told(**{A: 3})
    ask(client, (A, 10))
    ask(client, (A, 10), study="another")
    client.tracking_uri = "mysql+pymysql://user:secret@elsewhere/runs"
    ask(client, (A, 10))
    client.tracking_uri = "mysql+pymysql://user:changed@elsewhere/runs"
    ask(client, (A, 10))
    assert client.asked == [A, A, A]
    assert len(list(cache.iterdir())) == 3


def test_two_processes_add_to_one_file(cache: Path) -> None:
    path = cache / "file.parquet"
    rows = {A: [(A, 10, 1, *4 * [0.5]), (A, 10, 2, *4 * [0.6])], B: [(B, 20, 1, *4 * [0.7])]}
    for run_id in (A, B, A):
        save(path, pd.DataFrame(rows[run_id], columns=SCHEMA.names))
    assert sorted(load(path)["run_id"]) == [A, A, B]


@pytest.mark.parametrize("damage", ["truncated", "altered", "emptied", "foreign", "a folder"])
def test_a_damaged_cache_is_made_again(damage: str, cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    client = Told(**{A: 300, B: 200})
    ask(client, (A, 10), (B, 20))
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    middle = len(whole) // 3
    if damage == "foreign":
        pd.DataFrame({"run_id": [A], "epoch": ["one"]}).to_parquet(path)
    elif damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        altered = bytes([whole[middle] ^ 0xFF])
        content = {
            "truncated": whole[:middle],
            "altered": whole[:middle] + altered + whole[middle + 1 :],
            "emptied": b"",
        }
        path.write_bytes(content[damage])
    for _ in range(2):
        pd.testing.assert_frame_equal(ask(client, (A, 10), (B, 20)), client.expected(A, B))
    assert len(client.asked) == (6 if damage == "a folder" else 4)
    assert capfd.readouterr().err == ""


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    client = Told(**{A: 3})
    for folder in (str(tmp_path / "file" / "below"), "/proc/no", "~nobody-of-this-name/cache"):
        monkeypatch.setenv("PROXYFLOW_CACHE_DIR", folder)
        pd.testing.assert_frame_equal(ask(client, (A, 10)), client.expected(A))
    assert client.asked == [A, A, A]


def test_without_the_variable_the_cache_is_below_the_data_directory(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROXYFLOW_CACHE_DIR")
    path = path_of("http://nowhere", "study")
    assert path is not None
    assert path.parent == data_folder / "curves"


def logged(client: Told, run_id: str, **values: list[float]) -> None:
    client.curves[run_id] = {metric: values.get(metric, []) for metric in (*LOGGED, "rmse", "log_likelihood")}


def test_runs_are_asked_for_the_metric_that_they_are_judged_by() -> None:
    client = Told()
    logged(client, A, valid_accuracy=[0.5, 1.5], rmse=[9.0])
    logged(client, B, rmse=[2.5, 1.5], valid_accuracy=[0.9])
    logged(client, C, log_likelihood=[-1e6, -10.0])
    runs = frame((A, 1), (B, 2), (C, None)).assign(
        metric=["valid_accuracy", "rmse", "log_likelihood"], share=[True, False, False]
    )
    for _ in range(2):
        found = training_curves(cast(MlflowClient, client), runs, "study")
        assert list(found[["run_id", "epoch", "objective"]].itertuples(index=False, name=None)) == [
            (A, 1, 0.5),
            (B, 1, 2.5),
            (B, 2, 1.5),
            (C, 1, -1e6),
            (C, 2, -10.0),
        ]


def test_a_metric_that_is_a_loss_is_in_both_columns() -> None:
    assert columns_of("valid_loss") == {"valid_loss": [0, 1], "train_loss": [2], "epoch_seconds": [3]}
    client = Told()
    logged(client, A, valid_loss=[2.5, 0.5], train_loss=[1.0])
    runs = frame((A, 1)).assign(metric="valid_loss", share=False)
    found = training_curves(cast(MlflowClient, client), runs, "study")
    assert found["objective"].tolist() == found["valid_loss"].tolist() == [2.5, 0.5]
    assert found["train_loss"].tolist()[0] == 1.0
