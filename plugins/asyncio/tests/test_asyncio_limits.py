"""Time limits, cancelling, resizing and stopping: what becomes of coroutines that end, and of those that do not."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from longshore.task import TaskState
from longshore.worker import current_task

pytestmark = pytest.mark.anyio
both = pytest.mark.parametrize("isolation", ["task", "shared"])


async def value(x: int = 1) -> int:
    return x


async def forever() -> None:
    await asyncio.Event().wait()


async def fail_together() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(10))
        group.create_task(asyncio.wait_for(forever(), 0.001))


def timers(loop: Any) -> int:
    """How many timers of the executor are armed on this loop."""
    handles = [handle for handle in loop._scheduled if not handle.cancelled()]
    return sum("AsyncioExecutor" in repr(handle) for handle in handles)


@both
@pytest.mark.requirement("req:E06")
async def test_asyncio_timeout_cancels_at_the_deadline(start: Any, isolation: str) -> None:
    """A coroutine is cancelled at its deadline and reported as timed out; the next one runs in its seat."""
    rig = await start(1)
    ids = [rig.submit(forever, isolation=isolation, timeout_s=0.05), rig.submit(value, isolation=isolation)]
    late, good = await rig.all_of(ids)
    assert (late.state, late.error.reason) == (TaskState.TIMED_OUT, "timeout")
    assert "timed out" in late.error.message
    assert 0.05 <= late.ran_s < 2
    assert good.value == 1
    assert [worker.worker_id for worker in rig.executor.workers()] == [good.worker] == [late.worker]


@both
@pytest.mark.requirement("req:E07")
async def test_asyncio_a_stubborn_coroutine_is_left_behind(start: Any, stubborn: Any, isolation: str) -> None:
    """One that swallows its cancellation is reported at its deadline, and its seat replaced a moment later."""
    rig = await start(1)
    ids = [rig.submit(stubborn, isolation=isolation, timeout_s=0.2), rig.submit(value, isolation=isolation)]
    late, good = await rig.all_of(ids)
    assert late.state is TaskState.TIMED_OUT
    assert "left behind" in late.error.message
    assert 0.2 <= late.ran_s < 2
    assert late.ran_s < 0.2 * 1.2 + 0.5  # half a second for a busy machine
    assert good.ok
    assert good.worker != late.worker
    (notice,) = rig.host.notices
    assert (notice.type, notice.data["task_id"], notice.data["left_behind"]) == ("worker_error", ids[0], 1)
    assert len(rig.executor.workers()) == 1
    gc.collect()  # the loop refers to it weakly: it must not vanish
    stubborn.gate.set()
    await rig.host.until(lambda: stubborn.ended)
    await rig.run(value)
    assert len(rig.of(ids[0])) == 1
    assert rig.host.updates == [], "what it says after its end is dropped"
    assert len(rig.executor.workers()) == 1


@both
async def test_asyncio_returning_after_the_deadline_is_timed_out(start: Any, isolation: str) -> None:
    """A result that comes after the deadline does not count, whether the loop was blocked or cancellation swallowed."""

    async def blocks() -> int:
        time.sleep(0.03)
        return 1

    async def swallows() -> int:
        with suppress(asyncio.CancelledError):
            await forever()
        return 1

    rig = await start(1)
    ids = [rig.submit(f, isolation=isolation, timeout_s=0.02) for f in (blocks, swallows)]
    ids.append(rig.submit(value, isolation=isolation, timeout_s=5.0))
    *late, good = await rig.all_of(ids)
    assert [outcome.state for outcome in late] == [TaskState.TIMED_OUT] * 2
    assert good.ok


@both
async def test_asyncio_the_deadline_over_all_attempts_holds(start: Any, isolation: str) -> None:
    """`expires_at` ends what runs, what waits for a seat, and is checked again before anything begins."""
    calls: list[int] = []

    async def called() -> None:
        calls.append(1)

    rig = await start(1)
    await rig.run(value, isolation=isolation)  # the first one starts a thread, and these limits are short
    runs = rig.submit(forever, isolation=isolation, timeout_s=60.0, left_s=0.05)
    waits = rig.submit(called, isolation=isolation, left_s=0.02)
    passed = rig.submit(called, isolation=isolation, left_s=0.04)  # so that it is over before there is a free seat
    outcomes = await rig.all_of([runs, waits, passed])
    assert [outcome.state for outcome in outcomes] == [TaskState.TIMED_OUT] * 3
    assert "over all attempts" in outcomes[0].error.message
    assert outcomes[1].worker is None
    over = await rig.run(called, isolation=isolation, left_s=-1.0)
    assert over.state is TaskState.TIMED_OUT
    assert not calls
    assert (await rig.run(value, isolation=isolation, left_s=30.0)).ok


@both
async def test_asyncio_cancel_before_the_first_step(start: Any, isolation: str) -> None:
    """An attempt cancelled between being given a seat and its first step is cancelled like any other."""
    rig = await start(1)
    first, second = rig.submit(forever, isolation=isolation), rig.submit(value, isolation=isolation)
    rig.cancel(first)
    outcomes = await rig.all_of([first, second])
    assert [outcome.state for outcome in outcomes] == [TaskState.CANCELLED, TaskState.COMPLETED]


async def refuses() -> str:
    try:
        await forever()
    except asyncio.CancelledError:
        assert current_task().cancelled()
        return "done"
    return ""


async def raises() -> None:
    try:
        await forever()
    except asyncio.CancelledError:
        raise ValueError("no") from None


async def checks() -> None:
    try:
        await forever()
    except asyncio.CancelledError:
        current_task().check_cancelled()


@both
async def test_asyncio_a_cancelled_coroutine_may_clean_up_or_refuse(start: Any, isolation: str) -> None:
    """Cancelled, it may clean up; what it raises or returns instead stands; none of it reaches the next attempt."""
    cleaned: list[str] = []

    async def cleans() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            cleaned.append(current_task().task_id)

    async def grouped() -> int:
        pending = asyncio.current_task().cancelling()  # type: ignore[union-attr]
        with pytest.raises(ExceptionGroup):
            await fail_together()
        assert not current_task().cancelled()
        return pending

    rig = await start(1)
    states = []
    for function in (cleans, refuses, raises, checks):
        task_id, after = rig.submit(function, isolation=isolation), rig.submit(grouped, isolation=isolation)
        await rig.host.until(lambda one=task_id: rig.executor.workers()[0].current_task == one)
        await asyncio.sleep(0.001)
        rig.cancel(task_id)
        states.append((await rig.outcome(task_id)).state.name)
        assert (await rig.outcome(after)).value == 0
    assert states == ["CANCELLED", "COMPLETED", "FAILED", "CANCELLED"]
    assert len(cleaned) == 1


@both
async def test_asyncio_a_stubborn_coroutine_is_cancelled_in_the_end(start: Any, stubborn: Any, isolation: str) -> None:
    """One that ignores being cancelled is reported as cancelled after a grace, long before its timeout."""
    rig = await start(1)
    task_id = rig.submit(stubborn, isolation=isolation, timeout_s=2.0)
    await rig.host.until(lambda: rig.executor.workers()[0].status == "busy")
    await asyncio.sleep(0.001)
    rig.cancel(task_id)
    outcome = await rig.outcome(task_id)
    assert outcome.state is TaskState.CANCELLED
    assert outcome.ran_s < 1.5
    stubborn.gate.set()


@both
async def test_asyncio_foreign_cancellation_costs_no_seat(start: Any, isolation: str) -> None:
    """A coroutine that cancels its own asyncio task fails, or not; the seat and those behind it go on."""

    async def cancels_itself() -> None:
        asyncio.current_task().cancel()  # type: ignore[union-attr]
        await asyncio.sleep(0)

    rig = await start(1)
    ids = [rig.submit(cancels_itself, isolation=isolation), rig.submit(value, isolation=isolation)]
    bad, good = await rig.all_of(ids)
    assert (bad.state, good.value) == (TaskState.FAILED, 1)


@both
async def test_asyncio_stop_returns_by_its_deadline_and_reports_all(start: Any, stubborn: Any, isolation: str) -> None:
    """Stopping cancels what runs and waits, gives up what ignores it, and leaves no timer and no seat's task behind."""
    rig = await start(3)
    before = asyncio.all_tasks()
    ids = [rig.submit(stubborn, isolation=isolation, timeout_s=60.0)]
    ids += [rig.submit(forever, isolation=isolation, timeout_s=60.0) for _ in range(4)]
    await rig.host.until(lambda: sum(worker.status == "busy" for worker in rig.executor.workers()) == 3)
    await asyncio.sleep(0.001)
    ids.append(rig.submit(forever, isolation=isolation))
    began = time.monotonic()
    await rig.stop(within_s=0.1)
    assert time.monotonic() - began < 1.0
    outcomes = await rig.all_of(ids)
    assert {outcome.state for outcome in outcomes} == {TaskState.CANCELLED}
    assert timers(rig.host.loop) == 0
    assert len(asyncio.all_tasks() - before) == 1, "only the stubborn one is left"
    late = rig.submit(value)
    assert (await rig.outcome(late)).state is TaskState.CANCELLED
    stubborn.gate.set()
    await rig.host.until(lambda: not asyncio.all_tasks() - before)
    assert len(rig.of(ids[0])) == 1


