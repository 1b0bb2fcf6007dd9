"""Smaller versions of `benchmarks/chaos.py` and `search_chaos.py`: kill -9 changes nothing in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import chaos, search_chaos


@pytest.mark.slow
def test_a_study_that_was_killed_equals_a_calm_one(tmp_path: Path) -> None:
    verdict, _ = chaos.measure(chaos.QUICK, tmp_path)
    assert verdict == chaos.Verdict(
        planned=6,
        finished=6,
        lost=0,
        doubled=0,
        left_running=0,
        missing_metrics=0,
        different_metrics=0,
        different_measures=0,
    )


@pytest.mark.slow
def test_a_search_of_two_processes_that_were_killed_ends_as_a_calm_one(tmp_path: Path) -> None:
    plan = search_chaos.QUICK
    verdict, _, interrupted = search_chaos.measure(plan, tmp_path)
    assert verdict == search_chaos.Verdict(
        planned=8,
        finished=8,
        lost=0,
        doubled=0,
        left_running=0,
        different_values=0,
        not_listed=0,
        different_best=0,
    )
    assert interrupted <= plan.kills, "each kill interrupts one training at most, and the server none"
