"""A table through the real entry points: subsets, a plan, a study with a plug-in trainer, and rows that change."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from entry_points import SMALL, Entry
from image_training import spec_of
from mlflow.tracking import MlflowClient
from picture_files import make_folder
from proxyflow_example.trainers import Surface
from table_files import made_up_frame, write

from proxyflow.data.table.store import rows_of
from proxyflow.proxies import Proxy
from proxyflow.subsets.artifact import read_subset
from proxyflow.trainers import trainers


@pytest.fixture(autouse=True)
def surface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trainers._items, "surface", Surface)


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """240 reviews of 3 classes."""
    frame = made_up_frame().rename(columns={"label": "stars", "text": "body", "id": "uuid"})
    frame["who"] = np.arange(240) // 2
    return write(frame, tmp_path / "my reviews [new].csv")


COLUMNS = "[text=body,label=stars,id=uuid,group=who]"


def run_id_of(out: str) -> str:
    return out.split("run ", 1)[1].split(":", 1)[0]


@pytest.mark.parametrize(("strategy", "classes"), [("random:0.5", 3), ("half-classes:1.0", 2)])
def test_a_subset_is_materialized(strategy: str, classes: int, entry: Entry, reviews: Path, tmp_path: Path) -> None:
    made = entry("materialize", "--dataset", f"table:{reviews}{COLUMNS}", "--strategy", strategy)
    assert made.status == 0, made.err
    assert "validation rows of 6 columns, 3 classes: bad, fine, good" in made.err
    client, run_id = MlflowClient(), run_id_of(made.out)
    tags = client.get_run(run_id).data.tags
    assert tags["proxyflow.dataset"] == f"table:{reviews}[label=stars,id=uuid,group=who,text=body]"
    client.download_artifacts(run_id, "subset", str(tmp_path))
    reviews.unlink()
    subset = read_subset(tmp_path / "subset")
    assert subset.fingerprint == tags["proxyflow.subset_fingerprint"]
    assert (len(subset.classes), subset.modality) == (classes, "rows")
    train, valid = subset.train.groups, subset.valid.groups
    assert train is not None
    assert valid is not None
    assert not set(train) & set(valid)


def test_a_study_of_a_table_is_planned_trained_and_reported(entry: Entry, reviews: Path, tmp_path: Path) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(yaml.safe_dump([{"width": width} for width in (0.1, 0.2, 0.3, 0.5, 0.7)]))
    study = tmp_path / "stars.yaml"
    study.write_text(
        yaml.safe_dump(
            {
                "datasets": [f"table:{reviews.name}{COLUMNS}"],
                "strategies": ["full", "random:0.5", "half-classes:1.0"],
                "trainer": "surface",
                "epochs": 2,
                "grid": "grid.yaml",
            }
        )
    )
    planned = entry("sweep", "--study", str(study), "--dry-run", "true")
    assert planned.status == 0, planned.err
    assert "15 runs, 15 to do" in planned.out
    done = entry("sweep", "--study", str(study))
    assert done.status == 0, done.err
    # Elsewhere, in another order and format, it is the same data set.
    frame = pd.read_csv(reviews).sample(frac=1, random_state=0)
    again = write(frame, tmp_path / "again.parquet")
    options = ("--strategies", "full,random:0.5,half-classes:1.0", "--trainer", "surface", "--grid", str(grid))
    found = entry("sweep", "--study", "stars", "--datasets", f"table:{again}{COLUMNS}", "--epochs", "2", *options)
    assert found.status == 0, found.err
    assert "(0 now)" in found.out
    done = entry("report", "--study", "stars", "--out", str(tmp_path), "--bootstrap", "20")
    assert done.status == 0, done.err
    table = pd.read_csv(tmp_path / "stars/strategies.csv").set_index("strategy")
    assert table.loc["random:0.5", "n_pairs"] == 5
    write(pd.read_csv(reviews).assign(x=0.5), reviews)
    changed = entry("sweep", "--study", str(study))
    assert changed.status == 0, changed.err
    assert "(15 now)" in changed.out, "another data set"


def test_images_that_a_table_names_are_trained_on(entry: Entry, tmp_path: Path) -> None:
    pictures = make_folder(tmp_path / "pets", ("ant", "bee"), train=24, valid=0, size=(24, 30))
    files = sorted(path for path in pictures.rglob("*") if path.is_file())
    frame = pd.DataFrame({"file": [str(path.relative_to(tmp_path)) for path in files]})
    frame["species"] = [path.parent.name for path in files]
    frame["nest"] = [f"nest {number // 4}" for number in range(len(files))]
    index = write(frame, tmp_path / "list.csv")
    name = f"index:{index}[image=file,label=species,group=nest]"
    trained = entry("train", "--dataset", name, "--strategy", "random:0.5", "--epochs", "1", *SMALL)
    assert trained.status == 0, trained.err
    assert "RGB, 2 classes: ant, bee" in trained.err
    shutil.rmtree(pictures)
    gone = entry("train", "--dataset", name, "--epochs", "1", *SMALL)
    assert gone.status == 2


def test_a_trainer_of_images_refuses_rows(entry: Entry, reviews: Path) -> None:
    refused = entry("train", "--dataset", f"table:{reviews}{COLUMNS}", "--epochs", "1", *SMALL)
    assert refused.status == 2, refused.err
    assert "trainer=images" in refused.err
    assert "Traceback" not in refused.err


def test_errors_are_one_line_with_status_2(entry: Entry, reviews: Path) -> None:
    for columns, named in (("", "label"), ("[label=stars,group=nobody]", "nobody"), ("[labels=stars]", "labels")):
        refused = entry("materialize", "--dataset", f"table:{reviews}{columns}", "--strategy", "random:0.5")
        assert refused.status == 2
        assert named in refused.err
        assert len(refused.err.strip().splitlines()) == 1


def test_a_row_that_changed_after_its_subset_was_made_is_named(
    entry: Entry, reviews: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Another worker may find another file under the same path: it trains on the subset that was planned."""
    from proxyflow.cli.opening import open_context
    from proxyflow.data.catalog import DataOptions
    from proxyflow.strategies import parse_strategy
    from proxyflow.studies.plan import PlannedTraining
    from proxyflow.studies.subsets import ensure_subset, load_planned_subset

    name, strategy = f"table:{reviews}{COLUMNS}", parse_strategy("full")
    context = open_context("changing", DataOptions())
    dataset = context.dataset(name)
    reference = ensure_subset(context, dataset, strategy, 0, None)
    frame = pd.read_csv(reviews)
    changed = int(rows_of(dataset.train).positions[5])
    frame.loc[changed, "x"] = 0.5
    write(frame, reviews)
    context = open_context("changing", DataOptions())
    capfd.readouterr()
    subset = load_planned_subset(context, PlannedTraining(name, replace(spec_of(), proxy=Proxy(strategy))), reference)
    assert subset.fingerprint == reference.fingerprint != context.dataset(name).fingerprint
    said = capfd.readouterr().err
    assert f"row {changed + 1} (id r{changed:03d})" in said