async def test_asyncio_stop_does_not_wait_for_what_was_given_up(start: Any, stubborn: Any) -> None:
    """A coroutine that ignores being cancelled costs a stop its grace, not the whole time there is."""
    rig = await start(1)
    task_id = rig.submit(stubborn, timeout_s=0.5)
    await rig.host.until(lambda: rig.executor.workers()[0].status == "busy")
    await asyncio.sleep(0.001)
    began = time.monotonic()
    await rig.stop(within_s=30.0)
    assert time.monotonic() - began < 5.0
    assert (await rig.outcome(task_id)).state is TaskState.CANCELLED
    stubborn.gate.set()


@both
async def test_asyncio_idle_leaves_no_timer(start: Any, isolation: str) -> None:
    """When nothing runs no timer is armed, though the tasks had limits."""
    rig = await start(4)
    await rig.all_of(rig.many(value, range(50), isolation=isolation, timeout_s=300.0))
    await rig.host.until(lambda: timers(rig.host.loop) == 0, 0.2)


@both
async def test_asyncio_one_at_a_time_is_reported_at_once(start: Any, isolation: str) -> None:
    """A lone task's outcome waits for no timer: without a limit of time none is armed at all."""
    rig = await start(2)
    armed: list[Callable[..., Any]] = []
    call_later = rig.host.loop.call_later

    def counted(delay: float, callback: Any, *args: Any, **options: Any) -> Any:
        if "AsyncioExecutor" in repr(callback):
            armed.append(callback)
        return call_later(delay, callback, *args, **options)

    rig.host.loop.call_later = counted
    try:
        for _ in range(20):
            await rig.run(value, isolation=isolation)
    finally:
        del rig.host.loop.call_later
    assert armed == []


