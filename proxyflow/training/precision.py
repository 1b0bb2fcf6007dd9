"""What a requested precision means, and whether there is a GPU at all: told without torch, whose import takes seconds
and half a gigabyte, so that planning a study does not need it."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path

from proxyflow.errors import InvalidValue

# Of x86 and of Arm, as Linux names them.
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"}
BF16_FROM = 64

# Up to here the last stage strides over a single pixel, and the weights' gradient of such a convolution comes back
# with parts that were never written (torch 2.15, oneDNN): values of 1e26 were seen.
BF16_WRONG_TO = 16

# NVIDIA's driver on Linux and on Windows, and the device of AMD's.
DRIVERS = ("libcuda.so.1", "nvcuda.dll")
AMD = Path("/dev/kfd")
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


@lru_cache
def may_have_gpu() -> bool:
    """Whether torch could find a GPU: false only where no driver knows of one, so that torch need not be asked."""
    if AMD.exists():
        return True
    for name in DRIVERS:
        try:
            driver = ctypes.CDLL(name)
            # Other errors may be of this moment, so it is torch that says what they mean.
            return bool(driver.cuInit(0) != NO_DEVICE)
        except (OSError, AttributeError):
            continue
    return False


@lru_cache
def cpu_has_bf16() -> bool:
    """Whether this processor multiplies in bf16; where it does not, bf16 is slower than fp32."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    lines = (line.partition(":") for line in text.splitlines())
    flags = {flag for key, _, value in lines if key.strip() in ("flags", "Features") for flag in value.split()}
    return bool(flags & BF16_FLAGS)


def precision_name(requested: str, device_type: str, image_size: int) -> str:
    """What `requested` means for images of `image_size` pixels a side on a device of this type (`cuda`, `cpu`).

    auto is fp16 on CUDA (the published setting). On a CPU it is bf16 where the processor has it and images are large
    enough to gain by it (1.35 to 3 times as fast from 64 px on, no faster at 32 px), else fp32.

    Raises:
        InvalidValue: fp16 on a CPU, where no gradient scaling makes it trainable; bf16 on a CPU for images that it gets
            wrong.
    """
    name = requested
    if requested == "auto":
        gains = image_size >= BF16_FROM and cpu_has_bf16()
        name = "fp16" if device_type == "cuda" else "bf16" if gains else "fp32"
    if name == "fp16" and device_type != "cuda":
        raise InvalidValue(
            "precision", requested, f"fp16 needs a CUDA device and this is {device_type}; use auto, fp32 or bf16"
        )
    if name == "bf16" and device_type == "cpu" and image_size <= BF16_WRONG_TO:
        raise InvalidValue(
            "precision",
            requested,
            f"torch's bf16 convolutions give wrong gradients on a CPU for images of {image_size} pixels; use auto, "
            f"fp32, or an image_size above {BF16_WRONG_TO}",
        )
    return name
