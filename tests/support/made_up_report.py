"""Makes figures and page of a made-up study, as the entry point does, but for the server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from made_up_studies import target_curves

from proxyflow.quality.options import QualityOptions
from proxyflow.quality.summary import StudyQuality, measure_study
from proxyflow.reporting.families import FAMILIES
from proxyflow.reporting.figures import draw_figures
from proxyflow.reporting.page import Origin, write_page

SERVER = "http://mlflow.example:5000/#/experiments/1/runs/"


def quality_of(trainings: pd.DataFrame, bootstrap: int = 20, cost_curve: str = "fitted") -> StudyQuality:
    """The quality of a made-up study, curves included."""
    options = QualityOptions(bootstrap=bootstrap, cost_curve=cost_curve)
    return measure_study(trainings, options, FAMILIES, target_curves(trainings))


def origin_of(trainings: pd.DataFrame, study: str = "paper-2019", planned: int | None = None) -> Origin:
    """An origin whose links lead to a server that is not there."""
    return Origin(
        study=study,
        command=f"mlflow run . -e report -P study={study}",
        versions={"proxyflow": "0.1.0", "python": "3.11.7"},
        links={run_id: SERVER + run_id for run_id in trainings["run_id"]},
        planned=planned,
    )


def make_report(
    folder: Path,
    trainings: pd.DataFrame,
    study: str = "paper-2019",
    planned: int | None = None,
    compared: Mapping[str, pd.DataFrame] | None = None,
    bootstrap: int = 20,
    cost_curve: str = "fitted",
) -> Path:
    """Draws the figures, writes the page, and gives its path."""
    quality = quality_of(trainings, bootstrap, cost_curve)
    draw_figures(quality, folder / "figures")
    origin = origin_of(trainings, study, planned)
    options = QualityOptions(bootstrap=bootstrap, cost_curve=cost_curve)
    write_page(quality, trainings, options, origin, folder / "figures", folder / "index.html", compared)
    return folder / "index.html"
