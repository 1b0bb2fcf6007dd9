"""Subset runs: found on the tracking server by key or by id, or made."""

from __future__ import annotations

import dataclasses

from proxyflow.data.catalog import Dataset
from proxyflow.errors import UserError, one_line
from proxyflow.scoring.table import ExampleScores, SelectionCost
from proxyflow.strategies import Strategy
from proxyflow.studies.lab import Lab, dataset_params, once, scratch
from proxyflow.studies.plan import PlannedTraining, subset_key
from proxyflow.studies.scores import load_scores
from proxyflow.studies.tasks import SubsetRef
from proxyflow.subsets import Subset, choose_subset
from proxyflow.subsets.artifact import MANIFEST_FILE, checksums_of, read_subset, write_subset
from proxyflow.tracking import names
from proxyflow.tracking.found import FoundRun
from proxyflow.tracking.links import paragraphs, plain
from proxyflow.tracking.reader import get_run, search
from proxyflow.tracking.transfer import fetch


def find_subset(
    lab: Lab, dataset: Dataset, strategy: Strategy, seed: int, scores: ExampleScores | None
) -> FoundRun | None:
    """The finished subset run that these inputs would give again, if there is one."""
    key = subset_key(dataset.fingerprint, strategy, seed, _score_run(strategy, scores))
    return next((run for run in search(lab.client, KIND="subset", RUN_KEY=key) if run.finished), None)


def ensure_subset(
    lab: Lab,
    dataset: Dataset,
    strategy: Strategy,
    seed: int,
    scores: ExampleScores | None,
    parent_id: str | None = None,
) -> tuple[Subset, str]:
    """The subset and its run's id: found on the server, or made now."""
    strategy = strategy.data_strategy
    title = f"subset {strategy.canonical} of {dataset.name}"

    def find() -> tuple[Subset, str] | None:
        found = find_subset(lab, dataset, strategy, seed, scores)
        if found is None:
            return None
        lab.say(f"{title}: found in run {found.id}")
        _choose_again(lab, found.id, dataset, strategy, seed, scores, found.tags.get(names.SUBSET_FINGERPRINT, ""))
        return load_subset(lab, found.id), found.id

    def make() -> tuple[Subset, str]:
        return make_subset(lab, dataset, strategy, seed, scores, parent_id, claim=True)

    key = subset_key(dataset.fingerprint, strategy, seed, _score_run(strategy, scores))
    return once(lab, "subset", key, title, find, make)


def _choose_again(
    lab: Lab,
    run_id: str,
    dataset: Dataset,
    strategy: Strategy,
    seed: int,
    scores: ExampleScores | None,
    fingerprint: str,
) -> None:
    """Keeps a known subset as an index into the store that all subsets share; its files would be a copy."""
    if run_id not in lab.subsets:
        subset = choose_subset(dataset, strategy, seed, scores)
        if subset.fingerprint == fingerprint:
            lab.subsets[run_id] = subset


def load_chosen(lab: Lab, planned: PlannedTraining, reference: SubsetRef) -> Subset:
    """The subset of a planned training: chosen again where the data set is at hand, else downloaded."""
    if reference.run_id not in lab.subsets and not planned.strategy.synthetic:
        try:
            dataset = lab.dataset(planned.dataset)
        except UserError as error:
            lab.say(f"training on the artifact of run {reference.run_id}, as {one_line(error)}")
        else:
            strategy, scores = planned.strategy.data_strategy, None
            if reference.score_run:
                run = get_run(lab.client, reference.score_run, "score", "scores")
                scores = load_scores(lab, run, strategy.needs)
            _choose_again(lab, reference.run_id, dataset, strategy, reference.seed, scores, reference.fingerprint)
    return load_subset(lab, reference.run_id)


def load_subset(lab: Lab, run_id: str) -> Subset:
    """Downloads a subset run's artifact, once per process, and its large files once per machine.

    Raises:
        UserError: the run's artifact is missing or altered, or its tag states another fingerprint.
    """
    if run_id not in lab.subsets:
        stated = get_run(lab.client, run_id, "subset", "subset", also="distillation").tags.get(names.SUBSET_FINGERPRINT)
        with scratch() as folder:
            fetch(lab.client, run_id, f"{names.SUBSET}/{MANIFEST_FILE}", folder / MANIFEST_FILE)
            for name, checksum in checksums_of(folder).items():
                lab.fetch(run_id, f"{names.SUBSET}/{name}", folder / name, checksum)
            subset = read_subset(folder)
        if stated and subset.fingerprint != stated:
            raise UserError(
                f"subset={run_id}: its files are not those that the run was tagged with ({stated}); materialize it "
                "again"
            )
        lab.subsets[run_id] = subset
    return lab.subsets[run_id]


def make_subset(
    lab: Lab,
    dataset: Dataset,
    strategy: Strategy,
    seed: int,
    scores: ExampleScores | None,
    parent_id: str | None = None,
    main: bool = False,
    claim: bool = False,
) -> tuple[Subset, str]:
    """Selects a subset and logs it as a self-contained artifact.

    Raises:
        Taken: with `claim`, where another process has or had this subset.
    """
    subset = choose_subset(dataset, strategy, seed, scores)
    tags = {
        names.DATASET: dataset.name,
        names.DATASET_FINGERPRINT: dataset.fingerprint,
        names.STRATEGY: strategy.canonical,
        names.SEED: seed,
        names.SUBSET_FINGERPRINT: subset.fingerprint,
        names.SCORE_RUN: subset.score_run or None,
        names.RUN_KEY: subset_key(dataset.fingerprint, strategy, seed, _score_run(strategy, scores)),
    }
    note = paragraphs(
        f"{len(subset.train):,} of the {len(dataset.train):,} training examples of {plain(dataset.name)}, chosen by "
        f"{plain(strategy.canonical)}: {plain(strategy.summary)}.",
        f"Chosen by {lab.links.run('these scores', subset.score_run)}." if subset.score_run else "",
    )
    with lab.writer.open("subset", f"{dataset.name} · {strategy.canonical}", note, tags, parent_id, main, claim) as run:
        run.log_params(
            {
                **dataset_params(dataset),
                "strategy": strategy.canonical,
                "seed": seed,
                "n_train": len(subset.train),
                "n_valid": len(subset.valid),
                "n_classes": len(subset.classes),
            }
        )
        run.log_data(dataset.name, dataset.fingerprint, "source", len(dataset.train), len(dataset.class_names))
        with scratch() as folder:
            write_subset(subset, folder / names.SUBSET)
            run.log_folder(folder / names.SUBSET, names.SUBSET)
        run.log_metrics(
            {
                "n_train": float(len(subset.train)),
                "fraction": len(subset.train) / len(dataset.train),
                "smallest_class": float(min(subset.class_counts.values())),
                "largest_class": float(max(subset.class_counts.values())),
            }
            | selection_metrics(subset.selection)
        )
    lab.subsets[run.id] = subset
    lab.say(f"subset {strategy.canonical} of {dataset.name}: {len(subset.train):,} examples, made in run {run.id}")
    return subset, run.id


def selection_metrics(cost: SelectionCost | None) -> dict[str, float | None]:
    """What a choice cost, as metrics of the subset and of every training on it; nothing where it is not known."""
    values = (None,) * len(names.SELECTION_METRICS) if cost is None else dataclasses.astuple(cost)
    return dict(zip(names.SELECTION_METRICS, values, strict=True))


def _score_run(strategy: Strategy, scores: ExampleScores | None) -> str:
    return scores.run_id if strategy.needs_scores and scores is not None else ""
