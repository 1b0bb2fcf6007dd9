"""Stores of artifacts that refuse, fail, cut, forget or alter: nothing is lost, and what is said is clear.

Each fault is met in both ways that artifacts go: through MLflow's server, and from here to S3 directly. A proxy stands
before each of the two servers, as either may be what fails.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import mlflow
import numpy as np
import pytest
import sqlalchemy
from entry_points import Entry, environment
from faults import Fault, FaultyProxy
from mlflow.tracking import MlflowClient

from benchmarks.team import Team
from proxyflow.core.errors import TrackingUnavailable
from proxyflow.tracking import connection
from proxyflow.tracking.artifacts import store as artifact_store
from proxyflow.tracking.artifacts import store_errors
from proxyflow.tracking.artifacts.transfer import fetch, upload
from proxyflow.tracking.runs.writer import RunWriter

# Two real servers, each met through a proxy: minutes in all.
pytestmark = pytest.mark.slow

MODES = ("server", "direct")
TRAIN_FILE = "GET .*subset(/|%2F)train-00000"
SUBSET = ("--dataset", "digits@400", "--strategy", "random:0.5")
SEEDS = itertools.count()
TRAIN = ("--arch", "xresnet10-w16", "--image-size", "8", "--batch-size", "128", "--epochs", "1")
WORD = {"server": "the tracking server", "direct": "the S3 server"}  # what an error names


@dataclass(frozen=True)
class Standing:
    """The servers, and the proxies before them.

    Attributes:
        proxy: between S3 and whoever asks it, MLflow's server among them.
        front: between MLflow's server and whoever asks that.
    """

    team: Team
    proxy: FaultyProxy
    front: FaultyProxy
    client: MlflowClient

    def nearest(self, mode: str) -> FaultyProxy:
        """The proxy that artifacts come through last on their way to here."""
        return {"server": self.front, "direct": self.proxy}[mode]

    def objects(self, run_id: str) -> dict[str, Any]:
        """The objects of a run's artifacts by the path in the artifact."""
        bucket = self.bucket()
        (path,) = {each.key.partition(run_id)[0] for each in bucket.objects.all() if run_id in each.key}
        prefix = f"{path}{run_id}/artifacts/"
        return {each.key.removeprefix(prefix): each for each in bucket.objects.filter(Prefix=prefix)}

    def bucket(self) -> Any:
        keys = self.team.secrets
        return boto3.resource(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.team.ports['S3_PORT']}",
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        ).Bucket("mlflow")

    def runs(self, study: str, kind: str) -> list[Any]:
        found = self.client.get_experiment_by_name(study)
        assert found is not None
        return list(self.client.search_runs([found.experiment_id], f"tags.`proxyflow.kind` = '{kind}'"))


