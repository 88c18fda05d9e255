"""A run that goes on: what is recorded is not run again, found by what it is and never by its place."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from longshore import JournalError, Outcome, Settings, WorkerConfig, WorkerPool
from longshore._engine.learning import Kind
from longshore._identifying import Identifying
from longshore._runtime.recalling import Way
from longshore.records import JournalQuery
from longshore.testing import MemoryJournal, RecordingSink

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


async def halve(number: int) -> int:
    ran[number] += 1
    return number // 2


async def picky(number: int) -> int:
    ran[number] += 1
    if number % 2:
        raise ValueError(f"odd: {number}")
    return number


async def lasting(number: int) -> int:
    ran[number] += 1
    await asyncio.sleep(3600)
    return number


def untellable(number: int) -> set[int]:
    ran[number] += 1
    return {number}


async def outcomes(pool: WorkerPool, function: Any, items: Any, **options: Any) -> list[Outcome]:
    under = pool.options(**{"version": "1", **options})
    return [outcome async for outcome in under.outcomes(function, items, ordered=True)]


async def run(journal: Any, function: Any, items: Any, *, resume: str | None = None, **facts: Any) -> Any:
    """Run all items; return the outcomes, the run's id and its notes."""
    options = facts.pop("options", {})
    pool = pool_of(journal, resume=resume, **facts)
    async with pool:
        found = await outcomes(pool, function, items, **options)
        run_id = pool.run_id
    assert pool.summary is not None
    return found, run_id, list(pool.summary.notes)


async def test_what_succeeded_is_not_run_again() -> None:
    """Results come back as they were, in their place, marked as restored; only what is new runs."""
    journal = MemoryJournal()
    first, run_id, _ = await run(journal, double, range(100))
    again, same, notes = await run(journal, double, range(120), resume=run_id)
    assert same == run_id
    assert [outcome.value for outcome in again] == [number * 2 for number in range(120)]
    assert [outcome.index for outcome in again] == list(range(120))
    assert [outcome.restored for outcome in again] == [True] * 100 + [False] * 20
    assert [outcome.task_id for outcome in again[:100]] == [outcome.task_id for outcome in first]
    assert set(ran.values()) == {1}
    assert journal.refused == 0
    assert "100 results were recorded before, and their tasks not run again" in notes


@pytest.mark.slow
@pytest.mark.requirement("req:I02")
async def test_events_say_what_was_not_run_now() -> None:
    """The end of a task that is recorded is told as `restored`; of one that ran, nothing is said of that."""
    journal, sink = MemoryJournal(), RecordingSink()
    _, run_id, _ = await run(journal, double, range(3))
    await run(journal, double, range(5), resume=run_id, sinks=[sink])
    ends = [event.data for event in sink.events if event.type == "task_completed"]
    assert sorted(str(end.get("restored")) for end in ends) == ["None", "None", "True", "True", "True"]


async def test_the_place_of_an_input_says_nothing() -> None:
    """Reordered, inserted and changed inputs: each gets the result of what it is, and what has changed runs."""
    journal = MemoryJournal()
    _, run_id, _ = await run(journal, double, [1, 2, 3, 4])
    ran.clear()
    again, _, notes = await run(journal, double, [9, 4, 2, 7, 1], resume=run_id)
    assert [(outcome.value, outcome.restored) for outcome in again] == [
        (18, False),
        (8, True),
        (4, True),
        (14, False),
        (2, True),
    ]
    assert set(ran) == {9, 7}
    assert "1 recorded task stays as it is: nothing asked for it again" in notes


