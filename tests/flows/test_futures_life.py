"""How a `PoolExecutor` begins and ends: with its first call; by `shutdown`, let go of, killed, or the interpreter."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future, wait
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from longshore import BrokenPool, PoolExecutor, Settings
from longshore.errors import WrongPlace
from support.waiting import wait_until

DEADLINE_S = 20.0
PLAIN = Settings(probes=())
each = pytest.mark.parametrize("place", ["threads", "processes", "asyncio", "inline"])
THREADS = ("longshore-futures", "longshore-thread", "longshore-processes")


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No test leaves a thread of an executor behind."""
    before = set(threading.enumerate())
    yield
    wait_until(
        lambda: not [t for t in set(threading.enumerate()) - before if t.name.startswith(THREADS)], "threads to end"
    )


class Gate:
    """A function that holds until it is let go."""

    def __init__(self) -> None:
        self.inside, self.go = threading.Event(), threading.Event()

    def __call__(self, value: Any = None) -> Any:
        self.inside.set()
        assert self.go.wait(DEADLINE_S)
        return value


async def same(number: int) -> int:
    return number


def function_for(place: str) -> Callable[[int], Any]:
    return same if place == "asyncio" else abs


def call(place: str) -> str:
    """Return a program's line that submits ten calls that take a while, for each executor."""
    return {"asyncio": "[executor.submit(later, n) for n in range(10)]"}.get(
        place, "[executor.submit(late, n) for n in range(10)]"
    )


@each
def test_shutdown_waits_for_what_was_submitted(place: str) -> None:
    """All futures have their results when it returns, also when called again; then nothing more is taken."""
    executor = PoolExecutor(2, executor=place, settings=PLAIN)
    futures = [executor.submit(function_for(place), number) for number in range(20)]
    executor.shutdown()
    assert [future.result(0) for future in futures] == list(range(20))
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, 1)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.map(abs, [1])


@each
def test_an_executor_that_was_never_used_ends_at_once(place: str) -> None:
    """It has no thread, and takes nothing after its shutdown."""
    with PoolExecutor(2, executor=place, settings=PLAIN) as executor:
        pass
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, 1)


def test_shutdown_without_waiting_returns_at_once() -> None:
    """What was submitted still ends, and so does all that belongs to the executor."""
    gate = Gate()
    executor = PoolExecutor(1, executor="threads", settings=PLAIN)
    futures = [executor.submit(gate, 1), executor.submit(abs, -2)]
    executor.shutdown(wait=False)
    assert not futures[0].done()
    gate.go.set()
    assert [future.result(DEADLINE_S) for future in futures] == [1, 2]


def test_shutdown_may_cancel_what_is_pending() -> None:
    """What runs ends with its result, the others are cancelled and never run."""
    gate, ran = Gate(), list[int]()
    executor = PoolExecutor(1, executor="threads", settings=PLAIN)
    running = executor.submit(gate, 1)
    pending = [executor.submit(ran.append, number) for number in range(20)]
    assert gate.inside.wait(DEADLINE_S)
    pending[-1].add_done_callback(lambda _: gate.go.set())
    executor.shutdown(cancel_futures=True)
    assert running.result(0) == 1
    assert [future.cancelled() for future in pending] == [True] * 20
    assert ran == []


def test_what_can_begin_is_not_cancelled_by_a_shutdown_right_behind_it() -> None:
    """As many as there are workers have begun, though they were submitted in the moment before."""
    with PoolExecutor(2, executor="threads", settings=PLAIN) as executor:
        futures = [executor.submit(time.sleep, 0.01) for _ in range(50)]
        executor.shutdown(cancel_futures=True)
    ended = [future for future in futures if not future.cancelled()]
    assert 2 <= len(ended) < 25
    assert {future.exception() for future in ended} == {None}


@pytest.mark.slow
@each
def test_letting_go_of_an_executor_ends_it_after_its_work(place: str) -> None:
    """Its futures get their results; no thread of it stays."""
    executor = PoolExecutor(1, executor=place, settings=PLAIN)
    futures = [executor.submit(function_for(place), number) for number in range(50)]
    del executor
    gc.collect()
    assert [future.result(DEADLINE_S) for future in futures] == list(range(50))


