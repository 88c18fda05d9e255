"""What the tests of the specification's seam share: a pool of few workers, and ways to keep them busy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from longshore import ResourceLimits, ResultLimits, Settings, WorkerConfig, WorkerPool

DEADLINE_S = 20.0


class Gate(threading.Event):
    """What held tasks wait for, on threads."""

    async def hold(self, pool: WorkerPool, workers: int = 1) -> list[str]:
        """Occupy so many threads; return the tasks' ids."""
        began = threading.Barrier(workers + 1)

        def held(_: object) -> str:
            began.wait(DEADLINE_S)
            self.wait(DEADLINE_S)
            return "held"

        ids = [await pool.submit_task("held", None, held) for _ in range(workers)]
        await asyncio.get_running_loop().run_in_executor(None, began.wait, DEADLINE_S)
        return ids


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return a gate that opens at the end, whatever happens."""
    made = Gate()
    yield made
    made.set()


@pytest.fixture
def open_pool() -> Callable[..., AbstractAsyncContextManager[WorkerPool]]:
    """Return what opens a pool of one thread unless said otherwise, with a deadline over all that happens in it."""

    @asynccontextmanager
    async def opened(
        *,
        limits: ResourceLimits | None = None,
        results: ResultLimits | None = None,
        submit_timeout: float = 30.0,
        deadline_s: float = DEADLINE_S,
        **workers: Any,
    ) -> AsyncIterator[WorkerPool]:
        settings = Settings(
            probes=(),
            workers=WorkerConfig(**{"thread_workers": 1, "process_workers": 1, **workers}),
            limits=limits or ResourceLimits(),
            results=results or ResultLimits(),
            submit_timeout=submit_timeout,
        )
        async with asyncio.timeout(deadline_s), WorkerPool(settings=settings) as pool:
            yield pool

    return opened
