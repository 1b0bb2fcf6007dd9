"""One run too many or too few in a study silently shifts every measure, so what counts and what not is pinned."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import training, trainings_frame

from proxyflow.quality.runs import SelectedRuns, select_runs


def count(*rows: dict[str, Any]) -> SelectedRuns:
    return select_runs(trainings_frame(rows))


def only(notes: tuple[str, ...]) -> str:
    """The one note that there is."""
    (note,) = notes
    return note


def ids(counted: SelectedRuns) -> set[str]:
    return set(counted.frame["run_id"])


@pytest.mark.parametrize("status", ["failed", "running", "interrupted"])
def test_only_finished_trainings_count_and_the_others_are_noted(status: str) -> None:
    counted = count(
        training(run_id="a"),
        training(run_id="b", config="lr=0.1", status=status),
        training("random:0.1", run_id="c", status=status),
    )
    assert ids(counted) == {"a"}
    assert re.search(rf"\b2\b.*\b{status}\b", only(counted.notes))


def test_each_status_has_a_note_of_its_own() -> None:
    counted = count(
        training(run_id="a"),
        training(run_id="b", config="x", status="failed"),
        training(run_id="c", config="y", status="running"),
    )
    assert len(counted.notes) == 2


def test_a_finished_training_without_accuracy_does_not_count_and_is_noted() -> None:
    counted = count(training(run_id="a"), training("random:0.1", accuracy=np.nan, run_id="b"))
    assert ids(counted) == {"a"}
    assert re.search(r"\b1\b.*no valid_accuracy\b", only(counted.notes))


def test_a_diverged_training_is_a_result() -> None:
    counted = count(training(run_id="a"), training(config="lr=0.1", accuracy=0.0, diverged=True, run_id="b"))
    assert ids(counted) == {"a", "b"}
    assert counted.notes == ()


def test_a_training_that_diverged_without_a_value_counts_with_the_worst_of_those_that_count() -> None:
    metric = {"metric": "valid_loss", "goal": "minimize", "aggregate": "best", "share": False}
    rows = [
        training(run_id="a", accuracy=0.5, epochs=20),
        training(run_id="short", config="lr=0.2", accuracy=9.0, epochs=10),
        training(run_id="b", config="lr=0.1", accuracy=np.nan, epochs=20, diverged=True),
        training(run_id="c", config="lr=0.3", accuracy=np.nan, epochs=10, diverged=True),
        training(run_id="d", config="lr=0.4", accuracy=0.7, epochs=20),
    ]
    counted = select_runs(trainings_frame(rows).assign(**metric))
    assert counted.frame.set_index("run_id")["objective"].to_dict() == {"a": 0.5, "b": 0.7, "d": 0.7}


def test_the_target_counts_at_its_largest_epoch_count_and_proxies_at_the_same() -> None:
    counted = count(
        training(run_id="target", epochs=20),
        training(run_id="short target", config="lr=0.1", epochs=10),
        training("random:0.1", run_id="proxy", epochs=20),
        training("random:0.1", config="lr=0.1", run_id="short proxy", epochs=10),
        training("random:0.5", run_id="long proxy", epochs=40),
    )
    assert counted.epochs == 20
    assert ids(counted) == {"target", "proxy"}
    assert re.search(r"\b3\b.*epoch.*\b20\b", only(counted.notes))


def test_a_proxy_by_epochs_counts_where_it_trained_as_long_as_it_says() -> None:
    counted = count(
        training(run_id="target", epochs=20),
        training("epochs:5", run_id="five", epochs=5),
        training("epochs:5", config="lr=0.1", run_id="whole", epochs=20),
        training("epochs:10", run_id="three", epochs=3),
    )
    assert ids(counted) == {"target", "five"}
    assert len(counted.notes) == 1
    assert counted.notes[0].startswith("2 finished")


def test_a_training_that_states_no_epochs_counts() -> None:
    counted = count(training(run_id="target"), training("random:0.1", run_id="unstated", epochs=None))
    assert ids(counted) == {"target", "unstated"}
    assert counted.notes == ()


def test_without_a_target_that_states_epochs_all_count() -> None:
    counted = count(
        training(run_id="target", epochs=None),
        training("random:0.1", run_id="a", epochs=3),
        training("random:0.5", run_id="b", epochs=7),
    )
    assert counted.epochs is None
    assert ids(counted) == {"target", "a", "b"}


def test_an_unfinished_target_does_not_set_the_epochs() -> None:
    counted = count(
        training(run_id="target", epochs=20), training(run_id="failed", config="x", epochs=40, status="failed")
    )
    assert counted.epochs == 20
    assert ids(counted) == {"target"}


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_of_repetitions_the_one_that_ended_last_counts(order: list[int]) -> None:
    rows = [
        training(run_id="first", end_time=1_000),
        training(run_id="last", end_time=3_000),
        training(run_id="middle", end_time=2_000),
    ]
    counted = count(*(rows[position] for position in order))
    assert ids(counted) == {"last"}
    assert re.search(r"\b2\b.*repeat", only(counted.notes))


def test_a_repetition_without_an_end_gives_way_to_one_with() -> None:
    counted = count(training(run_id="ended", end_time=1), training(run_id="open", end_time=None))
    assert ids(counted) == {"ended"}


@pytest.mark.parametrize(
    "failed",
    [{"status": "failed"}, {"accuracy": np.nan}, {"epochs": 3}],
)
def test_a_later_run_that_does_not_count_replaces_nothing(failed: dict[str, Any]) -> None:
    counted = count(training(run_id="good", end_time=1_000), training(**{"run_id": "bad", "end_time": 9_000, **failed}))
    assert ids(counted) == {"good"}
    # A failure of what has finished before is no loss, and no news.
    assert len(counted.notes) == (0 if "status" in failed else 1)


def test_one_longer_training_does_not_change_what_the_target_is() -> None:
    rows = [training("full", config=f"lr={n}", epochs=2) for n in range(3)]
    counted = count(*rows, training("full", config="default", epochs=20), training("random:0.1", epochs=2))
    assert counted.epochs == 2
    assert len(counted.frame) == 4
    assert re.search(r"\b1\b.*epoch", only(counted.notes))


def test_other_settings_are_told_from_repetitions() -> None:
    same = [training(run_id="a", run_key="k", end_time=1), training(run_id="b", run_key="k", end_time=2)]
    assert "other settings" not in only(count(*same).notes)
    other = [training(run_id="a", run_key="k", end_time=1), training(run_id="b", run_key="l", end_time=2)]
    counted = count(*other, training(config="lr=0.1", run_id="c"))
    assert ids(counted) == {"b", "c"}
    assert re.search(r"\b1\b.*other settings", only(counted.notes))


def test_trainings_that_were_all_repeated_do_not_mix_settings() -> None:
    edited = [
        training(config=config, run_id=f"{config} {key}", run_key=f"{config} {key}", end_time=time)
        for config in ("default", "lr=0.1")
        for time, key in enumerate(("before", "after"))
    ]
    counted = count(*edited)
    assert ids(counted) == {"default after", "lr=0.1 after"}
    assert not any("other settings" in note for note in counted.notes)


@pytest.mark.parametrize(
    "change", [{"dataset": "letters"}, {"seed": 1}, {"config": "lr=0.1"}, {"strategy": "random:0.1"}]
)
def test_trainings_that_differ_in_one_respect_are_no_repetitions(change: dict[str, Any]) -> None:
    counted = count(training(run_id="a"), training(**{"run_id": "b", **change}))
    assert ids(counted) == {"a", "b"}
    assert counted.notes == ()


def test_the_order_of_the_trainings_does_not_matter() -> None:
    rows = [
        training(strategy, config, seed=seed, run_id=f"{strategy}{config}{seed}")
        for strategy in ("random:0.1", "full")
        for config in ("lr=0.1", "default")
        for seed in (1, 0)
    ]
    one, other = count(*rows), count(*reversed(rows))
    pd.testing.assert_frame_equal(one.frame, other.frame)


def test_no_trainings_at_all_count_as_none() -> None:
    counted = count()
    assert (len(counted.frame), counted.epochs, counted.notes) == (0, None, ())


def test_the_frame_that_came_in_is_left_as_it_was() -> None:
    frame = trainings_frame([training(), training(end_time=3_000), training(config="x", status="failed")])
    before = frame.copy()
    select_runs(frame)
    pd.testing.assert_frame_equal(frame, before)


def folder_rows(*paths: tuple[str, str]) -> pd.DataFrame:
    rows = [
        training(strategy, dataset=path, dataset_fingerprint=content, end_time=number)
        for number, (path, content) in enumerate(paths)
        for strategy in ("full", "random:0.5")
    ]
    return trainings_frame(rows).assign(dataset_fingerprint=[row["dataset_fingerprint"] for row in rows])


def test_a_folder_that_moved_during_the_study_stays_one_data_set() -> None:
    frame = folder_rows(("folder:/a", "one"), ("folder:/b", "one"), ("folder:/c", "other"))
    frame = frame.drop(index=[1, 2])  # the target was trained at /a, the proxy at /b
    counted = select_runs(frame)
    assert sorted(zip(counted.frame["dataset"], counted.frame["strategy"], strict=True)) == [
        ("folder:/b", "full"),
        ("folder:/b", "random:0.5"),
        ("folder:/c", "full"),
        ("folder:/c", "random:0.5"),
    ]
    assert re.search("folder:/a .*folder:/b", only(counted.notes))


def test_a_data_set_whose_content_changed_is_noted() -> None:
    notes = select_runs(folder_rows(("folder:/a", "one"), ("folder:/a", "other"))).notes
    assert any("folder:/a" in note and "2 fingerprints" in note for note in notes)
    # Other names mean what they say, whatever was written as their fingerprint.
    assert not select_runs(folder_rows(("digits", "same"), ("letters", "same"))).notes


def judged(*rows: tuple[str, str, int | None, int | None]) -> tuple[str, ...]:
    """Notes on trainings of one data set: fingerprint, strategy, `n_valid` and `n_test`."""
    trainings = [
        training(strategy, config=f"lr={number}", dataset_fingerprint=content)
        for number, (content, strategy, _, _) in enumerate(rows)
    ]
    frame = trainings_frame(trainings).assign(
        dataset_fingerprint=[content for content, *_ in rows],
        n_valid=pd.array([valid for *_, valid, _ in rows], dtype="Int64"),
        n_test=pd.array([test for *_, test in rows], dtype="Int64"),
    )
    return select_runs(frame).notes


def test_other_numbers_of_validation_or_test_examples_are_no_other_content() -> None:
    (note,) = judged(("a", "full", 300, None), ("b", "full", 100, None))
    assert "100 and 300 examples (valid_examples)" in note
    assert "fingerprint" not in note
    (note,) = judged(("a", "full", 300, None), ("b", "full", 300, 1_200))
    assert "0 and 1,200 examples (test_examples)" in note
    notes = judged(("a", "full", 300, 50), ("b", "full", 200, 70), ("c", "full", 200, 60))
    assert [word for note in notes for word in ("valid_examples", "test_examples", "fingerprint") if word in note] == [
        "valid_examples",
        "test_examples",
    ]
    assert "50, 60 and 70 examples" in notes[1]


def test_only_equal_strategies_tell_how_many_examples_judge() -> None:
    # Half of the classes are validated on half of the examples.
    (note,) = judged(("a", "full", 300, None), ("b", "half-classes:0.5", 150, None))
    assert "2 fingerprints" in note
    (note,) = judged(
        ("a", "full", 300, None), ("a", "half-classes:0.5", 150, None), ("b", "half-classes:0.5", 100, None)
    )
    assert "100 and 150 examples (valid_examples)" in note


def test_content_that_changed_beside_the_numbers_is_noted_too() -> None:
    notes = judged(("a", "full", 300, None), ("b", "full", 100, None), ("c", "full", 100, None))
    assert len(notes) == 2
    assert "valid_examples" in notes[0]
    assert "3 fingerprints" in notes[1]
    (note,) = judged(("a", "full", 300, 50), ("b", "full", 300, 50))
    assert "2 fingerprints" in note
    (note,) = judged(("a", "full", None, None), ("b", "full", None, None))
    assert "2 fingerprints" in note
