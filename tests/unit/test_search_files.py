"""What a search's files say beyond its own trainings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_up_search import found_search

from proxyflow.reporting import search_figures
from proxyflow.reporting.search_figures import agreements_of, history_of
from proxyflow.searching.knowledge import FIRST
from proxyflow.studies.leaderboard import SHOWN
from proxyflow.studies.search_files import random_search, summary_lines


def test_random_search_is_expected_to_reach_more_the_more_it_trains_and_the_best_once_it_has_trained_all() -> None:
    found = found_search()
    drawn = len(found.spec.candidates)
    reached = random_search(found.knowledge, drawn, drawn + 5)
    assert reached["cost"].tolist() == list(range(1, drawn + 1))
    assert (np.diff(reached["value"]) > 0).all()
    assert ((reached["low"] <= reached["value"]) & (reached["value"] <= reached["high"])).all()
    best = found.knowledge.in_metric(found.knowledge.samples[:, :drawn].max(axis=1))
    assert reached["value"].iloc[-1] == pytest.approx(best.mean())
    assert reached["high"].iloc[-1] == pytest.approx(np.quantile(best, 0.975))


def test_random_search_ends_with_the_cost_asked_for() -> None:
    assert random_search(found_search().knowledge, 32, 4.7)["cost"].tolist() == [1, 2, 3, 4]


def test_a_rung_agrees_with_the_next_one_that_has_some_of_its_configurations() -> None:
    every = agreements_of(found_search((24, 8, 3)))
    assert [(each.rung, each.above, len(each.configurations)) for each in every] == [(0, 1, 8), (1, 2, 3)]
    # A search that went from the first rung to the full data at once.
    [skipped] = agreements_of(found_search((24, 0, 3)))
    assert (skipped.rung, skipped.above, len(skipped.configurations)) == (0, 2, 3)
    assert agreements_of(found_search((24, 0, 0))) == []


def test_the_summary_ranks_what_was_trained_in_full_the_best_first() -> None:
    found = found_search()
    lines = summary_lines(found)
    start = lines.index("trained in full, the best first:") + 1
    rows = [line.split() for line in lines[start : lines.index(next(line for line in lines if line[:5] == "cost:"))]]
    assert 2 <= len(rows) <= SHOWN
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
    assert rows[0][-1] == found.best.name
    values = [found.spec.trainer.metric.sign * float(row[1]) for row in rows]
    assert values == sorted(values, reverse=True)


def test_the_summary_tells_what_the_best_configuration_reached_beside_what_is_believed_of_it() -> None:
    found = found_search()
    seen = found.knowledge.seen_in_full(found.knowledge.recommended)
    assert seen
    assert all(f"{value:.4f}" in summary_lines(found)[1] for value in seen)


def test_the_history_has_each_training_of_few_and_some_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it takes does not grow with the trainings: each point is a model of its own."""
    found = found_search((24, 8, 3))
    every = history_of(found)
    n = len(found.knowledge.observations)
    assert len(every) == n - FIRST + 1
    monkeypatch.setattr(search_figures, "POINTS", 7)
    some = history_of(found)
    assert len(some) == 7
    ends = pd.concat([every.iloc[[0]], every.iloc[[-1]]])
    pd.testing.assert_frame_equal(some.iloc[[0, -1]].reset_index(drop=True), ends.reset_index(drop=True))
    assert set(some["spent"]) <= set(every["spent"])
    assert some["spent"].iloc[-1] == pytest.approx(sum(each.cost for each in found.knowledge.observations))
