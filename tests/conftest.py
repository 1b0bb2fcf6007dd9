"""Fixtures that more than one kind of test needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Networks of 8 pixels gain nothing from threads, and threads of processes that share cores wait for each other;
# set before anything imports torch.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from hypothesis import HealthCheck, settings

# The same examples each time and nothing that depends on the clock: what is refused on one machine is on the other.
settings.register_profile(
    "suite", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

ROOT = Path(__file__).parent.parent
collect_ignore = ["support"]  # a package there has tests of its own
# MLflow reads these at import; tests must neither report home nor find a server of the developer's.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_URI"):
    os.environ.pop(name, None)


def cuda_devices() -> int:
    """CUDA devices of this machine; torch is asked only where a driver may know of one."""
    from proxyflow.core.platform import may_have_gpu

    if not may_have_gpu():
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests with the marker `cuda` where there is no device for them."""
    marked = [(item, marker) for item in items if (marker := item.get_closest_marker("cuda"))]
    found = cuda_devices() if marked else 0
    for item, marker in marked:
        needed = marker.kwargs.get("devices", 1)
        if found < needed:
            item.add_marker(pytest.mark.skip(reason=f"needs {needed} CUDA device(s), and this machine has {found}"))


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory of the session's own: nothing of the developer's is read, written or downloaded to."""
    folder = tmp_path_factory.mktemp("data")
    os.environ["PROXYFLOW_DATA_DIR"] = str(folder)
    os.environ.pop("PROXYFLOW_CACHE_DIR", None)
    return folder


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Journals of the session's own: no run of the developer's is delivered, none of ours is left with him."""
    folder = tmp_path_factory.mktemp("state")
    os.environ["PROXYFLOW_STATE_DIR"] = str(folder)
    return folder


@pytest.fixture(scope="module")
def unhurried() -> Iterator[None]:
    """Gives a server of one worker on a busy machine longer to answer at first than a user would wait."""
    from proxyflow.tracking import connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "CONNECT_TIMEOUT_SECONDS", 30)
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking store of the module's own, set as MLflow's."""
    import mlflow
    from databases import place_database

    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    place_database(folder / "mlflow.db", str(folder / "mlruns" / "0"))
    before = Path.cwd()
    os.chdir(folder)  # artifacts of a sqlite store go below the working folder
    mlflow.set_tracking_uri(uri)
    os.environ["MLFLOW_TRACKING_URI"] = uri
    yield uri
    os.environ.pop("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(None)
    os.chdir(before)
