"""Fixtures of the unit tests: a resource monitor whose probe reads what a test says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from longshore import ResourceLimits, ResourceMonitor
from longshore.records import Reading, Usage
from longshore.testing import ScriptedProbe

DEADLINE_S = 10.0


def machine(cpu: float = 0.0, memory: float = 0.0, own: float | None = None, **more: Usage) -> Reading:
    """Return a reading of a machine with 4 cores and 1000 MB, in percent of it."""
    owns = None if own is None else own / 25.0
    named = {name.replace("__", "."): usage for name, usage in more.items()}
    usage = {"cpu": Usage(cpu / 25.0, 4.0, owns), "memory": Usage(memory * 10.0, 1000.0)}
    return Reading(datetime.now(UTC), {**usage, **named})


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition, with a deadline."""
    give_up = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up, f"waited too long for {what}"
        await asyncio.sleep(0.002)


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
