"""Who watches a search reads what is trained, what is left of the budget and the best so far."""

from __future__ import annotations

import pytest
from image_training import planned_of, spec_of

from proxyflow.core import progress
from proxyflow.studies.search_progress import SearchProgress
from proxyflow.studies.tasks import SubsetRef, Task


def task(key: str) -> Task:
    return Task(planned_of("full", spec_of(arch="xresnet50", batch_size=64)), SubsetRef("run", "", "", 0), key)


A, B = task("a"), task("b")


def test_every_training_is_a_line_and_a_long_one_several(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with SearchProgress(4, 0, lambda task: 1.0, lambda: "best so far default: 0.912") as shown:
        shown.share(A, 0.5, "epoch 1, accuracy 0.900")
        line = capsys.readouterr().err
        assert line.startswith("search: 0 trainings (12%)")
        assert line.endswith(" left · full default: epoch 1, accuracy 0.900\n")
        shown.ended(A, "accuracy 0.912", 1.0)
        said, counted = capsys.readouterr().err.splitlines()
        assert said == "1.00 of 4 spent · full default: accuracy 0.912 · best so far default: 0.912"
        assert counted.startswith("search: 1 trainings (25%)")
        shown.share(B, 0.25, "epoch 1, accuracy 0.800")
        line = capsys.readouterr().err
        assert "(31%)" in line
        assert line.endswith("full default: epoch 1, accuracy 0.800 · best so far default: 0.912\n")


def test_what_fails_gives_back_what_it_had_shown_and_what_others_spent_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with SearchProgress(4, 0, lambda task: 1.0, lambda: "") as shown:
        shown.share(A, 0.5, "")
        shown.back(A)
        shown.ended(B, "", 3.0)
        assert shown._progress.done_work == 3
        assert shown._progress.done_items == 1
    assert "search: 1 trainings (75%)" in capsys.readouterr().err
