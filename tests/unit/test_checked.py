"""What a check says of known losses: against the best, and where tuning on everything is uncertain, against that."""

from __future__ import annotations

import dataclasses

import pytest
from made_up_search import found_search

from proxyflow.proxies import TARGET, parse_proxies
from proxyflow.searching.safety import Loss
from proxyflow.spaces.metric import Metric
from proxyflow.studies.checked import Checked, CheckedProxy

CHEAP, DEAR = parse_proxies("epochs:1 random:0.25")


def checked(cheap: Loss, full: Loss, idle: int = 0, asked: int = 1, time: float = 0.1) -> Checked:
    """Two proxies, of which the dear one is always safe."""
    proxies = (
        CheckedProxy(CHEAP, 0.1, time, cheap, 3.0, idle),
        CheckedProxy(DEAR, 0.3, 0.3, Loss(1, 0.1, 0.0, 0.2, (0.0, 0.0, 0.1)), 0.0, 0),
        CheckedProxy(TARGET, 1.0, 1.0, full, 0.0, 0),
    )
    spec = dataclasses.replace(found_search().spec, tolerance=0.5)
    return Checked(spec, (CHEAP, DEAR)[:asked], 10, proxies, 0.5)


CERTAIN, UNCERTAIN = Loss(2, 0.1, 0.0, 0.3), Loss(2, 1.0, 0.2, 2.0)


def test_a_proxy_that_loses_too_much_is_not_safe_and_the_cheapest_that_is_is_named() -> None:
    found = checked(Loss(0, 0.9, 0.6, 1.5, (0.8, 0.1, 0.4)), CERTAIN)
    assert not found.is_relative
    assert not found.is_safe(found.proxies[0])
    assert found.cheapest_safe is found.proxies[1]
    [sentence] = found.sentences
    assert "is not safe: it is expected to lose 0.90 points [0.60, 1.50]" in sentence
    assert (
        "Use random:0.25 instead, for 0.30 of a full training: it is expected to lose 0.10 [0.00, 0.20] points."
        in sentence
    )


def test_where_tuning_on_everything_is_uncertain_itself_proxies_are_compared_with_it() -> None:
    found = checked(Loss(0, 1.1, 0.3, 2.2, (0.1, 0.0, 0.4)), UNCERTAIN)
    assert found.is_relative
    assert found.is_safe(found.proxies[0])
    assert found.cheapest_safe is found.proxies[0]
    assert (
        "is safe: it is expected to lose 0.10 points [0.00, 0.40] more than tuning on everything" in found.sentences[0]
    )
    assert any("loses 1.00 [0.20, 2.00] points itself" in each for each in found.remarks)
    assert [row["safe"] for row in found.table] == [True, True, None]


def test_a_proxy_on_which_nothing_learned_is_never_safe() -> None:
    nothing = checked(Loss(0, 0.0, 0.0, 0.0), CERTAIN, idle=10)
    assert not nothing.is_safe(nothing.proxies[0])
    assert "none of its 10 trainings learned anything" in nothing.sentences[0]
    some = checked(Loss(0, 0.0, 0.0, 0.0), CERTAIN, idle=4)
    assert some.is_safe(some.proxies[0])
    assert "4 of its 10 trainings learned nothing" in some.sentences[0]


def test_other_proxies_are_said_to_be_unsafe_only_if_there_are_any() -> None:
    bad = Loss(1, 9.0, 8.0, 10.0, (9.0, 8.0, 10.0))
    for asked, words in ((1, "No other proxy is safe either"), (2, "accepted. Use search")):
        found = checked(bad, CERTAIN, asked=asked)
        unsafe = (found.proxies[0], dataclasses.replace(found.proxies[1], loss=bad), found.proxies[2])
        assert words in dataclasses.replace(found, proxies=unsafe).sentences[-1]


@pytest.mark.parametrize(("time", "noted"), [(0.95, True), (0.2, False), (float("nan"), False)])
def test_a_proxy_that_saves_no_time_is_named(time: float, noted: bool) -> None:
    found = checked(Loss(0, 0.1, 0.0, 0.2), CERTAIN, time=time)
    assert any("epochs:1 takes nearly as long" in each for each in found.remarks) == noted


def test_a_tolerance_in_the_unit_of_a_metric_says_where_it_comes_from() -> None:
    found = checked(Loss(0, 0.9, 0.6, 1.5), CERTAIN)
    other = dataclasses.replace(found, spec=dataclasses.replace(found.spec, trainer=OfLoss()))  # type: ignore[arg-type]
    assert "and up to 0.5 (tolerance=0.5, in per cent of the spread of values) is accepted" in other.sentences[0]
    assert "0.9 in loss [0.6, 1.5]" in other.sentences[0]


class OfLoss:
    """A trainer of which only the metric is read."""

    metric = Metric("valid_loss", "minimize")
