"""A subset carries all that a training sees, so a wrong row here is a wrong result that nothing later would notice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from made_up import digits, noise_dataset, random_scores

from proxyflow.core.errors import UserError
from proxyflow.data.images.store import ImageSet
from proxyflow.data.protocol import Dataset, fingerprint
from proxyflow.scores.table import ExampleScores
from proxyflow.strategies import parse_strategy
from proxyflow.subsets.subset import Subset, align_scores, choose_subset

SIZES = {
    "full": 1297,
    "random:0.1": 130,
    "half-classes:1.0": 651,
    "half-classes:0.5": 326,
    "other-half-classes:0.5": 323,
    "easiest:0.1": 130,
    "easiest:0.25,by=el2n,balance=class": 324,
    "hardest:0.1": 130,
    "hardest:0.5,drop=0.05": 584,
    "hardest:0.25,by=margin,balance=class": 324,
    "curriculum:0.25,order=random": 1297,
}


@pytest.fixture(scope="module")
def scores() -> ExampleScores:
    return random_scores(digits().train)


@pytest.mark.parametrize("spelling", SIZES)
def test_every_strategy_gives_its_examples_as_the_data_set_has_them(spelling: str, scores: ExampleScores) -> None:
    dataset = digits()
    subset = choose_subset(dataset, parse_strategy(spelling), 0, scores)
    assert len(subset.train) == SIZES[spelling]
    ids = subset.train.ids
    assert len(np.unique(ids)) == len(ids)
    original = dataset.train.take(ids)
    assert np.array_equal(subset.train.images, original.images)
    assert np.array_equal(subset.train.labels, original.labels)
    assert subset.strategy == spelling
    assert (subset.dataset, subset.dataset_fingerprint) == ("digits", dataset.fingerprint)
    assert subset.preprocessing == dataset.preprocessing
    assert sum(subset.class_counts.values()) == len(ids)


@pytest.mark.parametrize("spelling", [name for name in SIZES if "half" not in name])
def test_validation_is_always_the_same_500_examples(spelling: str, scores: ExampleScores) -> None:
    subset = choose_subset(digits(), parse_strategy(spelling), 3, scores)
    assert fingerprint(subset.valid) == fingerprint(digits().valid)
    assert subset.classes == tuple(range(10))


@pytest.mark.parametrize(
    ("spelling", "classes"),
    [("half-classes:0.5", range(5)), ("half-classes:1.0", range(5)), ("other-half-classes:0.5", range(5, 10))],
)
def test_half_of_the_classes_are_validated_on_their_own_examples_only(spelling: str, classes: range) -> None:
    subset = choose_subset(digits(), parse_strategy(spelling), 0)
    assert subset.classes == tuple(classes)
    assert set(subset.train.labels) == set(classes)
    assert np.bincount(subset.valid.labels, minlength=10).tolist() == [50 * (label in classes) for label in range(10)]
    assert set(subset.valid.content_hashes) <= set(digits().valid.content_hashes)
    assert list(subset.class_counts) == [str(label) for label in classes]


@pytest.mark.parametrize("spelling", ["half-classes:1.0", "other-half-classes:1.0"])
def test_nothing_is_trained_on_that_is_not_validated_where_a_class_has_no_training_example(spelling: str) -> None:
    # The empty class is in the other half: in its own it would be refused.
    empty = 5 if spelling.startswith("half") else 0
    train = [label for label in range(6) if label != empty] * 4
    dataset = noise_dataset(train=train, valid=[0, 1, 2, 3, 4, 5], n_classes=6)
    subset = choose_subset(dataset, parse_strategy(spelling), 0)
    assert set(subset.train.labels) <= set(subset.classes)
    assert sum(subset.class_counts.values()) == len(subset.train)


@pytest.mark.parametrize(("spelling", "classes"), [("half-classes:1.0", {0, 1, 2}), ("other-half-classes:1.0", {3, 4})])
def test_the_first_half_of_an_odd_number_of_classes_is_the_larger(spelling: str, classes: set[int]) -> None:
    dataset = noise_dataset(train=[0, 1, 2, 3, 4] * 4, valid=[0, 1, 2, 3, 4], n_classes=5)
    subset = choose_subset(dataset, parse_strategy(spelling), 0)
    assert set(subset.train.labels) == set(subset.valid.labels) == set(subset.classes) == classes


def test_half_of_too_few_classes_is_refused() -> None:
    dataset = noise_dataset(train=[0, 1] * 5, valid=[0, 1], n_classes=2)
    with pytest.raises(UserError, match=r"half-classes:1\.0: 1 of 2 classes"):
        choose_subset(dataset, parse_strategy("half-classes:1"), 0)


def loss_of(images: ImageSet, scores: ExampleScores, column: str = "loss") -> np.ndarray:
    by_hash = dict(zip(scores.frame["content_hash"], scores.frame[column], strict=True))
    return np.array([by_hash[content] for content in images.content_hashes])


def test_the_easiest_and_hardest_are_those_of_least_and_greatest_loss(scores: ExampleScores) -> None:
    everything = np.sort(loss_of(digits().train, scores))
    easiest = choose_subset(digits(), parse_strategy("easiest:0.1"), 0, scores)
    hardest = choose_subset(digits(), parse_strategy("hardest:0.1"), 0, scores)
    assert np.array_equal(np.sort(loss_of(easiest.train, scores)), everything[:130])
    assert np.array_equal(np.sort(loss_of(hardest.train, scores)), everything[-130:])


def test_the_smallest_margin_is_the_hardest(scores: ExampleScores) -> None:
    hardest = choose_subset(digits(), parse_strategy("hardest:0.1,by=margin"), 0, scores)
    everything = np.sort(loss_of(digits().train, scores, "margin"))
    assert np.array_equal(np.sort(loss_of(hardest.train, scores, "margin")), everything[:130])


def test_a_subset_carries_the_scores_that_it_was_chosen_by(scores: ExampleScores) -> None:
    subset = choose_subset(digits(), parse_strategy("easiest:0.1,by=el2n"), 0, scores)
    assert subset.scores is not None
    assert np.array_equal(subset.scores, loss_of(subset.train, scores, "el2n"))
    assert subset.score_run == "score-run"


def test_a_strategy_without_need_of_scores_ignores_those_it_is_given(scores: ExampleScores) -> None:
    with_scores = choose_subset(digits(), parse_strategy("random:0.1"), 0, scores)
    without = choose_subset(digits(), parse_strategy("random:0.1"), 0)
    assert with_scores.fingerprint == without.fingerprint
    assert (with_scores.scores, with_scores.score_run) == (None, "")


@pytest.mark.parametrize("spelling", ["easiest:0.1", "hardest:0.1"])
def test_ranking_without_scores_is_refused_with_what_to_do(spelling: str) -> None:
    with pytest.raises(UserError, match=f"{spelling} needs scores: .*score"):
        choose_subset(digits(), parse_strategy(spelling), 0)


def with_column(scores: ExampleScores, column: str, row: int, value: object) -> ExampleScores:
    frame = scores.frame.copy()
    frame.loc[row, column] = value
    return ExampleScores(frame, scores.run_id)


@pytest.mark.parametrize(("column", "value"), [("loss", np.nan), ("loss", np.inf), ("margin", np.nan)])
def test_scores_that_are_not_finite_are_refused(scores: ExampleScores, column: str, value: float) -> None:
    # The margin decides ties of the loss, so it has to rank too.
    with pytest.raises(UserError, match=f"by={column}: 1 of 1297 scores of run score-run are not finite"):
        choose_subset(digits(), parse_strategy("easiest:0.1"), 0, with_column(scores, column, 7, value))


def test_a_broken_column_that_is_not_ranked_by_does_no_harm(scores: ExampleScores) -> None:
    broken = with_column(scores, "entropy", 7, np.nan)
    choose_subset(digits(), parse_strategy("easiest:0.1"), 0, broken)
    with pytest.raises(UserError, match="by=entropy"):
        choose_subset(digits(), parse_strategy("easiest:0.1,by=entropy"), 0, broken)


def test_a_measure_that_was_not_taken_is_refused(scores: ExampleScores) -> None:
    fewer = ExampleScores(scores.frame.drop(columns="heldout_loss"), "score-run")
    with pytest.raises(UserError, match=r"by=heldout_loss is not in the score table of run score-run.*holdout_folds"):
        choose_subset(digits(), parse_strategy("easiest:0.1,by=heldout_loss"), 0, fewer)


@pytest.mark.parametrize("other", ["validation examples", "one image less", "one pixel", "one label"])
def test_scores_of_other_examples_are_refused(scores: ExampleScores, other: str) -> None:
    changed = {
        "validation examples": random_scores(digits().valid),
        "one image less": ExampleScores(scores.frame.iloc[1:], "score-run"),
        "one pixel": with_column(scores, "content_hash", 3, "0" * 64),
        "one label": with_column(scores, "label", 3, (scores.frame["label"][3] + 1) % 10),
    }[other]
    with pytest.raises(UserError, match="the scores of run score-run are of other examples"):
        choose_subset(digits(), parse_strategy("easiest:0.1"), 0, changed)


def test_a_shuffled_score_table_is_matched_by_content(scores: ExampleScores) -> None:
    shuffled = ExampleScores(scores.frame.sample(frac=1, random_state=1), "score-run")
    aligned = align_scores(shuffled, digits().train)
    pd.testing.assert_frame_equal(aligned.frame, scores.frame)
    assert aligned.run_id == "score-run"
    strategy = parse_strategy("hardest:0.3,drop=0.1")
    assert (
        choose_subset(digits(), strategy, 0, shuffled).fingerprint
        == choose_subset(digits(), strategy, 0, scores).fingerprint
    )


def test_scores_follow_the_examples_into_any_order_of_the_training_set(scores: ExampleScores) -> None:
    order = np.random.default_rng(0).permutation(1297)
    shuffled = digits().train.take(order)
    renumbered = ImageSet.of(shuffled.images, shuffled.labels, np.arange(1297))
    aligned = align_scores(scores, renumbered)
    assert np.array_equal(aligned.frame["loss"], scores.frame["loss"].to_numpy()[order])
    dataset = dataclasses.replace(digits(), train=renumbered)
    strategy = parse_strategy("easiest:0.2")
    assert (
        choose_subset(dataset, strategy, 0, scores).fingerprint
        == choose_subset(digits(), strategy, 0, scores).fingerprint
    )


def test_examples_that_are_pixel_for_pixel_equal_keep_a_score_each() -> None:
    noise = noise_dataset(train=[0, 0, 1, 1], valid=[0, 1], n_classes=2).train
    doubled = ImageSet.of(noise.images[[0, 0, 1, 2, 3]], noise.labels[[0, 0, 1, 2, 3]], np.arange(5))
    table = random_scores(doubled)
    aligned = align_scores(ExampleScores(table.frame.iloc[::-1], "score-run"), doubled)
    assert np.array_equal(aligned.frame["loss"], table.frame["loss"])


def subset_of(dataset: Dataset, spelling: str, seed: int = 0) -> Subset:
    return choose_subset(dataset, parse_strategy(spelling), seed)


def test_the_fingerprint_is_of_what_is_trained_on_and_judged_by() -> None:
    full = subset_of(digits(), "full")
    assert subset_of(digits(), "full", seed=5).fingerprint == full.fingerprint
    others = [subset_of(digits(), "random:0.5"), subset_of(digits(), "random:0.5", 1)]
    others.append(subset_of(digits(), "half-classes:1.0"))
    others.append(dataclasses.replace(full, valid=full.valid.take(np.arange(499))))
    others.append(dataclasses.replace(full, classes=full.classes[:-1]))
    assert len({full.fingerprint, *(other.fingerprint for other in others)}) == 6


def test_class_counts_name_classes_without_any_example() -> None:
    dataset = noise_dataset(train=[0] * 20 + [1], valid=[0, 1, 2], n_classes=3)
    subset = subset_of(dataset, "full")
    assert subset.class_counts == {"class 0": 20, "class 1": 1, "class 2": 0}