@pytest.mark.slow
def test_a_view_keeps_the_pool() -> None:
    """As long as somebody holds an executor with options, its pool takes work."""
    view = PoolExecutor(1, executor="threads", settings=PLAIN).with_options(name="view")
    gc.collect()
    assert view.submit(abs, -1).result(DEADLINE_S) == 1


def test_a_task_can_not_wait_for_the_end_of_its_executor() -> None:
    """RuntimeError, in a call and in a callback; without waiting it is fine."""
    executor, errors = PoolExecutor(1, executor="threads", settings=PLAIN), list[BaseException]()
    told = threading.Event()

    def from_callback(_: Future[Any]) -> None:
        try:
            executor.shutdown()
        except RuntimeError as error:
            errors.append(error)
        told.set()

    gate = Gate()
    first = executor.submit(gate)
    first.add_done_callback(from_callback)
    second = executor.submit(executor.shutdown)
    gate.go.set()
    assert told.wait(DEADLINE_S)
    assert isinstance(second.exception(DEADLINE_S), WrongPlace)
    assert len(errors) == 1


@pytest.mark.slow
@each
def test_the_interpreter_ends_with_all_work_done(place: str, tmp_path: Path) -> None:
    """A program that submits and runs off its end leaves no result out, hangs nowhere and says nothing."""
    program = f"""
        import asyncio, os, sys, time
        from longshore import PoolExecutor
        def late(n):
            time.sleep(0.02)
            os.write(1, b"done\\n")
        async def later(n):
            await asyncio.sleep(0.02)
            os.write(1, b"done\\n")
        if __name__ == "__main__":
            executor = PoolExecutor(2, executor={place!r})
            kept = {call(place)}
    """
    (tmp_path / "program.py").write_text(dedent(program))
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=40, check=False
    )
    said = (done.stdout + done.stderr).count("done")  # what a process prints comes by the log
    assert (done.returncode, said if place != "processes" else 10) == (0, 10)
    assert done.stderr == "" or place == "processes"


@pytest.mark.slow
def test_the_interpreter_waits_for_processes_too(tmp_path: Path) -> None:
    """Each of ten calls in processes has written its file when the program is over."""
    program = """
        import pathlib, time
        from longshore import PoolExecutor
        def late(n):
            time.sleep(0.05)
            pathlib.Path(f"done-{n}").touch()
        executor = PoolExecutor(2, executor="processes")
        for n in range(10):
            executor.submit(late, n)
    """
    (tmp_path / "program.py").write_text(dedent(program))
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=40, check=False
    )
    assert (done.returncode, done.stderr, len(list(tmp_path.glob("done-*")))) == (0, "", 10)


@pytest.mark.slow
def test_nothing_is_taken_at_the_end_of_the_interpreter(tmp_path: Path) -> None:
    """What a task submits when the program has run off its end raises RuntimeError, as in the standard library."""
    program = """
        import time
        from longshore import PoolExecutor
        executor = PoolExecutor(2, executor="threads")
        def late():
            give_up = time.monotonic() + 20
            while time.monotonic() < give_up:
                time.sleep(0.01)
                try:
                    executor.submit(abs, 1)
                except RuntimeError as error:
                    print(error)
                    return
        executor.submit(late)
    """
    (tmp_path / "program.py").write_text(dedent(program))
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=40, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "cannot schedule new futures after shutdown" in done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 on: of threads and fork, the point
def test_a_forked_process_is_told_that_the_executor_is_not_its_own() -> None:
    """It raises BrokenPool there instead of waiting for ever; the one that made it goes on."""
    with PoolExecutor(1, executor="threads", settings=PLAIN) as executor:
        assert executor.submit(abs, -1).result(DEADLINE_S) == 1
        pid = os.fork()
        if not pid:
            try:
                executor.submit(abs, -1)
            except BrokenPool:
                os._exit(17)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 17
        assert executor.submit(abs, -2).result(DEADLINE_S) == 2


