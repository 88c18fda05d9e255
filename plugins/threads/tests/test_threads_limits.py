"""Time limits, cancelling, resizing and stopping: what becomes of threads that come back, and of those that do not."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from longshore.task import Attempt, TaskSpec, TaskState
from longshore.worker import current_task
from longshore_threads import ThreadsExecutor

pytestmark = pytest.mark.anyio


class Hung:
    """A function that does not return before it is let go; then it says something and returns."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.began: list[int] = []
        self.ended: list[bool] = []

    def __call__(self, x: int = 0) -> str:
        task = current_task()
        self.began.append(x)
        assert self.gate.wait(30)
        task.progress(1.0, "late")
        self.ended.append(task.cancelled())
        return "late"


@pytest.fixture
def hung() -> Iterator[Hung]:
    made = Hung()
    yield made
    made.gate.set()


def value(x: int = 1) -> int:
    return x


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("longshore-")}


@pytest.mark.requirement("req:E08")
async def test_threads_timeout_abandons_at_the_deadline(start: Any, hung: Hung) -> None:
    """A hung function is reported at its deadline, its thread replaced, and the next task runs (fault:T8)."""
    rig = await start(1)
    late, good = await rig.all_of([rig.submit(hung, timeout_s=0.1), rig.submit(value)])
    assert (late.state, late.error.reason) == (TaskState.TIMED_OUT, "timeout")
    assert "abandoned" in late.error.message
    assert 0.1 <= late.ran_s < 2
    assert good.ok
    assert good.worker != late.worker
    await rig.host.until(lambda: rig.host.notices)
    (notice,) = rig.host.notices
    assert (notice.type, notice.data["task_id"], notice.data["abandoned_threads"]) == ("worker_error", late.task_id, 1)
    assert rig.host.sizes == [1], "the capacity is what it was"


async def test_threads_a_late_result_is_discarded(start: Any, hung: Hung) -> None:
    """What an abandoned function returns or says afterwards is dropped; it can see that it is unwanted."""
    rig = await start(1)
    late = await rig.run(hung, timeout_s=0.05)
    hung.gate.set()
    await rig.host.until(lambda: hung.ended)
    assert hung.ended == [True]
    await rig.host.until(lambda: f"longshore-{late.worker}" not in threads())
    assert (await rig.run(value)).ok
    assert len(rig.host.outcomes) == 2
    assert rig.host.updates == []


async def test_threads_the_deadline_over_all_attempts_holds(start: Any, hung: Hung) -> None:
    """`expires_at` ends what runs, what waits for a thread, and is checked again before anything begins."""
    calls: list[int] = []
    rig = await start(1)
    runs = rig.submit(hung, timeout_s=60.0, left_s=0.1)
    waits = rig.submit(calls.append, 1, left_s=0.05)
    outcomes = await rig.all_of([runs, waits])
    assert [outcome.state for outcome in outcomes] == [TaskState.TIMED_OUT] * 2
    assert "over all attempts" in outcomes[0].error.message
    assert outcomes[1].worker is None
    assert (await rig.run(calls.append, 1, left_s=-1.0)).state is TaskState.TIMED_OUT
    assert not calls
    assert (await rig.run(value, left_s=30.0)).ok


async def test_threads_every_next_task_has_its_limit(start: Any, hung: Hung) -> None:
    """A limit holds for the hundredth task of a kind as for the first, also after the sweeper has looked."""
    rig = await start(1)

    def last_hangs(x: int) -> object:
        time.sleep(0.002)
        return hung() if x == 99 else x

    *good, late = await rig.all_of(rig.many(last_hangs, range(100), timeout_s=0.05))
    assert all(outcome.ok or outcome.ran_s >= 0.05 for outcome in good)
    assert late.state is TaskState.TIMED_OUT


