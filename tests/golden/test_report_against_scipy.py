"""The report on a store filled by hand agrees with scipy and numpy, computed here independently from the contract."""

from __future__ import annotations

import os
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Metric, RunTag
from mlflow.tracking import MlflowClient
from scipy import optimize, stats

from proxyflow.reporting.run import ReportOptions, make_report
from proxyflow.tracking.connection import connect
from proxyflow.tracking.runs.writer import RunWriter

STRATEGIES = {
    **{"full": 1.0, "random:0.1": 0.11, "random:0.5": 0.53, "easiest:0.1": 0.13, "easiest:0.25": 0.3},
    **{"hardest:0.5,drop=0.05": 0.52, "half-classes:1.0": 0.51, "epochs:10": 0.5, "distilled:1": 0.03},
}
DATASETS = ("imagenette", "it's <b>woof</b>")
CONFIGS = [f"lr={n}" for n in range(20)] + [f"flip={n}" for n in range(16)]


def fill(client: MlflowClient, experiment: str, rng: np.random.Generator) -> pd.DataFrame:
    """Logs a made-up study in the contract's schema, tags and metrics alone, and returns what was logged."""
    rows = []
    for dataset in DATASETS:
        quality = rng.normal(0.6, 0.05, len(CONFIGS))
        for strategy, cost in STRATEGIES.items():
            for index, config in enumerate(CONFIGS):
                noise = rng.normal(0, 0.08 * (1 - cost))
                row = {
                    "dataset": dataset,
                    "strategy": strategy,
                    "config": config,
                    "best_valid_accuracy": quality[index] + noise,
                    "train_seconds": 1800 * cost * rng.uniform(0.8, 1.2),
                    "examples_seen": 250_000 * cost,
                    "train_flops": 1e15 * cost,
                }
                rows.append(row)
                # One proxy run is missing, and one failed: two pairs that lack a side.
                if strategy == "easiest:0.1" and config == "lr=3":
                    continue
                status = "failed" if strategy == "easiest:0.1" and config == "lr=4" else "finished"
                tags = {
                    "kind": "training",
                    "schema_version": "1",
                    "status": status,
                    "study": "made up",
                    "dataset": dataset,
                    "dataset_fingerprint": "f" * 64,
                    "strategy": strategy,
                    "config": config,
                    "config_group": "learning-rate" if config.startswith("lr") else "other",
                    "seed": "0",
                    "run_key": f"{dataset} {strategy} {config}",
                    "diverged": "false",
                }
                run = client.create_run(experiment, tags={f"proxyflow.{key}": value for key, value in tags.items()})
                values = {key: value for key, value in row.items() if isinstance(value, float)}
                metrics = [Metric(key, value, 0, 0) for key, value in values.items()]
                client.log_batch(run.info.run_id, metrics=metrics, tags=[RunTag("note", "by hand")])
                client.set_terminated(run.info.run_id)
    frame = pd.DataFrame(rows)
    lost = (frame["strategy"] == "easiest:0.1") & frame["config"].isin(["lr=3", "lr=4"])
    return frame[~lost]


@pytest.fixture(scope="module")
def study(store: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Path]:
    client = connect()
    experiment = client.create_experiment("made up")
    logged = fill(client, experiment, np.random.default_rng(5))
    return logged, tmp_path_factory.mktemp("report")


def pairs(logged: pd.DataFrame, strategy: str, dataset: str) -> pd.DataFrame:
    sides = [
        logged[(logged["strategy"] == name) & (logged["dataset"] == dataset)].set_index("config")
        for name in (strategy, "full")
    ]
    return sides[0].merge(sides[1], on="config", suffixes=("_p", "_t"))


