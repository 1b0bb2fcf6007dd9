"""Work goes into a run that the environment names only where nothing contradicts it there."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest
from mlflow.entities import Param
from mlflow.tracking import MlflowClient

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.tracking import names
from proxyflow.tracking.connection import check_study, connect
from proxyflow.tracking.runs.launch import (
    adoption_conflict,
    assigned_run,
    end_assigned_run,
    logged_params,
    resolve_study,
    user_run_name,
)
from proxyflow.tracking.runs.owner import this_process
from proxyflow.tracking.runs.writer import RunWriter

LAUNCHED = {"mlflow.project.entryPoint": "train"}
ELSEWHERE = "elsewhere/1 2 3.00"
Make = Callable[[MlflowClient, str], None]


@pytest.fixture
def client(store: str) -> MlflowClient:
    return connect()


def named(monkeypatch: pytest.MonkeyPatch, run_id: str) -> str:
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    return run_id


def nothing(client: MlflowClient, run_id: str) -> None:
    """A run as it was made."""


@pytest.mark.parametrize(
    ("tags", "change"),
    [
        ({}, nothing),
        (LAUNCHED, nothing),
        (LAUNCHED, lambda client, run_id: client.log_batch(run_id, params=[Param("epochs", "20")])),
        ({names.OWNER: this_process(), names.KIND: "study"}, nothing),
    ],
    ids=["new", "launched", "launched with its parameters", "this process's own"],
)
def test_work_goes_into_a_new_run(client: MlflowClient, tags: dict[str, str], change: Make) -> None:
    run_id = client.create_run("0", tags=tags).info.run_id
    change(client, run_id)
    assert not adoption_conflict(client.get_run(run_id))


@pytest.mark.parametrize(
    ("tags", "change"),
    [
        ({}, lambda client, run_id: client.set_terminated(run_id, "FINISHED")),
        (LAUNCHED, lambda client, run_id: client.set_terminated(run_id, "FINISHED")),
        (LAUNCHED, lambda client, run_id: client.set_terminated(run_id, "FAILED")),
        ({}, lambda client, run_id: client.set_terminated(run_id, "KILLED")),
        ({}, lambda client, run_id: client.log_metric(run_id, "loss", 1.0)),
        (LAUNCHED, lambda client, run_id: client.log_metric(run_id, "loss", 1.0)),
        ({}, lambda client, run_id: client.log_param(run_id, "epochs", 20)),
        ({names.OWNER: ELSEWHERE}, nothing),
        ({**LAUNCHED, names.OWNER: ELSEWHERE}, nothing),
        ({names.STATUS: "finished"}, nothing),
    ],
)
def test_a_run_that_holds_anything_stays_as_it_is(
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tags: dict[str, str],
    change: Make,
) -> None:
    run_id = named(monkeypatch, client.create_run("0", tags=tags).info.run_id)
    change(client, run_id)
    before = client.get_run(run_id).to_dictionary()
    writer = RunWriter(client, "Default")
    assert run_id in capsys.readouterr().err
    with writer.open("training", "title", "note", main=True) as run:
        assert run.id != run_id
    end_assigned_run(error=ValueError("something went wrong"))
    assert client.get_run(run_id).to_dictionary() == before


def test_of_two_processes_that_are_given_a_run_at_the_same_time_one_has_it(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = named(monkeypatch, client.create_run("0").info.run_id)
    writer = RunWriter(client, "Default")
    client.set_tag(run_id, names.OWNER, ELSEWHERE)  # it saw the run before this process took it
    before = client.get_run(run_id).to_dictionary()
    with writer.open("training", "title", "note", main=True) as run:
        assert run.id != run_id
    assert client.get_run(run_id).to_dictionary() == before


def test_a_run_that_no_process_has_taken_is_not_ended_by_a_refused_request(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = named(monkeypatch, client.create_run("0").info.run_id)
    end_assigned_run(error=UserError("no"))
    assert client.get_run(run_id).info.status == "RUNNING", "the corrected command may use it"
    launched = named(monkeypatch, client.create_run("0", tags=LAUNCHED).info.run_id)
    end_assigned_run(error=UserError("no"))
    assert client.get_run(launched).data.tags[names.STATUS] == "failed", "its process ends here"


@pytest.mark.parametrize("run_id", ["0" * 32, "no run", "../0", "ü" * 32, "deleted"])
def test_a_run_that_does_not_exist_is_a_mistake_of_the_user(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, run_id: str
) -> None:
    if run_id == "deleted":
        run_id = client.create_run("0").info.run_id
        client.delete_run(run_id)
    named(monkeypatch, run_id)
    for look in (
        assigned_run,
        lambda client: resolve_study(client, "auto"),
        lambda client: RunWriter(client, "Default"),
    ):
        with pytest.raises(InvalidValue) as raised:
            look(client)
        assert (raised.value.name, raised.value.value) == ("MLFLOW_RUN_ID", run_id)


def test_a_name_that_a_user_gave_is_told_from_one_that_mlflow_made_up(client: MlflowClient) -> None:
    made_up = [client.create_run("0") for _ in range(50)]
    assert {user_run_name(run) for run in made_up} == {""}
    for name in ("X", "my-run-1", "nightly", "a-b-c", "big-plan-two", "bold-bird", "·"):
        assert user_run_name(client.create_run("0", run_name=name)) == name


def test_the_name_that_a_user_gave_is_kept(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for given, kept in (("my night run", "my night run"), (None, "title")):
        run_id = named(monkeypatch, client.create_run("0", tags=LAUNCHED, run_name=given).info.run_id)
        with RunWriter(client, "Default").open("training", "title", "note", main=True) as run:
            assert run.id == run_id
        assert client.get_run(run_id).info.run_name == kept
    # Where the work is in another experiment, both have it.
    run_id = named(monkeypatch, client.create_run("0", tags=LAUNCHED, run_name="both").info.run_id)
    with RunWriter(client, "another").open("training", "title", "note", main=True) as run:
        assert run.id != run_id
    assert {client.get_run(each).info.run_name for each in (run_id, run.id)} == {"both"}


@pytest.mark.parametrize("typed", ["", "3e-3", "folder:/a b", "it's", 'a "b"', "x#y", "easiest:0.1,by=loss", "a\\b"])
def test_params_are_read_as_they_were_typed(client: MlflowClient, typed: str) -> None:
    run_id = client.create_run("0", tags=LAUNCHED).info.run_id
    client.log_param(run_id, "value", shlex.quote(typed))  # as MLflow logs those of a project
    assert logged_params(client.get_run(run_id)) == {"value": typed}


def test_a_run_with_other_params_than_are_used_becomes_a_pointer(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = named(monkeypatch, client.create_run("0", tags=LAUNCHED).info.run_id)
    client.log_param(run_id, "epochs", "20")
    writer = RunWriter(client, "Default")
    assert writer.assigned.params == {"epochs": "20"}
    writer.assigned.redirect("its params say epochs=20, and epochs=2 is used")
    with writer.open("training", "title", "note", main=True) as run:
        run.log_params({"epochs": 2})
    assert client.get_run(run.id).data.params["epochs"] == "2"
    pointer = client.get_run(run_id).data.tags
    assert (pointer[names.KIND], pointer[names.STATUS]) == ("study", "finished")
    assert pointer[names.LAUNCHED] == run.id
    assert "epochs=2 is used" in pointer[names.DESCRIPTION]


@pytest.mark.parametrize("name", ["it's", "", "  ", " x", "x ", "a\nb", "\x1b[2J", "\udc80", "pets.yaml", "x/UP.YML"])
def test_a_name_that_no_study_can_have_is_refused(client: MlflowClient, name: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        check_study(client, name)
    assert (raised.value.name, raised.value.value) == ("study", name)


@pytest.mark.parametrize("name", ["mine", "a b", 'a "b"', "ü/ö", "100 %", "yaml", "`x`", "a\\b"])
def test_every_other_name_works_as_a_study(client: MlflowClient, name: str) -> None:
    check_study(client, name)
    assert client.get_experiment_by_name(name) is None, "checking makes nothing"
    writer = RunWriter(client, name)
    with writer.open("training", "title", "note", main=True):
        pass
    assert writer.recovery.fail_stale_runs() == 0
    assert resolve_study(client, name) == name


def test_a_deleted_study_is_refused_before_any_work(client: MlflowClient) -> None:
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(UserError, match="study=gone was deleted"):
        resolve_study(client, "gone")
