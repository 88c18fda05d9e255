"""What waits at a worker behind a slow attempt is called back and goes elsewhere, once, whatever comes between."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from longshore.batching import dispatcher as dispatching
from longshore.batching import running
from longshore.batching.burial import bury, take_off
from longshore.batching.crew import Held, Station
from longshore.batching.words import CUT, End, System
from longshore.task import Resources, TaskState
from support.clusters import HERE, KILLING, Given, done, square, wait_at
from support.desk import Desk, spec
from support.places import Place, values
from support.waiting import wait_until


class Behind:
    """A worker at a slow attempt with another batch behind it, whose calling back is under way."""

    def __init__(self, desk: Desk, slow: Given, waits: Given) -> None:
        self.desk, self.slow, self.waits = desk, slow, waits
        self.station = slow.station

    def answer(self, *numbers: int) -> None:
        """Have the worker say which it won't begin."""
        assert self.desk.cluster.answer is not None
        self.desk.cluster.answer.set_result(numbers)

    @property
    def held(self) -> list[Held]:
        """What the worker has."""
        return list(self.station.batches.values())


async def behind(system: System = HERE, *, answers: bool = True) -> Behind:
    """Have a worker be slow at t-0, with t-1 in a batch behind it, and no other worker."""
    desk = Desk(system)
    desk.crew.add("a")
    await desk.learn(0.02)
    desk.take(2)
    slow, waits = await desk.given(0), await desk.given(1)
    desk.cluster.answer = asyncio.get_running_loop().create_future() if answers else None
    desk.dispatcher.heard(["run", CUT, "at a", [slow.batch.number, 1]])
    await desk.quiet()
    assert desk.cluster.recalled == [[waits.batch.number]]
    return Behind(desk, slow, waits)


pytestmark = [pytest.mark.anyio]


