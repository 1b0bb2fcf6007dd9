"""Subset runs: finds subsets on the tracking server by key or id, or makes them."""

from __future__ import annotations

import dataclasses

from proxyflow.core.errors import InvalidValue, UserError, one_line
from proxyflow.data.catalog import Dataset
from proxyflow.scores.table import ExampleScores, SelectionCost
from proxyflow.strategies import Strategy
from proxyflow.studies.context import StudyContext, dataset_params, find_finished, find_or_make, temporary_folder
from proxyflow.studies.plan import PlannedTraining, subset_key
from proxyflow.studies.scores import load_scores
from proxyflow.studies.tasks import SubsetRef
from proxyflow.subsets import Subset, choose_subset
from proxyflow.subsets.artifact import MANIFEST_FILE, checksums_of, read_subset, write_subset
from proxyflow.subsets.subset import describe_difference
from proxyflow.tracking import names
from proxyflow.tracking.artifacts.transfer import fetch
from proxyflow.tracking.queries.reader import get_run
from proxyflow.tracking.queries.tracked_run import TrackedRun
from proxyflow.tracking.ui.links import escape_markdown, paragraphs


def find_subset(
    context: StudyContext, dataset: Dataset, strategy: Strategy, seed: int, scores: ExampleScores | None
) -> TrackedRun | None:
    """The finished subset run with the key of these inputs, or None."""
    return find_finished(context, "subset", _key(dataset, strategy, seed, scores))


def ensure_subset(
    context: StudyContext,
    dataset: Dataset,
    strategy: Strategy,
    seed: int,
    scores: ExampleScores | None,
    parent_id: str | None = None,
) -> SubsetRef:
    """Finds or makes a subset; returns the reference to its run."""
    strategy = strategy.data_strategy
    title = f"subset {strategy.canonical} of {dataset.name}"

    def find() -> SubsetRef | None:
        found = find_subset(context, dataset, strategy, seed, scores)
        return None if found is None else subset_ref(found)

    def make() -> SubsetRef:
        subset, run_id = make_subset(context, dataset, strategy, seed, scores, parent_id, claim=True)
        return SubsetRef(run_id, subset.fingerprint, subset.score_run, seed)

    return find_or_make(context, "subset", _key(dataset, strategy, seed, scores), title, find, make)


def subset_ref(run: TrackedRun) -> SubsetRef:
    """The reference to the subset of a subset run or a distillation run."""
    tags = run.tags
    fingerprint, score_run = tags.get(names.SUBSET_FINGERPRINT, ""), tags.get(names.SCORE_RUN, "")
    return SubsetRef(run.id, fingerprint, score_run, int(tags.get(names.SEED, 0)))


def load_planned_subset(context: StudyContext, planned: PlannedTraining, reference: SubsetRef) -> Subset:
    """The subset of a planned training: selected from the data set if it is on this machine, else downloaded."""
    if reference.run_id not in context.subsets and not planned.strategy.synthetic:
        try:
            dataset = context.dataset(planned.dataset)
        except UserError as error:
            context.say(f"training on the artifact of run {reference.run_id}: {one_line(error)}")
        else:
            strategy, scores = planned.strategy.data_strategy, None
            if reference.score_run:
                run = get_run(context.client, reference.score_run, "score", "scores")
                scores = load_scores(context, run, strategy.needs)
            try:
                # An index into the shared store; the run's artifact would be a copy of the images.
                subset = choose_subset(dataset, strategy, reference.seed, scores)
            except InvalidValue as error:
                # A file that the strategy names need not be on this machine.
                if not strategy.files:
                    raise
                context.say(f"training on the artifact of run {reference.run_id}: {one_line(error)}")
                return load_subset(context, reference.run_id)
            if subset.fingerprint == reference.fingerprint:
                context.subsets[reference.run_id] = subset
            else:
                _say_changed(context, planned, reference, subset)
    return load_subset(context, reference.run_id)


