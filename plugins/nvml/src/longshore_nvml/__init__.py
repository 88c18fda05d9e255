"""longshore-nvml: the probe `nvml`, what NVIDIA GPUs have left of time and memory, and how warm they are."""

from longshore_nvml._probe import NvmlProbe

__all__ = ["NvmlProbe"]
