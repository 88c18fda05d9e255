"""Probes read on threads of their own; whoever needs a reading takes the newest, and never waits for one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import inf
from typing import Any

from longshore._packing import described
from longshore.hookspecs import Probe
from longshore.records import Reading, ReadRequest, Usage, WorkerUsage

_log = logging.getLogger("longshore.probes")
_QUIET_AFTER = 3  # a probe that keeps failing is logged this often, and tried on
_PERIOD_S = 1.0  # between two tries, while a probe can't say its period
_SILENT_S = 30.0  # several readings of any probe that is of use for admission
_PERIOD_LEAST_S = 0.001  # so that no probe takes a core
_VALID_S, _VALID_PERIODS = 5.0, 5.0  # how long a reading counts if none follows: this, and so many periods


class Probing:
    """The newest readings of some probes. One daemon thread each: one that hangs keeps nobody but itself."""

    def __init__(
        self,
        probes: Mapping[str, Probe],
        pids: Callable[[], Sequence[int]],
        *,
        period_s: float | None = None,
        told: Callable[[str], None] = lambda name: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take probes by name; `pids` names the worker processes to account for.

        Each is read every `period_s` seconds, None: as often as it says itself. `told` hears on the probe's thread of
        each reading, by the probe's name. `clock` says how old a reading is.
        """
        self._probes = probes
        self._pids = pids
        self._period_s = period_s
        self._told = told
        self._clock = clock
        self._readings: dict[str, Reading] = {}
        self._heard_s: dict[str, float] = {}  # when each last gave a reading, or began
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._periods_s: dict[str, float] = {}
        self.errors = 0
        self.last_error: str | None = None

    def start(self) -> None:
        """Begin to read."""
        self._heard_s = dict.fromkeys(self._probes, self._clock())
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

    @property
    def valid_s(self) -> float:
        """How long a reading counts if none follows."""
        return _VALID_S + _VALID_PERIODS * self.longest_s

    def usage(self) -> dict[str, Usage]:
        """Return the newest readings of all probes together, without those that are too old to count."""
        together: dict[str, Usage] = {}
        for reading in self._valid():
            together.update(reading.usage)
        return together

    def workers(self) -> dict[int, WorkerUsage]:
        """Return what the newest readings say of worker processes."""
        together: dict[int, WorkerUsage] = {}
        for reading in self._valid():
            together.update(reading.workers)
        return together

    def _valid(self) -> Iterator[Reading]:
        since_s = self._clock() - self.valid_s
        return (reading for name, reading in list(self._readings.items()) if self._heard_s[name] >= since_s)

    def silent(self) -> Sequence[str]:
        """Return the probes that have given no reading for long."""
        since_s = self._clock() - max(_SILENT_S, 3.0 * self.longest_s)
        return [name for name, heard_s in list(self._heard_s.items()) if heard_s < since_s]

    def quiet_s(self) -> float:
        """Return the seconds since any probe last gave a reading; 0 where there is none."""
        heard_s = list(self._heard_s.values())
        return max(0.0, self._clock() - max(heard_s)) if heard_s else 0.0

    def _read(self, name: str, probe: Probe) -> None:
        failed, period_s = 0, self._period_s or _PERIOD_S
        while not self._stop.is_set():
            due = time.monotonic()
            try:
                if self._period_s is None:
                    period_s = _period(probe)
                self._periods_s[name] = period_s
                reading = _checked(probe.read(ReadRequest(self._pids())))
                self._readings[name], self._heard_s[name] = reading, self._clock()
                self._told(name)
                failed = 0
            except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, and reading goes on
                if self._stop.is_set():  # what it read may have been ended with the rest
                    break
                self.errors += 1
                self.last_error = described(error)
                failed += 1
                if failed <= _QUIET_AFTER:
                    _log.warning("probe %s could not read: %s", name, self.last_error)
            self._stop.wait(min(max(_PERIOD_LEAST_S, due + period_s - time.monotonic()), threading.TIMEOUT_MAX))
        with suppress(BaseException):  # as above; it reads no more
            getattr(probe, "close", lambda: None)()


def _period(probe: Probe) -> float:
    """Return a probe's period; ValueError where it is none, TypeError where it is no number."""
    period_s = float(probe.period_s)
    if not 0 <= period_s < inf:
        raise ValueError(f"period_s is {period_s!r} where a number of seconds was due")
    return period_s


def _checked(reading: object) -> Reading:
    """Return a reading that can be worked with; TypeError or ValueError says what of it cannot.

    One that got further would fail whoever adds all probes' readings up, so that one probe would stop the others.
    """
    if not isinstance(reading, Reading):
        raise TypeError(f"read() gave {type(reading).__name__} where a Reading was due")
    usage: Mapping[Any, Any] = reading.usage  # Any: a plugin may give anything, nobody has checked it
    for key, one in usage.items():
        if not isinstance(key, str) or not isinstance(one, Usage):
            raise TypeError(f"read() gave {type(one).__name__} for {key!r} where a Usage was due")
        capacities = [one.capacity, *(bound.capacity for bound in one.bounds)]
        wrong = [amount for amount in (*capacities, one.own) if amount is not None and not -inf < amount < inf]
        wrong += [amount for amount in (one.used, *(bound.used for bound in one.bounds)) if not -inf < amount < inf]
        if wrong:
            raise ValueError(f"read() gave {_amount(wrong[0])} for {key}")
        if any(capacity is not None and capacity < 0 for capacity in capacities):
            raise ValueError(f"read() gave a capacity below 0 for {key}")
    workers: Mapping[Any, Any] = reading.workers  # Any: as above
    for pid, used in workers.items():
        if not isinstance(used, WorkerUsage) or not (0 <= used.cpu_s < inf and 0 <= used.memory_mb < inf):
            raise ValueError(f"read() gave {used!r} for worker {pid!r}")
    return reading


def _amount(value: object) -> str:
    return "NaN" if value != value else repr(value)  # only NaN is not itself
