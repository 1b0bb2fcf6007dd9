"""The page: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

from proxyflow.files import write_text
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.runs import TARGET
from proxyflow.quality.summary import StudyQuality
from proxyflow.report.families import family_colours
from proxyflow.report.tables import number, with_interval


@dataclass(frozen=True)
class Origin:
    """Where the numbers come from, for the foot of the page.

    Attributes:
        study: its name.
        command: what makes this report again.
        versions: package to version.
        links: run id to the address that the MLflow UI shows it at; empty without a server.
    """

    study: str
    command: str
    versions: Mapping[str, str]
    links: Mapping[str, str]


def write_page(
    quality: StudyQuality,
    trainings: pd.DataFrame,
    options: QualityOptions,
    origin: Origin,
    figures: Path,
    path: Path,
) -> None:
    """Writes the page; the figures, as SVG, become part of it."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.globals.update(number=number, with_interval=with_interval)
    template = environment.from_string(files("proxyflow.report").joinpath("page.html.j2").read_text(encoding="utf-8"))
    runs = quality.runs
    html = template.render(
        quality=quality,
        rows=list(quality.strategies.itertuples()),
        selection=list(quality.selection.astype({"pays_off_after": object}).replace({pd.NA: None}).itertuples()),
        best=list(quality.best[quality.best["strategy"] == TARGET].itertuples()),
        proxies=list(quality.best[quality.best["strategy"] != TARGET].itertuples()),
        colours=family_colours(),
        options=options,
        origin=origin,
        counts=trainings["status"].value_counts().to_dict(),
        diverged=int(runs["diverged"].sum()),
        missing=int(quality.strategies["n_missing"].sum()),
        datasets=sorted(runs[["dataset", "dataset_fingerprint"]].drop_duplicates().itertuples(index=False)),
        devices=sorted(set(runs["device"]) - {""}),
        configurations=runs["config"].nunique(),
        seeds=sorted(runs["seed"].unique().tolist()),
        runs=list(runs.sort_values(["dataset", "strategy", "config", "seed"]).itertuples()),
        figures={name: _svg(figures / f"{name}.svg") for name in ("quality_by_cost", "proxy_against_target")},
        target=TARGET,
    )
    write_text(path, html)


def _svg(path: Path) -> Markup:
    """A figure of ours as inline SVG, without the XML prologue; matplotlib has escaped all names in it."""
    if not path.is_file():
        return Markup("")
    text = path.read_text(encoding="utf-8")
    return Markup(text[text.index("<svg") :])
