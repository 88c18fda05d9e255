"""The probe: a ReadRequest comes in, a Reading goes out, once a second, on a thread the pool gives it."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from longshore.hookspecs import hookimpl
from longshore.records import Reading, ReadRequest, Usage

from longshore_nvml._driver import DeviceGone, Driver, DriverGone, Figures
from longshore_nvml._visible import VARIABLE, visible

_log = logging.getLogger("longshore.nvml")


class NvmlProbe:
    """Reads use, memory, temperature and power of each NVIDIA GPU that CUDA_VISIBLE_DEVICES leaves to this process.

    What a device does not say is left out, and so is a device that is lost; without a driver nothing is read. Each of
    these is logged once, and once more when it is over: every reading tries again. Memory that is used is the device's,
    whoever uses it; none of it is ever said to be ours.
    """

    api: int = 1
    resources: Sequence[str] = ("gpu", "gpu_memory", "gpu_temperature", "gpu_power")
    period_s: float = 1.0

    def __init__(self, *, environ: Mapping[str, str] = os.environ) -> None:
        """Prepare; no library is loaded yet. `environ` is where CUDA_VISIBLE_DEVICES is looked up."""
        self._environ = environ
        self._driver = Driver()
        self._complaints: dict[str, str] = {}
        # Not at the interpreter's exit: the process gives all back then, and a driver that hangs would hold it up.
        weakref.finalize(self, self._driver.close).atexit = False

    @hookimpl
    def read(self, request: ReadRequest) -> Reading:
        """Read every device once; it is the machine's use that is read, so the workers of `request` do not matter."""
        usage: dict[str, Usage] = {}
        try:
            self._driver.open()
            self._read_all(usage)
        except DriverGone as gone:
            usage.clear()
            self._driver.close()  # the next reading begins anew
            self._complain("GPUs", str(gone))
        else:
            self._complain("GPUs", None)
        return Reading(datetime.now(UTC), usage)

    def close(self) -> None:
        """Give the library back; a reading after that opens it again."""
        self._driver.close()

    def _read_all(self, usage: dict[str, Usage]) -> None:
        said = self._environ.get(VARIABLE)
        count = self._driver.count()
        indices = visible(said, count, self._driver.uuid)
        hidden = count and not indices
        self._complain(VARIABLE, f"{said!r} leaves none of the {count} GPUs that are here" if hidden else None)
        for index in indices:
            name = f"GPU {index}"
            try:
                figures = self._driver.figures(index)
            except DeviceGone as gone:
                self._complain(name, str(gone))
                continue
            self._complain(name, figures.refused)
            usage.update(_usage(index, figures))
        if indices and not usage:
            self._driver.close()  # devices that were reset may be seen again by a library that begins anew

    def _complain(self, of: str, reason: str | None) -> None:
        """Log what is wrong with something, None for nothing, if that is news."""
        before = self._complaints.pop(of, None)
        if reason is not None:
            self._complaints[of] = reason
        if reason is not None and reason != before:
            _log.warning("%s: %s", of, reason)
        elif reason is None and before is not None:
            _log.warning("%s: read again", of)


def _usage(index: int, figures: Figures) -> dict[str, Usage]:
    """Return what is known of one device, by the keys of a reading."""
    known = {
        "gpu": (figures.utilisation_percent, 100.0),
        "gpu_memory": (figures.memory_used_mb, figures.memory_mb),
        "gpu_temperature": (figures.temperature_c, None),
        "gpu_power": (figures.power_w, figures.power_limit_w),
    }
    return {f"{key}.{index}": Usage(used, of) for key, (used, of) in known.items() if used is not None}
