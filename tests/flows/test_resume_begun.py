"""What had begun when its run was cut off: it runs again under the next number, or not at all where it may not."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from longshore import OutcomeUnknown, RetryPolicy, Settings, TaskState, WorkerConfig, WorkerPool
from longshore.errors import WorkerDied
from longshore.hookspecs import hookimpl
from longshore.records import Accepted, CommitBatch, TaskKind, Tried
from longshore.testing import MemoryJournal
from longshore.worker import current_task
from msgspec.structs import replace

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]
DEADLINE_S = 20.0
WORKER_DIED = "longshore.errors.WorkerDied"
ran: Counter[Any] = Counter()


@pytest.fixture(autouse=True)
def _forget() -> None:
    """Each test begins with nothing run."""
    ran.clear()


def pool_of(journal: Any, **facts: Any) -> WorkerPool:
    return WorkerPool(WorkerConfig(), settings=Settings(probes=()), journal=journal, **facts)


async def double(number: int) -> int:
    ran[number] += 1
    return number * 2


async def lasting(number: int) -> int:
    ran[number] += 1
    await asyncio.sleep(3600)
    return number


class Killed(MemoryJournal):
    """A journal that is cut off: what comes after `cut` is set is not recorded, as if the process had been killed."""

    cut = False

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        """Record it, unless cut off."""
        if not self.cut:
            super().commit(batch)


async def cut_off(
    journal: Killed, until: Callable[[], bool], function: Any, number: int, resume: str | None = None, **options: Any
) -> str:
    """Run a task until that holds, then end the run as if it was killed, with nothing more recorded; return its id."""
    pool = pool_of(journal, resume=resume)
    await pool.start()
    handle = await pool.options(version="1", **options).submit(function, number)
    async with asyncio.timeout(DEADLINE_S):
        while not until():
            await asyncio.sleep(0.005)
    journal.cut = True
    handle.cancel()
    await pool.stop(0)
    journal.cut = False
    return pool.run_id


async def killed_while_running(journal: Killed, function: Any, number: int, **options: Any) -> str:
    """Run a task until it is recorded as begun, then cut it off; return the run's id."""
    return await cut_off(journal, lambda: any(batch.started for batch in journal.batches), function, number, **options)


@pytest.mark.slow
async def test_what_had_begun_runs_again_under_the_next_number() -> None:
    """A task that was running keeps its id, its attempts go on rising, and the lost one is not held against it."""
    journal = Killed()
    seen: list[int] = []

    async def numbered(number: int) -> int:
        seen.append(number)
        if len(seen) == 1:
            await asyncio.sleep(3600)
        if len(seen) == 2:
            raise ConnectionError
        return number

    options = {"key": "k", "retry": RetryPolicy(attempts=2, backoff=0.0)}
    run_id = await killed_while_running(journal, numbered, 1, **options)
    [begun] = [one for batch in journal.batches for one in batch.started]
    async with pool_of(journal, resume=run_id) as pool:
        outcome = await (await pool.options(version="1", **options).submit(numbered, 1)).outcome()
    assert (outcome.task_id, outcome.attempts, outcome.value) == (begun.task_id, 3, 1)
    assert not outcome.restored


@pytest.mark.slow
async def test_no_number_is_given_out_twice() -> None:
    """Cut off before a first start is recorded, and again and again: each execution has a number of its own.

    None of the lost ones counts against its retries.
    """
    journal, numbers = Unstarted(), []

    async def numbered(number: int) -> int:
        numbers.append(current_task().attempt)
        ran["begun"] += 1
        if len(numbers) < 4:
            await asyncio.sleep(3600)
        if len(numbers) == 4:
            raise ConnectionError
        return number

    options = {"key": "k", "retry": RetryPolicy(attempts=2, backoff=0.0)}

    def begun(times: int) -> bool:
        return ran["begun"] == times and any(batch.accepted for batch in journal.batches)

    run_id = await cut_off(journal, lambda: begun(1), numbered, 1, **options)
    for times in (2, 3):
        await cut_off(journal, lambda times=times: begun(times), numbered, 1, run_id, **options)
    async with pool_of(journal, resume=run_id) as pool:
        outcome = await (await pool.options(version="1", **options).submit(numbered, 1)).outcome()
    assert numbers == [1, 2, 3, 4, 5]
    assert (outcome.attempts, outcome.value) == (5, 1)


