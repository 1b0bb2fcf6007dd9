"""The verdict is what people act on: it must recommend nothing that the numbers do not carry, nor claim that they don't."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up import noisy_study, study_rows, training, trainings_frame

from proxyflow.quality.bootstrap import Estimate
from proxyflow.quality.ceiling import CEILING_COLUMNS
from proxyflow.quality.measured import Measured
from proxyflow.quality.measures import slope
from proxyflow.quality.options import QualityOptions
from proxyflow.quality.pairs import Pairs
from proxyflow.quality.selection import SELECTION_COLUMNS
from proxyflow.quality.summary import measure_study
from proxyflow.quality.verdict import ENOUGH, MANY, Verdict, configurations_needed, judge, needed, seeds_needed
from proxyflow.report.vocabulary import VOCABULARY

NO_CEILING = pd.DataFrame(columns=CEILING_COLUMNS)
NO_SELECTION = pd.DataFrame(columns=SELECTION_COLUMNS)
# What no study can show: that something does not matter, or that there is no difference.
CLAIMS = re.compile(r"not matter|no difference|no effect|irrelevant|equally good|prove|carry|any proxy|useless", re.I)


def made(
    r2: tuple[float, float, float],
    cost: float = 0.1,
    rises: bool = True,
    configurations: int = 20,
    regret: Estimate | None = None,
    undefined: float = 0.0,
) -> Measured:
    """A proxy whose r2 has this value and interval."""
    frame = pd.DataFrame({"dataset": "digits", "config": [f"lr={n}" for n in range(configurations)], "seed": 0})
    estimates = {
        "r2": Estimate(*r2, undefined=undefined),
        "relative_cost": Estimate(cost),
        "expected_regret": regret or Estimate(math.nan),
    }
    samples = {"r2": (1 if rises else -1) * np.sqrt(np.linspace(max(r2[1], 0), r2[2], 50))}
    return Measured(Pairs(frame, 0), estimates, samples)


def verdict_of(
    proxies: Mapping[str, Measured],
    ceiling: pd.DataFrame = NO_CEILING,
    selection: pd.DataFrame = NO_SELECTION,
    **options: Any,
) -> Verdict:
    target = {"full": made((1, 1, 1), cost=1.0)}
    verdict = judge({**target, **proxies}, ceiling, selection, QualityOptions(**options))
    assert all(sentence.endswith((".", ").")) for sentence in verdict.sentences)
    assert not CLAIMS.search(" ".join(verdict.sentences))
    return verdict


def seeds_tell(r2: float) -> pd.DataFrame:
    rows = [("validation", "r2", 0.5, 0.4, 0.6, 20), ("seeds", "spearman", 0.3, 0.1, 0.5, 40)]
    return pd.DataFrame([*rows, ("seeds", "r2", r2, r2 - 0.1, r2 + 0.05, 40)], columns=CEILING_COLUMNS)


GOOD, BETTER = (0.95, 0.91, 0.98), (0.99, 0.97, 0.995)
UNDECIDED, BAD = (0.9, 0.8, 0.95), (0.4, 0.2, 0.6)


def test_the_cheapest_that_passes_is_recommended_and_not_the_best() -> None:
    verdict = verdict_of({"a": made(BETTER, 0.5), "b": made(GOOD, 0.2), "c": made(GOOD, 0.3), "d": made(BAD, 0.1)})
    assert verdict.strategy == "b"
    assert verdict.sentences[0] == (
        "b is the cheapest proxy that is good enough: r2 0.95 [0.91, 0.98], at 0.20 of the target's cost."
    )
    assert "0.90 or above: 0.1 below the target's own 1" in verdict.sentences[1]
    assert (verdict.tolerance, verdict.least) == (0.1, pytest.approx(0.9))


def test_an_interval_that_ends_at_the_threshold_passes_and_one_that_reaches_below_does_not() -> None:
    assert verdict_of({"a": made((0.95, 0.9, 1.0))}, tolerance=0.1).strategy == "a"
    assert verdict_of({"a": made((0.95, 0.899, 1.0))}, tolerance=0.1).strategy == ""
    assert verdict_of({"a": made((0.95, 0.899, 1.0))}, tolerance=0.2).strategy == "a"


def test_a_proxy_that_ranks_the_wrong_way_round_is_never_recommended_nor_called_undecided() -> None:
    verdict = verdict_of({"a": made(BETTER, 0.1, rises=False), "b": made(GOOD, 0.2)})
    assert verdict.strategy == "b"
    assert "What is better on a is worse on the target" in " ".join(verdict.sentences)
    alone = verdict_of({"a": made(BETTER, 0.1, rises=False)})
    assert alone.strategy == ""
    text = " ".join(alone.sentences)
    assert "worse on the target" in text
    assert "undecided" not in text
    assert "would decide" not in text


def test_cheaper_ones_that_are_undecided_are_named_and_dearer_ones_not() -> None:
    proxies = {"best": made(GOOD, 0.3), "maybe": made(UNDECIDED, 0.1), "bad": made(BAD, 0.05)}
    text = " ".join(verdict_of({**proxies, "dear": made(UNDECIDED, 0.5)}).sentences)
    assert "One cheaper is undecided, with 0.90 within the interval: maybe." in text
    assert "maybe, r2 0.90 [0.80, 0.95]: if its r2 stays so" in text
    assert "dear" not in text
    assert "bad" not in text


def test_where_all_cheaper_ones_lie_below_that_is_said() -> None:
    verdict = verdict_of({"best": made(GOOD, 0.3), "x": made(BAD, 0.1), "y": made(BAD, 0.2)})
    assert verdict.sentences[-1] == "The intervals of all 2 cheaper lie below that."
    assert len(verdict_of({"best": made(GOOD, 0.3)}).sentences) == 2


def test_where_none_passes_it_says_so_and_what_would_decide() -> None:
    verdict = verdict_of({"a": made(UNDECIDED, 0.1), "b": made((0.85, 0.7, 0.92), 0.2), "c": made(BAD, 0.3)})
    assert verdict.strategy == ""
    assert verdict.sentences[0] == "None of the 3 proxies is good enough for sure: add configurations."
    assert "2 of them are undecided, with 0.90 within the interval: a, b." in verdict.sentences[2]
    bad = verdict_of({"a": made(BAD), "b": made(BAD)})
    assert bad.sentences[0] == "None of the 2 proxies is good enough: add dearer ones, or choose a larger tolerance."
    assert bad.sentences[-1] == "The intervals of all 2 of them lie below that."


def test_only_the_three_most_promising_are_told_what_would_decide() -> None:
    values = (0.86, 0.92, 0.89, 0.95, 0.88)
    verdict = verdict_of({f"p{i}": made((value, 0.6, 0.99)) for i, value in enumerate(values)})
    assert "p0, p1, p2, p3, p4" in verdict.sentences[2]
    assert [sentence.split(",")[0] for sentence in verdict.sentences[3:]] == ["p3", "p1", "p2"]


def test_seeds_set_the_standard_where_the_study_has_them() -> None:
    proxy = made((0.85, 0.75, 0.9))
    assert verdict_of({"a": proxy}).strategy == ""
    verdict = verdict_of({"a": proxy}, ceiling=seeds_tell(0.84))
    assert verdict.strategy == "a"
    assert verdict.least == pytest.approx(0.74)
    assert "0.1 below what the target has with itself under another seed (0.84)" in verdict.sentences[1]


def test_the_noise_of_images_alone_does_not_lower_the_standard() -> None:
    ceiling = seeds_tell(0.84)
    assert verdict_of({"a": made(GOOD)}, ceiling=ceiling[ceiling["source"] == "validation"]).least == pytest.approx(0.9)


@pytest.mark.parametrize("own", [0.0, 0.02, 0.1])
def test_a_target_that_does_not_agree_with_itself_leaves_nothing_to_ask_for(own: float) -> None:
    verdict = verdict_of({"a": made((0.02, 0.0, 0.2)), "b": made((0.3, 0.1, 0.5))}, ceiling=seeds_tell(own))
    assert verdict.strategy == ""
    assert verdict.sentences[0].startswith(
        f"No verdict yet: under another seed the target explains {own:.2f} of itself"
    )
    assert "Add configurations" in verdict.sentences[0]


def test_a_study_of_pure_noise_recommends_nothing() -> None:
    rng = np.random.default_rng(0)
    rows = [
        training(strategy, f"lr={number}", float(0.8 + 0.02 * rng.normal()), seed=seed, train_seconds=cost)
        for strategy, cost in (("full", 100.0), ("random:0.1", 10.0), ("random:0.5", 50.0))
        for seed in (0, 1)
        for number in range(24)
    ]
    verdict = measure_study(trainings_frame(rows), QualityOptions(bootstrap=200), VOCABULARY).verdict
    assert verdict.strategy == ""


def test_whatever_the_tolerance_a_proxy_without_a_relation_for_sure_is_not_good() -> None:
    assert verdict_of({"a": made((0.1, 0.0, 0.4))}, tolerance=1.0).strategy == ""
    assert verdict_of({"a": made((0.1, 0.02, 0.4))}, tolerance=1.0).strategy == "a"


def test_few_configurations_are_too_few_however_well_they_agree() -> None:
    """Any two points lie on a line, so a bootstrap of three is all but sure to find a perfect relation."""
    rows = study_rows({"full": [0.9, 0.8, 0.7], "random:0.1": [0.5, 0.4, 0.31]}, train_seconds=10.0)
    quality = measure_study(trainings_frame(rows), QualityOptions(bootstrap=200), VOCABULARY)
    assert quality.measures.set_index(["strategy", "measure"]).loc[("random:0.1", "r2"), "low"] > 0.99
    assert quality.verdict.strategy == ""
    text = " ".join(quality.verdict.sentences)
    assert f"3 configurations are too few to rely on that: it takes at least {ENOUGH} on every data set" in text
    assert "would decide" not in text
    assert verdict_of({"a": made(BETTER, configurations=ENOUGH - 1)}).strategy == ""
    assert verdict_of({"a": made(BETTER, configurations=ENOUGH)}).strategy == "a"


def test_the_data_set_with_the_fewest_configurations_counts() -> None:
    proxy = made(BETTER)
    few = pd.DataFrame({"dataset": "letters", "config": ["lr=1", "lr=2", "lr=3"], "seed": 0})
    both = Measured(Pairs(pd.concat([proxy.pairs.frame, few]), 0), proxy.estimates, proxy.samples)
    assert verdict_of({"a": both}).strategy == ""


def test_an_interval_from_what_happened_to_be_drawn_is_not_relied_on() -> None:
    rows = study_rows({"full": [0.9] * 11 + [0.1], "random:0.1": [0.5] * 11 + [0.1]})
    quality = measure_study(trainings_frame(rows), QualityOptions(bootstrap=200), VOCABULARY)
    assert quality.verdict.strategy == ""
    assert "of the bootstrap samples leave it undefined" in " ".join(quality.verdict.sentences)
    assert verdict_of({"a": made(BETTER, undefined=0.01)}).strategy == "a"


def test_charged_selection_and_regret_are_told_with_the_recommendation() -> None:
    selection = pd.DataFrame(
        [("a", "train_seconds", 10.0, 0.2, 0.35, 7, 20), ("b", "train_seconds", 10.0, 0.2, 0.9, 90, 20)],
        columns=SELECTION_COLUMNS,
    ).astype({"pays_off_after": "Int64"})
    first = verdict_of({"a": made(GOOD, 0.2, regret=Estimate(0.4, 0.0, 1.2))}, selection=selection).sentences[0]
    assert first == (
        "a is the cheapest proxy that is good enough: r2 0.95 [0.91, 0.98], at 0.20 of the target's cost (0.35 with "
        "choosing its examples charged, which pays off after 7 configurations). Taking its first choice loses 0.4 "
        "points of accuracy [0.0, 1.2]."
    )
    never = selection.assign(pays_off_after=pd.array([pd.NA, 1], dtype="Int64"))
    assert (
        "(0.35 with choosing its examples charged)." in verdict_of({"a": made(GOOD, 0.2)}, selection=never).sentences[0]
    )
    free = selection.assign(relative_cost_with_selection=[0.2, math.nan])
    for name in ("a", "b"):
        assert "charged" not in verdict_of({name: made(GOOD, 0.2)}, selection=free).sentences[0]


def test_a_cost_that_is_not_known_is_dearer_than_any_and_not_called_the_cheapest() -> None:
    assert verdict_of({"a": made(BETTER, math.nan), "b": made(GOOD, 0.9)}).strategy == "b"
    alone = verdict_of({"a": made(BETTER, math.nan), "b": made(BAD, 0.9)})
    assert alone.strategy == "a"
    assert "cheapest" not in alone.sentences[0]
    assert "a cost that is not known" in alone.sentences[0]


def test_no_intervals_and_no_proxies_give_no_verdict_yet() -> None:
    nothing = made((0.9, math.nan, math.nan))
    assert verdict_of({"a": nothing}, bootstrap=0).sentences == (
        "No verdict yet: there are no intervals (bootstrap=0).",
    )
    for proxies in ({}, {"a": nothing}, {"a": made((math.nan, math.nan, math.nan))}):
        (sentence,) = verdict_of(proxies).sentences
        assert sentence.startswith("No verdict yet: no proxy has 3 pairs")


def test_one_proxy_alone_is_spoken_of_in_the_singular() -> None:
    assert (
        verdict_of({"a": made(UNDECIDED)}).sentences[0]
        == "The one proxy is not good enough for sure: add configurations."
    )


@pytest.mark.parametrize("value", [0.3, 0.7, 0.86, 0.94, 0.99])
@pytest.mark.parametrize("now", [10, 36])
def test_with_as_many_configurations_as_named_the_interval_just_excludes_the_threshold(value: float, now: int) -> None:
    """Half-widths of Fisher's z fall as one over the root of the number of configurations."""
    least, width = 0.9, 1.2
    z = math.atanh(math.sqrt(value))
    low, high = math.tanh(max(z - width, 0.0)) ** 2, math.tanh(z + width) ** 2
    count = configurations_needed(Estimate(value, low, high), least, now)
    assert count is not None
    aim = math.atanh(math.sqrt(least))
    distance = abs(z - aim)

    def reach(n: float) -> float:
        return width * math.sqrt(now / n)

    assert reach(count) <= distance + 1e-9 or count in (now + 1, ENOUGH)
    if count > max(now + 1, ENOUGH):
        assert reach(count - 1) > distance


