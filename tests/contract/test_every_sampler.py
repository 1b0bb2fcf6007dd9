"""What holds for every sampler."""

from __future__ import annotations

import pytest

from proxyflow.searching.samplers import samplers
from proxyflow.testing import Check, sampler_checks

CHECKS = [(name, check) for name, sampler in samplers.items() for check in sampler_checks(sampler)]


@pytest.mark.parametrize("check", [check for _, check in CHECKS], ids=[f"{name}-{check}" for name, check in CHECKS])
def test_it_keeps_its_promises(check: Check) -> None:
    check()
