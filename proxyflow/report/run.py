"""Makes a study's report: queries the server, writes page, figures and tables, and logs them as a report run."""

from __future__ import annotations

import shlex
import sys
import tempfile
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path

from proxyflow import __version__
from proxyflow.errors import UserError
from proxyflow.files import digest
from proxyflow.quality.measures import Good
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.summary import measure_study
from proxyflow.report.figures import draw_proxy_against_target, draw_quality_by_cost
from proxyflow.report.page import Origin, write_page
from proxyflow.report.tables import text_table, write_tables
from proxyflow.report.vocabulary import VOCABULARY
from proxyflow.tracking import names
from proxyflow.tracking.connection import Client, study_experiment
from proxyflow.tracking.reader import run_url, trainings
from proxyflow.tracking.runs import RunWriter


@dataclass(frozen=True)
class ReportOptions:
    """What a user chooses of a report; see the entry point's help."""

    out: str = "report"
    cost_basis: str = "train_seconds"
    cost_curve: str = "fitted"
    good_fraction: float = 0.5
    min_accuracy: float | None = None
    bootstrap: int = 1000

    def command(self, study: str) -> str:
        """The command that makes this report."""
        given = [shlex.quote(f"study={study}")]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "out" and value != field.default:
                given.append(f"{field.name}={value}")
        return "mlflow run . -e report " + " ".join(f"-P {pair}" for pair in given)


@dataclass(frozen=True)
class MadeReport:
    """A report that was made.

    Attributes:
        study: its study.
        run_id: the report run.
        page: the local page.
        table: the table of strategies as text.
    """

    study: str
    run_id: str
    page: Path
    table: str


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


def make_report(client: Client, writer: RunWriter, options: ReportOptions) -> MadeReport:
    """Makes and logs the report of the writer's study.

    Raises:
        UserError: there is no such study, it has no finished target run, or `out` cannot be written.
    """
    experiment = study_experiment(client, writer.study, create=False)
    found = trainings(client, [experiment])
    chosen = QualityOptions(
        options.cost_basis,
        options.cost_curve,
        Good(options.good_fraction, options.min_accuracy),
        options.bootstrap,
    )
    quality = measure_study(found, chosen, VOCABULARY)
    folder = check_out(options.out, writer.study)
    origin = Origin(
        study=writer.study,
        command=options.command(writer.study),
        versions={"proxyflow": __version__, "mlflow": version("mlflow"), "python": sys.version.split()[0]},
        links={run_id: run_url(experiment, run_id) for run_id in found["run_id"]},
    )
    note = f"Proxy quality of study {writer.study} over {len(quality.runs)} trainings: report/index.html."
    data = quality.runs[["dataset", "dataset_fingerprint"]].drop_duplicates().sort_values("dataset")
    tags = {
        names.DATASET: ",".join(data["dataset"]),
        names.DATASET_FINGERPRINT: ",".join(data["dataset_fingerprint"]),
    }
    with writer.open("report", f"report {writer.study}", note, tags, main=True) as run:
        write_tables(quality, found, folder)
        draw_quality_by_cost(quality, folder / "figures")
        draw_proxy_against_target(quality, folder / "figures")
        write_page(quality, found, chosen, origin, folder / "figures", folder / "index.html")
        run.log_params({name: value for name, value in vars(options).items() if name != "out"})
        run.log_folder(folder, names.REPORT)
    return MadeReport(writer.study, run.id, folder / "index.html", text_table(quality))
