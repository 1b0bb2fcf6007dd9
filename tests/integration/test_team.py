"""A team's servers as docs/how-to/team-server.md sets them up: PostgreSQL, S3 and MLflow's server with accounts, all real.

The tests go in the order of the file: first artifacts pass the server, and everybody may read everything. Then the
page's maintenance restores a backup and updates the tables, and the server starts anew in the other mode, where
artifacts do not pass it, and nobody may see what was not shown to them.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import mlflow
import pandas as pd
import psutil
import pytest
import requests
from entry_points import SECONDS
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.s3_artifact_repo import _cached_get_s3_client
from team_work import DATA, SMALL, Ended, Person, Study, runs_of, whole_study

from benchmarks.team import Team
from proxyflow.tracking import names
from proxyflow.tracking.connection import connect
from proxyflow.tracking.delivery.write_ahead_log import Record, WriteAheadLog, log_folder
from proxyflow.tracking.runs.claims import AlreadyClaimed
from proxyflow.tracking.runs.owner import this_process
from proxyflow.tracking.runs.writer import RunWriter

# A server with accounts, PostgreSQL and S3.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GIT_TOKEN = "glpat-0f1e2d3c4b5a69788796"
NOBODY = "elsewhere/1 17 3.5"


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    with Team() as servers:
        yield servers


@pytest.fixture(scope="module")
def printed() -> list[str]:
    """All that any command said."""
    return []


@pytest.fixture(scope="module")
def ada(team: Team, printed: list[str]) -> Person:
    return Person(team.environment_of("ada"), printed)


@pytest.fixture(scope="module")
def grace(team: Team, printed: list[str]) -> Person:
    return Person(team.environment_of("grace"), printed)


@pytest.fixture(scope="module")
def embedded(store: str, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study as the embedded store has it."""
    return whole_study(Person({"MLFLOW_TRACKING_URI": store}), "shoes", tmp_path_factory.mktemp("embedded"))


@pytest.fixture(scope="module")
def adas(ada: Person, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Ada's, through the server."""
    return whole_study(ada, "shoes", tmp_path_factory.mktemp("ada"))


@pytest.fixture(scope="module")
def admin(team: Team) -> Person:
    account = team.account("admin")
    return Person(
        team.environment_of("ada")
        | {"MLFLOW_TRACKING_USERNAME": account.name, "MLFLOW_TRACKING_PASSWORD": account.password}
    )


def ask(person: Person, path: str, message: dict[str, str]) -> None:
    """What MLflow's client of accounts, which imports its whole server, would ask."""
    answer = requests.post(
        f"{person.variables['MLFLOW_TRACKING_URI']}/api/{path}",
        json=message,
        auth=(person.variables["MLFLOW_TRACKING_USERNAME"], person.variables["MLFLOW_TRACKING_PASSWORD"]),
        timeout=SECONDS,
    )
    assert answer.status_code == 200, answer.text


def allow(owner: Person, name: str, study: str, permission: str) -> None:
    with owner.at_work() as client:
        found = client.get_experiment_by_name(study)
        assert found
    grant = {"resource_type": "experiment", "resource_id": found.experiment_id, "permission": permission}
    ask(owner, "3.0/mlflow/users/permissions/grant", {"username": name, **grant})


def take_back(owner: Person, name: str, experiment: str) -> None:
    taken = {"resource_type": "experiment", "resource_id": experiment}
    ask(owner, "3.0/mlflow/users/permissions/revoke", {"username": name, **taken})


def same(one: Study, other: Study) -> None:
    assert one.trained == other.trained
    assert len(one.trained) == 9
    assert {"strategies.csv", "best.csv", "runs.csv", "epochs.csv", "measures.csv", "selection.csv"} <= set(one.tables)
    assert set(one.tables) == set(other.tables)
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, other.tables[name], check_exact=True, obj=name)


def refused(ended: Ended) -> str:
    """The one line that refuses a request."""
    assert ended.status == 2, ended.err
    *told, line = ended.err.splitlines()
    assert line.startswith("error: ")
    # What comes before names what was found.
    assert all(each.startswith(("data set ", "subset ")) for each in told), ended.err
    return line


