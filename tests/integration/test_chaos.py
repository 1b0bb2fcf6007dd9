"""A smaller version of `benchmarks/chaos.py`: kill -9 of a sweep and of its server change nothing in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos import QUICK, Verdict, measure


@pytest.mark.slow
def test_a_study_that_was_killed_equals_a_calm_one(tmp_path: Path) -> None:
    verdict, _ = measure(QUICK, tmp_path)
    assert verdict == Verdict(
        planned=6,
        finished=6,
        lost=0,
        doubled=0,
        left_running=0,
        missing_metrics=0,
        different_metrics=0,
        different_measures=0,
    )
