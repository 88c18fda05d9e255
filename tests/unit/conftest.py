"""Fixtures of the unit tests: monitors whose probe reads what a test says, runs written down, workers of batches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from longshore import ResourceLimits, ResourceMonitor
from longshore._report.gather import Source
from longshore._report.records import Environment, RunFacts
from longshore.batching import running
from longshore.events import AnyEvent, TaskCompleted, TaskFailed, TaskRetried, TaskStarted, TaskSubmitted
from longshore.records import Reading, Usage
from longshore.runs import RunStore
from longshore.testing import ScriptedProbe
from support.places import Place, places
from support.waiting import until

DEADLINE_S = 10.0


def machine(cpu: float = 0.0, memory: float = 0.0, own: float | None = None, **more: Usage) -> Reading:
    """Return a reading of a machine with 4 cores and 1000 MB, in percent of it."""
    owns = None if own is None else own / 25.0
    named = {name.replace("__", "."): usage for name, usage in more.items()}
    usage = {"cpu": Usage(cpu / 25.0, 4.0, owns), "memory": Usage(memory * 10.0, 1000.0)}
    return Reading(datetime.now(UTC), {**usage, **named})


class Watched:
    """A monitor of a scripted probe, which has read what it was last told to read."""

    def __init__(self, limits: ResourceLimits | None, **options: Any) -> None:
        self.probe = ScriptedProbe([machine()])
        self.monitor = ResourceMonitor(limits, options.pop("check_interval", 0.002), [self.probe], **options)

    async def reads(self, what: Reading) -> None:
        """Have it read this, and wait until it has."""
        self.probe.then(what)
        await self.monitor.start()
        before = len(self.probe.requests)
        await until(lambda: len(self.probe.requests) > before + 1, "two readings")

    def check(self, **required: float) -> tuple[bool, str | None]:
        return tuple(self.monitor.check_availability(required))


@pytest.fixture
def reading() -> Callable[..., Reading]:
    """Return a maker of readings: percent of a machine with 4 cores and 1000 MB, and more usage by name."""
    return machine


@pytest.fixture(name="until")
def _until() -> Callable[[Callable[[], object], str], Any]:  # Any: a coroutine
    """Return a way to wait for a condition, with a deadline."""
    return until


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Watched]]:
    """Return a maker of watched monitors, which are stopped at the end."""
    made: list[Watched] = []

    def watched(limits: ResourceLimits | None = None, **options: Any) -> Watched:
        made.append(Watched(limits, **options))
        return made[-1]

    yield watched
    for one in made:
        await one.monitor.stop()


class Script:
    """A run written down by hand: attempts at given times, put into a store; the run begins at `zero`."""

    zero = 1_700_000_000.0

    def __init__(self) -> None:
        self.store = RunStore()
        self._tasks = 0
        self._seq = 0

    def task(
        self,
        start: float,
        end: float,
        *,
        submitted: float = 0.0,
        name: str = "extract",
        executor: str = "processes",
        worker: str = "process-0",
        key: str | None = None,
        tries: Sequence[tuple[float, float]] = (),
        cpu_s: float | None = None,
        memory_mb: float | None = None,
        group: str | None = None,
        fails: str | None = None,
        state: str = "failed",
    ) -> str:
        """Add a task that ran from `start` to `end`, after the attempts `tries`; in seconds since the beginning."""
        self._tasks += 1
        task_id = f"t-{self._tasks}"
        of = (task_id, name, executor, 2)
        events: list[AnyEvent] = [TaskSubmitted(*self._at(submitted), *of, key=key, group=group)]
        for number, (began, ended) in enumerate(tries, 1):
            events.append(TaskStarted(*self._at(began), *of, number, key))
            retried = {"error": "OSError", "message": "no", "duration_s": ended - began, "worker_id": worker}
            events.append(TaskRetried(*self._at(ended), *of, number, **retried))
        attempt = len(tries) + 1
        wait_s = start - submitted if not tries else 0.0
        common = (*self._at(end), *of, attempt, wait_s, end - start, worker, key, None, None, cpu_s, memory_mb)
        events.append(TaskStarted(*self._at(start), *of, attempt, key))
        if fails is None:
            events.append(TaskCompleted(*common))
        else:
            events.append(TaskFailed(*common, state=state, error="ValueError", message=fails, traceback=f"at {fails}"))
        self.store.take(events)
        return task_id

    def source(self, state: str = "completed", *, text: str = "job", commanded: bool = False, **more: Any) -> Source:
        """Return what a report is made from; `text` is the run's name, and its command."""
        run = RunFacts(
            run_id="20260131T000000-abc",
            name=text,
            state=state,
            started=self.zero,
            host="box",
            command=[text],
            commanded=commanded,
        )
        environment = Environment(versions={"python": "3.12"}, settings={}, settings_hash="0" * 64)
        return Source(**{"run": run, "store": self.store, "environment": environment, **more})

    def moment(self, seconds: float) -> datetime:
        """Return the time so long after the beginning."""
        return datetime.fromtimestamp(self.zero + seconds, UTC)

    def _at(self, seconds: float) -> tuple[int, datetime]:
        self._seq += 1
        return self._seq, self.moment(seconds)


@pytest.fixture
def script() -> Iterator[Callable[[], Script]]:
    """Give runs to write down."""
    scripts: list[Script] = []

    def make() -> Script:
        scripts.append(Script())
        return scripts[-1]

    yield make
    for each in scripts:
        each.store.close()


@pytest.fixture
def make_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Place]]:
    """Return a maker of workers that write down what they do in a folder of the test's."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(running, "CUT_S", 60.0)  # so that no pause of the machine cuts a batch
    with places() as made:
        yield made


@pytest.fixture
def place(make_place: Callable[..., Place]) -> Place:
    """Return such a worker."""
    return make_place()
