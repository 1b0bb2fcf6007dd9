"""Which trainings count: finished, with a value of the study's metric, at its epochs, each experiment once."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from proxyflow.quality.objective import Objective, choose_metric, fill_diverged, turn
from proxyflow.quality.spelling import epochs_named
from proxyflow.quality.unranked import flag_unranked

TARGET = "full"
# What a data set's fingerprint covers besides its training examples: the option that sets it, and a verb for notes.
JUDGED_BY = {"n_valid": ("valid_examples", "validated"), "n_test": ("test_examples", "tested")}
KEY = ["dataset", "strategy", "config", "seed"]


@dataclass(frozen=True, eq=False)
class SelectedRuns:
    """Trainings that enter the measures.

    Attributes:
        frame: one row per (dataset, strategy, config, seed), with `value`, see `objective.turn`, and `unranked`, see
            `unranked.flag_unranked`.
        objective: what they are compared by.
        epochs: the study's full epoch count, None where no target run states one.
        notes: what was left out and why.
    """

    frame: pd.DataFrame
    objective: Objective
    epochs: int | None
    notes: tuple[str, ...]


def canonicalize_datasets(trainings: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Gives a folder or file that was read under several paths one name, the latest, as its content is one data set.

    Returns:
        The trainings, and a note for each name that was replaced or that has several contents.
    """
    if "dataset_fingerprint" not in trainings or trainings.empty:
        return trainings, []
    frame = trainings.copy()
    known = frame[frame["dataset_fingerprint"].astype(str) != ""]
    # Only data sets of the user's own have a colon: `folder:PATH`, `table:FILE`.
    own = known[known["dataset"].str.contains(":")].sort_values("end_time", kind="stable", na_position="first")
    latest = own.groupby("dataset_fingerprint")["dataset"].last()
    renamed = frame["dataset_fingerprint"].map(latest)
    is_own = frame["dataset"].str.contains(":") & renamed.notna()
    frame["dataset"] = frame["dataset"].mask(is_own, renamed)
    moved = frame.loc[is_own, "dataset"].groupby(trainings.loc[is_own, "dataset"]).first()
    notes = [f"{old} has the same content as {new} and is shown as {new}." for old, new in moved.items() if old != new]
    known = frame[frame["dataset_fingerprint"].astype(str) != ""]
    for name, rows in known.groupby("dataset"):
        notes += _changes(str(name), rows)
    return frame, notes


def _changes(name: str, rows: pd.DataFrame) -> list[str]:
    """Notes on a data set with several fingerprints: evaluated on different examples, or with different content."""
    fingerprints = rows["dataset_fingerprint"].nunique()
    if fingerprints < 2:
        return []
    notes = []
    judged = rows.reindex(columns=["dataset_fingerprint", "strategy", *JUDGED_BY]).astype(
        dict.fromkeys(JUDGED_BY, "Int64")
    )
    # Strategies by classes evaluate on fewer examples, so only strategies that every fingerprint has can be compared.
    shared = judged.groupby("strategy")["dataset_fingerprint"].transform("nunique") == fingerprints
    sizes = judged[shared].groupby("dataset_fingerprint")[list(JUDGED_BY)].max()
    for column, (option, verb) in JUDGED_BY.items():
        # A training without test examples has no n_test.
        found = sizes[column].fillna(0) if option == "test_examples" else sizes[column].dropna()
        values = sorted(set(found.tolist()))
        if len(values) > 1:
            listed = f"{', '.join(f'{value:,}' for value in values[:-1])} and {values[-1]:,}"
            notes.append(
                f"the data set {name} was {verb} on {listed} examples ({option}) in this study, so pairs may mix them: "
                "use one study per number."
            )
    # Equal numbers with several fingerprints mean that something else has changed as well.
    if not notes or len(sizes.drop_duplicates()) < fingerprints:
        notes.append(
            f"the data set {name} changed during the study ({fingerprints} fingerprints), so pairs may mix versions of "
            "it: use one study per version."
        )
    return notes


def select_runs(trainings: pd.DataFrame) -> SelectedRuns:
    """Chooses the runs that enter the measures.

    Args:
        trainings: columns `status`, `dataset`, `strategy`, `config`, `seed`, `epochs` (nullable),
            `end_time`, `run_key`, `diverged`, `objective`, those of `objective.METRIC_COLUMNS`, and
            `dataset_fingerprint`, `test_objective`, `chance_objective` and `n_valid` where they are known.

    Returns:
        Finished runs with a value of the metric that most runs have. The target is `full` at the epoch count that most
        of its runs have (the larger of two that tie); other strategies count where they trained as long (those with a
        part `epochs:N` where they trained N), or state no epochs. Of several runs of one cell the one that ended last
        counts.
    """
    trainings, notes = canonicalize_datasets(trainings)
    metric, trainings, found = choose_metric(trainings)
    notes += found
    frame = trainings[trainings["status"] == "finished"]
    done = set(zip(*(frame[column] for column in KEY), strict=True))
    again = [key in done for key in zip(*(trainings[column] for column in KEY), strict=True)]
    # A run that was interrupted and finished later is no loss, so it needs no note.
    unfinished = trainings[(trainings["status"] != "finished") & ~pd.Series(again, trainings.index, dtype=bool)]
    for status, rows in unfinished.groupby("status"):
        notes.append(f"{len(rows)} training(s) are {status} and do not count.")
    diverged = frame["diverged"].astype("boolean").fillna(False).astype(bool)
    without = frame["objective"].isna() & ~diverged
    if without.any():
        notes.append(f"{int(without.sum())} finished training(s) have no {metric.name} and do not count.")
    frame = frame[~without]
    stated = frame.loc[frame["strategy"] == TARGET, "epochs"].dropna()
    epochs = int(stated.mode().max()) if len(stated) else None
    if epochs is not None:
        stated_by = {name: epochs_named(str(name)) or epochs for name in frame["strategy"].unique()}
        expected = frame["strategy"].map(stated_by).astype("Float64")
        fits = frame["epochs"].isna() | (frame["epochs"].astype("Float64") == expected)
        fits = fits.fillna(True).astype(bool)
        if not fits.all():
            notes.append(
                f"{int((~fits).sum())} finished training(s) have other epoch counts than the target's {epochs} and do "
                "not count."
            )
        frame = frame[fits]
    # Only now, so that a training that does not count is not the worst one.
    frame, found = fill_diverged(frame, metric)
    notes += found
    ordered = frame.sort_values("end_time", kind="stable", na_position="first")
    latest = ordered.drop_duplicates(KEY, keep="last")
    # Equal keys are the same experiment run again; others differ in something that a study should hold fixed.
    differing = len(ordered.drop_duplicates([*KEY, "run_key"])) - len(latest)
    repeated = len(frame) - len(latest) - differing
    if repeated:
        notes.append(f"{repeated} training(s) repeat another one; the latest counts.")
    # If all were repeated, after an edit of the user's code for instance, those that count are of one kind.
    every = ordered.groupby(KEY, dropna=False)["run_key"].nunique()
    if differing and not (every > 1).all():
        notes.append(
            f"{differing} training(s) were repeated with other settings (for example another precision) in this study; "
            "the latest of each counts, so pairs may mix settings: use one study per setting."
        )
    runs, objective = turn(latest.sort_values(KEY).reset_index(drop=True), metric)
    flagged = runs.assign(unranked=flag_unranked(runs, metric))
    return SelectedRuns(flagged, objective, epochs, tuple(notes))