async def test_the_same_input_twice_is_found_as_often_as_it_was_done() -> None:
    """Two equal inputs are two tasks; a third one runs."""
    journal = MemoryJournal()
    _, run_id, _ = await run(journal, double, [5, 5])
    again, _, _ = await run(journal, double, [5, 5, 5], resume=run_id)
    assert sorted(outcome.restored for outcome in again) == [False, True, True]
    assert ran[5] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "options"), [(halve, {}), (double, {"version": "2"})], ids=["another function", "another version"]
)
async def test_other_work_is_not_taken_for_the_same(function: Any, options: dict[str, Any]) -> None:
    """The same arguments to another function, or to one of another version, run."""
    journal = MemoryJournal()
    _, run_id, _ = await run(journal, double, [1, 2])
    again, _, _ = await run(journal, function, [1, 2], resume=run_id, options=options)
    assert [outcome.restored for outcome in again] == [False, False]


async def test_arguments_of_another_type_are_others() -> None:
    """1, 1.0, True and "1" are four inputs."""
    journal = MemoryJournal()
    _, run_id, _ = await run(journal, double, [1])
    again, _, _ = await run(journal, double, [1.0, True, "1", 1], resume=run_id)
    assert [outcome.restored for outcome in again] == [False, False, False, True]


@pytest.mark.slow
async def test_what_nothing_identifies_runs_again() -> None:
    """An argument that nothing says the content of, and no key: nothing says that it is the same work, so it runs."""
    journal = MemoryJournal()
    things = [object()]
    _, run_id, _ = await run(journal, lambda thing: 1, things, options={"version": None})
    again, _, notes = await run(journal, lambda thing: 2, things, resume=run_id, options={"version": None})
    assert [(outcome.value, outcome.restored) for outcome in again] == [(2, False)]
    assert any("nothing says whether" in note for note in notes)


@pytest.mark.slow
async def test_failures_are_given_again_and_run_again_where_that_is_asked_for() -> None:
    """What failed is recorded like any end; with `resume_failed` it, and only it, runs again, as another task."""
    journal = MemoryJournal()
    _, run_id, _ = await run(journal, picky, range(4))
    again, _, _ = await run(journal, picky, range(4), resume=run_id)
    assert [outcome.state.value for outcome in again] == ["completed", "failed", "completed", "failed"]
    assert all(outcome.restored for outcome in again)
    assert again[1].error is not None
    assert again[1].error.message == "odd: 1"
    assert set(ran.values()) == {1}
    once_more, _, notes = await run(journal, picky, range(4), resume=run_id, resume_failed=True)
    assert [outcome.restored for outcome in once_more] == [True, False, True, False]
    assert (ran[0], ran[1]) == (1, 2)
    assert once_more[1].task_id != again[1].task_id
    assert journal.refused == 0
    assert "2 tasks that had failed ran again" in notes
    last, _, _ = await run(journal, picky, range(4), resume=run_id)
    assert [outcome.task_id for outcome in last] == [outcome.task_id for outcome in once_more]


async def test_a_result_that_was_not_kept_runs_again(tmp_path: Any) -> None:
    """A result that can't be stored is given as ever; when the run goes on its task runs again, and that is said."""
    settings = Settings(probes=(), journals={"sqlite": {"path": str(tmp_path / "runs")}})
    results, notes, run_id = [], [], None
    for _ in range(2):
        pool = WorkerPool(settings=settings, journal="sqlite", resume=run_id)
        async with pool:
            results += await outcomes(pool, untellable, [1, 2])
            run_id = pool.run_id
        assert pool.summary is not None
        notes += pool.summary.notes
    assert [outcome.value for outcome in results] == [{1}, {2}, {1}, {2}]
    assert ran == {1: 2, 2: 2}
    assert "2 tasks ran again, since their results could not be stored" in notes


async def test_a_key_says_what_a_task_is() -> None:
    """Under a key of its own a task is found whatever its arguments are; each key once."""
    journal = MemoryJournal()
    async with pool_of(journal) as pool:
        assert await (await pool.options(key="a").submit(double, 4)) == 8
        run_id = pool.run_id
    async with pool_of(journal, resume=run_id) as pool:
        handle = await pool.options(key="a").submit(double, object())
        assert (await handle.outcome()).restored
        assert await handle == 8
        assert await (await pool.options(key="b").submit(double, 4)) == 8
    assert ran == {4: 2}


