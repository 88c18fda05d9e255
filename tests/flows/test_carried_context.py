"""The context of whoever submits: all of it for tasks of this process, what is chosen for those of others."""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import Context, ContextVar
from pathlib import Path
from typing import Any

import longshore
import pytest
from longshore import Settings, WorkerConfig, WorkerPool, current_task
from longshore._carrying import is_tracing
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

pytestmark = pytest.mark.anyio

DEADLINE_S = 30.0
colour: ContextVar[str] = ContextVar("colour", default="none")

MODULE = """
from contextvars import ContextVar

tenant = ContextVar("tenant", default="nobody")
user = ContextVar("user", default="nobody")

def look(item=None):
    return tenant.get(), user.get()

def change(item=None):
    tenant.set("changed by a task")
    return tenant.get()

def trace_id(item=None):
    from opentelemetry import trace
    return trace.get_current_span().get_span_context().trace_id
"""


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:  # Any: a module made here
    """A module with two context variables, that workers can import."""
    (tmp_path / "carried_marks.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("carried_marks")
    del sys.modules["carried_marks"]


@asynccontextmanager
async def pool_of(**config: Any) -> AsyncIterator[WorkerPool]:
    workers = WorkerConfig(**{"async_workers": 2, "thread_workers": 1, **config})
    async with asyncio.timeout(DEADLINE_S):
        async with WorkerPool(workers, settings=Settings(probes=())) as pool:
            yield pool


async def look_async(item: object = None) -> str:
    await asyncio.sleep(0)
    return colour.get()


def look(item: object = None) -> str:
    return colour.get()


def repaint(item: object = None) -> str:
    colour.set("of a task")
    return current_task().worker_id


# ---- in this process


@pytest.mark.parametrize("function", [look_async, look], ids=["asyncio", "threads"])
async def test_a_task_sees_the_context_of_whoever_submitted_it(function: Any) -> None:
    """Each submitted call sees what was set where it was submitted; so does each stream, as of when it was opened."""
    async with pool_of() as pool:
        token = colour.set("red")
        red = await pool.submit(function)
        stream = pool.map(function, range(3))
        colour.set("blue")
        blue, now = await pool.submit(function), pool.submit_nowait(function)
        by_id = await pool.submit_task("look", None, function)
        colour.reset(token)
        unset = await pool.submit(function)
        assert [await red, await blue, await now, await unset] == ["red", "blue", "blue", "none"]
        assert await pool.get_task_result(by_id) == "blue"
        assert [value async for value in stream] == ["red"] * 3


async def test_what_the_pool_was_started_with_is_not_for_every_task() -> None:
    """A task sees its submitter's context, not that of whoever happened to start the pool or an executor."""
    token = colour.set("of the start")
    async with pool_of() as pool:
        await (await pool.submit(look_async))
        colour.reset(token)
        assert await (await pool.submit(look_async)) == "none"
        assert await (await pool.submit(look)) == "none"


async def test_what_a_task_sets_in_a_carried_context_is_seen_by_nobody_else() -> None:
    """A thread's later tasks, and the submitter, keep what they had; the task is still the current one inside."""
    async with pool_of() as pool:
        token = colour.set("red")
        assert (await (await pool.submit(repaint))).startswith("thread-")
        assert await (await pool.submit(look)) == "red"
        assert [value async for value in pool.map(look, range(2))] == ["red", "red"]
        assert colour.get() == "red"
        colour.reset(token)


async def test_a_thread_and_a_task_of_the_pool_submit_in_their_own_context() -> None:
    """What `submit_threadsafe` carries is the context of the calling thread, and a task's children see the task's."""

    def from_thread() -> str:
        colour.set("of a thread")
        return str(pool.submit_threadsafe(look_async).result())

    async def parent() -> tuple[str, str]:
        colour.set("of a parent")
        child = await pool.submit(look)
        return await child, current_task().name

    async with pool_of() as pool:
        assert await asyncio.to_thread(from_thread) == "of a thread"
        assert await (await pool.submit(parent)) == ("of a parent", parent.__qualname__)


async def test_a_retry_sees_the_same_context() -> None:
    """Every attempt of a task runs in its submitter's context."""
    seen: list[str] = []

    def flaky() -> str:
        seen.append(colour.get())
        if len(seen) < 3:
            raise ValueError
        return seen[-1]

    async with pool_of() as pool:
        token = colour.set("red")
        retry = longshore.RetryPolicy(attempts=3, backoff=0.0)
        handle = await pool.options(retry=retry).submit(flaky)
        colour.reset(token)
        await handle
    assert seen == ["red"] * 3


def test_the_calls_without_async_carry_the_context_too() -> None:
    """`longshore.map` in a thread of its own, and with inline in the caller's, shows tasks what the caller had set."""
    token = colour.set("red")
    settings = Settings(probes=())
    for executor in ("threads", "inline"):
        results = longshore.map(look, range(2), executor=executor, settings=settings)
        assert list(results) == ["red", "red"]
    colour.reset(token)


async def test_nothing_is_carried_where_nothing_is_set() -> None:
    """In an empty context neither a task nor a stream's spec holds one."""

    async def submit() -> None:
        handle = pool.submit_nowait(look)
        (attempt,) = pool._driver._submits._batches[-1].attempts
        assert attempt.context is None
        await handle
        stream = pool.map(look, range(1))
        assert stream._feed.spec.context is None
        stream.close()

    async with pool_of() as pool:
        await asyncio.get_running_loop().create_task(submit(), context=Context())


# ---- in other processes


@pytest.mark.slow
async def test_a_process_sees_the_variables_that_were_chosen(marks: Any) -> None:
    """`context=[...]` takes their values along, for single tasks and for streams; others keep their defaults there."""
    async with pool_of() as pool:
        chosen = pool.options(executor="processes", context=[marks.tenant])
        marks.tenant.set("first")
        marks.user.set("root")
        first = await chosen.submit(marks.look)
        stream = chosen.map(marks.look, range(3))
        marks.tenant.set("second")
        second = await chosen.submit(marks.look, item=1)
        plain = await pool.options(executor="processes").submit(marks.look)
        assert await first == ("first", "nobody")
        assert await second == ("second", "nobody")
        assert await plain == ("nobody", "nobody")
        assert [value async for value in stream] == [("first", "nobody")] * 3


async def test_what_a_task_sets_in_its_process_is_gone_after_it(marks: Any) -> None:
    """The values are set for one task; the worker's own context stays as it was."""
    async with pool_of(process_workers=1) as pool:
        chosen = pool.options(executor="processes", context=[marks.tenant])
        marks.tenant.set("first")
        assert await (await chosen.submit(marks.change)) == "changed by a task"
        assert (await (await pool.options(executor="processes").submit(marks.look)))[0] == "nobody"
        assert (await (await chosen.submit(marks.look)))[0] == "first"


async def test_a_variable_that_no_module_holds_is_refused() -> None:
    """Another process could not find it; the error says so where the work is submitted."""
    local: ContextVar[int] = ContextVar("local")
    async with pool_of() as pool:
        with pytest.raises(ValueError, match="'local' cannot be carried"):
            await pool.options(executor="processes", context=[local]).submit(len, "")
        with pytest.raises(ValueError, match="list of context variables"):
            pool.options(context=["tenant"])


@pytest.mark.slow
async def test_a_value_that_cannot_travel_fails_its_own_task(marks: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What can't be pickled is a PayloadError of the task that was to carry it."""
    caplog.set_level(logging.CRITICAL)
    async with pool_of() as pool:
        chosen = pool.options(executor="processes", context=[marks.tenant])
        marks.tenant.set(asyncio.get_running_loop())
        outcome = await (await chosen.submit(marks.look)).outcome()
        assert isinstance(outcome.exception, longshore.PayloadError)
        marks.tenant.set("fine")
        assert (await (await chosen.submit(marks.look)))[0] == "fine"


@pytest.mark.slow
async def test_the_trace_goes_along_into_every_executor(marks: Any) -> None:
    """Where OpenTelemetry is in use, a task is in the trace of its submitter, wherever it runs."""
    assert is_tracing()

    async def trace_id_async(item: object = None) -> int:
        return trace.get_current_span().get_span_context().trace_id

    span = NonRecordingSpan(SpanContext(0x1234, 0x5678, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)))
    async with pool_of() as pool:
        token = otel_context.attach(trace.set_span_in_context(span))
        assert await (await pool.submit(trace_id_async)) == 0x1234
        assert await (await pool.submit(marks.trace_id)) == 0x1234
        apart = pool.options(executor="processes")
        assert await (await apart.submit(marks.trace_id)) == 0x1234
        assert [value async for value in apart.map(marks.trace_id, range(2))] == [0x1234] * 2
        otel_context.detach(token)
        assert await (await apart.submit(marks.trace_id)) == 0
