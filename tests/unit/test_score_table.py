"""Ranking by a column that is absent or not finite would silently follow the order of the files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import random_images, random_scores

from proxyflow.core.errors import UserError
from proxyflow.scores import known_scores
from proxyflow.scores.table import (
    CONFUSION_FILE,
    EMBEDDINGS_FILE,
    SUMMARY_FILE,
    TABLE_FILE,
    ExampleScores,
    SelectionCost,
)


@pytest.fixture
def scores() -> ExampleScores:
    return random_scores(random_images([0, 1, 2, 0, 1]), run_id="abc123")


@pytest.mark.parametrize("column", ["example_id", "content_hash", "label", "loss", "margin"])
def test_a_table_without_an_indispensable_column_is_refused(scores: ExampleScores, column: str) -> None:
    with pytest.raises(UserError, match=f"of run abc123 lacks the columns {column}$"):
        ExampleScores(scores.frame.drop(columns=column), "abc123")


def test_all_missing_columns_are_named_at_once(scores: ExampleScores) -> None:
    with pytest.raises(UserError, match="lacks the columns content_hash, margin"):
        ExampleScores(scores.frame.drop(columns=["margin", "content_hash"]))


def test_the_table_knows_which_measures_it_holds(scores: ExampleScores) -> None:
    assert scores.names == list(known_scores)
    fewer = ExampleScores(scores.frame.drop(columns=["el2n", "heldout_loss"]))
    assert set(known_scores) - set(fewer.names) == {"el2n", "heldout_loss"}


def test_ranking_by_a_column_that_is_not_there_says_what_is(scores: ExampleScores) -> None:
    table = ExampleScores(scores.frame.drop(columns=["el2n", "heldout_loss"]), "abc123")
    with pytest.raises(UserError) as caught:
        table.check("el2n")
    assert "by=el2n" in str(caught.value)
    assert "abc123" in str(caught.value)
    assert "loss, margin" in str(caught.value)
    with pytest.raises(UserError, match="holdout_folds"):
        table.check("heldout_loss")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_ranking_by_scores_that_are_not_finite_is_refused_with_their_number(
    scores: ExampleScores, value: float
) -> None:
    frame = scores.frame.copy()
    frame.loc[[1, 3], "loss"] = value
    with pytest.raises(UserError, match=r"by=loss: 2 of 5 scores of run abc123 are not finite"):
        ExampleScores(frame, "abc123").check("loss")
    ExampleScores(frame, "abc123").check("margin")


def test_a_finite_column_ranks(scores: ExampleScores) -> None:
    for name in known_scores:
        scores.check(name)


@pytest.fixture
def everything(scores: ExampleScores) -> ExampleScores:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(5, 4)).astype(np.float16)
    cost = (SelectionCost(1.5, 10.0, 1e9), SelectionCost(4.0, 40.0, 4e9))
    return dataclasses.replace(scores, embeddings=embeddings, confusion=rng.random((3, 3)), cost=cost)


def test_what_is_saved_comes_back_bit_for_bit(everything: ExampleScores, tmp_path: Path) -> None:
    folder = tmp_path / "scores"
    everything.save(folder, {"dataset": "noise"})
    loaded = ExampleScores.load(folder, "abc123")
    pd.testing.assert_frame_equal(loaded.frame, everything.frame, check_exact=True, check_dtype=False)
    assert loaded.run_id == "abc123"
    assert loaded.cost == everything.cost
    assert np.array_equal(loaded.confusion, everything.confusion)  # type: ignore[arg-type]
    assert np.array_equal(loaded.embeddings, everything.embeddings)  # type: ignore[arg-type]
    files = {TABLE_FILE, SUMMARY_FILE, EMBEDDINGS_FILE, CONFUSION_FILE}
    assert {found.name for found in folder.iterdir()} == files
    assert json.loads((folder / SUMMARY_FILE).read_text())["dataset"] == "noise"


def test_a_table_alone_can_be_read(everything: ExampleScores, tmp_path: Path) -> None:
    everything.save(tmp_path, {})
    for name in (SUMMARY_FILE, EMBEDDINGS_FILE, CONFUSION_FILE):
        (tmp_path / name).unlink()
    loaded = ExampleScores.load(tmp_path)
    assert (loaded.embeddings, loaded.confusion, loaded.cost) == (None, None, None)
    assert loaded.cost_of({"loss"}) is None


@pytest.mark.parametrize("name", [TABLE_FILE, SUMMARY_FILE, EMBEDDINGS_FILE, CONFUSION_FILE])
def test_a_damaged_file_is_named(everything: ExampleScores, tmp_path: Path, name: str) -> None:
    everything.save(tmp_path, {})
    (tmp_path / name).write_bytes(b"\0{]" * 10)
    with pytest.raises(UserError, match=f"{name} of score run abc123 cannot be read"):
        ExampleScores.load(tmp_path, "abc123")


def test_embeddings_of_other_examples_are_refused(everything: ExampleScores, tmp_path: Path) -> None:
    dataclasses.replace(everything, embeddings=np.zeros((4, 4), dtype=np.float16)).save(tmp_path, {})
    with pytest.raises(UserError, match=r"shape is \(4, 4\) of type F16, for 5 examples"):
        ExampleScores.load(tmp_path, "abc123")


@pytest.mark.parametrize("need", ["embeddings", "confusion"])
def test_what_a_run_did_not_keep_or_is_not_finite_is_not_chosen_by(everything: ExampleScores, need: str) -> None:
    everything.check(need)
    assert need in everything.holds
    with pytest.raises(UserError, match=f"kept no {need}"):
        dataclasses.replace(everything, **{need: None}).check(need)
    broken = np.array(getattr(everything, need))
    broken[0, 0] = np.inf
    with pytest.raises(UserError, match=f"{need}: 1 of"):
        dataclasses.replace(everything, **{need: broken}).check(need)


def test_an_epoch_that_was_not_looked_at_says_how_to_get_it(scores: ExampleScores) -> None:
    with pytest.raises(UserError, match="score with early_epochs=7"):
        scores.check("el2n_epoch_7")


def test_history_that_was_not_kept_is_said(scores: ExampleScores) -> None:
    without = ExampleScores(scores.frame.drop(columns="forgetting_events"), "abc123")
    with pytest.raises(UserError, match="which presentations in training were right"):
        without.check("forgetting_events")


def test_epochs_of_an_early_measure_follow_it_in_their_order(scores: ExampleScores) -> None:
    frame = scores.frame.assign(el2n_epoch_10=0.0, el2n_epoch_2=0.0, other_epoch_2=0.0)
    names = ExampleScores(frame).names
    begin = names.index("el2n")
    assert names[begin : begin + 3] == ["el2n", "el2n_epoch_2", "el2n_epoch_10"]
    assert "other_epoch_2" not in names


def test_what_is_not_finite_is_not_offered(everything: ExampleScores) -> None:
    frame = everything.frame.assign(el2n=np.nan)
    embeddings = np.full((5, 4), np.inf, dtype=np.float16)
    broken = dataclasses.replace(everything, frame=frame, embeddings=embeddings)
    assert set(everything.holds) - set(broken.holds) == {"el2n", "embeddings"}


def test_folds_are_charged_to_those_that_choose_by_them(everything: ExampleScores) -> None:
    assert everything.cost_of({"confusion"}) == SelectionCost(5.5, 50.0, 5e9)
    assert everything.cost_of({"loss", "margin"}) == SelectionCost(1.5, 10.0, 1e9)
    assert everything.cost_of({"heldout_loss", "margin"}) == SelectionCost(5.5, 50.0, 5e9)


def test_the_file_has_the_types_that_other_programs_rely_on(scores: ExampleScores, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    scores.save(tmp_path, {})
    schema = pq.read_schema(tmp_path / TABLE_FILE)
    types = {name: str(schema.field(name).type) for name in schema.names}
    assert (types["example_id"], types["label"]) == ("int64", "int64")
    assert types["content_hash"] in ("string", "large_string")
    assert all(types[name] == "double" for name in (*known_scores, "correct"))
