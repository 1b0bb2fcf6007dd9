"""The tracking schema: every tag, metric and artifact path that users and other programs rely on."""

from __future__ import annotations

from typing import Literal

SCHEMA_VERSION = "1"

Kind = Literal["study", "score", "subset", "distillation", "training", "report"]
Status = Literal["running", "finished", "failed", "interrupted"]

# tags
KIND = "proxyflow.kind"
VERSION = "proxyflow.schema_version"
STATUS = "proxyflow.status"
ERROR = "proxyflow.error"
STUDY = "proxyflow.study"
DATASET = "proxyflow.dataset"
DATASET_FINGERPRINT = "proxyflow.dataset_fingerprint"
STRATEGY = "proxyflow.strategy"
CONFIG = "proxyflow.config"
CONFIG_GROUP = "proxyflow.config_group"
SEED = "proxyflow.seed"
EPOCHS = "proxyflow.epochs"
SUBSET_FINGERPRINT = "proxyflow.subset_fingerprint"
SUBSET_RUN = "proxyflow.subset_run"
SCORE_RUN = "proxyflow.score_run"
RUN_KEY = "proxyflow.run_key"
SCORES_HELD = "proxyflow.scores"
DIVERGED = "proxyflow.diverged"
OWNER = "proxyflow.owner"
HEARTBEAT = "proxyflow.heartbeat"
LAUNCHED = "proxyflow.launched"
DIRTY = "proxyflow.git_dirty"
RESUMED_FROM = "proxyflow.resumed_from"

NOTE = "mlflow.note.content"
PARENT = "mlflow.parentRunId"
RUN_NAME = "mlflow.runName"

# metrics of a training: once per epoch, and once per run
EPOCH_METRICS = ("train_loss", "valid_loss", "valid_accuracy", "epoch_seconds")
RUN_METRICS = (
    "best_valid_accuracy",
    "final_valid_accuracy",
    "best_epoch",
    "train_seconds",
    "setup_seconds",
    "wall_seconds",
    "examples_seen",
    "train_flops",
    "examples_per_second",
    "peak_memory_mb",
    "skipped_steps",
    "cost_usd",
)
# what choosing a training's examples cost, in the units that trainings are compared by
SELECTION_METRICS = ("selection_train_seconds", "selection_examples_seen", "selection_train_flops")

# artifact folders and files
SCORES = "scores"
SUBSET = "subset"
REPORT = "report"
WEIGHTS = "weights"
DISTILLATION = "distillation"
CHECKPOINT = "checkpoint"
