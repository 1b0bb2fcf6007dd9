"""What the study of pretrained weights is computed by, on trainings whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.pretrained.compare import Arm, contrasts, differences, page_of, places_of, quality, regret_of
from proxyflow.tables import LookupTable

N = 30
RNG = np.random.default_rng(0)
TRUTH = RNG.permutation(N).astype(float)


def arm(**noise: float) -> Arm:
    """Values of two seeds that follow a truth, with noise of its own for each proxy."""
    values = {"full": np.stack([TRUTH, TRUTH], axis=1)}
    for name, size in noise.items():
        values[f"{name}:0.25"] = TRUTH[:, None] + size * RNG.standard_normal((N, 2))
    runs = pd.DataFrame([{"strategy": each, "train_flops": 1.0, "steps": 10} for each in values])
    table = LookupTable.__new__(LookupTable)  # of which only these are read
    for name, value in {"proxies": (*list(values)[1:], "full"), "runs": runs, "configurations": (None,) * N}.items():
        object.__setattr__(table, name, value)
    return Arm(table, tuple(map(str, range(N))), values, np.stack([TRUTH, TRUTH], axis=1))


@pytest.fixture(scope="module")
def arms() -> dict[str, Arm]:
    return {"none": arm(random=1.0, easiest=20.0), "learned": arm(random=1.0, easiest=1.0)}


def test_easy_examples_that_became_useful_are_found(arms: dict[str, Arm]) -> None:
    table = contrasts({"own": arms}).set_index(["what", "measure"])
    worse = table.loc[("easiest:0.25 less random:0.25, random weights", "spearman")]
    same = table.loc[("easiest:0.25 less random:0.25, pretrained", "spearman")]
    change = table.loc[("easiest:0.25 less random:0.25, pretrained less random weights", "spearman")]
    assert worse["high"] < 0 < change["low"]
    assert change["value"] == pytest.approx(same["value"] - worse["value"])
    assert abs(same["value"]) < 0.1
    assert change["shown"]
    assert table.loc[("targets of both weights", "spearman"), "value"] == pytest.approx(1)


def test_the_mean_over_proxies_is_of_the_same_configurations(arms: dict[str, Arm]) -> None:
    found = {what: samples for _, what, samples in differences(*arms.values(), places_of("own", N), "r2")}
    each = [found[f"{proxy}:0.25, pretrained less random weights"] for proxy in ("random", "easiest")]
    assert np.allclose(np.mean(each, axis=0), found["mean of all proxies, pretrained less random weights"])


def test_a_proxy_that_ranks_as_the_target_does_loses_nothing(arms: dict[str, Arm]) -> None:
    places = places_of("own", N)
    assert regret_of(arm(random=0.0), "random:0.25", places)[0] == 0
    assert regret_of(arms["none"], "easiest:0.25", places)[0] > 0
    rows = quality({"own": arms})
    assert len(rows) == 2 * 2 * 3
    assert ((rows["low"] <= rows["value"]) & (rows["value"] <= rows["high"])).mean() > 0.9


def test_the_page_has_a_row_for_each_proxy_and_each_question(arms: dict[str, Arm]) -> None:
    studies = {"own": arms}
    page = page_of("own", quality(studies), contrasts(studies)).splitlines()
    assert [line.split("`")[1] for line in page if line.startswith("| `")] == ["random:0.25", "easiest:0.25"]
    assert sum(line.startswith("| 1: ") for line in page) == 3
    assert len({line.count("|") for line in page[:4]}) == 1
