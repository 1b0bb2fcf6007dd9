"""Which trainings count: finished, with an accuracy, at the study's epochs, each experiment once."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

TARGET = "full"
FEWER_EPOCHS = "epochs:"
FOLDER = "folder:"
KEY = ["dataset", "strategy", "config", "seed"]


@dataclass(frozen=True, eq=False)
class CountedRuns:
    """Trainings that enter the measures.

    Attributes:
        frame: one row per (dataset, strategy, config, seed).
        epochs: the study's full epoch count, None where no target run states one.
        notes: what was left out and why.
    """

    frame: pd.DataFrame
    epochs: int | None
    notes: tuple[str, ...]


def one_name_each(trainings: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Gives a folder that was read under several paths one name, the latest, as its content is one data set.

    Returns:
        The trainings, and a note for each name that was given up or stands for several contents.
    """
    if "dataset_fingerprint" not in trainings or trainings.empty:
        return trainings, []
    frame = trainings.copy()
    known = frame[frame["dataset_fingerprint"].astype(str) != ""]
    folders = known[known["dataset"].str.startswith(FOLDER)].sort_values("end_time", kind="stable", na_position="first")
    latest = folders.groupby("dataset_fingerprint")["dataset"].last()
    renamed = frame["dataset_fingerprint"].map(latest)
    is_folder = frame["dataset"].str.startswith(FOLDER) & renamed.notna()
    frame["dataset"] = frame["dataset"].mask(is_folder, renamed)
    moved = frame.loc[is_folder, "dataset"].groupby(trainings.loc[is_folder, "dataset"]).first()
    notes = [f"{old} has the content of {new}, and is called so." for old, new in moved.items() if old != new]
    contents = frame[frame["dataset_fingerprint"].astype(str) != ""].groupby("dataset")["dataset_fingerprint"].nunique()
    notes += [
        f"the data set {name} has changed during the study ({count} fingerprints), so pairs may mix its contents: give "
        "each its own study."
        for name, count in contents[contents > 1].items()
    ]
    return frame, notes


def count_runs(trainings: pd.DataFrame) -> CountedRuns:
    """Chooses the runs that enter the measures.

    Args:
        trainings: columns `status`, `dataset`, `strategy`, `config`, `seed`, `epochs` (nullable),
            `end_time`, `run_key`, `best_valid_accuracy`, and `dataset_fingerprint` where it is known.

    Returns:
        Finished runs with an accuracy. The target is `full` at the epoch count that most of its runs have (the
        larger of two that tie); other strategies count where they trained as long (`epochs:N` where it trained N),
        or state no epochs. Of several runs of one cell the one that ended last counts.
    """
    trainings, notes = one_name_each(trainings)
    frame = trainings[trainings["status"] == "finished"]
    done = set(zip(*(frame[column] for column in KEY), strict=True))
    again = [key in done for key in zip(*(trainings[column] for column in KEY), strict=True)]
    # A run that was interrupted and finished later is no loss, so nobody needs to hear of it.
    unfinished = trainings[(trainings["status"] != "finished") & ~pd.Series(again, trainings.index, dtype=bool)]
    for status, rows in unfinished.groupby("status"):
        notes.append(f"{len(rows)} training(s) are {status} and not counted.")
    without = frame["best_valid_accuracy"].isna()
    if without.any():
        notes.append(f"{int(without.sum())} finished training(s) have no best_valid_accuracy and are not counted.")
    frame = frame[~without]
    stated = frame.loc[frame["strategy"] == TARGET, "epochs"].dropna()
    epochs = int(stated.mode().max()) if len(stated) else None
    if epochs is not None:
        shortened = frame["strategy"].str.startswith(FEWER_EPOCHS)
        wanted = frame["strategy"].str.removeprefix(FEWER_EPOCHS).where(shortened)
        expected = pd.to_numeric(wanted, errors="coerce").fillna(epochs)
        fits = frame["epochs"].isna() | (frame["epochs"].astype("Float64") == expected)
        fits = fits.fillna(True).astype(bool)
        if not fits.all():
            notes.append(
                f"{int((~fits).sum())} finished training(s) at other epoch counts than the target's {epochs} are not "
                "counted."
            )
        frame = frame[fits]
    ordered = frame.sort_values("end_time", kind="stable", na_position="first")
    latest = ordered.drop_duplicates(KEY, keep="last")
    # Equal keys are the same experiment run again; others differ in something that a study should hold fixed.
    differing = len(ordered.drop_duplicates([*KEY, "run_key"])) - len(latest)
    repeated = len(frame) - len(latest) - differing
    if repeated:
        notes.append(f"{repeated} training(s) are repetitions of another one; of each the latest counts.")
    if differing:
        notes.append(
            f"{differing} training(s) were run again with other settings (batch size, image size, precision, say) in "
            "this study; of each configuration the latest counts, so pairs may mix settings: give each its own study."
        )
    return CountedRuns(latest.sort_values(KEY).reset_index(drop=True), epochs, tuple(notes))