@pytest.mark.parametrize("basis", ["train_seconds", "examples_seen", "train_flops"])
def test_measures_agree_with_scipy(study: tuple[pd.DataFrame, Path], basis: str) -> None:
    logged, out = study
    options = ReportOptions(out=str(out), cost_basis=basis, bootstrap=20)
    made = make_report(connect(), RunWriter(connect(), "made up"), options)
    table = pd.read_csv(made.page.parent / "strategies.csv").set_index("strategy")
    for strategy in STRATEGIES:
        x, y, of_good, of_all, cost_p, cost_t, regrets = [], [], [], [], 0.0, 0.0, []
        for dataset in DATASETS:
            both = pairs(logged, strategy, dataset)
            zx = stats.zscore(both["best_valid_accuracy_p"])
            zy = stats.zscore(both["best_valid_accuracy_t"])
            good = both["best_valid_accuracy_p"].rank(ascending=False) <= -(-len(both) // 2)
            x += [*zx]
            y += [*zy]
            sides = both[["best_valid_accuracy_p", "best_valid_accuracy_t"]]
            of_good.append(stats.spearmanr(*sides[good].to_numpy().T).statistic)
            of_all.append(stats.spearmanr(*sides.to_numpy().T).statistic)
            cost_p += both[f"{basis}_p"].sum()
            cost_t += both[f"{basis}_t"].sum()
            first = both["best_valid_accuracy_p"].idxmax()
            regrets.append(100 * (both["best_valid_accuracy_t"].max() - both.loc[first, "best_valid_accuracy_t"]))
        row = table.loc[strategy]
        assert row["r2"] == pytest.approx(stats.pearsonr(x, y).statistic ** 2, abs=1e-9)
        assert row["r2"] == pytest.approx(stats.linregress(x, y).rvalue ** 2, abs=1e-9)
        assert row["spearman"] == pytest.approx(np.mean(of_good), abs=1e-9)
        assert row["spearman_all"] == pytest.approx(np.mean(of_all), abs=1e-9)
        assert row["relative_cost"] == pytest.approx(cost_p / cost_t, abs=1e-9)
        assert row["regret"] == pytest.approx(np.mean(regrets), abs=1e-9)
        missing = 4 if strategy == "easiest:0.1" else 0
        assert (row["n_pairs"], row["n_missing"]) == (72 - missing, missing)
        assert row["r2_low"] <= row["r2_high"]


def test_cost_adjusted_r2_is_the_residual_of_a_constrained_fit(study: tuple[pd.DataFrame, Path]) -> None:
    _, out = study
    made = make_report(connect(), RunWriter(connect(), "made up"), ReportOptions(out=str(out), bootstrap=0))
    table = pd.read_csv(made.page.parent / "strategies.csv")
    real = table[~table["strategy"].str.startswith("distilled")]
    powers = np.vander(real["relative_cost"], 4, increasing=True)
    # Another way to the same fit: the constraint as an equation of its own, by Lagrange multipliers.
    system = np.block([[powers.T @ powers, np.ones((4, 1))], [np.ones((1, 4)), np.zeros((1, 1))]])
    b = np.linalg.solve(system, [*(powers.T @ real["r2"]), 1.0])[:4]
    expected = table["r2"] - np.vander(table["relative_cost"], 4, increasing=True) @ b
    np.testing.assert_allclose(table["cost_adjusted_r2"], expected, atol=1e-9)
    loss = lambda c: ((powers @ np.r_[1 - c.sum(), c] - real["r2"]) ** 2).sum()  # noqa: E731
    assert loss(b[1:]) <= optimize.minimize(loss, b[1:] + 0.1).fun + 1e-9
    assert table[["r2_low", "spearman_high"]].isna().all().all(), "no intervals were asked for"


def test_published_curve_is_used_on_request(study: tuple[pd.DataFrame, Path]) -> None:
    _, out = study
    options = ReportOptions(out=str(out), bootstrap=0, cost_curve="published")
    made = make_report(connect(), RunWriter(connect(), "made up"), options)
    table = pd.read_csv(made.page.parent / "strategies.csv")
    c = table["relative_cost"]
    curve = 0.21326 + 2.83951 * c - 3.89379 * c**2 + 1.84161 * c**3
    np.testing.assert_allclose(table["cost_adjusted_r2"], table["r2"] - curve, atol=1e-9)


def test_names_are_escaped_on_the_page(study: tuple[pd.DataFrame, Path]) -> None:
    _, out = study
    made = make_report(connect(), RunWriter(connect(), "made up"), ReportOptions(out=str(out), bootstrap=0))
    page = made.page.read_text()
    assert "<b>woof" not in page
    assert "&lt;b&gt;woof" in page
    assert not list(made.page.parent.rglob(".*")), "nothing half-written is left"


def test_same_store_same_report(study: tuple[pd.DataFrame, Path], tmp_path: Path) -> None:
    pages = []
    for name in ("a", "b"):
        options = ReportOptions(out=str(tmp_path / name), bootstrap=200)
        made = make_report(connect(), RunWriter(connect(), "made up"), options)
        pages.append([(made.page.parent / file).read_bytes() for file in ("strategies.csv", "index.html", "best.csv")])
    assert pages[0] == pages[1]


def test_min_accuracy_replaces_good_fraction(study: tuple[pd.DataFrame, Path]) -> None:
    logged, out = study
    options = ReportOptions(out=str(out), bootstrap=0, min_accuracy=0.6)
    made = make_report(connect(), RunWriter(connect(), "made up"), options)
    table = pd.read_csv(made.page.parent / "strategies.csv").set_index("strategy")
    found = []
    for dataset in DATASETS:
        both = pairs(logged, "random:0.5", dataset)
        good = both["best_valid_accuracy_p"] >= 0.6
        sides = both.loc[good, ["best_valid_accuracy_p", "best_valid_accuracy_t"]]
        found.append(stats.spearmanr(*sides.to_numpy().T).statistic)
    assert table.loc["random:0.5", "spearman"] == pytest.approx(np.mean(found), abs=1e-9)


def test_the_report_never_imports_torch(store: str, study: tuple[pd.DataFrame, Path], tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from proxyflow.cli.report import report; from proxyflow.cli.running import status_of\n"
        f"words = ['--study', 'made up', '--bootstrap', '10', '--out', {str(tmp_path)!r}]\n"
        "assert status_of(report, words) == 0\n"
        "assert not set(sys.modules) & {'torch', 'fastai'}\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(), "PYTHONPATH": str(root)}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
