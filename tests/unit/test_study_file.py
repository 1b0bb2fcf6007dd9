"""A study file is written by hand, so each mistake is said with its file, line, key, value and rule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.data.catalog import datasets
from proxyflow.studies.study_file import StudyFile, load_study_file
from proxyflow.tracking.names import is_study_file

ACCEPTED = (
    *("datasets", "data_dir", "strategies", "grid", "epochs", "seeds", "skip_bad", "study"),
    *("max_hours", "price_per_hour"),
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str) -> StudyFile:
    Path("pets.yaml").write_text(text, encoding="utf-8")
    return load_study_file("pets.yaml", ACCEPTED)


def test_values_are_as_they_would_be_typed_and_know_their_lines() -> None:
    found = load(
        "# a comment\ndatasets: [digits, 'folder:/a b']\nstrategies:\n  - full\n  - hardest:0.5,drop=0.05\n"
        "epochs: 2\nseeds: 0\nskip_bad: true\nbudget:\n  max_hours: 1.5\n  price_per_hour: 2\n"
    )
    assert found.values == {
        "datasets": "digits,folder:/a b",
        "strategies": "full,hardest:0.5,drop=0.05",
        "epochs": "2",
        "seeds": "0",
        "skip_bad": "true",
        "max_hours": "1.5",
        "price_per_hour": "2",
    }
    assert found.lines["datasets"] == 2
    assert found.lines["strategies"] == 3
    assert found.lines["price_per_hour"] == 11


def test_a_study_is_named_by_its_key_or_else_by_its_file() -> None:
    assert load("epochs: 2\n").study == "pets"
    assert load("study: 2026\n").study == "2026"


@pytest.mark.parametrize("text", ["grid: [{}, {epochs: 1}]\n", "grid: {base: {}, configurations: [{}]}\n"])
def test_a_grid_that_is_written_out_is_kept_as_it_is(text: str) -> None:
    found = load(text)
    assert found.written["grid"]
    assert "grid" not in found.values
    assert found.lines["grid"] == 1


def test_a_grid_that_is_named_is_a_value() -> None:
    found = load("grid: paper\n")
    assert (dict(found.written), found.values["grid"]) == ({}, "paper")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs: 2\nepoch: 3\n", "pets.yaml, line 2: key=epoch is not accepted: did you mean epochs?"),
        ("max_hours: 2\n", "pets.yaml, line 1: key=max_hours is not accepted: "),
        ("budget:\n  max_hour: 2\n", "pets.yaml, line 2: budget=max_hour is not accepted: did you mean max_hours?"),
        ("budget: 8\n", "pets.yaml, line 1: budget is a mapping of max_hours, max_cost_usd, price_per_hour"),
        ("budget:\n  max_hours:\n", "pets.yaml, line 2: max_hours is None; give a value, or a list of values"),
        ("epochs: 2\nseeds: 1\nepochs: 3\n", "pets.yaml, line 3: epochs is given twice, first in line 1"),
        ("datasets:\n  - digits\nseeds:\n", "pets.yaml, line 3: seeds is None; give a value"),
        ("seeds: []\n", "pets.yaml, line 1: seeds is []; give a value"),
        ("datasets: {digits: 1}\n", "pets.yaml, line 1: datasets is {'digits': 1}; give a value"),
        ("epochs: 2\nyes: 3\n", "pets.yaml, line 2: key=yes is not accepted"),
        ("base: &x {epochs: 2}\n<<: *x\n", "pets.yaml, line 1: key=base is not accepted"),
        ("<<: {epochs: 2}\n", "pets.yaml, line 1: key=<< is not accepted"),
        ("budget: {on: 2}\n", "pets.yaml, line 1: budget=on is not accepted"),
        ("", "pets.yaml: a study file is a mapping such as 'datasets: [digits]'"),
        ("- full\n", "pets.yaml: a study file is a mapping"),
        ("datasets: [digits\n", "pets.yaml is not YAML: "),
        ("[a]: 1\n", "pets.yaml is not YAML: "),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_place(text: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        load(text)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_missing_or_no_text_is_said() -> None:
    with pytest.raises(InvalidValue, match=r"study=dogs.yaml is not accepted: .*has no such file"):
        load_study_file("dogs.yaml", ACCEPTED)
    Path("cats.yaml").write_bytes(b"study: \xff\xfe\n")
    with pytest.raises(UserError, match=r"study=cats.yaml cannot be read as UTF-8 text"):
        load_study_file("cats.yaml", ACCEPTED)


def test_a_message_gets_the_place_of_its_key_where_the_file_has_it() -> None:
    found = load("datasets: digits\nepochs: 0\n")
    rule = InvalidValue("epochs", 0, "it must be at least 1")
    with (
        pytest.raises(InvalidValue, match=r"^pets.yaml, line 2, epochs: epochs=0 is not accepted: it must"),
        found.at("epochs"),
    ):
        raise rule
    with pytest.raises(InvalidValue, match=r"^epochs=0 is not accepted"), found.at("seeds"):
        raise rule
    with pytest.raises(UserError, match=r"^pets.yaml, line 1, datasets: no such folder$"), found.at("datasets"):
        raise UserError("no such folder")


@pytest.mark.parametrize(
    ("name", "file"),
    [("pets.yaml", True), ("a/b.yml", True), ("x/UP.YAML", True), ("Y.Yml", True), ("pets", False), ("yaml", False)],
)
def test_a_study_is_a_file_by_its_ending(name: str, file: bool) -> None:
    assert is_study_file(name) is file


@pytest.mark.parametrize("where", ["deep/er", "{here}/deep/er"])
@pytest.mark.parametrize(
    ("key", "written", "meant"),
    [
        ("datasets", "folder:pictures", "folder:{where}/pictures"),
        ("datasets", "[digits, 'folder:my pictures@200']", "digits,folder:{where}/my pictures@200"),
        ("datasets", "'digits,folder:../pictures'", "digits,folder:{where}/../pictures"),
        ("datasets", "folder:/data/pictures", "folder:/data/pictures"),
        ("datasets", "folder:~/pictures", "folder:~/pictures"),
        ("datasets", "[digits, fashion-mnist@2000]", "digits,fashion-mnist@2000"),
        ("grid", "mine.yaml", "{where}/mine.yaml"),
        ("grid", "space.yaml@36,seed=1", "{where}/space.yaml@36,seed=1"),
        ("grid", "grids/MINE.YML", "{where}/grids/MINE.YML"),
        ("grid", "/grids/mine.yaml", "/grids/mine.yaml"),
        ("grid", "paper", "paper"),
        ("data_dir", "data", "{where}/data"),
        ("data_dir", "auto", "auto"),
    ],
)
def test_paths_are_relative_to_the_file(tmp_path: Path, where: str, key: str, written: str, meant: str) -> None:
    folder = where.format(here=tmp_path)
    Path(folder).mkdir(parents=True)
    file = f"{folder}/pets.yaml"
    Path(file).write_text(f"{key}: {written}\n")
    assert load_study_file(file, ACCEPTED).values == {key: meant.format(where=folder)}


def test_every_data_set_that_takes_a_path_is_meant() -> None:
    Path("deep").mkdir()
    named = [name for name, source in datasets.items() if source.takes_path]
    Path("deep/pets.yaml").write_text(f"datasets: [{', '.join(f'{name}:x' for name in named)}]\n")
    assert load_study_file("deep/pets.yaml", ACCEPTED).values["datasets"] == ",".join(f"{n}:deep/x" for n in named)
