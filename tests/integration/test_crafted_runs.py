"""Another user of the tracking server crafts runs: nothing of them is executed, nothing is overwritten, and all is said."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from altered import EPS, ESCAPES, as_json, bomb
from entry_points import SMALL, Entry
from mlflow.tracking import MlflowClient

from proxyflow.core.errors import printable
from proxyflow.trainers import EpochRecord
from proxyflow.trainers.images.checkpoints import TrainingCheckpoint
from proxyflow.trainers.images.engine import TrainingState

MANIFEST, TRAIN = "manifest.json", "train-00000.parquet"
WRITES = "import pathlib; pathlib.Path('/tmp/pwned-by-an-artifact').touch()"
PWNED = Path("/tmp/pwned-by-an-artifact")


def runs_of(study: str) -> list[Any]:
    client = MlflowClient()
    experiment = client.get_experiment_by_name(study)
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


def artifacts_of(run: Any) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://")).absolute()


@pytest.fixture(scope="module")
def original(store: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of an honest subset's files."""
    from made_up import digits

    from proxyflow.strategies import parse_strategy
    from proxyflow.subsets import choose_subset
    from proxyflow.subsets.artifact import write_subset

    folder = tmp_path_factory.mktemp("original")
    write_subset(choose_subset(digits(), parse_strategy("random:0.05"), 0), folder)
    return folder


@pytest.fixture
def crafted(entry: Entry, original: Path) -> tuple[str, Path]:
    """A subset run with its artifact's folder, which may be changed."""
    assert entry("materialize", "--strategy", "random:0.05", "--study", "crafted").status == 0
    run = next(run for run in runs_of("crafted") if run.data.tags["proxyflow.kind"] == "subset")
    folder = artifacts_of(run) / "subset"
    shutil.rmtree(folder)
    shutil.copytree(original, folder)
    return run.info.run_id, folder


