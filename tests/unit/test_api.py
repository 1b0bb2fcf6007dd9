"""What Python code calls gives the choices and the measures of the commands, and refuses what it cannot take."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_studies import published_study

import proxyflow as pf
import proxyflow.api
from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.summary import measure_study
from proxyflow.reporting.families import FAMILIES
from proxyflow.strategies import Curriculum, strategies
from proxyflow.testing.strategies import examples_of, make_pool

LABELS = np.repeat([3, 1, 2], [30, 50, 20])
LOSS = np.random.default_rng(0).permutation(100).astype(float)


def test_a_choice_is_of_positions_each_once() -> None:
    positions = pf.choose("random:0.1", LABELS, seed=1)
    assert positions.dtype == np.int64
    assert positions.tolist() == sorted(set(positions.tolist()))
    assert np.bincount(LABELS[positions]).tolist() == [0, 5, 2, 3]
    assert not np.array_equal(positions, pf.choose("random:0.1", LABELS, seed=2))


@pytest.mark.parametrize("form", [list, np.asarray, pd.Series, lambda labels: [f"class {label}" for label in labels]])
def test_labels_may_be_of_any_kind(form: Callable[[Any], Any]) -> None:
    expected = pf.choose("half-classes:0.5", LABELS)
    assert np.array_equal(pf.choose("half-classes:0.5", form(LABELS)), expected)


def test_every_strategy_chooses_what_it_chooses_in_a_study() -> None:
    """Whatever it needs is given; in a study the pool's order has no influence, and here it is that of the labels."""
    pool = make_pool()
    order = np.argsort(pool.content_hashes)
    given = {"scores": dict(pool.take(order).scores), "confusion": pool.confusion}
    assert pool.embeddings is not None
    tried = 0
    for cls in strategies.values():
        for strategy in examples_of(cls) if not cls.synthetic and cls is not Curriculum else ():
            chosen = pf.choose(strategy.canonical, pool.labels[order], 3, embeddings=pool.embeddings[order], **given)
            ids = pool.ids[order]
            assert np.array_equal(np.sort(ids[chosen]), strategy.select(pool, 3)), strategy.canonical
            tried += 1
    assert tried > len(strategies)


def test_a_proxy_in_two_spellings_is_one_proxy() -> None:
    rows = [
        (strategy, f"lr={number}", 0.3 + number / 40 + (strategy != "full") / 50)
        for strategy in ("full", "random:.25+epochs:2", "mine")
        for number in range(6)
    ]
    rows += [("epochs:2 + random:0.25", f"lr={number}", 0.3 + number / 50) for number in range(6, 12)]
    rows += [("full", f"lr={number}", 0.3 + number / 40) for number in range(6, 12)]
    table = pf.measure(pd.DataFrame(rows, columns=["strategy", "config", "objective"]), bootstrap=0)
    assert dict(zip(table["strategy"], table["n_pairs"], strict=True)) == {
        **{"full": 12, "random:0.25+epochs:2": 12},
        "mine": 6,
    }


def test_one_array_is_the_score_that_is_ranked_by() -> None:
    easiest = np.sort(np.argsort(LOSS)[:10])
    assert np.array_equal(pf.choose("easiest:0.1", LABELS, scores=LOSS), easiest)
    assert np.array_equal(pf.choose("easiest:0.1", LABELS, scores={"loss": LOSS, "unused": "anything"}), easiest)
    assert np.array_equal(pf.choose("easiest:0.1", LABELS, scores=pd.DataFrame({"loss": LOSS})), easiest)
    # A small margin is hard, a small loss is easy.
    assert np.array_equal(pf.choose("hardest:0.1,by=margin", LABELS, scores=LOSS), easiest)


def test_equal_scores_are_told_apart_by_the_margin_that_is_given() -> None:
    equal = {"loss": np.zeros(100), "margin": -LOSS}
    assert np.array_equal(pf.choose("easiest:0.1", LABELS, scores=equal), np.sort(np.argsort(LOSS)[:10]))


