"""What the documentation says of a search's certainty is what was measured."""

from __future__ import annotations

import json

import pytest
from entry_points import ROOT

MEASURED = json.loads((ROOT / "benchmarks" / "results" / "search" / "coverage.json").read_text())


def share(name: str) -> str:
    """A measured share with its interval, as pages write it."""
    middle, low, high = (f"{100 * each:.1f}".removeprefix("0") for each in MEASURED["all"][name])
    return f"{middle} % [{low}, {high}]"


def test_the_findings_have_the_measured_shares() -> None:
    page = (ROOT / "docs" / "explanation" / "findings.md").read_text()
    assert f"| all | {share('interval_covers')} | {MEASURED['all']['stops']} | " in page
    assert share("stops_that_are_wrong") in page
    assert f"{MEASURED['all']['n']:,} replays on the four tables" in page


def test_the_readme_has_them_too() -> None:
    found = MEASURED["all"]
    wrong = round(found["stops"] * found["stops_that_are_wrong"][0])
    page = (ROOT / "README.md").read_text()
    assert f"held the truth in {100 * found['interval_covers'][0]:.1f} %" in page
    assert f"of {found['stops']} that stopped because they were sure {wrong} were wrong" in page


def test_intervals_hold_the_truth_as_often_as_they_say_and_few_stops_are_wrong() -> None:
    assert MEASURED["all"]["n"] >= 5000
    assert 0.93 <= MEASURED["all"]["interval_covers"][0] <= 0.97
    assert MEASURED["all"]["stops_that_are_wrong"][0] <= 0.05


@pytest.mark.parametrize("table", ["digits", "sections", "fashion-4k", "emoji"])
def test_each_table_was_replayed_as_often(table: str) -> None:
    parts = [found["n"] for name, found in MEASURED.items() if name.startswith(f"{table}, ")]
    assert sum(parts) == MEASURED["all"]["n"] / 4


def test_the_findings_have_what_was_measured_on_a_table_that_had_no_part() -> None:
    held_out = json.loads((ROOT / "benchmarks" / "results" / "search" / "held-out" / "coverage.json").read_text())
    page = (ROOT / "docs" / "explanation" / "findings.md").read_text()
    for name, told in (("all", "of {n} replays"), ("fashion-20k, budget 18", "with 18 full trainings")):
        middle, low, high = (f"{100 * each:.1f}" for each in held_out[name]["interval_covers"])
        assert f"{middle} % [{low}, {high}] {told.format(**held_out[name])}" in page
    wrong = held_out["all"]["stops"] * held_out["all"]["stops_that_are_wrong"][0]
    assert f"{'none' if not wrong else round(wrong)} of {held_out['all']['stops']} stops is wrong" in page
