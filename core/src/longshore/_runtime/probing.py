"""Probes read on threads of their own; whoever needs a reading takes the newest, and never waits for one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from longshore.hookspecs import Probe
from longshore.records import Reading, ReadRequest, Usage

_log = logging.getLogger("longshore.probes")
_QUIET_AFTER = 3  # a probe that keeps failing is logged this often, and tried on
_PERIOD_S = 1.0  # between two tries, while a probe can't say its period
_SILENT_S = 30.0  # several readings of any probe that is of use for admission
_PERIOD_LEAST_S = 0.001  # so that no probe takes a core


class Probing:
    """The newest readings of some probes. One daemon thread each: one that hangs keeps nobody but itself."""

    def __init__(
        self,
        probes: Mapping[str, Probe],
        pids: Callable[[], Sequence[int]],
        *,
        period_s: float | None = None,
        told: Callable[[str], None] = lambda name: None,
    ) -> None:
        """Take probes by name; `pids` names the worker processes to account for.

        Each is read every `period_s` seconds, None: as often as it says itself. `told` hears on the probe's thread of
        each reading, by the probe's name.
        """
        self._probes = probes
        self._pids = pids
        self._period_s = period_s
        self._told = told
        self._readings: dict[str, Reading] = {}
        self._heard_s: dict[str, float] = {}  # when each last gave a reading, or began
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._periods_s: dict[str, float] = {}
        self.errors = 0
        self.last_error: str | None = None

    def start(self) -> None:
        """Begin to read."""
        self._heard_s = dict.fromkeys(self._probes, time.monotonic())
        for name, probe in self._probes.items():
            thread = threading.Thread(
                target=self._read, args=(name, probe), name=f"longshore-probe-{name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    @property
    def longest_s(self) -> float:
        """The longest time between two readings of one probe."""
        return max(self._periods_s.values(), default=_PERIOD_S)

    def stop(self) -> None:
        """Read no more; a probe that is inside a reading is left to itself."""
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the threads, `timeout_s` for all of them."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def usage(self) -> dict[str, Usage]:
        """Return the newest readings of all probes together."""
        together: dict[str, Usage] = {}
        for reading in list(self._readings.values()):
            together.update(reading.usage)
        return together

    def silent(self) -> Sequence[str]:
        """Return the probes that have given no reading for long."""
        since_s = time.monotonic() - max(_SILENT_S, 3.0 * self.longest_s)
        return [name for name, heard_s in list(self._heard_s.items()) if heard_s < since_s]

    def _read(self, name: str, probe: Probe) -> None:
        failed, period_s = 0, self._period_s or _PERIOD_S
        while not self._stop.is_set():
            due = time.monotonic()
            try:
                if self._period_s is None:
                    period_s = float(probe.period_s)
                self._periods_s[name] = period_s
                reading = probe.read(ReadRequest(self._pids()))
                if not isinstance(reading, Reading):
                    raise TypeError(f"read() gave {type(reading).__name__} where a Reading was due")
                nans = [key for key, one in reading.usage.items() if one.used != one.used]  # only NaN is not itself
                if nans:
                    raise ValueError(f"read() gave NaN for {', '.join(nans)}")
                self._readings[name] = reading
                self._heard_s[name] = time.monotonic()
                self._told(name)
                failed = 0
            except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, and reading goes on
                self.errors += 1
                self.last_error = f"{type(error).__name__}: {error}"
                failed += 1
                if failed <= _QUIET_AFTER:
                    _log.warning("probe %s could not read: %s: %s", name, type(error).__name__, error)
            self._stop.wait(max(_PERIOD_LEAST_S, due + period_s - time.monotonic()))
