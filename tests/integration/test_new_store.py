"""A tracking store that is made by whoever comes first, whole, and left to others where they began."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import sqlalchemy
from alembic.util import CommandError
from entry_points import ROOT, SECONDS, Ended, Entry, environment
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils
from mlflow.tracking import MlflowClient

from proxyflow.core.errors import TrackingUnavailable
from proxyflow.tracking import databases
from proxyflow.tracking.connection import connect, hide_password

OURS = "from proxyflow.tracking.connection import connect; input(); connect().create_experiment(input())"
PLAIN = "from mlflow import MlflowClient; input(); MlflowClient().create_experiment(input())"
# MLflow's own way, stopped half-way for as long as the parent likes.
SLOW = """
from mlflow import MlflowClient
from alembic.util import CommandError
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils
from mlflow.tracking import MlflowClient
upgrade = utils._upgrade_db
def upgrade_later(engine):
    print("begun", flush=True)
    input()
    upgrade(engine)
utils._upgrade_db = upgrade_later
MlflowClient().create_experiment("theirs")
"""


@pytest.fixture
def new_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a store that is not there yet, set as MLflow's."""
    uri = f"sqlite:///{tmp_path}/below/mlflow.db"
    mlflow.set_tracking_uri(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    yield uri
    mlflow.set_tracking_uri(None)


def child_of(uri: str, code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(uri),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def change(uri: str, statement: str) -> None:
    engine = sqlalchemy.create_engine(uri)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(statement))
    engine.dispose()


def together(uri: str, codes: list[str]) -> list[Ended]:
    children = [child_of(uri, code) for code in codes]
    for number, child in enumerate(children):
        assert child.stdin is not None
        child.stdin.write(f"\nstudy-{number}\n")
        child.stdin.flush()
    ended = []
    for child in children:
        out, err = child.communicate(timeout=SECONDS)
        ended.append(Ended(child.returncode, out, err))
    return ended


def test_processes_that_start_together_make_one_store(new_store: str) -> None:
    ended = together(new_store, [OURS, PLAIN, OURS])
    assert [child.status for child in ended] == [0, 0, 0], ended
    names = {experiment.name for experiment in connect().search_experiments()}
    assert names == {"Default", "study-0", "study-1", "study-2"}


def test_a_new_store_is_there_whole_or_not_at_all(
    new_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "below"
    upgrade = utils._upgrade_db

    def cut(engine: sqlalchemy.Engine) -> None:
        assert not (folder / "mlflow.db").exists()
        upgrade(engine)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(utils, "_upgrade_db", cut)
        with pytest.raises(KeyboardInterrupt):
            connect()
    assert list(folder.iterdir()) == []
    connect().create_experiment("mine")
    assert [path.name for path in folder.iterdir()] == ["mlflow.db"]


def test_a_store_that_another_program_makes_is_left_to_it(
    new_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "below").mkdir()
    theirs = child_of(new_store, SLOW)
    assert theirs.stdout is not None
    assert theirs.stdout.readline() == "begun\n"
    sleep = time.sleep
    waits = []

    def go_on_and_sleep(seconds: float) -> None:
        assert theirs.stdin is not None
        if not waits:
            theirs.stdin.write("\n")
            theirs.stdin.flush()
        waits.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(databases.time, "sleep", go_on_and_sleep)
    client = connect()
    assert waits
    _, err = theirs.communicate(timeout=SECONDS)
    assert theirs.returncode == 0, err
    client.create_experiment("ours")
    assert {experiment.name for experiment in connect().search_experiments()} == {"Default", "theirs", "ours"}


def test_a_collision_with_another_program_is_outlasted(new_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connect().create_experiment("theirs")
    attempts = []

    def collide(uri: str) -> MlflowClient:
        attempts.append(uri)
        if len(attempts) == 1:
            change(uri, "UPDATE alembic_version SET version_num = 'amid'")
            raise CommandError("Online migration expected to match one row; 0 found")
        if len(attempts) == 2:
            change(uri, f"UPDATE alembic_version SET version_num = '{revision}'")
            raise MlflowException("Detected out-of-date database schema")
        return MlflowClient(uri)

    [revision] = databases._read_state(sqlalchemy.make_url(new_store), "it", 5).revisions
    monkeypatch.setattr(databases, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(databases, "MlflowClient", collide)
    assert connect().get_experiment_by_name("theirs") is not None
    assert len(attempts) == 3


def test_what_was_left_half_made_is_made(new_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "SETTLE_SECONDS", 0.01)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "mlflow.db").touch()
    assert connect().search_experiments()


def test_what_cannot_be_made_is_said(
    new_store: str, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect()
    broken = f"sqlite:///{tmp_path}/broken.db"  # another address: MLflow keeps the stores that it opened
    (tmp_path / "below" / "mlflow.db").rename(tmp_path / "broken.db")
    change(broken, "UPDATE alembic_version SET version_num = '181f10493468'")
    change(broken, "DROP TABLE webhooks")
    mlflow.set_tracking_uri(broken)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", broken)
    monkeypatch.setattr(databases, "SETTLE_SECONDS", 0.01)
    ended = entry("report", "--study", "any")
    assert ended.status == 2
    assert broken in ended.err
    assert "mlflow db upgrade" in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("postgresql://me:s3@cret@127.0.0.1/runs", "postgresql://127.0.0.1/runs has an address with more than one @"),
        ("postgresql://me:s3@cr/et@127.0.0.1/runs", "postgresql://127.0.0.1/runs has an address with more than one @"),
        ("postgresql://me:s3cret[@127.0.0.1/runs", "postgresql://127.0.0.1/runs is no"),
        ("postgresql://127.0.0.1:54a/runs", "postgresql://127.0.0.1:54a/runs has a port that is no number"),
        ("postgresql:127.0.0.1", "postgresql:127.0.0.1 is no"),
    ],
)
def test_an_address_that_is_none_is_said_without_its_password(
    monkeypatch: pytest.MonkeyPatch, uri: str, problem: str
) -> None:
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: uri)
    with pytest.raises(TrackingUnavailable, match=re.escape(problem)) as refused:
        connect()
    assert not re.search("s3|cr|et@", str(refused.value).partition(": ")[0])


def test_an_error_without_a_word_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object, **named: object) -> None:
        raise OSError

    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: "postgresql://me:s3cret@127.0.0.1/runs")
    monkeypatch.setattr(sqlalchemy, "create_engine", fail)
    with pytest.raises(
        TrackingUnavailable, match=r"postgresql://127.0.0.1/runs cannot be .* \d+ s \(OSError\): start it"
    ):
        connect()


def test_who_holds_a_store_for_long_is_said_and_its_lock_tells_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "postgresql://{}@127.0.0.1:9/runs"
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: address.format("me:s3cret"))
    monkeypatch.setattr(databases, "CREATION_LOCK_SECONDS", 0.1)
    empty = databases.DatabaseState(frozenset(), ())
    monkeypatch.setattr(databases, "_read_state", lambda *given: empty)
    with (
        databases._creation_lock(hide_password(address.format("me:other"))),
        pytest.raises(TrackingUnavailable, match=r" for 0\.1 s: "),
    ):
        connect()


def test_a_store_in_memory_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: "sqlite://")
    monkeypatch.setattr(databases, "_wait_for_change", lambda *given: pytest.fail("nobody else can make it"))
    assert connect().search_experiments()
