"""The memories with which searches are replayed: other configurations than those that a replicate chooses from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.search import PART, RELATED, UNRELATED, Case, can_run, memory_of, remembered
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
