"""A proxy is judged on pairs, so a run must never be matched with one of another data set, seed or configuration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
from made_up import training, trainings_frame

from proxyflow.quality.pairs import make_pairs

DATASETS, CONFIGS, SEEDS = ("letters", "digits"), ("lr=0.1", "default", "opt=sgd"), (1, 0)
PROXY = "random:0.1"


def accuracy_of(strategy: str, dataset: str, config: str, seed: int) -> float:
    """A number that tells where it came from."""
    parts = ((PROXY, "full").index(strategy), DATASETS.index(dataset), CONFIGS.index(config), seed)
    return float("0." + "".join(str(part + 1) for part in parts))


def frame() -> pd.DataFrame:
    rows = [
        training(
            strategy,
            config,
            accuracy_of(strategy, dataset, config, seed),
            dataset=dataset,
            seed=seed,
            train_seconds=10.0 if strategy == PROXY else 100.0,
        )
        for strategy, dataset, config, seed in product((PROXY, "full"), DATASETS, CONFIGS, SEEDS)
    ]
    return trainings_frame(rows)


def test_each_proxy_run_is_matched_with_its_own_target_run() -> None:
    pairs = make_pairs(frame(), PROXY)
    assert len(pairs.frame) == 12
    assert pairs.n_missing == 0
    for row in pairs.frame.to_dict("records"):
        where = (row["dataset"], row["config"], row["seed"])
        assert row["value_proxy"] == accuracy_of(PROXY, *where)
        assert row["value_target"] == accuracy_of("full", *where)
        assert (row["train_seconds_proxy"], row["train_seconds_target"]) == (10.0, 100.0)


def test_missing_sides_are_counted_on_either_side_and_not_guessed() -> None:
    runs = frame()
    is_proxy = runs["strategy"] == PROXY
    no_proxy = is_proxy & (runs["config"] == "lr=0.1") & (runs["dataset"] == "digits")
    no_target = ~is_proxy & (runs["config"] == "default") & (runs["seed"] == 0)
    assert (no_proxy.sum(), no_target.sum()) == (2, 2)
    pairs = make_pairs(runs[~no_proxy & ~no_target], PROXY)
    assert len(pairs.frame) == 12 - 4
    assert pairs.n_missing == 4
    assert not pairs.frame[["value_proxy", "value_target"]].isna().any(axis=None)


def test_both_sides_missing_are_no_pair_at_all() -> None:
    runs = frame()
    pairs = make_pairs(runs[runs["config"] != "default"], PROXY)
    assert (len(pairs.frame), pairs.n_missing) == (8, 0)


def test_a_strategy_with_no_run_has_no_pair_and_all_missing() -> None:
    pairs = make_pairs(frame(), "easiest:0.1")
    assert (len(pairs.frame), pairs.n_missing) == (0, 12)
    accuracies = pairs.values
    assert accuracies.strata == accuracies.contests == []
    assert accuracies.proxy.shape == accuracies.target.shape == (0,)


def test_the_target_is_its_own_perfect_proxy() -> None:
    pairs = make_pairs(frame(), "full")
    assert (len(pairs.frame), pairs.n_missing) == (12, 0)
    assert np.array_equal(pairs.values.proxy, pairs.values.target)


def test_other_strategies_do_not_come_in() -> None:
    others = trainings_frame([training("random:0.5", config, 0.5) for config in CONFIGS])
    pairs = make_pairs(pd.concat([frame(), others]), PROXY)
    pd.testing.assert_frame_equal(pairs.frame, make_pairs(frame(), PROXY).frame)


def test_strata_are_the_data_sets_and_cover_every_pair_once() -> None:
    pairs = make_pairs(frame(), PROXY)
    strata = pairs.values.strata
    assert [set(pairs.frame["dataset"].iloc[rows]) for rows in strata] == [{"digits"}, {"letters"}]
    assert sorted(np.concatenate(strata)) == list(range(12))


def test_configurations_of_one_data_set_and_seed_compete_with_each_other() -> None:
    pairs = make_pairs(frame(), PROXY)
    found = [pairs.frame.iloc[rows][["dataset", "seed"]].drop_duplicates() for rows in pairs.values.contests]
    assert [len(each) for each in found] == [1] * 4
    assert len(pd.concat(found).drop_duplicates()) == 4


def test_pairs_do_not_depend_on_the_order_of_the_runs() -> None:
    shuffled = make_pairs(frame().sample(frac=1, random_state=0), PROXY)
    pd.testing.assert_frame_equal(shuffled.frame, make_pairs(frame(), PROXY).frame)


def test_a_part_of_the_pairs_has_strata_of_its_own() -> None:
    pairs = make_pairs(frame(), PROXY)
    part = pairs.where((pairs.frame["config"] == "default").to_numpy())
    assert len(part.frame) == 4
    assert [rows.tolist() for rows in part.values.strata] == [[0, 1], [2, 3]]
