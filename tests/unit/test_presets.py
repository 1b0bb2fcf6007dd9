"""Presets are typed by name without being read, so each must be a study that can run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.proxies import TARGET, Proxy
from proxyflow.strategies import Random
from proxyflow.studies.presets import PUBLISHED, load_strategies, presets, strategy_lists


@pytest.mark.parametrize("name", list(strategy_lists))
def test_a_named_list_has_the_target_and_no_strategy_twice(name: str) -> None:
    found = load_strategies(name)
    assert TARGET in found
    assert len(found) == len(strategy_lists[name].split())


def test_the_published_list_is_the_published_table_in_canonical_spelling() -> None:
    assert [strategy.canonical for strategy in load_strategies("paper")] == list(PUBLISHED.values())


def test_what_is_no_named_list_is_read_as_a_list() -> None:
    assert load_strategies("full,random:0.1") == (TARGET, Proxy(Random(0.1)))
    with pytest.raises(InvalidValue, match="strategy=papr"):
        load_strategies("papr")


@pytest.mark.parametrize("name", list(presets))
def test_a_preset_is_described_and_names_what_exists(name: str) -> None:
    preset = presets[name]
    assert preset.description
    assert all(each.replace(**preset.base) for each in preset.trainer.grids[preset.grid]())
    shorter = [strategy.epochs(preset.epochs) for strategy in load_strategies(preset.strategies)]
    assert max(shorter) == preset.epochs


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"preset=domo .*did you mean demo"):
        presets["domo"]


def test_the_published_list_is_all_of_the_table() -> None:
    table = pd.read_csv(Path(__file__).parents[1] / "golden" / "table2.csv")
    labels = set(table[table.columns[0]])
    assert labels == set(PUBLISHED)
    assert len(load_strategies("paper")) == len(PUBLISHED) == 24
