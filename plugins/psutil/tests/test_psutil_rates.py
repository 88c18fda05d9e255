"""Disk and network are rates, with counters given by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from longshore.records import ReadRequest
from longshore_psutil import PsutilProbe


class Counters:
    """Stands for psutil's two counter functions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.disk: Any = SimpleNamespace(read_bytes=5_000_000, write_bytes=7_000_000)
        self.network: Any = SimpleNamespace(bytes_sent=1_000_000, bytes_recv=2_000_000)
        monkeypatch.setattr(psutil, "disk_io_counters", lambda nowrap: self._give(self.disk))
        monkeypatch.setattr(psutil, "net_io_counters", lambda nowrap: self._give(self.network))

    def _give(self, what: Any) -> Any:
        if isinstance(what, Exception):
            raise what
        return what


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch) -> Counters:
    return Counters(monkeypatch)


def used(probe: PsutilProbe) -> dict[str, float]:
    return {key: usage.used for key, usage in probe.read(ReadRequest()).usage.items() if "_io." in key}


@pytest.mark.requirement("req:G05", "req:G06")
def test_the_first_sample_is_zero(counters: Counters, clock: Any) -> None:
    """A first reading has nothing to compare with, and says 0."""
    assert used(PsutilProbe(clock=clock)) == {
        "disk_io.read": 0.0,
        "disk_io.write": 0.0,
        "network_io.sent": 0.0,
        "network_io.received": 0.0,
    }


@pytest.mark.requirement("req:G05", "req:G06")
def test_rates_are_over_the_time_that_really_passed(counters: Counters, clock: Any) -> None:
    """100 MB written in two seconds is 50 MB/s, whatever the period was meant to be."""
    probe = PsutilProbe(clock=clock)
    used(probe)
    clock.now += 2.0
    counters.disk = SimpleNamespace(read_bytes=9_000_000, write_bytes=107_000_000)
    counters.network = SimpleNamespace(bytes_sent=1_500_000, bytes_recv=22_000_000)
    assert used(probe) == pytest.approx(
        {"disk_io.read": 2.0, "disk_io.write": 50.0, "network_io.sent": 0.25, "network_io.received": 10.0}
    )


@pytest.mark.requirement("req:G05")
def test_a_counter_that_goes_back_is_a_rate_of_zero(counters: Counters, clock: Any) -> None:
    """A disk that was unplugged makes no negative rate, and the next one counts from there."""
    probe = PsutilProbe(clock=clock)
    used(probe)
    clock.now += 1.0
    counters.disk = SimpleNamespace(read_bytes=0, write_bytes=1_000_000)
    assert used(probe)["disk_io.write"] == 0.0
    clock.now += 1.0
    counters.disk = SimpleNamespace(read_bytes=0, write_bytes=4_000_000)
    assert used(probe)["disk_io.write"] == pytest.approx(3.0)


@pytest.mark.parametrize("absent", [None, PermissionError("no"), RuntimeError("no disks"), psutil.AccessDenied()])
@pytest.mark.requirement("req:G05")
def test_absent_counters_leave_their_keys_out(counters: Counters, clock: Any, absent: Any) -> None:
    """A sandbox without disk counters is read all the same, without the disk keys."""
    counters.disk = absent
    reading = PsutilProbe(clock=clock).read(ReadRequest()).usage
    told = {key for key in reading if not key.startswith("pressure.")}
    assert told == {"cpu", "memory", "network_io.sent", "network_io.received"}


def test_two_readings_at_one_moment_divide_by_nothing(counters: Counters, clock: Any) -> None:
    """A clock that has not moved gives 0, not an error."""
    probe = PsutilProbe(clock=clock)
    used(probe)
    counters.disk = SimpleNamespace(read_bytes=9_000_000, write_bytes=9_000_000)
    assert used(probe)["disk_io.read"] == 0.0
