"""Ray gives what one process gives, and a worker that is killed takes nothing with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from entry_points import SECONDS, STUDY, spawn
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

pytest.importorskip("ray", reason="Ray is an optional extra: pip install 'proxyflow[ray]'")


def trainings(study: str) -> list[Run]:
    client = MlflowClient()
    found = client.get_experiment_by_name(study)
    everything = client.search_runs([found.experiment_id]) if found else []
    return [run for run in everything if run.data.tags.get("proxyflow.kind") == "training"]


def accuracies(study: str) -> dict[str, list[tuple[int, float]]]:
    """Run key to the accuracy of each epoch, of trainings that are finished."""
    client, curves = MlflowClient(), {}
    for run in trainings(study):
        if run.data.tags["proxyflow.status"] == "finished":
            history = client.get_metric_history(run.info.run_id, "valid_accuracy")
            curves[run.data.tags["proxyflow.run_key"]] = [(point.step, point.value) for point in history]
    return curves


def end(driver: subprocess.Popen[str]) -> None:
    """Ends a driver that is still there, and all that Ray started for it."""
    if driver.poll() is not None:
        return
    family = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    driver.wait(timeout=60)


def kill_a_worker_at_work(driver: subprocess.Popen[str], study: str) -> str:
    """Kills the first that is found, and returns who it was."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        assert driver.poll() is None, driver.communicate()[1]
        states = {run.data.tags["proxyflow.owner"]: run.data.tags["proxyflow.status"] for run in trainings(study)}
        working = [owner for owner, status in states.items() if status == "running"]
        if working:
            os.kill(int(working[0].split(" ")[1]), signal.SIGKILL)
            return working[0]
        time.sleep(0.1)
    raise AssertionError("no worker has begun")


@pytest.mark.slow
def test_a_ray_sweep_that_is_stopped_says_so_and_leaves_nothing_running(store: str, grid_file: Path) -> None:
    arguments = ["--grid", str(grid_file), "--strategies", "full", "--epochs", "60", "--executor", "ray", *STUDY]
    MlflowClient().search_experiments()  # makes the store's tables, which two processes cannot do together
    child = spawn(store, Path.cwd(), "sweep", "--study", "stopped", *arguments)
    try:
        deadline = time.monotonic() + SECONDS
        while not trainings("stopped"):
            assert time.monotonic() < deadline, "no worker has begun"
            assert child.poll() is None, child.communicate()[1]
            time.sleep(0.1)
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=SECONDS)
    finally:
        end(child)
    assert child.returncode == 143, err
    assert "Traceback" not in err
    assert "stopped by SIGTERM; rerun the command to resume" in err
    client = MlflowClient()
    found = client.get_experiment_by_name("stopped")
    assert found is not None
    states = {(run.info.status, run.data.tags["proxyflow.status"]) for run in client.search_runs([found.experiment_id])}
    assert states == {("FINISHED", "finished"), ("KILLED", "interrupted")}


@pytest.mark.slow
def test_ray_gives_what_local_gives_though_a_worker_is_killed(
    store: str, grid_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sums depend on the number of threads, so both have one.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shared = ["--grid", str(grid_file), "--strategies", "full,random:0.5", "--epochs", "2", *STUDY]
    alone = spawn(store, Path.cwd(), "sweep", "--study", "alone", *shared)
    _, err = alone.communicate(timeout=SECONDS)
    assert alone.returncode == 0, err
    actors = spawn(store, Path.cwd(), "sweep", "--study", "actors", "--executor", "ray", "--jobs", "2", *shared)
    try:
        killed = kill_a_worker_at_work(actors, "actors")
        _, err = actors.communicate(timeout=SECONDS)
    finally:
        end(actors)
    assert actors.returncode == 0, err
    wanted = accuracies("alone")
    assert len(wanted) == 8
    assert accuracies("actors") == wanted
    states = Counter(run.data.tags["proxyflow.status"] for run in trainings("actors"))
    assert states == {"finished": 8, "failed": 1}
    (failed,) = (run for run in trainings("actors") if run.data.tags["proxyflow.status"] == "failed")
    assert failed.data.tags["proxyflow.error"] == "its worker process died before the run ended"
    assert failed.data.tags["proxyflow.owner"] == killed
    # Where its successor starts slowly, the other worker may have done all the rest by then.
    owners = {run.data.tags["proxyflow.owner"] for run in trainings("actors")}
    assert len(owners) in (2, 3)


@pytest.mark.slow
def test_no_password_is_in_rays_files_or_on_a_command_line(
    store: str, grid_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "pass-se-cret"
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", secret)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    MlflowClient().search_experiments()
    arguments = ["--grid", str(grid_file), "--strategies", "full", "--epochs", "2", "--executor", "ray", *STUDY]
    # Ray's sockets are in there, whose paths have to be short.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        child = spawn(store, Path.cwd(), "sweep", "--study", "secret", *arguments)
        lines = set()
        try:
            while child.poll() is None:
                for process in psutil.Process(child.pid).children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        lines.add(" ".join(process.cmdline()))
                time.sleep(0.2)
        finally:
            child.kill()
            _, err = child.communicate()
        assert child.returncode == 0, err
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        names = {path.name for path in files}
        assert "raylet.out" in names, names
        assert [path for path in files if secret.encode() in path.read_bytes()] == []
    assert any("raylet" in line for line in lines)
    assert [line for line in lines if secret in line] == []
