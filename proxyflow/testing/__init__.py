"""What every plug-in promises, as checks that the authors of plug-ins run on theirs.

Each kind of plug-in has a list of checks, which the built-in plug-ins pass as well. A check is a function without
arguments that raises an `AssertionError` with what is wrong. With pytest:

Example:
    >>> import pytest
    >>> from proxyflow.strategies import Random
    >>> from proxyflow.testing import strategy_checks
    >>> @pytest.mark.parametrize("check", strategy_checks(Random), ids=str)
    ... def test_random(check):
    ...     check()

Without it, `run_checks` runs a list and raises one error that names all that failed:

Example:
    >>> from proxyflow.testing import run_checks
    >>> run_checks(strategy_checks(Random))

A plug-in is found by its name, so the package that offers it must be installed (`pip install -e .`).
"""

from proxyflow.testing.checks import Check, run_checks
from proxyflow.testing.datasets import dataset_checks
from proxyflow.testing.executors import executor_checks
from proxyflow.testing.reductions import reduction_checks
from proxyflow.testing.samplers import sampler_checks
from proxyflow.testing.scores import score_checks
from proxyflow.testing.strategies import strategy_checks
from proxyflow.testing.trainers import trainer_checks

__all__ = [
    "Check",
    "dataset_checks",
    "executor_checks",
    "reduction_checks",
    "run_checks",
    "sampler_checks",
    "score_checks",
    "strategy_checks",
    "trainer_checks",
]
