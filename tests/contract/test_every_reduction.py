"""What holds for every reduction: as a value, and in trainings of the image trainer with both engines."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from image_training import CPU, few_digits, planned_of, spec_of, untimed
from made_up import digits

from proxyflow.proxies import parse_proxy, reductions
from proxyflow.strategies import parse_strategy
from proxyflow.studies.trainings import apply_budget
from proxyflow.subsets import Subset, choose_subset
from proxyflow.testing import Check, reduction_checks
from proxyflow.trainers import Job, Trained
from proxyflow.trainers.images.engine import engines
from proxyflow.trainers.model_access import NO_HOOKS

CHECKS = [(name, check) for name, cls in reductions.items() for check in reduction_checks(cls)]
# One proxy for each kind of reduction, and what a training of it has less of, or more.
TRAINED = {
    "epochs:1": "examples",
    "size:8": "flops",
    "width:0.5": "flops",
    "batch:8": "steps",
    "batch:8,scale=linear": "steps",
    "curriculum:0.5,order=random": "examples",
    "random:0.5": "examples",
    "random:0.5+epochs:1+size:8+width:0.5+batch:8": "flops",
}


@pytest.mark.parametrize("check", [check for _, check in CHECKS], ids=[f"{name}-{check}" for name, check in CHECKS])
def test_it_keeps_its_promises(check: Check) -> None:
    check()


def test_every_reduction_is_trained() -> None:
    assert set(reductions) <= {each.name for text in TRAINED for each in parse_proxy(text).reductions}


@cache
def _of(data: str) -> Subset:
    """Of the same 130 examples."""
    return choose_subset(replace(digits(), train=few_digits(0.1).train), parse_strategy(data), 0)


@cache
def trained(text: str, engine: str = "fast", again: int = 0) -> Trained:
    """The training of a proxy of two epochs at 16 pixels, with a network that has channels to lose."""
    spec = spec_of(2, image_size=16, arch="xresnet18-w16", engine=engine)
    planned = planned_of(text, spec)
    subset, used, _ = apply_budget(planned, _of(planned.strategy.data.canonical))
    return used.trainer.train_with_hooks(Job(used, subset, CPU), NO_HOOKS)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("text", "kind"), TRAINED.items(), ids=list(TRAINED))
def test_it_costs_less_or_takes_more_steps(text: str, kind: str) -> None:
    full, result = trained("full").result, trained(text).result
    assert result.steps
    assert full.steps
    flops = result.train_flops, full.train_flops
    if kind == "steps":
        assert result.steps >= 3 * full.steps, "the same examples in smaller batches"
        assert flops[0] == pytest.approx(flops[1], rel=0.1)
    elif kind == "examples":
        assert result.examples_seen <= 0.5 * full.examples_seen  # type: ignore[operator]
        assert flops[0] / result.examples_seen == pytest.approx(flops[1] / full.examples_seen)  # type: ignore[operator]
    else:
        assert flops[0] < 0.6 * flops[1]  # type: ignore[operator]


@pytest.mark.parametrize("engine", list(engines))
@pytest.mark.parametrize("text", list(TRAINED))
def test_its_results_repeat_in_every_engine(text: str, engine: str) -> None:
    first, second = (untimed(trained(text, engine, number).result) for number in (0, 1))
    assert first == second
    assert all(np.isfinite(list(record.values())).all() for record in first)


@pytest.mark.parametrize("text", list(TRAINED))
def test_both_engines_show_the_same_examples(text: str) -> None:
    counts = {(trained(text, name).result.steps, trained(text, name).result.examples_seen) for name in engines}
    assert len(counts) == 1


@pytest.mark.parametrize("text", list(TRAINED))
def test_steps_are_stated_as_a_param(text: str) -> None:
    result = trained(text).result
    assert result.params["steps"] == result.steps
