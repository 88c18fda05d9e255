"""How workers come and go, and that nothing is left when they have gone."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from longshore import usable_cpus
from longshore.hookspecs import Executor
from longshore.task import TaskState
from longshore_processes import ProcessesExecutor, spawner
from longshore_processes.executor import ProcessesSettings


def sleep_if(x: float) -> float:
    if x:
        time.sleep(x)
    return x


def processor_s() -> float:
    times = os.times()
    return times.user + times.system


def switches(pids: Sequence[int]) -> int:
    """Return how often the main threads of these processes went to sleep by themselves."""
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return sum(int(text.partition("voluntary_ctxt_switches:")[2].split()[0]) for text in texts)


def test_it_is_an_executor() -> None:
    """The class keeps the contract, and says that it kills at a time limit and pickles."""
    executor = ProcessesExecutor()
    assert isinstance(executor, Executor)
    assert executor.capabilities.timeout == "kill"
    assert executor.capabilities.pickles
    assert executor.capabilities.runs == {"function"}


def test_workers_come_with_the_work(yard: Any) -> None:
    """No process before the first task, one for one task, and never more than asked for; the others stand idle."""
    assert yard.executor.pids() == []
    places = [("process-0", "idle", False), ("process-1", "idle", False)]
    assert [(row.worker_id, row.status, row.started) for row in yard.executor.workers()] == places
    yard.run(sleep_if, [0])
    assert len(yard.executor.pids()) == 1
    assert [row.started for row in yard.executor.workers()] == [True, False]
    yard.run(sleep_if, [0.01] * 8)
    assert len(yard.executor.pids()) == 2
    assert yard.host.sizes == [2]


def test_statistics_are_live(lone_yard: Any, eventually: Any) -> None:
    """Statistics name what a worker runs while it runs, and count what it ran."""
    lone_yard.run(sleep_if, [0] * 5)
    ids = lone_yard.submit(sleep_if, [30.0])
    assert eventually(lambda: lone_yard.executor.workers()[0].current_task == ids[0])
    [stats] = lone_yard.executor.workers()
    assert stats.status == "busy"
    assert stats.worker_id == "process-0"
    assert stats.worker_type == "process"
    assert stats.tasks_completed == 5
    lone_yard.cancel(ids)
    lone_yard.wait(ids)


def test_as_many_as_cpus_by_default(open_yard: Any) -> None:
    """With no number given, there may be as many workers as usable CPUs."""
    with open_yard(0) as yard:
        assert yard.host.sizes == [usable_cpus()]


def test_cancel_waiting_and_running(lone_yard: Any, eventually: Any) -> None:
    """A running task is killed when cancelled, a waiting one never begins, and the others are not harmed."""
    ids = lone_yard.submit(sleep_if, [30.0, 30.0, 0.0, 0.0])
    assert eventually(lambda: any(s.current_task == ids[0] for s in lone_yard.executor.workers()))
    lone_yard.cancel([ids[1], "unknown"])
    lone_yard.wait([ids[1]], 2.0)
    assert ids[0] not in lone_yard.host.outcomes
    lone_yard.cancel([ids[0]])
    outcomes = lone_yard.wait(ids, 5.0)
    assert [o.state for o in outcomes] == [TaskState.CANCELLED] * 2 + [TaskState.COMPLETED] * 2
    assert outcomes[0].error.message == "not wanted"


@pytest.mark.slow
def test_cancel_what_was_sent_but_not_begun(lone_yard: Any, tmp_path: Path) -> None:
    """A task that waits in its worker's batch is taken back unbegun; the rest of the batch runs once."""
    path = tmp_path / "ran"

    def note(x: float) -> None:
        if x < 0:
            time.sleep(0.3)
        with path.open("a") as file:
            file.write(f"{x}\n")

    lone_yard.run(note, list(range(500)))
    path.write_text("")
    ids = lone_yard.submit(note, [-1, *range(40)])
    lone_yard.cancel(ids[20:30])
    outcomes = lone_yard.wait(ids)
    assert [o.state is TaskState.CANCELLED for o in outcomes] == [20 <= i < 30 for i in range(41)]
    ran = [int(line) for line in path.read_text().split()]
    assert sorted(ran) == sorted([-1, *(x for x in range(40) if not 19 <= x < 29)])