def test_too_close_to_the_threshold_no_number_of_configurations_decides() -> None:
    assert configurations_needed(Estimate(0.9, 0.8, 0.95), 0.9, 36) is None
    assert configurations_needed(Estimate(0.9001, 0.8, 0.95), 0.9, 36) is None
    text = needed("a", made((0.9001, 0.8, 0.95)), 0.9)
    assert f"no number of configurations up to {MANY:,} decides" in text


def test_at_least_as_many_configurations_as_a_verdict_takes_are_asked_for() -> None:
    assert configurations_needed(Estimate(0.2, 0.0, 0.91), 0.9, 3) == ENOUGH


def test_values_at_the_ends_of_the_scale_are_no_error() -> None:
    for value, low, high in ((1.0, 0.5, 1.0), (0.0, 0.0, 0.95), (0.5, 0.0, 1.0)):
        for least in (0.0, 0.9, 1.0):
            count = configurations_needed(Estimate(value, low, high), least, 10)
            assert count is None or 10 < count <= MANY


# Half-width of the interval of z.
WIDTH = 0.5


def seeded(noise: float, seeds: int = 3, n: int = 30) -> Measured:
    """A proxy under several seeds."""
    rng = np.random.default_rng(1)
    quality = rng.normal(size=n)
    frames = []
    for seed in range(seeds):
        sides = [0.8 + 0.02 * (quality + noise * rng.normal(size=n)) for _ in range(2)]
        columns = {"accuracy_proxy": sides[0], "accuracy_target": sides[1], "config": [f"lr={i}" for i in range(n)]}
        frames.append(pd.DataFrame(columns).assign(dataset="digits", seed=seed))
    pairs = Pairs(pd.concat(frames, ignore_index=True), 0)
    r = float(slope(pairs.accuracies, np.ones((1, seeds * n)))[0])
    width = WIDTH
    z = math.atanh(r)
    low, high = (math.tanh(z + sign * width) ** 2 for sign in (-1, 1))
    return Measured(pairs, {"r2": Estimate(r**2, low, high)}, {"r2": np.array([r])})


