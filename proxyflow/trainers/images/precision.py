"""Resolves a requested precision to its name without torch, whose import takes seconds and half a gigabyte."""

from __future__ import annotations

from functools import lru_cache

from proxyflow.core.errors import InvalidValue
from proxyflow.core.platform import processor_flags

# Linux's names of CPU features of x86 and Arm.
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"}
BF16_FROM = 64

# At these sizes the last stage strides over a single pixel, and the weight gradient of such a convolution contains
# uninitialized memory (torch 2.15, oneDNN; values of 1e26 observed).
BF16_WRONG_TO = 16


@lru_cache
def cpu_has_bf16() -> bool:
    """Whether this processor multiplies in bf16; where it does not, bf16 is slower than fp32."""
    return bool(processor_flags() & BF16_FLAGS)


def precision_name(requested: str, device_type: str, image_size: int) -> str:
    """Resolves `requested` for images of `image_size` pixels on a device of this type (`cuda`, `cpu`).

    auto is fp16 on CUDA (the published setting). On a CPU it is bf16 if the CPU supports it and images have at least
    64 px (1.35 to 3 times as fast; no faster at 32 px), else fp32.

    Raises:
        InvalidValue: fp16 or tf32 on a CPU, or bf16 on a CPU for images with wrong gradients (`BF16_WRONG_TO`).
    """
    name = requested
    if requested == "auto":
        gains = image_size >= BF16_FROM and cpu_has_bf16()
        name = "fp16" if device_type == "cuda" else "bf16" if gains else "fp32"
    if name in ("fp16", "tf32") and device_type != "cuda":
        raise InvalidValue(
            "precision", requested, f"{name} needs a CUDA device and this is {device_type}; use auto, fp32 or bf16"
        )
    if name == "bf16" and device_type == "cpu" and image_size <= BF16_WRONG_TO:
        raise InvalidValue(
            "precision",
            requested,
            f"torch's bf16 convolutions compute wrong gradients on a CPU for images of {image_size} pixels; use auto, "
            f"fp32, or an image_size above {BF16_WRONG_TO}",
        )
    return name
