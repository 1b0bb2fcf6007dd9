"""Entry points as tests run them: in this process for speed, in their own where signals or mlflow matter."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from entry_points import Ended, Entry

from benchmarks.server import Server


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


@pytest.fixture
def entry(store: str, capfd: pytest.CaptureFixture[str]) -> Entry:
    """Calls an entry point in this process, exit status and messages as a process would have them."""
    from entrypoints import _cli

    def call(name: str, *arguments: str) -> Ended:
        command = getattr(importlib.import_module(f"entrypoints.{name}"), name)
        before = sys.argv
        sys.argv = [name, *arguments]
        capfd.readouterr()
        try:
            status = _cli._status_of(command)
        finally:
            sys.argv = before
        out, err = capfd.readouterr()
        return Ended(status, out, err)

    return call


@pytest.fixture(scope="module")
def grid_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Four configurations that train in a moment."""
    path = tmp_path_factory.mktemp("grid") / "tiny.yaml"
    path.write_text(
        "base: {arch: xresnet18}\nconfigurations:\n  - {}\n  - {learning_rate: 0.01}\n"
        "  - {optimizer: sgd}\n  - {flip_probability: 0}\n"
    )
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server of the module's own over HTTP; gives its address."""
    with Server(tmp_path_factory.mktemp("server")) as running:
        yield running.uri