def test_seeds_needed_solve_the_variance_that_seeds_average_out() -> None:
    measured = seeded(noise=0.6)
    frame = measured.pairs.frame
    z = [
        math.atanh(float(np.corrcoef(part["accuracy_proxy"], part["accuracy_target"])[0, 1]))
        for _, part in frame.groupby("seed")
    ]
    of_seeds = float(np.var(z, ddof=1))
    rest = (WIDTH / 1.959964) ** 2 - of_seeds / 3
    assert rest > 0
    own = math.atanh(math.sqrt(measured.estimates["r2"].value))
    # A threshold that 10 seeds reach and 9 do not.
    distance = 1.959964 * math.sqrt(rest + of_seeds / 9.5)
    assert seeds_needed(measured, math.tanh(own + distance) ** 2) == 10
    # One closer than what only other configurations reduce is out of reach.
    assert seeds_needed(measured, math.tanh(own + 1.9 * math.sqrt(rest)) ** 2) is None


def test_seeds_that_all_say_the_same_would_add_nothing() -> None:
    one = seeded(noise=0.6, seeds=1)
    frame = pd.concat([one.pairs.frame.assign(seed=seed) for seed in (0, 1)], ignore_index=True)
    twice = Measured(Pairs(frame, 0), one.estimates, one.samples)
    assert seeds_needed(twice, 0.9) is None
    assert "more seeds alone would not" in needed("a", twice, 0.9)
    assert seeds_needed(one, 0.9) is None
    assert "what further seeds would do, a second one will tell" in needed("a", one, 0.9)