@pytest.mark.slow
def test_resize_down_and_up(open_yard: Any, eventually: Any) -> None:
    """Changing the number of workers loses no task: too many leave when they have ended what they run."""
    with open_yard(3) as yard:
        ids = yard.submit(sleep_if, [0.05] * 30)
        assert eventually(lambda: len(yard.executor.pids()) == 3)
        yard.resize(1)
        assert eventually(lambda: len(yard.executor.pids()) == 1)
        yard.resize(2)
        assert eventually(lambda: len(yard.executor.pids()) == 2)
        assert all(outcome.ok for outcome in yard.wait(ids))
        assert not [notice for notice in yard.host.notices if notice.type == "worker_error"]


@pytest.mark.slow
def test_stop_leaves_nothing(open_yard: Any, eventually: Any, find_tokened: Any, monkeypatch: Any) -> None:
    """After stop: what was held is cancelled, and no process, thread, descriptor or shared memory is left."""
    monkeypatch.setenv("LONGSHORE_TEST_STOP", "stop-leaves-nothing")
    gc.collect()
    threads, fds = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    shared = set(os.listdir("/dev/shm"))
    with open_yard(2) as yard:
        yard.run(print, ["a line, so that the log is relayed"])
        ids = yard.submit(sleep_if, [30.0] * 5)
        assert eventually(lambda: len(yard.executor.pids()) == 2)
        begun = time.monotonic()
        yard.stop()
        assert time.monotonic() - begun < 2.0
        ends = yard.wait(ids, 0.1)
        assert all(outcome.state is TaskState.CANCELLED for outcome in ends)
        assert {outcome.error.message for outcome in ends} == {"cancelled: the pool stopped"}
        assert yard.executor.pids() == []
    assert set(threading.enumerate()) <= threads
    assert len(os.listdir("/proc/self/fd")) <= fds
    assert set(os.listdir("/dev/shm")) <= shared
    assert find_tokened("stop-leaves-nothing") == []


def test_stop_without_work(open_yard: Any) -> None:
    """Stopping an executor that never ran anything, or twice, is no fault."""
    with open_yard(1) as yard:
        yard.stop()
        yard.stop()


@pytest.mark.slow
@pytest.mark.requirement("req:D06")
def test_idle_costs_nothing(yard: Any) -> None:
    """An idle executor uses no processor time: nothing polls, in the controller or in a worker."""
    yard.run(sleep_if, [0.01] * 4)
    yard.run(sleep_if, [0.3])  # what followed the work is over
    before = processor_s()
    before_switches = switches(yard.executor.pids())
    threading.Event().wait(0.5)
    assert processor_s() - before < 0.03
    assert switches(yard.executor.pids()) - before_switches <= 2  # each may just have been on its way to sleep


def test_death_is_repaired_quickly(lone_yard: Any) -> None:
    """fault:K1 The next task after a worker's death runs well within half a second."""
    lone_yard.run(abs, [0])
    lone_yard.wait(lone_yard.submit(os._exit, [1]))
    begun = time.monotonic()
    assert lone_yard.run(abs, [0])[0].ok
    assert time.monotonic() - begun < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("zygote", [True, False], ids=["started by the zygote", "where there is none"])
def test_fresh_interpreters(open_yard: Any, monkeypatch: pytest.MonkeyPatch, zygote: bool) -> None:
    """Each worker may be an interpreter of its own, and is where there is no zygote, with the same promises."""
    monkeypatch.setattr(spawner, "has_zygote", lambda: zygote)
    with open_yard(2, ProcessesSettings(start_method="interpreter")) as yard:
        assert all(outcome.ok for outcome in yard.run(sleep_if, [0.0] * 50))
        outcomes = yard.run(lambda x: os._exit(x) if x else x, [0, 0, 3, 0])
        assert [outcome.ok for outcome in outcomes] == [True, True, False, True]
        assert outcomes[2].error.reason == "exit 3"
        assert yard.run(sleep_if, [0, 30.0], timeout_s=0.3)[1].state is TaskState.TIMED_OUT
