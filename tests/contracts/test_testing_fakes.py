"""The fakes of `longshore.testing` keep the contracts they stand in for, and do what their docstrings say."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pluggy
import pytest
from longshore._plugins.contract import class_problems, instance_problems
from longshore.errors import JournalError, TaskCancelled, TaskTimeout, WorkerDied
from longshore.events import Event, ProgressUpdate
from longshore.hookspecs import (
    API,
    PROJECT,
    CancelRequest,
    Executor,
    Journal,
    Probe,
    ResizeRequest,
    Sink,
    WorkerNotice,
)
from longshore.records import (
    CommitBatch,
    JournalQuery,
    Reading,
    ReadRequest,
    RunInfo,
    RunOpening,
    RunSnapshot,
    RunSummary,
    Settled,
    TaskKind,
    Usage,
)
from longshore.task import Attempt, Outcome, TaskSpec, TaskState
from longshore.testing import FakeClock, ManualExecutor, MemoryJournal, RecordingSink, ScriptedProbe

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
READING = Reading(NOON, {"cpu": Usage(1.0, 2.0)})
SNAPSHOT = RunSnapshot(run_id="run", name="test", started=NOON, elapsed_s=0.0)
OPENING = RunOpening(run_id="run", at=NOON.timestamp())
RUN = RunInfo(run_id="run", started=NOON, snapshot=lambda: SNAPSHOT)
SUMMARY = RunSummary(snapshot=SNAPSHOT, state="completed")


def work() -> None:
    """Stand for a user's function."""


SPEC = TaskSpec(function=work, name="work", executor="manual", timeout_s=5.0)


def outcome(task_id: str, value: object = None) -> Outcome:
    return Outcome(task_id, None, 0, "work", TaskState.COMPLETED, value)


def batch(outcomes: list[Outcome]) -> CommitBatch:
    return CommitBatch(run_id="run", settled=[Settled(TaskKind(name="work"), outcomes, [None] * len(outcomes))])


# ---- the contracts