def test_a_seed_that_cannot_be_told_leaves_the_number_of_seeds_open() -> None:
    one = seeded(noise=0.6, seeds=1)
    few = one.pairs.frame.iloc[:2].assign(seed=1)
    partial = Measured(Pairs(pd.concat([one.pairs.frame, few], ignore_index=True), 0), one.estimates, one.samples)
    assert seeds_needed(partial, 0.9) is None


def test_the_number_of_seeds_is_told_where_it_decides() -> None:
    measured = seeded(noise=0.6)
    own = math.atanh(math.sqrt(measured.estimates["r2"].value))
    text = needed("a", measured, math.tanh(own + 0.49) ** 2)
    assert re.search(r"about \d+ configurations \(now 30\) would decide", text)
    count = seeds_needed(measured, math.tanh(own + 0.49) ** 2)
    assert count is None or f"or {count} seeds (now 3)" in text


def test_a_good_proxy_of_a_whole_study_is_found() -> None:
    proxies = {"random:0.1": (0.1, 0.002), "random:0.5": (0.5, 0.001), "hardest:0.1": (0.11, 0.2)}
    verdict = measure_study(trainings_frame(noisy_study(proxies)), QualityOptions(bootstrap=200), VOCABULARY).verdict
    assert verdict.strategy == "random:0.1"
    assert not CLAIMS.search(" ".join(verdict.sentences))
