"""Workers, the controller or the system stop for a while: nobody is judged by that, and nobody waits for ever."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from longshore.errors import WorkerDied
from longshore.task import TaskState
from longshore_processes import executor, supervisor
from longshore_processes.executor import ProcessesSettings
from longshore_processes.handle import Handle
from longshore_processes.spawner import ZygoteSpawner
from longshore_processes.timing import Patience, Pulse


def same(x: float) -> float:
    return x


def sleep_if(x: float) -> float:
    if x:
        time.sleep(x)
    return x


def begin_and_sleep(path: str) -> None:
    if path:
        Path(path).touch()
        time.sleep(100)


def stop_self(x: int) -> int:
    if x == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    return x


def hold_the_interpreter(seconds: float) -> float:
    """Sleep without letting go of the GIL."""
    if seconds:
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    return seconds


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have workers waited for in tenths of seconds."""
    monkeypatch.setattr(executor, "Patience", partial(Patience, start_s=1.0, begin_s=0.4, die_s=0.3))


@pytest.fixture
def soon_written_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a worker that was killed waited for in tenths of seconds, and whoever takes its place as long as ever."""
    monkeypatch.setattr(executor, "Patience", partial(Patience, die_s=0.3))


def ends(host: Any, killed_for: str) -> list[dict[str, Any]]:
    """Return what was told of workers killed for that: one that takes their place may be slow on a busy machine."""
    return [notice.data for notice in host.notices if notice.data["killed_for"] == killed_for]


@pytest.mark.slow
def test_stopped_in_a_task_without_a_limit(hasty: None, yard: Any) -> None:
    """fault:K10 A worker stopped by a signal in a task that has no time limit is killed after a while, and told of."""
    outcomes = yard.run(stop_self, [0, 1, 2])
    assert [outcome.ok for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1].exception, WorkerDied)
    assert outcomes[1].error.reason == "stopped"
    [end] = ends(yard.host, "stopped")
    assert end["task_id"] == outcomes[1].task_id


@pytest.mark.slow
@pytest.mark.parametrize("timeout_s", [None, 0.1, 0.3, 5.0])
@pytest.mark.parametrize("items", [[3], [3, 4, 5]], ids=["alone", "together"])
def test_stopped_while_idle(hasty: None, lone_yard: Any, items: list[int], timeout_s: float | None) -> None:
    """fault:K10 A worker stopped while idle is replaced, and what it was given is run, whatever its limit is."""
    lone_yard.run(same, [0, 1], timeout_s=timeout_s)
    [pid] = lone_yard.executor.pids()
    os.kill(pid, signal.SIGSTOP)
    outcomes = lone_yard.run(same, items, timeout_s=timeout_s)
    assert [(outcome.value, outcome.attempts) for outcome in outcomes] == [(item, 1) for item in items]
    assert pid not in lone_yard.executor.pids()


@pytest.mark.slow
def test_going_on_in_time_is_no_fault(hasty: None, lone_yard: Any, eventually: Any) -> None:
    """A worker that was stopped and goes on gives its result."""
    lone_yard.run(same, [0])
    ids = lone_yard.submit(sleep_if, [0.8])
    [pid] = lone_yard.executor.pids()
    assert eventually(lambda: lone_yard.executor.workers()[0].current_task == ids[0])
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.2)
    os.kill(pid, signal.SIGCONT)
    assert lone_yard.wait(ids)[0].ok


@pytest.mark.slow
@pytest.mark.parametrize("size", [10, 3_000_000], ids=["small", "larger than a socket takes"])
def test_stopped_between_tasks(hasty: None, lone_yard: Any, eventually: Any, size: int) -> None:
    """fault:K10 A worker stopped while idle runs nothing: what it was given is run once, elsewhere, when it is dead."""
    lone_yard.run(len, ["x"])
    [pid] = lone_yard.executor.pids()
    os.kill(pid, signal.SIGSTOP)
    assert [outcome.value for outcome in lone_yard.run(len, ["x" * size] * 3)] == [size] * 3
    assert pid in [end["pid"] for end in ends(lone_yard.host, "stuck")]
    assert eventually(lambda: not Path(f"/proc/{pid}").exists())


@pytest.mark.slow
def test_holding_the_interpreter_is_not_being_dead(hasty: None, yard: Any) -> None:
    """fault:K12 A task that holds the GIL for long is at work; so is its neighbour."""
    outcomes = yard.run(hold_the_interpreter, [1.0, 0.0, 1.0, 0.0])
    assert all(outcome.ok for outcome in outcomes)
    assert not yard.host.notices


@pytest.mark.slow
def test_whoever_starts_workers_is_stopped(hasty: None, lone_yard: Any) -> None:
    """What starts workers gives no answer: it is replaced, and the work is done."""
    lone_yard.run(same, [0])
    [pid] = lone_yard.executor.pids()
    os.kill(parent_of(pid), signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    assert all(outcome.ok for outcome in lone_yard.run(same, [1, 2, 3]))


@pytest.mark.slow
def test_that_harms_nobody_at_work(hasty: None, yard: Any, eventually: Any) -> None:
    """While what starts workers gives no answer, those that are there go on, with what was meant for others as well."""
    yard.run(sleep_if, [0.1, 0.1])
    busy = yard.submit(sleep_if, [3.0])
    assert eventually(lambda: any(row.current_task == busy[0] for row in yard.executor.workers()))
    [idle] = [row.worker_id for row in yard.executor.workers() if row.current_task is None]
    handles = {handle.worker_id: handle.pid for handle in yard.executor._supervisor.crew.handles.values()}
    os.kill(parent_of(handles[idle]), signal.SIGSTOP)
    os.kill(handles[idle], signal.SIGKILL)
    others = yard.submit(same, [1, 2, 3])
    assert yard.wait(busy)[0].ok
    assert all(outcome.ok for outcome in yard.wait(others))


@pytest.mark.slow
def test_one_that_cannot_be_killed_is_written_off(
    soon_written_off: None, lone_yard: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    """fault:K13 A worker that does not end when killed is reported as unkillable, its task ends, another takes over."""
    killed: list[Handle] = []
    with monkeypatch.context() as patch:
        patch.setattr(Handle, "kill", lambda self: killed.append(self))
        outcomes = lone_yard.run(sleep_if, [100.0, 0.0, 0.0], timeout_s=0.2)
        assert [outcome.state is TaskState.TIMED_OUT for outcome in outcomes] == [True, False, False]
        assert "could not be killed" in outcomes[0].error.message
        [notice] = lone_yard.host.notices
        assert notice.data["reason"] == "unkillable"
        assert "written off" in notice.data["error"]
    assert len(killed) == 1


FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.mark.slow
@pytest.mark.skipif(not os.access(FREEZER, os.W_OK), reason="takes a freezer of version 1 that we may use")
def test_a_frozen_one_is_written_off(soon_written_off: None, lone_yard: Any, eventually: Any, tmp_path: Path) -> None:
    """fault:K13 A worker frozen in the kernel can't be killed: its task times out, and the pool goes on without it."""
    lone_yard.run(same, [0])
    [pid] = lone_yard.executor.pids()
    group = FREEZER / f"longshore-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(pid))
        ids = lone_yard.submit(begin_and_sleep, [str(tmp_path / "began"), ""], timeout_s=0.5)
        assert eventually((tmp_path / "began").exists)
        (group / "freezer.state").write_text("FROZEN")
        outcomes = lone_yard.wait(ids)
        assert [outcome.state is TaskState.TIMED_OUT for outcome in outcomes] == [True, False]
        assert [notice.data["reason"] for notice in lone_yard.host.notices] == ["unkillable"]
    finally:
        (group / "freezer.state").write_text("THAWED")
        assert eventually(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def test_being_held_up_is_seen_by_the_gap_between_turns() -> None:
    """fault:K11 A gap longer than the supervisor ever sleeps while there is work is one; a long rest is none."""
    pulse = Pulse()
    assert pulse.beat(100.0, 1.0) == 100.0
    assert pulse.beat(101.1, 1.0) == 101.1
    assert pulse.beat(131.1, 1.1) == 101.1
    assert pulse.beat(131.2, 1.1) == 131.2
    pulse.rest()
    assert pulse.beat(500.0, 1.1) == 500.0


def test_a_controller_that_computes_was_not_stopped() -> None:
    """Where the program itself keeps the supervisor from looking, by computing without a pause, limits stay."""
    pulse = Pulse()
    pulse.beat(100.0, 1.0)
    assert pulse.beat(130.0, 25.0) == 130.0


def begin(handle: Handle, serial: int, now: float) -> None:
    """Do what a worker does as it begins an item that it need not get ready for."""
    handle.words.prepare(serial, now)
    handle.words.prepared(now)


def test_time_in_which_nobody_looked_does_not_count() -> None:
    """fault:K11 What a running task had left of its time when the controller stopped, it has when that goes on."""
    handle = Handle(0)
    try:
        assert handle.pardon_s(100.0) == 0.0
        begin(handle, 0, 100.0)
        handle.pardon(103.0, 133.0)
        assert handle.pardon_s(100.0) == 30.0
        handle.pardon(135.0, 140.0)
        assert handle.pardon_s(100.0) == 35.0
        begin(handle, 1, 150.0)
        assert handle.pardon_s(150.0) == 0.0
        handle.pardon(145.0, 160.0)  # it began while nobody looked
        assert handle.pardon_s(150.0) == 10.0
    finally:
        handle.close()


@pytest.mark.slow
def test_a_controller_that_was_held_up_kills_nobody(lone_yard: Any, monkeypatch: Any, eventually: Any) -> None:
    """fault:K11 Controller and worker stop for longer than the task's limit, as when a machine is paused: it goes on.

    The supervisor's clock leaps by 30 s, as it does over a stop, in the midst of a task with a limit of 5 s.
    """
    leap = [0.0]
    lone_yard.run(same, [0])
    ids = lone_yard.submit(sleep_if, [0.5], timeout_s=5.0)
    assert eventually(lambda: lone_yard.executor.workers()[0].current_task == ids[0])
    monkeypatch.setattr(supervisor, "monotonic", lambda: time.monotonic() + leap[0])
    leap[0] = 30.0
    lone_yard.cancel(["nobody"])  # a turn
    [outcome] = lone_yard.wait(ids)
    assert outcome.ok


@pytest.mark.slow
def test_the_wall_clock_is_no_matter(yard: Any, monkeypatch: Any) -> None:
    """fault:T1 Steps of the wall clock time nobody out, and make nobody's limit longer."""
    wall = time.time
    ids = yard.submit(sleep_if, [0.3, 100.0, 0.3], timeout_s=1.0)
    for step_s in (7200.0, -7200.0, 86400.0):
        monkeypatch.setattr(time, "time", lambda step_s=step_s: wall() + step_s)
        time.sleep(0.05)
    outcomes = yard.wait(ids)
    assert [outcome.ok for outcome in outcomes] == [True, False, True]
    assert all(outcome.ran_s >= 0.0 and outcome.queued_s >= 0.0 for outcome in outcomes)


@pytest.fixture
def scarce(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Have one worker start, and no other; return when starts were tried."""
    tries: list[float] = []
    start = ZygoteSpawner.start

    def one_only(self: ZygoteSpawner, number: int, *rest: Any, **more: Any) -> None:
        tries.append(time.monotonic())
        if number:
            raise OSError(11, "Resource temporarily unavailable")
        start(self, number, *rest, **more)

    monkeypatch.setattr(ZygoteSpawner, "start", one_only)
    return tries


@pytest.mark.slow
def test_some_workers_are_better_than_none(open_yard: Any, scarce: list[float]) -> None:
    """fault:K8 Where no more workers can be started, those there are do the work; tries are few, and told of once."""
    with open_yard(4) as yard:
        begun = time.monotonic()
        outcomes = yard.run(sleep_if, [1.0] + [0.01] * 50)
        assert all(outcome.ok for outcome in outcomes)
        assert not yard.host.errors
        took_s = time.monotonic() - begun
        assert len(scarce) <= 12 + took_s
        [notice] = yard.host.notices
        assert notice.data["reason"] == "start_failed"
        assert notice.data["worker_id"].startswith("process-")
        assert "temporarily unavailable" in notice.data["error"]
        assert len(yard.executor.pids()) == 1


@pytest.mark.slow
def test_waiting_for_a_start_costs_nothing(open_yard: Any, scarce: list[float]) -> None:
    """fault:K8 While the next worker can't be started, and the last task of the one there is runs, nobody is busy."""
    with open_yard(1, ProcessesSettings(max_tasks_per_worker=1)) as yard:
        ids = yard.submit(sleep_if, [1.5, 0.0])
        before_s = time.process_time()
        yard.wait(ids[:1])
        assert time.process_time() - before_s < 0.5
        assert len(scarce) < 20
