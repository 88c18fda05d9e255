"""Pressure stall information, from files that stand for a machine."""

from __future__ import annotations

from typing import Any

import pytest
from longshore.records import ReadRequest
from longshore.testing import FakeSystem
from longshore_psutil import PsutilProbe

V2 = "/sys/fs/cgroup"


def line(kind: str, avg10: float, total_us: int) -> str:
    return f"{kind} avg10={avg10:.2f} avg60=1.00 avg300=2.00 total={total_us}\n"


def pressure(probe: PsutilProbe) -> dict[str, float]:
    """Return what is told of pressure, by the key without its first part."""
    usage = probe.read(ReadRequest()).usage
    told = {key.removeprefix("pressure."): one for key, one in usage.items() if key.startswith("pressure.")}
    assert all((one.capacity, one.own) == (100.0, None) for one in told.values())
    return {key: one.used for key, one in told.items()}


def test_the_machines_pressure_is_told_in_percent_of_time(system: FakeSystem, clock: Any) -> None:
    """The kernel's mean over 10 s as it stands, and what the total rose by since the reading before."""
    system.write("/proc/pressure/memory", line("some", 12.5, 1_000_000) + line("full", 3.25, 500_000))
    system.write("/proc/pressure/cpu", line("some", 40.0, 0) + line("full", 0.0, 0))
    probe = PsutilProbe(clock=clock, proc=str(system.proc))
    assert pressure(probe) == {
        "memory.some": 12.5, "memory.some.now": 0.0, "memory.full": 3.25, "memory.full.now": 0.0,
        "cpu.some": 40.0, "cpu.some.now": 0.0,
    }  # fmt: skip
    clock.now += 2.0
    system.write("/proc/pressure/memory", line("some", 20.0, 1_500_000) + line("full", 4.0, 600_000))
    told = pressure(probe)
    assert (told["memory.some"], told["memory.some.now"]) == pytest.approx((20.0, 25.0))
    assert (told["memory.full"], told["memory.full.now"]) == pytest.approx((4.0, 5.0))


def test_our_own_groups_pressure_counts_where_there_is_one(system: FakeSystem, clock: Any) -> None:
    """A group of version 2 tells of its own tasks; what it does not tell of is the machine's."""
    system.member("0::/job")
    system.mount(V2)
    system.write(f"{V2}/job/memory.pressure", line("some", 30.0, 10))
    for name in ("memory", "io"):
        system.write(f"/proc/pressure/{name}", line("some", 1.0, 10))
    told = pressure(PsutilProbe(clock=clock, proc=str(system.proc)))
    assert (told["memory.some"], told["io.some"]) == (30.0, 1.0)


def test_a_hybrid_tells_of_the_group_of_version_2(system: FakeSystem, clock: Any) -> None:
    """Version 1 has no such files: with both mounted, our group of version 2 has."""
    system.member("4:memory:/a", "0::/ours")
    system.mount("/sys/fs/cgroup/memory", "memory")
    system.mount("/sys/fs/cgroup/unified")
    system.write("/sys/fs/cgroup/unified/ours/memory.pressure", line("some", 7.0, 10))
    assert pressure(PsutilProbe(clock=clock, proc=str(system.proc)))["memory.some"] == 7.0


@pytest.mark.parametrize(
    "text", ["", "\x00", "some\n", "some avg10=x total=1\n", "some avg10=1.0\n", "many avg10=1 total=1\n"]
)
def test_no_pressure_is_no_error(system: FakeSystem, clock: Any, text: str) -> None:
    """A kernel without it, or built with it switched off, and files that say something else leave the keys out."""
    assert pressure(PsutilProbe(clock=clock, proc=str(system.proc))) == {}
    system.write("/proc/pressure/memory", text)
    system.place("/proc/pressure/io").mkdir(parents=True)  # opens, and cannot be read: as when it is switched off
    assert pressure(PsutilProbe(clock=clock, proc=str(system.proc))) == {}


def test_a_burst_between_two_readings_is_never_over_100(system: FakeSystem, clock: Any) -> None:
    """The kernel adds up a little after our clock was looked at; and a total that went back is no pressure."""
    system.write("/proc/pressure/io", line("some", 1.0, 0))
    probe = PsutilProbe(clock=clock, proc=str(system.proc))
    pressure(probe)
    for total_us, percent in ((1_010_000, 100.0), (5, 0.0)):
        clock.now += 1.0
        system.write("/proc/pressure/io", line("some", 1.0, total_us))
        assert pressure(probe)["io.some.now"] == percent