@pytest.mark.requirement("req:D14")
async def test_threads_cancel_waiting_and_running(start: Any, hung: Hung) -> None:
    """What waits is dropped, what runs is reported cancelled and its thread abandoned; others go on."""
    rig = await start(2)
    ids = rig.many(hung, range(4))
    good = rig.submit(value)
    await rig.host.until(lambda: len(hung.began) == 2)
    rig.cancel(*ids, "no such task")
    *ended, last = await rig.all_of([*ids, good])
    assert [outcome.state for outcome in ended] == [TaskState.CANCELLED] * 4
    assert {outcome.error.reason for outcome in ended} == {"cancelled"}
    assert last.ok
    assert len(hung.began) == 2
    await rig.host.until(lambda: len(rig.host.notices) == 2)


async def test_threads_check_cancelled_ends_an_abandoned_function(start: Any) -> None:
    """A function that asks whether it is still wanted ends by itself, and gives its thread back."""
    rig = await start(1)
    looked = threading.Event()

    def asks() -> None:
        task = current_task()
        while True:
            task.check_cancelled()
            looked.set()
            time.sleep(0.001)

    task_id = rig.submit(asks)
    await rig.host.until(looked.is_set)
    rig.cancel(task_id)
    outcome = await rig.outcome(task_id)
    assert outcome.state is TaskState.CANCELLED
    await rig.host.until(lambda: f"longshore-{outcome.worker}" not in threads())
    assert not rig.executor.left_behind()


async def test_threads_the_cap_of_abandoned_threads(start: Any, hung: Hung) -> None:
    """Past the cap each abandoned thread costs one worker, and says so; with none left the executor has failed."""
    rig = await start(2, max_abandoned=2)
    outcomes = [await rig.run(hung, timeout_s=0.01) for _ in range(2)]
    assert rig.host.sizes == [2]
    outcomes.append(await rig.run(hung, timeout_s=0.01))
    await rig.host.until(lambda: rig.host.sizes == [2, 1])
    assert (await rig.run(value)).ok
    outcomes.append(await rig.run(hung, timeout_s=0.01))
    await rig.host.until(lambda: rig.host.failures)
    assert rig.host.sizes == [2, 1, 0]
    assert "4 threads were abandoned" in str(rig.host.failures[0])
    assert {outcome.state for outcome in outcomes} == {TaskState.TIMED_OUT}


async def test_threads_one_that_comes_back_gives_capacity_back(start: Any, hung: Hung) -> None:
    """When abandoned functions return, the workers they cost are there again, and take what waits."""
    other = Hung()
    rig = await start(2, max_abandoned=2)
    for _ in range(3):
        await rig.run(hung, timeout_s=0.01)
    await rig.host.until(lambda: rig.host.sizes == [2, 1])
    holding = rig.submit(other)
    await rig.host.until(lambda: other.began)
    waiting = rig.submit(value)
    rig.resize(3)
    hung.gate.set()
    assert (await rig.outcome(waiting)).ok
    await rig.host.until(lambda: rig.host.sizes[-1] == 3)
    await rig.host.until(lambda: not rig.executor.left_behind())
    assert rig.executor._wanted == 3
    assert not rig.of(holding)
    other.gate.set()
    assert (await rig.outcome(holding)).value == "late"


async def test_threads_resize_of_idle_threads(start: Any) -> None:
    """Idle threads that are too many end at once; those left take the next work."""
    rig = await start(4)
    await rig.all_of(rig.many(lambda _: time.sleep(0.002), range(16)))
    await rig.host.until(lambda: rig.executor._idle == 4)
    rig.resize(1)
    await rig.host.until(lambda: len(rig.executor.workers()) == 1)
    more = rig.many(value, range(10))
    await rig.host.until(lambda: len(rig.host.outcomes) == 26)
    assert {rig.of(task_id)[0].worker for task_id in more} == {rig.executor.workers()[0].worker_id}


