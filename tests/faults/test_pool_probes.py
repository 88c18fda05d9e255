"""Probes that fail, in real runs: they cost themselves, and never a task."""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
import time
from typing import Any

import pytest
from longshore import WorkerPool
from support.broken_parts import run, settings, work

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]

CLOSING_S = 7.0
"""What a sink gets to close in is 5 s; nothing may keep `stop` longer."""


# ---- probes

PROBES = """
import threading
from longshore.hookspecs import hookimpl
from longshore.records import Reading

READ = threading.Semaphore(0)
GO = threading.Event()

class Raises:
    resources = ("cpu",)
    period_s = 0.005

    @hookimpl
    def read(self, request):
        READ.release()
        raise OSError("nothing to read")

class Hangs:
    resources = ("memory",)
    period_s = 0.005

    @hookimpl
    def read(self, request):
        READ.release()
        GO.wait(600)
        return Reading(usage={})

class Exits(Raises):
    @hookimpl
    def read(self, request):
        READ.release()
        raise SystemExit(3)

class NoPeriod:
    resources = ("cpu",)

    def __init__(self):
        self.broken = False

    @property
    def period_s(self):
        if self.broken:
            raise OSError("no period")
        return 0.005

    @hookimpl
    def read(self, request):
        self.broken = True
        READ.release()
        raise OSError("nothing to read")

class Nonsense(Raises):
    @hookimpl
    def read(self, request):
        READ.release()
        return None
"""
PROBE_NAMES = {
    "raises": "Raises", "hangs": "Hangs", "exits": "Exits", "noperiod": "NoPeriod", "nonsense": "Nonsense"
}  # fmt: skip


@pytest.mark.parametrize("name", list(PROBE_NAMES))
@pytest.mark.requirement("req:F09")
async def test_a_probe_that_fails(name: str, fake_distributions: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A probe that raises, exits, hangs or answers nonsense stops neither a task nor the end of the run."""
    module = importlib.import_module(fake_distributions.add("probes-of-a-test", PROBES, probes=PROBE_NAMES))
    try:
        with caplog.at_level(logging.CRITICAL):
            pool = WorkerPool(settings=settings(probes=(name,)))
            await pool.start()
            assert await asyncio.to_thread(module.READ.acquire, timeout=10)
            assert await (await pool.submit(work, 1)) == 1
            pool.get_stats()
            pool.snapshot()
            await pool.stop()
            _, took_s = await run(pool, 500)
        assert took_s < CLOSING_S
    finally:
        module.GO.set()
    deadline = time.monotonic() + 10
    while [thread for thread in threading.enumerate() if thread.name.startswith("longshore-probe")]:
        assert time.monotonic() < deadline, "a probe's thread does not end"
        await asyncio.sleep(0.002)
