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

# Metrics, each with what it means; docs/tracking.md has these very words.
# of a training, and of the first model of a score run: once per epoch
EPOCH_METRICS = {
    "train_loss": "mean loss over the epoch's training examples, in nats: cross-entropy, labels smoothed as configured",
    "valid_loss": "the same loss on the validation images after the epoch, in nats",
    "valid_accuracy": "share of the validation images that are classified rightly after the epoch, 0 to 1",
    "epoch_seconds": "seconds of the epoch, training and validation",
}
# of a training: once, at its end
RUN_METRICS = {
    "best_valid_accuracy": "the best `valid_accuracy` of any epoch: the result that proxies and target are compared by",
    "final_valid_accuracy": "`valid_accuracy` after the last epoch; 0 after a training that diverged",
    "best_epoch": "the first epoch with the best accuracy, from 1; 0 where none was finished",
    "train_seconds": "seconds of training and validation alone, no set-up, no logging: the cost that reports compare",
    "setup_seconds": "seconds of building the network and bringing the data to the device",
    "wall_seconds": "seconds of everything from the training's begin to its end",
    "examples_seen": "training examples pushed through the network, repeats counted",
    "train_flops": "floating-point operations of `examples_seen`, forward and backward",
    "examples_per_second": "`examples_seen` over `train_seconds`",
    "peak_memory_mb": "the most memory that was used, in MB of 2^20 bytes: of the GPU, or of the process on a CPU",
    "skipped_steps": "steps that the loss scaling of fp16 left out; only with fp16",
    "cost_usd": "US dollars of `wall_seconds`, where `price_per_hour` was given",
}
SHARES = ("best_valid_accuracy", "final_valid_accuracy")  # 0 to 1
# of a subset and every training on it: what choosing the examples cost, in the units that trainings are compared by
SELECTION_METRICS = {
    "selection_train_seconds": "`train_seconds` of the scoring models that chose the examples, and of applying them",
    "selection_examples_seen": "`examples_seen` of the scoring models",
    "selection_train_flops": "`train_flops` of the scoring models",
}
SCORE_METRICS = {
    "scoring_seconds": "seconds of looking at the examples with the trained models and of the measures",
    "agreement_SCORE": "mean Spearman correlation of a score between repeats, -1 to 1; only with `repeats`",
}
DISTILLATION_METRICS = {
    "loss": "the method's loss, the mean of a hundredth of its iterations; the step is the iteration",
    "estimated_memory_mb": "the memory that the method was expected to need, in MB of 2^20 bytes",
}
SUBSET_METRICS = {
    "n_train": "training examples of the subset",
    "fraction": "their share of the data set's training examples, 0 to 1",
    "smallest_class": "training examples of the class that has fewest",
    "largest_class": "training examples of the class that has most",
}
# of a study: grow while it goes on
STUDY_METRICS = {
    "runs_planned": "trainings of the plan",
    "runs_finished": "trainings that are finished",
    "runs_failed": "trainings that have failed for good",
    "hours": "hours since the sweep began",
    "hours_left": "hours that the rest will take, estimated",
    "cost_usd": "US dollars of `hours`, where `price_per_hour` was given",
}
REPORT_METRICS = {
    "MEASURE/STRATEGY": "a measure of a strategy's quality, as `r2/easiest:0.1`; [report.md](report.md) explains each",
    "ceiling_SOURCE/MEASURE": "the best value that noise leaves room for, likewise",
    "trainings": "trainings that the report counts",
    "missing_pairs": "pairs that lack a side",
}
# of studies, score runs and trainings, where asked for
SYSTEM_METRICS = {
    "system/NAME": "use of the machine, as MLflow measures it; the names end in their units",
}

# artifact folders and files
SCORES = "scores"
SUBSET = "subset"
REPORT = "report"
WEIGHTS = "weights"
DISTILLATION = "distillation"
CHECKPOINT = "checkpoint"
