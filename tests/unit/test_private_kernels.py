"""Parts of torch that it does not promise to keep, by name: where it drops one, this says which and who needs it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

PACKAGE = Path(__file__).parents[2] / "proxyflow"

# Operators, with the overloads that are called.
KERNELS = {
    "_fused_adamw_": ("default", "tensor_lr"),
    "_fused_sgd_": ("default", "tensor_lr"),
    "_amp_foreach_non_finite_check_and_unscale_": ("default",),
    "_amp_update_scale_": ("default",),
    "_foreach_mul_": ("Scalar", "Tensor"),
    "_foreach_zero_": ("default",),
}


def used() -> dict[str, set[str]]:
    """Private names that the package takes from torch, with the files that do."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for name in re.findall(r"\btorch\.(_[a-z]\w*)", path.read_text()):
            found.setdefault(name, set()).add(path.relative_to(PACKAGE).as_posix())
    return found


def test_every_private_part_that_is_used_is_named_here() -> None:
    assert set(used()) == set(KERNELS)


@pytest.mark.parametrize("name", list(KERNELS))
def test_torch_still_has_it(name: str) -> None:
    needed_by = ", ".join(sorted(used()[name]))
    operator = getattr(torch.ops.aten, name, None)
    assert operator is not None, f"torch {torch.__version__} has no {name}, which {needed_by} needs"
    missing = [overload for overload in KERNELS[name] if overload not in operator.overloads()]
    assert not missing, f"torch {torch.__version__}: {name} has no overload {missing}, which {needed_by} needs"
    if torch.backends.cuda.is_built():
        for overload in KERNELS[name]:
            full = f"aten::{name}" + ("" if overload == "default" else f".{overload}")
            assert torch._C._dispatch_has_kernel_for_dispatch_key(full, "CUDA"), (
                f"torch {torch.__version__} runs {full} on no CUDA device; {needed_by} needs it there"
            )


@pytest.mark.parametrize("name", ["_fused_adamw_", "_fused_sgd_"])
def test_fused_kernels_take_rate_and_overflow_as_tensors(name: str) -> None:
    schema = getattr(torch.ops.aten, name).tensor_lr._schema
    types = {argument.name: str(argument.type) for argument in schema.arguments}
    assert types["lr"] == "Tensor"
    assert types["found_inf"] == "Optional[Tensor]"
