"""How attempts end that are cancelled, late, or given up with their worker or their whole cluster; by a script."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from longshore.batching import dispatcher as dispatching
from longshore.batching.burial import bury, take_off, tell_of_loss
from longshore.batching.words import CANCELLED, TIMED_OUT, End, Record
from longshore.errors import MemoryLimitExceeded, PayloadError, WorkerDied
from longshore.task import Resources, TaskState
from longshore.testing import FakeClock
from support.clusters import HERE, KILLING, ClusterLost, WorkerLost, done
from support.desk import Desk, spec, states

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]


@pytest.fixture
async def desk() -> Desk:
    return Desk()


# ---- ending


async def test_what_waits_is_cancelled_at_once(desk: Desk) -> None:
    """A waiting attempt ends without any worker, whether it waits for something special or not."""
    ids = [*desk.take(2), *desk.take(1, spec(resources=Resources(custom={"x": 1.0})))]
    desk.dispatcher.cancel({ids[0]: "not wanted"})
    (outcome,) = desk.host.of(ids[0])
    assert (outcome.state, outcome.error and outcome.error.message) == (TaskState.CANCELLED, "not wanted")
    assert desk.waiting() == ids[1:2], "the one that wants what nobody has was refused"


async def test_what_runs_is_cancelled_by_its_worker(desk: Desk) -> None:
    """A worker is asked to end an attempt, and what it says of that is told once; those behind it go on."""
    desk.crew.add("a")
    await desk.learn()
    desk.dispatcher.limit(0)
    ids = desk.take(6)
    desk.dispatcher.limit(None)
    first = await desk.given(0)
    running, behind = first.ids[0], first.ids[1]
    desk.dispatcher.cancel({running: "enough", behind: "enough", "unknown": "x"})
    await desk.quiet()
    assert desk.cluster.withdrawn == [("at a", {running: "enough", behind: "enough"})]
    first.ends(Record(CANCELLED, 0.0, 0.5, None, b"enough"), abandoned=1)
    await desk.host.until(lambda: desk.host.of(running) and desk.host.of(behind))
    (ended,), (never,) = desk.host.of(running), desk.host.of(behind)
    assert ended.error is not None
    assert ended.error.message == f"enough; {HERE.given_up}"
    assert (never.state, never.ran_s) == (TaskState.CANCELLED, 0.0)
    assert [one.data["abandoned_threads"] for one in desk.host.notices] == [1]
    assert set(desk.waiting()) == set(ids) - {running, behind}


async def test_a_silent_worker_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that its worker does not end in time is told without it, once; where workers are ended, it is."""
    monkeypatch.setattr(dispatching, "INSIST_S", 0.0)
    for system in (HERE, KILLING):
        desk = Desk(system)
        station = desk.crew.add("a")
        (task_id,) = desk.take(1)
        first = await desk.given(0)
        desk.dispatcher.cancel({task_id: "now"})
        assert await desk.ended(1) == [(task_id, TaskState.CANCELLED)]
        await desk.quiet()
        assert desk.cluster.ended == ([station] if system.kills else [])
        assert desk.dispatcher.left() == []
        first.works()
        await desk.host.until(lambda: not desk.dispatcher.busy())  # noqa: B023 - called at once
        assert len(desk.host.outcomes) == 1


