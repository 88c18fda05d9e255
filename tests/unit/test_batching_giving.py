"""Who is given what, by the controller of a cluster whose workers answer from a script."""

from __future__ import annotations

import asyncio
import threading

import pytest
from longshore.batching import dispatcher as dispatching
from longshore.batching.words import CUT, PROGRESS
from longshore.errors import PayloadError, ResourceUnavailable
from longshore.task import Attempt, Resources, TaskSpec, TaskState
from support.clusters import done, square
from support.desk import Desk, spec, states

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_batches_go_in_order_and_grow(desk: Desk) -> None:
    """The first of a kind goes alone, with its function; once that is known, many go at once, in the order taken."""
    desk.crew.add("a")
    ids = desk.take(40)
    first = await desk.given(0)
    assert (first.ids, first.batch.code is not None, first.priority) == ([ids[0]], True, int(spec().priority))
    assert first.batch.initializer_timeout_s == 3.0
    assert first.batch.max_result_bytes == 100
    await desk.quiet()
    assert len(desk.cluster.given) == 1, "nothing waits behind what may be long"
    first.works(ran_s=0.0001)
    second, third = await desk.given(1), await desk.given(2)
    assert second.ids + third.ids == ids[1:9], "at most four times as many each time"
    assert second.batch.code is None, "the worker has it"
    assert list(second.batch.settled) == [first.batch.number]
    for number in range(1, 40):
        if len(desk.host.outcomes) < 40:
            (await desk.given(number)).works(ran_s=0.0001)
            await desk.quiet()
    assert [one.task_id for one in desk.host.outcomes] == ids
    assert [one.value for one in desk.host.outcomes] == ids
    assert not desk.dispatcher.busy()
    assert desk.crew.stations["at a"].stats().tasks_completed == 40


async def test_some_go_alone(desk: Desk) -> None:
    """A deadline, or that a crash is not to be tried again, keeps a task out of the batches of others."""
    desk.crew.add("a", threads=8)
    await desk.learn()
    plain = desk.take(3, expires_at=None)
    await desk.quiet()
    unsure = spec(on_crash="unknown")
    desk.dispatcher.limit(1)
    own = desk.take(2, unsure)
    dated = desk.take(2, expires_at=asyncio.get_running_loop().time() + 3600.0)
    desk.dispatcher.limit(None)
    await desk.quiet()
    batches = [one.ids for one in desk.cluster.given]
    assert [ids for ids in batches if set(ids) & {*own, *dated}] == [[one] for one in [*own, *dated]]
    assert sorted(one for ids in batches for one in ids) == sorted([*plain, *own, *dated])
    last = desk.cluster.given[-1].batch.items[0]
    assert last.left_s == pytest.approx(3600.0, abs=60.0)
    await desk.dispatcher.end_errands()


async def test_kinds_and_resources_are_not_mixed(desk: Desk) -> None:
    """A batch is of one kind, and of tasks that reserve the same."""
    desk.crew.add("a")
    await desk.learn()
    desk.dispatcher.limit(0)
    mine = desk.take(3)
    reserving = spec(resources=Resources(cpu=1.0))
    other = desk.take(2, reserving)
    named = desk.take(2, TaskSpec(function=square, name="other", executor="here"))
    desk.dispatcher.limit(None)
    for number in range(4):
        given = await desk.given(number)
        assert len({"m" if one in mine else "o" if one in other else "n" for one in given.ids}) == 1, given.ids
        given.works()
        await desk.quiet()
        if len(desk.host.outcomes) == 7:
            break
    assert [one.task_id for one in desk.host.outcomes] == [*mine, *other, *named]


async def test_who_wants_something_special_waits_for_nobody_else(desk: Desk) -> None:
    """A task that wants what one worker has goes there while others wait; what none has is refused, with why."""
    desk.crew.add("a", licence=1.0)
    asks = spec(resources=Resources(custom={"licence": 1.0}))
    too_much = spec(resources=Resources(custom={"licence": 2.0}))
    desk.dispatcher.limit(0)
    desk.take(2)
    (special,), (refused,) = desk.take(1, asks), desk.take(1, too_much)
    desk.dispatcher.limit(None)
    first = await desk.given(0)
    assert (first.ids, dict(first.needs)) == ([special], {"licence": 1.0})
    (outcome,) = desk.host.of(refused)
    assert isinstance(outcome.exception, ResourceUnavailable)
    assert "no worker here has licence=2" in str(outcome.exception)
    first.ends()  # it was not begun
    assert (await desk.given(1)).ids == [special], "it waits among those that want something"


