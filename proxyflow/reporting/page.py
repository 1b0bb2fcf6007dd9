"""The page: one self-contained HTML file that works offline."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from proxyflow.core.files import write_text
from proxyflow.core.spelling import parts_of
from proxyflow.quality.bootstrap import Estimate
from proxyflow.quality.ceiling import NOISE_FREE, NOISE_FREE_MEANS, SEED_MEANS
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.runs import TARGET
from proxyflow.quality.summary import StudyQuality
from proxyflow.reporting import policy_views, views
from proxyflow.reporting.embedded import all_pairs, all_runs, as_json, dataset_marks, metric_axes
from proxyflow.reporting.families import style_of, styles_of
from proxyflow.reporting.figures import FIGURES
from proxyflow.reporting.interactive import SHOWN
from proxyflow.reporting.interactive import figures as interactive_figures
from proxyflow.reporting.series import (
    ceiling_of,
    dataset_styles,
    drawable,
    pairs_without_panel,
    transfer_panels,
    unit_of,
)
from proxyflow.reporting.styles import STYLES
from proxyflow.reporting.tables import loss_writer, number, objective_text, with_interval

SCRIPTS = ("tables.js", "links.js", "runs.js", "plots.js")
# The page carries each figure for paper and for readers without scripts: as lines, unless these would be long.
LARGEST_SVG = 400_000
MIME = {"svg": "image/svg+xml", "png": "image/png"}


@dataclass(frozen=True)
class Origin:
    """Where the numbers come from, for the foot of the page.

    Attributes:
        study: its name.
        command: what makes this report again.
        versions: package to version.
        links: run id to the address that the MLflow UI shows it at; empty without a server.
        planned: trainings that the study planned; None where unknown.
    """

    study: str
    command: str
    versions: Mapping[str, str]
    links: Mapping[str, str]
    planned: int | None = None


@dataclass(frozen=True)
class StaticFigure:
    """A drawn figure.

    Attributes:
        png, svg: its files, relative to the page.
        data: the figure itself as a data URI.
    """

    png: str
    svg: str
    data: str


def write_page(
    quality: StudyQuality,
    trainings: pd.DataFrame,
    options: QualityOptions,
    origin: Origin,
    figures: Path,
    path: Path,
    compared: Mapping[str, pd.DataFrame] | None = None,
) -> None:
    """Writes the page.

    Args:
        trainings: all trainings of the study, those that do not count included.
        figures: the folder of `draw_figures`, next to the page.
        path: the page; it links to the tables next to it.
        compared: other study's name to its table of strategies.
    """
    from plotly.offline import get_plotlyjs  # imports plotly

    plotly = get_plotlyjs()
    script = "\n".join(asset(f"assets/{name}") for name in SCRIPTS)
    runs, frame = all_runs(quality, trainings, origin.links)
    interactive = interactive_figures(quality)
    studies, compared_rows = views.compared_rows(quality, origin.study, compared or {})
    data = {
        "runs": runs,
        "metric": metric_axes(quality.objective.metric),
        "pairs": all_pairs(quality, frame),
        "datasets": dataset_marks(quality),
        "figures": interactive,
    }
    html = _environment().render(
        **_context(quality, trainings, options, origin),
        compared_studies=studies,
        compared_rows=compared_rows,
        figures={name: figure for name in FIGURES if (figure := _static(figures, name))},
        interactive=set(interactive),
        css=Markup(asset("assets/page.css")),
        plotly=Markup(plotly),
        script=Markup(script),
        policy=f"{hash_of(plotly)} {hash_of(script)}",
        data=as_json(data),
        n_runs=len(frame),
        tables=sorted(table.name for table in path.parent.glob("*.csv")),
    )
    # A file name that is no UTF-8 has code points that no file can hold.
    write_text(path, html.encode("utf-8", "replace").decode("utf-8"))


def _context(quality: StudyQuality, trainings: pd.DataFrame, options: QualityOptions, origin: Origin) -> dict[str, Any]:
    """What the template shows, apart from scripts and pictures."""
    runs = quality.runs
    columns, recovered = views.recovery(quality)
    names, hyperparameters = views.hyperparameter_rows(quality)
    panels = transfer_panels(quality)
    metric = quality.objective.metric
    loss = loss_writer(metric)
    return {
        "metric": metric,
        "unit": unit_of(metric),
        "loss": loss,
        "signed_loss": partial(views.signed, write=loss),
        "objective_text": partial(objective_text, metric),
        "origin": origin,
        "options": options,
        "quality": quality,
        "target": TARGET,
        "complete": views.completeness(quality, trainings, origin.planned),
        "rows": views.strategy_rows(quality),
        "styles": STYLES,
        "families": styles_of(quality.strategies["family"]),
        "proxy_families": styles_of(quality.strategies.loc[quality.strategies["strategy"] != TARGET, "family"]),
        "style_of": style_of,
        "dataset_styles": dataset_styles(quality),
        "ceilings": {measure: ceiling_of(quality, measure) for measure in ("r2", "spearman")},
        "proxies": drawable(quality),
        "chosen": views.first_shown(quality),
        "panels": panels,
        "pairs_without_panel": pairs_without_panel(quality),
        "shown": SHOWN,
        "best_datasets": list(quality.best_configurations.values["dataset"]),
        "best_settings": views.best_settings(quality),
        "best_values": {str(row.dataset): row for row in quality.best_configurations.values.itertuples()},
        "recovery_columns": columns,
        "recovery_rows": recovered,
        "hyperparameter_names": names,
        "hyperparameter_rows": hyperparameters,
        "noise": list(quality.noise.astype({"n_valid": object}).replace({pd.NA: None}).itertuples()),
        "mean_rows": views.mean_rows(quality),
        "mean_ceiling": ceiling_of(quality, "r2", SEED_MEANS),
        "noise_free": ceiling_of(quality, "r2", NOISE_FREE),
        "noise_free_means": ceiling_of(quality, "r2", NOISE_FREE_MEANS),
        "policies": policy_views.policy_rows(quality),
        "influence_rows": policy_views.influence_rows(quality),
        "across_rows": policy_views.across_rows(quality),
        "comparisons": list(quality.comparisons.itertuples()),
        "robustness": list(quality.robustness.itertuples()),
        "selection": list(quality.selection.astype({"pays_off_after": object}).replace({pd.NA: None}).itertuples()),
        "datasets": sorted(runs[["dataset", "dataset_fingerprint"]].drop_duplicates().itertuples(index=False)),
        "devices": sorted({str(device) for device in runs["device"].dropna()} - {""}),
        "configurations": runs["config"].nunique(),
        "seeds": sorted(runs["seed"].unique().tolist()),
    }


def _environment() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    environment.globals.update(
        number=number,
        with_interval=with_interval,
        signed=views.signed,
        percent=views.percent,
        whole=views.whole,
        parts_of=parts_of,
        wbr=Markup("<wbr>+"),
        bar_percent=views.bar_percent,
        Estimate=Estimate,
    )
    return environment.from_string(asset("page.html.j2"))


def asset(name: str) -> str:
    """The text of a file of this package."""
    return files("proxyflow.reporting").joinpath(name).read_text(encoding="utf-8")


def hash_of(script: str) -> str:
    """A script's name in a content security policy: scripts injected through names are not run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _static(folder: Path, name: str) -> StaticFigure | None:
    """A figure as the page holds it; None where it was not drawn."""
    paths = {suffix: folder / f"{name}.{suffix}" for suffix in MIME}
    if not all(path.is_file() for path in paths.values()):
        return None
    suffix = "svg" if paths["svg"].stat().st_size <= LARGEST_SVG else "png"
    content = base64.b64encode(paths[suffix].read_bytes()).decode()
    links = {kind: f"{folder.name}/{path.name}" for kind, path in paths.items()}
    return StaticFigure(links["png"], links["svg"], f"data:{MIME[suffix]};base64,{content}")
