"""The lists in README and docs are those of the registries, so that neither runs ahead of the other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from proxyflow.data.catalog import spelling as dataset_spelling
from proxyflow.data.sources import datasets
from proxyflow.scoring.measures import measures
from proxyflow.strategies import spelling, strategies
from proxyflow.tracking import names

ROOT = Path(__file__).parents[2]


def test_every_strategy_has_its_row() -> None:
    text = (ROOT / "README.md").read_text()
    rows = [f"| `{spelling(cls)}` | {cls.summary} |" for cls in strategies.values()]
    assert "\n".join(rows) in text


def test_every_score_has_its_row() -> None:
    text = (ROOT / "docs" / "scores.md").read_text()
    rows = [
        f"| `{name}` | {'higher' if measure.higher_is_harder else 'lower'} | {measure.needs} | {measure.description} | "
        f"{measure.source} |"
        for name, measure in measures.items()
    ]
    assert "\n".join(rows) in text


def test_every_data_set_has_its_row() -> None:
    text = (ROOT / "docs" / "data.md").read_text()
    rows = [f"| `{dataset_spelling(name, source)}` | {source.description} |" for name, source in datasets.items()]
    assert "\n".join(rows) in text
    assert all(f"`{name}`" in (ROOT / "README.md").read_text() for name in datasets if name != "folder")


def test_every_entry_point_has_its_row() -> None:
    text = (ROOT / "README.md").read_text()
    for path in (ROOT / "entrypoints").glob("[a-z]*.py"):
        assert f"| `{path.stem}` |" in text


@pytest.mark.parametrize("page", ["README.md", "docs/tracking.md"])
def test_pictures_are_there(page: str) -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (ROOT / page).read_text())
    assert pictures
    for picture in pictures:
        path = (ROOT / page).parent / picture
        assert path.is_file()
        assert path.stat().st_size < 150_000


def test_every_metric_has_its_row() -> None:
    text = (ROOT / "docs" / "tracking.md").read_text()
    tables = {name: value for name, value in vars(names).items() if name.endswith("_METRICS")}
    assert len(tables) == 9
    for table in tables.values():
        assert "\n".join(f"| `{metric}` | {meaning} |" for metric, meaning in table.items()) in text


def test_every_kind_of_run_is_named() -> None:
    row = re.search(r"^\| `proxyflow.kind` \| (.+) \|$", (ROOT / "docs" / "tracking.md").read_text(), re.MULTILINE)
    assert row
    assert re.findall("`(.+?)`", row[1]) == list(get_args(names.Kind))
