"""Makes a study's report: queries the server, writes page, figures and tables, and logs them as a report run."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from proxyflow import __version__
from proxyflow.core.errors import NotAllowed, UserError
from proxyflow.core.files import digest
from proxyflow.data.name_lists import join_names
from proxyflow.quality.cost_basis import AUTO
from proxyflow.quality.measures import Good
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.summary import StudyQuality, measure_study
from proxyflow.reporting.families import FAMILIES
from proxyflow.reporting.figures import draw_figures
from proxyflow.reporting.page import Origin, write_page
from proxyflow.reporting.recorded import read_recorded
from proxyflow.reporting.tables import as_metrics, text_table, whole_names, write_tables
from proxyflow.tracking import names
from proxyflow.tracking.connection import Client, study_experiment_id
from proxyflow.tracking.queries.curves import FoundCurves, training_curves
from proxyflow.tracking.queries.reader import run_url, search, trainings
from proxyflow.tracking.queries.tracked_run import TrackedRun
from proxyflow.tracking.runs.launch import end_assigned_run
from proxyflow.tracking.runs.writer import RunWriter
from proxyflow.tracking.ui.links import escape_markdown, paragraphs, run_path, set_description
from proxyflow.tracking.ui.views import links_to_views

PAGE = f"{names.REPORT}/index.html"
REPORT_LINK = "[The newest report]"


@dataclass(frozen=True)
class ReportOptions:
    """What a user chooses of a report; see the entry point's help."""

    out: str = "report"
    cost_basis: str = AUTO
    cost_curve: str = "fitted"
    good_fraction: float = 0.5
    min_accuracy: float | None = None
    tolerance: float = 0.5
    bootstrap: int = 1000
    compare: tuple[str, ...] = ()
    runs: str | None = None

    @property
    def quality(self) -> QualityOptions:
        """What the measures need of it."""
        good = Good(self.good_fraction, self.min_accuracy)
        return QualityOptions(self.cost_basis, self.cost_curve, good, self.bootstrap, self.tolerance)

    @property
    def params(self) -> dict[str, str]:
        """The options as they are typed, without the output folder."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "out"}
        values["compare"] = ",".join(self.compare) or None
        return {name: "none" if value is None else str(value) for name, value in values.items()}

    def command(self, study: str) -> str:
        """The command that makes this report."""
        defaults = ReportOptions().params
        changed = [f"{name}={value}" for name, value in self.params.items() if value != defaults[name]]
        pairs = [f"study={study}", *changed]
        return "mlflow run . -e report " + " ".join(f"-P {shlex.quote(pair)}" for pair in pairs)


@dataclass(frozen=True)
class MadeReport:
    """A report that was made.

    Attributes:
        study: its study.
        run_id: the report run; empty where none was made.
        page: the local page.
        table: the table of strategies as text.
        unlogged: why no report run was made.
        quality: what was measured.
    """

    study: str
    run_id: str
    page: Path
    table: str
    quality: StudyQuality
    unlogged: str = ""


def folder_of(out: str, study: str) -> Path:
    """The study's folder below `out`; a name that no folder can have is made safe and gets a digest."""
    safe = "".join(letter if letter.isalnum() or letter in "-_. " else "-" for letter in study).strip(". ")
    name = safe if safe == study else f"{safe}-{digest(study)[:8]}"
    return Path(out) / names.shorten(name, names.FILE_BYTES, names.utf8_length)


def check_out(out: str, study: str) -> Path:
    """Makes the study's folder below `out`, so that a report does not fail after hours of work.

    Raises:
        UserError: it cannot be made or written to.
    """
    folder = folder_of(out, study)
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(f"out={out} cannot be written ({error.strerror}): name a folder of yours") from None
    return folder


@dataclass(frozen=True, eq=False)
class _Material:
    """What a report is made of.

    Attributes:
        trainings: see `reader.trainings`.
        curves: of every training, see `curves.training_curves`; None where they are not known.
        quality: measured from both.
        compared: other study to its table of strategies.
    """

    trainings: pd.DataFrame
    curves: pd.DataFrame | None
    quality: StudyQuality
    compared: dict[str, pd.DataFrame]

    def write(self, folder: Path, options: ReportOptions, origin: Origin) -> None:
        """Writes tables, figures and page."""
        quality, compared = self.quality, self.compared
        studies = {origin.study: quality.strategies, **compared} if compared else {}
        write_tables(quality, self.trainings, folder, studies, self.curves)
        draw_figures(quality, folder / "figures")
        write_page(
            quality, self.trainings, options.quality, origin, folder / "figures", folder / "index.html", compared
        )


