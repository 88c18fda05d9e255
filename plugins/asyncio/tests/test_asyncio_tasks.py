"""What a coroutine on the pool's loop is called with, gives back, and may ask of its task."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import time
from pathlib import Path
from typing import Any

import pytest
from longshore import track
from longshore.task import TaskState
from longshore.worker import current_task

pytestmark = pytest.mark.anyio


async def double(x: int, plus: int = 0) -> int:
    await asyncio.sleep(0)
    return 2 * x + plus


class Doubler:
    async def method(self, x: int) -> int:
        return 2 * x

    async def __call__(self, x: int) -> int:
        return 2 * x


@pytest.mark.parametrize(
    "function", [double, functools.partial(double, plus=0), Doubler().method, Doubler(), lambda x: double(x)]
)
@pytest.mark.parametrize("isolation", ["task", "shared"])
async def test_asyncio_runs_all_kinds_of_coroutine_functions(start: Any, function: Any, isolation: str) -> None:
    """Whatever gives a coroutine when called is a task, and its result is the outcome's value."""
    rig = await start(2)
    outcome = await rig.run(function, 21, isolation=isolation)
    assert (outcome.state, outcome.value, outcome.worker) == (TaskState.COMPLETED, 42, "async-1")
    assert outcome.queued_s >= 0
    assert outcome.ran_s >= 0


@pytest.mark.parametrize("isolation", ["task", "shared"])
async def test_asyncio_tasks_are_named_after_their_worker(start: Any, isolation: str) -> None:
    """In a debugger, and in asyncio's own messages, a coroutine's asyncio task bears the id of its worker."""

    async def named() -> str | None:
        task = asyncio.current_task()
        return task.get_name() if task is not None else None

    rig = await start(2)
    outcome = await rig.run(named, isolation=isolation)
    assert outcome.value == outcome.worker


async def test_asyncio_a_plain_function_is_a_type_error(start: Any) -> None:
    """A function whose result can't be awaited fails its own task, with a TypeError."""
    rig = await start(1)
    outcome = await rig.run(lambda: 1)
    assert outcome.error.type == "TypeError"


async def test_asyncio_gives_the_exception_itself_and_its_text(start: Any) -> None:
    """The task's own exception is in the outcome, the same object, with its traceback as text in the record."""
    error = ValueError("wrong berth")

    async def broken() -> None:
        raise error

    rig = await start(1)
    outcome = await rig.run(broken, number=3)
    assert outcome.state is TaskState.FAILED
    assert outcome.exception is error
    assert (outcome.error.type, outcome.error.message, outcome.error.attempt) == ("ValueError", "wrong berth", 3)
    assert "in broken" in outcome.error.traceback
    assert outcome.attempts == 3


@pytest.mark.parametrize("isolation", ["task", "shared"])
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit])
@pytest.mark.requirement("req:E12")
async def test_asyncio_no_exception_costs_more_than_its_task(start: Any, kind: Any, isolation: str) -> None:
    """Exceptions that are no Exception fail the task that raised them and nothing else."""

    async def raises() -> None:
        raise kind

    rig = await start(1)
    first = rig.submit(raises, isolation=isolation)
    second = rig.submit(double, 1, isolation=isolation)
    bad, good = await rig.all_of([first, second])
    assert (bad.state, bad.error.type.rpartition(".")[2]) == (TaskState.FAILED, kind.__name__)
    assert good.value == 2


async def test_asyncio_the_two_isolations_mix(start: Any) -> None:
    """Attempts of both isolations in one backlog all run, whatever order they come in, suspending or not."""

    async def quick(x: int) -> int:
        return x

    async def slow(x: int) -> int:
        time.sleep(0.0015)  # longer than a slice, so that the seat gives the loop its turn
        return x

    rig = await start(2)
    batch = []
    for index in range(120):
        function = (quick, slow, double)[index % 3] if index % 7 else slow
        batch.append(rig.attempt(function, index, isolation="shared" if index % 4 < 2 else "task"))
    rig.executor.submit(batch)
    outcomes = await rig.all_of([attempt.task_id for attempt in batch])
    assert all(outcome.ok for outcome in outcomes)


@pytest.mark.parametrize("workers", [1, 3])
async def test_asyncio_a_task_behind_a_shared_one_is_not_forgotten(start: Any, workers: int) -> None:
    """A seat that ends after a "shared" attempt longer than a slice hands the backlog on."""

    async def slow() -> None:
        time.sleep(0.003)

    rig = await start(workers)
    batch = [rig.attempt(slow, isolation="shared"), rig.attempt(double, 1), rig.attempt(slow, isolation="shared")]
    rig.executor.submit(batch)
    await rig.all_of([attempt.task_id for attempt in batch])


