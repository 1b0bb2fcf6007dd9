"""Scores are taken from a model in eval mode on plain images, and do not depend on batches or order."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from image_training import CPU, losses, spec_of, train
from made_up import digits as all_digits

from proxyflow.core.errors import InvalidValue, TrainingFailed
from proxyflow.data.catalog import Dataset
from proxyflow.data.splits import assign_folds
from proxyflow.scores import el2n, forgetting_events, known_scores, loss
from proxyflow.scores.apply import confusion_of
from proxyflow.scoring import scorer
from proxyflow.scoring.scorer import score_examples
from proxyflow.scoring.spec import ScoringSpec, early_epochs
from proxyflow.strategies import Full
from proxyflow.subsets import choose_subset
from proxyflow.trainers.images import predictor
from proxyflow.trainers.images.engine import engines
from proxyflow.trainers.images.models import build_model, embeddings_of
from proxyflow.trainers.images.predictor import ImagePredictor
from proxyflow.trainers.images.space import image_configuration
from proxyflow.trainers.model_access import Hooks

X18 = image_configuration(arch="xresnet18")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return dataclasses.replace(all_digits(), train=all_digits().train.take(np.arange(200)))


def spec(repeats: int = 1, folds: int = 0, early: tuple[int, ...] = (), **training: Any) -> ScoringSpec:
    return ScoringSpec(spec_of(**{"arch": "xresnet18-w16", **training}), repeats, folds, early)


def predictor_of(dataset: Dataset) -> ImagePredictor:
    full = choose_subset(dataset, Full(), 0)
    return spec_of().trainer.predictor(full, dataset.train, CPU)


def test_a_look_does_not_depend_on_the_batch_and_leaves_batch_norm_alone(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_model(X18, 10, seed=0)
    predict = predictor_of(digits)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    whole = predict(model, keep_embeddings=True)
    picked = np.array([150, 3, 77])
    np.testing.assert_allclose(predict(model, picked).logits, whole.logits[picked], atol=1e-5)
    monkeypatch.setattr(predictor, "VALID_BATCH", 7)
    np.testing.assert_allclose(predict(model).logits, whole.logits, atol=1e-5)
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert whole.logits.dtype == whole.lengths.dtype == np.float64
    assert whole.embeddings is not None
    assert whole.embeddings.shape == (200, 512)
    np.testing.assert_allclose(whole.lengths, np.linalg.norm(whole.embeddings.astype(np.float64), axis=1), rtol=1e-6)


def test_embeddings_are_what_the_last_layer_takes_in() -> None:
    model = build_model(X18, 10, seed=0).eval()
    images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        with embeddings_of(model) as taken:
            logits = model(images)
        assert torch.equal(logits, list(model.children())[-1](taken[0]))
        model(images)
    assert len(taken) == 1, "afterwards nothing is collected any more"


@pytest.mark.parametrize("engine", list(engines))
def test_scores_are_those_of_the_plain_training_of_the_same_seed(digits: Dataset, engine: str) -> None:
    chosen = spec(engine=engine)
    scoring = score_examples(digits, chosen, CPU)
    full = choose_subset(digits, Full(), 0)
    history = np.full((2, 200), np.nan)
    early: list[np.ndarray] = []

    def watch(index: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, epoch: int) -> None:
        history[epoch, index.numpy()] = (logits.argmax(1) == labels).numpy()

    def look(model: torch.nn.Module, epoch: int) -> None:
        early.append(predictor_of(digits)(model).logits)

    plain = train(full, chosen.training, Hooks(watch, look))
    # Looking at a training does not change it.
    assert losses(plain.result) == losses(scoring.results[0])
    frame, labels = scoring.scores.frame, digits.train.labels
    np.testing.assert_allclose(frame["loss"], loss(early[1], labels), atol=1e-4)
    np.testing.assert_allclose(frame["el2n"], el2n(early[0], labels), atol=1e-4)
    assert frame["el2n"].equals(frame["el2n_epoch_1"].rename("el2n"))
    assert frame["forgetting_events"].tolist() == forgetting_events(history).tolist()


def test_the_order_of_the_files_does_not_change_what_models_say(digits: Dataset) -> None:
    model = build_model(X18, 10, seed=0)
    made = scorer._Scorer(digits, spec(), CPU, None)
    mixed = np.random.default_rng(0).permutation(200)
    other = dataclasses.replace(digits, train=digits.train.take(mixed))
    again = scorer._Scorer(other, spec(), CPU, None)
    assert np.array_equal(made.predict(model).logits, again.predict(model).logits)
    assert np.array_equal(made.labels, again.labels)
    assert digits.train.content_hashes[made.order].tolist() == other.train.content_hashes[again.order].tolist()


def test_repeats_are_averaged_and_their_agreement_is_told(digits: Dataset) -> None:
    one, two = score_examples(digits, spec(), CPU), score_examples(digits, spec(repeats=2, folds=2), CPU)
    assert one.agreement == {}
    assert set(two.agreement) == set(two.scores.names)
    assert "heldout_loss" in two.agreement
    assert len(two.results) == 6
    # The first repeat is the training that one repeat is, so the average lies between it and another.
    other = 2 * two.scores.frame["loss"] - one.scores.frame["loss"]
    assert (other > 0).all()
    assert not np.allclose(other, one.scores.frame["loss"])
    again = score_examples(digits, spec(), CPU)
    assert one.scores.frame.equals(again.scores.frame)


def test_one_training_gives_every_score_but_the_held_out_one(digits: Dataset) -> None:
    scoring = score_examples(digits, spec(), CPU)
    assert len(scoring.results) == 1
    assert set(known_scores) - set(scoring.scores.names) == {"heldout_loss"}
    assert scoring.scores.holds[-2:] == ["embeddings", "confusion"]
    assert all(np.isfinite(scoring.scores.frame[name]).all() for name in scoring.scores.names)
    described = scoring.summary()
    assert set(described["measures"]) == set(scoring.scores.names)
    assert described["early_epochs"] == [1]


def test_embeddings_follow_the_table(digits: Dataset) -> None:
    mixed = np.random.default_rng(0).permutation(200)
    scores = score_examples(dataclasses.replace(digits, train=digits.train.take(mixed)), spec(), CPU).scores
    assert scores.embeddings is not None
    assert scores.embeddings.dtype == np.float16
    assert scores.frame["content_hash"].tolist() == digits.train.content_hashes[mixed].tolist()
    # Examples of one class lie together, which they would not in another order.
    points, labels = scores.embeddings.astype(np.float64), scores.frame["label"].to_numpy()
    own = np.stack([points[labels == label].mean(axis=0) for label in range(10)])
    distances = np.linalg.norm(points[:, None] - own[None], axis=2)
    assert (distances.argmin(axis=1) == labels).mean() > 0.5


def test_what_folds_cost_is_told_apart(digits: Dataset) -> None:
    scores = score_examples(digits, spec(folds=2), CPU).scores
    assert scores.cost is not None
    models, folds = scores.cost
    assert (models.examples_seen, folds.examples_seen) == (2 * 192, 2 * 2 * 96)
    assert models.train_flops > 0
    assert models.train_seconds > 0
    assert folds.train_seconds > 0


def test_held_out_examples_are_scored_by_a_model_that_did_not_see_them(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_on: list[set[int]] = []
    real = scorer._Scorer._train

    def watch(self: object, subset: object, *args: object) -> object:
        trained_on.append(set(subset.train.ids.tolist()))  # type: ignore[attr-defined]
        return real(self, subset, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(scorer._Scorer, "_train", watch)
    scoring = score_examples(digits, spec(folds=3), CPU)
    assert len(scoring.results) == 4
    assert np.isfinite(scoring.scores.frame["heldout_loss"]).all()
    folds = assign_folds(digits.train, 3, seed=0)
    for fold, seen in enumerate(trained_on[1:]):
        held_out = set(digits.train.ids[folds == fold].tolist())
        assert not held_out & seen
        assert len(held_out) + len(seen) == 200


def test_more_folds_than_examples_are_refused_before_anything_is_trained(digits: Dataset) -> None:
    few = dataclasses.replace(digits, train=digits.train.take(np.arange(30)))
    with pytest.raises(InvalidValue) as raised:
        score_examples(few, spec(folds=40), CPU)
    assert (raised.value.name, raised.value.value) == ("holdout_folds", 40)


def test_a_scoring_model_that_diverges_is_refused(digits: Dataset) -> None:
    with pytest.raises(TrainingFailed):
        score_examples(digits, spec(learning_rate=1e12, optimizer="sgd"), CPU)


@pytest.mark.parametrize(
    ("epochs", "expected"), [(1, (1,)), (2, (1,)), (4, (1, 2)), (5, (1, 3)), (20, (2, 5, 10)), (200, (20, 50, 100))]
)
def test_early_epochs_are_a_tenth_a_quarter_and_half(epochs: int, expected: tuple[int, ...]) -> None:
    assert early_epochs(epochs) == expected


def test_wanted_epochs_come_after_the_usual_so_that_they_do_not_move_el2n() -> None:
    assert early_epochs(20, {1, 5}) == (2, 5, 10, 1)


def test_an_epoch_that_the_training_does_not_reach_is_refused() -> None:
    with pytest.raises(InvalidValue) as raised:
        spec(early=(1, 3))
    assert (raised.value.name, raised.value.value) == ("early_epochs", "1,3")


def test_confusion_is_the_mean_of_what_each_class_is_given() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]))
    table = confusion_of(logits, np.array([0, 0, 1]))
    np.testing.assert_allclose(table, [[0.6, 0.225, 0.175], [0.1, 0.8, 0.1], [0, 0, 0]], atol=1e-12)
