"""The checks for authors of plug-ins find what they are for: each of these plug-ins breaks promises, and they say which."""

from __future__ import annotations

import dataclasses
import doctest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import proxyflow.testing
from proxyflow.core.registry import Registry
from proxyflow.core.settings import Number, setting
from proxyflow.data.catalog import DataOptions
from proxyflow.data.images.listing import Found, Listing
from proxyflow.data.images.sources import datasets
from proxyflow.data.images.sources.base import ImageSource
from proxyflow.scores import Floats, Score, ScoreInputs, known_scores
from proxyflow.strategies import ExamplePool, Strategy, strategies
from proxyflow.studies.executors import executors
from proxyflow.studies.executors.local import LocalExecutor
from proxyflow.testing import Check, dataset_checks, executor_checks, run_checks, score_checks, strategy_checks


@pytest.fixture(autouse=True)
def own_entries() -> Iterator[None]:
    """What a test registers is gone after it."""
    registries: tuple[Registry[Any], ...] = (strategies, datasets, executors)
    before = [dict(registry._items) for registry in registries]
    yield
    for registry, items in zip(registries, before, strict=True):
        registry._items = items


def broken(checks: tuple[Check, ...]) -> set[str]:
    """Names of the checks that fail, each with a message."""
    found: dict[str, str] = {}
    for check in checks:
        try:
            check()
        except AssertionError as error:
            found[check.name] = str(error)
    assert all(text.strip() for text in found.values())
    return set(found)


@dataclasses.dataclass(frozen=True)
class Lowest(Strategy):
    """The examples with the lowest ids, which say nothing of their contents."""

    name = "lowest"
    summary = "the F examples with the lowest ids"
    family = "Wrong"
    source = "nobody, 2024"

    fraction: float = setting(dataclasses.MISSING, Number(low=0, high=1, example="0.5"), "share", symbol="F")

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> np.ndarray:
        return np.argsort(pool.ids)[: max(1, round(self.fraction * len(pool)))]


@dataclasses.dataclass(frozen=True)
class Untold(Lowest):
    """Chooses by a score without saying so, and says that it is balanced."""

    name = "untold"
    balanced = True  # type: ignore[assignment]

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> np.ndarray:
        loss = pool.scores.get("loss", np.zeros(len(pool)))
        return np.argsort(loss)[: max(1, round(self.fraction * len(pool)))]


@dataclasses.dataclass(frozen=True)
class Redrawn(Lowest):
    """Says that it is nested, and draws each size anew."""

    name = "redrawn"
    nested = True

    def _choose(self, pool: ExamplePool, rng: np.random.Generator) -> np.ndarray:
        return rng.choice(len(pool), max(1, round(self.fraction * len(pool))), replace=False)


def test_a_strategy_that_only_says_that_it_is_nested_is_found() -> None:
    strategies.add("redrawn", Redrawn)
    assert "a_larger_fraction_selects_a_superset_where_it_is_nested" in broken(strategy_checks(Redrawn))


def test_a_strategy_whose_choice_depends_on_ids_is_found() -> None:
    strategies.add("lowest", Lowest)
    names = broken(strategy_checks(Lowest))
    assert {"other_ids_give_the_same_contents", "another_seed_changes_the_choice_exactly_where_it_says_so"} <= names
    assert "it_chooses_existing_examples_each_once_and_sorted" not in names


def test_a_strategy_that_says_something_else_than_it_does_is_found() -> None:
    strategies.add("untold", Untold)
    names = broken(strategy_checks(Untold))
    assert {
        "it_asks_for_scores_exactly_where_it_needs_them",
        "a_balanced_choice_has_every_class_in_proportion",
    } <= names


def test_all_that_fails_is_named_together() -> None:
    strategies.add("lowest", Lowest)
    names = broken(strategy_checks(Lowest))
    with pytest.raises(AssertionError) as caught:
        run_checks(strategy_checks(Lowest))
    assert all(name in str(caught.value) for name in names)
    run_checks(())


def ranks(evidence: ScoreInputs) -> Floats:
    """Places among the others, from sure to doubtful."""
    assert evidence.model is not None
    return np.argsort(np.argsort(evidence.model.logits.max(axis=1))).astype(np.float64)


def test_scores_that_break_a_promise_are_found() -> None:
    right = known_scores["loss"]
    assert not broken(score_checks(right))
    turned = dataclasses.replace(right, higher_is_harder=False)
    assert broken(score_checks(turned)) == {
        "an_example_that_is_learnt_for_good_is_easier_than_one_that_the_model_wavers_on"
    }
    placed = Score("place", "nobody, 2024", higher_is_harder=False, needs="model", compute=ranks)
    assert {"an_example_is_scored_by_itself", "a_constant_added_to_all_logits_of_an_example_does_not_matter"} <= broken(
        score_checks(placed)
    )
    single = dataclasses.replace(right, compute=lambda evidence: right.compute(evidence).astype(np.float32))
    assert "it_gives_every_example_one_finite_float64" in broken(score_checks(single))


class Changing(ImageSource):
    """Other pictures at each look."""

    description = " "
    takes_path = False
    cached = False

    def find(self, path: str, data_dir: Path) -> Found:
        images = np.random.default_rng().integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
        return Found(
            "", lambda: Listing.of_arrays(["a", "b"], images, np.arange(40) % 2), image_size=8, own_split=False
        )


def test_a_data_set_that_is_never_the_same_is_found(tmp_path: Path) -> None:
    datasets.add("changing", Changing())
    names = broken(dataset_checks("changing", DataOptions(tmp_path)))
    assert {"loading_it_again_gives_the_same", "it_says_what_it_is"} <= names
    assert "training_ids_count_the_training_order" not in names


class Crowded(LocalExecutor):
    """Has room for everything."""

    description = "this process\nfor all"

    def jobs(self, resources: Any) -> int:
        return 2 * (resources.jobs or 1)


def test_an_executor_that_promises_more_than_was_asked_for_is_found() -> None:
    executors.add("crowded", Crowded())
    checks = [check for check in executor_checks("crowded") if "each_task_once" not in check.name]
    assert broken(tuple(checks)) == {
        "it_says_in_a_line_what_it_is",
        "what_it_has_no_room_for_is_refused_before_anything_is_begun",
    }


def test_the_examples_in_the_documentation_work() -> None:
    assert doctest.testmod(proxyflow.testing) == (0, 6)
