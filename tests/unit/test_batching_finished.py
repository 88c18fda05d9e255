"""What has ended of a batch is told while a slow attempt of the same batch runs, once, whatever comes between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from longshore.batching import dispatcher as dispatching
from longshore.batching import running
from longshore.batching.burial import bury, take_off
from longshore.batching.words import CUT, FAILED, FINISHED, PROGRESS, TIMED_OUT, End, Record
from longshore.task import TaskState
from longshore.worker import current_task
from support.clusters import KILLING, Gate, Given, done, wait_at
from support.desk import Desk
from support.places import Place, hows, values
from support.waiting import wait_until

pytestmark = [pytest.mark.anyio]


async def batch_of(desk: Desk, count: int = 3) -> Given:
    """Have one worker be given that many in one batch."""
    desk.crew.add("a")
    await desk.learn(0.001)
    desk.take(count)
    given = await desk.given(0)
    assert len(given.ids) == count
    return given


def finished(given: Given, *places: tuple[int, Record], took_s: float = 0.0) -> list[Any]:
    """Return what a worker tells of attempts that have ended. Any: as it travels."""
    return ["run", FINISHED, given.station.address, [given.batch.number, took_s, [[at, *one] for at, one in places]]]


@pytest.mark.usefixtures("deadline")
class TestTheController:
    """What the dispatcher does, by a script."""

    async def test_it_is_told_at_once_and_counted_once(self) -> None:
        """What ended is reported while the rest runs; the end of the batch adds only what was not."""
        desk = Desk()
        given = await batch_of(desk)
        before = given.station.completed, given.station.busy_s
        desk.dispatcher.heard(finished(given, (0, done("zero", ran_s=1.0)), (1, done("one", ran_s=1.0))))
        assert [(one.task_id, one.value) for one in desk.host.outcomes] == [("t-0", "zero"), ("t-1", "one")]
        assert (desk.waiting(), given.station.stats().current_task) == (["t-2"], "t-2")
        given.ends(done("zero", ran_s=1.0), done("one", ran_s=1.0), done("two", ran_s=1.0))
        await desk.ended(3)
        await desk.quiet()
        assert [one.value for one in desk.host.outcomes] == ["zero", "one", "two"]
        after = given.station.completed, given.station.busy_s
        assert (after[0] - before[0], round(after[1] - before[1], 6)) == (3, 3.0)
        assert not desk.dispatcher.busy()

    async def test_what_did_not_fit_waits_for_the_end(self) -> None:
        """Of a message that leaves some out each is known by its place."""
        desk = Desk()
        given = await batch_of(desk)
        desk.dispatcher.heard(finished(given, (1, done("one")), (77, done("none such"))))
        assert [(one.task_id, one.value) for one in desk.host.outcomes] == [("t-1", "one")]
        assert desk.waiting() == ["t-0", "t-2"]
        given.ends(done("zero"), done("one"), done("two"))
        await desk.ended(3)
        assert [one.value for one in desk.host.outcomes] == ["one", "zero", "two"]

    async def test_what_comes_too_late_or_from_others_changes_nothing(self) -> None:
        """A message that the end of its batch has overtaken, or of a batch that this worker has not, is dropped."""
        desk = Desk()
        given = await batch_of(desk)
        message = finished(given, (0, done("zero")))
        desk.dispatcher.heard([*message[:2], "at z", message[3]])
        assert not desk.host.outcomes
        given.works()
        await desk.ended(3)
        desk.dispatcher.heard(message)
        assert len(desk.host.outcomes) == 3

    @pytest.mark.parametrize("known", ["all", "nothing", "not begun"])
    async def test_its_worker_dies(self, known: str) -> None:
        """After its worker's death nothing that was told is told again, or run again, whatever is left to look at."""
        desk = Desk()
        given = await batch_of(desk)
        desk.dispatcher.heard(finished(given, (0, done("zero")), (1, done("one"))))
        lost = take_off(desk.dispatcher, "at a")
        assert lost is not None
        number = given.batch.number
        evidence = {"all": {number: [done("zero"), done("one")]}, "nothing": None, "not begun": {number: None}}[known]
        blamed = bury(desk.dispatcher, *lost, evidence, End())
        told = [one.task_id for one in desk.host.outcomes]
        if known == "not begun":
            assert (blamed, told, desk.waiting()) == ([], ["t-0", "t-1"], ["t-2"])
        else:
            assert (blamed, told, desk.waiting()) == (["t-2"], ["t-0", "t-1", "t-2"], [])

    async def test_one_that_was_too_large_to_be_written_down(self) -> None:
        """What was told is not taken for what ran as its worker died, though nothing was written of it."""
        desk = Desk()
        given = await batch_of(desk, 2)
        desk.dispatcher.heard(finished(given, (0, done("zero")), (1, done("one"))))
        lost = take_off(desk.dispatcher, "at a")
        assert lost is not None
        assert bury(desk.dispatcher, *lost, {given.batch.number: [done("zero")]}, End()) == []
        assert (len(desk.host.outcomes), desk.waiting()) == (2, [])

    async def test_it_is_heard_between_a_death_and_its_burial(self) -> None:
        """A message that arrives after its worker's loss still counts: the attempt had ended."""
        desk = Desk()
        given = await batch_of(desk)
        lost = take_off(desk.dispatcher, "at a")
        assert lost is not None
        desk.dispatcher.heard(finished(given, (0, done("zero"))))
        bury(desk.dispatcher, *lost, None, End())
        assert [one.state for one in desk.host.outcomes] == [TaskState.COMPLETED, TaskState.FAILED, TaskState.FAILED]

    async def test_what_was_told_cannot_be_cancelled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its worker is not asked to end it: a retry of the same task may be there by then."""
        monkeypatch.setattr(dispatching, "INSIST_S", 0.0)
        desk = Desk(KILLING)
        given = await batch_of(desk)
        desk.dispatcher.heard(finished(given, (0, Record(TIMED_OUT, 0.0, 1.0, None, b""))))
        desk.dispatcher.cancel({"t-0": "enough"})
        await desk.quiet()
        assert (desk.cluster.withdrawn, desk.cluster.ended) == ([], [])
        assert [one.state for one in desk.host.outcomes] == [TaskState.TIMED_OUT]

    async def test_all_that_is_left_at_the_end(self) -> None:
        """An executor that stops reports only what was not told."""
        desk = Desk()
        given = await batch_of(desk)
        desk.dispatcher.heard(finished(given, (0, done("zero"))))
        desk.dispatcher.give_up("over")
        assert [one.task_id for one in desk.host.outcomes] == ["t-0", "t-1", "t-2"]


# ---- the worker's side


@pytest.fixture
def turns_slow(monkeypatch: pytest.MonkeyPatch) -> Callable[[Place, Gate], None]:
    """Return what has an attempt that waits at a gate seen as slow."""

    def turn(place: Place, gate: Gate) -> None:
        assert gate.came.wait(10.0)
        monkeypatch.setattr(running, "CUT_S", 0.0)
        place.yard.withdraw({"somebody": "else"})  # to have it look at the time

    return turn


def told_by(place: Place, what: str = FINISHED) -> list[Any]:
    """Return what a worker has told under a word. Any: as it travels."""
    return [facts for word, facts in place.yard.said if word == what]


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("behind", [0, 3])
def test_a_worker_tells_what_has_ended(turns_slow: Callable[..., None], place: Place, ahead: bool, behind: int) -> None:
    """Also where the slow attempt is the last of its batch, and where nobody waits behind it; once for each."""
    gate = place.gate("slow")
    whole = place.batch(wait_at, [("",), ("",), ("slow",), *[("",)] * behind], ahead=ahead)
    going = place.start(whole)
    turns_slow(place, gate)
    wait_until(lambda: told_by(place), "what has ended")
    ((number, took_s, rows),) = told_by(place)
    assert (number, [row[0] for row in rows]) == (whole.number, [0, 1])
    assert took_s > 0.0
    if ahead or behind:
        wait_until(lambda: told_by(place, CUT), "the cut")
        assert told_by(place, CUT) == [[whole.number, 3]]
    gate.open.set()
    result = going.result(10.0)
    assert values(result) == ["", "", "slow"]
    assert [Record(*fields) for _, *fields in rows] == list(result.records[:2])
    assert len(told_by(place)) == 1


def test_a_worker_tells_what_fits_into_a_message(turns_slow: Callable[..., None], place: Place) -> None:
    """What is too large stays until the end of the batch, and keeps nothing else back."""
    place.yard.message_bytes = 1000
    gate = place.gate("slow")
    going = place.start(place.batch(bytes_or_wait, [(10,), (2000,), (20,), ("slow",)], ahead=True))
    turns_slow(place, gate)
    wait_until(lambda: told_by(place), "what has ended")
    ((_, _, rows),) = told_by(place)
    assert [row[0] for row in rows] == [0, 2]
    gate.open.set()
    assert values(going.result(10.0)) == [bytes(10), bytes(2000), bytes(20), "slow"]


def test_a_worker_tells_nothing_where_all_is_too_large(turns_slow: Callable[..., None], place: Place) -> None:
    """An empty message is not sent."""
    place.yard.message_bytes = 1
    gate = place.gate("slow")
    going = place.start(place.batch(bytes_or_wait, [(10,), ("slow",)], ahead=True))
    turns_slow(place, gate)
    wait_until(lambda: told_by(place, CUT), "the cut")
    gate.open.set()
    going.result(10.0)
    assert not told_by(place)


def bytes_or_wait(what: int | str) -> bytes | str:
    return bytes(what) if isinstance(what, int) else wait_at(what)


def test_progress_comes_before_what_has_ended(turns_slow: Callable[..., None], place: Place) -> None:
    """What a task said is told before its end is."""
    gate = place.gate("slow")
    going = place.start(place.batch(say_or_wait, [("one", "two"), ("slow",)], ahead=True))
    turns_slow(place, gate)
    wait_until(lambda: told_by(place), "what has ended")
    words = [word for word, _ in place.yard.said]
    assert PROGRESS in words[: words.index(FINISHED)]
    told = [fields for facts in told_by(place, PROGRESS) for fields in facts]
    assert told[-1][3] == "two"
    gate.open.set()
    going.result(10.0)


def say_or_wait(*words: str) -> str:
    if words == ("slow",):
        return wait_at("slow")
    for word in words:
        current_task().progress(0.5, word)
    return "said"


def test_a_failure_and_what_was_given_up_are_told_too(turns_slow: Callable[..., None], place: Place) -> None:
    """However an attempt ended, those who wait for it hear of it."""
    gate = place.gate("slow")
    place.yard.withdraw({"t-0": "enough"})
    going = place.start(place.batch(fail_or_wait, [("never",), ("",), ("slow",)], ahead=True))
    turns_slow(place, gate)
    wait_until(lambda: told_by(place), "what has ended")
    ((_, _, rows),) = told_by(place)
    assert [(row[0], row[1]) for row in rows] == [(0, "cancelled"), (1, FAILED)]
    gate.open.set()
    assert len(hows(going.result(10.0))) == 3


def fail_or_wait(name: str) -> str:
    if not name:
        raise ValueError("no name")
    return wait_at(name)
