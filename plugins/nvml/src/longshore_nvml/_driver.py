"""NVIDIA's management library, by way of nvidia-ml-py: the figures of device N come out, None where there is none.

The only file that knows `pynvml`, which is imported with the first reading: a pool that never starts need not pay for
it. Processes on a device are never asked for: in a container their ids are those of another namespace, and a stranger's
could be one of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

_BYTES_A_MB = 1_000_000
_MW_A_W = 1000
_NONE_32 = 0xFFFFFFFF
_NONE_64 = 0xFFFFFFFFFFFFFFFF
"""NVML_VALUE_NOT_AVAILABLE, in the two widths it comes in."""
_UPDATED = "the driver was updated: load its kernel module anew, then start this process again"


class DriverGone(Exception):
    """No device can be read until the driver is back; says why."""


class DeviceGone(Exception):
    """One device can't be read; says why."""


class Figures(NamedTuple):
    """What one device says of itself; None for what it does not."""

    utilisation_percent: float | None
    memory_used_mb: float | None
    memory_mb: float | None
    temperature_c: float | None
    power_w: float | None
    power_limit_w: float | None
    refused: str | None
    """What could not be had though the device has it, with the reason."""


class Driver:
    """One use of the library, begun by `open` and ended by `close`; either may be called again."""

    def __init__(self) -> None:
        """Prepare; nothing is loaded yet."""
        self._nvml: Any = None  # Any: pynvml carries no types
        self._is_open = False

    def open(self) -> None:
        """Load and initialise the library, unless that is done; DriverGone where there is none, or no driver."""
        if self._is_open:
            return
        if self._nvml is None:
            import pynvml

            self._nvml = pynvml
        self._call(self._nvml.nvmlInit)
        self._is_open = True

    def close(self) -> None:
        """Give the library back; one whose driver has gone is given back all the same."""
        if self._is_open:
            self._is_open = False
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:  # it was reset under us: there is nothing left to give back
                return

    def count(self) -> int:
        """Return how many devices there are, those that can't be read included; DriverGone if nobody can say."""
        return int(self._call(self._nvml.nvmlDeviceGetCount))

    def uuid(self, index: int) -> str | None:
        """Return the name of a device that stays the same over restarts, such as GPU-8e1f…; None if it can't be had."""
        try:
            return str(self._nvml.nvmlDeviceGetUUID(self._nvml.nvmlDeviceGetHandleByIndex(index)))
        except self._nvml.NVMLError:
            return None

    def figures(self, index: int) -> Figures:
        """Read one device; DeviceGone if it has fallen off the bus or gives nothing, DriverGone if all have."""
        try:
            device = self._nvml.nvmlDeviceGetHandleByIndex(index)
        except self._nvml.NVMLError as error:
            raise _gone(self._nvml, error) or DeviceGone(_words(error)) from error
        return _Look(self._nvml, device).figures()

    def _call(self, function: Callable[[], Any]) -> Any:  # Any: pynvml carries no types
        try:
            return function()
        except self._nvml.NVMLError as error:
            raise DriverGone(str(_gone(self._nvml, error) or _words(error))) from error


class _Look:
    """One look at one device."""

    def __init__(self, nvml: Any, device: Any) -> None:  # Any: pynvml carries no types
        self._nvml, self._device = nvml, device
        self._refused: list[str] = []
        self._heard = False

    def figures(self) -> Figures:
        nvml = self._nvml
        rates = self._ask("utilisation", nvml.nvmlDeviceGetUtilizationRates)
        memory = self._ask("memory", nvml.nvmlDeviceGetMemoryInfo)
        temperature = self._temperature()
        power_mw = self._ask("power", nvml.nvmlDeviceGetPowerUsage)
        limit_mw = self._ask("power limit", nvml.nvmlDeviceGetEnforcedPowerLimit)
        if not self._heard:
            raise DeviceGone(self._refused[0] if self._refused else "it has no figures at all")
        busy = _scaled(rates and rates.gpu, 1, _NONE_32)
        used = _scaled(memory and memory.used, _BYTES_A_MB, _NONE_64)
        total = _scaled(memory and memory.total, _BYTES_A_MB, _NONE_64)
        return Figures(
            utilisation_percent=busy if busy is not None and busy <= 100.0 else None,
            memory_used_mb=used if total else None,
            memory_mb=total or None,
            temperature_c=_scaled(temperature, 1, _NONE_32),
            power_w=_scaled(power_mw, _MW_A_W, _NONE_32),
            power_limit_w=_scaled(limit_mw, _MW_A_W, _NONE_32) or None,
            refused="; ".join(self._refused) or None,
        )

    def _temperature(self) -> Any:  # Any: as pynvml gives it
        sensor = self._nvml.NVML_TEMPERATURE_GPU
        old = self._ask("temperature", lambda device: self._nvml.nvmlDeviceGetTemperature(device, sensor))
        if old is not None:
            return old
        # It takes the place of the other from CUDA 14 on.
        return self._ask("temperature", lambda device: self._nvml.nvmlDeviceGetTemperatureV(device, sensor))

    def _ask(self, what: str, call: Callable[[Any], Any]) -> Any:  # Any: as pynvml gives it
        nvml = self._nvml
        try:
            value = call(self._device)
        except nvml.NVMLError as error:
            gone = _gone(nvml, error)
            if gone is not None:
                raise gone from error
            if error.value not in (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND):
                self._refused.append(f"{what}: {_words(error)}")
            return None  # N/A, as nvidia-smi says it
        self._heard = self._heard or value is not None
        return value


def _gone(nvml: Any, error: Any) -> DriverGone | DeviceGone | None:  # Any: pynvml carries no types
    """Return what an error is told as after which nothing more is worth asking for, None for any other."""
    if error.value == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return DriverGone(f"{_words(error)}: {_UPDATED}")
    if error.value in (nvml.NVML_ERROR_UNINITIALIZED, nvml.NVML_ERROR_DRIVER_NOT_LOADED):
        return DriverGone(_words(error))
    if error.value in (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED):
        return DeviceGone(_words(error))
    return None


def _words(error: Any) -> str:  # Any: pynvml carries no types
    return str(error).rstrip(".")


def _scaled(value: Any, per_unit: int, none: int) -> float | None:  # Any: an integer, or None where there is none
    return None if value is None or value == none else value / per_unit
