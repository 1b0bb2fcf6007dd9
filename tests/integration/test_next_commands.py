"""A command that is printed does what it says: in the same study, with the same data, without another option."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from entry_points import SMALL, Ended, Entry
from mlflow.tracking import MlflowClient
from picture_files import make_folder

from proxyflow.tracking import names

STUDY = 'my "own" study & more'


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A data set that is refused without skip_bad."""
    made = make_folder(tmp_path / "my pictures", train=12, valid=4)
    (made / "train" / "ant" / "broken.jpg").write_bytes(b"no image")
    return f"folder:{made}"


def printed(ended: Ended) -> list[list[str]]:
    """The commands that an entry point printed, as words."""
    assert ended.status == 0, ended.err
    lines = [line for line in (ended.out + ended.err).splitlines() if "proxyflow " in line]
    return [shlex.split(line[line.index("proxyflow ") :])[1:] for line in lines]


def follow(entry: Entry, words: list[str], *more: str) -> Ended:
    return entry(*words, *more)


def test_each_command_leads_to_the_next_with_the_same_data_in_the_same_study(
    entry: Entry, folder: str, tmp_path: Path
) -> None:
    data = ("--dataset", folder, "--skip-bad", "true", "--data-dir", str(tmp_path / "data"), "--study", STUDY)
    small = ("--epochs", "1", *SMALL)
    (materialize,) = printed(entry("score", *data, *small))
    (train,) = printed(follow(entry, materialize))
    assert printed(follow(entry, train, *small)) == []
    trains = printed(entry("distill", *data, "--images-per-class", "2", "--image-size", "8", "--iterations", "1"))
    assert len(trains) == 2
    for words in trains:
        assert printed(follow(entry, words, *small)) == []
    for words in (materialize, train, *trains):
        assert words[words.index("--study") + 1] == STUDY
        assert words[words.index("--data-dir") + 1] == str(tmp_path / "data")
        assert words[words.index("--skip-bad") + 1] == "true"
    client = MlflowClient()
    found = client.get_experiment_by_name(STUDY)
    assert found
    kinds = [run.data.tags[names.KIND] for run in client.search_runs([found.experiment_id])]
    assert sorted(kinds) == ["distillation", "score", "subset", *["training"] * 3]
    assert not client.search_runs(["0"])


def test_what_is_refused_leads_to_the_command_that_does_it(entry: Entry, folder: str) -> None:
    strategy = "distilled:2,method=gradient-steps,iterations=1"
    ended = entry(
        *("materialize", "--dataset", folder, "--skip-bad", "true", "--study", STUDY, "--strategy", strategy),
        *("--seed", "3"),
    )
    assert ended.status == 2
    (distill,) = printed(Ended(0, ended.out, ended.err))
    assert distill[0] == "distill"
    options = dict(zip(distill[1::2], distill[2::2], strict=True))
    assert options == {
        "--dataset": folder,
        "--method": "gradient-steps",
        "--images-per-class": "2",
        "--iterations": "1",
        "--seed": "3",
        "--skip-bad": "true",
        "--study": STUDY,
    }


def test_a_sweep_leads_to_the_report_of_its_study(entry: Entry, grid_file: Path, tmp_path: Path) -> None:
    study = ("--study", STUDY, "--strategies", "full,random:0.5", "--epochs", "1", "--image-size", "8")
    (report,) = printed(entry("sweep", *study, "--grid", str(grid_file), "--batch-size", "128"))
    assert follow(entry, report, "--out", str(tmp_path), "--bootstrap", "0").status == 0


def test_the_other_options_that_matter_are_carried_along(entry: Entry) -> None:
    (train,) = printed(entry("materialize", "--seed", "5"))
    assert train[train.index("--seed") + 1] == "5"
    tiny = ("--images-per-class", "1", "--image-size", "8", "--iterations", "1", "--price-per-hour", "2.5")
    for train in printed(entry("distill", *tiny)):
        assert train[train.index("--price-per-hour") + 1] == "2.5"