@pytest.fixture(scope="module")
def standing(store: str) -> Iterator[Standing]:
    proxy, front = FaultyProxy(), FaultyProxy()
    with Team(s3_through=proxy.port) as team, pytest.MonkeyPatch.context() as patch:
        proxy.target, front.target = team.ports["S3_PORT"], team.ports["MLFLOW_PORT"]
        uri = f"http://127.0.0.1:{front.port}"
        keys = team.secrets
        direct = {
            "MLFLOW_S3_ENDPOINT_URL": team.s3_uri,
            "AWS_ACCESS_KEY_ID": keys["PEOPLE_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": keys["PEOPLE_SECRET_ACCESS_KEY"],
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in (team.environment_of("ada") | direct | {"MLFLOW_TRACKING_URI": uri}).items():
            patch.setenv(name, value)
        mlflow.set_tracking_uri(uri)
        yield Standing(team, proxy, front, MlflowClient(uri))
    front.close()
    proxy.close()
    mlflow.set_tracking_uri(store)
    os.environ["MLFLOW_TRACKING_URI"] = store


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Troubles that may pass are given up soon, for tests of those that do not: a slow machine needs the patience."""
    monkeypatch.setattr(connection, "RETRY_TIMEOUT_SECONDS", 1.5)
    monkeypatch.setattr(store_errors, "SERVER_ERROR_RETRY_SECONDS", 1.5)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def study(standing: Standing, mode: str, request: pytest.FixtureRequest) -> str:
    """A study of the test's own whose artifacts go that way."""
    name = f"{request.node.originalname} {mode} {request.node.callspec.id}"
    create_study(standing, name, mode)
    return name


def create_study(standing: Standing, name: str, mode: str) -> str:
    location = "s3://mlflow/artifacts/direct" if mode == "direct" else None
    return str(standing.client.create_experiment(name, artifact_location=location))


@pytest.fixture
def chosen() -> tuple[str, ...]:
    """A subset that no other test makes: one that is known is used by all studies."""
    return (*SUBSET, "--seed", str(next(SEEDS)))


@pytest.fixture
def subset_run(standing: Standing, entry: Entry, study: str, chosen: tuple[str, ...]) -> str:
    """A subset of the study."""
    made = entry("materialize", *chosen, "--study", study)
    assert made.status == 0, made.err
    (run,) = standing.runs(study, "subset")
    return str(run.info.run_id)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_folder: Path) -> Path:
    """Downloads of the test's own, so that each is one."""
    monkeypatch.setenv("PROXYFLOW_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PROXYFLOW_CACHE_DIR", str(data_folder / "decoded"))
    return tmp_path / "data" / "artifacts"


def files_in(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file() and not path.name.endswith(".lock")]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT", times=4, status=503, code="SlowDown"),
        Fault("PUT", times=4, cut_after=None),
    ],
    ids=["busy", "cut"],
)
def test_a_store_that_fails_for_a_moment_is_waited_for(
    standing: Standing, entry: Entry, study: str, chosen: tuple[str, ...], fault: Fault
) -> None:
    with standing.proxy.with_faults(fault):
        made = entry("materialize", *chosen, "--study", study)
    assert made.status == 0, made.err
    assert fault.met == 4
    (run,) = standing.runs(study, "subset")
    assert run.data.tags["proxyflow.status"] == "finished"
    assert set(standing.objects(run.info.run_id)) == {
        "subset/manifest.json",
        "subset/train-00000.parquet",
        "subset/valid-00000.parquet",
    }


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault(".", status=403, code="AccessDenied"), {"server": " 403 (", "direct": "owner for access"}),
        (Fault(".", status=400, code="ExpiredToken"), {"server": "log", "direct": "renew them"}),
        (Fault("PUT|GET", status=503, code="SlowDown"), {"server": "log", "direct": "503 SlowDown"}),
        (
            Fault(".", status=404, code="NoSuchBucket"),
            {"server": "does its bucket exist?", "direct": "bucket does not"},
        ),
    ],
    ids=["forbidden", "expired", "busy", "no-bucket"],
)
@pytest.mark.usefixtures("hasty")
def test_what_a_store_refuses_is_kept_and_delivered_later(
    standing: Standing,
    entry: Entry,
    study: str,
    mode: str,
    chosen: tuple[str, ...],
    fault: Fault,
    told: dict[str, str],
) -> None:
    with standing.proxy.with_faults(fault):
        ended = entry("materialize", *chosen, "--study", study)
    assert ended.status == 1
    *_, last = ended.err.strip().splitlines()
    assert "kept on this machine" in last
    assert WORD[mode] in last
    assert told[mode] in last
    (kept,) = standing.runs(study, "subset")
    assert kept.data.tags["proxyflow.status"] == "running"
    # Any later command of the study delivers it, and it is found.
    trained = entry("train", *chosen, *TRAIN, "--study", study)
    assert trained.status == 0, trained.err
    (run,) = standing.runs(study, "subset")
    assert run.data.tags["proxyflow.status"] == "finished"
    assert run.info.status == "FINISHED"
    assert len(standing.objects(run.info.run_id)) == 3
    (training,) = standing.runs(study, "training")
    assert training.data.tags["proxyflow.subset_run"] == run.info.run_id


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault("PUT .*/models/", status=403, code="AccessDenied")], ids=["forbidden"])
def test_a_model_that_a_store_refuses_costs_no_training(
    standing: Standing, entry: Entry, study: str, fault: Fault
) -> None:
    with standing.proxy.with_faults(fault):
        ended = entry("train", "--dataset", "digits@300", *TRAIN, "--log-model", "true", "--study", study)
    assert ended.status == 1
    assert "Traceback" not in ended.err
    assert "kept on this machine" in ended.err.strip().splitlines()[-1]
    (kept,) = standing.runs(study, "training")
    assert kept.data.tags["proxyflow.status"] == "running"
    assert kept.data.metrics["best_valid_accuracy"] > 0
    RunWriter(connection.connect(), study).recovery.deliver()
    (run,) = standing.runs(study, "training")
    assert run.data.tags["proxyflow.status"] == "finished"
    (model,) = standing.client.search_logged_models([run.info.experiment_id])
    assert model.status == "READY"
    predict = mlflow.pyfunc.load_model(model.model_uri).predict
    assert predict(np.zeros((3, 3, 8, 8), dtype=np.float32)).shape == (3, 10)


