"""Which trainings count: finished, with an accuracy, at the study's epochs, each experiment once."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

TARGET = "full"
FEWER_EPOCHS = "epochs:"
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


def count_runs(trainings: pd.DataFrame) -> CountedRuns:
    """Chooses the runs that enter the measures.

    Args:
        trainings: columns `status`, `dataset`, `strategy`, `config`, `seed`, `epochs` (nullable),
            `end_time`, `best_valid_accuracy`.

    Returns:
        Finished runs with an accuracy. The target is `full` at its largest epoch count; other strategies count
        where they trained as long (`epochs:N` where it trained N), or state no epochs. Of equal experiments the
        one that ended last counts.
    """
    notes = []
    frame = trainings[trainings["status"] == "finished"]
    unfinished = trainings[trainings["status"] != "finished"]
    for status, rows in unfinished.groupby("status"):
        notes.append(f"{len(rows)} training(s) are {status} and not counted.")
    without = frame["best_valid_accuracy"].isna()
    if without.any():
        notes.append(f"{int(without.sum())} finished training(s) have no best_valid_accuracy and are not counted.")
    frame = frame[~without]
    stated = frame.loc[frame["strategy"] == TARGET, "epochs"].dropna()
    epochs = int(stated.max()) if len(stated) else None
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
    latest = frame.sort_values("end_time", kind="stable", na_position="first").drop_duplicates(KEY, keep="last")
    if len(latest) < len(frame):
        notes.append(
            f"{len(frame) - len(latest)} training(s) are repetitions of another one; of each the latest counts."
        )
    return CountedRuns(latest.sort_values(KEY).reset_index(drop=True), epochs, tuple(notes))
