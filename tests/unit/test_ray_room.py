"""How many Ray workers there is room for, and what they are told; on a cluster that is made up."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

from proxyflow.core.errors import InvalidValue, Terminated
from proxyflow.studies.executors import Resources, executors
from proxyflow.studies.executors.ray import _allocate

Cluster = Callable[..., ModuleType]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A module `ray` that tells of machines with so many cores, and of GPUs that are there and free."""

    def make(
        cores: tuple[float, ...] = (8,), gpus: float = 0, free_gpus: float | None = None, busy: float = 0
    ) -> ModuleType:
        ray: Any = ModuleType("ray")
        ray.__spec__ = ModuleSpec("ray", None)
        total = {"CPU": sum(cores)} | ({"GPU": gpus} if gpus else {})
        free = {"CPU": sum(cores) - busy} | ({"GPU": gpus if free_gpus is None else free_gpus} if gpus else {})
        ray.cluster_resources = lambda: dict(total)
        ray.available_resources = lambda: dict(free)
        ray.nodes = lambda: [
            *({"Alive": True, "Resources": {"CPU": each}} for each in cores),
            {"Alive": False, "Resources": {"CPU": 1000.0}},
        ]
        ray.is_initialized = lambda: True
        monkeypatch.setitem(sys.modules, "ray", ray)
        return ray

    return make


def test_a_worker_for_each_free_gpu(cluster: Cluster) -> None:
    cluster(cores=(16,), gpus=4)
    assert _allocate(Resources()) == (4, 1.0, 1.0)
    cluster(cores=(16,), gpus=4, free_gpus=3)
    assert executors["ray"].jobs(Resources()) == 3


def test_fewer_where_fewer_are_asked_for(cluster: Cluster) -> None:
    cluster(gpus=4)
    assert _allocate(Resources(jobs=2)) == (2, 1.0, 1.0)


def test_a_gpu_is_shared_by_as_many_as_it_has_room_for(cluster: Cluster) -> None:
    cluster(cores=(2,), gpus=2)
    assert _allocate(Resources(gpus_per_job=0.5)) == (4, 0.5, 0.5)
    assert _allocate(Resources(gpus_per_job=0.1))[0] == 20
    assert _allocate(Resources(gpus_per_job=1 / 3))[0] == 6
    assert _allocate(Resources(gpus_per_job=0.6))[0] == 2, "a share is on one GPU"


def test_several_gpus_for_each(cluster: Cluster) -> None:
    cluster(cores=(8,), gpus=5)
    assert _allocate(Resources(gpus_per_job=2)) == (2, 1.0, 2)


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        (Resources(), "jobs=auto is not accepted: the cluster has 0 of 2 GPUs free"),
        (Resources(jobs=3), "jobs=3 is not accepted: .*gpus_per_job=1, so 0 fit: wait, or give fewer"),
    ],
)
def test_a_cluster_whose_gpus_are_busy_is_said(cluster: Cluster, resources: Resources, message: str) -> None:
    cluster(gpus=2, free_gpus=0)
    with pytest.raises(InvalidValue, match=message):
        executors["ray"].jobs(resources)


def test_more_jobs_than_gpus_are_refused(cluster: Cluster) -> None:
    cluster(gpus=2)
    with pytest.raises(InvalidValue, match=r"jobs=3 is not accepted: the cluster has 2 of 2 GPUs free .* so 2 fit"):
        _allocate(Resources(jobs=3))


def test_without_a_gpu_jobs_share_the_free_cores(cluster: Cluster) -> None:
    cluster(cores=(8,), busy=1)
    assert _allocate(Resources()) == (1, 7.0, 0.0)
    assert _allocate(Resources(jobs=2)) == (2, 3.0, 0.0)
    assert _allocate(Resources(jobs=7)) == (7, 1.0, 0.0)
    with pytest.raises(InvalidValue, match=r"jobs=8 is not accepted: the cluster has 7 cores free and no GPU"):
        _allocate(Resources(jobs=8))
    with pytest.raises(InvalidValue, match=r"gpus_per_job=0.5 is not accepted: the Ray cluster has no GPU"):
        _allocate(Resources(gpus_per_job=0.5))


def test_no_worker_asks_for_more_cores_than_one_machine_has(cluster: Cluster) -> None:
    cluster(cores=(4, 6))
    assert _allocate(Resources()) == (1, 6.0, 0.0)
    assert _allocate(Resources(jobs=2)) == (2, 5.0, 0.0)


def test_a_cluster_without_a_free_core_is_said(cluster: Cluster) -> None:
    cluster(cores=(2,), busy=2)
    with pytest.raises(InvalidValue, match=r"jobs=auto is not accepted: the cluster has 0 cores free"):
        _allocate(Resources())


def test_more_than_one_gpu_is_a_whole_number_of_them() -> None:
    with pytest.raises(InvalidValue, match=r"gpus_per_job=1.5 is not accepted: above 1, Ray assigns whole GPUs only"):
        executors["ray"].check(Resources(gpus_per_job=1.5))
    executors["ray"].check(Resources(gpus_per_job=2.0))


@pytest.fixture
def starting(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Ray is started with."""
    ray: Any = cluster()
    told: dict[str, Any] = {}

    def init(**options: Any) -> None:
        told.update(options)
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))  # as Ray does
        if options["address"] == "auto":
            raise ConnectionError("no cluster\nhere")

    ray.is_initialized, ray.init = lambda: False, init
    return told


def test_a_cluster_of_ones_own_is_started_whatever_ray_finds_in_the_environment(starting: dict[str, Any]) -> None:
    assert executors["ray"].jobs(Resources()) == 1
    assert starting["address"] == "local"
    assert os.environ["PROXYFLOW_STATE_DIR"] == starting["runtime_env"]["env_vars"]["PROXYFLOW_STATE_DIR"]
    assert "py_modules" not in starting["runtime_env"]


def test_a_cluster_that_does_not_answer_is_said_in_a_line(starting: dict[str, Any]) -> None:
    with pytest.raises(
        InvalidValue, match=r"address=auto is not accepted: no Ray cluster responds there \(no cluster here\)"
    ):
        executors["ray"].jobs(Resources(address="auto"))
    assert [path.rsplit("/", 1)[1] for path in starting["runtime_env"]["py_modules"]] == ["proxyflow"]


@pytest.mark.parametrize("address", [None, "auto"])
def test_ray_is_told_no_password_and_no_key(
    starting: dict[str, Any], monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    for name in ("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "se-cret")
    with contextlib.suppress(InvalidValue):
        executors["ray"].jobs(Resources(address=address))
    assert starting["address"]
    assert "se-cret" not in str(starting)


def test_an_address_where_nothing_listens_is_said_at_once(starting: dict[str, Any]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
            with pytest.raises(InvalidValue, match=rf"address={address} is not accepted: .* refused"):
                executors["ray"].jobs(Resources(address=address))
    assert starting == {}, "Ray would have tried for minutes"


def test_sigterm_while_ray_starts_is_sigterm(starting: dict[str, Any], cluster: Cluster) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def init(**options: Any) -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
        signal.raise_signal(signal.SIGTERM)

    ray: Any = sys.modules["ray"]
    ray.init = init
    with pytest.raises(Terminated):
        executors["ray"].jobs(Resources())
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_stays_ours(starting: dict[str, Any]) -> None:
    def ours(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGTERM, ours)
    try:
        executors["ray"].jobs(Resources())
        assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)
