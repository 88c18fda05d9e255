"""longshore-psutil: the probe `psutil`, what a machine has left of CPU, memory, disk and network."""

from longshore_psutil._probe import PsutilProbe

__all__ = ["PsutilProbe"]
