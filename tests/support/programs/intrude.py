"""A program that does something to its MLflow run that is not its business."""

import json
import os
import sys
from pathlib import Path

import mlflow

mode = sys.argv[1]
RUN = os.environ["MLFLOW_RUN_ID"]
CLIENT = mlflow.MlflowClient()


def report(**values: float) -> None:
    with (Path(os.environ["PROXYFLOW_OUTPUT"]) / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(values) + "\n")


if mode == "tags":
    for name in ("status", "run_key", "config_json", "strategy", "seed", "kind", "dataset_fingerprint"):
        CLIENT.set_tag(RUN, f"proxyflow.{name}", "nonsense")
    report(epoch=1, valid_loss=0.5)
elif mode == "metrics":
    for name in ("objective", "train_seconds", "best_valid_loss", "best_epoch", "wall_seconds"):
        CLIENT.log_metric(RUN, name, 1e6, step=50)
    report(epoch=1, valid_loss=0.5)
elif mode == "ends":
    with mlflow.start_run():
        mlflow.log_metric("valid_loss", 0.5, step=1)
        mlflow.end_run("FAILED")
    CLIENT.log_metric(RUN, "valid_loss", 0.4, step=2)
elif mode == "names":
    report(
        epoch=1, **{"valid_loss": 0.5, "top-5 (val) @1": 1, "": 1, "a" * 300: 1, "ü": 1, "../x": 1, "a//b": 1, ":": 1}
    )
elif mode == "deletes":
    report(epoch=1, valid_loss=0.5)
    CLIENT.delete_run(RUN)
elif mode == "other-run":
    with mlflow.start_run(run_id=CLIENT.create_run(os.environ["MLFLOW_EXPERIMENT_ID"]).info.run_id):
        mlflow.log_metric("valid_loss", 0.1)
    report(epoch=1, valid_loss=0.5)
else:
    raise AssertionError(mode)
