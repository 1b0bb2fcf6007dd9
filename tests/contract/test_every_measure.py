"""What holds for every difficulty measure, so that a new one ranks in the stated direction whatever its formula."""

from __future__ import annotations

import pytest

from proxyflow.scores import Score, ScoreInputs, known_scores
from proxyflow.testing import Check, score_checks
from proxyflow.testing.scores import made_up

CHECKS = [(name, check) for name, measure in known_scores.items() for check in score_checks(measure)]


@pytest.mark.parametrize("check", [check for _, check in CHECKS], ids=[f"{name}-{check}" for name, check in CHECKS])
def test_it_keeps_its_promises(check: Check) -> None:
    check()


def test_loss_and_margin_are_there_since_every_ranking_needs_them() -> None:
    assert {"loss", "margin"} <= set(known_scores)
    assert {known_scores["loss"].needs, known_scores["margin"].needs} == {"model"}


@pytest.mark.parametrize("measure", known_scores.values(), ids=list(known_scores))
def test_evidence_says_whether_it_has_what_a_measure_needs(measure: Score) -> None:
    assert made_up().has(measure.needs)
    assert not ScoreInputs(made_up().labels).has(measure.needs)
