"""The contract's face over a cluster of this process, whose workers are threads: started, used, stopped, lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar, NamedTuple

import pytest
from longshore.batching import dispatcher as dispatching
from longshore.batching import executor as executing
from longshore.batching import running
from longshore.batching.dispatcher import Dispatcher
from longshore.batching.executor import BatchExecutor
from longshore.hookspecs import Capabilities, ExecutorHost
from longshore.records import Bound, ReadRequest, Usage
from longshore.task import TaskState
from longshore.testing import CollectingHost, Rig
from support.clusters import HERE, Gate, HereCrew, RunningCluster, say, square, wait_at

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]


class HereSettings(NamedTuple):
    """What its settings have."""

    address: str | None = None
    initializer_timeout_s: float | None = None
    max_result_bytes: int | None = None


class HereExecutor(BatchExecutor[HereSettings]):
    """An executor whose workers are threads of this process."""

    name: ClassVar[str] = "here"
    system: ClassVar[str] = "cluster {where}"
    capabilities = Capabilities(
        worker_type="here", runs=frozenset({"function"}), timeout="abandon", cancel_running=True, pickles=True
    )

    def __init__(self, address: str | None = None) -> None:
        super().__init__(HereSettings(address), survey_s=5.0)
        self.threads: RunningCluster | None = None
        self.opens: Callable[[], None] = lambda: None
        self.closes: Callable[[], None] = lambda: None
        self.let_go = 0

    async def _open(self, host: ExecutorHost) -> None:
        self.opens()
        crew = HereCrew(HERE)
        self.threads = cluster = RunningCluster(HERE, "run", lambda message: self._dispatcher.heard(message))  # type: ignore[union-attr]
        self._dispatches(host, cluster, crew, "run")
        for number in range(host.workers):
            cluster.add(crew.add(str(number)))
        host.resized(crew.slots())

    async def _let_go(self, dispatcher: Dispatcher, deadline: float) -> None:
        self.let_go += 1
        self.closes()

    async def _told(self, dispatcher: Dispatcher) -> Mapping[str, Any]:
        return {name: len(station.batches) for name, station in dispatcher.crew.stations.items()}

    def _use_of(self, told: Mapping[str, Any]) -> Mapping[str, Usage]:
        return {"cpu": Usage.across([Bound(name, used, 1.0) for name, used in told.items()])} if told else {}

    def _where(self) -> str:
        return "of this process"


@pytest.fixture
async def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:
    """Return a maker of started executors with their hosts, which are stopped at the end, all gates open."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made: list[Rig] = []

    async def make(workers: int = 2) -> Rig:
        made.append(Rig(HereExecutor(), CollectingHost(workers)))
        await made[-1].start()
        return made[-1]

    yield make
    for gate in Gate.gates.values():
        gate.open.set()
    for rig in made:
        await rig.stop()
        if rig.executor.threads is not None:
            rig.executor.threads.close()


async def test_short_tasks_by_the_hundred(start: Any) -> None:
    """Each has its own result, and they travel in far fewer batches; the rows of workers add up."""
    rig = await start()
    ids = [rig.submit(square, number) for number in range(3)]
    await rig.all_of(ids)
    batch = rig.attempts(square, [(number,) for number in range(300)])
    rig.executor.submit(batch)
    outcomes = await rig.each_of([attempt.task_id for attempt in batch])
    assert [outcome.value for outcome in outcomes] == [number * number for number in range(300)]
    rows = rig.executor.workers()
    assert sum(row.tasks_completed for row in rows) == 303
    assert sum(row.batches for row in rows) < 100
    assert rig.host.empty_reports == 0


async def test_progress_comes_through(start: Any) -> None:
    """What a task says reaches the pool before its end."""
    rig = await start(1)
    task_id = rig.submit(say, "half", "whole")
    await rig.outcome(task_id)
    await rig.host.until(lambda: len(rig.host.updates) == 2)
    assert [update.message for update in rig.host.updates] == ["half", "whole"]


async def test_time_limits_and_cancelling(start: Any) -> None:
    """A running attempt ends when its time is over or somebody wants it to; one that waits never begins."""
    rig = await start(1)
    late, running_one, waiting = Gate("late"), Gate("running"), Gate("waiting")
    assert (await rig.run(wait_at, "late", timeout_s=0.02)).state is TaskState.TIMED_OUT
    late.open.set()
    runs, waits = rig.submit(wait_at, "running"), rig.submit(wait_at, "waiting")
    await rig.host.until(running_one.came.is_set)
    rig.cancel(waits)
    assert (await rig.outcome(waits)).state is TaskState.CANCELLED
    rig.cancel(runs)
    assert (await rig.outcome(runs)).state is TaskState.CANCELLED
    assert waiting.calls == 0
    assert (await rig.run(square, 5)).value == 25


