"""One bad task costs exactly one task: with real processes, really killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from longshore.errors import PayloadError, WorkerDied
from longshore.task import Attempt, TaskSpec, TaskState


class TwoArgumentError(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one, two, "more")


class BadToLoad:
    def __reduce__(self) -> Any:
        return explode, ()


def leave(code: int) -> None:
    """End the process; what measures coverage puts another `os._exit` in place, which can't be pickled itself."""
    os._exit(code)


class DiesToLoad:
    def __reduce__(self) -> Any:
        return leave, (3,)


class DiesToPickle:
    def __reduce__(self) -> Any:
        os._exit(4)


class HangsToPickle:
    def __reduce__(self) -> Any:
        time.sleep(1000)
        return explode, ()


class HangsToLoad:
    def __reduce__(self) -> Any:
        return time.sleep, (1000,)


def explode() -> None:
    raise RuntimeError("at load")


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def raise_two() -> None:
    raise TwoArgumentError("a", "b")


def sleep_if(x: float) -> float:
    if x:
        time.sleep(x)
    return x


ENDS: dict[str, tuple[Callable[[], Any], str | None, str]] = {
    "kill -9": (kill_self, "signal 9", "WorkerDied"),
    "segfault": (lambda: ctypes.string_at(0), "signal 11", "WorkerDied"),
    "abort": (os.abort, "signal 6", "WorkerDied"),
    "_exit(0)": (lambda: os._exit(0), "exit 0", "WorkerDied"),
    "_exit(1)": (lambda: os._exit(1), "exit 1", "WorkerDied"),
    "sys.exit": (sys.exit, None, "SystemExit"),
    "two-argument exception": (raise_two, None, "TwoArgumentError"),
    "result that raises at unpickle": (BadToLoad, None, "PayloadError"),
    "result that dies at pickle": (DiesToPickle, "exit 4", "WorkerDied"),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.requirement("req:E10")
def test_one_bad_task_of_twenty(yard: Any, name: str) -> None:
    """fault:K1 fault:K2 Twenty tasks, one bad, two workers: nineteen give their result and the bad one its reason.

    First sent one by one, then, when the pool has learnt that they are short, in batches.
    """
    action, reason, kind = ENDS[name]

    def work(x: int) -> Any:
        return action() if x == 7 else x

    for lead in (0, 100):
        assert all(outcome.ok for outcome in yard.run(work, [-1] * lead))
        outcomes = yard.run(work, list(range(20)))
        assert [o.value for o in outcomes if o.ok] == [x for x in range(20) if x != 7]
        bad = outcomes[7]
        assert bad.state is TaskState.FAILED
        assert bad.error.type.endswith(kind)
        assert bad.error.reason == reason
        if kind == "WorkerDied":
            assert isinstance(bad.exception, WorkerDied)
            assert any(notice.data["reason"] == reason for notice in yard.host.notices)


@pytest.mark.parametrize("maker", [DiesToLoad, HangsToLoad])
def test_argument_that_ends_its_worker(yard: Any, maker: Callable[[], Any]) -> None:
    """fault:S1 An argument that kills or hangs the worker as it is unpickled costs its own task only."""
    items: list[Any] = [*range(10), maker(), *range(10)]
    outcomes = yard.run(lambda _: 1, items, timeout_s=0.3)
    assert [i for i, outcome in enumerate(outcomes) if not outcome.ok] == [10]
    expected = TaskState.FAILED if maker is DiesToLoad else TaskState.TIMED_OUT
    assert outcomes[10].state is expected


def test_function_that_ends_its_worker(yard: Any) -> None:
    """fault:S1 A function that dies as it is unpickled costs its own tasks only."""

    class Deadly:
        def __call__(self, _: int) -> None: ...

        def __reduce__(self) -> Any:
            return leave, (5,)

    bad = yard.submit(Deadly(), [1, 2])
    good = yard.submit(sleep_if, [0] * 10)
    assert all(outcome.error.reason == "exit 5" for outcome in yard.wait(bad))
    assert all(outcome.ok for outcome in yard.wait(good))


@pytest.mark.slow
def test_result_that_hangs_at_pickle(lone_yard: Any) -> None:
    """fault:S1 Pickling a result is under the task's time limit."""
    outcomes = lone_yard.run(lambda x: HangsToPickle() if x == 3 else x, list(range(6)), timeout_s=0.3)
    assert [outcome.state is TaskState.TIMED_OUT for outcome in outcomes] == [x == 3 for x in range(6)]


@pytest.mark.requirement("req:E09")
def test_time_limit_inside_a_batch(lone_yard: Any) -> None:
    """A task past its limit is killed and named; every other one of its batch gives its result."""
    lone_yard.run(sleep_if, [0] * 200, timeout_s=0.2)
    items = [0.0] * 60
    items[30] = 60.0
    begun = time.monotonic()
    outcomes = lone_yard.run(sleep_if, items, timeout_s=0.2)
    assert [i for i, outcome in enumerate(outcomes) if not outcome.ok] == [30]
    assert outcomes[30].state is TaskState.TIMED_OUT
    assert 0.2 <= outcomes[30].ran_s < 1.0
    assert time.monotonic() - begun < 3.0


def test_time_limit_of_a_spinning_task(yard: Any) -> None:
    """A task that never lets go of the interpreter is ended on time all the same."""

    def spin(x: int) -> int:
        while x == 0:
            pass
        return x

    outcomes = yard.run(spin, [1, 0, 2, 3], timeout_s=0.2)
    assert [outcome.ok for outcome in outcomes] == [True, False, True, True]
    assert outcomes[1].ran_s < 1.0


@pytest.mark.slow
def test_getting_ready_is_not_the_tasks_time(lone_yard: Any) -> None:
    """Importing a function and its initializer may take longer than the task's time limit."""
    outcomes = lone_yard.run(sleep_if, [0] * 3, timeout_s=0.2, initializer=lambda: time.sleep(0.6))
    assert all(outcome.ok and outcome.ran_s < 0.2 for outcome in outcomes)


def test_getting_ready_can_fail_for_a_while(lone_yard: Any, tmp_path: Path) -> None:
    """fault:K9 Each task tries a failing initializer again; those after it works succeed."""
    path = tmp_path / "tries"

    def flaky() -> None:
        with path.open("a") as file:
            file.write("x")
        if path.stat().st_size < 3:
            raise OSError("not yet")

    outcomes = lone_yard.run(sleep_if, [0] * 5, initializer=flaky)
    assert [outcome.ok for outcome in outcomes] == [False, False, True, True, True]
    assert isinstance(outcomes[0].exception, OSError)


def test_deadline_over_all_attempts(lone_yard: Any) -> None:
    """An attempt ends at its deadline, running or waiting behind another."""
    spec = TaskSpec(function=sleep_if, name="sleep_if", executor="processes", deadline_s=0.3)
    now = time.monotonic()
    attempts = [Attempt(f"d{i}", spec, (60.0,), queued_at=now, expires_at=now + 0.3) for i in range(3)]
    lone_yard.submit_attempts(attempts)
    outcomes = lone_yard.wait(["d0", "d1", "d2"], 5.0)
    assert all(outcome.state is TaskState.TIMED_OUT for outcome in outcomes)
    assert lone_yard.run(sleep_if, [0])[0].ok


def test_slow_item_holds_nobody_back(lone_yard: Any) -> None:
    """What ended before a slow item of the same batch is reported while it still runs."""
    lone_yard.run(sleep_if, [0] * 500)
    ids = lone_yard.submit(sleep_if, [0.0] * 20 + [30.0])
    lone_yard.wait(ids[:20], 3.0)
    assert ids[20] not in lone_yard.host.outcomes
    lone_yard.cancel(ids)
    assert lone_yard.wait(ids)[20].state is TaskState.CANCELLED


def test_nobody_waits_behind_a_slow_item(yard: Any) -> None:
    """What was sent to a worker after an item that turns out slow is run by another worker."""
    yard.run(sleep_if, [0] * 500)
    ids = yard.submit(sleep_if, [30.0] + [0.0] * 200)
    assert all(outcome.ok for outcome in yard.wait(ids[1:], 5.0))
    assert ids[0] not in yard.host.outcomes
    yard.cancel(ids[:1])
    yard.wait(ids)


@pytest.mark.parametrize("when", ["result", "argument"])
def test_death_while_a_large_payload_travels(yard: Any, when: str) -> None:
    """fault:K4 A worker killed in the middle of 8 MiB tears no other task's message."""
    blob = os.urandom(1 << 23)

    def work(x: Any) -> Any:
        if x == 0 or isinstance(x, bytes):
            threading.Timer(0.002, kill_self).start()
            return blob * 4
        return x

    items: list[Any] = [1, 2, 3, blob if when == "argument" else 0, 4, 5, 6]
    outcomes = yard.run(work, items)
    assert [outcome.value for outcome in outcomes if outcome.ok and outcome is not outcomes[3]] == [1, 2, 3, 4, 5, 6]
    assert outcomes[3].ok or outcomes[3].error.reason == "signal 9"


@pytest.mark.slow
def test_stopped_worker_is_killed_at_the_limit(yard: Any) -> None:
    """fault:K10 A worker stopped by SIGSTOP in its task is killed when the task's time is over."""

    def stop_self(x: int) -> int:
        if x == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        return x

    outcomes = yard.run(stop_self, [0, 1, 2], timeout_s=0.3)
    assert [outcome.state is TaskState.TIMED_OUT for outcome in outcomes] == [True, False, False]


@pytest.mark.requirement("req:E10", "req:F02")
def test_killed_from_outside_while_idle(yard: Any, eventually: Any) -> None:
    """A worker killed between tasks costs no task, and another takes its place."""
    yard.run(sleep_if, [0] * 10)
    victims = list(yard.executor.pids())
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    assert all(outcome.ok for outcome in yard.run(sleep_if, [0] * 100))
    assert eventually(lambda: not set(victims) & set(yard.executor.pids()))


@pytest.mark.slow
def test_killed_again_and_again(yard: Any) -> None:
    """fault:K6 Under random kills every task has one outcome: its result, or that its worker died."""
    ids = yard.submit(sleep_if, [0.002] * 600)
    for _ in range(20):
        for pid in yard.executor.pids():
            os.kill(pid, signal.SIGKILL)
        known = len(yard.host.outcomes)
        yard.until(lambda known=known: len(yard.host.outcomes) >= min(600, known + 10))
    outcomes = yard.wait(ids)
    died = [outcome for outcome in outcomes if not outcome.ok]
    assert all(outcome.error.reason == "signal 9" for outcome in died)
    assert len(died) <= 40
    assert not yard.host.errors


def test_workers_that_kill_each_other(yard: Any) -> None:
    """fault:K3 Tasks that kill every worker at once end as failed, and the pool goes on."""

    def massacre(pids: list[int]) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    for _ in range(20):
        yard.run(sleep_if, [0, 0])
        yard.wait(yard.submit(massacre, [list(yard.executor.pids())] * 2))
    assert yard.run(sleep_if, [0])[0].ok


def test_zygote_killed(yard: Any, eventually: Any) -> None:
    """When the process that starts workers is killed, its workers' tasks fail and new ones are started."""
    yard.run(sleep_if, [0] * 4)
    ids = yard.submit(sleep_if, [30.0, 30.0])
    handles = yard.executor._supervisor.crew.handles
    assert eventually(lambda: sum(handle.words.running()[0] >= 0 for handle in list(handles.values())) == 2)
    parent = int(Path(f"/proc/{yard.executor.pids()[0]}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    assert all(outcome.error.type.endswith("WorkerDied") for outcome in yard.wait(ids))
    assert yard.run(sleep_if, [0])[0].ok


@pytest.mark.slow
def test_timeout_takes_descendants_along(lone_yard: Any, find_tokened: Any, eventually: Any) -> None:
    """fault:O5 What a killed task had started ends with it, in its own session or not."""
    token = uuid.uuid4().hex

    def start_children(_: int) -> None:
        environment = {**os.environ, "LONGSHORE_TEST": token}
        subprocess.Popen(["sleep", "1000"], env=environment)
        subprocess.Popen(["sleep", "1000"], env=environment, start_new_session=True)
        time.sleep(1000)

    ids = lone_yard.submit(start_children, [0], timeout_s=0.5)
    assert eventually(lambda: len(find_tokened(token)) == 2)
    assert lone_yard.wait(ids)[0].state is TaskState.TIMED_OUT
    assert eventually(lambda: not find_tokened(token), 2.0)


@pytest.mark.slow
def test_start_that_fails_for_ever(open_yard: Any, monkeypatch: Any) -> None:
    """fault:K8 When no worker can be started the pool fails with the reason, and tries a bounded number of times."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with open_yard(1) as yard:
        ids = yard.submit(sleep_if, [0, 0])
        outcomes = yard.wait(ids, 20.0)
        assert all(outcome.state is TaskState.FAILED for outcome in outcomes)
        [error] = yard.host.errors
        assert "cannot be started" in str(error)
        assert "nonexistent" in str(error)


def test_start_that_fails_for_a_while(open_yard: Any, monkeypatch: Any) -> None:
    """fault:K8 When workers can be started again, what waited runs."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nonexistent/python")
        with open_yard(1) as yard:
            ids = yard.submit(sleep_if, [0, 0])
            assert yard.executor.pids() == []
            patch.undo()
            assert all(outcome.ok for outcome in yard.wait(ids))


def test_unloadable_function(yard: Any, monkeypatch: Any) -> None:
    """A function whose module the worker can't import fails its tasks with PayloadError."""
    module = type(sys)("longshore_test_vanishing")
    exec("def f(x): return x", module.__dict__)
    monkeypatch.setitem(sys.modules, "longshore_test_vanishing", module)
    outcomes = yard.run(module.f, [1, 2])
    assert all(outcome.ok or isinstance(outcome.exception, PayloadError) for outcome in outcomes)
