"""What a function in a thread is called with, gives back, and may ask of its task."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest
from longshore import track
from longshore.task import TaskState
from longshore.worker import current_task

pytestmark = pytest.mark.anyio


def double(x: int, plus: int = 0) -> int:
    return 2 * x + plus


class Doubler:
    def method(self, x: int) -> int:
        return 2 * x

    def __call__(self, x: int) -> int:
        return 2 * x


@pytest.mark.parametrize(
    "function", [double, functools.partial(double, plus=0), Doubler().method, Doubler(), lambda x: 2 * x]
)
async def test_threads_run_all_kinds_of_functions(start: Any, function: Any) -> None:
    """Functions, methods, partials, lambdas and callable objects run in a named thread; the result is the value."""
    rig = await start(2)
    outcome = await rig.run(function, 21)
    assert (outcome.state, outcome.value) == (TaskState.COMPLETED, 42)
    assert outcome.worker in ("thread-0", "thread-1")
    assert (await rig.run(lambda: threading.current_thread().name)).value.startswith("longshore-thread-")
    assert outcome.queued_s >= 0
    assert outcome.ran_s >= 0


async def test_threads_a_coroutine_is_a_type_error(start: Any) -> None:
    """A function that returns a coroutine fails, saying what to submit instead; nothing warns of one never awaited."""

    async def aimless() -> None:
        raise AssertionError

    rig = await start(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = await rig.run(lambda: aimless())
    assert not caught
    assert outcome.error.type == "TypeError"
    assert "async def" in outcome.error.message


async def test_threads_give_the_exception_itself_and_its_text(start: Any) -> None:
    """The task's own exception is in the outcome, the same object, with its traceback as text in the record."""
    error = ValueError("wrong berth")

    def broken() -> None:
        raise error

    rig = await start(1)
    outcome = await rig.run(broken, number=3)
    assert outcome.exception is error
    assert (outcome.state, outcome.attempts) == (TaskState.FAILED, 3)
    assert (outcome.error.type, outcome.error.message, outcome.error.attempt) == ("ValueError", "wrong berth", 3)
    assert "in broken" in outcome.error.traceback


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, StopIteration])
@pytest.mark.requirement("req:E12")
async def test_threads_no_exception_costs_more_than_its_task(start: Any, kind: Any) -> None:
    """Exceptions that are no Exception fail the task that raised them; the thread goes on."""

    def raises() -> None:
        raise kind

    rig = await start(1)
    bad, good = await rig.all_of([rig.submit(raises), rig.submit(double, 1)])
    assert (bad.state, bad.error.type.rpartition(".")[2]) == (TaskState.FAILED, kind.__name__)
    assert (good.value, good.worker) == (2, bad.worker)


async def test_threads_keep_no_result_while_the_next_one_runs(start: Any) -> None:
    """What a task returned is gone as soon as its caller lets go of it, however long its thread is busy then."""
    rig = await start(1)
    go = threading.Event()
    first, second = rig.attempt(Doubler), rig.attempt(go.wait, 10)
    rig.executor.submit([first, second])
    gone = weakref.ref((await rig.outcome(first.task_id)).value)
    rig.host.outcomes.clear()
    await rig.host.until(lambda: gone() is None)
    go.set()
    assert (await rig.outcome(second.task_id)).value is True


@pytest.mark.requirement("req:A02")
async def test_threads_as_many_at_once_as_there_are_workers(start: Any) -> None:
    """Exactly so many functions run at once, and never more; all threads are there from the start."""
    lock = threading.Lock()
    running = peak = 0

    def watched(_: int) -> None:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
        time.sleep(0.002)
        with lock:
            running -= 1

    rig = await start(4)
    assert [row.status for row in rig.executor.workers()] == ["idle"] * 4
    await rig.all_of(rig.many(watched, range(60)))
    assert peak == 4
    assert len(rig.executor.workers()) == 4
    await rig.host.until(lambda: sum(worker.tasks_completed for worker in rig.executor.workers()) == 60)


