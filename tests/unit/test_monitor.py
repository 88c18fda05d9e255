"""The resource monitor by itself: what it measures, what is left below the limits, and who may have it."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import longshore.monitor
import pytest
from longshore import ResourceLimits, ResourceMonitor, ResourceSnapshot, ResourceType
from longshore.records import Load, Reading, ReadRequest, Usage
from longshore.testing import ScriptedProbe

pytestmark = pytest.mark.anyio

DEADLINE_S = 10.0
CPU = ResourceType.CPU


# ---- life


@pytest.mark.lifecycle
@pytest.mark.requirement("req:G01")
def test_a_monitor_is_made_without_a_loop_and_can_be_asked_before_it_measures() -> None:
    """Making one starts nothing; what is reserved counts from the first moment, and nothing is measured yet."""
    threads = threading.active_count()
    monitor = ResourceMonitor(ResourceLimits(max_cpu_percent=50.0, warning_cpu_percent=40.0), check_interval=60.0)
    assert (monitor.running, monitor.current_usage, monitor.history(), monitor.errors) == (False, {}, [], 0)
    assert monitor.check_availability({CPU: 50.0})
    assert not monitor.check_availability({CPU: 50.1})
    assert threading.active_count() == threads
    for wrong in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="check_interval"):
            ResourceMonitor(check_interval=wrong)


@pytest.mark.lifecycle
@pytest.mark.requirement("req:G01")
async def test_start_and_stop_may_be_called_twice_and_stop_is_prompt(until: Any, reading: Any) -> None:
    """Under an interval of a minute, and with a probe that hangs, stop takes less than half a second."""
    let_go = threading.Event()

    class Hangs(ScriptedProbe):
        def read(self, request: ReadRequest) -> Reading:
            super().read(request)
            let_go.wait(DEADLINE_S)
            return reading()

    quick, hangs = ScriptedProbe([reading()]), Hangs([reading()])
    monitor = ResourceMonitor(check_interval=60.0, probes={"quick": quick, "hangs": hangs})
    try:
        for _ in range(2):  # it may be started again
            before = len(quick.requests)
            await monitor.stop()
            await monitor.start()
            await monitor.start()
            await until(lambda before=before: len(quick.requests) > before, "the first reading")
            assert monitor.running
            began = time.monotonic()
            await monitor.stop()
            assert time.monotonic() - began < 0.5
            await monitor.stop()
            assert not monitor.running
        assert len(quick.requests) == 2
    finally:
        let_go.set()


@pytest.mark.requirement("req:G20")
async def test_measuring_goes_on_after_a_reading_that_failed(until: Any, reading: Any) -> None:
    """A probe that raises is counted, and the next reading is taken as if nothing had been."""
    probe = ScriptedProbe([OSError("no counters"), ZeroDivisionError(), reading(cpu=30.0)])
    monitor = ResourceMonitor(check_interval=0.002, probes=[probe])
    await monitor.start()
    await until(lambda: monitor.current_usage, "a reading")
    assert monitor.current_usage["cpu"] == pytest.approx(30.0)
    assert monitor.errors == 2
    await monitor.stop()
    assert (monitor.errors, monitor.last_error) == (2, "ZeroDivisionError: ")


@pytest.mark.requirement("req:G20")
async def test_a_reading_of_nan_counts_as_failed(until: Any, reading: Any) -> None:
    """NaN compares with no limit: it is counted as an error, and the reading before it stays."""
    probe = ScriptedProbe([reading(cpu=30.0), reading(cpu=float("nan"))])
    monitor = ResourceMonitor(check_interval=0.002, probes=[probe])
    await monitor.start()
    await until(lambda: monitor.errors, "an error")
    assert monitor.current_usage["cpu"] == pytest.approx(30.0)
    await monitor.stop()
    assert monitor.last_error == "ValueError: read() gave NaN for cpu"


@pytest.mark.utilisation
@pytest.mark.requirement("req:G21")
async def test_an_interval_of_10_ms_gives_50_to_200_samples_a_second(until: Any, reading: Any) -> None:
    """The interval is what it says, whatever the probe thinks of it; a loaded machine may come late now and then."""
    monitor = ResourceMonitor(check_interval=0.01, probes=[ScriptedProbe([reading()], period_s=60.0)])
    began = time.monotonic()
    await monitor.start()
    await until(lambda: len(monitor.history()) >= 25, "25 samples")
    took_s = time.monotonic() - began
    await monitor.stop()
    samples = monitor.history()
    assert len(samples) / max(took_s, 0.001) < 200
    gaps = sorted(
        (later.timestamp - earlier.timestamp).total_seconds() for earlier, later in itertools.pairwise(samples)
    )
    assert gaps[len(gaps) // 4] < 0.02, "a good part of the samples came at the rate they should"


@pytest.mark.requirement("req:G21")
async def test_a_sample_costs_under_one_percent_of_a_core_at_one_a_second(until: Any) -> None:
    """Reading and keeping a sample takes less than 10 ms of CPU in the whole process."""
    monitor = ResourceMonitor(check_interval=0.005)
    await monitor.start()
    await until(lambda: len(monitor.history()) > 2, "the first samples")
    count, before_s = len(monitor.history()), time.process_time()
    await until(lambda: len(monitor.history()) >= count + 20, "20 samples")
    spent_s = time.process_time() - before_s
    await monitor.stop()
    assert spent_s / 20 < 0.010


# ---- what was measured


@pytest.mark.requirement("req:G02", "req:G05", "req:G06")
async def test_a_snapshot_has_the_ten_fields_and_is_json_safe(make: Any, reading: Any) -> None:
    """Percent of the machine, megabytes, rates, counts and an aware time, as plain numbers."""
    watched = make()
    rates = {"disk_io__read": 1.5, "disk_io__write": 2.5, "network_io__sent": 3.0, "network_io__received": 4.0}
    await watched.reads(reading(50.0, 25.0, own=10.0, **{name: Usage(rate) for name, rate in rates.items()}))
    snapshot = watched.monitor.snapshot()
    fields = json.loads(json.dumps(snapshot.to_dict()))
    assert len(fields) == 10
    assert snapshot.timestamp.tzinfo is not None
    assert datetime.fromisoformat(fields.pop("timestamp")) == snapshot.timestamp
    assert fields == pytest.approx(
        {
            "cpu_percent": 50.0,
            "memory_percent": 25.0,
            "memory_mb": 250.0,
            "disk_io_read_mb": 1.5,
            "disk_io_write_mb": 2.5,
            "network_io_sent_mb": 3.0,
            "network_io_recv_mb": 4.0,
            "active_tasks": 0,
            "queued_tasks": 0,
        }
    )


@pytest.mark.requirement("req:G02")
async def test_the_figures_of_this_machine_are_plausible(until: Any) -> None:
    """With the probe psutil: shares between 0 and 100, some memory of our own, rates that are not negative."""
    monitor = ResourceMonitor(check_interval=0.02)
    await monitor.start()
    await until(lambda: len(monitor.history()) >= 3, "three samples")
    await monitor.stop()
    snapshot = monitor.snapshot()
    assert 0 <= snapshot.cpu_percent <= 130  # over a time as short, ticks of the kernel's clock show
    assert 0 < snapshot.memory_percent <= 100
    assert 1 < snapshot.memory_mb < 100_000
    assert all(value >= 0 for value in list(snapshot.to_dict().values())[1:])
    assert isinstance(snapshot, ResourceSnapshot)


@pytest.mark.requirement("req:G07")
async def test_a_gpu_is_measured_where_a_probe_sees_one(make: Any, reading: Any) -> None:
    """The mean over all devices in percent and their memory in MB; without a probe, neither, and nothing needs them."""
    watched = make(ResourceLimits(max_gpu_percent=90.0, max_gpu_memory_mb=1000))
    await watched.reads(reading())
    assert set(watched.monitor.current_usage) == {"cpu", "memory"}
    assert watched.monitor.unavailable == ["gpu", "gpu_memory"]
    gpus = {"gpu__0": Usage(90.0, 100.0), "gpu__1": Usage(50.0, 100.0), "gpu_memory__0": Usage(300.0, 8000.0)}
    await watched.reads(reading(**gpus))
    assert watched.monitor.current_usage["gpu"] == pytest.approx(70.0)
    assert watched.monitor.current_usage["gpu_memory"] == 300.0
    assert watched.monitor.unavailable == []


@pytest.mark.requirement("req:G09")
async def test_current_usage_is_a_copy_of_all_that_is_measured(make: Any, reading: Any) -> None:
    """By the strings or the enum; what is changed in it changes nothing here."""
    watched = make()
    parts = {"disk_io__read": Usage(1.0), "disk_io__write": Usage(2.0), "network_io__sent": Usage(5.0)}
    await watched.reads(reading(30.0, 40.0, **parts))
    usage = watched.monitor.current_usage
    assert usage == pytest.approx({"cpu": 30.0, "memory": 40.0, "disk_io": 3.0, "network_io": 5.0})
    assert usage[ResourceType.DISK_IO] == 3.0
    usage["cpu"] = 99.0
    assert watched.monitor.current_usage["cpu"] == pytest.approx(30.0)


@pytest.mark.requirement("req:G10")
async def test_history_keeps_300_samples_and_answers_by_minutes(
    make: Any, monkeypatch: pytest.MonkeyPatch, until: Any, reading: Any
) -> None:
    """After 400 samples the newest 300 are there, oldest first; minutes choose the newest of them."""

    class Clock(datetime):
        passed = 0

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            cls.passed += 1  # a second for each sample
            return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=cls.passed)

    monkeypatch.setattr(longshore.monitor, "datetime", Clock)
    watched = make(check_interval=0.001)
    await watched.reads(reading(20.0))
    await until(lambda: len(watched.probe.requests) >= 400, "400 samples")
    await watched.monitor.stop()
    samples = watched.monitor.history()
    assert len(samples) == 300
    assert [sample.timestamp for sample in samples] == sorted(sample.timestamp for sample in samples)
    assert 58 <= len(watched.monitor.history(minutes=1)) <= 60
    assert watched.monitor.history(minutes=1)[-1] == samples[-1]
    assert watched.monitor.history(minutes=0) == []
    assert len(watched.monitor.history(minutes=60)) == 300


async def test_two_probes_make_one_sample_a_round(until: Any, reading: Any) -> None:
    """A sample holds what all probes read; a probe that hangs keeps none back."""
    let_go = threading.Event()

    class Slow(ScriptedProbe):
        def read(self, request: ReadRequest) -> Reading:
            made = super().read(request)
            if len(self.requests) > 1:
                let_go.wait(DEADLINE_S)
            return made

    gpu = Slow([Reading(datetime.now(UTC), {"gpu.0": Usage(20.0, 100.0)})])
    monitor = ResourceMonitor(check_interval=0.005, probes=[ScriptedProbe([reading(40.0)]), gpu])
    await monitor.start()
    try:
        await until(lambda: len(monitor.history()) >= 5, "five samples")
        assert set(monitor.current_usage) == {"cpu", "memory", "gpu"}
    finally:
        let_go.set()
        await monitor.stop()


# ---- who uses it


async def test_all_that_use_a_monitor_are_counted_and_told_until_they_leave(until: Any, reading: Any) -> None:
    """Two pools' tasks add up in a snapshot, their workers are accounted for; one that left hears no more."""

    class User:
        def __init__(self, pid: int, counts: tuple[int, int]) -> None:
            self.pid, self._counts = pid, counts
            self.heard: list[dict[str, Load]] = []

        def pids(self) -> list[int]:
            return [self.pid]

        def counts(self) -> tuple[int, int]:
            return self._counts

        def measured(self, loads: Any, valid_s: float) -> None:
            assert valid_s > 5.0
            self.heard.append(dict(loads))

    probe = ScriptedProbe([reading(30.0)])
    monitor = ResourceMonitor(check_interval=0.002, probes=[probe])
    one, two = User(11, (1, 2)), User(12, (3, 4))
    monitor.attach(one)
    monitor.attach(two)
    await monitor.start()
    await until(lambda: two.heard, "a reading to be told")
    snapshot = monitor.snapshot()
    assert (snapshot.active_tasks, snapshot.queued_tasks) == (4, 6)
    assert list(probe.requests[-1].worker_pids) == [11, 12]
    assert one.heard[0]["cpu"].usage == pytest.approx(30.0)
    monitor.detach(two)
    before = len(probe.requests)
    await until(lambda: len(probe.requests) > before + 2, "more readings")
    told = len(two.heard)
    await until(lambda: len(probe.requests) > before + 4, "more readings")
    assert len(two.heard) == told
    await monitor.stop()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """A monitor's threads end with it."""
    yield
    give_up = time.monotonic() + DEADLINE_S
    while [thread for thread in threading.enumerate() if thread.name.startswith("longshore-probe")]:
        assert time.monotonic() < give_up, "a probe's thread does not end"
        time.sleep(0.002)
