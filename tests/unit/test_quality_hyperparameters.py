"""For which hyperparameters a proxy can be trusted: counted here by brute force over every two configurations."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import training, trainings_frame, values_of

from proxyflow.quality.bootstrap import Draws, draw, number_configurations
from proxyflow.quality.configurations import Configurations
from proxyflow.quality.hyperparameters import HYPERPARAMETER_COLUMNS, hyperparameter_table
from proxyflow.quality.pairs import Pairs, make_pairs

PROXY = "random:0.1"
CONFIGS = [
    "default",
    "lr=0.1",
    "lr=0.01",
    "arch=xresnet18",
    "arch=xresnet18,lr=0.1",
    "arch=xresnet18,lr=0.01",
    "stem=4-32",
    "stem=4-48",
    "lr=0.1,opt=sgd",
]


def study(seeds: int = 2, step: int = 500) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    rows = []
    for dataset, level, spread in (("digits", 0.9, 0.02), ("letters", 0.6, 0.1)):
        for config in CONFIGS:
            quality = rng.normal()
            for seed in range(seeds):
                for strategy in ("full", PROXY):
                    accuracy = np.rint(step * (level + spread * (quality + rng.normal() / 2))) / step
                    rows.append(training(strategy, config, float(accuracy), dataset=dataset, seed=seed))
    return number_configurations(trainings_frame(rows))


def differences(one: str, other: str) -> list[str]:
    """The hyperparameters in which two configurations differ."""
    a, b = (json.loads(values_of(config)) for config in (one, other))
    return [name for name in a if a[name] != b[name]]


def table_of(pairs: Mapping[str, Pairs], draws: Draws | None = None) -> pd.DataFrame:
    configs = {config for each in pairs.values() for config in each.frame["config"]}
    return hyperparameter_table(pairs, draws, Configurations({each: values(each) for each in sorted(configs)}))


def values(config: str) -> dict[str, Any]:
    text = values_of(config)
    return json.loads(text) if text else {}


def by_hand(frame: pd.DataFrame) -> dict[str, tuple[float, float, int]]:
    """Hyperparameter to r2, sign agreement and number of comparisons, over every two rows of a data set and seed."""
    spread = {
        (dataset, side): part[f"value_{side}"].to_numpy().std()
        for dataset, part in frame.groupby("dataset")
        for side in ("proxy", "target")
    }
    effects: dict[str, list[tuple[float, float]]] = {}
    for (dataset, _), part in frame.groupby(["dataset", "seed"]):
        for (_, a), (_, b) in combinations(part.iterrows(), 2):
            differing = differences(a["config"], b["config"])
            if len(differing) == 1:
                effect = [(a[f"value_{s}"] - b[f"value_{s}"]) / spread[dataset, s] for s in ("proxy", "target")]
                effects.setdefault(differing[0], []).append((effect[0], effect[1]))
    found = {}
    for name, pairs in effects.items():
        x, y = np.array(pairs).T
        some = y != 0
        agreement = np.where(x[some] == 0, 0.5, np.sign(x[some]) == np.sign(y[some])).mean()
        # Without an intercept: the share of the mean square of y that beta x explains.
        beta = (x @ y) / (x @ x)
        explained = 1 - ((y - beta * x) ** 2).sum() / (y @ y)
        found[name] = (explained, float(agreement), int(some.sum()))
    return found


@pytest.mark.parametrize("step", [500, 25])
def test_r2_and_sign_agreement_are_those_of_all_comparisons_by_hand(step: int) -> None:
    pairs = make_pairs(study(step=step), PROXY)
    table = table_of({PROXY: pairs})
    assert list(table.columns) == HYPERPARAMETER_COLUMNS
    expected = by_hand(pairs.frame)
    assert (
        set(table["hyperparameter"])
        == set(expected)
        == {
            "arch",
            "learning_rate",
            "stem_channels_1",
            "stem_channels_2",
            "optimizer",
        }
    )
    for row in table.to_dict("records"):
        r2, agreement, count = expected[row["hyperparameter"]]
        assert row["n_comparisons"] == count
        assert row["r2"] == pytest.approx(r2 if count >= 3 else math.nan, abs=1e-9, nan_ok=True)
        assert row["sign_agreement"] == pytest.approx(agreement, abs=1e-9)
        assert math.isnan(row["r2_low"])


def test_the_number_of_comparisons_by_hand() -> None:
    table = table_of({PROXY: make_pairs(study(), PROXY)}).set_index("hyperparameter")
    # Per data set and seed: three learning rates at each of two architectures, 2 x 3; the same arch at each of three
    # rates; the first stem width 4 or 32, the second 32 or 48; lr=0.1 with and without sgd. Four such sets; none ties on
    # the target here.
    expected = {"learning_rate": 24, "arch": 12, "stem_channels_1": 4, "stem_channels_2": 4, "optimizer": 4}
    assert table["n_comparisons"].to_dict() == expected


def made(proxy: Mapping[str, float], target: Mapping[str, float]) -> Pairs:
    rows = [training(PROXY, config, accuracy) for config, accuracy in proxy.items()]
    rows += [training("full", config, accuracy) for config, accuracy in target.items()]
    return make_pairs(number_configurations(trainings_frame(rows)), PROXY)


def test_ties_on_the_proxy_count_half_and_ties_on_the_target_not_at_all() -> None:
    target = {"default": 0.9, "lr=1": 0.8, "lr=2": 0.8, "lr=3": 0.7}
    proxy = {"default": 0.5, "lr=1": 0.5, "lr=2": 0.6, "lr=3": 0.4}
    row = table_of({PROXY: made(proxy, target)}).iloc[0]
    assert row["n_comparisons"] == 5
    assert row["sign_agreement"] == pytest.approx((0.5 + 0 + 1 + 1 + 1) / 5)


def test_fewer_than_three_comparisons_give_no_r2() -> None:
    target = {"default": 0.9, "opt=sgd": 0.8, "opt=sgd,lr=1": 0.7}
    table = table_of({PROXY: made(target, target)}).set_index("hyperparameter")
    assert table["n_comparisons"].to_dict() == {"optimizer": 1, "learning_rate": 1}
    assert table["r2"].isna().all()
    assert (table["sign_agreement"] == 1).all()
    three = {"default": 0.9, "lr=1": 0.8, "lr=2": 0.7}
    assert table_of({PROXY: made(three, three)})["r2"].tolist() == pytest.approx([1])


def test_a_reversed_proxy_explains_all_and_agrees_in_nothing() -> None:
    target = {"default": 0.9, "lr=1": 0.8, "lr=2": 0.7}
    row = table_of({PROXY: made({k: 1 - v for k, v in target.items()}, target)}).iloc[0]
    assert (row["r2"], row["sign_agreement"]) == pytest.approx((1, 0))


def test_a_hyperparameter_without_a_comparison_that_decides_has_no_row() -> None:
    same = {"default": 0.9, "lr=1": 0.9, "lr=2": 0.9}
    assert table_of({PROXY: made(same, same)}).empty
    apart = {"default": 0.9, "opt=sgd,lr=1": 0.8, "arch=a,opt=rmsprop": 0.7}
    assert table_of({PROXY: made(apart, apart)}).empty


def test_configurations_without_known_values_are_compared_with_none() -> None:
    accuracies = {"default": 0.9, "lr=1": 0.8, "lr=2": 0.7, "my favourite": 0.1, "": 0.2}
    table = table_of({PROXY: made(accuracies, accuracies)})
    assert table["n_comparisons"].tolist() == [3]
    unnamed = {"a": 0.9, "b": 0.8, "c": 0.7}
    assert table_of({PROXY: made(unnamed, unnamed)}).empty


def test_no_pairs_and_no_strategies_give_an_empty_table() -> None:
    for table in (
        table_of({}),
        table_of({PROXY: made({"default": 0.9}, {"lr=1": 0.9})}),
    ):
        assert table.empty
        assert list(table.columns) == HYPERPARAMETER_COLUMNS


def test_constant_proxy_accuracies_decide_nothing() -> None:
    target = {"default": 0.9, "lr=1": 0.8, "lr=2": 0.7}
    pairs = made(dict.fromkeys(target, 0.1), target)
    row = table_of({PROXY: pairs}).iloc[0]
    assert math.isnan(row["r2"])
    assert row["sign_agreement"] == 0.5


def test_intervals_are_those_of_the_drawn_configurations() -> None:
    runs = study(seeds=1)
    pairs, draws = make_pairs(runs, PROXY), draw(runs, 80)
    table = table_of({PROXY: pairs}, draws).set_index("hyperparameter")
    agreements = []
    for counts in draws.of(pairs.frame).astype(int):
        won, total = 0.0, 0.0
        for (i, a), (j, b) in combinations(pairs.frame.iterrows(), 2):
            if a["dataset"] != b["dataset"] or differences(a["config"], b["config"]) != ["learning_rate"]:
                continue
            x, y = (np.sign(a[f"value_{side}"] - b[f"value_{side}"]) for side in ("proxy", "target"))
            weight = counts[int(str(i))] * counts[int(str(j))] * abs(y)
            total += weight
            won += weight * (0.5 if x == 0 else float(x == y))
        if total:
            agreements.append(won / total)
    row = table.loc["learning_rate"]
    assert (row["sign_agreement_low"], row["sign_agreement_high"]) == pytest.approx(
        tuple(np.quantile(agreements, [0.025, 0.975])), abs=1e-9
    )
    assert row["r2_low"] <= row["r2"] <= row["r2_high"]
    # One comparison on each data set is drawn in fewer than half of the samples often enough for r2.
    assert table.loc["optimizer", ["r2", "r2_low"]].isna().all()


def test_the_strategies_are_told_apart() -> None:
    pairs = make_pairs(study(), PROXY)
    table = table_of({PROXY: pairs, "easiest:0.1": pairs})
    assert list(table["strategy"].drop_duplicates()) == [PROXY, "easiest:0.1"]
    left, right = (part.drop(columns="strategy").reset_index(drop=True) for _, part in table.groupby("strategy"))
    pd.testing.assert_frame_equal(left, right)
