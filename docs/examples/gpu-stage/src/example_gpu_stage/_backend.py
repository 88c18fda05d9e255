"""What computes on a GPU: cupy, on the device that this process sees; and why not, where that can't be."""

from __future__ import annotations

import importlib
import os
from typing import Any


class NoGpu(RuntimeError):
    """There is no GPU to compute on where one is needed."""


def on_gpu(gpus: tuple[int, ...]) -> Any:  # Any: cupy need not be installed, and carries no types
    """Return the library that computes on the GPU which the pool lent; NoGpu says why that can't be."""
    reason = _why_not(gpus)
    if reason is not None:
        raise NoGpu(f"{reason}; to compute on CPUs instead set EXAMPLE_GPU_STAGE_CPU=1")
    return importlib.import_module("cupy")


def _why_not(gpus: tuple[int, ...]) -> str | None:
    if not gpus:
        return "the pool lent this task no GPU: it runs where nobody declared that it needs one"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible != ",".join(map(str, gpus)):  # the library would take whichever comes first
        return f"this worker sees the devices {visible!r}, and was lent {gpus}: use the executor processes"
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        return "cupy is not installed: pip install cupy-cuda12x"
    try:
        return None if cupy.cuda.runtime.getDeviceCount() else "CUDA finds no device"
    except Exception as error:  # noqa: BLE001 - a driver that is missing or too old; cupy has errors of its own
        return f"CUDA can't be used: {type(error).__name__}"
