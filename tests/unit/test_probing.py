"""Probes that hang, raise or answer nonsense: they cost themselves, and never another probe or the monitor."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from math import inf, nan
from typing import Any

import pytest
from longshore import ResourceMonitor
from longshore._runtime.probing import Probing
from longshore.records import Bound, Reading, ReadRequest, Usage, WorkerUsage
from longshore.testing import ScriptedProbe

pytestmark = pytest.mark.anyio

DEADLINE_S = 10.0
NOW = datetime.now(UTC)


def wait_for(condition: Callable[[], object], what: str) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up, f"waited too long for {what}"
        time.sleep(0.001)


class HandClock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Hangs(ScriptedProbe):
    """Reads a few times, and then for ever; `let_go` ends that when the test ends."""

    def __init__(self, let_go: threading.Event, *, after: int = 0, key: str = "memory") -> None:
        reading = Reading(NOW, {key: Usage(90.0, 100.0)}, {7: WorkerUsage(1.0, 50.0)})
        super().__init__([reading], resources=[key], period_s=0.002)
        self._let_go, self._after = let_go, after

    def read(self, request: ReadRequest) -> Reading:
        made = super().read(request)
        if len(self.requests) > self._after:
            self._let_go.wait(DEADLINE_S)
            raise OSError("let go")
        return made


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()
    wait_for(lambda: not [t for t in threading.enumerate() if t.name.startswith("longshore-probe")], "threads to end")


@pytest.fixture
def start(let_go: threading.Event) -> Iterator[Callable[..., Probing]]:
    """Return a way to read some probes by name; reading ends with the test."""
    begun: list[Probing] = []

    def started(clock: Callable[[], float] = time.monotonic, **probes: Any) -> Probing:
        begun.append(Probing(probes, lambda: [7], clock=clock))
        begun[-1].start()
        return begun[-1]

    yield started
    for probing in begun:
        probing.stop()


def reading(**usage: Any) -> Reading:
    return Reading(NOW, {name.replace("__", "."): one for name, one in usage.items()})


GOOD = reading(cpu=Usage(1.0, 4.0))
GARBAGE: list[Any] = [
    None,
    {"cpu": 1.0},
    Reading,
    Reading(NOW, {"memory": 0.5}),  # type: ignore[dict-item]
    Reading(NOW, [("memory", Usage(1.0))]),  # type: ignore[arg-type]
    Reading(NOW, {7: Usage(1.0)}),  # type: ignore[dict-item]
    reading(memory=Usage(nan, 4.0)),
    reading(memory=Usage(inf, 4.0)),
    reading(memory=Usage("much", 4.0)),  # type: ignore[arg-type]
    reading(memory=Usage(None, 4.0)),  # type: ignore[arg-type]
    reading(memory=Usage(1.0, nan)),
    reading(memory=Usage(1.0, -1.0)),
    reading(memory=Usage(1.0, 4.0, "mine")),  # type: ignore[arg-type]
    reading(memory=Usage(1.0, 4.0, bounds=[Bound("host", nan, 4.0)])),
    reading(memory=Usage(1.0, 4.0, bounds=["host"])),  # type: ignore[list-item]
    Reading(NOW, {}, {7: "much"}),  # type: ignore[dict-item]
    Reading(NOW, {}, {7: WorkerUsage(nan, 1.0)}),
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
@pytest.mark.requirement("req:G20")
def test_nonsense_is_counted_and_keeps_no_other_probe_from_being_heard(
    start: Callable[..., Probing], garbage: Any
) -> None:
    """What a probe answers is looked at before anything is done with it; its own next reading counts again."""
    bad, good = ScriptedProbe([garbage, garbage], period_s=0.002), ScriptedProbe([GOOD], period_s=0.002)
    probing = start(bad=bad, good=good)
    wait_for(lambda: probing.errors >= 2 and len(good.requests) > 2, "two errors")
    assert probing.usage() == {"cpu": Usage(1.0, 4.0)}
    assert "read() gave" in str(probing.last_error) or "'" in str(probing.last_error)
    bad.then(reading(memory=Usage(2.0, 4.0)))
    wait_for(lambda: "memory" in probing.usage(), "its next reading")


class UnspeakableError(Exception):
    """Raises when it is asked what it says."""

    def __str__(self) -> str:
        raise RuntimeError("nothing to say")


@pytest.mark.parametrize(
    "error",
    [OSError("no counters"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), MemoryError(), UnspeakableError()],
)
@pytest.mark.requirement("req:G20")
def test_whatever_a_probe_raises_it_is_read_again(start: Callable[..., Probing], error: BaseException) -> None:
    """Also what is meant to end a program."""

    class Raises(ScriptedProbe):
        def read(self, request: ReadRequest) -> Reading:
            made = super().read(request)
            if len(self.requests) < 4:
                raise error
            return made

    probing = start(bad=Raises([GOOD], period_s=0.002))
    wait_for(lambda: probing.usage(), "a reading")
    assert probing.errors == 3
    assert type(error).__name__ in str(probing.last_error)


@pytest.mark.parametrize("period_s", [nan, inf, -1.0, "often", None])
@pytest.mark.requirement("req:G20")
def test_a_period_that_is_none_is_counted_and_ends_nothing(start: Callable[..., Probing], period_s: Any) -> None:
    """It is asked again as long as it does not say how often it wants to be read; its thread lives on."""
    probe = ScriptedProbe([GOOD], period_s=period_s)
    probing = start(bad=probe)
    wait_for(lambda: probing.errors, "an error")
    assert "period_s" in str(probing.last_error) or "float" in str(probing.last_error)
    assert probe.requests == []


@pytest.mark.parametrize("period_s", [1e9, 1e300])
def test_a_very_long_period_is_waited_for(start: Callable[..., Probing], period_s: float) -> None:
    """Longer than a thread can wait at once: it reads once, and stops when it is told to."""
    probing = start(slow=ScriptedProbe([GOOD], period_s=period_s))
    wait_for(lambda: probing.usage(), "a reading")
    probing.stop()
    probing.join(DEADLINE_S)
    assert probing.errors == 0


@pytest.mark.requirement("req:G20")
def test_a_probe_that_hangs_for_ever_keeps_no_other_back(
    start: Callable[..., Probing], let_go: threading.Event
) -> None:
    """The others are read on; nobody waits for it, not even who stops."""
    good = ScriptedProbe([GOOD], period_s=0.002)
    probing = start(hangs=Hangs(let_go), good=good)
    wait_for(lambda: len(good.requests) > 20, "many readings")
    began = time.monotonic()
    probing.stop()
    probing.join(0.05)
    assert time.monotonic() - began < DEADLINE_S / 2


@pytest.mark.requirement("req:G20")
def test_what_a_probe_read_before_it_hung_counts_for_a_while_only(
    start: Callable[..., Probing], let_go: threading.Event
) -> None:
    """Another probe that reads on does not make an old reading new; what is measured of workers goes with it."""
    clock, good = HandClock(), ScriptedProbe([GOOD], period_s=0.002)
    probing = start(clock, hangs=Hangs(let_go, after=1), good=good)
    wait_for(lambda: set(probing.usage()) == {"cpu", "memory"}, "both readings")
    assert probing.workers() == {7: WorkerUsage(1.0, 50.0)}
    clock.now += probing.valid_s - 0.1
    assert "memory" in probing.usage()
    clock.now += 0.2
    before = len(good.requests)
    wait_for(lambda: len(good.requests) > before + 1, "a new reading of the other")
    assert set(probing.usage()) == {"cpu"}
    assert probing.workers() == {}
    clock.now += 30.0
    before = len(good.requests)
    wait_for(lambda: len(good.requests) > before + 1, "a new reading of the other")
    assert list(probing.silent()) == ["hangs"]


@pytest.mark.requirement("req:G20")
async def test_nothing_is_refused_for_ever_by_a_probe_that_hangs(
    until: Any, let_go: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A monitor that says no as long as its last reading counts, says yes when that is too old."""
    monitor = ResourceMonitor(probes=[Hangs(let_go, after=1)], check_interval=0.002)
    await monitor.start()
    try:
        await until(lambda: monitor.loads, "the only reading")
        assert not monitor.check_availability({})
        assert monitor.workers == {7: WorkerUsage(1.0, 50.0)}
        later = time.monotonic() + monitor.valid_s + 0.1
        monkeypatch.setattr(time, "monotonic", lambda: later)
        assert monitor.check_availability({})
        assert monitor.current_usage == {"memory": 90.0}, "what was measured last can still be looked at"
    finally:
        monkeypatch.undo()
        let_go.set()
        await monitor.stop()
    assert monitor.workers == {}


