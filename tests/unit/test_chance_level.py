"""What a constant prediction gets is logged with a training and read back, exactly or, of an older one, by its classes."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from proxyflow.spaces.metric import ACCURACY, Metric
from proxyflow.studies.trainings import chance_objective
from proxyflow.subsets import Subset
from proxyflow.tracking import names
from proxyflow.tracking.queries import reader
from proxyflow.tracking.queries.tracked_run import TrackedRun

ERROR_RATE = Metric("valid_error", "minimize", share=True)
LOSS = Metric("valid_loss", "minimize")


def subset(labels: Sequence[int]) -> Subset:
    return cast(Subset, SimpleNamespace(valid=SimpleNamespace(labels=np.array(labels, dtype=np.int64))))


@pytest.mark.parametrize(
    ("metric", "labels", "expected"),
    [
        (ACCURACY, [0, 0, 0, 5], 0.75),
        (ACCURACY, [3, 7], 0.5),
        (ERROR_RATE, [0, 0, 0, 5], 0.25),
        (LOSS, [0, 0, 0, 5], None),
        (ACCURACY, [], None),
    ],
)
def test_a_constant_prediction_gets_the_share_of_the_largest_class(
    metric: Metric, labels: Sequence[int], expected: float | None
) -> None:
    assert chance_objective(metric, subset(labels)) == expected


def read(monkeypatch: pytest.MonkeyPatch, metric: Metric | None, metrics: dict[str, float], **params: str) -> float:
    tags: dict[str, Any] = {names.KIND: "training"}
    if metric is not None:
        tags |= {names.METRIC: metric.name, names.METRIC_JSON: metric.to_json()}
    run = TrackedRun("a", "a", "finished", tags, params, metrics, 0, 1)
    monkeypatch.setattr(reader, "run_pages", lambda client, experiments, condition: iter([[run]]))
    return float(reader.trainings(cast(MlflowClient, None), ["7"])["chance_objective"].iloc[0])


def test_what_was_logged_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, ACCURACY, {"chance_objective": 0.75}, n_classes="4") == 0.75


def test_of_a_training_that_did_not_log_it_classes_of_equal_sizes_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, None, {}, n_classes="10") == 0.1
    assert read(monkeypatch, ERROR_RATE, {}, n_classes="4") == 0.75


@pytest.mark.parametrize(
    ("metric", "metrics", "params"),
    [
        (LOSS, {}, {"n_classes": "10"}),
        (ACCURACY, {}, {}),
        (ACCURACY, {}, {"n_classes": "0"}),
        (ACCURACY, {}, {"n_classes": "many"}),
        (ACCURACY, {"chance_objective": 7.0}, {"n_classes": "10"}),
    ],
)
def test_where_it_is_not_known_it_is_missing(
    metric: Metric, metrics: dict[str, float], params: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert np.isnan(read(monkeypatch, metric, metrics, **params))


def test_a_constant_prediction_of_what_is_no_share_has_no_value() -> None:
    assert np.isnan(LOSS.of_constant_prediction(0.5))
    assert np.isnan(ACCURACY.of_constant_prediction(1.5))
    assert ACCURACY.of_constant_prediction(1.0) == 1.0