async def swallow_once(x: int) -> int:
    try:
        await asyncio.sleep(0.001 * (x % 4))
    except asyncio.CancelledError:
        await asyncio.sleep(0.001)
    return x


async def briefly(x: int) -> int:
    await asyncio.sleep(0.001 * (x % 5))
    return x


async def raising(x: int) -> int:
    raise ValueError(x)


@pytest.mark.parametrize("seed", range(6))
async def test_asyncio_each_attempt_is_reported_once_in_a_storm(start: Any, seed: int) -> None:
    """Whatever mix of endings, cancels, timeouts, deadlines and sizes: each attempt is reported exactly once."""
    draw = random.Random(seed)
    rig = await start(4)
    ids: list[str] = []
    for _ in range(60):
        batch = []
        for _ in range(draw.randrange(6)):
            function = draw.choice([value, briefly, swallow_once, raising])
            batch.append(
                rig.attempt(
                    function,
                    draw.randrange(100),
                    isolation=draw.choice(["task", "shared"]),
                    timeout_s=draw.choice([None, 0.001, 0.002, 5.0]),
                    left_s=draw.choice([None, None, 0.002, 5.0]),
                )
            )
        rig.executor.submit(batch)
        ids += [attempt.task_id for attempt in batch]
        rig.cancel(*draw.sample(ids, min(len(ids), draw.randrange(4))))
        if draw.random() < 0.1:
            rig.resize(draw.randrange(1, 7))
        await asyncio.sleep(draw.choice([0, 0, 0.001, 0.003]))
    if seed % 2:
        await rig.stop(within_s=1.0)
    await rig.all_of(ids)
    assert len(rig.host.outcomes) == len(ids)
    await rig.host.until(lambda: timers(rig.host.loop) == 0, 2.0)
