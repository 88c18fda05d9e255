"""Tasks that always end their worker (fault:K7): so many workers and no more, and nobody else is harmed."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from longshore import Outcome, PoisonTask, RetryPolicy, Settings, WorkerPool
from longshore.events import AnyEvent

pytestmark = pytest.mark.anyio

DEADLINE_S = 45.0
POLICY = RetryPolicy(attempts=10, backoff=0.0, poison_after=3)


def kill_self(audit: str) -> None:
    """Leave a mark outside of the pool, then die."""
    with open(audit, "a") as file:
        file.write(f"{os.getpid()}\n")
    os.kill(os.getpid(), signal.SIGKILL)


def fine(number: int) -> int:
    return number


async def test_a_task_that_kills_its_workers_has_three_of_them(tmp_path: Path) -> None:
    """With attempts=10 and poison_after=3 it runs exactly three times, in three workers; the others all complete."""
    audit, events = tmp_path / "audit", list[AnyEvent]()
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=Settings(probes=())) as pool:
        pool.events.subscribe(events.append, ["worker_error", "task_retried"])
        apart = pool.options(executor="processes", retry=POLICY)
        others = [await apart.submit(fine, number) for number in range(19)]
        poison = await apart.submit(kill_self, str(audit))
        outcome: Outcome = await poison.outcome()
        assert [await other for other in others] == list(range(19))
        assert await (await apart.submit(fine, 20)) == 20
    assert len(set(audit.read_text().split())) == 3
    assert outcome.attempts == 3
    assert isinstance(outcome.exception, PoisonTask)
    assert outcome.exception.facts["deaths"] == ["signal 9"] * 3
    assert outcome.error is not None
    assert outcome.error.signal == signal.SIGKILL
    assert "signal 9" in outcome.error.message
    assert sum(event.type == "task_retried" for event in events) == 2
    assert sum(event.type == "worker_error" for event in events) == 3


async def test_workers_that_were_killed_for_a_limit_do_not_make_poison() -> None:
    """A task that times out again and again uses all its attempts, and ends as timed out."""
    policy = RetryPolicy(attempts=3, backoff=0.0, poison_after=2)
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=Settings(probes=())) as pool:
        apart = pool.options(executor="processes", retry=policy, timeout=0.1)
        outcome = await (await apart.submit(signal.pause)).outcome()
    assert outcome.state.value == "timed_out"
    assert outcome.attempts == 3