@pytest.mark.requirement("req:C09")
async def test_threads_stop_returns_by_its_deadline_and_reports_all(start: Any, hung: Hung) -> None:
    """Stopping reports what runs and waits as cancelled in time, and leaves only hung threads."""
    before = threads()
    rig = await start(2)
    ids = [*rig.many(hung, range(5), timeout_s=60.0), rig.submit(value, left_s=60.0)]
    await rig.host.until(lambda: len(hung.began) == 2)
    began = time.monotonic()
    await rig.stop(within_s=0.2)
    assert time.monotonic() - began < 1.0
    outcomes = await rig.all_of(ids)
    assert {outcome.state for outcome in outcomes} == {TaskState.CANCELLED}
    assert len(threads() - before) == 2
    late = rig.submit(value)
    assert (await rig.outcome(late)).state is TaskState.CANCELLED
    hung.gate.set()
    await rig.host.until(lambda: threads() == before)
    assert len(rig.host.outcomes) == len(ids) + 1
    assert rig.host.failures == []


async def test_threads_a_loop_that_is_closed_meanwhile_harms_no_thread(hung: Hung) -> None:
    """A thread that finishes after the loop has closed ends its task in silence."""
    closed = threading.Event()

    def outlives() -> None:
        assert closed.wait(30)

    def elsewhere() -> None:
        loop = asyncio.new_event_loop()

        class Host:
            workers = 1

            def __init__(self) -> None:
                self.loop = loop

            def resized(self, _: int) -> None:
                pass

        executor = ThreadsExecutor()
        loop.run_until_complete(executor.start(Host()))  # type: ignore[arg-type]
        executor.submit([Attempt("x", TaskSpec(function=outlives, name="x", executor="threads"))])
        loop.close()
        closed.set()
        deadline = time.monotonic() + 10
        while executor._idle == 0 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert executor._idle == 1
        executor._stopping = True
        executor._wake.put(True)

    await asyncio.to_thread(elsewhere)


@pytest.mark.parametrize("seed", range(3))
async def test_threads_a_deadline_that_meets_the_end_is_one_outcome(start: Any, seed: int) -> None:
    """Where timeout and duration are the same, each attempt still has one outcome, and none is lost (fault:T2)."""
    rig = await start(3)

    def naps(_: int) -> None:
        time.sleep(0.002)

    ids = rig.many(naps, range(80), timeout_s=0.00215 + seed * 0.0001)
    outcomes = await rig.all_of(ids)
    assert {outcome.state for outcome in outcomes} <= {TaskState.COMPLETED, TaskState.TIMED_OUT}
    await rig.host.until(lambda: not rig.executor.left_behind())
    assert len(rig.host.outcomes) == len(ids)


def raising(x: int) -> int:
    raise ValueError(x)


def naps(x: int) -> int:
    time.sleep(0.0005 * (x % 5))
    return x


@pytest.mark.parametrize("seed", range(6))
async def test_threads_each_attempt_is_reported_once_in_a_storm(start: Any, seed: int) -> None:
    """Whatever mix of endings, cancels, timeouts, deadlines and sizes: each attempt is reported exactly once."""
    draw = random.Random(seed)
    rig = await start(3, max_abandoned=1000)
    ids: list[str] = []
    for _ in range(60):
        batch = []
        for _ in range(draw.randrange(6)):
            limits = {"timeout_s": draw.choice([None, 0.001, 0.002, 5.0]), "left_s": draw.choice([None, None, 0.002])}
            batch.append(rig.attempt(draw.choice([value, naps, raising]), draw.randrange(100), **limits))
        rig.executor.submit(batch)
        ids += [attempt.task_id for attempt in batch]
        rig.cancel(*draw.sample(ids, min(len(ids), draw.randrange(5))))
        if draw.random() < 0.1:
            rig.resize(draw.randrange(1, 6))
        await asyncio.sleep(draw.choice([0, 0, 0.001, 0.002]))
    if seed % 2:
        await rig.stop(within_s=1.0)
    await rig.all_of(ids)
    await rig.host.until(lambda: not rig.executor.left_behind())
    assert len(rig.host.outcomes) == len(ids)
    assert rig.host.failures == []