async def test_what_stands_behind_a_slow_task(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in its batch behind it runs on another worker, each once."""
    monkeypatch.setattr(running, "CUT_S", 0.02)
    rig = await start(2)
    await rig.all_of([rig.submit(wait_at, "") for _ in range(8)])
    slow = Gate("slow")
    batch = rig.attempts(wait_at, [("slow",), *[("",)] * 60])
    rig.executor.submit(batch)
    others = [attempt.task_id for attempt in batch[1:]]
    assert {outcome.value for outcome in await rig.each_of(others)} == {""}
    assert not rig.of(batch[0].task_id)
    slow.open.set()
    assert (await rig.outcome(batch[0].task_id)).value == "slow"
    assert len(rig.host.outcomes) == 69


async def test_what_stands_before_a_slow_task(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ended in its batch before it is told while it runs, each once, and counted once."""
    monkeypatch.setattr(running, "CUT_S", 0.02)
    rig = await start(2)
    await rig.all_of([rig.submit(wait_at, "") for _ in range(8)])
    slow = Gate("slow")
    batch = rig.attempts(wait_at, [*[("",)] * 30, ("slow",), *[("",)] * 30])
    rig.executor.submit(batch)
    ids = [attempt.task_id for attempt in batch]
    others = [*ids[:30], *ids[31:]]
    assert {outcome.value for outcome in await rig.each_of(others)} == {""}
    assert not rig.of(ids[30])
    slow.open.set()
    assert (await rig.outcome(ids[30])).value == "slow"
    await rig.host.until(lambda: not rig.executor._dispatcher.busy())
    assert (len(rig.host.outcomes), sum(row.tasks_completed for row in rig.executor.workers())) == (69, 69)


async def test_a_batch_behind_a_slow_task(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of its own that its worker has not begun runs on another worker meanwhile, once."""
    monkeypatch.setattr(running, "CUT_S", 0.02)
    rig = await start(1)
    await rig.all_of([rig.submit(wait_at, "") for _ in range(8)])
    slow, behind = Gate("slow"), Gate("behind")
    behind.open.set()
    both = rig.attempts(wait_at, [("slow",), ("behind",)], on_crash="unknown")  # so that each goes alone
    first, second = (attempt.task_id for attempt in both)
    rig.executor.submit(both)
    await rig.host.until(slow.came.is_set)
    rig.executor.threads.add(rig.executor._dispatcher.crew.add("late"))
    rig.limit(None)  # to have it look who may have what
    assert (await rig.outcome(second)).worker == "here-late"
    assert not rig.of(first)
    slow.open.set()
    assert (await rig.outcome(first)).value == "slow"
    await rig.host.until(lambda: not rig.executor._dispatcher.busy())
    assert (behind.calls, len(rig.host.outcomes)) == (1, 10)


async def test_fewer_workers_may_work(start: Any) -> None:
    """A limit holds for what is given from then on, also one that was set before the start."""
    rig = await start(2)
    rig.limit(1)
    gates = [Gate("one"), Gate("two")]
    ids = [rig.submit(wait_at, name) for name in ("one", "two")]
    await rig.host.until(gates[0].came.is_set)
    assert gates[1].calls == 0
    rig.limit(None)
    await rig.host.until(gates[1].came.is_set)
    for gate in gates:
        gate.open.set()
    await rig.all_of(ids)
    executor = HereExecutor()
    executor.limit(type("Request", (), {"workers": 1})())
    assert executor._limit == 1


async def test_stopping_ends_all(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs and what waits is told once as cancelled; then nothing is taken any more, and stopping is done."""
    rig = await start(1)
    gate = Gate("runs")
    ids = [rig.submit(wait_at, "runs"), rig.submit(square, 2)]
    await rig.host.until(gate.came.is_set)
    await rig.stop()
    assert {outcome.state for outcome in await rig.all_of(ids)} == {TaskState.CANCELLED}
    assert rig.executor.let_go == 1
    await rig.stop()
    assert rig.executor.workers() == ()
    with pytest.raises(RuntimeError, match="the executor 'here' is not running: start it first"):
        rig.executor.submit([])
    await rig.start()
    assert (await rig.run(square, 3)).value == 9


async def test_stopping_does_not_wait_for_who_hangs(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not end what it runs is told of by the deadline, and a thread that hangs is left."""
    monkeypatch.setattr(executing, "LEAVE_S", 0.01)
    monkeypatch.setattr(executing, "_GRACE_S", 0.01)
    monkeypatch.setattr(dispatching, "INSIST_S", 60.0)
    rig = await start(1)
    gate, hangs = Gate("hangs"), threading.Event()
    task_id = rig.submit(wait_at, "hangs")
    await rig.host.until(gate.came.is_set)
    monkeypatch.setattr(rig.executor.threads.yards["at 0"], "withdraw", lambda messages: None)
    rig.executor.closes = lambda: hangs.wait(20.0)
    loop, thread = rig.executor._loop, rig.executor._thread
    await rig.executor.stop(monotonic())
    assert (await rig.outcome(task_id)).state is TaskState.CANCELLED
    assert not loop.is_closed()
    hangs.set()
    await asyncio.to_thread(thread.join, 20.0)
    loop.close()


async def test_a_start_that_fails_leaves_nothing(start: Any) -> None:
    """What opening raises is raised; no thread is left, and it can be started then."""
    rig = Rig(HereExecutor(), CollectingHost(1))

    def refuse() -> None:
        raise RuntimeError("nobody answers")

    rig.executor.opens = refuse
    with pytest.raises(RuntimeError, match="nobody answers"):
        await rig.start()
    assert not any(thread.name == "longshore-here" for thread in threading.enumerate())
    assert rig.executor.workers() == ()
    rig.executor.opens = lambda: None
    await rig.start()
    assert (await rig.run(square, 3)).value == 9
    await rig.stop()
    rig.executor.threads.close()


async def test_a_lost_cluster_is_told_once(start: Any) -> None:
    """However often it is noticed, the pool is told once, with the cause and what can be done; stopping goes on."""
    rig = await start(1)
    rig.executor.threads.alive = False
    ids = [rig.submit(square, 1), rig.submit(square, 2)]
    await rig.host.until(lambda: rig.host.failures)
    rig.executor._tell_lost(OSError("again"))
    (failure,) = rig.host.failures
    assert str(failure).startswith("the cluster of this process is gone, and with it what its workers did")
    assert isinstance(failure.__cause__, ConnectionError)
    await rig.stop()
    assert {outcome.state for outcome in await rig.all_of(ids)} == {TaskState.CANCELLED}
    rig.executor._tell_lost(OSError("after the end"))
    assert len(rig.host.failures) == 1


async def test_asking_from_a_thread_of_ones_own(start: Any) -> None:
    """What is done on the executor's thread can be waited for on another, not for ever, and not when it is stopped."""
    rig = await start(1)

    async def answer() -> str:
        return threading.current_thread().name

    ask = rig.executor._asked
    assert await asyncio.to_thread(ask, answer(), 5.0) == "longshore-here"
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(ask, asyncio.sleep(60.0), 0.01)
    await rig.stop()
    with pytest.raises(RuntimeError, match="not running"):
        ask(answer(), 1.0)


async def test_a_cluster_elsewhere_is_measured(start: Any) -> None:
    """Where there is an address, what its system tells is read; before the start and after the end that is nothing."""
    assert HereExecutor().cluster() is None, "its workers are on this machine"
    executor = HereExecutor("far:1")
    probe = executor.cluster()
    assert probe is not None
    assert probe.read(ReadRequest()).usage == {}
    rig = Rig(executor, CollectingHost(2))
    await rig.start()
    usage = (await asyncio.to_thread(probe.read, ReadRequest())).usage
    assert (usage["cpu"].used, usage["cpu"].capacity) == (0.0, 2.0)
    await rig.stop()
    assert probe.read(ReadRequest()).usage == {}
    assert executor.threads is not None
    executor.threads.close()


async def test_what_is_each_systems_own() -> None:
    """Opening, leaving and the place are not known to the executor by itself."""
    bare = BatchExecutor(HereSettings(), survey_s=1.0)
    with pytest.raises(NotImplementedError):
        await bare._open(CollectingHost(1))
    with pytest.raises(NotImplementedError):
        await bare._let_go(None, 0.0)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError):
        await bare._told(None)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError):
        bare._use_of({})
    with pytest.raises(NotImplementedError):
        bare._where()
