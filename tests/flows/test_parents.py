"""Tasks that start tasks: who is whose parent, and what the tracker shows of a parent that says nothing itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from longshore import Handle, ProgressTracker, Settings, TaskProgress, WorkerPool, current_task
from longshore.events import AnyEvent
from support.waiting import until

pytestmark = pytest.mark.anyio

DEADLINE_S = 20.0


class Family:
    """A pool with a tracker, and every event that names a parent."""

    def __init__(self) -> None:
        self.tracker = ProgressTracker()
        self.pool = WorkerPool(progress_tracker=self.tracker, settings=Settings(probes=()))
        self.parents: dict[str, dict[str, str | None]] = {}
        self.pool.events.subscribe(self._hear)

    def _hear(self, event: AnyEvent) -> None:
        if event.type in ("task_submitted", "task_started", "task_completed"):
            self.parents.setdefault(event.data["task_id"], {})[event.type] = event.data.get("parent_id")

    def of(self, task_id: str) -> TaskProgress:
        found = self.tracker.get_task_progress(task_id)
        assert found is not None
        return found


@asynccontextmanager
async def family() -> AsyncIterator[Family]:
    made = Family()
    async with asyncio.timeout(DEADLINE_S), made.pool:
        yield made


async def nothing() -> None:
    return None


def plain(_: int) -> None:
    return None


async def test_a_task_that_submits_is_the_parent() -> None:
    """By `submit`, `submit_nowait`, `submit_task`, a stream, from a coroutine: all events name it; outside nobody."""
    async with family() as home:
        pool = home.pool

        async def parent() -> list[str]:
            handles: list[Handle[Any]] = [await pool.submit(nothing), pool.submit_nowait(nothing)]
            for handle in handles:
                await handle
            outcomes = [outcome.task_id async for outcome in pool.outcomes(plain, range(3))]
            named = await pool.submit_task("child", 1, plain)
            await pool.get_task_result(named)
            return [handle.task_id for handle in handles] + outcomes + [named]

        handle = await pool.submit(parent)
        children = await handle
        orphan = await pool.submit(nothing)
        await orphan
    seen = {"task_submitted": handle.task_id, "task_started": handle.task_id, "task_completed": handle.task_id}
    assert len(children) == 6
    assert [home.parents[child] for child in children] == [seen] * 6
    assert set(home.parents[handle.task_id].values()) == set(home.parents[orphan.task_id].values()) == {None}


async def test_a_task_on_a_thread_is_the_parent() -> None:
    """By `submit_threadsafe` from a thread's task, though the loop gets to it later; one may also be named."""
    async with family() as home:
        pool = home.pool

        def parent() -> str:
            pool.submit_threadsafe(plain, 1).result(DEADLINE_S)
            return current_task().task_id

        parent_id = await (await pool.submit(parent))
        named = await pool.options(parent="the-boss").submit(nothing)
        await named
    (child,) = [task_id for task_id, told in home.parents.items() if told["task_submitted"] == parent_id]
    assert child != parent_id
    assert home.parents[named.task_id]["task_started"] == "the-boss"
    with pytest.raises(ValueError, match="parent"):
        home.pool.options(parent=7)


async def test_what_handles_events_is_nobodys_child() -> None:
    """A handler that submits is in no task, though it is told of what a task did."""
    async with family() as home:
        handles: list[Handle[None]] = []

        async def hear(event: AnyEvent) -> None:
            if event.data["name"] == "parent" and not handles:
                handles.append(await home.pool.submit(nothing))

        home.pool.events.subscribe(hear, "task_submitted")

        async def parent() -> None:
            await (await home.pool.options(name="parent").submit(nothing))
            await until(lambda: handles, "the handler's task")

        await (await home.pool.submit(parent))
        await handles[0]
    assert set(home.parents[handles[0].task_id].values()) == {None}


@pytest.mark.accuracy
async def test_a_parent_that_says_nothing_is_as_far_as_its_children() -> None:
    """With one of four children ended it is at a quarter; all of them are not its own end; it never goes back."""
    async with family() as home:
        gates = [asyncio.Event() for _ in range(4)]
        done, more = asyncio.Event(), asyncio.Event()

        async def child(number: int) -> None:
            await gates[number].wait()

        async def parent() -> None:
            for handle in [await home.pool.submit(child, number) for number in range(4)]:
                await handle
            await more.wait()
            await (await home.pool.submit(nothing))
            await done.wait()

        task_id = (await home.pool.options(executor="asyncio").submit(parent)).task_id
        await until(lambda: home.tracker.get_task_progress(task_id), "the parent")
        shown = []
        for gate, steps in zip(gates, range(1, 5), strict=True):
            gate.set()
            await until(lambda steps=steps: home.of(task_id).completed_steps == steps, f"child {steps}")
            shown.append((home.of(task_id).progress, home.of(task_id).total_steps))
        assert shown == [(0.25, 4), (0.5, 4), (0.75, 4), (0.8, 4)]
        more.set()
        await until(lambda: home.of(task_id).completed_steps == 5, "one more")
        assert home.of(task_id).progress == pytest.approx(5 / 6)
        done.set()
    assert (home.of(task_id).status, home.of(task_id).progress) == ("completed", 1.0)


async def test_a_parent_that_reports_is_where_it_says() -> None:
    """Its own word counts, whatever its children do."""
    async with family() as home:
        go = asyncio.Event()

        async def parent() -> None:
            current_task().progress(0.1, "begun")
            await (await home.pool.submit(nothing))
            await go.wait()

        task_id = (await home.pool.submit(parent)).task_id
        await until(lambda: home.tracker.get_statistics()["total_tasks"] == 1, "the child")
        assert home.of(task_id).progress == 0.1
        assert home.of(task_id).message == "begun"
        go.set()
