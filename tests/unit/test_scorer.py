"""Scores are taken from a model in eval mode on plain images, and do not depend on batches or order."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from proxyflow.data.batches import DeviceImages, View
from proxyflow.data.catalog import Dataset, load_dataset
from proxyflow.errors import InvalidValue, TrainingFailed
from proxyflow.scoring import scorer
from proxyflow.scoring.measures import el2n, forgetting_events, loss, measures
from proxyflow.scoring.scorer import assign_folds, confusion_of, look_at, score_examples
from proxyflow.scoring.spec import ScoringSpec, early_epochs
from proxyflow.strategies import Full
from proxyflow.subsets import choose_subset
from proxyflow.training.engine import TrainingSpec, get_engine
from proxyflow.training.hyperparameters import Hyperparameters, TrainingSettings
from proxyflow.training.models import build_model, embed

CPU = torch.device("cpu")
SETTINGS = TrainingSettings(epochs=2, batch_size=32, image_size=8)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    everything = load_dataset("digits")
    return dataclasses.replace(everything, train=everything.train.take(np.arange(200)))


def spec(
    repeats: int = 1,
    folds: int = 0,
    rate: float = 0.003,
    optimizer: str = "adam",
    engine: str = "fast",
    early: tuple[int, ...] = (),
) -> ScoringSpec:
    hyperparameters = Hyperparameters(arch="xresnet18", learning_rate=rate, optimizer=optimizer)
    return ScoringSpec(TrainingSpec(hyperparameters, SETTINGS, 0, engine), repeats, folds, early)


def view_of(dataset: Dataset) -> DeviceImages:
    return DeviceImages(dataset.train, tuple(range(10)), View(8, "padded", dataset.mean, dataset.std), CPU)


def test_a_look_does_not_depend_on_the_batch_and_leaves_batch_norm_alone(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_model(Hyperparameters(arch="xresnet18"), 10, seed=0)
    images = view_of(digits)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    whole = look_at(model, images, keep_embeddings=True)
    picked = np.array([150, 3, 77])
    np.testing.assert_allclose(look_at(model, images, picked).logits, whole.logits[picked], atol=1e-5)
    monkeypatch.setattr(scorer, "VALID_BATCH", 7)
    np.testing.assert_allclose(look_at(model, images).logits, whole.logits, atol=1e-5)
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert whole.logits.dtype == whole.lengths.dtype == np.float64
    assert whole.embeddings is not None
    assert whole.embeddings.shape == (200, 512)
    np.testing.assert_allclose(whole.lengths, np.linalg.norm(whole.embeddings.astype(np.float64), axis=1), rtol=1e-6)


def test_embeddings_are_what_the_last_layer_takes_in() -> None:
    model = build_model(Hyperparameters(arch="xresnet18"), 10, seed=0).eval()
    images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        embeddings, logits = embed(model, images)
        assert torch.equal(logits, model(images))
        assert torch.equal(logits, list(model.children())[-1](embeddings))


@pytest.mark.parametrize("engine", ["fast", "fastai"])
def test_scores_are_those_of_the_plain_training_of_the_same_seed(digits: Dataset, engine: str) -> None:
    chosen = spec(engine=engine)
    scoring = score_examples(digits, chosen, CPU)
    full = choose_subset(digits, Full(), 0)
    history = np.full((2, 200), np.nan)
    early: list[np.ndarray] = []

    def watch(index: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, epoch: int) -> None:
        history[epoch, index.numpy()] = (logits.argmax(1) == labels).numpy()

    def look(model: torch.nn.Module, epoch: int) -> None:
        model.eval()
        with torch.no_grad():
            early.append(model(view_of(digits).batch(torch.arange(200))).double().numpy())

    plain = get_engine(engine).train(full, chosen.training, CPU, on_batch=watch, on_model=look)
    # Looking at a training does not change it.
    assert [r.train_loss for r in plain.result.records] == [r.train_loss for r in scoring.results[0].records]
    frame, labels = scoring.scores.frame, digits.train.labels
    np.testing.assert_allclose(frame["loss"], loss(early[1], labels), atol=1e-4)
    np.testing.assert_allclose(frame["el2n"], el2n(early[0], labels), atol=1e-4)
    assert frame["el2n"].equals(frame["el2n_epoch_1"].rename("el2n"))
    assert frame["forgetting_events"].tolist() == forgetting_events(history).tolist()


def test_the_order_of_the_files_does_not_change_what_models_say(digits: Dataset) -> None:
    model = build_model(Hyperparameters(arch="xresnet18"), 10, seed=0)
    made = scorer._Scorer(digits, spec(), CPU, None)
    mixed = np.random.default_rng(0).permutation(200)
    other = dataclasses.replace(digits, train=digits.train.take(mixed))
    again = scorer._Scorer(other, spec(), CPU, None)
    assert np.array_equal(look_at(model, made.images).logits, look_at(model, again.images).logits)
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
    assert set(measures) - set(scoring.scores.names) == {"heldout_loss"}
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
        trained_on.append(set(subset.train.example_ids.tolist()))  # type: ignore[attr-defined]
        return real(self, subset, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(scorer._Scorer, "_train", watch)
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


def test_copies_of_an_image_share_a_fold(digits: Dataset) -> None:
    twice = digits.train.take(np.r_[np.arange(200), np.arange(50)])
    folds = assign_folds(twice, 5, seed=0)
    assert np.array_equal(folds[200:], folds[:50])
    assert np.bincount(folds[:200]).tolist() == [40] * 5


def test_more_folds_than_examples_are_refused_before_anything_is_trained(digits: Dataset) -> None:
    few = dataclasses.replace(digits, train=digits.train.take(np.arange(30)))
    with pytest.raises(InvalidValue, match="holdout_folds=40 is not accepted: digits has 30 training examples"):
        score_examples(few, spec(folds=40), CPU)


def test_a_scoring_model_that_diverges_is_refused(digits: Dataset) -> None:
    with pytest.raises(TrainingFailed, match="scoring model diverged in epoch 1"):
        score_examples(digits, spec(rate=1e12, optimizer="sgd"), CPU)


@pytest.mark.parametrize(
    ("epochs", "expected"), [(1, (1,)), (2, (1,)), (4, (1, 2)), (5, (1, 3)), (20, (2, 5, 10)), (200, (20, 50, 100))]
)
def test_early_epochs_are_a_tenth_a_quarter_and_half(epochs: int, expected: tuple[int, ...]) -> None:
    assert early_epochs(epochs) == expected


def test_wanted_epochs_come_after_the_usual_so_that_they_do_not_move_el2n() -> None:
    assert early_epochs(20, {1, 5}) == (2, 5, 10, 1)


def test_an_epoch_that_the_training_does_not_reach_is_refused() -> None:
    with pytest.raises(
        InvalidValue, match="early_epochs=1,3 is not accepted: the scoring model trains for epochs 1 to 2"
    ):
        spec(early=(1, 3))


def test_confusion_is_the_mean_of_what_each_class_is_given() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]))
    table = confusion_of(logits, np.array([0, 0, 1]))
    np.testing.assert_allclose(table, [[0.6, 0.225, 0.175], [0.1, 0.8, 0.1], [0, 0, 0]], atol=1e-12)