@pytest.mark.parametrize("mode", ["server"], indirect=True)
def test_a_training_goes_on_with_a_download_that_is_cut(
    standing: Standing, entry: Entry, study: str, subset_run: str, cache: Path
) -> None:
    size = standing.objects(subset_run)["subset/train-00000.parquet"].size
    fault = Fault(TRAIN_FILE, times=2, cut_after=size // 4)
    with standing.front.with_faults(fault):
        ended = entry("train", "--subset", subset_run, *TRAIN, "--study", study)
    assert ended.status == 0, ended.err
    assert fault.met == 2
    assert len(files_in(cache)) == 2


@dataclass(frozen=True)
class Stored:
    """A file among a run's artifacts, and where it is downloaded to."""

    run_id: str
    content: bytes
    target: Path

    @property
    def part(self) -> Path:
        """What an earlier attempt has left."""
        return self.target.with_name(f".{self.target.name}.part")

    def fetched(self) -> bytes:
        sha256 = hashlib.sha256(self.content).hexdigest()
        return fetch(connection.connect(), self.run_id, "subset/train-00000.parquet", self.target, sha256).read_bytes()


@pytest.fixture(scope="module")
def stored_content() -> bytes:
    return np.random.default_rng(0).bytes(4_000_000)


@pytest.fixture(scope="module")
def stored_runs(standing: Standing, stored_content: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """By the way that artifacts go, a run with one file, which nobody alters."""
    folder = tmp_path_factory.mktemp("stored")
    (folder / "train-00000.parquet").write_bytes(stored_content)
    runs = {}
    for mode in MODES:
        experiment = create_study(standing, f"stored {mode}", mode)
        runs[mode] = standing.client.create_run(experiment).info.run_id
        upload(standing.client, runs[mode], folder, "subset")
    return runs


@pytest.fixture
def stored(stored_runs: dict[str, str], stored_content: bytes, mode: str, tmp_path: Path) -> Stored:
    return Stored(stored_runs[mode], stored_content, tmp_path / "train-00000.parquet")


def test_a_download_that_is_cut_goes_on_where_it_was(standing: Standing, stored: Stored, mode: str) -> None:
    size = len(stored.content)
    proxy, fault = standing.nearest(mode), Fault(TRAIN_FILE, times=3, cut_after=size // 4)
    with proxy.with_faults(fault):
        assert stored.fetched() == stored.content
        assert proxy.statuses(TRAIN_FILE) == [200, 206, 206, 206]
        # What a cut takes along is less than a chunk.
        assert size <= proxy.sent(TRAIN_FILE) < size + 3 * artifact_store.CHUNK
    assert fault.met == 3


@pytest.mark.parametrize(
    ("left", "statuses"),
    [
        (lambda content: content[:1_000_000], [206]),
        (lambda content: content, [416, 200]),
        (lambda content: content + b"more", [416, 200]),
        (lambda content: bytes(1_000_000), [206, 200]),
    ],
    ids=["a quarter", "all", "more", "another file's"],
)
def test_what_an_earlier_download_left_is_used_where_it_fits(
    standing: Standing, stored: Stored, mode: str, left: Callable[[bytes], bytes], statuses: list[int]
) -> None:
    stored.part.write_bytes(left(stored.content))
    proxy = standing.nearest(mode)
    with proxy.with_faults():
        assert stored.fetched() == stored.content
        assert proxy.statuses(TRAIN_FILE) == statuses
        if statuses == [206]:
            assert proxy.sent(TRAIN_FILE) == 3_000_000
    assert not stored.part.exists()


@pytest.mark.parametrize("mode", ["server"], indirect=True)
def test_a_server_of_artifacts_alone_is_asked_for_the_whole(standing: Standing, stored: Stored) -> None:
    stored.part.write_bytes(stored.content[:1_000_000])
    with standing.front.with_faults(Fault("GET /get-artifact", status=404)):
        assert stored.fetched() == stored.content
        assert standing.front.statuses(TRAIN_FILE) == [200]


def test_a_download_from_a_store_that_is_busy_is_tried_again(standing: Standing, stored: Stored, mode: str) -> None:
    fault = Fault(TRAIN_FILE, times=2, status=503, code="SlowDown")
    with standing.nearest(mode).with_faults(fault):
        assert stored.fetched() == stored.content
    assert fault.met == 2


def test_a_download_that_is_refused_says_so_at_once(
    standing: Standing, entry: Entry, study: str, subset_run: str, mode: str, cache: Path
) -> None:
    fault = Fault(TRAIN_FILE, status=403, code="AccessDenied")
    with standing.nearest(mode).with_faults(fault):
        ended = entry("train", "--subset", subset_run, *TRAIN, "--study", study)
    assert ended.status == 1
    assert fault.met == 1
    (line,) = ended.err.strip().splitlines()
    assert all(word in line for word in (f"subset/train-00000.parquet of run {subset_run}", WORD[mode], " 403"))
    assert {"server": "administrator", "direct": "check AWS_ACCESS_KEY_ID"}[mode] in line
    assert not standing.runs(study, "training")
    assert not [path for path in files_in(cache) if path.name.endswith(".part")]


@pytest.mark.parametrize("mode", ["server"], indirect=True)
@pytest.mark.parametrize("cut_after", [-1, 1_000_000], ids=["whole", "cut"])
def test_what_is_compressed_on_its_way_arrives_as_it_was(standing: Standing, stored: Stored, cut_after: int) -> None:
    fault = Fault(TRAIN_FILE, times=1, gzipped=True, cut_after=cut_after)
    with standing.front.with_faults(fault):
        assert stored.fetched() == stored.content
    assert fault.met == 1


def test_a_slow_store_is_no_failure(standing: Standing, entry: Entry, study: str, subset_run: str) -> None:
    with standing.proxy.with_faults(Fault("GET .*parquet", pause=0.1)):
        ended = entry("train", "--subset", subset_run, *TRAIN, "--study", study)
    assert ended.status == 0, ended.err


@pytest.mark.parametrize("name", ["subset/train-00000.parquet", "subset/manifest.json"])
def test_a_deleted_artifact_is_named(
    standing: Standing, entry: Entry, study: str, subset_run: str, name: str, cache: Path
) -> None:
    standing.objects(subset_run)[name].delete()
    ended = entry("train", "--subset", subset_run, *TRAIN, "--study", study)
    assert ended.status == 2
    assert ended.err.count("\n") == 1
    assert f"{name} of run {subset_run}" in ended.err
    assert not standing.runs(study, "training")
    assert not [path for path in files_in(cache) if path.name.endswith(".part")]


def test_an_altered_artifact_is_named(
    standing: Standing, entry: Entry, study: str, subset_run: str, cache: Path
) -> None:
    found = standing.objects(subset_run)["subset/train-00000.parquet"]
    content = bytearray(found.get()["Body"].read())
    content[len(content) // 2] ^= 1
    found.put(Body=bytes(content))
    ended = entry("train", "--subset", subset_run, *TRAIN, "--study", study)
    assert ended.status == 2
    assert ended.err.count("\n") == 1
    assert f"subset/train-00000.parquet of run {subset_run} was altered" in ended.err
    assert not [path for path in files_in(cache) if path.name.endswith(".part")]


@pytest.mark.parametrize("mode", ["server"], indirect=True)
def test_a_full_disk_is_said_and_leaves_nothing_half(
    standing: Standing, entry: Entry, study: str, subset_run: str, cache: Path
) -> None:
    # A limit of the files' size is the nearest to a full disk that every system lets a test have.
    ended = subprocess.run(
        [sys.executable, "-m", "entrypoints.train", "--subset", subset_run, *TRAIN, "--study", study],
        env=environment(mlflow.get_tracking_uri(), PYTHONDONTWRITEBYTECODE="1"),  # it would be cut, too
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, 8_192)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    *_, last = ended.stderr.strip().splitlines()
    assert "cannot be written to" in last
    assert "File too large" in last
    assert "PROXYFLOW_DATA_DIR" in last
    assert not files_in(cache)
    assert entry("train", "--subset", subset_run, *TRAIN, "--study", study).status == 0


def test_trainings_on_one_subset_download_it_once(
    standing: Standing, entry: Entry, study: str, subset_run: str, cache: Path
) -> None:
    with standing.proxy.with_faults():
        for seed in ("0", "1", "2"):
            ended = entry("train", "--subset", subset_run, *TRAIN, "--seed", seed, "--study", study)
            assert ended.status == 0, ended.err
        downloads = [told for told in standing.proxy.seen if told.startswith("GET") and ".parquet" in told]
    whole = [told for told in downloads if "prefix=" not in told]
    assert len(whole) == 2, whole
    assert len(files_in(cache)) == 2


@pytest.mark.usefixtures("hasty")
def test_credentials_that_expire_in_mid_study(standing: Standing, entry: Entry, study: str, tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text("base: {arch: xresnet10-w16}\nconfigurations:\n  - {}\n  - {learning_rate: 0.01}\n")
    sweep = (
        *(
            "sweep",
            "--study",
            study,
            "--datasets",
            f"digits@{300 + next(SEEDS)}",
            "--strategies",
            "full,random:0.5,random:0.25",
        ),
        *("--grid", str(grid), "--epochs", "1", "--image-size", "8", "--batch-size", "128"),
    )
    # The first subset is stored, and then nothing is.
    stored: list[str] = []

    def expired(request: str) -> bool:
        stored.append(request)
        return sum("PUT" in each and "manifest" in each for each in stored) > 1

    with standing.proxy.with_faults(Fault(".", status=400, code="ExpiredToken", when=expired)):
        ended = entry(*sweep)
    assert ended.status == 1
    assert "kept on this machine" in ended.err.strip().splitlines()[-1]
    resumed = entry(*sweep)
    assert resumed.status == 0, resumed.err
    subsets = standing.runs(study, "subset")
    assert len(subsets) == len({run.data.tags["proxyflow.run_key"] for run in subsets})
    trainings = standing.runs(study, "training")
    assert len(trainings) == 6
    assert {run.data.tags["proxyflow.status"] for run in (*subsets, *trainings)} == {"finished"}


@pytest.mark.parametrize("mode", ["server"], indirect=True)
def test_a_database_that_restarts_under_the_server(
    standing: Standing, entry: Entry, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from proxyflow.tracking.runs.run import Run

    original, calls = Run.log_metrics, []

    def log(self: Run, *given: Any, **more: Any) -> None:
        calls.append(None)
        if len(calls) == 2:
            standing.team.postgres("restart")
        original(self, *given, **more)

    monkeypatch.setattr(Run, "log_metrics", log)
    monkeypatch.setattr(connection, "RETRY_TIMEOUT_SECONDS", 60.0)  # a restart may take longer than other tests wait
    ended = entry("train", "--dataset", "digits@400", *TRAIN[:-1], "3", "--study", study)
    assert ended.status == 0, ended.err
    (run,) = standing.runs(study, "training")
    assert run.data.tags["proxyflow.status"] == "finished"
    history = standing.client.get_metric_history(run.info.run_id, "valid_accuracy")
    assert [each.step for each in history] == [1, 2, 3]


@pytest.mark.slow
def test_a_database_whose_tables_are_locked_is_said_soon(standing: Standing, monkeypatch: pytest.MonkeyPatch) -> None:
    team = standing.team
    uri = f"postgresql+psycopg://mlflow:{team.secrets['MLFLOW_DB_PASSWORD']}@127.0.0.1:{team.ports['PG_PORT']}/mlflow"
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: uri)
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_SECONDS", 5)
    engine = sqlalchemy.create_engine(uri)
    with engine.begin() as others:
        others.execute(sqlalchemy.text("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"))
        begun = time.monotonic()
        with pytest.raises(TrackingUnavailable, match=r"cannot be opened within 5 s .*statement timeout"):
            connection.connect()
        assert time.monotonic() - begun < 3 * connection.CONNECT_TIMEOUT_SECONDS
    engine.dispose()


@pytest.mark.parametrize("mode", ["direct"], indirect=True)
def test_a_large_file_goes_up_in_parts_and_comes_down_in_pieces(standing: Standing, study: str, tmp_path: Path) -> None:
    client = connection.connect()
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    run_id = client.create_run(experiment.experiment_id).info.run_id
    content = np.random.default_rng(0).bytes(20_000_000)
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "train-00000.parquet").write_bytes(content)
    with standing.proxy.with_faults(Fault("PUT .*partNumber=2", times=2, status=503, code="SlowDown")):
        upload(client, run_id, tmp_path / "large", "subset")
        parts = {told.partition("partNumber=")[2][:1] for told in standing.proxy.seen if "partNumber=" in told}
    assert parts == {"1", "2", "3"}
    whole = hashlib.sha256(content).hexdigest()
    with standing.proxy.with_faults(Fault("GET", times=5, cut_after=4_000_000)):
        got = fetch(client, run_id, "subset/train-00000.parquet", tmp_path / "back", whole)
        sent = standing.proxy.sent()
    assert got.read_bytes() == content
    assert sent < 1.1 * len(content), "what had arrived was asked for again"