def edit(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_bytes(as_json({**manifest, **changes}))


def names_another_file(folder: Path) -> None:
    (folder.parent.parent / "x.parquet").write_bytes((folder / TRAIN).read_bytes())
    sums = json.loads((folder / MANIFEST).read_text())["sha256"]
    edit(folder, sha256={**sums, "../../x.parquet": sums[TRAIN]})


def holds_image(image: bytes) -> Callable[[Path], None]:
    def craft(folder: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from proxyflow.data.images.artifact import IMAGE

        table = pq.read_table(folder / TRAIN)
        images = [{"bytes": image, "path": "../../x.png"}, *table["image"].to_pylist()[1:]]
        pq.write_table(table.set_column(0, "image", pa.array(images, IMAGE)), folder / TRAIN)
        sums = json.loads((folder / MANIFEST).read_text())["sha256"]
        edit(folder, sha256={**sums, TRAIN: hashlib.sha256((folder / TRAIN).read_bytes()).hexdigest()})

    return craft


def is_a_pickle(folder: Path) -> None:
    data = b"cposix\nsystem\n(S'touch /tmp/pwned-by-an-artifact'\ntR."
    (folder / TRAIN).write_bytes(data)
    sums = json.loads((folder / MANIFEST).read_text())["sha256"]
    edit(folder, sha256={**sums, TRAIN: hashlib.sha256(data).hexdigest()})


DIGITS = [str(digit) for digit in range(10)]
CRAFTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a file elsewhere": (names_another_file, "a key of sha256=../../x.parquet is not accepted"),
    "escapes in a class name": (lambda f: edit(f, class_names=[*DIGITS[:9], ESCAPES]), r"class_names[9]=\x1b[2J"),
    "a line break in a class name": (lambda f: edit(f, class_names=[*DIGITS[:9], "a\nb"]), r"class_names[9]=a\nb"),
    "escapes in the data set's name": (lambda f: edit(f, dataset=f"digits{ESCAPES}"), r"dataset=digits\x1b[2J"),
    "a strategy that is none": (lambda f: edit(f, strategy="__import__('os').abort()"), "known: full, random"),
    "an infinite seed": (lambda f: edit(f, seed=float("inf")), "seed=inf is not accepted"),
    "huge images": (lambda f: edit(f, image_size=10**9), "image_size=1000000000 is not accepted"),
    "nothing but brackets": (lambda f: (f / MANIFEST).write_text("[" * 100_000), "nested too deeply"),  # type: ignore[dict-item, return-value]
    "a pickle": (is_a_pickle, "truncated, or not a Parquet file"),
    "a program for Ghostscript": (holds_image(EPS), "image 0 cannot be used: not a supported image format"),
    "a bomb": (holds_image(bomb(30_000)), "image 0 cannot be used"),
    "another subset": (lambda f: edit(f, subset_fingerprint="0" * 64), "subset_fingerprint"),
}


def everything_below(folder: Path) -> dict[str, int]:
    """Files and when they were written; the store itself is not among them."""
    paths = (path for path in folder.rglob("*") if not path.name.startswith("mlflow.db"))
    return {str(path): path.stat().st_mtime_ns for path in paths if path.is_file()}


@pytest.mark.parametrize("name", CRAFTS)
def test_a_crafted_subset_is_refused_in_one_line(entry: Entry, crafted: tuple[str, Path], name: str) -> None:
    run_id, folder = crafted
    craft, said = CRAFTS[name]
    craft(folder)
    before = everything_below(Path.cwd())
    ended = entry("train", "--subset", run_id, *SMALL, "--epochs", "1", "--study", "crafted")
    assert ended.status == 2
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err == printable(ended.err.rstrip("\n")) + "\n"
    assert said in ended.err
    assert ended.out == ""
    assert everything_below(Path.cwd()) == before
    assert not PWNED.exists()
    assert {run.info.status for run in runs_of("crafted")} == {"FINISHED"}


def test_what_else_lies_in_a_subset_is_no_part_of_it(entry: Entry, crafted: tuple[str, Path]) -> None:
    run_id, folder = crafted
    for name in ("evil.pkl", "__init__.py", "sitecustomize.py", "torch.py", "conftest.py"):
        (folder / name).write_text(WRITES)
    html = "<img src=x onerror=alert(1)>"
    manifest = json.loads((folder / MANIFEST).read_text())
    counts = {html if name == "9" else name: count for name, count in manifest["class_counts"].items()}
    edit(folder, class_names=[*DIGITS[:9], html], class_counts=counts)
    MlflowClient().delete_tag(run_id, "proxyflow.subset_fingerprint")
    ended = entry("train", "--subset", run_id, *SMALL, "--epochs", "1", "--study", "beside")
    assert ended.status == 0, ended.err
    assert not PWNED.exists()
    assert not list(Path.cwd().glob("*.p[yk]*"))


def test_tags_and_metrics_of_strangers_are_shown_as_they_are(entry: Entry, tmp_path: Path) -> None:
    client = MlflowClient()
    experiment = client.create_experiment("strange")
    html = f"<script>alert(1)</script>{ESCAPES}\nsecond line\u202e$x^{{"
    strange: list[dict[str, str]] = [
        {},
        {"proxyflow.strategy": html, "proxyflow.dataset": html},
        {"proxyflow.strategy": "x" * 5000, "proxyflow.config": "y" * 5000},
        {"proxyflow.config": html, "proxyflow.config_group": html, "proxyflow.error": html},
        {"proxyflow.seed": "9" * 30, "proxyflow.epochs": "9" * 30},
        {"proxyflow.seed": "9" * 4999, "proxyflow.epochs": "-7"},
        {"proxyflow.seed": "nan", "proxyflow.epochs": "1e400", "proxyflow.diverged": html},
        {"proxyflow.heartbeat": html, "proxyflow.owner": html, "proxyflow.status": html},
        {"proxyflow.heartbeat": "inf", "proxyflow.owner": "elsewhere/1 x y", "proxyflow.status": "running"},
        {"proxyflow.run_key": html, "proxyflow.subset_fingerprint": html, "proxyflow.dataset_fingerprint": html},
    ]
    for number, tags in enumerate(strange):
        for config in ("default", "lr=0.01", "lr=0.1", "opt=sgd"):
            base = {
                "proxyflow.kind": "training",
                "proxyflow.study": "strange",
                "proxyflow.status": "finished",
                "proxyflow.strategy": "full" if number % 2 == 0 else "random:0.1",
                "proxyflow.dataset": "digits",
                "proxyflow.config": config,
                "proxyflow.seed": str(number),
                "proxyflow.epochs": "2",
            }
            run = client.create_run(experiment, tags={**base, **tags}, run_name=html)
            accuracy = [0.5, float("inf"), float("nan"), -1e308, 1e308][(number + len(config)) % 5] if tags else 0.5
            client.log_metric(run.info.run_id, "best_valid_accuracy", accuracy)
            client.log_metric(run.info.run_id, "train_seconds", [1.0, -1.0, float("inf")][number % 3])
            client.log_metric(run.info.run_id, "valid_accuracy", 0.5, step=1)
            client.log_metric(run.info.run_id, "valid_accuracy", accuracy, step=2**62 if number else 2)
            client.log_param(run.info.run_id, "device", html)
            client.set_terminated(run.info.run_id)
    planner = client.create_run(experiment, tags={"proxyflow.kind": "study", "proxyflow.study": "strange"})
    client.log_metric(planner.info.run_id, "runs_planned", float("inf"))
    client.set_terminated(planner.info.run_id)
    ended = entry("report", "--study", "strange", "--out", str(tmp_path), "--bootstrap", "20")
    assert ended.status == 0, ended.err
    for line in (ended.out + ended.err).split("\n"):
        assert line == printable(line)
    page = (tmp_path / "strange" / "index.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert {path.name for path in tmp_path.iterdir()} == {"strange"}
    assert not [
        run
        for run in runs_of("strange")
        if run.data.tags["proxyflow.kind"] == "report" and run.info.status == "RUNNING"
    ]


def state(epochs: int, tensors: dict[str, torch.Tensor]) -> TrainingState:
    values = {"train_loss": 0.1, "valid_loss": 0.1, "valid_accuracy": 0.99, "epoch_seconds": 0.1}
    records = tuple(EpochRecord(number + 1, values) for number in range(epochs))
    return TrainingState(tensors, records, 1.0, 0.5, 1.0, 100)


@pytest.mark.parametrize(
    ("craft", "status", "said"),
    [
        ("other tensors", 2, "the checkpoint does not fit this training: model."),
        ("all epochs", 0, ""),
        ("a pickle", 0, ""),
        ("no numbers", 0, ""),
        ("other folders", 0, ""),
    ],
)
def test_a_checkpoint_of_a_stranger_with_the_same_key(
    entry: Entry, tmp_path: Path, craft: str, status: int, said: str
) -> None:
    study = f"checkpoint of {craft}"
    arguments = ("train", "--strategy", "random:0.05", *SMALL, "--epochs", "2", "--study", study)
    # Another key for each, as a checkpoint is looked for on the whole server.
    arguments += ("--weight-decay", f"0.{sum(craft.encode())}")
    assert entry(*arguments).status == 0
    mine = next(run for run in runs_of(study) if run.data.tags["proxyflow.kind"] == "training")
    folder = tmp_path / "checkpoint"
    epochs = 5 if craft == "all epochs" else 1
    checkpoint = TrainingCheckpoint(
        state(epochs, {"model.0.weight": torch.zeros(1)}), mine.data.tags["proxyflow.run_key"], 1.0
    )
    checkpoint.save(folder / ("z" if craft == "other folders" else "a"))
    if craft == "a pickle":
        torch.save({"x": torch.zeros(1)}, folder / "a" / "state.safetensors")
        told = json.loads((folder / "a" / "state.json").read_text())
        told["sha256"] = hashlib.sha256((folder / "a" / "state.safetensors").read_bytes()).hexdigest()
        (folder / "a" / "state.json").write_text(json.dumps(told))
    if craft == "no numbers":
        told = json.loads((folder / "a" / "state.json").read_text())
        (folder / "a" / "state.json").write_bytes(as_json({**told, "wall_seconds": float("inf")}))
    client = MlflowClient()
    tags = {**mine.data.tags, "proxyflow.status": "interrupted", "proxyflow.study": study}
    theirs = client.create_run(mine.info.experiment_id, tags=tags)
    client.log_artifacts(theirs.info.run_id, str(folder), "checkpoint")
    client.set_terminated(theirs.info.run_id, "KILLED")
    client.set_tag(mine.info.run_id, "proxyflow.status", "failed")
    ended = entry(*arguments, "--resume-training", "true")
    assert ended.status == status, ended.err
    assert said in ended.err
    assert ("resuming after epoch" in ended.err) == (status == 2)
    assert "Traceback" not in ended.err
    assert "RUNNING" not in {run.info.status for run in runs_of(study)}
    if status == 2:
        assert ended.err.rstrip("\n").split("\n")[-1].startswith("error: ")


def test_nothing_was_executed() -> None:
    assert not PWNED.exists()
    assert not Path("pwned").exists()
