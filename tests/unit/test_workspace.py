"""Folders that trainings share: what one finds there of another, and what happens where no file can be written."""

from __future__ import annotations

import dataclasses
import errno
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from proxyflow.core.errors import TrainingFailed
from proxyflow.data.catalog import DataOptions, load_dataset
from proxyflow.spaces.metric import Metric
from proxyflow.spaces.space import Space
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import Subset, choose_subset
from proxyflow.trainers import FunctionTrainer, Job, TrainingSpec
from proxyflow.trainers.program.folder import subset_files
from proxyflow.trainers.reported import NothingReported
from proxyflow.trainers.workspace import checkpoint_folder, explained, subset_folder

MakeJob = Callable[..., Job]


@pytest.fixture(scope="module")
def subset() -> Subset:
    return choose_subset(load_dataset("digits@100", DataOptions(), lambda text: None), parse_strategy("random:0.5"), 0)


def fit(job: Any) -> float:
    return 0.5


@pytest.fixture
def job(subset: Subset, tmp_path: Path) -> MakeJob:
    def make(epochs: int = 2, seed: int = 0, values: Mapping[str, Any] = {"lr": 0.1}, **changes: Any) -> Job:
        trainer = FunctionTrainer("", Metric("loss", "minimize"), function=fit)
        spec = TrainingSpec(Space.around([], values).configuration(values), epochs, seed, trainer)
        return Job(spec, subset, torch.device("cpu"), **({"workspace": tmp_path} | changes))

    return make


def run(job: Job, name: str = "state", error: Exception | None = None) -> set[str]:
    """A training that writes a checkpoint; what it has found."""
    with checkpoint_folder(job) as folder:
        found = {path.name for path in folder.iterdir()}
        if name:
            (folder / name).write_text("")
        if error is not None:
            raise error
    return found


def test_a_longer_training_goes_on_from_the_longest_shorter_one(job: MakeJob) -> None:
    run(job(epochs=1), "one")
    run(job(epochs=3), "three")
    assert run(job(epochs=2), "two") == {"one"}
    assert run(job(epochs=10)) == {"one", "three"}
    assert run(job(epochs=4)) == {"one", "three"}, "it was not written to by the longer training"


@pytest.mark.parametrize("change", [{"seed": 1}, {"values": {"lr": 0.2}}])
def test_other_trainings_find_nothing(change: dict[str, Any], job: MakeJob) -> None:
    run(job(epochs=1))
    assert run(job(epochs=2, **change)) == set()


def test_other_data_find_nothing(job: MakeJob, subset: Subset) -> None:
    run(job(epochs=1))
    fewer = dataclasses.replace(subset, train=subset.train.take(slice(0, 20)), scores=None)
    assert run(dataclasses.replace(job(epochs=2), subset=fewer)) == set()


def test_an_interrupted_training_finds_its_own_folder(job: MakeJob) -> None:
    with pytest.raises(TrainingFailed):
        run(job(), error=TrainingFailed("timeout"))
    assert run(job()) == {"state"}


def test_an_interrupted_training_is_nothing_for_a_longer_one(job: MakeJob) -> None:
    with pytest.raises(TrainingFailed):
        run(job(epochs=1), error=TrainingFailed("timeout"))
    assert run(job(epochs=2)) == set()


def test_a_finished_training_that_is_repeated_begins_anew(job: MakeJob) -> None:
    run(job(epochs=1), "one")
    run(job(epochs=2), "two")
    assert run(job(epochs=2), "two") == {"one"}


def test_a_training_that_had_nothing_left_to_report_begins_anew(job: MakeJob) -> None:
    with pytest.raises(TrainingFailed):
        run(job(), error=TrainingFailed("killed after its last epoch"))
    with pytest.raises(NothingReported):
        run(job(), error=NothingReported(""))
    assert run(job()) == set()


def test_what_a_killed_copy_has_left_is_ignored(job: MakeJob, tmp_path: Path) -> None:
    run(job(epochs=1), "one")
    (trainings,) = [path for path in (tmp_path / "checkpoints").iterdir() if path.is_dir()]
    (trainings / ".new").mkdir()
    (trainings / ".new/half").touch()
    assert run(job(epochs=2)) == {"one"}
    assert not (trainings / ".new").exists()


def test_trainings_of_two_lengths_at_once(job: MakeJob) -> None:
    with checkpoint_folder(job(epochs=1)) as one, checkpoint_folder(job(epochs=2)) as two:
        assert one != two
        (one / "a").touch()
        (two / "b").touch()
    assert run(job(epochs=3)) == {"b"}


def test_a_training_without_checkpoints_leaves_nothing(job: MakeJob, tmp_path: Path) -> None:
    run(job(), "")
    assert not [path for path in (tmp_path / "checkpoints").rglob("*") if path.name == "2"]


def test_a_training_may_delete_its_folder(job: MakeJob) -> None:
    with checkpoint_folder(job()) as folder:
        shutil.rmtree(folder)


def test_without_a_workspace_checkpoints_are_temporary(job: MakeJob) -> None:
    with checkpoint_folder(job(workspace=None)) as folder:
        assert folder.is_dir()
    assert not folder.exists()


# The files of a subset.


def test_files_are_written_once_by_many(subset: Subset, tmp_path: Path) -> None:
    written = []

    def write(subset: Subset, folder: Path) -> None:
        written.append(folder)
        (folder / "file").touch()

    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(subset_folder(subset, tmp_path, write, "a"))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) == 1
    assert len(set(found)) == 1
    assert subset_folder(subset, tmp_path, write, "b") not in found


def test_files_that_failed_to_be_written_are_not_taken_for_whole(subset: Subset, tmp_path: Path) -> None:
    def fail(subset: Subset, folder: Path) -> None:
        (folder / "half").touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="space"):
        subset_folder(subset, tmp_path, fail, "a")
    assert not [path for path in tmp_path.rglob("*") if path.is_dir() and path.parent.name == "subsets"]


@pytest.mark.parametrize("damage", ["manifest", "everything", "a file"])
def test_data_that_a_program_has_deleted_are_written_again(damage: str, subset: Subset, tmp_path: Path) -> None:
    data = subset_files(subset, tmp_path)
    before = {path.relative_to(data.folder) for path in data.folder.rglob("*")}
    if damage == "manifest":
        (data.folder / "manifest.json").unlink()
        shutil.rmtree(data.train)
    elif damage == "everything":
        shutil.rmtree(data.folder)
    else:
        next(data.train.rglob("*.png")).unlink()
        (data.train / "0/link.png").symlink_to(tmp_path / "moved.png")
    again = subset_files(subset, tmp_path)
    assert again == data
    assert {path.relative_to(data.folder) for path in data.folder.rglob("*")} == before


# Disks.


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), PermissionError(errno.EROFS, "Read-only", "/x")]
)
def test_a_full_or_read_only_disk_fails_the_training_with_its_folder(error: OSError, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed) as caught, explained(tmp_path):
        raise error
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("error", [ConnectionResetError(errno.ECONNRESET, "reset"), OSError("a server said no")])
def test_errors_of_the_network_stay_what_they_are(error: OSError, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught, explained(tmp_path):
        raise error
    assert caught.value is error


def test_a_workspace_that_is_a_file_fails_the_training(job: MakeJob, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingFailed):
        job().spec.trainer.train(job(workspace=tmp_path / "file"))
    with suppress(TrainingFailed):
        job().spec.trainer.train(job())