async def test_deadlines_over_all_attempts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past its deadline a waiting attempt times out, and a running one is ended by its worker, and timed out."""
    clock = FakeClock(1000.0)
    monkeypatch.setattr(dispatching, "monotonic", clock.monotonic)
    desk.crew.add("a")
    (runs, waits, later) = (
        *desk.take(1, expires_at=1010.0),
        *desk.take(1, expires_at=1010.0),
        *desk.take(1, expires_at=5000.0),
    )
    first = await desk.given(0)
    assert first.batch.items[0].left_s == 10.0
    clock.advance(10.0)
    desk.dispatcher.take([])  # it is woken for the soonest, which is now
    await desk.host.until(lambda: desk.host.of(waits))
    await desk.host.until(lambda: desk.cluster.withdrawn)
    assert desk.cluster.withdrawn == [("at a", {runs: ""})]
    first.ends(Record(CANCELLED, 0.0, 0.5, None, b""))
    await desk.host.until(lambda: desk.host.of(runs))
    for task_id in (runs, waits):
        (outcome,) = desk.host.of(task_id)
        assert outcome.state is TaskState.TIMED_OUT
    assert desk.waiting() == [later]
    await desk.dispatcher.end_errands()


async def test_what_was_withdrawn_and_not_begun_does_not_begin_elsewhere(desk: Desk) -> None:
    """An attempt that comes back after its cancelling or deadline is told so, and not given again."""
    desk.crew.add("a")
    ids = desk.take(1)
    first = await desk.given(0)
    desk.dispatcher.cancel({ids[0]: None})
    await desk.quiet()
    first.ends()
    assert await desk.ended(1) == [(ids[0], TaskState.TIMED_OUT)]
    assert desk.waiting() == []


async def test_giving_up_tells_of_all(desk: Desk) -> None:
    """Whatever workers do, what is left is told as cancelled, once; a result that comes after it is none."""
    desk.crew.add("a")
    ids = desk.take(3)
    first = await desk.given(0)
    desk.dispatcher.give_up("the end")
    assert sorted(await desk.ended(3)) == [(one, TaskState.CANCELLED) for one in ids]
    first.works()
    await desk.quiet()
    desk.dispatcher.give_up("the end")
    assert (len(desk.host.outcomes), desk.host.empty_reports) == (3, 0)


async def test_a_spent_worker_is_ended(desk: Desk) -> None:
    """A worker that gave an attempt up, in a system that ends such, is ended; nobody is told of threads."""
    desk = Desk(KILLING)
    station = desk.crew.add("a")
    desk.take(1)
    (await desk.given(0)).ends(Record(TIMED_OUT, 0.0, 1.0, None, b""), spent=True)
    assert states(await desk.ended(1)) == {TaskState.TIMED_OUT}
    assert desk.cluster.ended == [station]
    assert desk.host.notices == []


async def test_who_leaves_is_trimmed_when_it_is_idle(desk: Desk) -> None:
    """A worker that is to leave is given nothing more, and its system is told when it has ended what it had."""
    station = desk.crew.add("a")
    trimmed: list[bool] = []
    desk.dispatcher.trim = lambda: trimmed.append(True)
    desk.take(2)
    first = await desk.given(0)
    station.leaving = True
    first.works()
    await desk.ended(1)
    await desk.quiet()
    assert (trimmed, len(desk.cluster.given), desk.crew.slots()) == ([True], 1, 0)


# ---- what the system gives up


async def test_a_batch_that_its_system_refuses_fails(desk: Desk) -> None:
    """Where the system can't have a batch run its attempts fail with what it said, and others go on.

    That it looks like an error of a connection changes nothing: the cluster knows what it is.
    """
    desk.crew.add("a")
    ids = desk.take(2)
    (await desk.given(0)).answer.set_exception(ConnectionError("no such place"))
    await desk.host.until(lambda: desk.host.of(ids[0]))
    (outcome,) = desk.host.of(ids[0])
    assert isinstance(outcome.exception, PayloadError)
    assert "the Here worker here-a could not take a batch: ConnectionError: no such place" in str(outcome.exception)
    assert (await desk.given(1)).ids == ids[1:]


async def test_a_lost_worker_is_left_to_who_buries_it(desk: Desk) -> None:
    """A batch that fails for the loss of its worker stays as it is until that loss is told."""
    desk.crew.add("a")
    ids = desk.take(1)
    (await desk.given(0)).answer.set_exception(WorkerLost())
    await desk.quiet()
    assert (desk.waiting(), desk.dispatcher.busy(), desk.host.outcomes, desk.lost) == (ids, True, [], [])


async def test_a_lost_cluster_is_told(desk: Desk) -> None:
    """Without its connection nothing is handed over, and that is told; so is one that is cut under a batch."""
    desk.crew.add("a", threads=2)
    desk.take(1)
    cut = ClusterLost("cut")
    (await desk.given(0)).answer.set_exception(cut)
    await desk.host.until(lambda: desk.lost)
    assert desk.lost == [cut]
    desk.cluster.alive = False
    desk.take(1)
    await desk.host.until(lambda: len(desk.lost) == 2)
    assert len(desk.cluster.given) == 1
    assert desk.host.outcomes == [], "what they were is told when the pool stops"


async def test_errands_end_with_the_executor(desk: Desk) -> None:
    """What is done beside is not done any more once they are ended, and no deadline wakes anybody."""
    desk.take(1, expires_at=asyncio.get_running_loop().time() + 3600.0)
    errand = desk.dispatcher.errand(asyncio.sleep(3600.0))
    await desk.dispatcher.end_errands()
    assert errand.cancelled()


# ---- lost workers


async def lost_with(desk: Desk, count: int = 8) -> tuple[Any, list[Any], list[str]]:
    """Have a worker be given two batches, of three or one, and lose it; returns it, what it had, and the tasks."""
    desk.crew.add("a")
    await desk.learn(0.02 if count == 2 else 0.005)
    desk.dispatcher.limit(0)
    ids = desk.take(count)
    desk.dispatcher.limit(None)
    await desk.given(1)
    lost = take_off(desk.dispatcher, "at a")
    assert lost is not None
    assert all(held.lost for held in lost[1])
    return *lost, ids


async def test_what_a_lost_worker_had_ended_counts(desk: Desk) -> None:
    """By what it wrote down: ended ones keep what they gave, one is to blame, the others run elsewhere, one by one."""
    station, batches, ids = await lost_with(desk, 8)
    first, second = batches
    blamed = bury(desk.dispatcher, station, batches, {first.number: [done("kept")], second.number: None}, End("killed"))
    assert blamed == [ids[1]]
    kept, died = desk.host.outcomes
    assert (kept.task_id, kept.value) == (ids[0], "kept")
    assert isinstance(died.exception, WorkerDied)
    assert "was lost while it ran: killed" in str(died.exception)
    assert desk.waiting() == ids[2:]
    desk.crew.add("b", threads=8)
    desk.dispatcher.give()
    await desk.quiet()
    mates = first.attempts[2:]
    alone = [one.ids for one in desk.cluster.given[2:] if set(one.ids) & {mate.task_id for mate in mates}]
    assert alone == [[mate.task_id] for mate in mates]
    assert desk.host.sizes == [0]


async def test_without_evidence_all_may_have_begun(desk: Desk) -> None:
    """Where nothing tells what a lost worker did, what it had is told as lost, of memory where its system says so."""
    station, batches, ids = await lost_with(desk)
    batches[0].told.add(ids[0])
    had = [one.task_id for held in batches for one in held.attempts]
    blamed = bury(desk.dispatcher, station, batches, None, End("too large", memory=True))
    assert sorted(blamed) == sorted(set(had) - {ids[0]})
    assert {type(one.exception) for one in desk.host.outcomes} == {MemoryLimitExceeded}
    assert "it may have begun" in str(desk.host.outcomes[0].exception)
    assert set(desk.waiting()) == set(ids) - set(had)


async def test_a_batch_that_ended_meanwhile_is_not_buried(desk: Desk) -> None:
    """A result that came before its worker's burial counts, and is told once."""
    station, batches, ids = await lost_with(desk, 2)
    desk.cluster.given[0].works()
    await desk.ended(1)
    bury(desk.dispatcher, station, batches, {batches[1].number: [done("too")]}, End())
    bury(desk.dispatcher, station, [], {}, End())
    assert [one.task_id for one in desk.host.outcomes] == ids