def test_a_reading_that_stopping_ends_is_no_failure(
    start: Callable[..., Probing], let_go: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """What a probe raises that is still inside a reading when reading stops is neither counted nor logged."""
    probe = Hangs(let_go)
    probing = start(hangs=probe)
    wait_for(lambda: probe.requests, "a reading")
    probing.stop()
    let_go.set()
    probing.join(DEADLINE_S)
    assert (probing.errors, probing.last_error) == (0, None)
    assert "could not read" not in caplog.text


def test_a_probe_that_can_is_closed_when_it_is_read_no_more(start: Callable[..., Probing]) -> None:
    """On the thread that read it, whatever that raises; one that cannot is left as it is."""

    class Closes(ScriptedProbe):
        closed: str | None = None

        def close(self) -> None:
            self.closed = threading.current_thread().name
            raise OSError("not that either")

    probe = Closes([GOOD], period_s=0.002)
    probing = start(closes=probe, other=ScriptedProbe([GOOD], period_s=0.002))
    wait_for(lambda: probing.usage(), "a reading")
    assert probe.closed is None
    probing.stop()
    probing.join(DEADLINE_S)
    assert probe.closed == "longshore-probe-closes"


async def test_pressure_is_measured_beside_the_resources(make: Any, reading: Any) -> None:
    """It is among the loads that pools are told of, holds everybody at its limit, and is no resource."""
    watched = make()
    await watched.reads(reading(10.0, **{"pressure.memory.full": Usage(15.0, 100.0)}))
    assert watched.monitor.loads["pressure.memory.full"].usage == 15.0
    assert "pressure.memory.full" not in watched.monitor.current_usage
    assert watched.check() == (True, None)
    await watched.reads(reading(10.0, **{"pressure.memory.full": Usage(25.0, 100.0)}))
    assert watched.check() == (False, "Insufficient pressure.memory.full: 25.0 > 20.0")
