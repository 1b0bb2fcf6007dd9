"""The report's tables: CSV for programs, text for terminals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from proxyflow.core.csv_files import read_csv
from proxyflow.core.errors import UserError, shortened
from proxyflow.core.files import atomic_write
from proxyflow.quality.pairs import UNRANKED
from proxyflow.quality.runs import KEY, TARGET, canonicalize_datasets
from proxyflow.quality.summary import StudyQuality
from proxyflow.spaces.metric import Metric
from proxyflow.tracking import names

COMPARED, RUNS, CURVES = "compare", "runs", "curves"
LONGEST_NAME = 60  # in the table for terminals
RUN_COLUMNS = [
    "run_id",
    "dataset",
    "strategy",
    "config",
    "config_group",
    "seed",
    "status",
    "diverged",
    "objective",
    "test_objective",
    names.CHANCE,
    "metric",
    "goal",
    "aggregate",
    "share",
    "epochs",
    "device",
    "device_shared",
    "precision",
    "best_valid_accuracy",
    "final_valid_accuracy",
    "test_accuracy",
    "final_valid_loss",
    "final_train_loss",
    "best_epoch",
    "steps",
    "train_seconds",
    "valid_seconds",
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
    "n_test",
    "start_time",
    "end_time",
    "skipped_steps",
    "trainer",
    "config_json",
    *names.SELECTION_METRICS,
]
# Columns of the runs that `curves.csv` has besides those of `tracking.queries.curves`.
CURVE_LABELS = ["dataset", "strategy", "config", "seed"]
SINGLE = ("valid_loss", "train_loss", "epoch_seconds")


def write_tables(
    quality: StudyQuality,
    trainings: pd.DataFrame,
    folder: Path,
    compared: Mapping[str, pd.DataFrame] | None = None,
    curves: pd.DataFrame | None = None,
) -> None:
    """Writes every table of a report as CSV and removes those of an earlier report that this one lacks.

    Args:
        trainings: all of the study, see `tracking.queries.reader.trainings`; `recorded` reads them again.
        curves: of every training, see `tracking.queries.curves.training_curves`; likewise.
        compared: study to its table of strategies, where studies are compared.
    """
    trainings, _ = canonicalize_datasets(trainings)
    tables = {
        "strategies": quality.strategies,
        "measures": quality.measures,
        "best": quality.best,
        "best_configurations": quality.best_configurations.values,
        "selection": quality.selection,
        "ceiling": quality.ceiling,
        "ceiling_gaps": quality.ceiling_gaps,
        "influence": quality.influence,
        "policies": quality.policies.table,
        "noise": quality.noise,
        "parts": quality.parts,
        "transfer": quality.transfer,
        "epochs": quality.curves,
        "hyperparameters": quality.hyperparameters,
        "comparisons": quality.comparisons,
        "robustness": quality.robustness,
        RUNS: _runs(quality, trainings),
        "notes": pd.DataFrame(quality.notes, columns=["strategy", "note"]),
    }
    if compared:
        tables[COMPARED] = pd.concat([table.assign(study=name) for name, table in compared.items()])[
            ["study", *quality.strategies.columns]
        ]
    for name, table in tables.items():
        with atomic_write(folder / f"{name}.csv") as path:
            table.to_csv(path, index=False)
    if curves is not None:
        _write_curves(curves, trainings, folder / f"{CURVES}.csv")
    # Last, since a report may replace the files that it is made from.
    for name, written in ((COMPARED, bool(compared)), (CURVES, curves is not None)):
        if not written:
            (folder / f"{name}.csv").unlink(missing_ok=True)


def _runs(quality: StudyQuality, trainings: pd.DataFrame) -> pd.DataFrame:
    """Every training, and whether those that count learned nothing."""
    table = trainings.sort_values(KEY)[RUN_COLUMNS]
    flags = dict(zip(quality.runs["run_id"], quality.runs[UNRANKED], strict=True))
    return table.assign(**{UNRANKED: table["run_id"].map(flags).astype("boolean")})


def _write_curves(curves: pd.DataFrame, trainings: pd.DataFrame, path: Path) -> None:
    """Writes every epoch with what was trained; pandas would take six times as long for 400,000 rows."""
    labels = trainings.drop_duplicates("run_id").set_index("run_id")[CURVE_LABELS]
    rows = labels.reindex(curves["run_id"]).reset_index(drop=True)
    values = curves.drop(columns=["run_id", *CURVE_LABELS], errors="ignore").reset_index(drop=True)
    # Losses are of single precision, and seconds of no more: further digits would double the size of the file.
    values = values.astype({name: "float32" for name in SINGLE if name in values})
    table = pd.concat([curves["run_id"].reset_index(drop=True), rows, values], axis=1)
    with atomic_write(path) as temporary:
        pa.csv.write_csv(pa.Table.from_pandas(table, preserve_index=False), temporary)


def read_tables(folder: str | Path) -> dict[str, pd.DataFrame]:
    """The tables of a report's folder by name, a frame each; `curves` has a row for every epoch of every training.

    Raises:
        UserError: it is no folder of a report.
    """
    found = {path.stem: read_csv(path) for path in Path(folder).glob("*.csv")}
    if "strategies" not in found:
        raise UserError(f"{folder} is not a report: give a folder with strategies.csv, such as report/demo")
    return found


def as_metrics(quality: StudyQuality) -> dict[str, float]:
    """The quality measures as metrics of the report's run, by which the MLflow UI compares studies."""
    metrics = {
        names.quality_metric_name(row["measure"], row["strategy"]): float(row["value"])
        for row in quality.measures.to_dict("records")
    }
    for row in quality.ceiling.to_dict("records"):
        metrics[f"ceiling_{row['source']}/{row['measure']}"] = float(row["value"])
    return metrics | {
        "trainings": float(len(quality.runs)),
        "missing_pairs": float(quality.strategies["n_missing"].sum()),
    }