def _say_changed(context: StudyContext, planned: PlannedTraining, reference: SubsetRef, here: Subset) -> None:
    """Says that the data set has changed since the study was planned, and which example has."""
    made = load_subset(context, reference.run_id)
    keys = zip(made.train.content_hashes.tolist(), made.train.labels.tolist(), strict=True)
    difference = describe_difference(here.train, keys) or "its validation or test examples differ"
    what = f"{planned.dataset} or a file of the strategy" if planned.strategy.data_strategy.files else planned.dataset
    context.say(
        f"warning: {what} has changed since {planned.strategy.canonical} was selected from it "
        f"({difference}); training on the artifact of run {reference.run_id}"
    )


def load_subset(context: StudyContext, run_id: str) -> Subset:
    """Downloads a subset run's artifact; cached per process, its large files per machine.

    Raises:
        UserError: the artifact is missing or altered, or does not match the run's fingerprint tag.
    """
    if run_id not in context.subsets:
        stated = get_run(context.client, run_id, "subset", "subset", also="distillation").tags.get(
            names.SUBSET_FINGERPRINT
        )
        with temporary_folder() as folder:
            fetch(context.client, run_id, f"{names.SUBSET}/{MANIFEST_FILE}", folder / MANIFEST_FILE)
            for name, checksum in checksums_of(folder).items():
                context.fetch(run_id, f"{names.SUBSET}/{name}", folder / name, checksum)
            subset = read_subset(folder, context.data)
        if stated and subset.fingerprint != stated:
            raise UserError(
                f"subset={run_id}: its files do not match the run's fingerprint tag ({stated}); materialize it again"
            )
        context.subsets[run_id] = subset
    return context.subsets[run_id]


def make_subset(
    context: StudyContext,
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
        Taken: with `claim`, if another process makes this subset or has made it.
    """
    subset = choose_subset(dataset, strategy, seed, scores)
    tags = {
        names.DATASET: dataset.name,
        names.DATASET_FINGERPRINT: dataset.fingerprint,
        names.STRATEGY: strategy.canonical,
        names.SEED: seed,
        names.SUBSET_FINGERPRINT: subset.fingerprint,
        names.SCORE_RUN: subset.score_run or None,
        names.RUN_KEY: _key(dataset, strategy, seed, scores),
    }
    note = paragraphs(
        f"{len(subset.train):,} of the {len(dataset.train):,} training examples of {escape_markdown(dataset.name)}, "
        f"chosen by {escape_markdown(strategy.canonical)}: {escape_markdown(strategy.summary)}.",
        f"Chosen by {context.links.run('these scores', subset.score_run)}." if subset.score_run else "",
    )
    with context.writer.open(
        "subset", f"{dataset.name} · {strategy.canonical}", note, tags, parent_id, main, claim
    ) as run:
        run.log_params(
            {
                **dataset_params(dataset),
                "strategy": names.shorten(strategy.canonical, names.PARAM_LENGTH),  # the tag has it in full
                "seed": seed,
                **size_params(subset),
            }
        )
        run.log_data(dataset.name, dataset.fingerprint, "source", len(dataset.train), len(dataset.class_names))
        with temporary_folder() as folder:
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
    context.subsets[run.id] = subset
    context.say(f"subset {strategy.canonical} of {dataset.name}: {len(subset.train):,} examples, made in run {run.id}")
    return subset, run.id


def selection_metrics(cost: SelectionCost | None) -> dict[str, float | None]:
    """Cost of a selection, logged with the subset and with every training on it; None where unknown."""
    values = (None,) * len(names.SELECTION_METRICS) if cost is None else dataclasses.astuple(cost)
    return dict(zip(names.SELECTION_METRICS, values, strict=True))


def size_params(subset: Subset) -> dict[str, int]:
    """Sizes of a subset, as params of its run and of every training on it."""
    sizes = {"n_train": len(subset.train), "n_valid": len(subset.valid)}
    return sizes | ({} if subset.test is None else {"n_test": len(subset.test)}) | {"n_classes": len(subset.classes)}


def _key(dataset: Dataset, strategy: Strategy, seed: int, scores: ExampleScores | None) -> str:
    score_run = scores.run_id if strategy.needs_scores and scores is not None else ""
    return subset_key(dataset.fingerprint, strategy, seed, score_run)
