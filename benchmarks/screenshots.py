"""The pictures of docs/how-to/mlflow-ui.md, from a study that is trained for them: `python -m benchmarks.screenshots`.

Needs Chromium, and takes some minutes. `--server URL --study NAME` takes pictures of a study that is there already.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from benchmarks.mlflow_ui import compare, compared_metric, follow, prepare
from benchmarks.server import Server
from proxyflow.tracking.ui.links import WORKFLOW

IMAGES = Path(__file__).parents[1] / "docs" / "images"
STUDY = "handwritten"
PROXIES = ("easiest:0.25", "random:0.25")
GRID = """\
base: {arch: xresnet18}
configurations:
  - {}
  - {learning_rate: 0.01}
  - {learning_rate: 0.1}
  - {optimizer: sgd}
  - {flip_probability: 0}
"""
SIZE = {"width": 1400, "height": 800}
COLOURS = 128


def train(uri: str, folder: Path) -> None:
    """A study with scores whose model is kept, two proxies, system metrics and a report."""
    (folder / "grid.yaml").write_text(GRID)
    scoring = ["--arch", "xresnet18", "--save-model", "true", "--log-model", "true"]
    sweep = ["--strategies", ",".join(("full", *PROXIES)), "--grid", str(folder / "grid.yaml")]
    for name, *options in (
        ["score", "--epochs", "6", *scoring, "--system-metrics", "true"],
        ["sweep", "--epochs", "6", *sweep, "--price-per-hour", "2.5", "--system-metrics", "true"],
        ["report", "--out", str(folder / "report")],
    ):
        command = [sys.executable, "-m", f"entrypoints.{name}", "--study", STUDY, *options]
        variables = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "5"}
        subprocess.run(command, check=True, env=os.environ | variables)


class Camera:
    """Takes pictures of a study's pages."""

    def __init__(self, page: Page, uri: str, study: str) -> None:
        self.page, self.uri = page, uri
        self.client = MlflowClient(uri)
        experiment = self.client.get_experiment_by_name(study)
        assert experiment is not None, f"there is no study {study}"
        self.experiment = experiment.experiment_id

    def runs(self, kind: str) -> list[Run]:
        return list(self.client.search_runs([self.experiment], f"tags.`proxyflow.kind` = '{kind}'"))

    def open(self, run: Run, tab: str = "") -> Page:
        self.page.goto(f"{self.uri}/#/experiments/{self.experiment}/runs/{run.info.run_id}{tab}?{WORKFLOW}")
        self.page.get_by_role("heading", name=str(run.info.run_name)).wait_for()
        return self.page

    def take(self, page: Page, name: str) -> None:
        """A picture of what is to be seen, in few colours."""
        page.mouse.move(700, 5)  # nothing is to be pointed at
        page.wait_for_timeout(3000)  # until what moves has come to rest; the page asks the server again and again
        path = IMAGES / f"tracking-{name}.png"
        page.screenshot(path=path)
        with Image.open(path) as picture:
            picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")

    def take_all(self) -> None:
        self.page.goto(f"{self.uri}/#/experiments/{self.experiment}/runs")
        # MLflow remembers it, and so the pages that no link of ours leads to have the same layout.
        self.page.get_by_text("Model training", exact=True).click()
        self.page.get_by_role("link", name="highest objective first", exact=True).wait_for()
        best = follow(self.page, "highest objective first")
        best.get_by_text("matching runs").wait_for()
        self.take(best, "best")
        trainings = self.runs("training")
        alike = [run for run in trainings if run.data.params["learning_rate"] == "0.01"]
        chosen = [run for run in alike if run.data.params["strategy"] in PROXIES]
        compare(best, [str(run.info.run_name) for run in chosen])
        for section in ("Visualizations", "Run details"):
            best.get_by_role("button", name=section).click()
        for switch in best.get_by_text("Show diff only").all()[:2]:
            switch.click()
        compared_metric(best, "objective")
        best.get_by_role("heading", name="Comparing").scroll_into_view_if_needed()
        self.take(best, "compare")
        by_strategy = follow(self.open(self.runs("study")[0]), "by strategy")
        by_strategy.get_by_text(f"Group: {PROXIES[0]}").wait_for()
        self.take(by_strategy, "strategies")
        training = self.open(next(run for run in trainings if run.data.params["strategy"] == PROXIES[0]))
        self.take(training, "training")
        scores = follow(training, "these scores")
        scores.get_by_role("link", name="its weights").wait_for()
        self.take(scores, "scores")
        system = self.open(self.runs("score")[0], "/system-metrics")
        system.get_by_text("cpu_utilization_percentage").first.wait_for()
        self.take(system, "system")
        report = follow(self.open(self.runs("study")[0]), "The newest report")
        report.frame_locator("iframe").get_by_role("heading", level=1).wait_for()
        self.take(report, "report")


@contextmanager
def trained() -> Iterator[str]:
    """A server with the study."""
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        train(server.uri, Path(folder))
        yield server.uri


@contextmanager
def running(uri: str) -> Iterator[str]:
    yield uri


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="", help="address of a server that has the study; none: train it")
    parser.add_argument("--study", default=STUDY, help="the study there")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "no Chromium on the PATH"
    with running(arguments.server) if arguments.server else trained() as uri, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport=SIZE)
        prepare(context)
        Camera(context.new_page(), uri, arguments.study).take_all()
        browser.close()


if __name__ == "__main__":
    main()
