"""A whole study through the real entry points and a real store, held against the contract's schema."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from entry_points import ROOT, SMALL, STUDY, Entry, environment
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from proxyflow.core.platform import may_have_gpu
from proxyflow.reporting.run import _link_from_study
from proxyflow.tracking.connection import connect
from proxyflow.tracking.runs.writer import RunWriter

# Written out again from the contract on purpose: a constant that changes in the code must fail here.
TAGS = {"kind", "schema_version", "status", "study", "dataset", "dataset_fingerprint"}
TRAINING_TAGS = TAGS | {"strategy", "config", "config_group", "seed", "subset_fingerprint", "run_key", "diverged"}
TRAINING_TAGS |= {"trainer", "metric", "goal", "config_json"}
PARAMS = {
    *("arch", "learning_rate", "stem_channels_1", "stem_channels_2", "flip_probability", "optimizer"),
    *("label_smoothing", "epochs", "batch_size", "image_size", "weight_decay", "seed", "dataset", "strategy"),
    *("n_train", "n_valid", "n_classes", "precision", "device", "engine"),
}
PER_EPOCH = {"train_loss", "valid_loss", "valid_accuracy", "epoch_seconds"}
ONCE = {
    *("best_valid_accuracy", "final_valid_accuracy", "best_epoch", "train_seconds", "setup_seconds"),
    *("objective", "chance_objective", "valid_seconds", "steps"),
    *("wall_seconds", "examples_seen", "train_flops", "examples_per_second", "peak_memory_mb"),
    *("selection_train_seconds", "selection_examples_seen", "selection_train_flops"),
}
STRATEGY_COLUMNS = [
    "strategy",
    "family",
    "r2",
    "r2_low",
    "r2_high",
    "spearman",
    "spearman_low",
    "spearman_high",
    "spearman_all",
    "spearman_all_low",
    "spearman_all_high",
    "cost_adjusted_r2",
    "relative_cost",
    "steps",
    "relative_examples",
    "regret",
    "best_recovered",
    "n_pairs",
    "n_missing",
    "n_unranked",
    "r2_ranked",
    "r2_ranked_low",
    "r2_ranked_high",
    "spearman_ranked",
    "spearman_ranked_low",
    "spearman_ranked_high",
    "regret_ranked",
    "regret_ranked_low",
    "regret_ranked_high",
]
ID = re.compile(r"run ([0-9a-f]{32})")


def runs_of(experiment: str, **tags: str) -> list[Run]:
    client = MlflowClient()
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    parts = [f"tags.`proxyflow.{key}` = '{value}'" for key, value in tags.items()]
    return list(client.search_runs([found.experiment_id], " and ".join(parts), max_results=1000))


def tags_of(run: Run) -> set[str]:
    return {key.removeprefix("proxyflow.") for key in run.data.tags if key.startswith("proxyflow.")}


def artifact(run: Run, path: str, folder: Path) -> Path:
    return Path(MlflowClient().download_artifacts(run.info.run_id, path, str(folder)))


@pytest.mark.pictures
def test_train_makes_all_it_needs_and_says_so(entry: Entry, tmp_path: Path) -> None:
    ended = entry(
        "score",
        *SMALL,
        "--epochs",
        "1",
        "--repeats",
        "2",
        "--holdout-folds",
        "2",
        "--weight-decay",
        "0",
        "--study",
        "parts",
    )
    assert ended.status == 0, ended.err
    score = runs_of("parts", kind="score")[0]
    assert tags_of(score) >= TAGS
    assert score.data.tags["proxyflow.status"] == "finished"
    assert score.data.params["weight_decay"] == "0.0", "a setting of zero is a setting"
    frame = pd.read_parquet(artifact(score, "scores/scores.parquet", tmp_path))
    assert len(frame) == 1297
    assert frame["example_id"].tolist() == list(range(1297))
    assert {"content_hash", "label", "loss", "margin", "entropy", "el2n", "correct"} <= set(frame.columns)
    assert {"forgetting_events", "heldout_loss"} <= set(frame.columns)
    assert frame["loss"].dtype == "float64"
    summary = json.loads(artifact(score, "scores/summary.json", tmp_path).read_text())
    assert -1 <= summary["measures"]["loss"]["agreement_between_repeats"] <= 1

    ended = entry("train", *SMALL, "--epochs", "1", "--strategy", "easiest:0.1", "--study", "parts")
    assert ended.status == 0, ended.err
    assert f"the latest are in run {score.info.run_id}" in ended.err
    assert "subset easiest:0.1 of digits: 130 examples, made in run" in ended.err
    assert entry("train", *SMALL, "--epochs", "1", "--strategy", "easiest:.10", "--study", "parts").status == 0
    assert len(runs_of("parts", kind="subset", strategy="easiest:0.1")) == 1
    first, second = runs_of("parts", kind="training")
    assert first.data.tags["proxyflow.subset_run"] == second.data.tags["proxyflow.subset_run"]
    assert first.data.tags["proxyflow.run_key"] == second.data.tags["proxyflow.run_key"]
    assert first.data.metrics["best_valid_accuracy"] == second.data.metrics["best_valid_accuracy"]

    subset = runs_of("parts", kind="subset", strategy="easiest:0.1")[0]
    named = entry("train", *SMALL, "--epochs", "1", "--subset", subset.info.run_id, "--study", "parts")
    assert named.status == 0, named.err
    third = runs_of("parts", kind="training")[0]
    assert third.data.tags["proxyflow.run_key"] == first.data.tags["proxyflow.run_key"]
    assert third.data.metrics["best_valid_accuracy"] == first.data.metrics["best_valid_accuracy"]


def test_subset_artifact_is_what_the_contract_says(entry: Entry, tmp_path: Path) -> None:
    assert entry("materialize", "--strategy", "half-classes:0.1", "--study", "files").status == 0
    run = runs_of("files", kind="subset")[0]
    folder = artifact(run, "subset", tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["strategy"] == "half-classes:0.1"
    assert manifest["dataset_fingerprint"] == run.data.tags["proxyflow.dataset_fingerprint"]
    assert set(manifest["sha256"]) == {"train-00000.parquet", "valid-00000.parquet"}
    assert sum(manifest["class_counts"].values()) == manifest["n_train"] == 65
    train = pq.read_table(folder / "train-00000.parquet")
    assert train.column_names == ["image", "label", "example_id", "score"]
    assert str(train.schema.field("image").type) == "struct<bytes: binary, path: string>"
    assert train["image"][0]["bytes"].as_py().startswith(b"\x89PNG")
    valid = pq.read_table(folder / "valid-00000.parquet")
    assert set(valid["label"].to_pylist()) == {0, 1, 2, 3, 4}
    assert valid.num_rows == 250


def test_sweep_and_report(entry: Entry, store: str, grid_file: Path, tmp_path: Path) -> None:
    arguments = ("--study", "whole", "--grid", str(grid_file), "--epochs", "2", *STUDY, "--price-per-hour", "3.6")
    strategy_list = "full,random:0.3,easiest:0.2,hardest:0.5,drop=0.05,half-classes:0.5,epochs:1"
    planned = entry("sweep", *arguments, "--strategies", strategy_list, "--dry-run", "true")
    assert planned.status == 0, planned.err
    assert "24 runs, 24 to do" in planned.out
    assert "US dollars" in planned.out
    assert MlflowClient().get_experiment_by_name("whole") is None, "a dry run makes nothing"

    ended = entry("sweep", *arguments, "--strategies", strategy_list)
    assert ended.status == 0, ended.err
    assert "24 trainings planned, 24 finished (24 now)" in ended.out
    study = runs_of("whole", kind="study")[0]
    children = runs_of("whole", kind="training", status="finished")
    assert len(children) == 24
    keys = {run.data.tags["proxyflow.run_key"] for run in children}
    assert len(keys) == 24
    for run in children:
        assert run.data.tags["mlflow.parentRunId"] == study.info.run_id
        assert tags_of(run) >= TRAINING_TAGS
        assert set(run.data.params) >= PARAMS
        assert set(run.data.metrics) == PER_EPOCH | ONCE | {"cost_usd"}
        assert run.data.tags["mlflow.note.content"]
        assert run.info.status == "FINISHED"
        assert run.inputs.dataset_inputs
        expected = run.data.metrics["wall_seconds"] / 1000
        assert run.data.metrics["cost_usd"] == pytest.approx(expected)
        epochs = MlflowClient().get_metric_history(run.info.run_id, "valid_accuracy")
        wanted = 1 if run.data.tags["proxyflow.strategy"] == "epochs:1" else 2
        assert [metric.step for metric in epochs] == list(range(1, wanted + 1))
        best = max(metric.value for metric in epochs)
        assert run.data.metrics["objective"] == run.data.metrics["best_valid_accuracy"] == best
        assert json.loads(run.data.tags["proxyflow.config_json"])["batch_size"] == 128
        assert run.data.metrics["epoch_seconds"] <= run.data.metrics["train_seconds"]
    half = next(run for run in children if run.data.tags["proxyflow.strategy"] == "half-classes:0.5")
    assert (half.data.params["n_valid"], half.data.params["n_classes"]) == ("250", "5")

    resumed = entry("sweep", *arguments, "--strategies", strategy_list)
    assert "24 finished (0 now)" in resumed.out
    assert len(runs_of("whole", kind="training")) == 24
    after = entry("sweep", *arguments, "--strategies", strategy_list, "--dry-run", "true")
    assert "24 runs, 0 to do" in after.out
    # torch takes half a gigabyte and seconds; on a GPU it is asked for the precision.
    if not may_have_gpu():
        code = (
            "import sys\nfrom proxyflow.cli.running import status_of\nfrom proxyflow.cli.sweep import sweep\n"
            f"assert status_of(sweep, {[*arguments, '--strategies', strategy_list]!r}) == 0\n"
            "assert 'torch' not in sys.modules, 'planning imports torch'"
        )
        planning = [sys.executable, "-c", code]
        done = subprocess.run(planning, env=environment(store), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "24 finished (0 now)" in done.stdout

    out = tmp_path / "out"
    reported = entry("report", "--study", "whole", "--out", str(out), "--bootstrap", "50")
    assert reported.status == 0, reported.err
    assert "easiest:0.2" in reported.out
    assert (out / "whole" / "index.html").as_uri() in reported.out
    table = pd.read_csv(out / "whole" / "strategies.csv")
    assert list(table.columns) == STRATEGY_COLUMNS
    assert table["strategy"][0] == "full"
    assert table["n_pairs"].tolist() == [4] * 6
    assert table["n_missing"].tolist() == [0] * 6
    report = runs_of("whole", kind="report")[0]
    files = {path.name for path in artifact(report, "report", tmp_path).rglob("*") if path.is_file()}
    assert files >= {"index.html", "strategies.csv", "best.csv", "selection.csv", "runs.csv", "quality_by_cost.png"}
    assert files >= {"quality_by_cost.svg", "proxy_against_target.png", "proxy_against_target.svg"}
    page = (out / "whole" / "index.html").read_text()
    assert "easiest:0.2" in page
    # Plotly's code names addresses, which the page's own policy forbids to ask; what is ours names none.
    assert "default-src 'none'" in page
    assert "http://" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)

    # Descriptions lead from run to run, and docs/reference/tracking.md has a row for whatever a run measures.
    child = next(run for run in children if run.data.tags["proxyflow.strategy"] == "easiest:0.2")
    assert child.data.params["config"] == child.data.tags["proxyflow.config"]
    for tag in ("subset_run", "score_run"):
        assert f"/runs/{child.data.tags[f'proxyflow.{tag}']}?" in child.data.tags["mlflow.note.content"]
    newest = runs_of("whole", kind="study")[0]
    assert f"/runs/{report.info.run_id}/artifacts/report/index.html?" in newest.data.tags["mlflow.note.content"]
    assert newest.data.tags["mlflow.note.content"].count("newest report") == 1
    rows = re.findall(
        r"^\| `(.+?)` \| (.+) \|$", (ROOT / "docs" / "reference" / "tracking.md").read_text(), re.MULTILINE
    )
    known = [re.sub("[A-Z]+", ".+", row) for row, _ in rows]
    for run in runs_of("whole"):
        for name in run.data.metrics:
            assert any(re.fullmatch(each, name) for each in known), name


def test_a_second_report_takes_the_place_of_the_first_in_the_study_s_description(store: str) -> None:
    client = connect()
    writer = RunWriter(client, "linked")
    with writer.open("study", "a study", "A study.\n\nIts trainings.") as study:
        pass
    for page in ("first", "second"):
        _link_from_study(client, writer.experiment_id, page)
    note = client.get_run(study.id).data.tags["mlflow.note.content"]
    assert note == "A study.\n\nIts trainings. [The newest report](second)."


def test_a_diverged_training_is_a_finished_result(entry: Entry) -> None:
    ended = entry("train", *SMALL, "--epochs", "3", "--optimizer", "sgd", "--learning-rate", "1e12", "--study", "bad")
    assert ended.status == 0, ended.err
    assert "(diverged)" in ended.out
    run = runs_of("bad", kind="training")[0]
    assert run.data.tags["proxyflow.diverged"] == "true"
    assert run.data.tags["proxyflow.status"] == "finished"
    assert run.data.metrics["final_valid_accuracy"] == 0
    assert run.data.metrics["examples_seen"] < 3 * 1280


def test_a_subset_trains_for_fewer_epochs_where_it_is_asked_to(entry: Entry) -> None:
    assert entry("materialize", "--strategy", "epochs:2", "--study", "short").status == 2
    made = entry("materialize", "--strategy", "full", "--study", "short")
    found = ID.search(made.out)
    assert found
    for strategy in ("full", "epochs:2", "epochs:1"):
        ended = entry(
            "train", *SMALL, "--epochs", "3", "--subset", found[1], "--strategy", strategy, "--study", "short"
        )
        assert ended.status == 0, ended.err
    trained = {
        (run.data.tags["proxyflow.strategy"], run.data.tags["proxyflow.epochs"])
        for run in runs_of("short", kind="training")
    }
    assert trained == {("full", "3"), ("epochs:2", "2"), ("epochs:1", "1")}


@pytest.mark.slow
def test_a_strategy_by_held_out_loss_gets_its_folds(entry: Entry, grid_file: Path, tmp_path: Path) -> None:
    arguments = ("--study", "folds", "--grid", str(grid_file), "--epochs", "1", *STUDY)
    ended = entry("sweep", *arguments, "--strategies", "full,easiest:0.1,by=heldout_loss")
    assert ended.status == 0, ended.err
    assert runs_of("folds", kind="score")[0].data.params["holdout_folds"] == "5"
    assert entry("report", "--study", "folds", "--out", str(tmp_path), "--bootstrap", "0").status == 0
    kinds = set()
    for run in runs_of("folds"):
        assert tags_of(run) >= TAGS, run.info.run_name
        kinds.add(run.data.tags["proxyflow.kind"])
    assert kinds == {"study", "score", "subset", "training", "report"}


def test_limits_stop_between_trainings(entry: Entry, grid_file: Path) -> None:
    arguments = ("--study", "limited", "--grid", str(grid_file), "--strategies", "full,random:0.1", *STUDY)
    ended = entry("sweep", *arguments, "--epochs", "1", "--max-hours", "0.0000001")
    assert ended.status == 0, ended.err
    assert "stopped: max_hours=1e-07 is reached, 8 trainings are left" in ended.err
    assert runs_of("limited", kind="training") == []
    assert runs_of("limited", kind="study")[0].data.tags["proxyflow.status"] == "finished"


@pytest.mark.parametrize(("name", "kind"), [("train", "training"), ("score", "score")])
def test_saved_weights_and_logged_model_load_without_pickle(name: str, kind: str, entry: Entry, tmp_path: Path) -> None:
    import mlflow
    import numpy as np
    from safetensors.numpy import load_file

    ended = entry(
        name, *SMALL, "--epochs", "1", "--dataset", "digits@300", "--study", f"models-{kind}",
        "--save-model", "true", "--log-model", "true",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    run = runs_of(f"models-{kind}", kind=kind)[0]
    weights = load_file(artifact(run, "weights/model.safetensors", tmp_path))
    assert weights["0.0.weight"].shape == (32, 3, 3, 3)
    description = json.loads(artifact(run, "weights/model.json", tmp_path).read_text())
    assert description["valid_accuracy"] == run.data.metrics["best_valid_accuracy"]
    model = mlflow.search_logged_models([run.info.experiment_id], output_format="list")[0]
    assert model.status == "READY"
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    predict = mlflow.pyfunc.load_model(model.model_uri).predict
    assert predict(np.zeros((3, 3, 8, 8), dtype=np.float32)).shape == (3, 10)
