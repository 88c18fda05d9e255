"""The probe keeps what every probe keeps, read from this machine and from one of files that has a control group."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from longshore.hookspecs import Probe
from longshore.testing import FakeSystem, ProbeConformance
from longshore_psutil import PsutilProbe

GROUP = "/sys/fs/cgroup/job"


class TestPsutilProbe(ProbeConformance):
    """Of this machine."""

    @pytest.fixture
    def make_probe(self) -> Callable[[], Probe]:
        return PsutilProbe


class TestControlGroup(ProbeConformance):
    """Of 64 CPUs and 16 GB, of which a group may have two and 2 GB."""

    measures_here = False

    @pytest.fixture
    def make_probe(self, system: FakeSystem) -> Callable[[], Probe]:
        system.cpus(*range(64))
        system.mount("/sys/fs/cgroup")
        system.member("0::/job")
        system.group(GROUP, {"memory.max": 2_000_000_000, "memory.current": 500_000_000, "memory.stat": "anon 1\n"})
        system.group(GROUP, {"cpu.max": "200000 100000\n", "cpu.stat": "usage_usec 1000000\n"})
        return lambda: PsutilProbe(proc=str(system.proc))