async def test_estimates_are_kept_for_the_run_that_goes_on() -> None:
    """What was learnt of the memory that tasks take is recorded, and what the next engine begins with."""
    journal = MemoryJournal()
    async with pool_of(journal) as pool:
        run_id = pool.run_id
        pool._driver.engine._memory.learning.saw(Kind("work"), 321.0)
    async with pool_of(journal, resume=run_id) as pool:
        [[name, _, taken]] = pool._driver.engine.learnt()["kinds"]
    assert (name, taken["recent"]) == ("work", [321.0])


async def test_tasks_by_name_are_restored_under_their_new_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """`submit_task` gives each task an id of its own; the recorded result comes with that."""
    monkeypatch.setattr(Identifying, "of", lambda self, spec: Way(lambda args, kwargs: repr(args), plainly=True))
    journal = MemoryJournal()
    async with pool_of(journal) as pool:
        first = await pool.submit_task("work", 21, double)
        assert await pool.get_task_result(first) == 42
        run_id = pool.run_id
    async with pool_of(journal, resume=run_id) as pool:
        second = await pool.submit_task("work", 21, double)
        assert await pool.get_task_result(second) == 42
        assert second != first
    assert ran == {21: 1}


async def test_a_run_that_is_not_there() -> None:
    """To go on with an unknown run is a JournalError from `start`; without a journal it is a ValueError at once."""
    with pytest.raises(JournalError, match="nosuch"):
        await pool_of(MemoryJournal(), resume="nosuch").start()
    with pytest.raises(ValueError, match="there is no journal"):
        pool_of(False, resume="nosuch")


async def test_the_run_that_follows_is_another() -> None:
    """A pool that is started again after it went on with a run begins one of its own."""
    journal = MemoryJournal()
    _, run_id, _ = await run(journal, double, [1])
    pool = pool_of(journal, resume=run_id)
    async with pool:
        assert pool.run_id == run_id
    async with pool:
        assert pool.run_id != run_id
        assert [outcome.restored for outcome in await outcomes(pool, double, [1])] == [False]


async def test_without_a_journal_nothing_is_recorded_or_asked() -> None:
    """A pool without a journal makes neither identities nor records."""
    async with pool_of(False) as pool:
        assert pool._driver.recorder is None
        assert pool._taking().recalling is None
        assert [outcome.value for outcome in await outcomes(pool, double, range(3))] == [0, 2, 4]


async def test_slow_tasks_are_recorded_before_they_end() -> None:
    """A task that has been running for a while is in the journal as accepted and begun; a quick one ends there only."""
    journal = MemoryJournal()
    async with pool_of(journal) as pool:
        await (await pool.submit(double, 1))
        handle = await pool.options(version="1").submit(lasting, 2)
        while not any(batch.started for batch in journal.batches):
            await asyncio.sleep(0.005)
        [entry] = [one for one in journal.archive().tasks(JournalQuery()) if one.state is None]
        assert (entry.task_id, entry.attempts, entry.kind.name) == (handle.task_id, 1, "lasting")
        handle.cancel()
    assert len([one for batch in journal.batches for one in batch.started]) == 1


async def test_a_run_is_recorded_with_its_versions_and_without_its_secrets() -> None:
    """What of longshore was installed is told with the run; a token in the settings is not."""
    journal = MemoryJournal()
    secret = Settings(
        probes=(), executors={"remote": {"api_token": "sesame", "size": 3, "hosts": [{"api_key": "open"}]}}
    )
    async with WorkerPool(WorkerConfig(), settings=secret, journal=journal):
        pass
    [opened] = journal.opened
    assert opened.versions["longshore-threads"] == opened.versions["longshore-core"]
    hidden = {"api_token": "********", "size": 3, "hosts": [{"api_key": "********"}]}
    assert opened.settings["executors"]["remote"] == hidden
