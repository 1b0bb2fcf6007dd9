"""The report's tables: CSV for programs, text for terminals."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from proxyflow.errors import UserError, shortened
from proxyflow.files import replacing
from proxyflow.quality.runs import KEY, one_name_each
from proxyflow.quality.summary import StudyQuality
from proxyflow.tracking import names

COMPARED, RUNS, CURVES = "compare", "runs", "curves"
LONGEST_NAME = 60  # in the table for terminals
# What MLflow takes in no part of a metric's name.
NO_NAME = re.compile(r"[^\w.\- :]")
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
    "name",
    "n_valid",
    "start_time",
    "end_time",
    "skipped_steps",
    *names.SELECTION_METRICS,
]


def write_tables(
    quality: StudyQuality,
    trainings: pd.DataFrame,
    folder: Path,
    compared: Mapping[str, pd.DataFrame] | None = None,
    curves: pd.DataFrame | None = None,
) -> None:
    """Writes every table of a report as CSV; one of an earlier report that this one has not is removed.

    Args:
        trainings: all of the study, see `tracking.reader.trainings`; `recorded` reads them again.
        curves: accuracies of the target's runs after each epoch, likewise.
        compared: study to its table of strategies, where studies are compared.
    """
    trainings, _ = one_name_each(trainings)
    tables = {
        "strategies": quality.strategies,
        "measures": quality.measures,
        "best": quality.best,
        "best_configurations": quality.best_configurations.accuracies,
        "selection": quality.selection,
        "ceiling": quality.ceiling,
        "parts": quality.parts,
        "transfer": quality.transfer,
        "epochs": quality.curves,
        "hyperparameters": quality.hyperparameters,
        "comparisons": quality.comparisons,
        "robustness": quality.robustness,
        RUNS: trainings.sort_values(KEY)[RUN_COLUMNS],
        "notes": pd.DataFrame(quality.notes, columns=["strategy", "note"]),
    }
    if curves is not None:
        tables[CURVES] = curves
    if compared:
        tables[COMPARED] = pd.concat([table.assign(study=name) for name, table in compared.items()])[
            ["study", *quality.strategies.columns]
        ]
    for name, table in tables.items():
        with replacing(folder / f"{name}.csv") as path:
            table.to_csv(path, index=False)
    # Last, as a report may be made from the very files that it replaces.
    for name in {COMPARED, CURVES} - set(tables):
        (folder / f"{name}.csv").unlink(missing_ok=True)


def read_tables(folder: str | Path) -> dict[str, pd.DataFrame]:
    """The tables of a report's folder by name, a frame each.

    Raises:
        UserError: it is no folder of a report.
    """
    found = {path.stem: pd.read_csv(path, keep_default_na=False, na_values=[""]) for path in Path(folder).glob("*.csv")}
    if "strategies" not in found:
        raise UserError(f"{folder} holds no report: give a folder with strategies.csv, such as report/demo")
    return found


def as_metrics(quality: StudyQuality) -> dict[str, float]:
    """The measures as metrics of the report's run, `r2/easiest:0.1`, so that the MLflow UI compares studies by them.

    MLflow takes neither commas nor equals signs in a metric's name: `hardest:0.5,drop=0.05` is `hardest:0.5 drop-0.05`.
    Nor does it take quotes and the like, which only strategies have that this version does not know.
    """
    told = {
        f"{row['measure']}/{NO_NAME.sub('-', row['strategy'].replace(',', ' '))}": float(row["value"])
        for row in quality.measures.to_dict("records")
    }
    for row in quality.ceiling.to_dict("records"):
        told[f"ceiling_{row['source']}/{row['measure']}"] = float(row["value"])
    return told | {"trainings": float(len(quality.runs)), "missing_pairs": float(quality.strategies["n_missing"].sum())}


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
    """The table of strategies as text, the verdict and the notes below it."""
    heads = ["strategy", "r2 [95 %]", "Spearman [95 %]", "rel. cost", "adj. r2", "regret", "pairs", "missing"]
    rows = [
        [
            shortened(str(row["strategy"]), LONGEST_NAME),
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
    lines += ["", *quality.verdict.sentences]
    lines += ["", *(f"note: {f'{name}: ' if name else ''}{note}" for name, note in quality.notes)]
    return "\n".join(lines).rstrip()
