"""One run too many or too few in a study silently shifts every measure, so what counts and what not is pinned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import training, trainings_frame

from proxyflow.quality.runs import CountedRuns, count_runs


def count(*rows: dict[str, Any]) -> CountedRuns:
    return count_runs(trainings_frame(rows))


def ids(counted: CountedRuns) -> set[str]:
    return set(counted.frame["run_id"])


@pytest.mark.parametrize("status", ["failed", "running", "interrupted"])
def test_only_finished_trainings_count_and_the_others_are_noted(status: str) -> None:
    counted = count(
        training(run_id="a"),
        training(run_id="b", config="lr=0.1", status=status),
        training("random:0.1", run_id="c", status=status),
    )
    assert ids(counted) == {"a"}
    assert counted.notes == (f"2 training(s) are {status} and not counted.",)


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
    assert counted.notes == ("1 finished training(s) have no best_valid_accuracy and are not counted.",)


def test_a_diverged_training_is_a_result() -> None:
    counted = count(training(run_id="a"), training(config="lr=0.1", accuracy=0.0, diverged=True, run_id="b"))
    assert ids(counted) == {"a", "b"}
    assert counted.notes == ()


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
    assert counted.notes == ("3 finished training(s) at other epoch counts than the target's 20 are not counted.",)


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
    assert counted.notes == ("2 training(s) are repetitions of another one; of each the latest counts.",)


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
    assert "1 finished training(s) at other epoch counts" in counted.notes[0]


def test_other_settings_are_told_from_repetitions() -> None:
    same = [training(run_id="a", run_key="k", end_time=1), training(run_id="b", run_key="k", end_time=2)]
    assert "1 training(s) are repetitions" in count(*same).notes[0]
    other = [training(run_id="a", run_key="k", end_time=1), training(run_id="b", run_key="l", end_time=2)]
    counted = count(*other)
    assert ids(counted) == {"b"}
    assert "1 training(s) were run again with other settings" in counted.notes[0]


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
    count_runs(frame)
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
    counted = count_runs(frame)
    assert sorted(zip(counted.frame["dataset"], counted.frame["strategy"], strict=True)) == [
        ("folder:/b", "full"),
        ("folder:/b", "random:0.5"),
        ("folder:/c", "full"),
        ("folder:/c", "random:0.5"),
    ]
    assert counted.notes == ("folder:/a has the content of folder:/b, and is called so.",)


def test_a_data_set_whose_content_changed_is_noted() -> None:
    notes = count_runs(folder_rows(("folder:/a", "one"), ("folder:/a", "other"))).notes
    assert any("folder:/a has changed during the study (2 fingerprints)" in note for note in notes)
    # Other names mean what they say, whatever was written as their fingerprint.
    assert not count_runs(folder_rows(("digits", "same"), ("letters", "same"))).notes
