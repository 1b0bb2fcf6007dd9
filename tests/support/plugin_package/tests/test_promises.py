"""The package's own tests: every plug-in keeps the promises of its kind."""

import pytest
from proxyflow_example.reductions import Points
from proxyflow_example.samplers import edges
from proxyflow_example.scores import gap
from proxyflow_example.strategies import Middle
from proxyflow_example.trainers import Surface

from proxyflow.testing import (
    Check,
    dataset_checks,
    executor_checks,
    reduction_checks,
    sampler_checks,
    score_checks,
    strategy_checks,
    trainer_checks,
)

CHECKS = [
    *dataset_checks("waves"),
    *score_checks(gap),
    *strategy_checks(Middle),
    *reduction_checks(Points),
    *sampler_checks(edges),
    *trainer_checks(Surface(), {"width": 0.5}, "waves"),
    *executor_checks("in-turn"),
]


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_promises(check: Check) -> None:
    check()
