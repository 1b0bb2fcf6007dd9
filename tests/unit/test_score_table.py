"""Ranking by a column that is absent or not finite would silently follow the order of the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import random_images, random_scores

from proxyflow.errors import UserError
from proxyflow.scoring.measures import measures
from proxyflow.scoring.table import ExampleScores


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
    assert scores.names == list(measures)
    fewer = ExampleScores(scores.frame.drop(columns=["el2n", "heldout_loss"]))
    assert set(measures) - set(fewer.names) == {"el2n", "heldout_loss"}


def test_ranking_by_a_column_that_is_not_there_says_what_is(scores: ExampleScores) -> None:
    table = ExampleScores(scores.frame.drop(columns=["el2n", "heldout_loss"]), "abc123")
    with pytest.raises(UserError) as caught:
        table.check_ranks("el2n")
    assert "by=el2n" in str(caught.value)
    assert "abc123" in str(caught.value)
    assert "loss, margin" in str(caught.value)
    with pytest.raises(UserError, match="holdout_folds"):
        table.check_ranks("heldout_loss")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_ranking_by_scores_that_are_not_finite_is_refused_with_their_number(
    scores: ExampleScores, value: float
) -> None:
    frame = scores.frame.copy()
    frame.loc[[1, 3], "loss"] = value
    with pytest.raises(UserError, match=r"by=loss: 2 of 5 scores of run abc123 are not finite"):
        ExampleScores(frame, "abc123").check_ranks("loss")
    ExampleScores(frame, "abc123").check_ranks("margin")


def test_a_finite_column_ranks(scores: ExampleScores) -> None:
    for name in measures:
        scores.check_ranks(name)


def test_a_saved_table_comes_back_bit_for_bit(scores: ExampleScores, tmp_path: Path) -> None:
    path = tmp_path / "scores" / "scores.parquet"
    scores.save(path)
    loaded = ExampleScores.load(path, "abc123")
    pd.testing.assert_frame_equal(loaded.frame, scores.frame, check_exact=True, check_dtype=False)
    assert loaded.run_id == "abc123"
    assert [found.name for found in path.parent.iterdir()] == ["scores.parquet"]


def test_the_file_has_the_types_that_other_programs_rely_on(scores: ExampleScores, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    scores.save(tmp_path / "scores.parquet")
    schema = pq.read_schema(tmp_path / "scores.parquet")
    types = {name: str(schema.field(name).type) for name in schema.names}
    assert (types["example_id"], types["label"]) == ("int64", "int64")
    assert types["content_hash"] in ("string", "large_string")
    assert all(types[name] == "double" for name in (*measures, "correct"))
