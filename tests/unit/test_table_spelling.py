"""A table has one spelling, whatever is in the names of its file and its columns."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from table_files import made_up_frame, write

from proxyflow.cli.shared import parse_datasets
from proxyflow.core.errors import InvalidValue, UnknownName
from proxyflow.data.catalog import canonical_name, parse_request
from proxyflow.data.name_lists import join_names, split_names
from proxyflow.data.table.spelling import TableName, parse_table_name
from proxyflow.studies.study_file import load_study_file

ROLES = ("label", "id", "split", "group", "text")
NAMES = st.text(st.sampled_from("ab ,=[]\"'@:|/"), min_size=1, max_size=8)


@pytest.fixture
def reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write(made_up_frame(30).rename(columns={"label": "stars", "text": "body"}), tmp_path / "reviews.csv")


@given(
    named=st.dictionaries(st.sampled_from(ROLES), NAMES),
    file=st.sampled_from(["a.csv", "a [b].csv", "a,b@2.csv", "[x=y].csv"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_again(named: dict[str, str], file: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.touch()
    expected = {role: named[role] for role in ROLES if role in named and named[role] != role}
    name = TableName(str(path), expected)
    found = parse_table_name(name.text, ROLES)
    assert found == name
    assert list(found.named) == list(expected), "in the order of the roles"
    listed = ["digits", f"table:{name.text}", "cifar10"]
    assert split_names("datasets", join_names(listed)) == listed


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("table:reviews.csv[text=body,label=stars]", "[label=stars,text=body]"),
        ("table:./reviews.csv[ label = stars , id=id ]", "[label=stars]"),
        ('table:reviews.csv[label="stars"]', "[label=stars]"),
        ("table:reviews.csv[split=,text=]", "[split=]"),
        ("table:reviews.csv[]", ""),
        ("table:reviews.csv[label=stars]@20", "[label=stars]@20"),
    ],
)
def test_one_table_has_one_name(given: str, written: str, reviews: Path) -> None:
    name = canonical_name(given)
    assert name == f"table:{reviews}{written}"
    assert canonical_name(name) == name


def test_a_part_is_not_part_of_the_brackets(reviews: Path) -> None:
    request = parse_request("table:reviews.csv[label=a@5]@20")
    assert (request.part, request.path) == (20, f"{reviews}[label=a@5]")
    assert parse_request("table:reviews.csv[label=a@5]").part is None


def test_brackets_may_hold_commas_in_a_list(reviews: Path) -> None:
    found = parse_datasets("digits,table:reviews.csv[text=body,label=stars]@20,index:reviews.csv[label=stars,id=id]")
    assert found == (
        "digits",
        f"table:{reviews}[label=stars,text=body]@20",
        f"index:{reviews}[label=stars]",
    )
    assert split_names("datasets", 'table:a.csv[label="a],b",id=c],digits') == [
        'table:a.csv[label="a],b",id=c]',
        "digits",
    ]
    assert split_names("datasets", "folder:/a[b,c],digits") == ["folder:/a[b", "c]", "digits"], (
        "brackets without a role"
    )


def test_study_files_take_them_relative_to_themselves(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.yaml"
    monkeypatch.chdir("/")
    for value in (
        "'table:reviews.csv[text=body,label=stars],digits'",
        "['table:reviews.csv[text=body,label=stars]', digits]",
    ):
        file.write_text(f"datasets: {value}\n")
        text = load_study_file(str(file), ["datasets"]).values["datasets"]
        assert parse_datasets(text) == (f"table:{reviews}[label=stars,text=body]", "digits")


@pytest.mark.parametrize("inside", ["[labels=stars]", "[image=stars]", "[=stars]"])
def test_unknown_roles_are_refused(inside: str, reviews: Path) -> None:
    with pytest.raises(UnknownName) as caught:
        canonical_name(f"table:reviews.csv{inside}")
    assert caught.value.value == inside[1:-1].partition("=")[0]


@pytest.mark.parametrize(
    "given", ["reviews.csv[stars]", "reviews.csv[label=a,label=b]", "none.csv", "none.csv[label=a]", "reviews"]
)
def test_what_is_no_table_is_refused_by_its_name(given: str, reviews: Path) -> None:
    with pytest.raises(InvalidValue) as caught:
        canonical_name(f"table:{given}")
    assert (caught.value.name, caught.value.value) == ("dataset", f"table:{given}")


@pytest.mark.parametrize("suffix", [".json", ".xlsx", ".txt", ".parquet.gz", ""])
def test_other_formats_are_refused(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"data{suffix}").write_text("a,b\n")
    with pytest.raises(InvalidValue) as caught:
        canonical_name(f"index:{tmp_path}/data{suffix}")
    assert caught.value.name == "dataset"
