"""Scores are taken from a model in eval mode on plain images, and do not depend on batches or order."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from proxyflow.data.batches import DeviceImages, View
from proxyflow.data.catalog import Dataset, load_dataset
from proxyflow.errors import TrainingFailed
from proxyflow.scoring import scorer
from proxyflow.scoring.scorer import ScoringSpec, assign_folds, predict, score_examples
from proxyflow.training.engine import TrainingSpec
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings
from proxyflow.training.models import build_model

CPU = torch.device("cpu")
SETTINGS = TrainingSettings(epochs=2, batch_size=32, image_size=8)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    everything = load_dataset("digits")
    return dataclasses.replace(everything, train=everything.train.take(np.arange(200)))


def spec(repeats: int = 1, folds: int = 0, rate: float = 0.003, optimizer: str = "adam") -> ScoringSpec:
    hyperparameters = Hyperparameters(arch="xresnet18", learning_rate=rate, optimizer=optimizer)
    return ScoringSpec(TrainingSpec(hyperparameters, SETTINGS, 0), repeats, folds)


def test_logits_do_not_depend_on_the_batch_and_leave_batch_norm_alone(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_model(Hyperparameters(arch="xresnet18"), 10, seed=0)
    images = DeviceImages(digits.train, tuple(range(10)), View(8, "padded", digits.mean, digits.std), CPU)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    whole = predict(model, images)
    monkeypatch.setattr(scorer, "VALID_BATCH", 7)
    np.testing.assert_allclose(predict(model, images), whole, atol=1e-5)
    picked = np.array([150, 3, 77])
    np.testing.assert_allclose(predict(model, images, picked), whole[picked], atol=1e-5)
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert whole.dtype == np.float64


def test_repeats_are_averaged_and_their_agreement_is_told(digits: Dataset) -> None:
    one, two = score_examples(digits, spec(), CPU), score_examples(digits, spec(repeats=2), CPU)
    assert one.agreement == {}
    assert set(two.agreement) >= {"loss", "margin", "el2n"}
    assert len(two.results) == 2
    # The first repeat is the training that one repeat is, so the average lies between it and another.
    other = 2 * two.scores.frame["loss"] - one.scores.frame["loss"]
    assert (other > 0).all()
    assert not np.allclose(other, one.scores.frame["loss"])
    again = score_examples(digits, spec(), CPU)
    assert one.scores.frame.equals(again.scores.frame)


def test_held_out_examples_are_scored_by_a_model_that_did_not_see_them(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_on: list[set[int]] = []
    real = scorer._train

    def watch(subset: object, *args: object, **kwargs: object) -> object:
        trained_on.append(set(subset.train.example_ids.tolist()))  # type: ignore[attr-defined]
        return real(subset, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(scorer, "_train", watch)
    scoring = score_examples(digits, spec(folds=3), CPU)
    assert len(scoring.results) == 4
    assert np.isfinite(scoring.scores.frame["heldout_loss"]).all()
    folds = assign_folds(digits.train, 3, seed=0)
    for fold, seen in enumerate(trained_on[1:]):
        held_out = set(digits.train.example_ids[folds == fold].tolist())
        assert not held_out & seen
        assert len(held_out) + len(seen) == 200


def test_folds_have_every_class_and_do_not_follow_the_order(digits: Dataset) -> None:
    folds = assign_folds(digits.train, 4, seed=1)
    counts = np.array([np.bincount(folds[digits.train.labels == c], minlength=4) for c in range(10)])
    assert counts.max() - counts.min() <= np.ptp(counts.sum(axis=1)) // 4 + 1
    mixed = np.random.default_rng(0).permutation(200)
    shuffled = digits.train.take(mixed)
    assert np.array_equal(assign_folds(shuffled, 4, seed=1), folds[mixed])


def test_a_scoring_model_that_diverges_is_refused(digits: Dataset) -> None:
    with pytest.raises(TrainingFailed, match="scoring model diverged in epoch 1"):
        score_examples(digits, spec(rate=1e12, optimizer="sgd"), CPU)