def objects(team: Team, below: str = "") -> dict[str, bytes]:
    """What is in the bucket."""
    keys = team.secrets
    s3 = boto3.client(
        "s3",
        endpoint_url=team.s3_uri,
        region_name="us-east-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )
    listed = s3.get_paginator("list_objects_v2").paginate(Bucket="mlflow", Prefix=f"artifacts/{below}")
    found = [each["Key"] for page in listed for each in page.get("Contents", ())]
    return {key: s3.get_object(Bucket="mlflow", Key=key)["Body"].read() for key in found}


def test_through_the_server_the_numbers_are_those_of_the_embedded_store(
    team: Team, embedded: Study, adas: Study, ada: Person
) -> None:
    same(embedded, adas)
    with ada.at_work() as client:
        found = client.get_experiment_by_name("shoes")
        assert found
        assert found.artifact_location.startswith("mlflow-artifacts:")
        (reported,) = runs_of(client, "shoes", "report")
        files = objects(team, f"{found.experiment_id}/{reported.info.run_id}/")
    assert f"artifacts/{found.experiment_id}/{reported.info.run_id}/artifacts/report/index.html" in files


def test_people_have_their_variables_alone_and_no_keys(team: Team, ada: Person) -> None:
    assert set(ada.variables) == {"MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
    with ada.at_work() as client:
        # mlflow run makes its run there, where it is told nothing else.
        run = client.create_run("0")
        client.set_terminated(run.info.run_id)


@dataclass(frozen=True)
class Stranger:
    """Somebody whom the server does not let in."""

    name: str
    password: str


@pytest.mark.parametrize(
    "stranger", [Stranger("ada", "not-her-password"), Stranger("mallory", "let-me-in"), Stranger("", "")]
)
def test_who_cannot_sign_in_is_told_how(team: Team, ada: Person, stranger: Stranger) -> None:
    variables = {"MLFLOW_TRACKING_URI": team.uri}
    if stranger.name:
        variables |= {"MLFLOW_TRACKING_USERNAME": stranger.name, "MLFLOW_TRACKING_PASSWORD": stranger.password}
    for command in ("report", "sweep"):
        line = refused(Person(variables, ada.printed).call(command, "--study", "shoes"))
        assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in line
        assert not stranger.password or stranger.password not in line


def test_a_reader_reads_and_uses_but_does_not_write(adas: Study, ada: Person, grace: Person, tmp_path: Path) -> None:
    with ada.at_work() as client:
        before = {kind: len(runs_of(client, "shoes", kind)) for kind in ("training", "subset", "report", "study")}
        (subset,) = [
            run for run in runs_of(client, "shoes", "subset") if run.data.tags["proxyflow.strategy"] == "easiest:0.5"
        ]
    with grace.at_work() as client:
        launched = client.create_run("0", tags={"mlflow.project.entryPoint": "report"}).info.run_id
    as_mlflow_runs_it = Person({**grace.variables, "MLFLOW_RUN_ID": launched}, grace.printed)
    told = as_mlflow_runs_it.does("report", "--study", "shoes", "--out", str(tmp_path), "--bootstrap", "0")
    with grace.at_work() as client:
        assert client.get_run(launched).data.tags["proxyflow.status"] == "finished"
    assert "not logged: you may read study shoes and not write to it" in told.out
    table = pd.read_csv(tmp_path / "shoes" / "strategies.csv")
    assert table["r2"].tolist() == adas.tables["strategies.csv"].set_index("strategy")["r2"][table["strategy"]].tolist()

    small = ("--arch", "xresnet10-w16", "--epochs", "1", *SMALL)
    trained = grace.does("train", "--study", "boots", "--subset", subset.info.run_id, *small)
    assert "best accuracy" in trained.out
    found = grace.does("train", "--study", "boots", "--dataset", DATA, "--strategy", "easiest:0.5", *small)
    assert f"subset easiest:0.5 of {DATA}: found in run {subset.info.run_id}" in found.err

    for command in ("sweep", "materialize", "train", "score"):
        data = ("--datasets", DATA) if command == "sweep" else ("--dataset", DATA)
        line = refused(grace.call(command, "--study", "shoes", *data, *(SMALL if command != "materialize" else ())))
        assert "study=shoes" in line
        assert "EDIT" in line
    with ada.at_work() as client:
        assert {kind: len(runs_of(client, "shoes", kind)) for kind in before} == before
        running = client.search_runs([subset.info.experiment_id], "attributes.status = 'RUNNING'")
        assert list(running) == []


def test_what_others_left_is_theirs(adas: Study, ada: Person, grace: Person, tmp_path: Path) -> None:
    """A run whose process died, and what it could not tell the server, are left to those who may write to it."""
    with ada.at_work() as client:
        found = client.get_experiment_by_name("shoes")
        assert found
        tags = {names.KIND: "report", names.STATUS: "running", names.STUDY: "shoes", names.OWNER: NOBODY}
        lost = client.create_run(found.experiment_id, tags={**tags, names.HEARTBEAT: "1"}).info.run_id
        told = client.create_run(found.experiment_id, tags={**tags, names.OWNER: this_process()}).info.run_id
        journal = WriteAheadLog(log_folder(mlflow.get_tracking_uri()) / f"{told}.jsonl", "")
        journal.append(Record(tags={names.STATUS: "finished", "late": "yes"}, end=("FINISHED", 1)))
        journal.close()
    report = ("report", "--study", "shoes", "--out", str(tmp_path), "--bootstrap", "0")
    ended = grace.does(*report)
    assert f"run {told} of study shoes" in ended.err
    with ada.at_work() as client:
        assert client.get_run(lost).data.tags[names.STATUS] == "running"
        assert "late" not in client.get_run(told).data.tags
    ada.does(*report)
    with ada.at_work() as client:
        assert client.get_run(lost).data.tags[names.STATUS] == "failed"
        assert client.get_run(told).data.tags["late"] == "yes"
        assert client.get_run(told).info.status == "FINISHED"


def test_an_editor_writes_but_deletes_nothing(adas: Study, ada: Person, grace: Person) -> None:
    allow(ada, "grace", "shoes", "EDIT")
    made = grace.does("materialize", "--study", "shoes", "--dataset", DATA, "--strategy", "random:0.1")
    assert "made in run" in made.err
    key = next(iter(adas.trained))
    with grace.at_work() as client:
        before = {run.info.run_id for run in runs_of(client, "shoes", "training")}
        writer = RunWriter(connect(), "shoes")
        tags = {names.RUN_KEY: key}
        with pytest.raises(AlreadyClaimed), writer.open("training", "twice", "", tags, claim=True):
            pytest.fail("Ada has done it")
        (withdrawn,) = [run for run in runs_of(client, "shoes", "training") if run.info.run_id not in before]
        assert withdrawn.info.lifecycle_stage == "active", "who may edit may not delete"
        assert (withdrawn.info.status, withdrawn.data.tags[names.STATUS]) == ("KILLED", "interrupted")
        assert not writer.is_claimed("training", "no such key")
        assert writer.is_claimed("training", key)


def test_who_is_kept_out_sees_nothing(adas: Study, team: Team, admin: Person, printed: list[str]) -> None:
    ask(admin, "2.0/mlflow/users/create", {"username": "eve", "password": "eves-own-password"})
    allow(admin, "eve", "shoes", "DENY")
    eve = Person(
        {
            "MLFLOW_TRACKING_URI": team.uri,
            "MLFLOW_TRACKING_USERNAME": "eve",
            "MLFLOW_TRACKING_PASSWORD": "eves-own-password",
        },
        printed,
    )
    with admin.at_work() as client:
        scores = runs_of(client, "shoes", "score")[0].info.run_id
    for command in (
        ("report", "--study", "shoes"),
        ("sweep", "--study", "shoes", "--datasets", DATA, "--dry-run", "true"),
        ("sweep", "--study", "shoes", "--datasets", DATA),
        ("train", "--study", "hers", "--subset", scores),
        ("materialize", "--study", "hers", "--dataset", DATA, "--strategy", "easiest:0.3", "--scores", scores),
    ):
        line = refused(eve.call(*command))
        assert "the tracking server refuses it" in line or "is not yours to see" in line
    made = eve.does("materialize", "--study", "hers", "--dataset", DATA, "--strategy", "random:0.5")
    assert "made in run" in made.err, "Ada's is not hers to find"


def answer_of(team: Team, method: str = "GET", **headers: str) -> requests.Response:
    account = team.account("ada")
    return requests.request(
        method,
        f"{team.uri}/api/2.0/mlflow/experiments/search",
        json={"max_results": 1},
        headers=headers,
        auth=(account.name, account.password),
        timeout=SECONDS,
    )


def test_other_hosts_and_origins_are_refused(team: Team) -> None:
    port = team.ports["MLFLOW_PORT"]
    for host in (f"localhost:{port}", f"127.0.0.1:{port}"):
        assert answer_of(team, "POST", Host=host).status_code == 200
    refusal = answer_of(team, "POST", Host="rebound.example.com")
    assert (refusal.status_code, "Invalid Host header" in refusal.text) == (403, True)
    assert answer_of(team, "POST", Origin="http://localhost:5000").status_code == 200
    refusal = answer_of(team, "POST", Origin="https://elsewhere.example.com")
    assert (refusal.status_code, "Cross-origin" in refusal.text) == (403, True)
    assert answer_of(team, "POST").headers["x-frame-options"] == "SAMEORIGIN"


def test_nothing_listens_to_the_outside_and_no_command_line_holds_a_secret(team: Team) -> None:
    processes = team.processes()
    found, listening, lines = set(), [], []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # workers of the servers come and go
            found.add(process.name())
            listening += [each.laddr for each in process.net_connections("tcp") if each.status == "LISTEN"]
            lines.append(" ".join(process.cmdline()))
    assert {"weed", "postgres"} <= found
    ports = {address.port for address in listening}
    assert set(team.ports.values()) <= ports
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert not [line for line in lines for secret in team.secrets.values() if secret in line]
    for name in ("secrets.env", "s3.json", "accounts.ini"):
        assert (team.folder / name).stat().st_mode & 0o077 == 0, name


def test_garbage_collection_removes_what_was_deleted(team: Team, ada: Person, admin: Person) -> None:
    ada.does("materialize", "--study", "kept", "--dataset", DATA, "--strategy", "random:0.2")
    ada.does("materialize", "--study", "short-lived", "--dataset", DATA, "--strategy", "random:0.2")
    with admin.at_work() as client:
        (run,) = runs_of(client, "short-lived", "subset")
        below = f"{run.info.experiment_id}/{run.info.run_id}/"
        assert any("manifest.json" in name for name in objects(team, below))
        client.delete_run(run.info.run_id)
        assert client.get_run(run.info.run_id).info.lifecycle_stage == "deleted"
        team.run("gc", OLDER_THAN="0s")
        with pytest.raises(MlflowException, match="not found"):
            client.get_run(run.info.run_id)
    assert objects(team, below) == {}
    assert objects(team), "of what was not deleted all is there"


@pytest.fixture(scope="module")
def secretive(
    team: Team, adas: Study, printed: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A study by a process of its own whose every setting that may hold a secret holds one: its folder, and its end."""
    folder = tmp_path_factory.mktemp("secretive")
    account, keys = team.account("ada"), team.secrets
    git = ("git", "-C", str(folder), "-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    (folder / "go.py").write_text("from proxyflow.cli.app import main\nmain()\n")
    for words in (
        ("init", "--quiet"),
        ("remote", "add", "origin", f"https://oauth2:{GIT_TOKEN}@git.example.org/ada/shoes.git"),
        ("add", "go.py"),
        ("commit", "--quiet", "--message", "A study"),
    ):
        subprocess.run([*git, *words], check=True)
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_TRACKING")},
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": team.uri.replace("://", f"://{account.name}:{account.password}@"),
        "MLFLOW_TRACKING_PASSWORD": account.password,
        **{
            name: keys[f"PEOPLE_{name.removeprefix('AWS_')}"] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        },
        "MLFLOW_S3_ENDPOINT_URL": team.s3_uri,
        "PROXYFLOW_STATE_DIR": str(folder / "state"),
    }
    words = (
        "sweep", "--study", "secretive", "--datasets", DATA, "--strategies", "full,random:0.5", "--epochs", "1", *SMALL,
        "--grid", "grid.yaml",
    )  # fmt: skip
    (folder / "grid.yaml").write_text("base: {arch: xresnet10-w16}\nconfigurations:\n  - {}\n")
    child = [sys.executable, "go.py"]
    ended = subprocess.run([*child, *words], cwd=folder, env=variables, capture_output=True, text=True, check=False)
    printed += [ended.stdout, ended.stderr]
    return folder, ended


def test_a_process_needs_nothing_but_its_environment(
    secretive: tuple[Path, subprocess.CompletedProcess[str]], ada: Person
) -> None:
    _, ended = secretive
    assert ended.returncode == 0, ended.stderr
    assert "2 finished (2 now)" in ended.stdout
    with ada.at_work() as client:
        runs = runs_of(client, "secretive", "training")
    assert {run.data.tags["mlflow.source.git.repoURL"] for run in runs} == {"https://git.example.org/ada/shoes.git"}
    assert {run.data.tags["mlflow.user"] for run in runs} <= {"ada", "root", os.environ.get("USER", "root")}


def test_an_address_that_mlflow_run_logged_loses_its_token(ada: Person) -> None:
    with ada.at_work() as client:
        address = f"https://oauth2:{GIT_TOKEN}@git.example.org/ada/shoes.git"
        run = client.create_run("0", tags={"mlflow.source.name": address, "mlflow.project.entryPoint": "train"})
    person = Person({**ada.variables, "MLFLOW_RUN_ID": run.info.run_id}, ada.printed)
    ended = person.call("materialize", "--study", "shoes", "--dataset", DATA, "--strategy", "random:0.15")
    assert ended.status == 0, ended.err
    with ada.at_work() as client:
        tags = client.get_run(run.info.run_id).data.tags
    assert tags["mlflow.source.name"] == "https://git.example.org/ada/shoes.git"
    assert tags["proxyflow.status"] == "finished"


@dataclass(frozen=True)
class Restored:
    """What went before the restart.

    Attributes:
        deleted: a run that was deleted after the backup.
        late: one that was made after it.
        study: the experiment of Ada's study.
    """

    deleted: str
    late: str
    study: str


@pytest.fixture(scope="module")
def restored(team: Team, adas: Study, ada: Person) -> Restored:
    """Back to a backup, tables updated, and up again in the other mode, where nobody sees what was not shown to them."""
    team.run("backup")
    with ada.at_work() as client:
        deleted = runs_of(client, "shoes", "report")[0]
        client.delete_run(deleted.info.run_id)
        late = client.create_run(deleted.info.experiment_id)
    team.stop_mlflow()
    team.run("restore")
    team.run("upgrade")
    settings = team.folder / "accounts.ini"
    settings.write_text(settings.read_text().replace("= READ", "= NO_PERMISSIONS"))
    team.direct = True
    team.start_mlflow()
    return Restored(deleted.info.run_id, late.info.run_id, deleted.info.experiment_id)


def test_a_restored_backup_is_as_it_was(restored: Restored, admin: Person) -> None:
    with admin.at_work() as client:
        assert client.get_run(restored.deleted).info.lifecycle_stage == "active"
        with pytest.raises(MlflowException, match="not found"):
            client.get_run(restored.late)


def test_directly_the_numbers_are_those_of_the_embedded_store(
    team: Team, embedded: Study, restored: Restored, admin: Person, printed: list[str], tmp_path: Path
) -> None:
    grace = Person(team.environment_of("grace"), printed)
    # What she was let write to is hers to see, and nothing else of Ada's: so she makes scores and subsets herself.
    take_back(admin, "grace", restored.study)
    same(embedded, whole_study(grace, "direct", tmp_path))
    with grace.at_work() as client:
        found = client.get_experiment_by_name("direct")
        assert found
        assert found.artifact_location.startswith("s3://mlflow/")
        assert {each.name for each in client.search_experiments()} == {"direct", "boots", "Default"}
    assert any(name.endswith("report/index.html") for name in objects(team, f"{found.experiment_id}/"))


def test_wrong_keys_are_said_and_stand_nowhere(
    team: Team, restored: Restored, printed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "wrong-secret-0123456789abcdef"
    grace = Person({**team.environment_of("grace"), "AWS_SECRET_ACCESS_KEY": wrong}, printed)
    # Both keep the first keys that they find.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    _cached_get_s3_client.cache_clear()
    ended = grace.call("materialize", "--study", "keyless", "--dataset", DATA, "--strategy", "random:0.3")
    _cached_get_s3_client.cache_clear()
    assert ended.status == 1, ended.err
    assert "cannot be uploaded" in ended.err
    with grace.at_work() as client:
        (run,) = runs_of(client, "keyless", "subset")
    assert run.info.status != "FINISHED"
    assert wrong not in "".join([*printed, *run.data.tags.values()])


def test_no_secret_is_anywhere(
    team: Team,
    secretive: tuple[Path, subprocess.CompletedProcess[str]],
    restored: Restored,
    printed: list[str],
    state_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Nothing that was printed, logged, stored or written in this file holds a password, a key or a token."""
    secrets = {**team.secrets, "git": GIT_TOKEN, "eve": "eves-own-password"}
    places: dict[str, bytes] = {f"printed {number}": text.encode() for number, text in enumerate(printed)}
    places |= objects(team)
    team.run("backup")
    for name in ("mlflow", "accounts"):
        dump = team.folder / "backup" / f"{name}.dump"
        program = team.programs / "pg_restore"
        places[name] = subprocess.run([program, "--file", "-", dump], check=True, capture_output=True).stdout
    assert b"secretive" in places["mlflow"]
    folders = (state_folder, *tmp_path_factory.getbasetemp().iterdir())
    written = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    assert any(path.name == "index.html" for path in written)
    # Git keeps the address with the token where it was told it.
    written = {path for path in written if path.parts[-2:] != (".git", "config")}
    written |= set(team.folder.glob("*.log"))
    written.add(team.folder / "postgres" / "server.log")
    places |= {str(path): path.read_bytes() for path in written}
    found = [
        (what, where) for where, held in places.items() for what, secret in secrets.items() if secret.encode() in held
    ]
    assert found == []