@pytest.mark.requirement("req:E02")
async def test_threads_the_loop_keeps_ticking(start: Any) -> None:
    """Blocking functions leave the loop each of its turns: the best of five rounds, as others use the CPU too."""
    rig = await start(2)
    rounds: list[float] = []
    while len(rounds) < 5 and min(rounds, default=1.0) >= 0.05:
        before = len(rig.host.outcomes)
        ids = rig.many(lambda _: time.sleep(0.02), range(6))
        gaps: list[float] = []
        last = time.perf_counter()
        while len(rig.host.outcomes) < before + 6:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now
        await rig.all_of(ids)
        rounds.append(max(gaps[1:]))
    assert min(rounds) < 0.05


@pytest.mark.requirement("req:H22")
async def test_threads_progress_arrives_coalesced(start: Any) -> None:
    """Of a thousand updates the first and the last arrive, few between, none going back."""

    def works() -> None:
        task = current_task()
        for step in range(1000):
            task.progress(completed_steps=step, total_steps=1000)
        task.progress(0.2, "back")

    rig = await start(1)
    outcome = await rig.run(works)
    parts = [update.progress for update in rig.host.updates]
    assert (parts[0], parts[-1]) == (0.0, 0.999)
    assert rig.host.updates[-1].message == "back"
    assert parts == sorted(parts)
    assert len(parts) <= 2 + outcome.ran_s * 10


async def test_threads_track_and_output(start: Any, tmp_path: Path) -> None:
    """`track` reports as it goes, and `output` makes a file whole or not at all."""

    def works(name: str, fail: bool) -> None:
        with current_task().output(tmp_path / name) as file:
            for item in track([b"a", b"b"]):
                file.write(item)
            if fail:
                raise ValueError

    rig = await start(1)
    await rig.all_of([rig.submit(works, "good", False), rig.submit(works, "bad", True)])
    assert (tmp_path / "good").read_bytes() == b"ab"
    assert [path.name for path in tmp_path.iterdir()] == ["good"]
    assert rig.host.updates[-1].progress == 1.0


async def test_threads_one_at_a_time_is_reported_at_once(start: Any) -> None:
    """A lone task's outcome wakes the loop; it does not wait for the next regular look."""
    rig = await start(2)
    await rig.run(double, 1)
    call_later, held = rig.host.loop.call_later, []

    def never(delay: float, callback: Any, *args: Any, **options: Any) -> Any:
        if "ThreadsExecutor" in repr(callback):
            held.append(callback)
            delay = 3600.0
        return call_later(delay, callback, *args, **options)

    rig.host.loop.call_later = never
    try:
        for _ in range(30):
            await rig.run(double, 1)
    finally:
        del rig.host.loop.call_later


async def test_threads_idle_leaves_no_timer(start: Any) -> None:
    """When nothing runs the loop has no timer of the executor, and its threads wait without polling."""
    rig = await start(2)
    await rig.all_of(rig.many(double, range(50), timeout_s=300.0))
    scheduled: Any = rig.host.loop

    def armed() -> int:
        return sum("ThreadsExecutor" in repr(one) for one in scheduled._scheduled if not one.cancelled())

    await rig.host.until(lambda: not armed(), 2.0)
    await rig.host.until(lambda: rig.executor._idle == 2, 2.0)
    assert all(worker.status == "idle" for worker in rig.executor.workers())


@pytest.mark.requirement("req:C03")
async def test_threads_none_to_be_had(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, the executor does not start either; where some can, it goes on with those."""
    begin, allowed = threading.Thread.start, [0]

    def refuse(thread: threading.Thread) -> None:
        allowed[0] -= 1
        if allowed[0] < 0:
            raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="no more threads"):
        await start(2)
    allowed[0] = 1
    rig = await start(2)
    assert len(rig.executor.workers()) == 1
    allowed[0] = 9
    assert (await rig.run(double, 21)).value == 42
    assert len(rig.executor.workers()) == 2