async def test_a_cancelled_attempt_of_a_lost_worker_ends(desk: Desk) -> None:
    """What was to end and had not begun is cancelled with its worker's loss, not run again."""
    station, batches, ids = await lost_with(desk, 2)
    for held in batches:
        held.withdrawn[held.attempts[0].task_id] = "enough"
    bury(desk.dispatcher, station, batches, dict.fromkeys([one.number for one in batches]), End())
    assert sorted(await desk.ended(2)) == [(one, TaskState.CANCELLED) for one in ids]


async def test_a_batch_of_a_worker_that_is_lost_before_it_has_it(desk: Desk) -> None:
    """A batch for a worker that was lost meanwhile is not handed over, and its end later is not a failure."""
    desk.crew.add("a")
    desk.take(1)
    assert take_off(desk.dispatcher, "at a") is not None
    await desk.quiet()
    assert desk.cluster.given == []
    assert take_off(desk.dispatcher, "at a") is None
    station, batches, _ = await lost_with(Desk())
    desk.cluster.given.clear()
    assert (station.address, len(batches)) == ("at a", 2)


async def test_a_failure_of_a_lost_workers_batch_is_not_told(desk: Desk) -> None:
    """Whatever a batch raises after its worker was lost, the burial alone tells what became of it."""
    station, batches, ids = await lost_with(desk, 2)
    for given in desk.cluster.given:
        given.answer.set_exception(ValueError("gone"))
    await desk.quiet()
    assert (desk.host.outcomes, desk.lost) == ([], [])
    bury(desk.dispatcher, station, batches, {}, End())
    assert desk.waiting() == ids


async def test_the_pool_is_told_of_a_loss(desk: Desk) -> None:
    """The event names the worker, why it ended where that is known, and the task where it is one."""
    station = desk.crew.add("a")
    tell_of_loss(desk.dispatcher, station, ["t-1"], End("killed"))
    tell_of_loss(desk.dispatcher, station, ["t-1", "t-2"], End())
    first, second = (notice.data for notice in desk.host.notices)
    assert (first["error"], first["task_id"]) == ("the Here cluster lost a worker: killed", "t-1")
    assert (second["error"], second["task_id"]) == ("the Here cluster lost a worker", None)
