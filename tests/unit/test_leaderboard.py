"""A study ends with its best configurations, best first, and says on the way which one leads."""

from __future__ import annotations

import math

from image_training import planned_of, spec_of

from proxyflow.spaces.metric import ACCURACY, Metric
from proxyflow.studies.leaderboard import SHOWN, Leaderboard

LOSS = Metric("valid_loss", "minimize")
RATES = [0.001 * n for n in range(1, 9)]


def board_of(metric: Metric, values: dict[float, float], dataset: str = "digits", seed: int = 0) -> Leaderboard:
    board = Leaderboard(metric)
    for rate, value in values.items():
        board.add(planned_of("full", spec_of(learning_rate=rate, seed=seed), dataset), value)
    return board


def test_the_best_is_first_by_the_goal_of_the_metric() -> None:
    values = {0.001: 0.5, 0.01: 0.9, 0.1: 0.7}
    best_first = [float(line.split()[1]) for line in list(board_of(ACCURACY, values).lines())[1:]]
    assert best_first == [0.9, 0.7, 0.5]
    board = board_of(LOSS, values)
    assert [float(line.split()[1]) for line in list(board.lines())[1:]] == [0.5, 0.7, 0.9]
    assert board.best_so_far("digits").endswith("lr=0.001: 0.500") or "lr=0.001" in board.best_so_far("digits")


def test_only_a_few_are_shown() -> None:
    head, *rows = board_of(ACCURACY, dict.fromkeys(RATES, 0.5)).lines()
    assert head == f"the best {SHOWN} of {len(RATES)} configurations on full of digits, by accuracy:"
    assert len(rows) == SHOWN


def test_seeds_are_averaged_and_data_sets_apart() -> None:
    board = board_of(ACCURACY, {0.001: 0.5, 0.01: 0.6})
    board.add(planned_of("full", spec_of(learning_rate=0.001, seed=1)), 0.9)
    board.add(planned_of("full", spec_of(learning_rate=0.001), "cifar10"), 0.1)
    lines = list(board.lines())
    assert lines[0] == "all 2 configurations on full of digits, by accuracy, means over 2 seeds:"
    assert lines[1].startswith("  1  0.7000  ")
    assert lines[3] == "all 1 configurations on full of cifar10, by accuracy:"


def test_proxies_and_what_has_no_value_do_not_count() -> None:
    board = board_of(ACCURACY, {0.001: math.nan})
    board.add(planned_of("random:0.1"), 0.9)
    assert list(board.lines()) == []
    assert board.best_so_far("digits") == ""