def test_a_program_reads_the_selected_rows_as_they_are_in_the_file(entry: Entry, tmp_path: Path) -> None:
    """A nearest-centroid classifier that knows CSV and nothing of proxyflow."""
    frame = made_up_frame()
    frame["zip"] = [f"{number:05d}" for number in range(240)]
    write(frame, tmp_path / "rows.csv")
    (tmp_path / "fit.py").write_text(
        "import csv, json, os, sys\n"
        "train, valid = (list(csv.DictReader(open(path, newline='', encoding='utf-8'))) for path in sys.argv[1:3])\n"
        "source = {row['id']: row for row in csv.DictReader(open('rows.csv', newline='', encoding='utf-8'))}\n"
        "assert all(source[row['id']] == row for row in train + valid), 'a cell has changed'\n"
        "assert not {row['id'] for row in train} & {row['id'] for row in valid}\n"
        "ids = open(os.environ['PROXYFLOW_DATA'] + '/train_ids.txt').read().split()\n"
        "assert ids == [row['id'] for row in train]\n"
        "shift = float(sys.argv[3])\n"
        "mean = {label: sum(float(row['x']) for row in train if row['label'] == label)\n"
        "        / sum(row['label'] == label for row in train) + shift for label in ('bad', 'fine', 'good')}\n"
        "right = sum(min(mean, key=lambda label: abs(mean[label] - float(row['x']))) == row['label'] for row in valid)\n"
        "with open(os.environ['PROXYFLOW_OUTPUT'] + '/metrics.jsonl', 'w') as file:\n"
        "    json.dump({'epoch': 1, 'valid_accuracy': right / len(valid)}, file)\n"
    )
    study = tmp_path / "centroids.yaml"
    study.write_text(
        yaml.safe_dump(
            {
                "datasets": ["table:rows.csv[text=text]"],
                "strategies": "full,random:0.5",
                "trainer": "program",
                "program": f"{sys.executable} fit.py {{train}} {{valid}} {{shift}}",
                "metric": "valid_accuracy",
                "epochs": 1,
                "grid": [{"shift": shift} for shift in (0.0, 0.5, 2.0)],
            }
        )
    )
    done = entry("sweep", "--study", str(study))
    assert done.status == 0, done.out + done.err
    done = entry("report", "--study", "centroids", "--out", str(tmp_path), "--bootstrap", "0")
    assert done.status == 0, done.err
    runs = pd.read_csv(tmp_path / "centroids/runs.csv")
    assert len(runs) == 6
    best = runs.loc[runs.groupby("strategy")["objective"].idxmax(), "config"]
    assert not any("2.0" in name for name in best)
