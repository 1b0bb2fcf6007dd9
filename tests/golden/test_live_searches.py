"""What the page of the live searches says is what their committed trainings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.live_search import live

FOLDER = Path(__file__).parents[2] / "reports" / "searches"


@pytest.mark.parametrize("name", sorted(each.parent.name for each in FOLDER.glob("*/reference.csv")))
def test_the_page_has_what_each_search_found(name: str) -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    for line in live(FOLDER / name).lines:
        assert line in page, f"{name}: {line}"