@pytest.mark.parametrize("isolation", ["task", "shared"])
async def test_asyncio_suspended_tasks_do_not_hold_up_the_next(start: Any, isolation: str) -> None:
    """While one coroutine waits, those behind it in the backlog run in the free seats."""
    gate = asyncio.Event()

    async def waits(x: int) -> int:
        if x < 3:
            await gate.wait()
        return x

    rig = await start(4)
    ids = rig.many(waits, range(6), isolation=isolation)
    await rig.host.until(lambda: all(rig.of(task_id) for task_id in ids[3:]))
    gate.set()
    await rig.all_of(ids)


@pytest.mark.parametrize("isolation", ["task", "shared"])
async def test_asyncio_the_loop_has_its_turn(start: Any, isolation: str) -> None:
    """Thousands of tasks that never suspend leave a ticker of the loop ticking."""
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def spin(_: int) -> None:
        until = time.perf_counter() + 0.00005
        while time.perf_counter() < until:
            pass

    rig = await start(100)
    ticker = asyncio.ensure_future(tick())
    ids = rig.many(spin, range(3000), isolation=isolation)  # 0.15 s of work at least
    await rig.all_of(ids)
    ticker.cancel()
    assert turns > 10


colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


@pytest.mark.parametrize(("isolation", "seen"), [("task", ["none", "none"]), ("shared", ["none", "set by 0"])])
async def test_asyncio_contextvars(start: Any, isolation: str, seen: list[str]) -> None:
    """With "task" no coroutine sees what another did to a contextvar; with "shared" those of one worker may."""

    async def look(x: int) -> str:
        before = colour.get()
        colour.set(f"set by {x}")
        return before

    rig = await start(1)
    outcomes = await rig.all_of(rig.many(look, range(2), isolation=isolation))
    assert [outcome.value for outcome in outcomes] == seen
    assert colour.get() == "none"


async def test_asyncio_current_task_outside_raises() -> None:
    """Outside of a task there is none."""
    with pytest.raises(RuntimeError, match="outside of a task"):
        current_task()


@pytest.mark.parametrize("isolation", ["task", "shared"])
async def test_asyncio_current_task_says_what_it_is(start: Any, isolation: str) -> None:
    """A coroutine knows its id, attempt, worker and time left, before and after it suspends, and in helper tasks."""

    async def facts(_: int) -> tuple[Any, ...]:
        task = current_task()
        await asyncio.sleep(0.001)
        assert current_task() is task
        assert await asyncio.create_task(helper()) is task
        return task.task_id, task.attempt, task.worker_id, task.time_remaining(), task.cancelled()

    async def helper() -> Any:
        return current_task()

    rig = await start(3)
    ids = rig.many(facts, range(9), isolation=isolation, timeout_s=60.0)
    for outcome in await rig.all_of(ids):
        assert outcome.ok, outcome.error
        task_id, number, worker, left, was_cancelled = outcome.value
        assert (task_id, number, worker, was_cancelled) == (outcome.task_id, 1, outcome.worker, False)
        assert 50 < left < 60


async def test_asyncio_worker_state_and_initializer_are_per_worker(start: Any) -> None:
    """`worker_state` lives as long as the worker and is its own; an initializer, plain or not, runs once in each."""
    made: list[str] = []

    async def prepare() -> None:
        await asyncio.sleep(0)
        made.append(current_task().worker_id)

    async def count(_: int) -> tuple[str, int]:
        state = current_task().worker_state
        state["n"] = state.get("n", 0) + 1
        await asyncio.sleep(0)
        return current_task().worker_id, state["n"]

    rig = await start(3)
    outcomes = await rig.all_of(rig.many(count, range(30), initializer=prepare))
    values = [outcome.value for outcome in outcomes]
    assert sorted(made) == sorted({worker for worker, _ in values})
    for worker in set(made):
        assert sorted(n for one, n in values if one == worker) == list(
            range(1, 1 + sum(one == worker for one, _ in values))
        )


async def test_asyncio_progress_arrives_coalesced(start: Any) -> None:
    """Of a thousand updates the first and the last arrive, few between, none going back; steps stand in for a part."""

    async def works() -> None:
        task = current_task()
        for step in range(1000):
            task.progress(completed_steps=step, total_steps=1000)
        task.progress(0.2, "back")

    rig = await start(1)
    outcome = await rig.run(works)
    assert outcome.ok
    parts = [update.progress for update in rig.host.updates]
    assert parts[0] == 0.0
    assert rig.host.updates[-1].message == "back"
    assert parts[-1] == 0.999
    assert parts == sorted(parts)
    assert len(parts) <= 2 + outcome.ran_s * 10


async def test_asyncio_track_and_output(start: Any, tmp_path: Path) -> None:
    """`track` reports as it goes, and `output` makes a file whole or not at all."""

    async def works(name: str, fail: bool) -> None:
        with current_task().output(tmp_path / name) as file:
            for item in track([b"a", b"b"]):
                file.write(item)
            if fail:
                raise ValueError

    rig = await start(2)
    await rig.all_of([rig.submit(works, "good", False), rig.submit(works, "bad", True)])
    assert (tmp_path / "good").read_bytes() == b"ab"
    assert [path.name for path in tmp_path.iterdir()] == ["good"]
    assert rig.host.updates[-1].progress == 1.0
