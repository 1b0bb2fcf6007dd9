"""A study whose data do not support a strategy: refused before anything is made, or carried out without it."""

from __future__ import annotations

from pathlib import Path

import pytest
from entry_points import STUDY, Entry
from mlflow.tracking import MlflowClient
from picture_files import make_folder

from proxyflow.tracking import names


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"folder:{make_folder(tmp_path_factory.mktemp('pictures') / 'two', train=30, valid=8, size=(16, 16))}"


def runs() -> int:
    client = MlflowClient()
    return len(client.search_runs([each.experiment_id for each in client.search_experiments()]))


IMPOSSIBLE = ("half-classes:0.5", "classes:0+2", "confusable-classes:3", "random:0.01")


@pytest.mark.parametrize("more", [(), ("--dry-run", "true")], ids=["sweep", "dry run"])
def test_a_sweep_is_refused_before_it_scores(entry: Entry, two_classes: str, more: tuple[str, ...]) -> None:
    before = runs()
    ended = entry(
        *("sweep", "--study", "impossible", "--datasets", f"digits,{two_classes}", "--grid", "demo", "--epochs", "2"),
        *(*STUDY, "--strategies", f"full,easiest:0.5,{','.join(IMPOSSIBLE)}", *more),
    )
    assert ended.status == 2
    message = ended.err.splitlines()[-1]
    assert message.startswith("error: ")
    assert all(name in message for name in IMPOSSIBLE)
    assert "easiest" not in message
    assert message.count(two_classes.removeprefix("folder:")[:40]) == len(IMPOSSIBLE)
    assert "digits" not in message
    assert runs() == before
    assert MlflowClient().get_experiment_by_name("impossible") is None
    assert ended.out == ""


@pytest.mark.parametrize("more", [(), ("--dry-run", "true")], ids=["sweep", "dry run"])
def test_images_that_their_method_cannot_make_are_refused_before_it_scores(entry: Entry, more: tuple[str, ...]) -> None:
    before = runs()
    # The method judges by a fifth of the examples, and 8 are fewer than there are classes.
    ended = entry(
        *("sweep", "--study", "impossible", "--datasets", "digits@40,digits@41", "--grid", "demo", "--epochs", "2"),
        *(*STUDY, "--strategies", "full,easiest:0.5,distilled:1,method=rank-agreement", *more),
    )
    assert ended.status == 2, ended.err
    for data in ("digits@40", "digits@41"):
        assert f"distilled:1,method=rank-agreement on {data}" in ended.err.splitlines()[-1]
    assert runs() == before
    assert MlflowClient().get_experiment_by_name("impossible") is None


@pytest.mark.parametrize("command", ["train", "materialize"])
def test_one_subset_is_refused_before_it_scores(entry: Entry, two_classes: str, command: str) -> None:
    before = runs()
    ended = entry(command, "--dataset", two_classes, "--strategy", "easiest-classes:3")
    assert ended.status == 2
    assert "easiest-classes:3" in ended.err.splitlines()[-1]
    assert runs() == before


def test_images_for_one_training_are_refused_before_any_run(entry: Entry) -> None:
    before = runs()
    ended = entry("train", "--dataset", "digits@40", "--strategy", "distilled:1,method=rank-agreement")
    assert ended.status == 2
    assert "rank-agreement" in ended.err.splitlines()[-1]
    assert runs() == before


def test_main_skips_what_the_data_cannot_support(
    entry: Entry, two_classes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from proxyflow.studies.presets import presets
    from proxyflow.trainers import ImageTrainer

    grid = tmp_path / "grid.yaml"
    grid.write_text("base: {arch: xresnet10-w16}\nconfigurations: [{}, {learning_rate: 0.01}]\n")
    quick = dataclasses.replace(presets["demo"], grid=str(grid), trainer=ImageTrainer(image_size=8))
    monkeypatch.setitem(presets._items, "demo", quick)
    ended = entry("main", "--dataset", two_classes, "--study", "two classes", "--out", str(tmp_path))
    assert ended.status == 0, ended.err
    assert any("skipped" in line and "half-classes:0.5" in line for line in ended.err.splitlines())
    client = MlflowClient()
    experiment = client.get_experiment_by_name("two classes")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in found} == {"FINISHED"}
    trained = {run.data.tags.get(names.STRATEGY) for run in found if run.data.tags[names.KIND] == "training"}
    assert trained == {"full", "random:0.25", "easiest:0.25", "hardest:0.25", "epochs:1"}
    assert (tmp_path / "two classes" / "index.html").is_file()