@pytest.mark.usefixtures("deadline")
class TestTheController:
    """What the dispatcher does, by a script."""

    async def test_it_goes_elsewhere_at_once(self) -> None:
        """It runs on another worker while the first is slow, which is given nothing more; each is told once."""
        one = await behind()
        desk = one.desk
        assert one.slow.ids == ["t-0"]
        desk.crew.add("b")
        one.answer(one.waits.batch.number)
        again = await desk.given(2)
        assert (again.ids, again.station.address) == (["t-1"], "at b")
        assert sorted(desk.waiting()) == ["t-0", "t-1"], "counted once"
        more = desk.take(3)
        await desk.quiet()
        assert {given.station.address for given in desk.cluster.given[3:]} == {"at b"}
        again.works()
        one.slow.ends(done("late"))
        one.waits.ends()  # the worker came to it, and did not begin it
        await desk.ended(2)
        for number in range(3, 9):
            if len(desk.host.outcomes) < 5:
                (await desk.given(number)).works(ran_s=0.02)
                await desk.quiet()
        assert sorted(one.task_id for one in desk.host.outcomes) == ["t-0", "t-1", *more]
        assert not desk.dispatcher.busy()

    async def test_what_has_begun_is_left_where_it_is(self) -> None:
        """A batch that its worker has begun, on another of its threads, is not given again."""
        one = await behind()
        one.desk.crew.add("b")
        one.answer()
        await one.desk.quiet()
        assert len(one.desk.cluster.given) == 2
        one.waits.works()
        assert await one.desk.ended(1) == [("t-1", TaskState.COMPLETED)]

    async def test_an_answer_that_never_comes(self) -> None:
        """Where nobody answers the batch stays, and if it was called back all the same its end puts it back."""
        one = await behind(answers=False)
        one.desk.crew.add("b")
        one.waits.ends()
        again = await one.desk.given(2)
        assert again.ids == ["t-1"]
        again.works()
        await one.desk.ended(1)
        assert one.desk.waiting() == ["t-0"]

    async def test_an_answer_that_is_late(self) -> None:
        """An answer after the batch's own end changes nothing: what was not begun was put back by then."""
        one = await behind()
        one.desk.crew.add("b")
        one.waits.ends()
        again = await one.desk.given(2)
        one.answer(one.waits.batch.number)
        await one.desk.quiet()
        assert (len(one.desk.cluster.given), sorted(one.desk.waiting())) == (3, ["t-0", "t-1"])
        again.works()
        await one.desk.ended(1)

    @pytest.mark.parametrize("when", ["before", "between", "after"])
    async def test_its_worker_dies(self, when: str) -> None:
        """The answer may come before the worker's loss, before its burial, or after it: the attempt goes on once."""
        one = await behind()
        desk = one.desk
        if when == "before":
            one.answer(one.waits.batch.number)
            await desk.quiet()
        lost = take_off(desk.dispatcher, "at a")
        assert lost is not None
        if when == "between":
            one.answer(one.waits.batch.number)
            await desk.quiet()
        desk.crew.add("b")
        blamed = bury(desk.dispatcher, *lost, {one.slow.batch.number: [], one.waits.batch.number: None}, End())
        if when == "after":
            one.answer(one.waits.batch.number)
        again = await desk.given(2)
        await desk.quiet()
        assert (blamed, again.ids, len(desk.cluster.given)) == (["t-0"], ["t-1"], 3)
        again.works()
        await desk.ended(2)
        assert (desk.waiting(), desk.dispatcher.busy()) == ([], False)

    async def test_its_worker_dies_without_a_trace(self) -> None:
        """What a worker had said it won't begin is not to blame for its death, though nothing of it can be read."""
        one = await behind()
        one.answer(one.waits.batch.number)
        await one.desk.quiet()
        lost = take_off(one.desk.dispatcher, "at a")
        assert lost is not None
        assert bury(one.desk.dispatcher, *lost, None, End()) == ["t-0"]
        assert one.desk.waiting() == ["t-1"]

    @pytest.mark.parametrize("system", [HERE, KILLING])
    async def test_it_is_cancelled_meanwhile(self, system: System, monkeypatch: pytest.MonkeyPatch) -> None:
        """Cancelled while it is called back it ends with the answer, is told once, and costs no worker its life."""
        monkeypatch.setattr(dispatching, "INSIST_S", 60.0)
        one = await behind(system)
        desk = one.desk
        desk.crew.add("b")
        desk.dispatcher.cancel({"t-1": "enough"})
        await desk.quiet()
        monkeypatch.setattr(dispatching, "INSIST_S", 0.0)
        one.answer(one.waits.batch.number)
        assert await desk.ended(1) == [("t-1", TaskState.CANCELLED)]
        one.waits.ends()
        await desk.quiet()
        assert (len(desk.cluster.given), len(desk.host.outcomes), desk.cluster.ended) == (2, 1, [])

    async def test_a_worker_is_not_ended_for_what_it_gave_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where silent workers are ended, one that gave the cancelled attempt back is not."""
        monkeypatch.setattr(dispatching, "INSIST_S", 0.0)
        one = await behind(KILLING)
        one.answer(one.waits.batch.number)
        one.desk.dispatcher.cancel({"t-1": "enough"})
        await one.desk.ended(1)
        await one.desk.host.until(lambda: not any(task for task in one.desk.dispatcher._errands if not _follows(task)))
        assert one.desk.cluster.ended == []

    async def test_it_is_cancelled_after(self) -> None:
        """Put back, it is one that waits like all others."""
        one = await behind()
        one.answer(one.waits.batch.number)
        await one.desk.quiet()
        one.desk.dispatcher.cancel({"t-1": "enough"})
        assert await one.desk.ended(1) == [("t-1", TaskState.CANCELLED)]
        assert one.desk.cluster.withdrawn == []
        one.waits.ends()
        await one.desk.quiet()
        assert one.desk.waiting() == ["t-0"]

    async def test_code_of_what_was_not_begun_is_sent_again(self) -> None:
        """A worker that did not begin a batch has not its function: the next batch brings it."""
        one = await behind()
        one.station.codes.clear()
        one.answer(one.waits.batch.number)
        one.waits.ends()
        one.slow.ends()
        again = await one.desk.given(2)
        assert again.batch.code is not None

    async def test_a_limit_counts_what_can_run(self) -> None:
        """Under a limit on workers what was called back takes the place of nobody."""
        one = await behind()
        for name in "bcd":
            one.desk.crew.add(name)
        one.desk.dispatcher.limit(2)
        one.answer(one.waits.batch.number)
        assert (await one.desk.given(2)).ids == ["t-1"]

    async def test_nothing_is_given_behind_a_slow_attempt(self) -> None:
        """A worker that is known to be slow has nothing in hand, until it has ended that; a second thread goes on."""
        desk = Desk()
        desk.crew.add("a")
        await desk.learn(0.02)
        desk.take(1)
        slow = await desk.given(0)
        desk.dispatcher.heard(["run", CUT, "at a", [slow.batch.number, 1]])
        ids = desk.take(5)
        await desk.quiet()
        assert (len(desk.cluster.given), desk.cluster.recalled) == (1, [])
        wide = desk.crew.add("b", threads=2)
        desk.dispatcher.give()
        other = await desk.given(1)
        desk.dispatcher.heard(["run", CUT, "at b", [other.batch.number, 1]])
        await desk.quiet()
        desk.dispatcher.take([])
        assert len(wide.batches) == 4, "given before"
        for given in desk.cluster.given[2:]:
            given.works(ran_s=0.02)
        await desk.quiet()
        assert sorted(one.task_id for one in desk.host.outcomes) == ids[1:4]
        assert [held.slow for held in wide.batches.values()] == [True, False]
        slow.works(ran_s=0.02)
        await desk.host.until(lambda: len(desk.host.outcomes) == 4)

    async def test_what_a_slow_task_has_of_its_worker_is_taken(self) -> None:
        """A worker with another thread is given nothing that wants what its slow attempt has, though it declares it."""
        desk = Desk()
        desk.crew.add("a", threads=2, licence=1.0)
        asks = spec(resources=Resources(custom={"licence": 1.0}))
        desk.take(1, asks)
        first = await desk.given(0)
        desk.dispatcher.heard(["run", CUT, "at a", [first.batch.number, 1]])
        desk.take(1, asks)
        await desk.quiet()
        assert len(desk.cluster.given) == 1
        (plain,) = desk.take(1)
        assert (await desk.given(1)).ids == [plain]
        first.works()
        assert (await desk.given(2)).needs == {"licence": 1.0}

    async def test_who_may_have_others_behind_it_tells(self) -> None:
        """A batch says whether others may come behind it: of what is known as long none does, and it need not tell."""
        desk = Desk()
        station: Station = desk.crew.add("a")
        desk.take(2)
        first = await desk.given(0)
        assert first.batch.ahead, "it may turn out short"
        first.works(ran_s=5.0)
        second = await desk.given(1)
        assert not second.batch.ahead
        assert not any(held.ahead for held in station.batches.values())


def _follows(task: Any) -> bool:
    """Tell whether this task of the dispatcher's sees a batch through."""
    return bool(task.get_coro().__name__ == "_follow")