class Unstarted(Killed):
    """A journal that is always cut off before the record of a first start."""

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        """Record all else."""
        super().commit(replace(batch, started=[one for one in batch.started if one.number > 1]))


async def test_what_may_not_run_twice_is_unknown_after_a_crash() -> None:
    """With `on_crash="unknown"` a task that had begun is not run again: its outcome says that nobody knows."""
    journal = Killed()
    run_id = await killed_while_running(journal, lasting, 1, on_crash="unknown")
    for _ in range(2):  # the second time that outcome is recorded
        async with pool_of(journal, resume=run_id) as pool:
            outcome = await (await pool.options(version="1", on_crash="unknown").submit(lasting, 1)).outcome()
        assert outcome.state is TaskState.FAILED
        assert outcome.error is not None
        assert (outcome.error.type, outcome.error.reason) == ("longshore.errors.OutcomeUnknown", "unknown")
    assert outcome.restored
    assert ran[1] == 1


async def test_what_may_not_run_twice_is_recorded_before_it_begins() -> None:
    """The attempt reaches its executor only after its start is committed."""
    order: list[str] = []

    class Noting(MemoryJournal):
        @hookimpl
        def commit(self, batch: CommitBatch) -> None:
            super().commit(batch)
            order.extend("recorded" for _ in batch.started)

    def begins() -> None:
        order.append("begun")

    async with pool_of(Noting()) as pool:
        for executor in ("threads", "inline"):
            await (await pool.options(on_crash="unknown", executor=executor).submit(begins))
            assert order == ["recorded", "begun"]
            order.clear()
        found = [outcome async for outcome in pool.options(on_crash="unknown").outcomes(double, range(300))]
    assert len(found) == 300
    assert order.count("recorded") == 300


async def test_a_task_that_is_held_back_can_be_cancelled() -> None:
    """Cancelled while its start is being committed, it never begins."""
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(MemoryJournal):
        @hookimpl
        def commit(self, batch: CommitBatch) -> None:
            if batch.started:
                asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(DEADLINE_S)
            super().commit(batch)

    async with pool_of(Slow()) as pool:
        handle = await pool.options(on_crash="unknown").submit(double, 1)
        await asyncio.sleep(0)
        while handle.state is not TaskState.PROCESSING:
            await asyncio.sleep(0)
        handle.cancel()
        await asyncio.sleep(0.01)
        gate.set()
        assert (await handle.outcome()).state is TaskState.CANCELLED
    assert not ran


def dies(path: str) -> None:
    with open(path, "a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
async def test_a_worker_that_dies_leaves_the_outcome_unknown(tmp_path: Any) -> None:
    """With `on_crash="unknown"` a task whose worker died is not tried again, whatever its policy says."""
    async with pool_of(False) as pool:
        under = pool.options(executor="processes", on_crash="unknown", retry=RetryPolicy(attempts=5, backoff=0.0))
        handle = await under.submit(dies, str(tmp_path / "audit"))
        with pytest.raises(OutcomeUnknown, match="not run again"):
            await handle
    assert (tmp_path / "audit").read_text() == "x"


async def test_deaths_of_workers_are_remembered() -> None:
    """A task that has ended two workers before the run went on is poison with the third."""
    journal = MemoryJournal()
    async with pool_of(journal) as pool:
        run_id = pool.run_id
    kind = TaskKind(name="dies_once", function=f"{__name__}.dies_once")
    tried = [
        Tried(task_id="old", number=n, state=TaskState.FAILED, error_type=WORKER_DIED, reason="signal 9")
        for n in (1, 2)
    ]
    accepted = Accepted(task_id="old", kind=kind, identity="key dies_once k")
    journal.commit(CommitBatch(run_id=run_id, accepted=[accepted], tried=tried))
    async with pool_of(journal, resume=run_id) as pool:
        under = pool.options(executor="threads", key="k", retry=RetryPolicy(attempts=9, backoff=0.0))
        outcome = await (await under.submit(dies_once)).outcome()
    assert outcome.error is not None
    assert outcome.error.type == "longshore.errors.PoisonTask"
    assert outcome.attempts == 3


def dies_once() -> None:
    ran["died"] += 1
    raise WorkerDied("as if its worker had died", reason="signal 9")
