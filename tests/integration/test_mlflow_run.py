"""`mlflow run` makes the run before we start and rewrites its status after we end: what it says must stay true."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml
from entry_points import ROOT, SECONDS, environment
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from proxyflow.cli.app import COMMANDS
from proxyflow.cli.mlproject import mlproject


def mlflow_run(uri: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # MLproject's commands say `python`, which is the one on PATH.
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return subprocess.run(
        [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local", *arguments],
        env=environment(uri, PATH=path),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def newest(experiment: str) -> Run:
    client = MlflowClient()
    found = client.get_experiment_by_name(experiment)
    assert found
    return next(
        run
        for run in client.search_runs([found.experiment_id], order_by=["attributes.start_time DESC"])
        if "mlflow.project.entryPoint" in run.data.tags
    )


def parameters(**values: object) -> list[str]:
    return [word for key, value in values.items() for word in ("-P", f"{key}={value}")]


def test_a_training_takes_over_the_run_that_mlflow_made(store: str) -> None:
    small = parameters(arch="xresnet10-w16", image_size=8, epochs=1, strategy="random:0.1", learning_rate="3e-3")
    ended = mlflow_run(store, "-e", "train", "--run-name", "my night run", *small)
    assert ended.returncode == 0, ended.stderr
    run = newest("Default")
    assert run.info.run_name == "my night run"
    assert run.info.status == "FINISHED"
    assert run.data.tags["proxyflow.kind"] == "training"
    assert run.data.tags["proxyflow.status"] == "finished"
    assert run.data.tags["proxyflow.study"] == "Default"
    assert run.data.params["learning_rate"] == "3e-3", "as it was typed; tags are for programs"
    assert run.data.params["precision_used"] == "fp32"
    assert "best_valid_accuracy" in run.data.metrics


def test_a_refused_request_leaves_a_failed_run_that_says_why(store: str) -> None:
    ended = mlflow_run(store, "-e", "train", *parameters(strategy="random:2"))
    assert ended.returncode == 1
    assert "error: strategy random: F=2 is not accepted" in ended.stderr
    run = newest("Default")
    assert run.info.status == "FAILED"
    assert run.data.tags["proxyflow.status"] == "failed"
    assert "F=2 is not accepted" in run.data.tags["proxyflow.error"]


def test_a_parameter_that_mlproject_spells_otherwise_is_refused(store: str) -> None:
    ended = mlflow_run(store, "-e", "train", "-P", "batch-size=16")
    assert ended.returncode == 1
    assert "batch-size=16 is not accepted" in ended.stderr
    assert "-P batch_size=16" in ended.stderr
    run = newest("Default")
    assert (run.info.status, run.data.tags["proxyflow.status"]) == ("FAILED", "failed")


def test_a_run_in_another_experiment_points_to_the_study(store: str) -> None:
    ended = mlflow_run(store, "-e", "materialize", *parameters(strategy="random:0.1", study="elsewhere"))
    assert ended.returncode == 0, ended.stderr
    pointer = newest("Default")
    assert pointer.data.tags["proxyflow.kind"] == "study"
    assert pointer.data.tags["proxyflow.status"] == "finished"
    work = MlflowClient().get_run(pointer.data.tags["proxyflow.launched"])
    assert work.data.tags["proxyflow.kind"] == "subset"
    assert MlflowClient().get_experiment(work.info.experiment_id).name == "elsewhere"


def test_declared_parameters_are_the_options() -> None:
    text = (ROOT / "MLproject").read_text()
    assert text == mlproject(), "python -m proxyflow.cli.mlproject writes it"
    project = yaml.safe_load(text)
    assert list(project["entry_points"]) == list(COMMANDS)
    assert project["entry_points"]["train"]["parameters"]["learning_rate"] == {"type": "string", "default": "0.003"}


def test_conda_environment_has_the_requirements_of_the_package() -> None:
    import tomllib

    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())
    # MLflow's uv manager understands exactly this shape, and a real conda reads it too.
    python, pip, requirements = conda["dependencies"]
    assert (python, pip, list(requirements)) == ("python=3.11", "pip", ["pip"])
    assert requirements["pip"] == package["dependencies"]
    assert package["requires-python"].startswith(">=3.11")