# ---- the worker's side


def test_a_worker_does_not_begin_what_was_called_back(place: Place, tmp_path: Path) -> None:
    """It ends with no records, however often the system comes to it, and nothing is written down of it."""
    whole = place.batch(square, [(3,)])
    assert place.yard.recall([whole.number]) == [whole.number]
    for _ in range(2):
        result = place.run(whole)
        assert (list(result.records), result.lacks_code, result.spent) == ([], False, False)
    assert not list(tmp_path.glob(f"*/*.{whole.number}"))
    assert values(place.run(place.batch(square, [(4,)]))) == [16]


def test_a_worker_goes_on_with_what_it_has_begun(place: Place) -> None:
    """What runs is not given back, nor is what has ended and is on its way, until that has arrived."""
    gate = place.gate("runs")
    whole = place.batch(wait_at, [("runs",)])
    going = place.start(whole)
    assert gate.came.wait(10.0)
    assert place.yard.recall([whole.number, 77]) == [77]
    gate.open.set()
    assert values(going.result(10.0)) == ["runs"]
    assert place.yard.recall([whole.number]) == []
    place.run(place.batch(square, [(2,)], settled=[whole.number, 77]))
    assert place.yard.recall([whole.number, 77]) == [whole.number, 77], "nothing is kept of what has arrived"


def test_only_so_many_callings_back_are_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten: their batches never came here, or have long ended."""
    monkeypatch.setattr("longshore.batching.yard._RECALLED", 2)
    first, *others = [place.batch(square, [(3,)]) for _ in range(3)]
    place.yard.recall([one.number for one in (first, *others)])
    assert values(place.run(first)) == [9]
    assert [values(place.run(one)) for one in others] == [[], []]


def test_a_slow_attempt_is_told_though_nothing_is_behind_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where other batches may wait behind it, the last attempt of a batch tells that it is slow too, once."""
    monkeypatch.setattr(running, "CUT_S", 0.01)
    for ahead in (True, False):
        gate = place.gate(f"slow {ahead}")
        whole = place.batch(wait_at, [(f"slow {ahead}",)], ahead=ahead, timeout_s=60.0)
        going = place.start(whole)
        assert gate.came.wait(10.0)
        if ahead:
            wait_until(lambda: place.yard.said, "that it is slow")
            assert place.yard.said == [(CUT, [whole.number, 1])]
        gate.open.set()
        assert values(going.result(10.0)) == [f"slow {ahead}"]
    assert len(place.yard.said) == 1
