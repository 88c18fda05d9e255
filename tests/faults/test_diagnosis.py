"""A diagnosis comes while things hang, and says where: a lock, C code, a blocked loop, a worker that is stopped."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from longshore import Diagnosis, Settings, WorkerPool

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc")]

DEADLINE_S = 30.0
HERE = os.path.basename(__file__)


def held_for_ever(started: str) -> None:
    """Wait for a lock that nobody lets go of."""
    lock = threading.Lock()
    lock.acquire()
    Path(started).touch()
    lock.acquire()


def in_c_code(started: str) -> None:
    """Be in C code that lets go of nothing: a pattern that takes for ever."""
    Path(started).touch()
    re.match(r"(a+)+$", "a" * 64 + "b")


def asleep(started: str) -> None:
    """Sleep in C code that lets go of the interpreter."""
    Path(started).touch()
    time.sleep(60)


@asynccontextmanager
async def hanging(function: Callable[[str], None], folder: Path) -> AsyncIterator[WorkerPool]:
    """A pool with one process worker, in which this function has begun."""
    pool = WorkerPool({"process_workers": 1}, settings=Settings(probes=()))
    await pool.start()
    try:
        pool.options(executor="processes").submit_nowait(function, str(folder / "started"))
        async with asyncio.timeout(DEADLINE_S):
            while not (folder / "started").exists():
                await asyncio.sleep(0.01)
        yield pool
    finally:
        await pool.stop(0)


def stack_of(found: Diagnosis, whose: str) -> list[str]:
    """Return the frames of the first stack of this name."""
    return next(list(stack.frames) for stack in found.stacks if stack.of.startswith(whose))


@pytest.mark.slow
@pytest.mark.requirement("req:L05")
@pytest.mark.parametrize(
    ("function", "last"), [(held_for_ever, "held_for_ever"), (in_c_code, "match"), (asleep, "asleep")]
)
async def test_the_stack_of_a_worker_names_where_its_task_hangs(
    function: Callable[[str], None], last: str, tmp_path: Path
) -> None:
    """In a lock, in C code that holds the interpreter, in a sleep: file, line and function, and which worker it is."""
    async with hanging(function, tmp_path) as pool:
        found = await asyncio.to_thread(pool.diagnose)
    stack = stack_of(found, "worker process-0")
    assert stack[-1].endswith(f" in {last}")
    assert any(re.search(rf"{HERE}:\d+ in {function.__name__}$", frame) for frame in stack)
    [worker] = [worker for worker in found.workers if worker.worker_id == "process-0"]
    assert worker.status == "busy"
    assert worker.current_task == found.running[0].task_id
    assert isinstance(worker.pid, int)
    assert (found.loop, list(found.notes)) == ("answers", [])


@pytest.mark.slow
@pytest.mark.requirement("req:L05")
async def test_a_worker_that_cannot_answer_is_said_to_be_stopped(tmp_path: Path) -> None:
    """One that was stopped by a signal writes nothing: what the system tells of it is told, and the rest comes."""
    async with hanging(asleep, tmp_path) as pool:
        [pid] = [worker.pid for worker in pool.get_worker_stats() if worker.pid is not None]
        os.kill(pid, signal.SIGSTOP)
        try:
            found = await asyncio.to_thread(pool.diagnose)
        finally:
            os.kill(pid, signal.SIGCONT)
        again = await asyncio.to_thread(pool.diagnose)
    [stack] = [stack for stack in found.stacks if stack.of == "worker process-0"]
    assert "wrote no stacks in time" in stack.note
    assert "T (stopped)" in stack.note
    assert stack_of(found, "thread MainThread")
    assert stack_of(again, "worker process-0")[-1].endswith(" in asleep"), "what it wrote late was taken for the next"


@pytest.mark.slow
@pytest.mark.requirement("req:L05")
async def test_a_blocked_loop_is_diagnosed_from_another_thread() -> None:
    """The record says that the loop does not answer, where it is, and what the pool holds all the same."""
    found: list[Diagnosis] = []
    begun = threading.Event()

    async def blocks() -> None:
        begun.set()
        thread.join(DEADLINE_S)

    def look() -> None:
        begun.wait(DEADLINE_S)
        found.append(pool.diagnose())

    thread = threading.Thread(target=look)
    async with WorkerPool(settings=Settings(probes=())) as pool:
        handle = pool.submit_nowait(blocks)
        thread.start()
        await handle
    [one] = found
    assert one.loop.startswith("did not answer")
    assert any("read beside it" in note for note in one.notes)
    assert any(
        " in test_a_blocked_loop_is_diagnosed_from_another_thread.<locals>.blocks" in frame
        for frame in stack_of(one, "thread MainThread")
    )
    assert [task.name.rpartition(".")[2] for task in one.running] == ["blocks"]


PROGRAM = """
import asyncio, re, sys, time
from longshore import Settings, WorkerPool, install_diagnostics

async def blocks(how):
    print("blocks", flush=True)
    if how == "sleep":
        time.sleep(60)
    re.match(r"(a+)+$", "a" * 64 + "b")

async def main():
    async with WorkerPool(settings=Settings(probes=())) as pool:
        with install_diagnostics(pool, folder=sys.argv[2]):
            await pool.submit(blocks, sys.argv[1])
            await pool.wait_for_completion()

asyncio.run(main())
"""


@pytest.fixture
def blocked(tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Return what starts a program whose loop is blocked, and waits until it is."""
    (tmp_path / "program.py").write_text(PROGRAM)
    running: list[subprocess.Popen[bytes]] = []

    def start(how: str) -> Any:  # Any: a Popen
        arguments = [sys.executable, "program.py", how, str(tmp_path)]
        process = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"blocks\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.requirement("req:L05")
def test_a_signal_has_a_program_with_a_blocked_loop_tell_where_it_is(
    blocked: Callable[[str], Any], tmp_path: Path
) -> None:
    """On stderr and in two files that nobody else may read; it goes on, and tells it again at a second signal."""
    process = blocked("sleep")
    for _ in range(2):
        process.send_signal(signal.SIGUSR1)
        told = b""
        while b"end of the diagnosis" not in told and process.poll() is None:
            told += process.stderr.readline()
        assert re.search(rb"/program\.py:[678] in blocks\n", told), "at the sleep, or about to"
        assert told.isascii()
    deadline = time.monotonic() + DEADLINE_S
    while not (tmp_path / "diagnosis.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for name in ("diagnosis.json", "diagnosis.txt", "diagnosis.listens"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    found = json.loads((tmp_path / "diagnosis.json").read_bytes())
    assert found["pid"] == process.pid
    assert any(frame.endswith(" in blocks") for stack in found["stacks"] for frame in stack["frames"])
    assert process.poll() is None


@pytest.mark.slow
@pytest.mark.requirement("req:L05")
def test_code_that_holds_the_interpreter_is_named_by_the_handler_itself(
    blocked: Callable[[str], Any], tmp_path: Path
) -> None:
    """Nothing else in that program can run, yet where its main thread is can be read out of the named pipe."""
    process = blocked("hold")
    pipe = os.open(tmp_path / "diagnosis.pipe", os.O_RDONLY | os.O_NONBLOCK)
    told, deadline = b"", time.monotonic() + DEADLINE_S
    while b"line 9 in blocks" not in told and time.monotonic() < deadline:
        process.send_signal(signal.SIGUSR1)
        try:
            told += os.read(pipe, 65536)
        except BlockingIOError:
            time.sleep(0.01)
    os.close(pipe)
    assert b'program.py", line 9 in blocks' in told
