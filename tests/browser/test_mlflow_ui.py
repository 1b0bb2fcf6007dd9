"""A study in MLflow's own UI, over a real server: found, compared and followed as a person does it, with no set-up."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from playwright.sync_api import Browser, Page, expect

from benchmarks.mlflow_ui import compare, compared_metric, compared_param, follow, prepare
from benchmarks.server import Server
from proxyflow.cli.app import load_command
from proxyflow.cli.running import status_of
from proxyflow.tracking.ui.links import WORKFLOW, escape_markdown

STUDY = "ui"
DATASET = "digits@300"
PROXIES = ("easiest:0.2", "random:0.2")
SMALL = ("--dataset", DATASET, "--image-size", "8", "--batch-size", "256", "--epochs", "1")
HOSTILE = "[x](javascript:alert(1)) `a_b_c` *d* <img src=x onerror=alert(2)> ![y](z) &amp; # | ~~e~~ \\ www.f.g 数据"


def call(name: str, *arguments: str) -> None:
    """An entry point in this process, which has torch already."""
    assert status_of(load_command(name), arguments) == 0


@contextlib.contextmanager
def tracking_to(uri: str) -> Iterator[None]:
    import mlflow

    os.environ["MLFLOW_TRACKING_URI"] = uri
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        os.environ.pop("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def server(browser: Browser, unhurried: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a finished study: scores with their model, two proxies, two configurations, and a report."""
    folder = tmp_path_factory.mktemp("ui")
    grid = folder / "grid.yaml"
    grid.write_text("base: {arch: xresnet18}\nconfigurations:\n  - {learning_rate: 0.01}\n  - {flip_probability: 0}\n")
    server = Server(folder)
    server.begin()
    try:
        import torch  # noqa: F401 - while the server starts

        server.wait()
        with tracking_to(server.uri):
            call("score", *SMALL, "--study", STUDY, "--arch", "xresnet18", "--save-model", "true")
            sweep = ("--datasets", *SMALL[1:], "--strategies", ",".join(("full", *PROXIES)), "--grid", str(grid))
            call("sweep", *sweep, "--study", STUDY, "--price-per-hour", "2.5", "--system-metrics", "true")
            call("report", "--study", STUDY, "--out", str(folder / "report"), "--bootstrap", "20")
            yield server.uri
    finally:
        server.kill()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    prepare(context)
    context.set_default_timeout(90_000)
    yield context.new_page()
    context.close()


expect.set_options(timeout=60_000)  # the first page brings in megabytes of scripts


def runs(kind: str) -> list[Run]:
    client = MlflowClient()
    experiment = client.get_experiment_by_name(STUDY)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], f"tags.`proxyflow.kind` = '{kind}'"))


def open_run(page: Page, server: str, run: Run, tab: str = "") -> None:
    page.goto(f"{server}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}{tab}?{WORKFLOW}")
    page.get_by_role("heading", name=str(run.info.run_name)).wait_for()


def test_runs_of_two_proxies_are_found_and_compared(server: str, page: Page) -> None:
    study = runs("study")[0]
    page.goto(f"{server}/#/experiments/{study.info.experiment_id}/runs?{WORKFLOW}")
    # A study's page says where to look; nothing has to be chosen there.
    table = follow(page, "highest objective first")
    for column in ("strategy", "config", "objective", "wall_seconds"):
        expect(table.get_by_role("columnheader", name=column, exact=True).first).to_be_visible()
    expect(table.get_by_text("6 matching runs")).to_be_visible()
    chosen = [run for strategy in PROXIES for run in runs("training") if run.data.params["strategy"] == strategy][1:3]
    compare(table, [str(run.info.run_name) for run in chosen])
    assert sorted(compared_param(table, "strategy")) == sorted(PROXIES)
    order = [
        next(run for run in chosen if run.data.params["strategy"] == each) for each in compared_param(table, "strategy")
    ]
    assert compared_param(table, "config") == [run.data.params["config"] for run in order]
    for metric in (
        "objective",
        "best_valid_accuracy",
        "final_valid_accuracy",
        "wall_seconds",
        "train_seconds",
        "cost_usd",
    ):
        shown = [float(value) for value in compared_metric(table, metric)]
        assert shown == pytest.approx([run.data.metrics[metric] for run in order], abs=0.06), metric


def test_trainings_are_grouped_by_strategy(server: str, page: Page) -> None:
    open_run(page, server, runs("study")[0])
    table = follow(page, "by strategy")
    for strategy in ("full", *PROXIES):
        expect(table.get_by_text(f"Group: {strategy}", exact=True)).to_be_visible()


def test_a_report_opens_where_artifacts_are_shown(server: str, page: Page) -> None:
    open_run(page, server, runs("study")[0])
    report = follow(page, "The newest report")
    shown = report.frame_locator("iframe")
    expect(shown.get_by_role("heading", level=1, name=STUDY)).to_be_visible()
    expect(shown.locator("#strategy-table tbody tr")).to_have_count(3)


def test_a_training_leads_to_its_subset_its_scores_and_their_model(server: str, page: Page) -> None:
    training = next(run for run in runs("training") if run.data.params["strategy"] == PROXIES[0])
    open_run(page, server, training)
    page.get_by_role("button", name=f"{DATASET} {PROXIES[0]}").or_(
        page.get_by_text(f"{DATASET} {PROXIES[0]} (")
    ).first.click()
    expect(page.get_by_text("num rows:")).to_contain_text(training.data.params["n_train"])
    expect(page.get_by_text(f"runs:/{training.data.tags['proxyflow.subset_run']}/subset").first).to_be_visible()
    page.keyboard.press("Escape")
    subset = follow(page, "this subset")
    expect(subset.get_by_role("heading", name=f"{DATASET} · {PROXIES[0]}")).to_be_visible()
    scores = follow(subset, "these scores")
    expect(scores.get_by_role("heading", name=f"{DATASET} · scores · arch=xresnet18")).to_be_visible()
    weights = follow(scores, "its weights")
    expect(weights.get_by_text("model.safetensors")).to_be_visible()


def test_system_metrics_are_charts(server: str, page: Page) -> None:
    open_run(page, server, runs("study")[0], "/system-metrics")
    for name in ("cpu_utilization_percentage", "system_memory_usage_megabytes"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()


def test_hostile_names_are_shown_as_they_are(server: str, page: Page, tmp_path: Path) -> None:
    wrong: list[str] = []
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith(server) else None)
    client = MlflowClient()
    made = client.create_run(runs("study")[0].info.experiment_id, run_name="hostile")
    client.set_tag(made.info.run_id, "mlflow.note.content", f"Names: {escape_markdown(HOSTILE)}.")
    client.set_terminated(made.info.run_id)
    open_run(page, server, made)
    shown = page.get_by_text("Names: ")
    expect(shown).to_have_text(f"Names: {HOSTILE}.")
    assert not shown.locator("img, a, code, em, del").count()
    assert [url for url in wrong if not url.startswith(("data:", "blob:"))] == []
