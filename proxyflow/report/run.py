"""Makes a study's report: queries the server, writes page, figures and tables, and logs them as a report run."""

from __future__ import annotations

import shlex
import sys
import tempfile
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from proxyflow import __version__
from proxyflow.errors import NotAllowed, UserError
from proxyflow.files import digest
from proxyflow.quality.measures import Good
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.runs import TARGET
from proxyflow.quality.summary import StudyQuality, measure_study
from proxyflow.report.figures import draw_figures
from proxyflow.report.page import Origin, write_page
from proxyflow.report.recorded import read_recorded
from proxyflow.report.tables import as_metrics, text_table, write_tables
from proxyflow.report.vocabulary import VOCABULARY
from proxyflow.tracking import names
from proxyflow.tracking.connection import Client, study_experiment
from proxyflow.tracking.curves import accuracy_curves
from proxyflow.tracking.links import paragraphs, plain, renote, run_path
from proxyflow.tracking.reader import run_url, search, trainings
from proxyflow.tracking.runs import RunWriter, close_adopted
from proxyflow.tracking.views import links_to_views

PAGE = f"{names.REPORT}/index.html"
REPORT_LINK = "[The newest report]"


@dataclass(frozen=True)
class ReportOptions:
    """What a user chooses of a report; see the entry point's help."""

    out: str = "report"
    cost_basis: str = "train_seconds"
    cost_curve: str = "fitted"
    good_fraction: float = 0.5
    min_accuracy: float | None = None
    tolerance: float = 0.1
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
        """The options as they are typed, those of one computer left out."""
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
        unlogged: why none was made.
    """

    study: str
    run_id: str
    page: Path
    table: str
    unlogged: str = ""


def folder_of(out: str, study: str) -> Path:
    """The study's folder below `out`; a name that no folder can have is made safe and told apart by its digest."""
    safe = "".join(letter if letter.isalnum() or letter in "-_. " else "-" for letter in study).strip(". ")
    return Path(out) / (safe if safe == study else f"{safe}-{digest(study)[:8]}")


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
        curves: of the target's runs, see `curves.accuracy_curves`; None where they are not known.
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
    experiment = study_experiment(client, writer.study, create=False)
    # Before the work of seconds or more, so that a mistake is said at once.
    others = {name: study_experiment(client, name, create=False) for name in options.compare}
    found = _trainings(client, experiment, writer.study)
    folder = check_out(options.out, writer.study)
    curves, quality = _measure(client, found, options, writer.study)
    compared = {
        name: _measure(client, _trainings(client, other, name), options, name)[1].strategies
        for name, other in others.items()
    }
    material = _Material(found, curves, quality, compared)
    links = {run_id: run_url(experiment, run_id) for run_id in found["run_id"]}
    origin = _origin(writer.study, options, links, _planned(client, experiment))
    what = f"Proxy quality of study {plain(writer.study)} over {len(quality.runs)} trainings"
    data = found[["dataset", "dataset_fingerprint"]].drop_duplicates().sort_values("dataset")
    tags = {
        names.DATASET: ",".join(data["dataset"]),
        names.DATASET_FINGERPRINT: ",".join(data["dataset_fingerprint"]),
    }
    run_id = unlogged = ""
    try:
        with writer.open("report", f"report {writer.study}", f"{what}.", tags, main=True) as run:
            run_id = run.id
            page = run_path(experiment, run.id, PAGE)
            run.set_tags({names.NOTE: paragraphs(f"{what}: [the page]({page}).", links_to_views(experiment))})
            material.write(folder, options, origin)
            run.log_params(options.params)
            run.log_metrics(as_metrics(quality))
            run.log_folder(folder, names.REPORT)
        _link_from_study(client, experiment, page)
    except NotAllowed:
        if run_id:
            raise
        unlogged = f"you may read study {writer.study} and not write to it"
        material.write(folder, options, origin)
        close_adopted(f"A report of study {writer.study}, which this user may not write to; only its files were made.")
    return MadeReport(writer.study, run_id, folder / "index.html", text_table(quality), unlogged)


def remake_report(path: Path, study: str, options: ReportOptions) -> MadeReport:
    """Makes a report again from the tables that an earlier one wrote; no server is asked, and nothing is logged.

    Args:
        path: `runs.csv` of that report, with `curves.csv` beside it.

    Raises:
        UserError: it is no such file, or `out` cannot be written.
    """
    found, curves = read_recorded(path)
    folder = check_out(options.out, study)
    quality = measure_study(found, options.quality, VOCABULARY, curves)
    _Material(found, curves, quality, {}).write(folder, options, _origin(study, options, {}, None))
    close_adopted(f"A report of study {study} from {path}; only its files were made.")
    return MadeReport(study, "", folder / "index.html", text_table(quality), f"it was made from {path}")


def _origin(study: str, options: ReportOptions, links: dict[str, str], planned: int | None) -> Origin:
    versions = {"proxyflow": __version__, "mlflow": version("mlflow"), "python": sys.version.split()[0]}
    return Origin(study, options.command(study), versions, links, planned)


def _trainings(client: Client, experiment: str, study: str) -> pd.DataFrame:
    found = trainings(client, [experiment])
    if found.empty:
        raise UserError(f"study={study} has no training yet: run sweep with study={study} first")
    return found


def _measure(
    client: Client, found: pd.DataFrame, options: ReportOptions, study: str
) -> tuple[pd.DataFrame, StudyQuality]:
    target = found[(found["strategy"] == TARGET) & (found["status"] == "finished")]
    curves = accuracy_curves(client, target, study)
    return curves, measure_study(found, options.quality, VOCABULARY, curves)


def _link_from_study(client: Client, experiment: str, page: str) -> None:
    """Has the study's newest run lead to its newest report; whoever may not change that run leaves it."""
    study = next(search(client, [experiment], KIND="study"), None)
    if study is None:
        return
    before, _, _ = study.tags.get(names.NOTE, "").partition(f" {REPORT_LINK}")
    renote(client, study.id, f"{before} {REPORT_LINK}({page}).")


def _planned(client: Client, experiment: str) -> int | None:
    """How many trainings the newest sweep of a study planned, None where none has told."""
    told = (run.metrics.get("runs_planned") for run in search(client, [experiment], KIND="study"))
    return next((int(planned) for planned in told if planned is not None and 0 <= planned < 2**31), None)
