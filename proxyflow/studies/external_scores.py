"""Score runs of predictions in a file: found by key, so that the same predictions are scored once, or made."""

from __future__ import annotations

import dataclasses
import time

from proxyflow.core.files import digest
from proxyflow.data.catalog import Dataset
from proxyflow.scores.table import ExampleScores
from proxyflow.scoring.external import ExternalScores
from proxyflow.studies.context import StudyContext, dataset_params, find_finished, find_or_make
from proxyflow.studies.plan import KEY_VERSION
from proxyflow.studies.scores import load_scores, log_scores
from proxyflow.tracking import names
from proxyflow.tracking.ui.links import escape_markdown


def key_of_predictions(dataset: Dataset, external: ExternalScores) -> str:
    """SHA-256 of all that determines the run: data, predictions, what is declared of them, and the scores there are.

    The predictions count, not their file: the same ones in another format or order of rows have the same key.
    """
    cost = external.scores.cost
    return digest(
        {
            "kind": "score",
            "version": KEY_VERSION,
            "dataset": dataset.fingerprint,
            "predictions": external.content_sha256,
            "prediction_kind": external.kind,
            "held_out": external.held_out,
            "cost": None if cost is None else cost[0].to_json(),
            "scores": external.scores.names,
        }
    )


def ensure_external_scores(
    context: StudyContext,
    dataset: Dataset,
    external: ExternalScores,
    parent_id: str | None = None,
    main: bool = False,
) -> ExampleScores:
    """The logged scores: from a finished run with the same key, or from a run that is made now."""

    def find() -> ExampleScores | None:
        found = find_finished(context, "score", key)
        if found is None:
            return None
        context.say(f"scores of {dataset.name}: these predictions are scored in run {found.id}")
        return load_scores(context, found, frozenset())

    def make() -> ExampleScores:
        return _make(context, dataset, external, key, parent_id, main)

    key = key_of_predictions(dataset, external)
    return find_or_make(context, "score", key, f"scores of {dataset.name}", find, make)


def _make(
    context: StudyContext, dataset: Dataset, external: ExternalScores, key: str, parent_id: str | None, main: bool
) -> ExampleScores:
    started = time.perf_counter()
    tags = {names.DATASET: dataset.name, names.DATASET_FINGERPRINT: dataset.fingerprint, names.RUN_KEY: key}
    sample = "held-out" if external.held_out else "in-sample"
    note = (
        f"Difficulty scores of the {len(dataset.train):,} training examples of {escape_markdown(dataset.name)}, by "
        f"{sample} {external.kind} in {escape_markdown(external.path.name)}."
    )
    title = f"{dataset.name} · scores · predictions"
    with context.writer.open("score", title, note, tags, parent_id, main, claim=True) as run:
        run.log_params(
            {
                **dataset_params(dataset),
                "predictions": names.shorten(str(external.path), names.PARAM_LENGTH),
                "predictions_sha256": external.file_sha256,
                "prediction_kind_used": external.kind,
                "held_out": str(external.held_out).lower(),
            }
        )
        run.log_data(dataset.name, dataset.fingerprint, "training", len(dataset.train), len(dataset.class_names))
        about = {"dataset": dataset.name, "dataset_fingerprint": dataset.fingerprint}
        log_scores(run, dataset, external.scores, external.summary() | about)
        seconds = time.perf_counter() - started
        cost = external.scores.cost
        metrics = {
            "train_seconds": None if cost is None else cost[0].train_seconds,
            "wall_seconds": seconds,
            "cost_usd": context.cost_usd(seconds),
        }
        # Searches find the run by this tag, so it is set only after the files are logged.
        run.log_metrics(metrics, tags={names.SCORE_NAMES: ",".join(external.scores.holds)})
    scores = dataclasses.replace(external.scores, run_id=run.id)
    context.scores[run.id] = scores
    context.say(f"scores of {dataset.name}: made in run {run.id}")
    return scores
