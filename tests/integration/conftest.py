"""Entry points as tests run them: in this process for speed, in their own where signals or mlflow matter."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import place_database
from entry_points import Ended, Entry

from benchmarks.server import Server
from proxyflow.cli.app import load_command
from proxyflow.cli.running import status_of


@pytest.fixture(scope="module", autouse=True)
def forgotten_keys() -> None:
    """No module meets the keys of another's S3 server: boto3 and MLflow keep the first that they find."""
    if "boto3" in sys.modules:
        sys.modules["boto3"].DEFAULT_SESSION = None
    if "mlflow.store.artifact.s3_artifact_repo" in sys.modules:
        sys.modules["mlflow.store.artifact.s3_artifact_repo"]._cached_get_s3_client.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def time_to_answer(unhurried: None) -> None:
    """Every test here may meet a real server."""


@pytest.fixture(autouse=True)
def few_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws scores in tests with the marker `pictures` alone: it takes seconds, and most tests score something."""
    if request.node.get_closest_marker("pictures") is None:
        monkeypatch.setattr("proxyflow.scoring.pictures.draw_scores", lambda dataset, scores, folder: None)


@pytest.fixture
def entry(store: str, capfd: pytest.CaptureFixture[str]) -> Entry:
    """Calls an entry point in this process, exit status and messages as a process would have them."""

    def call(name: str, *arguments: str) -> Ended:
        capfd.readouterr()
        status = status_of(load_command(name), arguments)
        out, err = capfd.readouterr()
        return Ended(status, out, err)

    return call


@pytest.fixture(scope="module")
def grid_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Four configurations that train in a moment."""
    path = tmp_path_factory.mktemp("grid") / "tiny.yaml"
    path.write_text(
        "base: {arch: xresnet10-w16}\nconfigurations:\n  - {}\n  - {learning_rate: 0.01}\n"
        "  - {optimizer: sgd}\n  - {flip_probability: 0}\n"
    )
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server of the module's own over HTTP; gives its address."""
    folder = tmp_path_factory.mktemp("server")
    place_database(folder / "mlflow.db", "mlflow-artifacts:/0")
    with Server(folder) as running:
        yield running.uri
