"""What a search's files say beyond its own trainings."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_search import found_search

from proxyflow.studies.search_files import random_search


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
