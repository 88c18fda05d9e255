"""`current_task().output` in every executor: at a failure, a cancel, a timeout, a kill, nothing but whole files."""

from __future__ import annotations

import asyncio
import functools
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import longshore
import pytest
from longshore import RetryPolicy, TaskCancelled, TaskState, WorkerDied, WorkerPool

pytestmark = pytest.mark.anyio
WHOLE = b"0123456789" * 20_000


def writes(path: str, fail: bool = False) -> None:
    with longshore.current_task().output(path) as file:
        file.write(WHOLE)
        if fail:
            raise ValueError("no")


async def writes_async(path: str, fail: bool = False) -> None:
    writes(path, fail)


def writes_text(path: str) -> None:
    with longshore.current_task().output(path, "w", encoding="utf-16") as file:
        file.write("é")


@pytest.mark.parametrize("executor", ["inline", "asyncio", "threads", "processes"])
async def test_output_is_whole_or_not_there_in_every_executor(executor: str, tmp_path: Path) -> None:
    """Bytes or text; a task that fails leaves nothing behind."""
    async with WorkerPool() as pool:
        submit = pool.options(executor=executor).submit
        function = writes_async if executor == "asyncio" else writes
        good, bad = await submit(function, str(tmp_path / "good")), await submit(function, str(tmp_path / "bad"), True)
        await good
        with pytest.raises(ValueError, match="no"):
            await bad
        if executor != "asyncio":
            await (await submit(writes_text, str(tmp_path / "text")))
            assert (tmp_path / "text").read_text(encoding="utf-16") == "é"
            (tmp_path / "text").unlink()
    assert (tmp_path / "good").read_bytes() == WHOLE
    assert os.listdir(tmp_path) == ["good"]


def stubborn(path: str, go: threading.Event, told: list[object]) -> None:
    """Write on, whatever is said."""
    try:
        with longshore.current_task().output(path) as file:
            file.write(b"late")
            go.wait(30)
    except BaseException as error:
        told.append(error)
        raise


async def test_an_abandoned_attempt_does_not_write_over_what_came_after_it(tmp_path: Path) -> None:
    """A thread can't be ended: what it finishes after its timeout does not come, and its file neither."""
    path, go, told = tmp_path / "a", threading.Event(), list[object]()
    async with WorkerPool() as pool:
        threads = pool.options(executor="threads")
        handle = await threads.options(timeout=0.05).submit(stubborn, str(path), go, told)
        assert (await handle.outcome()).state is TaskState.TIMED_OUT
        await (await threads.submit(writes, str(path)))
        go.set()
        for _ in range(1000):
            if told:
                break
            await asyncio.sleep(0.01)
    assert isinstance(told[0], TaskCancelled | longshore.TaskTimeout)
    assert path.read_bytes() == WHOLE
    assert os.listdir(tmp_path) == ["a"]


async def test_a_cancelled_coroutine_leaves_nothing(tmp_path: Path) -> None:
    """Cancelled in the middle of its block: neither the file nor a part of it."""
    begun = asyncio.Event()

    async def slow() -> None:
        with longshore.current_task().output(tmp_path / "a") as file:
            file.write(b"half")
            begun.set()
            await asyncio.sleep(60)

    async with WorkerPool() as pool:
        handle = await pool.submit(slow)
        await asyncio.wait_for(begun.wait(), 30)
        handle.cancel()
        assert (await handle.outcome()).state is TaskState.CANCELLED
    assert os.listdir(tmp_path) == []


def killed_first(path: str, moment: str) -> int:
    task = longshore.current_task()
    with task.output(path) as file:
        file.write(WHOLE)
        file.flush()
        if task.attempt == 1 and moment == "inside":
            os.kill(os.getpid(), signal.SIGKILL)
    if task.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return task.attempt


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["inside", "before its outcome"])
async def test_a_worker_killed_around_its_output_leaves_whole_files_only(moment: str, tmp_path: Path) -> None:
    """Killed in the block, or after it and before anybody was told: the next attempt writes it whole."""
    path = tmp_path / "a"
    async with WorkerPool() as pool:
        once = pool.options(executor="processes")
        outcome = await (await once.submit(killed_first, str(path), moment)).outcome()
        assert isinstance(outcome.exception, WorkerDied)
        assert path.exists() is (moment != "inside")
        assert not path.exists() or path.read_bytes() == WHOLE
        assert (
            await (
                await once.options(retry=RetryPolicy(attempts=2, backoff=0.0)).submit(killed_first, str(path), moment)
            )
            == 2
        )
    assert path.read_bytes() == WHOLE
    assert os.listdir(tmp_path) == ["a"]


def in_parts(number: int, folder: str, seen: str) -> None:
    (Path(seen) / str(os.getpid())).touch()
    with longshore.current_task().output(Path(folder) / str(number)) as file:
        for _ in range(20):
            file.write(WHOLE[: len(WHOLE) // 20])
            file.flush()
            time.sleep(0.001)
    time.sleep(0.002)


async def kill_at_random(seen: Path, over: asyncio.Event, look: Callable[[], None]) -> int:
    """Kill one worker after the other until it is over; return how many."""
    dice, kills = random.Random(7), 0
    while not over.is_set():
        await asyncio.sleep(dice.uniform(0.02, 0.1))
        pids = os.listdir(seen)
        if pids:
            pid = dice.choice(pids)
            (seen / pid).unlink()
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
                kills += 1
        look()
    return kills


@pytest.mark.slow
async def test_kills_at_any_moment_leave_whole_files_only(tmp_path: Path) -> None:
    """Workers are killed at random while 80 files are written; each one that is there is whole, and all come."""
    folder, seen, over, torn = tmp_path / "out", tmp_path / "seen", asyncio.Event(), list[str]()
    folder.mkdir()
    seen.mkdir()

    def look() -> None:
        names = [name for name in os.listdir(folder) if not name.startswith(".")]
        torn.extend(name for name in names if (folder / name).read_bytes() != WHOLE)

    call = functools.partial(in_parts, folder=str(folder), seen=str(seen))
    async with WorkerPool() as pool:
        again = pool.options(executor="processes", retry=RetryPolicy(attempts=50, backoff=0.0, poison_after=50))
        killing = asyncio.create_task(kill_at_random(seen, over, look))
        outcomes = [outcome async for outcome in again.outcomes(call, range(80))]
        over.set()
        kills = await killing
    look()
    assert kills > 5
    assert torn == []
    assert all(outcome.ok for outcome in outcomes)
    assert max(outcome.attempts for outcome in outcomes) > 1
    assert sorted(os.listdir(folder), key=int) == [str(number) for number in range(80)]
