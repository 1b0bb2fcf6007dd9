"""Scores of a data set by a program of the user: it trains on everything and writes its predictions."""

from __future__ import annotations

import math
from pathlib import Path

from proxyflow.core.errors import TrainingFailed
from proxyflow.core.progress import Progress
from proxyflow.data.catalog import Dataset
from proxyflow.scores.table import SelectionCost
from proxyflow.scoring.external import ExternalScores, scores_from_file
from proxyflow.strategies import Full
from proxyflow.studies import trainings as training_runs
from proxyflow.studies.context import StudyContext
from proxyflow.studies.plan import PlannedTraining
from proxyflow.studies.subsets import ensure_subset, load_planned_subset
from proxyflow.trainers import TrainingSpec

PREDICTIONS = ("predictions.parquet", "predictions.csv", "predictions.npy")


def scores_by_program(
    context: StudyContext, dataset: Dataset, spec: TrainingSpec, kind: str, held_out: bool, folder: Path
) -> ExternalScores:
    """Trains the program on all training examples, in a run of its own, and scores the predictions that it wrote.

    Args:
        kind, held_out: what the predictions are, see `scores_from_file`.
        folder: an existing folder that gets all that the program writes to PROXYFLOW_OUTPUT.

    Raises:
        TrainingFailed: the program failed, or wrote no predictions.
        InvalidValue: the predictions are not of these examples.
    """
    planned = PlannedTraining(dataset.name, spec)
    reference = ensure_subset(context, dataset, Full(), spec.seed, None)
    subset = load_planned_subset(context, planned, reference)
    with Progress(f"scoring {dataset.name}", spec.epochs, "epochs") as progress:
        result, run_id = training_runs.train(
            context,
            planned,
            subset,
            reference.run_id,
            on_progress=lambda share, note: progress.advance(note=note) if share else progress.step(0.0, note),
            output=folder,
        )
    path = next((folder / name for name in PREDICTIONS if (folder / name).is_file()), None)
    if path is None:
        raise TrainingFailed(
            f"training run {run_id} ended well and wrote no predictions: a program that scores examples writes "
            f"PROXYFLOW_OUTPUT/{PREDICTIONS[0]} with a column id and a column per class, for all training examples"
        )
    unknown = math.nan
    cost = SelectionCost(result.train_seconds, result.examples_seen or unknown, result.train_flops or unknown)
    return scores_from_file(path, dataset, kind, held_out, cost)
