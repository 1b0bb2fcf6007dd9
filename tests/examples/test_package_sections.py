"""The table of package descriptions leaks no label: no names in the texts, and no text in two groups."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "package-sections" / "make_data.py"
DUMP = """\
Package: ruby-levenshtein
Section: ruby
Description: calculates the Levenshtein distance with ruby
Tag: devel::lang:ruby,
 role::shared-lib

Package: ping2
Source: ping-tools (1.2)
Section: net
Description: measures the way of packets

Package: ping2-doc
Source: ping-tools
Section: doc
Description: measures the way of packets (documentation)

Package: pong
Section: contrib/net
Description: Measures the way of packets

Package: short
Section: net
Description: too short

Package: nothing
Description: has no section but a long description
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_data", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_row_for_each_source_without_its_name(script: ModuleType) -> None:
    table = script.make_table(DUMP, n_classes=9, per_class=9)
    assert table["id"].tolist() == ["ping2", "pong", "ruby-levenshtein"]
    assert table["label"].tolist() == ["net", "net", "ruby"]
    assert table["text"].tolist()[2] == "calculates the distance with"


def test_equal_texts_are_one_group(script: ModuleType) -> None:
    table = script.make_table(DUMP, n_classes=9, per_class=9).set_index("id")
    assert table.loc["ping2", "group"] == table.loc["pong", "group"] == "ping-tools"
    assert table.loc["ruby-levenshtein", "group"] == "ruby-levenshtein"


def test_the_largest_classes_are_cut(script: ModuleType) -> None:
    table = script.make_table(DUMP, n_classes=1, per_class=1)
    assert table["label"].tolist() == ["net"]


def test_the_table_does_not_depend_on_the_order_of_the_lists(script: ModuleType) -> None:
    reverse = "\n\n".join(reversed(DUMP.strip().split("\n\n")))
    assert script.make_table(reverse, 9, 9).equals(script.make_table(DUMP, 9, 9))
