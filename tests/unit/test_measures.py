"""A subset is only as good as its ranking, so every measure is held against a computation of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import linalg

from proxyflow.core.errors import InvalidValue
from proxyflow.scores import (
    ModelOutputs,
    ScoreInputs,
    ScoreName,
    at_epoch,
    el2n,
    entropy,
    first_learned_epoch,
    forgetting_events,
    gradient_norm_bound,
    grand_last_layer,
    known_scores,
    least_confidence,
    loss,
    margin,
    prototype_distance,
    score_of,
    training_value,
)
from proxyflow.scores.training_value import choose_judges

NAN = math.nan


def probabilities(row: Sequence[float]) -> list[float]:
    """Softmax by its definition, which is exact enough while no exponential overflows."""
    exponentials = [math.exp(value) for value in row]
    total = math.fsum(exponentials)
    return [value / total for value in exponentials]


def plain_loss(row: Sequence[float], label: int) -> float:
    return math.log(math.fsum(math.exp(value - row[label]) for value in row))


def plain_margin(row: Sequence[float], label: int) -> float:
    return row[label] - max(value for position, value in enumerate(row) if position != label)


def plain_entropy(row: Sequence[float], label: int) -> float:
    return -math.fsum(p * math.log(p) for p in probabilities(row) if p > 0)


def plain_el2n(row: Sequence[float], label: int) -> float:
    errors = [p - (position == label) for position, p in enumerate(probabilities(row))]
    return math.sqrt(math.fsum(error**2 for error in errors))


def plain_least_confidence(row: Sequence[float], label: int) -> float:
    return math.fsum(sorted(probabilities(row))[:-1])


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("loss", plain_loss),
        ("heldout_loss", plain_loss),
        ("margin", plain_margin),
        ("entropy", plain_entropy),
        ("least_confidence", plain_least_confidence),
        ("el2n", plain_el2n),
        ("gradient_norm_bound", plain_el2n),
    ],
)
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_a_measure_agrees_with_its_definition(
    name: str, plain: Callable[[Sequence[float], int], float], scale: float
) -> None:
    rng = np.random.default_rng(0)
    logits = scale * rng.normal(size=(200, 7))
    labels = rng.integers(0, 7, 200)
    expected = [plain(row, label) for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]
    look = ModelOutputs(logits, np.ones(200))
    # Whatever a measure looks at is the same here, so that each must look at something.
    measured = known_scores[name].compute(ScoreInputs(labels, 0, look, look, held_out=logits))
    assert measured.dtype == np.float64
    np.testing.assert_allclose(measured, expected, rtol=0, atol=1e-9)


def test_entropy_where_a_probability_underflows_to_zero_is_zero() -> None:
    logits = np.array([[800.0, 0.0, 0.0], [0.0, 0.0, 1e6]])
    assert entropy(logits, np.array([0, 0])).tolist() == [0.0, 0.0]


def test_entropy_of_a_class_that_is_impossible_is_that_of_the_others() -> None:
    logits = np.array([[0.0, -np.inf], [0.0, 0.0]])
    np.testing.assert_allclose(entropy(logits, np.array([0, 0])), [0.0, math.log(2)], rtol=0, atol=1e-12)


def test_entropy_is_largest_where_the_model_knows_nothing_and_ignores_the_label() -> None:
    logits = np.array([[0.0, 0.0, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0]])
    values = entropy(logits, np.array([0, 0]))
    assert values[0] == pytest.approx(math.log(4), abs=1e-12)
    assert values[1] < values[0]
    assert np.array_equal(entropy(logits, np.array([3, 2])), values)


def test_loss_still_tells_examples_apart_at_a_logit_gap_of_40() -> None:
    logits = np.array([[38.0, 0.0], [40.0, 0.0], [42.0, 0.0]])
    values = loss(logits, np.array([0, 0, 0]))
    assert values[1] > 0
    assert values[0] > values[1] > values[2]


def test_loss_of_a_hopeless_example_is_finite_and_grows_with_the_gap() -> None:
    values = loss(np.array([[0.0, 1000.0], [0.0, 2000.0]]), np.array([0, 0]))
    np.testing.assert_allclose(values, [1000.0, 2000.0])


def test_margin_is_negative_exactly_where_the_model_is_wrong() -> None:
    logits = np.random.default_rng(1).normal(size=(500, 5))
    labels = np.random.default_rng(2).integers(0, 5, 500)
    wrong = logits.argmax(axis=1) != labels
    assert wrong.any()
    assert np.array_equal(margin(logits, labels) < 0, wrong)


def test_margin_leaves_the_logits_as_they_were() -> None:
    logits = np.array([[1.0, 2.0], [4.0, 3.0]])
    assert margin(logits, np.array([0, 0])).tolist() == [-1.0, 1.0]
    assert logits.tolist() == [[1.0, 2.0], [4.0, 3.0]]


def test_el2n_goes_from_0_where_sure_and_right_to_root_2_where_sure_and_wrong() -> None:
    logits = np.array([[200.0, 0.0, 0.0], [0.0, 200.0, 0.0]])
    np.testing.assert_allclose(el2n(logits, np.array([0, 0])), [0.0, math.sqrt(2)], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("history", "events"),
    [
        ([1, 1, 1, 1, 1], 0),
        ([0, 0, 1, 1, 1], 0),
        ([1, 0, 1, 0, 1], 2),
        ([0, 1, 0, 0, 0], 1),
        ([1, 0, 0, 1, 0], 2),
        # Never learnt ranks above everything that was learnt and forgotten, which at most every second time is.
        ([0, 0, 0, 0, 0], 5),
        # Consecutive presentations are meant, so an epoch that left the example out neither counts nor hides one.
        ([1, NAN, 0, 1, NAN], 1),
        ([1, NAN, 1, NAN, 1], 0),
        ([NAN, 1, NAN, NAN, 0], 1),
        ([NAN, 0, NAN, 0, NAN], 5),
        ([NAN, NAN, NAN, NAN, 1], 0),
        ([NAN, NAN, NAN, NAN, NAN], 5),
    ],
)
def test_forgetting_events_of_a_history_counted_by_hand(history: list[float], events: int) -> None:
    column = np.array(history, dtype=np.float64)[:, None]
    assert forgetting_events(column).tolist() == [events]


def test_forgetting_events_count_each_example_by_itself() -> None:
    history = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1]], dtype=np.float64)
    assert forgetting_events(history).tolist() == [1.0, 3.0, 0.0]


def test_hardness_turns_the_margin_and_the_value_round_and_nothing_else() -> None:
    values = np.array([-1.0, 2.0])
    turned = {name for name, measure in known_scores.items() if np.array_equal(measure.hardness(values), -values)}
    assert turned == {"margin", "training_value"}
    assert all(np.array_equal(known_scores[name].hardness(values), values) for name in set(known_scores) - turned)


@pytest.mark.parametrize(
    ("history", "epoch"),
    [
        ([1, 0, 0], 1),
        ([0, 0, 1], 3),
        ([0, 0, 0], 4),
        ([NAN, 1, 0], 2),
        ([NAN, NAN, NAN], 4),
    ],
)
def test_first_learned_epoch_of_a_history_counted_by_hand(history: list[float], epoch: int) -> None:
    assert first_learned_epoch(np.array(history, dtype=np.float64)[:, None]).tolist() == [epoch]


def test_an_example_that_was_never_presented_gets_the_median_of_the_others() -> None:
    history = np.array([[1, 0, 0, NAN, 1], [1, 1, 0, NAN, 0], [1, 0, 0, NAN, 1.0]])
    assert forgetting_events(history).tolist() == [0, 1, 3, 1, 1]
    assert first_learned_epoch(history).tolist() == [1, 2, 4, 1.5, 1]


def test_least_confidence_keeps_digits_that_one_minus_p_has_lost() -> None:
    values = least_confidence(np.array([[40.0, 0.0], [45.0, 0.0]]), np.array([0, 1]))
    np.testing.assert_allclose(values, [math.exp(-40), math.exp(-45)], rtol=1e-9)


def test_gradient_scores_are_the_gradients_that_autograd_finds() -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    body = torch.nn.Linear(4, 7, dtype=torch.float64)
    last = torch.nn.Linear(7, 3, dtype=torch.float64)
    for parameter in (*body.parameters(), *last.parameters()):
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    images = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2])
    by_layer, by_logits = [], []
    for image, label in zip(images, labels, strict=True):
        logits = last(torch.relu(body(image[None])))
        logits.retain_grad()
        last.zero_grad()
        torch.nn.functional.cross_entropy(logits, label[None]).backward()
        assert last.weight.grad is not None
        assert last.bias.grad is not None
        assert logits.grad is not None
        by_layer.append(math.hypot(float(last.weight.grad.norm()), float(last.bias.grad.norm())))
        by_logits.append(float(logits.grad.norm()))
    with torch.no_grad():
        embeddings = torch.relu(body(images))
        look = ModelOutputs(last(embeddings).numpy(), embeddings.norm(dim=1).numpy())
    np.testing.assert_allclose(grand_last_layer(look, labels.numpy()), by_layer, rtol=0, atol=1e-9)
    np.testing.assert_allclose(gradient_norm_bound(look.logits, labels.numpy()), by_logits, rtol=0, atol=1e-9)


def blobs(n: int = 90, classes: int = 3, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings around far centres, and which centre each is of."""
    rng = np.random.default_rng(5)
    labels = rng.permutation(np.arange(n) % classes)
    centres = 30 * np.eye(classes, width)
    return (centres[labels] + rng.normal(size=(n, width))).astype(np.float32), labels


