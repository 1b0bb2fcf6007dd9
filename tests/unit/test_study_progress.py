"""Who watches a study sees it grow: in the MLflow UI by its run's metrics, in the terminal by notes."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from image_training import planned_of, spec_of

from proxyflow.core import progress
from proxyflow.spaces.metric import ACCURACY
from proxyflow.studies.context import StudyContext
from proxyflow.studies.leaderboard import Leaderboard
from proxyflow.studies.progress import StudyProgress
from proxyflow.studies.tasks import SubsetRef, Task, TaskResult
from proxyflow.tracking.runs.run import Run


def task(key: str) -> Task:
    planned = planned_of("full", spec_of(arch="xresnet50", batch_size=64))
    return Task(planned, SubsetRef("run", "", "", 0), key)


class Watched:
    """A board with its clock in our hands, and what its run was told."""

    def __init__(self, planned: int, finished: int, to_do: list[Task], price: float | None = None) -> None:
        self.seconds = 0.0
        self.logged: list[tuple[int, dict[str, float | None]]] = []
        run = SimpleNamespace(log_metrics=lambda metrics, step: self.logged.append((step, metrics)))
        context = StudyContext(cast(Any, None), cast(Any, None), torch.device("cpu"), price)
        self.board = StudyProgress(
            context,
            cast(Run, run),
            planned,
            finished,
            to_do,
            lambda task: 10.0,
            lambda: self.seconds,
            Leaderboard(ACCURACY),
        )

    def of(self, name: str) -> list[float | None]:
        return [metrics[name] for _, metrics in self.logged]


A, B, C = map(task, "abc")


def test_metrics_of_the_study_grow_as_its_trainings_end() -> None:
    watched = Watched(planned=5, finished=2, to_do=[A, B, C], price=3.6)
    with watched.board as board:
        for each, done in ((A, TaskResult(A, "trained")), (B, TaskResult(B, "failed", error="KeyError: x"))):
            watched.seconds += 1800
            board.begin(each)
            board.ended(done)
        board.found(C, 0.5)
    assert [step for step, _ in watched.logged] == [2, 3, 4, 5]
    assert watched.of("runs_planned") == [5, 5, 5, 5]
    assert watched.of("runs_finished") == [2, 3, 3, 4]
    assert watched.of("runs_failed") == [0, 0, 1, 1]
    assert watched.of("hours") == [0, 0.5, 1, 1]
    assert watched.of("cost_usd") == pytest.approx([0, 1.8, 3.6, 3.6])
    assert (board.made, board.finished, list(board.failed)) == (1, 4, ["b"])


def test_time_left_is_not_said_before_anything_is_done() -> None:
    watched = Watched(planned=2, finished=0, to_do=[A, B])
    with watched.board as board:
        board.begin(A)
        board.ended(TaskResult(A, "trained"))
        board.begin(B)
        board.ended(TaskResult(B, "trained"))
    first, middle, last = watched.of("hours_left")
    assert first is None
    assert middle is not None
    assert middle > 0
    assert last == 0


def test_without_a_price_there_is_no_cost() -> None:
    watched = Watched(planned=1, finished=1, to_do=[])
    with watched.board:
        pass
    assert watched.of("cost_usd") == [None]
    assert watched.of("hours_left") == [0]


def test_a_note_says_what_runs_what_failed_and_what_it_cost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    watched = Watched(planned=3, finished=0, to_do=[A, B, C], price=2.0)
    with watched.board as board:
        board.begin(A)
        board.begin(B)
        board.share(B, 0.5, "epoch 1, accuracy 0.500")
        assert "full default: epoch 1, accuracy 0.500 · 2 running · $0.00 so far" in capsys.readouterr().err
        watched.seconds = 3600
        board.ended(TaskResult(A, "failed", error="KeyError: x"))
        said = capsys.readouterr().err
        assert "failed: digits · full · default: KeyError: x" in said
        assert "1 failed · $2.00 so far" in said


def test_a_task_that_comes_back_gives_back_the_work_that_it_had_shown(capsys: pytest.CaptureFixture[str]) -> None:
    watched = Watched(planned=2, finished=0, to_do=[A, B])
    with watched.board as board:
        for _ in range(3):
            board.begin(A)
            board.share(A, 0.5, "")
            board.back(A, "its worker died")
        board.begin(A)
        board.ended(TaskResult(A, "trained"))
        assert board._progress.done_work == 10
        board.begin(B)
        board.ended(TaskResult(B, "trained"))
        assert board._progress.done_work == 20
    assert capsys.readouterr().err.count("will retry: digits · full · default: its worker died") == 3


def test_a_note_says_the_best_so_far_of_the_target(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    proxy = dataclasses.replace(B, planned=planned_of("random:0.1", spec_of()))
    watched = Watched(planned=3, finished=0, to_do=[A, proxy, C])
    with watched.board as board:
        board.begin(proxy)
        board.ended(TaskResult(proxy, "trained", "accuracy 0.990", 0.99))
        assert "best so far" not in capsys.readouterr().err, "a proxy's value is none on the target"
        board.begin(A)
        board.ended(TaskResult(A, "trained", "accuracy 0.912", 0.912))
        assert f"accuracy 0.912 · best so far {A.planned.spec.configuration.name}: 0.912" in capsys.readouterr().err
        board.found(C, math.nan)
