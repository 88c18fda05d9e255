"""Threads that were abandoned (fault:T8): seen, counted, replaced up to a cap that says so; and initializers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from longshore.errors import ResourceUnavailable
from longshore.task import TaskState
from longshore.worker import current_task
from msgspec.structs import replace

pytestmark = pytest.mark.anyio

colour: ContextVar[str] = ContextVar("colour", default="none")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    made = threading.Event()
    yield made
    made.set()


def hangs_here(gate: threading.Event) -> None:
    gate.wait(30)


def value(x: int = 1) -> int:
    return x


@pytest.mark.requirement("req:E08")
async def test_threads_an_abandoned_one_is_listed_with_where_it_is(start: Any, gate: threading.Event) -> None:
    """Its thread's name, its task, since when, and the line it is at; once it comes back it is listed no more."""
    rig = await start(1)
    outcome = await rig.run(hangs_here, gate, timeout_s=0.05)
    assert outcome.state is TaskState.TIMED_OUT
    assert "abandoned" in outcome.error.message
    assert (await rig.run(value, 2)).value == 2
    (left,) = rig.executor.left_behind()
    assert left.task_id == outcome.task_id
    assert left.worker_id == outcome.worker
    assert left.thread in {thread.name for thread in threading.enumerate()}
    assert left.since_s > 0
    assert "in hangs_here" in left.stack[0]
    assert "in wait" in left.stack[1]
    assert rig.executor.complaints() == ()
    gate.set()
    await rig.host.until(lambda: not rig.executor.left_behind())


async def test_threads_above_the_cap_the_executor_says_that_it_has_fewer(start: Any, gate: threading.Event) -> None:
    """Beyond `max_abandoned` each costs a worker: the complaint names numbers and setting; coming back ends it."""
    rig = await start(2, max_abandoned=1)
    for _ in range(2):
        await rig.run(hangs_here, gate, timeout_s=0.05)
    await rig.host.until(lambda: rig.host.sizes[-1] == 1)
    (complaint,) = rig.executor.complaints()
    assert "2 threads were abandoned" in complaint
    assert "max_abandoned" in complaint
    assert "1 of 2 are left" in complaint
    assert (await rig.run(value, 3)).value == 3
    gate.set()
    await rig.host.until(lambda: rig.host.sizes[-1] == 2)
    assert rig.executor.complaints() == ()


async def test_threads_with_none_left_the_executor_fails_saying_why(start: Any, gate: threading.Event) -> None:
    """There is no silence: what waits would wait for ever, so the pool is told that the resource is used up."""
    rig = await start(1, max_abandoned=0)
    await rig.run(hangs_here, gate, timeout_s=0.05)
    await rig.host.until(lambda: rig.host.failures)
    (failure,) = rig.host.failures
    assert isinstance(failure, ResourceUnavailable)
    assert "0 of 1 are left" in str(failure)


async def test_threads_an_initializer_has_a_limit_of_its_own(start: Any, gate: threading.Event) -> None:
    """One that hangs times its task out, saying so, and its thread is abandoned; the next task has a new thread."""
    tries: list[int] = []

    def load() -> None:
        tries.append(len(tries))
        if len(tries) == 1:
            gate.wait(30)

    rig = await start(1, initializer_timeout_s=0.1)
    outcome = await rig.run(value, initializer=load, timeout_s=20)
    assert outcome.state is TaskState.TIMED_OUT
    assert outcome.error.reason == "initializer"
    assert "abandoned" in outcome.error.message
    assert (await rig.run(value, 4, initializer=load, timeout_s=20)).value == 4
    assert len(rig.executor.left_behind()) == 1


async def test_threads_an_initializers_time_is_not_the_tasks(start: Any, gate: threading.Event) -> None:
    """A task with a short timeout may have an initializer that takes longer; its own time begins after that."""

    def load() -> None:
        time.sleep(0.3)

    rig = await start(1)
    outcome = await rig.run(value, initializer=load, timeout_s=0.1)
    assert outcome.ok, outcome.error
    assert outcome.ran_s < 0.2
    late = await rig.run(hangs_here, gate, initializer=load, timeout_s=0.1)
    assert late.state is TaskState.TIMED_OUT


async def test_threads_a_task_sees_the_context_that_its_attempt_brings(start: Any) -> None:
    """A copy of the attempt's context, else of its spec's; without any, the thread's own. It is the current task."""

    def look() -> tuple[str, str]:
        before = colour.get()
        colour.set("of a task")
        return before, current_task().task_id

    def context_of(text: str) -> Any:
        context = copy_context()
        context.run(colour.set, text)
        return context

    rig = await start(1)
    stream = rig.attempt(look, context=context_of("of the stream"))
    own = replace(stream, task_id="own", context=context_of("of the attempt"))
    again = replace(stream, task_id="again")
    rig.executor.submit([stream, own, again])
    ids = [stream.task_id, "own", "again"]
    seen = [outcome.value for outcome in await rig.all_of(ids)]
    assert seen == list(zip(["of the stream", "of the attempt", "of the stream"], ids, strict=True))
    assert (await rig.run(look)).value[0] == "none"
