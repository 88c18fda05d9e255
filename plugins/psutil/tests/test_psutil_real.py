"""The probe on the machine the tests run on."""

from __future__ import annotations

import mmap
import os
import socket
import tempfile
import time

import psutil
import pytest
from longshore.records import ReadRequest
from longshore_psutil import PsutilProbe


class Watch:
    """Real seconds, with each moment the probe looked kept."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def __call__(self) -> float:
        self.seen.append(time.monotonic())
        return self.seen[-1]

    @property
    def elapsed_s(self) -> float:
        return self.seen[-1] - self.seen[0]


def test_it_reads_four_resources_once_a_second() -> None:
    """CPU, memory, disk and network."""
    probe = PsutilProbe()
    assert set(probe.resources) == {"cpu", "memory", "disk_io", "network_io"}
    assert probe.period_s == 1.0


@pytest.mark.requirement("req:G03")
def test_what_we_burn_is_seen_as_ours() -> None:
    """CPU burnt here shows in `own`, in cores over real time, and never passes the machine."""
    watch = Watch()
    probe = PsutilProbe(clock=watch)
    probe.read(ReadRequest())
    before_s = time.process_time()
    while time.process_time() - before_s < 0.2:
        sum(range(1000))
    cpu = probe.read(ReadRequest()).usage["cpu"]
    assert cpu.own is not None
    assert cpu.capacity is not None
    assert 0.15 <= cpu.own * watch.elapsed_s <= 0.5
    assert cpu.own <= cpu.capacity * 1.2


@pytest.mark.requirement("req:G04")
def test_memory_we_take_is_seen_as_ours() -> None:
    """100 MB more in this process are 100 MB more in `own`."""
    probe = PsutilProbe()
    before = probe.read(ReadRequest()).usage["memory"]
    with mmap.mmap(-1, 100_000_000) as ballast:  # the heap may have as much to give that is ours already
        ballast.write(b"x" * len(ballast))
        after = probe.read(ReadRequest()).usage["memory"]
    assert before.own is not None
    assert after.own is not None
    assert 80 <= after.own - before.own <= 200
    assert after.capacity is not None
    assert 0 < after.used < after.capacity


@pytest.mark.requirement("req:G05")
def test_disk_rates_agree_with_the_counters() -> None:
    """Rate times elapsed time is what the counters rose by, with 8 MB synced to disk between."""
    if psutil.disk_io_counters(nowrap=False) is None:
        pytest.skip("no disk counters on this machine")
    watch = Watch()
    probe = PsutilProbe(clock=watch)
    outer = _written_mb()
    probe.read(ReadRequest())
    inner = _written_mb()
    with tempfile.TemporaryFile() as file:
        file.write(os.urandom(8_000_000))
        file.flush()
        os.fsync(file.fileno())
    low = _written_mb() - inner
    rate = probe.read(ReadRequest()).usage["disk_io.write"].used
    # The probe looks at its clock several times a reading, so the time it divides by is known to a few milliseconds.
    assert low * 0.9 - 1 <= rate * watch.elapsed_s <= (_written_mb() - outer) * 1.2 + 1


def _written_mb() -> float:
    counters = psutil.disk_io_counters(nowrap=False)
    assert counters is not None
    return counters.write_bytes / 1e6


@pytest.mark.requirement("req:G06")
def test_a_loopback_transfer_is_seen() -> None:
    """5 MB over the loopback interface are at least 5 MB sent and received."""
    watch = Watch()
    probe = PsutilProbe(clock=watch)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        with socket.create_connection(server.getsockname(), timeout=10) as near:
            far = server.accept()[0]
            with far:
                far.settimeout(10)
                probe.read(ReadRequest())
                left = 5_000_000
                while left > 0:
                    near.sendall(b"x" * 50_000)
                    left -= len(far.recv(50_000, socket.MSG_WAITALL))
                usage = probe.read(ReadRequest()).usage
    assert usage["network_io.sent"].used * watch.elapsed_s >= 4.9
    assert usage["network_io.received"].used * watch.elapsed_s >= 4.9
