"""Replays of searches: their memories have other configurations than a replicate chooses from, and workers share them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.search import PART, RELATED, UNRELATED, Case, can_run, memory_of, remembered, searched
from proxyflow.tables import REPORTS, load


@pytest.fixture(scope="module")
def case() -> Case:
    return Case.of(REPORTS / "digits", "flops").remembering(
        load(REPORTS / name) for name in ("digits", "emoji", "sections")
    )


def test_memories_are_related_if_their_trainer_is_the_same(case: Case) -> None:
    assert [[memory.name for memory in found] for found in (case.related, case.unrelated)] == [["emoji"], ["sections"]]
    assert can_run(RELATED, case)
    assert not can_run(UNRELATED, replace(case, unrelated=()))


def test_a_memory_has_none_of_the_configurations_to_choose_from(case: Case) -> None:
    chosen = [case.table.configurations[c] for c in case.box.part_of(3, PART)]
    for memory in (*case.related, *case.unrelated):
        part = remembered(memory, case, 3)
        assert len(part.configurations) == len(part.values) == len(case.box) - len(chosen)
        assert not [each for each in part.configurations if each in chosen]
        assert part.values == remembered(memory, case, 3).values
        whole = dict(zip(map(str, memory.configurations), memory.values, strict=True))
        assert [whole[str(each)] for each in part.configurations] == list(part.values)


def test_a_memory_is_the_mean_of_the_target_over_its_seeds() -> None:
    table = load(REPORTS / "emoji")
    memory = memory_of(table)
    seeds = table.runs.query("strategy == 'full'")["seed"].unique()
    expected = sum(table.value(7, "full", seed=seed) for seed in seeds) / len(seeds)
    assert memory.values[7] == pytest.approx(expected)


def test_replays_with_several_workers_train_nothing_twice_and_keep_the_budget(case: Case) -> None:
    one, four = (searched(case, 0, 2.0, workers=workers) for workers in (1, 4))
    assert one.trace != four.trace, "who decides with four has not seen what the others train"
    for done in (one, four):
        trials = [each.trial for each in done.knowledge.observations]
        assert len(set(trials)) == len(trials) > 5
        assert not done.knowledge.pending, "what was begun has ended"
        assert 1 < sum(each.cost for each in done.knowledge.observations) <= 2.0 + 1e-9