async def test_what_cannot_be_carried_costs_itself_only(desk: Desk) -> None:
    """Arguments or a function that cannot be pickled fail with PayloadError, and hold up nobody."""
    desk.crew.add("a")
    lock = threading.Lock()
    stuck = TaskSpec(function=lambda: lock, name="stuck", executor="here")
    (unfit,) = desk.take(1, stuck)
    bad = Attempt("bad", desk._spec, (lock,))
    desk.dispatcher.take([bad])
    (good,) = desk.take(1)
    assert (await desk.given(0)).ids == [good]
    for task_id in (unfit, "bad"):
        (outcome,) = desk.host.of(task_id)
        assert isinstance(outcome.exception, PayloadError)
        assert "cannot be carried to a Here worker" in str(outcome.exception)


async def test_large_arguments_make_small_batches(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch ends where its arguments pass a limit; beyond the limit on all that is under way, one batch goes."""
    monkeypatch.setattr(dispatching, "BATCH_BYTES", 1)
    monkeypatch.setattr(dispatching, "BYTES_MOST", 1)
    desk.crew.add("a", threads=4)
    await desk.learn()
    ids = desk.take(3)
    first = await desk.given(0)
    await desk.quiet()
    assert [one.ids for one in desk.cluster.given] == [ids[:1]]
    first.works()
    assert (await desk.given(1)).ids == ids[1:2]


async def test_code_that_a_worker_lost_is_sent_again(desk: Desk) -> None:
    """A worker that says it lacks a function gets it with the same attempts, which have not begun."""
    desk.crew.add("a")
    await desk.learn()
    ids = desk.take(2)
    first = await desk.given(0)
    assert first.batch.code is None
    first.ends(lacks_code=True)
    again = await desk.given(1)
    assert (again.ids, again.batch.code is not None) == (first.ids, True)
    assert set(desk.waiting()) == set(ids)


async def test_no_worker_is_waited_for(desk: Desk) -> None:
    """Without workers everything waits, until one comes."""
    ids = desk.take(2)
    await desk.quiet()
    assert not desk.cluster.given
    assert desk.waiting() == ids
    desk.crew.add("a")
    desk.dispatcher.give()
    assert (await desk.given(0)).ids == ids[:1]


async def test_a_closing_dispatcher_gives_nothing(desk: Desk) -> None:
    """What is taken while the pool stops is cancelled at once."""
    desk.crew.add("a")
    desk.dispatcher.closing = True
    desk.take(2)
    desk.dispatcher.give()
    assert states(await desk.ended(2)) == {TaskState.CANCELLED}
    await desk.quiet()
    assert not desk.cluster.given


# ---- cut, told, put back


async def test_what_stands_behind_a_slow_attempt_goes_elsewhere(desk: Desk) -> None:
    """The rest of a batch that was cut is given to another worker, once; what is heard of others changes nothing."""
    desk.crew.add("a")
    await desk.learn()
    desk.dispatcher.limit(0)
    ids = desk.take(8)
    desk.dispatcher.limit(None)
    first = await desk.given(0)
    number, address = first.batch.number, first.station.address
    for wrong in (["other", CUT, address, [number, 1]], ["run", CUT, "at z", [number, 1]], ["run", "?", address, 0]):
        desk.dispatcher.heard(wrong)
    desk.dispatcher.heard(["run", CUT, address, [99, 1]])
    await desk.quiet()
    assert first.ids == ids[:3]
    assert (desk.waiting()[:2], len(desk.cluster.given)) == (ids[6:], 2), "nothing moved yet"
    desk.crew.add("b")
    desk.dispatcher.heard(["run", CUT, address, [number, 1]])
    for other in range(1, 9):
        if len(desk.host.outcomes) == 7:
            break
        (await desk.given(other)).works()
        await desk.quiet()
    assert desk.waiting() == ids[:1]
    first.ends(done("late"))
    await desk.ended(8)
    assert sorted(one.task_id for one in desk.host.outcomes) == ids


async def test_progress_is_passed_on(desk: Desk) -> None:
    """What a running task says of itself comes to the pool."""
    desk.dispatcher.heard(["run", PROGRESS, "at a", [["t-0", 1, 0.5, "half", None, None, None, None]]])
    assert [(one.task_id, one.message) for one in desk.host.updates] == [("t-0", "half")]
