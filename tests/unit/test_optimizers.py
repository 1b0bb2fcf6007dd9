"""Both ways to take a step give the same weights, and neither asks the device anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from benchmarks.operations import Operations
from proxyflow.trainers.images.optimizers import OPTIMIZERS, split_parameters


@pytest.fixture(params=list(OPTIMIZERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 40, 3), nn.Linear(5, 6))


def schedule(steps: int) -> Iterator[tuple[float, float]]:
    """Rates that rise and momenta that fall."""
    for step in range(steps):
        yield 0.01 * (step + 1) / steps, 0.95 - 0.1 * step / steps


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def worst(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float(((a - b).abs().max() / a.abs().max()).detach()) for a, b in pairs)


def test_steps_by_tensors_are_steps_by_numbers(name: str) -> None:
    by_numbers, by_tensors = model(), model()
    one, other = OPTIMIZERS[name](by_numbers, 0.01), OPTIMIZERS[name](by_tensors, 0.01)
    fine = torch.tensor(0.0)
    for rate, momentum in schedule(60):
        gradients = [torch.randn_like(p) * 0.1 for p in one.parameters]
        one.step([g.clone() for g in gradients], rate, momentum)
        other.step_on_device(gradients, scalar(rate), scalar(momentum), fine)
    assert worst(by_numbers, by_tensors) < 1e-6
    assert worst(by_numbers, model()) > 0.01


def test_an_overflow_changes_nothing_and_the_next_step_goes_on(name: str) -> None:
    disturbed, undisturbed = model(), model()
    one, other = OPTIMIZERS[name](disturbed, 0.01), OPTIMIZERS[name](undisturbed, 0.01)
    fine, overflow = torch.tensor(0.0), torch.tensor(1.0)
    for number, (rate, momentum) in enumerate(schedule(20)):
        gradients = [torch.randn_like(p) for p in one.parameters]
        if number % 5 == 3:
            before = [p.detach().clone() for p in one.parameters]
            bad = [g * float("inf") for g in gradients]
            one.step_on_device(bad, scalar(rate), scalar(momentum), overflow)
            assert all(torch.equal(a, b) for a, b in zip(before, one.parameters, strict=True))
        for optimizer in (one, other):
            optimizer.step_on_device([g.clone() for g in gradients], scalar(rate), scalar(momentum), fine)
    assert worst(undisturbed, disturbed) < 1e-6


def test_steps_may_go_on_the_other_way(name: str) -> None:
    """A checkpoint of a GPU's training may be resumed on a CPU, and the other way round."""
    straight, crossed = model(), model()
    one, other = OPTIMIZERS[name](straight, 0.01), OPTIMIZERS[name](crossed, 0.01)
    for number, (rate, momentum) in enumerate(schedule(24)):
        gradients = [torch.randn_like(p) * 0.1 for p in one.parameters]
        one.step([g.clone() for g in gradients], rate, momentum)
        if number in (8, 16):
            other.settle()
        if 8 <= number < 16:
            other.step_on_device(gradients, scalar(rate), scalar(momentum), torch.tensor(0.0))
        else:
            other.step(gradients, rate, momentum)
    assert worst(straight, crossed) < 1e-6


def test_a_reset_optimizer_is_a_new_one_whatever_went_wrong_before(name: str) -> None:
    used, new = model(), model()
    gradients = [torch.full_like(p, float("nan")) for p in used.parameters()]
    optimizer = OPTIMIZERS[name](used, 0.01)
    for _ in range(3):
        optimizer.step_on_device(gradients, scalar(0.1), scalar(0.9), torch.tensor(0.0))
    optimizer.reset()
    used.load_state_dict(new.state_dict())
    for each in (optimizer, OPTIMIZERS[name](new, 0.01)):
        each.step_on_device([torch.ones_like(p) for p in each.parameters], scalar(0.1), scalar(0.9), torch.tensor(0.0))
    assert worst(new, used) == 0


def test_norms_and_biases_do_not_decay(name: str) -> None:
    network = model()
    decayed, others = split_parameters(network)
    assert [tuple(p.shape) for p in decayed] == [(4, 3, 3, 3), (40, 4, 3, 3), (6, 5)]
    assert {p.ndim for p in others} == {1}
    before = [p.detach().clone() for p in (*decayed, *others)]
    optimizer = OPTIMIZERS[name](network, 0.1)
    optimizer.step([torch.zeros_like(p) for p in optimizer.parameters], 0.5, 0.9)
    for old, new in zip(before, (*decayed, *others), strict=True):
        assert torch.allclose(new, old * (1 - 0.5 * 0.1) if new.ndim > 1 else old, atol=1e-7)


@pytest.mark.parametrize("on_device", [False, True])
def test_a_step_is_few_operations_however_many_parameters_there_are(name: str, on_device: bool) -> None:
    def count(layers: int) -> int:
        optimizer = OPTIMIZERS[name](nn.Sequential(*(nn.Linear(4, 4) for _ in range(layers))), 0.01)
        gradients = [torch.ones_like(p) for p in optimizer.parameters]
        rate, momentum, fine = scalar(0.01), scalar(0.9), torch.tensor(0.0)
        with Operations() as counted:
            if on_device:
                optimizer.step_on_device(gradients, rate, momentum, fine)
            else:
                optimizer.step(gradients, 0.01, 0.9)
        assert not counted.waits
        return len(counted.names)

    assert count(2) == count(40)
    assert count(2) <= (40 if on_device else 3)