def make_report(client: Client, writer: RunWriter, options: ReportOptions) -> MadeReport:
    """Makes and logs the report of the writer's study, whatever there is of it.

    Raises:
        UserError: there is no such study, or one to compare with, it has no training, or `out` cannot be written.
    """
    experiment = study_experiment_id(client, writer.study)
    # Before the work, so that mistakes are reported at once.
    others = {name: study_experiment_id(client, name) for name in options.compare}
    came = FoundCurves()
    found = _trainings(client, experiment, writer.study, came.add)
    folder = check_out(options.out, writer.study)
    curves = training_curves(client, found, writer.study, came)
    quality = measure_study(found, options.quality, FAMILIES, curves)
    compared = {
        name: measure_study(_trainings(client, other, name), options.quality, FAMILIES).strategies
        for name, other in others.items()
    }
    material = _Material(found, curves, quality, compared)
    links = {run_id: run_url(experiment, run_id) for run_id in found["run_id"]}
    origin = _origin(writer.study, options, links, _planned(client, experiment))
    what = f"Proxy quality of study {escape_markdown(writer.study)} over {len(quality.runs)} trainings"
    data = found[["dataset", "dataset_fingerprint"]].drop_duplicates().sort_values("dataset")
    tags = {
        names.DATASET: join_names(data["dataset"]),
        names.DATASET_FINGERPRINT: ",".join(data["dataset_fingerprint"]),
    }
    run_id = unlogged = ""
    try:
        with writer.open("report", f"report {writer.study}", f"{what}.", tags, main=True) as run:
            run_id = run.id
            page = run_path(experiment, run.id, PAGE)
            run.set_tags({names.DESCRIPTION: paragraphs(f"{what}: [the page]({page}).", links_to_views(experiment))})
            material.write(folder, options, origin)
            run.log_params(options.params)
            run.log_metrics(as_metrics(quality), tags=whole_names(quality))
            run.log_folder(folder, names.REPORT)
        _link_from_study(client, experiment, page)
    except NotAllowed:
        if run_id:
            raise
        unlogged = f"you may read study {writer.study} and not write to it"
        material.write(folder, options, origin)
        end_assigned_run(
            f"A report of study {writer.study}, which this user may not write to; only its files were made."
        )
    return MadeReport(writer.study, run_id, folder / "index.html", text_table(quality), quality, unlogged)


def remake_report(path: Path, study: str, options: ReportOptions) -> MadeReport:
    """Makes a report again from the tables that an earlier one wrote, without a server and without logging it.

    Args:
        path: `runs.csv` of that report, with `curves.csv` next to it.

    Raises:
        UserError: it is no such file, or `out` cannot be written.
    """
    found, curves = read_recorded(path)
    folder = check_out(options.out, study)
    quality = measure_study(found, options.quality, FAMILIES, curves)
    _Material(found, curves, quality, {}).write(folder, options, _origin(study, options, {}, None))
    end_assigned_run(f"A report of study {study} from {path}; only its files were made.")
    return MadeReport(study, "", folder / "index.html", text_table(quality), quality, f"it was made from {path}")


def _origin(study: str, options: ReportOptions, links: dict[str, str], planned: int | None) -> Origin:
    versions = {"proxyflow": __version__, "mlflow": version("mlflow"), "python": sys.version.split()[0]}
    return Origin(study, options.command(study), versions, links, planned)


def _trainings(
    client: Client, experiment: str, study: str, on_run: Callable[[TrackedRun], None] | None = None
) -> pd.DataFrame:
    found = trainings(client, [experiment], on_run)
    if found.empty:
        raise UserError(f"study={study} has no training yet: run sweep with study={study} first")
    return found


def _link_from_study(client: Client, experiment: str, page: str) -> None:
    """Links the study's newest run to its newest report, where this user may change that run."""
    study = next(search(client, [experiment], KIND="study"), None)
    if study is None:
        return
    before, _, _ = study.tags.get(names.DESCRIPTION, "").partition(f" {REPORT_LINK}")
    set_description(client, study.id, f"{before} {REPORT_LINK}({page}).")


def _planned(client: Client, experiment: str) -> int | None:
    """How many trainings the newest sweep of a study planned, None where that is unknown."""
    counts = (run.metrics.get("runs_planned") for run in search(client, [experiment], KIND="study"))
    return next((int(planned) for planned in counts if planned is not None and 0 <= planned < 2**31), None)
