"""A curriculum shows as much as a random part, the first of the ranking first, from draws that only seed and step decide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_training import CPU, copied, few_digits, planned_of, spec_of, untimed
from made_up import digits, random_scores

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.data.images.batches import Lesson
from proxyflow.strategies import Curriculum, parse_strategy
from proxyflow.studies.plan import pool_without_scores
from proxyflow.subsets import Subset, choose_subset
from proxyflow.subsets.artifact import read_subset, write_subset
from proxyflow.trainers import Job
from proxyflow.trainers.images.checkpoints import TrainingCheckpoint

POOL = replace(digits(), train=few_digits(0.1).train)
SCORES = random_scores(POOL.train)


def subset_of(text: str, seed: int = 0) -> Subset:
    return choose_subset(POOL, parse_strategy(text), seed, SCORES)


@pytest.mark.parametrize(
    ("pace", "shares"),
    [
        ("linear", {0.0: 0.2, 0.4: 0.6, 0.8: 1.0, 0.9: 1.0}),
        ("root", {0.0: 0.2, 0.4: np.sqrt(0.04 + 0.96 / 2), 0.8: 1.0}),
        ("step", {0.0: 0.2, 0.79: 0.2, 0.8: 1.0}),
    ],
)
def test_the_part_grows_as_the_pace_says(pace: str, shares: dict[float, float]) -> None:
    curriculum = Curriculum(0.25, pace=pace)
    assert {progress: curriculum.share(progress) for progress in shares} == pytest.approx(shares)


@given(
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.sampled_from(["linear", "step", "root"]),
    st.integers(1, 40),
    st.integers(1, 9),
)
def test_every_draw_is_of_the_part_that_is_open(start: float, ramp: float, pace: str, n: int, steps: int) -> None:
    curriculum = Curriculum(0.5, pace=pace, start=start, ramp=ramp)
    ranking = np.random.default_rng(n).permutation(n)
    size = max(1, n // 3)
    shares = [curriculum.share(step / steps) for step in range(steps)]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(start)
    for step, share in enumerate(shares):
        drawn = curriculum.draw(ranking, size, step, steps, seed=3)
        assert len(set(drawn.tolist())) == size
        assert set(drawn) <= set(ranking[: max(size, int(np.ceil(share * n)))])


def test_draws_depend_on_seed_and_step_alone() -> None:
    curriculum, ranking = Curriculum(0.5), np.arange(1000)
    draws = {(seed, step): tuple(curriculum.draw(ranking, 8, step, 10, seed)) for seed in (0, 1) for step in (0, 1, 9)}
    assert len(set(draws.values())) == len(draws)
    lesson = Lesson(curriculum, ranking, epochs=5)
    second = lesson.examples(0, epoch=1, steps=2, batch_size=8).reshape(2, 8)
    assert tuple(second[1]) == tuple(curriculum.draw(ranking, 8, 3, 10, 0))


@pytest.mark.parametrize(("order", "sign"), [("easy", 1), ("hard", -1)])
def test_the_ranking_is_that_of_the_score(order: str, sign: int) -> None:
    subset = subset_of(f"curriculum:0.25,order={order}")
    assert subset.order is not None
    losses = SCORES.frame["loss"].to_numpy()[subset.order]
    assert (np.diff(sign * losses) >= 0).all()
    assert len(subset.train) == len(POOL.train)


def test_a_random_order_needs_no_scores_and_another_is_refused_without() -> None:
    control = choose_subset(POOL, parse_strategy("curriculum:0.25,order=random"), 0)
    assert control.order is not None
    assert sorted(control.order) == list(range(len(POOL.train)))
    with pytest.raises(UserError):
        choose_subset(POOL, parse_strategy("curriculum:0.25"), 0)


def test_scores_are_charged_and_the_control_is_free() -> None:
    cost, free = subset_of("curriculum:0.25").selection, subset_of("curriculum:0.25,order=random").selection
    assert cost is not None
    assert free is not None
    assert cost.examples_seen == SCORES.cost_of(frozenset({"loss", "margin"})).examples_seen > 0  # type: ignore[union-attr]
    assert not free.examples_seen


def test_another_ranking_is_another_subset() -> None:
    found = {
        subset_of(text, seed).fingerprint
        for text in ("curriculum:0.25", "curriculum:0.25,order=hard", "curriculum:0.25,order=random")
        for seed in (0, 1)
    }
    # Distinct scores leave nothing to chance; a random order is one per seed.
    assert len(found) == 4
    assert subset_of("curriculum:0.25").fingerprint == subset_of("curriculum:0.5,pace=root").fingerprint
    assert subset_of("full").fingerprint not in found


def test_the_ranking_survives_files(tmp_path: Path) -> None:
    subset = subset_of("curriculum:0.25")
    write_subset(subset, tmp_path)
    again = read_subset(tmp_path)
    assert again.fingerprint == subset.fingerprint
    assert np.array_equal(again.order, subset.order)  # type: ignore[arg-type]


def test_a_ranking_is_one_subset_however_it_is_presented() -> None:
    spellings = ("curriculum:0.25", "curriculum:0.5,pace=root,ramp=0.5", "curriculum:0.25,start=0.5")
    assert {parse_strategy(each).subset_strategy.canonical for each in spellings} == {"curriculum:1.0"}
    other = parse_strategy("curriculum:0.25,order=hard,by=el2n").subset_strategy.canonical
    assert other == "curriculum:1.0,order=hard,by=el2n"


def test_a_part_that_is_everything_from_the_start_needs_no_order() -> None:
    parsed = parse_strategy("curriculum:0.25,order=hard,start=1,pace=step")
    assert parsed.canonical == "curriculum:0.25,order=random,start=1.0"
    assert not parsed.needs_scores


def test_an_epoch_of_one_example_is_refused_before_anything_is_scored() -> None:
    pool = pool_without_scores(POOL)
    assert "at least 2" in parse_strategy("curriculum:0.001").untrainable(pool)
    assert not parse_strategy("curriculum:0.1").untrainable(pool)


def test_it_presents_as_much_as_a_random_part() -> None:
    part = subset_of("random:0.5")
    shown = planned_of("curriculum:0.5", spec_of(2)).spec
    chosen = planned_of("random:0.5", spec_of(2)).spec
    whole = shown.trainer.train(Job(shown, subset_of("curriculum:0.5"), CPU)).result
    some = chosen.trainer.train(Job(chosen, part, CPU)).result
    assert (whole.steps, whole.examples_seen) == (some.steps, some.examples_seen)


def test_a_resumed_training_sees_the_same_examples() -> None:
    subset, spec = subset_of("curriculum:0.5"), planned_of("curriculum:0.5", spec_of(3)).spec
    kept: list[TrainingCheckpoint] = []
    whole = spec.trainer.train(Job(spec, subset, CPU, on_checkpoint=lambda each: kept.append(copied(each))))  # type: ignore[arg-type]
    resumed = spec.trainer.train(Job(spec, subset, CPU, start=kept[0]))
    assert untimed(resumed.result) == untimed(whole.result)


def test_a_subset_without_a_ranking_is_refused() -> None:
    spec = planned_of("curriculum:0.5", spec_of(1)).spec
    with pytest.raises(InvalidValue, match="no ranking"):
        spec.trainer.train(Job(spec, subset_of("full"), CPU))