def whole_names(quality: StudyQuality) -> dict[str, str]:
    """Tags with the strategies in full whose metrics have a shortened name."""
    found: dict[str, str] = {}
    for strategy in quality.measures["strategy"].unique():
        found |= names.full_value_tags(strategy, names.STRATEGY_LENGTH)
    return found


def number(value: float, digits: int = 2) -> str:
    """A number without its leading zero where it is below 1 (.85), empty where it is nan."""
    if not math.isfinite(value):
        return ""
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def loss_writer(metric: Metric) -> Callable[[float, int], str]:
    """What writes a loss: points with so many digits after the point, else one more significant digit than that."""

    def significant(value: float, digits: int = 2) -> str:
        return f"{value:.{digits + 1}g}" if math.isfinite(value) else ""

    return number if metric.share else significant


def objective_text(metric: Metric, value: float) -> str:
    """A value of the metric; empty where it is nan."""
    if metric.share:
        return number(value, 3)
    return f"{value:.5g}" if math.isfinite(value) else ""


def with_interval(value: float, low: float, high: float) -> str:
    """`.85 [.27, .96]`, without the bracket where there is no interval."""
    text = number(value)
    return f"{text} [{number(low)}, {number(high)}]" if text and math.isfinite(low) else text


def text_table(quality: StudyQuality) -> str:
    """The table of strategies as text, with the verdict and the notes below it.

    After the target, the proxy with the least regret is first, and of equal ones the cheapest.
    """
    table = quality.strategies.assign(proxy=quality.strategies["strategy"] != TARGET)
    table = table.sort_values(["proxy", "regret", "relative_cost"], kind="stable")
    loss = loss_writer(quality.objective.metric)
    heads = ["strategy", "r2 [95 %]", "Spearman [95 %]", "rel. cost", "steps", "adj. r2", "regret", "pairs", "missing"]
    rows = [
        [
            shortened(str(row["strategy"]), LONGEST_NAME),
            with_interval(row["r2"], row["r2_low"], row["r2_high"]),
            with_interval(row["spearman"], row["spearman_low"], row["spearman_high"]),
            number(row["relative_cost"], 3),
            f"{row['steps']:,.0f}" if math.isfinite(row["steps"]) else "",
            number(row["cost_adjusted_r2"]),
            loss(row["regret"], 1),
            str(row["n_pairs"]),
            str(row["n_missing"]),
        ]
        for row in table.to_dict("records")
    ]
    widths = [max(len(line[column]) for line in (heads, *rows)) for column in range(len(heads))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in (heads, ["-" * width for width in widths], *rows)
    ]
    lines += ["", *quality.verdict.sentences, *quality.verdict.proxies, quality.cost.reason]
    lines += ["", *(f"note: {f'{name}: ' if name else ''}{note}" for name, note in quality.notes)]
    return "\n".join(lines).rstrip()
