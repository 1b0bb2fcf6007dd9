"""A folder's path may hold any character, so a list of data sets must be able to say it, and to be read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_files import make_folder

from proxyflow.cli.shared import parse_datasets
from proxyflow.core.errors import InvalidValue
from proxyflow.data.catalog import canonical_name
from proxyflow.data.name_lists import comma_hint, join_names, split_names
from proxyflow.studies.study_file import load_study_file

NAMES = st.text(st.sampled_from("ab:/@,\"' \\=")).map(lambda text: f"folder:/{text}")


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_what_is_joined_is_taken_apart_again(names: list[str]) -> None:
    assert split_names("datasets", join_names(names)) == names


@given(st.lists(st.sampled_from(["digits", "folder:/a b", "folder:/a@20", "cifar10@500"]), min_size=1))
def test_names_without_commas_are_written_as_ever(names: list[str]) -> None:
    assert join_names(names) == ",".join(names)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("digits,fashion-mnist", ["digits", "fashion-mnist"]),
        (" digits , folder:/a b ,", ["digits", "folder:/a b"]),
        ('"folder:/a,b",digits', ["folder:/a,b", "digits"]),
        ('digits, "folder:/a,b" ', ["digits", "folder:/a,b"]),
        ('"folder:/a ""b"", c"', ['folder:/a "b", c']),
        ('folder:/a"b', ['folder:/a"b']),
        ("", []),
        (" , ,", []),
    ],
)
def test_lists_are_read_as_they_are_written(text: str, names: list[str]) -> None:
    assert split_names("datasets", text) == names


@pytest.mark.parametrize("text", ['"folder:/a,b', '"folder:/a,b" digits', 'digits,"', '"a"b'])
def test_quotes_that_are_not_closed_are_refused(text: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        split_names("datasets", text)
    assert (caught.value.name, caught.value.value) == ("datasets", text)


@pytest.fixture
def with_comma(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "cats, dogs", train=2, valid=1)


def test_a_path_with_a_comma_is_one_data_set(with_comma: Path) -> None:
    name = canonical_name(f"folder:{with_comma}")
    assert parse_datasets(f'digits,"{name}"') == ("digits", name)
    assert parse_datasets(f'"{name}"') == (name,)
    assert parse_datasets(join_names([name, f"{name}@3", "digits"])) == (name, f"{name}@3", "digits")


def test_a_study_file_lists_it_as_any_other(with_comma: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pets.yaml").write_text(f"datasets:\n  - digits\n  - 'folder:{with_comma}'\n", encoding="utf-8")
    values = load_study_file("pets.yaml", ["datasets"]).values
    assert parse_datasets(values["datasets"]) == ("digits", f"folder:{with_comma}")


@pytest.mark.parametrize("text", ["folder:{},digits", "digits,folder:{}", "folder:{}"])
def test_without_quotes_the_error_says_how_to_write_it(with_comma: Path, text: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        parse_datasets(text.format(with_comma))
    assert f'"folder:{with_comma}"' in caught.value.rule


def test_other_errors_speak_of_commas_only_where_one_is_in_a_list_with_paths() -> None:
    assert comma_hint("digits,digit") == ""
    assert comma_hint("folder:/nowhere") == ""
    assert comma_hint("folder:/nowhere,and more") != ""
    for text in ("", " ", ":,"):
        with pytest.raises(InvalidValue) as caught:
            parse_datasets(text)
        assert caught.value.name in ("datasets", "dataset")