# ---- initializers


def get_ready(word: str) -> None:
    words = vars(threading.current_thread()).setdefault("words", [])
    words.append(word)


def words() -> tuple[str, ...]:
    return tuple(vars(threading.current_thread())["words"])


def number_of_words(_: int) -> int:
    return len(words())


def never_ready() -> None:
    raise ValueError("this worker is never ready")


@pytest.mark.parametrize("place", ["threads", "processes"])
def test_each_worker_is_got_ready_once(place: str) -> None:
    """Before its first call, with the arguments given, whatever functions it is to call."""
    with PoolExecutor(2, executor=place, initializer=get_ready, initargs=("ready",), settings=PLAIN) as executor:
        assert {future.result(DEADLINE_S) for future in [executor.submit(words) for _ in range(20)]} == {("ready",)}
        assert set(executor.map(number_of_words, range(20))) == {1}


@pytest.mark.parametrize("place", ["threads", "processes"])
def test_an_initializer_that_fails_breaks_the_executor(place: str, caplog: pytest.LogCaptureFixture) -> None:
    """All that is pending raises BrokenPool, which is a BrokenExecutor, and so does what is submitted afterwards."""
    with PoolExecutor(1, executor=place, initializer=never_ready, settings=PLAIN) as executor:
        futures = [executor.submit(abs, number) for number in range(10)]
        assert {type(future.exception(DEADLINE_S)) for future in futures} == {BrokenPool}
        assert issubclass(BrokenPool, BrokenExecutor)
        with pytest.raises(BrokenPool, match="this worker is never ready"):
            executor.submit(abs, 1)
    assert "Exception in initializer" in caplog.text
    assert "this worker is never ready" in caplog.text


# ---- the hard end


def begin_and_sleep(file: Path) -> None:
    file.write_text(str(os.getpid()))
    time.sleep(300)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["terminate_workers", "kill_workers"])
def test_processes_are_killed_in_the_middle_of_their_calls(how: str, tmp_path: Path) -> None:
    """What runs raises BrokenPool at once, what is pending is cancelled, and nothing more is taken."""
    executor = PoolExecutor(1, executor="processes", settings=PLAIN)
    file = tmp_path / "pid"
    running = executor.submit(begin_and_sleep, file)
    pending = [executor.submit(abs, number) for number in range(5)]
    wait_until(lambda: file.exists() and file.read_text(), "the call to begin")
    pid = file.read_text()
    getattr(executor, how)()
    with pytest.raises(BrokenPool, match=how):
        running.result(DEADLINE_S)
    assert not wait(pending, DEADLINE_S).not_done
    assert all(future.cancelled() for future in pending)
    with pytest.raises(RuntimeError):
        executor.submit(abs, 1)
    executor.shutdown()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the worker to end")


def test_threads_are_abandoned_by_the_hard_end() -> None:
    """A thread can't be killed: its future raises BrokenPool, and the executor ends without it."""
    gate = Gate()
    executor = PoolExecutor(1, executor="threads", settings=PLAIN)
    running, pending = executor.submit(gate), executor.submit(abs, 1)
    assert gate.inside.wait(DEADLINE_S)
    executor.kill_workers()
    assert isinstance(running.exception(DEADLINE_S), BrokenPool)
    with pytest.raises(CancelledError):
        pending.result(DEADLINE_S)
    executor.shutdown()
    gate.go.set()


@pytest.mark.slow
def test_the_hard_end_comes_through_a_shutdown_that_waits() -> None:
    """Another thread waits in `shutdown`; killing the workers lets it return."""
    executor = PoolExecutor(1, executor="processes", settings=PLAIN)
    running = executor.submit(time.sleep, 300)
    wait_until(running.running, "the call to begin")
    waiting = threading.Thread(target=executor.shutdown)
    waiting.start()
    executor.kill_workers()
    waiting.join(DEADLINE_S)
    assert not waiting.is_alive()
    assert isinstance(running.exception(0), BrokenPool)
