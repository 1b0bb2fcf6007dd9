"""The report's tables: CSV for programs, text for terminals."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from proxyflow.files import replacing
from proxyflow.quality.runs import one_name_each
from proxyflow.quality.summary import StudyQuality

RUN_COLUMNS = [
    "run_id",
    "dataset",
    "strategy",
    "config",
    "config_group",
    "seed",
    "status",
    "diverged",
    "epochs",
    "device",
    "precision",
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
    "cost_usd",
    "dataset_fingerprint",
    "subset_fingerprint",
    "run_key",
    "error",
]


def write_tables(quality: StudyQuality, trainings: pd.DataFrame, folder: Path) -> None:
    """Writes `strategies.csv`, `best.csv`, `selection.csv`, `runs.csv` and `notes.csv`."""
    trainings, _ = one_name_each(trainings)
    tables = {
        "strategies": quality.strategies,
        "best": quality.best,
        "selection": quality.selection,
        "runs": trainings.sort_values(["dataset", "strategy", "config", "seed"])[RUN_COLUMNS],
        "notes": pd.DataFrame(quality.notes, columns=["strategy", "note"]),
    }
    for name, table in tables.items():
        with replacing(folder / f"{name}.csv") as path:
            table.to_csv(path, index=False)


def number(value: float, digits: int = 2) -> str:
    """A number without its leading zero where it is below 1 (.85), empty where it is nan."""
    if not math.isfinite(value):
        return ""
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def with_interval(value: float, low: float, high: float) -> str:
    """`.85 [.27, .96]`, without the bracket where there is no interval."""
    text = number(value)
    return f"{text} [{number(low)}, {number(high)}]" if text and math.isfinite(low) else text


def text_table(quality: StudyQuality) -> str:
    """The table of strategies as text, and the notes below it."""
    heads = ["strategy", "r2 [95 %]", "Spearman [95 %]", "rel. cost", "adj. r2", "regret", "pairs", "missing"]
    rows = [
        [
            str(row["strategy"]),
            with_interval(row["r2"], row["r2_low"], row["r2_high"]),
            with_interval(row["spearman"], row["spearman_low"], row["spearman_high"]),
            number(row["relative_cost"], 3),
            number(row["cost_adjusted_r2"]),
            number(row["regret"], 1),
            str(row["n_pairs"]),
            str(row["n_missing"]),
        ]
        for row in quality.strategies.to_dict("records")
    ]
    widths = [max(len(line[column]) for line in (heads, *rows)) for column in range(len(heads))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in (heads, ["-" * width for width in widths], *rows)
    ]
    lines += ["", *(f"note: {f'{name}: ' if name else ''}{note}" for name, note in quality.notes)]
    return "\n".join(lines).rstrip()