@pytest.mark.parametrize(
    ("fake", "contract"),
    [(ManualExecutor(), Executor), (MemoryJournal(), Journal)],
    ids=["executor", "journal"],
)
def test_a_fake_keeps_the_contract_of_its_kind(fake: object, contract: type) -> None:
    """Every method of the contract is there and marked, none is misspelt, and it speaks this version."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(contract)
    name = manager.register(fake)
    manager.check_pending()
    marked = {caller.name for caller in manager.get_hookcallers(fake) or ()}
    assert name is not None
    assert marked == {method for method in vars(contract) if hasattr(vars(contract)[method], f"{PROJECT}_spec")}
    assert isinstance(fake, contract)
    kind = f"{contract.__name__.lower()}s"
    assert getattr(fake, "api", None) == API[kind].current
    assert class_problems(kind, type(fake)) + instance_problems(kind, fake) == []


def test_the_type_checker_agrees() -> None:
    """Each fake can be given wherever its Protocol is asked for."""
    executor: Executor = ManualExecutor()
    journal: Journal = MemoryJournal()
    probe: Probe = ScriptedProbe([READING])
    sink: Sink = RecordingSink()
    assert None not in (executor, journal, probe, sink)


# ---- the clock


def test_a_fake_clock_stands_still_until_it_is_moved() -> None:
    """Both clocks move together by `advance`; a step of the wall clock lets no time pass."""
    clock = FakeClock(10.0)
    assert (clock.monotonic(), clock.wall()) == (10.0, NOON)
    assert clock.advance(2.5) == 12.5
    clock.step_wall(-3600.0)
    assert clock.monotonic() == 12.5
    assert clock.wall() == NOON + timedelta(seconds=2.5, hours=-1)
    with pytest.raises(ValueError, match="forwards"):
        clock.advance(-1.0)
    with pytest.raises(ValueError, match="timezone"):
        FakeClock(wall=datetime(2026, 1, 1))


# ---- the journal


def test_the_journal_records_one_outcome_a_task() -> None:
    """The first outcome of a task stands; a later one is not recorded, and counted."""
    journal = MemoryJournal()
    journal.open(OPENING)
    journal.commit(batch([outcome("a", 1), outcome("b", 2)]))
    journal.commit(batch([outcome("a", 3), outcome("c", 4)]))
    assert [(one.task_id, one.value) for one in journal.outcomes] == [("a", 1), ("b", 2), ("c", 4)]
    assert journal.refused == 1
    assert [one.value for one in journal.load(JournalQuery(task_ids=["c", "x"]))] == [4]
    assert journal.load(JournalQuery(run_id="other")) == []
    journal.close()
    assert len(journal.load(JournalQuery(run_id="run"))) == 3


def test_the_journal_fails_when_it_is_told_to_and_records_nothing_of_that_batch() -> None:
    """After `fail_after` commits each one raises JournalError, and what was recorded stays."""
    journal = MemoryJournal(fail_after=1)
    journal.commit(batch([outcome("a")]))
    for _ in range(2):
        with pytest.raises(JournalError, match="told to fail after 1"):
            journal.commit(batch([outcome("b")]))
    assert [one.task_id for one in journal.outcomes] == ["a"]


# ---- the probe


def test_the_probe_reads_its_script_and_then_the_last_reading_again() -> None:
    """Readings come in order, exceptions are raised, and the last one stays; an empty script is refused."""
    second = Reading(NOON, {"cpu": Usage(2.0, 2.0)})
    probe = ScriptedProbe([READING, OSError("no /proc"), second], resources=["cpu"], period_s=0.5)
    request = ReadRequest(worker_pids=[1, 2])
    assert (probe.resources, probe.period_s) == (("cpu",), 0.5)
    assert probe.read(request) is READING
    with pytest.raises(OSError, match="no /proc"):
        probe.read(request)
    assert [probe.read(request), probe.read(request)] == [second, second]
    assert probe.requests == [request] * 4
    with pytest.raises(ValueError, match="at least one"):
        ScriptedProbe([])


# ---- the sink


def test_the_sink_wakes_who_waits_for_it() -> None:
    """`wait_for` returns as soon as the events are there, whichever thread brings them; `wait_closed` at the end."""
    sink = RecordingSink()

    def tell() -> None:
        sink.open(RUN)
        sink.on_events([Event("one", {}), Event("two", {})])
        sink.on_events([Event("two", {}, 3)])
        sink.close(SUMMARY)

    teller = threading.Thread(target=tell)
    teller.start()
    assert len(sink.wait_for(lambda events: len(events) == 3, timeout_s=10)) == 3
    assert sink.wait_closed(timeout_s=10) is SUMMARY
    teller.join(10)
    assert [event.seq for event in sink.of_type("two")] == [0, 3]
    assert sink.run is RUN


def test_the_sink_says_what_came_when_the_wait_is_over() -> None:
    """A wait has a deadline, and its error names the last events; so has the wait for the end."""
    sink = RecordingSink()
    sink.on_events([Event("only_this", {})])
    with pytest.raises(TimeoutError, match=r"1 events.*only_this"):
        sink.wait_for(lambda events: len(events) > 1, timeout_s=0.01)
    with pytest.raises(TimeoutError, match="not closed"):
        sink.wait_closed(timeout_s=0.01)


# ---- the executor


class Host:
    """What a pool gives an executor, kept to be looked at."""

    def __init__(self, workers: int = 2) -> None:
        self.workers = workers
        self.outcomes: list[Outcome] = []
        self.sizes: list[int] = []

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def report(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes.extend(outcomes)

    def progress(self, updates: Sequence[ProgressUpdate]) -> None:
        raise AssertionError("nothing runs")

    def notice(self, notices: Sequence[WorkerNotice]) -> None:
        raise AssertionError("nothing runs")

    def resized(self, workers: int) -> None:
        self.sizes.append(workers)

    def failed(self, error: BaseException) -> None:
        raise AssertionError("nothing fails")


def holding(*task_ids: str, clock: FakeClock | None = None) -> tuple[ManualExecutor, Host]:
    clock = clock or FakeClock()
    executor, host = ManualExecutor(monotonic=clock.monotonic), Host()
    asyncio.run(executor.start(host))
    executor.submit([Attempt(task_id, SPEC, queued_at=clock.monotonic()) for task_id in task_ids])
    return executor, host


def test_the_executor_holds_what_it_gets_until_it_is_told_how_it_ends() -> None:
    """Finished, failed, died and expired attempts are reported as such, once each, with the durations of its clock."""
    clock = FakeClock(100.0)
    executor, host = holding("a", "b", "c", "d", clock=clock)
    assert host.outcomes == []
    assert executor.wait_holding(4, timeout_s=1) == ["a", "b", "c", "d"]
    clock.advance(3.0)
    error = KeyError("k")
    executor.finish("b", 42)
    executor.fail("a", error)
    executor.die("d", signal=11)
    executor.expire("c")
    assert [(one.task_id, one.state, one.ran_s) for one in host.outcomes] == [
        ("b", TaskState.COMPLETED, 3.0),
        ("a", TaskState.FAILED, 3.0),
        ("d", TaskState.FAILED, 3.0),
        ("c", TaskState.TIMED_OUT, 3.0),
    ]
    assert host.outcomes[0].unwrap() == 42
    assert host.outcomes[1].exception is error
    with pytest.raises(WorkerDied, match="signal 11"):
        host.outcomes[2].unwrap()
    assert host.outcomes[2].error is not None
    assert (host.outcomes[2].error.signal, host.outcomes[2].error.reason) == (11, "signal 11")
    with pytest.raises(TaskTimeout, match="timeout of 5 s"):
        host.outcomes[3].unwrap()
    with pytest.raises(LookupError, match="no attempt of task a"):
        executor.finish("a")


def test_the_executor_reports_what_is_cancelled_and_ignores_what_it_does_not_hold() -> None:
    """A cancelled attempt is reported with the message; stopping cancels what is left."""
    executor, host = holding("a", "b", "c")
    executor.cancel(CancelRequest(["b", "stranger"], "enough"))
    assert [(one.task_id, one.state) for one in host.outcomes] == [("b", TaskState.CANCELLED)]
    with pytest.raises(TaskCancelled, match="enough"):
        host.outcomes[0].unwrap()
    asyncio.run(executor.stop(0.0))
    assert [one.task_id for one in host.outcomes] == ["b", "a", "c"]
    assert executor.holding == []


def test_the_executor_shows_its_workers_and_can_be_resized() -> None:
    """There is a busy worker for each held attempt, as far as there are workers; the host is told of their number."""
    executor, host = holding("a")
    executor.resize(ResizeRequest(3))
    assert [(one.status, one.current_task) for one in executor.workers()] == [
        ("busy", "a"),
        ("idle", None),
        ("idle", None),
    ]
    assert host.sizes == [2, 3]
    assert executor.pids() == ()
    with pytest.raises(TimeoutError, match="1 attempts are held"):
        executor.wait_holding(2, timeout_s=0.01)
