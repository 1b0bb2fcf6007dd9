"""The one-cycle schedule is fastai's, at every step."""

from __future__ import annotations

import pytest
from fastai.callback.schedule import combined_cos

from proxyflow.trainers.images.schedule import DIV, DIV_FINAL, MOMENTA, PCT_START, OneCycle


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_the_schedule_is_fastais(steps: int) -> None:
    rate = combined_cos(PCT_START, 0.01 / DIV, 0.01, 0.01 / DIV_FINAL)
    momentum = combined_cos(PCT_START, *MOMENTA)
    schedule = OneCycle.of(steps, 0.01)
    assert len(schedule.rates) == len(schedule.momenta) == steps
    for step in range(steps):
        assert schedule.rates[step] == pytest.approx(float(rate(step / steps)), rel=1e-5)
        assert schedule.momenta[step] == pytest.approx(float(momentum(step / steps)), rel=1e-5)