@pytest.mark.parametrize(
    ("strategy", "arguments", "name"),
    [
        ("easiest:0.1", {}, "scores"),
        ("easiest:0.1,by=el2n", {"scores": {"loss": LOSS}}, "scores"),
        ("easiest:0.1", {"scores": LOSS[:5]}, "scores['loss']"),
        ("easiest:0.1", {"scores": [*LOSS[:99], np.nan]}, "scores['loss']"),
        ("easiest:0.1", {"scores": ["a"] * 100}, "scores['loss']"),
        ("k-center:0.1", {}, "embeddings"),
        ("k-center:0.1", {"embeddings": LOSS}, "embeddings"),
        ("k-center:0.1", {"embeddings": np.ones((3, 2))}, "embeddings"),
        ("easiest-classes:2", {}, "confusion"),
        ("easiest-classes:2", {"confusion": np.ones((2, 2))}, "confusion"),
        ("distilled:5", {}, "strategy"),
        ("random", {}, "strategy"),
        ("random:0.1", {"labels": []}, "labels"),
        ("random:0.1", {"labels": [[1, 2]]}, "labels"),
        ("random:0.1", {"labels": np.array([1, "a", None], dtype=object)}, "labels"),
        ("random:0.1", {"labels": [1.0, float("nan")]}, "labels"),
    ],
)
def test_what_cannot_be_chosen_by_is_refused(strategy: str, arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        pf.choose(strategy, **{"labels": LABELS, **arguments})
    assert caught.value.name == name


def test_too_few_classes_are_refused() -> None:
    with pytest.raises(UserError, match="classes"):
        pf.choose("half-classes:0.5", ["only"] * 10)


STUDY = published_study(strategies=("full", "random:0.1", "easiest:0.25"))


def test_a_frame_of_a_study_has_the_measures_of_its_report() -> None:
    measured = pf.measure(STUDY, bootstrap=50)
    expected = measure_study(STUDY, QualityOptions(cost_basis="auto", bootstrap=50), FAMILIES)
    pd.testing.assert_frame_equal(measured, expected.strategies)
    assert len(measured.attrs["notes"]) == len(expected.notes)


def test_three_columns_are_enough() -> None:
    own = STUDY[STUDY["dataset"] == "imagenette"][["strategy", "config", "objective"]]
    own = own.replace({"strategy": {"random:0.1": "my own tenth"}})
    measured = pf.measure(own, bootstrap=0).set_index("strategy")
    whole = pf.measure(STUDY[STUDY["dataset"] == "imagenette"], bootstrap=0).set_index("strategy")
    for ours, theirs in (("my own tenth", "random:0.1"), ("easiest:0.25", "easiest:0.25")):
        for column in ("r2", "spearman", "regret", "n_pairs"):
            assert measured.loc[ours, column] == pytest.approx(whole.loc[theirs, column], rel=1e-12)
    assert measured["relative_cost"].isna().all(), "no cost was given"
    assert own.columns.tolist() == ["strategy", "config", "objective"], "the frame is left as it was"


def test_chance_level_and_steps_of_a_frame_count_where_it_has_them() -> None:
    values = {"full": [0.7, 0.8, 0.9, 0.6, 0.5], "random:0.1": [0.5, 0.6, 0.8, 0.4, 0.1]}
    rows = [(name, f"lr={i}", value) for name, found in values.items() for i, value in enumerate(found)]
    own = pd.DataFrame(rows, columns=["strategy", "config", "objective"])
    table = pf.measure(own, bootstrap=0).set_index("strategy")
    assert table["n_unranked"].isna().all()
    assert table[["steps", "r2_ranked"]].isna().all(axis=None)
    told = own.assign(chance_objective=0.1, n_valid="500", steps=own["strategy"].map({"full": 400, "random:0.1": 40}))
    table = pf.measure(told, bootstrap=0).set_index("strategy")
    assert table["n_unranked"].to_dict() == {"full": 0, "random:0.1": 1}
    assert table["steps"].to_dict() == {"full": 400, "random:0.1": 40}
    left = pf.measure(own[own["config"] != "lr=4"], bootstrap=0).set_index("strategy")
    assert table.loc["random:0.1", "r2_ranked"] == pytest.approx(left.loc["random:0.1", "r2"], abs=1e-12)
    assert any("cannot rank 1 of 5 configurations" in note for note in table.attrs["notes"])


def test_of_several_trainings_of_one_configuration_the_last_counts() -> None:
    rows = [("full", f"c{i}", value) for i, value in enumerate((0.5, 0.6, 0.7, 0.8))]
    rows += [("half", f"c{i}", value) for i, value in enumerate((0.4, 0.3, 0.2, 0.1))]
    again = [("half", config, accuracy) for _, config, accuracy in rows[:4]]
    frame = pd.DataFrame([*rows, *again], columns=["strategy", "config", "objective"])
    assert pf.measure(frame, bootstrap=0).set_index("strategy").loc["half", ["spearman_all", "n_pairs"]].tolist() == [
        1,
        4,
    ]


def test_a_training_whose_loss_became_infinite_diverged() -> None:
    rows = [("full", f"c{i}", value) for i, value in enumerate((0.5, 0.6, 0.7, 0.8, np.inf))]
    rows += [("half", f"c{i}", value) for i, value in enumerate((0.5, 0.6, 0.7, -np.inf, 0.9))]
    frame = pd.DataFrame(rows, columns=["strategy", "config", "objective"])
    measured = pf.measure(frame, metric=pf.Metric("valid_loss", "minimize"), bootstrap=0).set_index("strategy")
    assert measured.loc["half", "n_pairs"] == 5
    assert any("2 training(s) diverged" in note for note in measured.attrs["notes"])


def test_a_frame_of_search_runs_says_what_diverged_and_where_it_ran() -> None:
    rows = [
        {
            "tags.proxyflow.strategy": strategy,
            "tags.proxyflow.config": f"c{i}",
            "tags.proxyflow.diverged": str(i == 3).lower(),
            "metrics.objective": np.nan if i == 3 else 0.1 * i + 0.5,
            "metrics.train_seconds": 1.0,
            "params.device": device,
            "params.device_shared": "false",
            "params.n_valid": "100",
        }
        for strategy, device in (("full", "H100"), ("half", "A100"))
        for i in range(5)
    ]
    measured = pf.measure(pd.DataFrame(rows), bootstrap=0).set_index("strategy")
    assert measured.loc["half", "n_pairs"] == 5, "a training that diverged is a result"
    assert np.isnan(measured.loc["half", "relative_cost"]), "seconds on two kinds of device are not compared"


@pytest.mark.parametrize(("option", "value"), [("cost_basis", "minutes"), ("bootstrap", -1), ("bootstrap", 1.5)])
def test_an_option_of_a_measurement_is_checked(option: str, value: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        pf.measure(STUDY, **{option: value})
    assert caught.value.name == option


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        (STUDY.drop(columns="strategy"), "frame"),
        (STUDY.drop(columns=["objective", "best_valid_accuracy"]), "frame"),
        (STUDY.assign(objective="high"), "frame"),
        (STUDY.assign(seed="first"), "frame"),
        (STUDY.assign(objective=85.0), "objective"),
        (STUDY[STUDY["strategy"] != "full"], "strategy"),
    ],
)
def test_a_frame_that_cannot_be_measured_is_refused(changed: pd.DataFrame, name: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        pf.measure(changed, bootstrap=0)
    assert caught.value.name == name


def test_the_examples_in_the_documentation_work() -> None:
    for module in (pf, proxyflow.api):
        failed, tried = doctest.testmod(module)
        assert (failed, tried > 2) == (0, True)


def test_what_is_public_is_found_and_imported_only_when_it_is_used() -> None:
    assert {"choose", "measure"} <= set(dir(pf))
    with pytest.raises(AttributeError):
        pf.chose  # type: ignore[attr-defined]  # noqa: B018
    code = (
        "import sys, proxyflow as pf\nassert 'numpy' not in sys.modules\n"
        "assert list(pf.choose('random:0.5', [0, 0, 1, 1])) and 'scipy.stats' not in sys.modules\n"
        "assert not set(sys.modules) & {'torch', 'mlflow', 'matplotlib'}"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
