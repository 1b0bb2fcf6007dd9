"""A training's epochs in a tag are those of its metrics, and a tag that is none is as if it were not there."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from proxyflow.spaces.metric import Metric
from proxyflow.tracking import names
from proxyflow.tracking.queries.curve_tag import LONGEST, points_of, tag_of
from proxyflow.tracking.queries.curves import COLUMNS, FoundCurves, training_curves
from proxyflow.tracking.queries.histories import METRICS
from proxyflow.tracking.queries.tracked_run import TrackedRun

METRIC = "valid_accuracy"
LOGGED = (METRIC, *METRICS[1:])


def records(epochs: int, seed: int = 0) -> list[SimpleNamespace]:
    values = np.random.default_rng(seed).random((epochs, len(LOGGED)))
    return [SimpleNamespace(epoch=n, **dict(zip(LOGGED, row, strict=True))) for n, row in enumerate(values, start=1)]


def tag(records: list[SimpleNamespace]) -> str | None:
    return tag_of({name: [getattr(each, name) for each in records] for name in LOGGED}, METRIC)


def text_of(epochs: int, seed: int = 0) -> str:
    text = tag(records(epochs, seed))
    assert text is not None
    return text


def table(**runs: list[SimpleNamespace]) -> pd.DataFrame:
    rows = [
        (run_id, each.epoch, *(getattr(each, metric) for metric in LOGGED))
        for run_id in sorted(runs)
        for each in runs[run_id]
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def found(run_id: str, text: str | None, status: str = "finished") -> TrackedRun:
    tags = {} if text is None else {names.CURVES: text}
    return TrackedRun(run_id, run_id, status, tags, {}, {}, 1, 2)


class Silent:
    """Stands for a client that knows the curves of some runs, and notes who is asked for."""

    tracking_uri = "file:///nowhere"

    def __init__(self, **runs: list[SimpleNamespace]) -> None:
        self.runs, self.asked = runs, set[str]()

    def get_metric_history(self, run_id: str, metric: str) -> list[SimpleNamespace]:
        self.asked.add(run_id)
        return [SimpleNamespace(step=each.epoch, value=getattr(each, metric)) for each in self.runs[run_id]]


def curves(client: Silent, *runs: TrackedRun) -> pd.DataFrame:
    came = FoundCurves()
    for run in runs:
        came.add(run)
    ends = pd.DataFrame({"run_id": [run.id for run in runs], "end_time": [run.end_time for run in runs]})
    return training_curves(
        cast(MlflowClient, client), ends.astype({"end_time": "Int64"}).assign(metric=METRIC, share=True), "study", came
    )


@pytest.fixture(autouse=True)
def cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXYFLOW_CACHE_DIR", str(tmp_path))


def test_curves_that_came_with_their_runs_are_not_asked_for() -> None:
    a, b = records(3, 1), records(20, 2)
    client = Silent()
    pd.testing.assert_frame_equal(
        curves(client, found("b", text_of(20, 2)), found("a", text_of(3, 1))), table(a=a, b=b), check_exact=True
    )
    assert client.asked == set()


def test_the_others_are_asked_for_and_all_stand_in_order() -> None:
    a, b, c = records(2, 1), records(4, 2), records(3, 3)
    client = Silent(b=b)
    runs = (found("c", text_of(3, 3)), found("b", None), found("a", text_of(2, 1)))
    for _ in range(2):
        pd.testing.assert_frame_equal(curves(client, *runs), table(a=a, b=b, c=c), check_exact=True)
    assert client.asked == {"b"}


def test_only_a_finished_run_has_all_of_its_epochs_in_its_tag() -> None:
    client = Silent(a=records(5))
    assert len(curves(client, found("a", text_of(3), status="running"))) == 5


ODD = [
    "",
    "{",
    "[]",
    "null",
    "{}",
    json.dumps(dict.fromkeys(LOGGED, 1)),
    json.dumps(dict.fromkeys(LOGGED, ())),
    json.dumps({metric: [0.5] for metric in LOGGED[1:]}),
    json.dumps({metric: [0.5] for metric in (*LOGGED, "more")}),
    json.dumps({metric: [0.5] * (1 + (metric == LOGGED[0])) for metric in LOGGED}),
    json.dumps({metric: ["half"] for metric in LOGGED}),
    json.dumps({metric: [{}] for metric in LOGGED}),
    json.dumps({metric: [[0.5]] for metric in LOGGED}),
    json.dumps({metric: [10**400] for metric in LOGGED}),
    "[" * 4000,
    text_of(20) + " " * LONGEST,
]


@pytest.mark.parametrize("text", ODD)
def test_what_is_no_such_tag_is_as_if_it_were_not_there(text: str) -> None:
    assert points_of(text, 0, METRIC) is None
    client = Silent(a=records(2))
    pd.testing.assert_frame_equal(curves(client, found("a", text)), table(a=records(2)))
    assert client.asked == {"a"}


def test_values_that_no_training_has_are_missing() -> None:
    told = {**{metric: [0.5, 0.6] for metric in LOGGED}, "valid_accuracy": [2.0, 0.7], "train_loss": [0.1, 1e300]}
    text = json.dumps(told).replace("0.6", "NaN")
    frame = curves(Silent(), found("a", text))
    assert frame["epoch"].tolist() == [1, 2]
    assert frame[list(METRICS)].isna().to_numpy().tolist() == [[True, False, False, False], [False, True, True, True]]


def test_what_does_not_fit_or_cannot_be_told_has_no_tag() -> None:
    assert len(text_of(50)) <= LONGEST
    assert tag(records(500)) is None
    assert tag([]) is None
    for value in (np.nan, np.inf):
        odd = records(3)
        odd[1].valid_loss = value
        assert tag(odd) is None


def judged_by(metric: Metric) -> dict[str, str]:
    return {names.METRIC: metric.name, names.GOAL: metric.goal, names.METRIC_JSON: metric.to_json()}


def test_a_trainer_that_logs_its_metric_alone_has_a_tag_of_it_alone() -> None:
    rmse = Metric("rmse", "minimize")
    text = tag_of({"rmse": [2.5, 1.5], "elapsed": [1.0, 2.0]}, "rmse")
    assert text == '{"rmse":[2.5,1.5]}'
    run = TrackedRun("a", "a", "finished", {names.CURVES: text, **judged_by(rmse)}, {}, {}, 1, 2)
    came = FoundCurves()
    came.add(run)
    runs = pd.DataFrame({"run_id": ["a"], "end_time": [2], "metric": ["rmse"], "share": [False]})
    found = training_curves(cast(MlflowClient, Silent()), runs, "study", came)
    assert found["objective"].tolist() == [2.5, 1.5]
    assert found[list(METRICS[1:])].isna().all(axis=None)
    assert points_of(text, 0, "valid_accuracy") is None, "the tag of another metric"


def test_a_metric_that_is_a_loss_is_told_once_and_read_as_both() -> None:
    text = tag_of({"valid_loss": [2.5, 1.5], "train_loss": [3.0, 2.0]}, "valid_loss")
    assert text is not None
    points = points_of(text, 0, "valid_loss")
    assert points is not None
    assert sorted(zip(points["metric"].tolist(), points["value"].tolist(), strict=True)) == [
        *((0, 1.5), (0, 2.5), (1, 1.5), (1, 2.5), (2, 2.0), (2, 3.0))
    ]


def test_without_a_value_of_the_metric_there_is_no_tag() -> None:
    assert tag_of({"train_loss": [1.0]}, "rmse") is None
    assert tag_of({"rmse": [], "train_loss": []}, "rmse") is None
