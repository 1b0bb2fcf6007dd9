"""Every ranking goes through the metric: a wrong sign or a nan that counts turns the best configuration into the worst."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyflow.core.errors import InvalidValue, UnknownName
from proxyflow.spaces.metric import ACCURACY, Metric

LOSS = Metric("valid_loss", "minimize")
LAST = Metric("f1", aggregate="last")
NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(("metric", "sign"), [(ACCURACY, 1.0), (LOSS, -1.0)])
def test_the_sign_makes_every_metric_one_to_maximize(metric: Metric, sign: float) -> None:
    assert metric.sign == sign
    assert metric.better(0.2, 0.1) is (sign > 0)
    assert metric.better(0.1, 0.2) is (sign < 0)
    assert not metric.better(0.1, 0.1)


@pytest.mark.parametrize("metric", [ACCURACY, LOSS])
def test_a_number_is_better_than_nan_and_nan_than_nothing(metric: Metric) -> None:
    assert metric.better(0.5, NAN)
    assert not metric.better(NAN, 0.5)
    assert not metric.better(NAN, NAN)


@pytest.mark.parametrize(
    ("metric", "values", "result"),
    [
        (ACCURACY, [0.1, 0.5, 0.3], 0.5),
        (LOSS, [0.9, 0.4, 0.6], 0.4),
        (LAST, [0.1, 0.5, 0.3], 0.3),
        (ACCURACY, [NAN, 0.2, NAN], 0.2),
        (LOSS, [2.0, NAN, -INF, INF], 2.0),
        (ACCURACY, [0.0], 0.0),
    ],
)
def test_the_epoch_that_counts_gives_the_result(metric: Metric, values: list[float], result: float) -> None:
    assert metric.aggregate_of(values) == result


@pytest.mark.parametrize(
    ("metric", "values"), [(ACCURACY, []), (LOSS, [NAN, INF]), (LAST, []), (LAST, [0.5, NAN]), (LAST, [0.5, INF])]
)
def test_without_a_finite_value_that_counts_the_result_is_nan(metric: Metric, values: list[float]) -> None:
    assert math.isnan(metric.aggregate_of(values))


def test_only_a_share_has_a_worst_value() -> None:
    assert ACCURACY.worst == 0.0
    assert Metric("error_rate", "minimize", share=True).worst == 1.0
    assert math.isnan(LOSS.worst)


def test_only_a_share_is_shown_in_points() -> None:
    assert (ACCURACY.scale, ACCURACY.unit) == (100.0, "points")
    assert (LOSS.scale, LOSS.unit) == (1.0, "")


@pytest.mark.parametrize(
    ("name", "label"),
    [("valid_accuracy", "accuracy"), ("val/top_5", "top 5"), ("rmse", "rmse"), ("valid_", "valid_")],
)
def test_the_label_is_the_name_for_people(name: str, label: str) -> None:
    assert Metric(name).label == label


def test_the_standard_error_of_a_share_is_binomial() -> None:
    assert ACCURACY.standard_error(0.5, 100) == pytest.approx(0.05)
    assert ACCURACY.standard_error(0.9, 500) == pytest.approx(math.sqrt(0.9 * 0.1 / 500))
    assert all(math.isnan(ACCURACY.standard_error(*pair)) for pair in ((0.5, 0), (NAN, 10), (1.2, 10)))
    assert math.isnan(LOSS.standard_error(0.5, 100))


@given(
    st.sampled_from(["valid_accuracy", "a/b.c-d", "0"]),
    st.sampled_from(["maximize", "minimize"]),
    st.sampled_from(["best", "last"]),
    st.booleans(),
)
def test_json_gives_the_metric_back(name: str, goal: str, aggregate: str, share: bool) -> None:
    metric = Metric(name, goal, aggregate, share)  # type: ignore[arg-type]
    assert Metric.from_json(metric.to_json()) == metric


def test_json_needs_the_name_alone() -> None:
    assert Metric.from_json('{"name": "loss", "goal": "minimize"}') == Metric("loss", "minimize")


@pytest.mark.parametrize("text", ["", "3", "[]", "{}", '{"goal": "maximize"}', '{"name": 3}', '{"name": null}'])
def test_text_that_is_no_metric_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        Metric.from_json(text)
    assert caught.value.name == "metric"


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(UnknownName) as caught:
        Metric.from_json('{"name": "loss", "direction": "minimize"}')
    assert caught.value.value == "direction"


@pytest.mark.parametrize(
    ("values", "name", "value"),
    [
        ({"name": ""}, "metric", ""),
        ({"name": "a//b"}, "metric", "a//b"),
        ({"name": "../a"}, "metric", "../a"),
        ({"name": "a\nb"}, "metric", "a\nb"),
        ({"name": "a" * 251}, "metric", "a" * 251),
        ({"name": "loss", "goal": "min"}, "goal", "min"),
        ({"name": "loss", "aggregate": "mean"}, "aggregate", "mean"),
        ({"name": "loss", "share": "maybe"}, "share", "maybe"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        Metric(**values)  # type: ignore[arg-type]
    assert (caught.value.name, caught.value.value) == (name, value)