def test_prototype_distance_is_that_to_the_mean_of_the_own_cluster() -> None:
    points, cluster = blobs()
    members = [points[cluster == number].astype(np.float64) for number in range(3)]
    expected = np.empty(len(points))
    for number, own in enumerate(members):
        middle = np.array([math.fsum(column) / len(own) for column in own.T.tolist()])
        expected[cluster == number] = [math.dist(point, middle) for point in own]
    np.testing.assert_allclose(prototype_distance(points, 3, seed=0), expected, rtol=0, atol=1e-9)


def test_training_value_is_the_average_precision_of_the_examples_own_classifier_above_chance() -> None:
    from sklearn.covariance import ledoit_wolf
    from sklearn.metrics import average_precision_score

    points, labels = blobs(60)
    points += np.random.default_rng(6).normal(scale=25, size=points.shape).astype(np.float32)
    judges = choose_judges(labels, seed=3)
    assert sorted(judges) == list(range(60))
    centred = points.astype(np.float64) - points.astype(np.float64).mean(axis=0)
    covariance, _ = ledoit_wolf(centred, assume_centered=True)
    inverse = linalg.inv(covariance)
    expected = []
    for example in range(60):
        others = np.array([judge for judge in judges if judge != example])
        hits = labels[others] == labels[example]
        outputs = centred[others] @ inverse @ centred[example]
        expected.append(average_precision_score(hits, outputs) - hits.mean())
    np.testing.assert_allclose(training_value(points, labels, seed=3), expected, rtol=0, atol=1e-9)


def test_judges_are_as_many_of_each_class_as_there_are() -> None:
    labels = np.repeat([0, 1, 2], [100, 5, 50])
    judges = choose_judges(labels, seed=0, most=30)
    assert len(judges) == len(set(judges)) == 30
    assert np.bincount(labels[judges]).tolist() in ([13, 5, 12], [12, 5, 13])


def test_an_early_measure_has_a_name_for_every_epoch_and_others_have_none() -> None:
    assert score_of(at_epoch("el2n", 12)) is known_scores["el2n"]
    assert score_of("loss_epoch_3") is None
    assert score_of("el2n_epoch_0") is None
    assert score_of("nothing") is None
    rule = ScoreName(known_scores)
    assert rule.parse("by", "grand_last_layer_epoch_7") == "grand_last_layer_epoch_7"
    with pytest.raises(InvalidValue, match="el2n_epoch_5"):
        rule.parse("by", "el2n_epoch_x")
