"""`track`: loops inside loops, loops that are left, and loops of tasks of their own."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator

import pytest
from longshore import current_task, track
from longshore.events import ProgressUpdate
from longshore.task import Attempt, TaskSpec
from longshore.worker import Seat, bind

pytestmark = pytest.mark.accuracy
SPEC = TaskSpec(function=print, name="f", executor="threads")


class Rig:
    """A seat that runs what it is given as a task; `at` is how far that was then, all of it unsent included."""

    def __init__(self) -> None:
        self.sent: list[ProgressUpdate] = []
        self.seat = Seat("w", self.sent.append)
        self.count = 0

    def run(self, function: Callable[[], object]) -> list[ProgressUpdate]:
        def inside() -> None:
            bind(self.seat)
            self.begin()
            function()
            self.seat.finish()
            self.seat.attempt = None

        self.sent.clear()
        contextvars.copy_context().run(inside)
        return list(self.sent)

    def begin(self) -> None:
        self.count += 1
        self.seat.attempt = Attempt(f"t{self.count}", SPEC)

    def at(self) -> float:
        """How far the task is, whether or not that was sent already."""
        if self.seat.view is not None:
            self.seat.view._send_held(early=True)
        return self.sent[-1].progress if self.sent else 0.0


@pytest.fixture
def rig() -> Rig:
    return Rig()


def take(loop: Iterator[int], count: int) -> None:
    for _ in range(count):
        next(loop)


def test_the_inner_loop_moves_the_outer_step(rig: Rig) -> None:
    """With two of four done outside and half done inside, the task is at 2.5 / 4; a third level splits it again."""
    seen: list[float] = []

    def work() -> None:
        for outer in track(range(4), message="outer"):
            for inner in track("ab"):
                if (outer, inner) == (2, "b"):
                    seen.append(rig.at())
                    for _ in track(range(10)):
                        if _ == 5:
                            seen.append(rig.at())

    sent = rig.run(work)
    assert seen == pytest.approx([2.5 / 4, (2 + 0.5 + 0.5 * 0.5) / 4])
    assert (sent[-1].progress, sent[-1].completed_steps, sent[-1].total_steps) == (1.0, 4, 4)
    assert {update.message for update in sent} == {"outer"}
    assert [update.progress for update in sent] == sorted(update.progress for update in sent)


def test_a_loop_left_early_counts_as_far_as_it_came(rig: Rig) -> None:
    """Left by `break` or by an exception, kept or not, an inner loop is no part of the next step."""
    seen: list[float] = []

    def work() -> None:
        kept: list[Iterator[int]] = []
        for step in track(range(4)):
            if step == 0:
                for item in track(range(10)):
                    if item == 5:
                        break
                seen.append(rig.at())
            elif step == 1:
                kept.append(track(range(10)))
                take(kept[0], 3)
                seen.append(rig.at())
            elif step == 2:
                for item in track(range(2)):
                    if item == 1:
                        seen.append(rig.at())

    rig.run(work)
    assert seen == pytest.approx([0.5 / 4, 1.2 / 4, 2.5 / 4])


def test_a_loop_of_the_task_before_is_around_nothing(rig: Rig) -> None:
    """A generator that a task left behind, and that is still referred to, has no say in the next task's progress."""
    kept: list[Iterator[int]] = []

    def leaves() -> None:
        kept.append(track(range(100)))
        take(kept[0], 50)
        rig.seat.finish()
        rig.begin()
        for item in track(range(2)):
            if item == 1:
                assert rig.at() == 0.5

    assert rig.run(leaves)[-1].progress == 1.0


def test_coroutines_side_by_side_share_the_step(rig: Rig) -> None:
    """Loops in coroutines that one step waits for together move it together, each by its share."""
    seen: list[float] = []

    async def part(items: int, turn: asyncio.Event, over: asyncio.Event) -> None:
        for item in track(range(items)):
            await asyncio.sleep(0)  # both have begun before one is a step further
            if item == 1:
                turn.set()
                await over.wait()

    async def gather() -> None:
        turns, over = [asyncio.Event(), asyncio.Event()], asyncio.Event()
        for step in track(range(2)):
            if step == 1:
                parts = [part(items, turn, over) for items, turn in zip((2, 4), turns, strict=True)]
                tasks = [asyncio.ensure_future(one) for one in parts]
                for turn in turns:
                    await turn.wait()
                seen.append(rig.at())
                over.set()
                await asyncio.gather(*tasks)

    rig.run(lambda: asyncio.run(gather()))
    assert seen == pytest.approx([(1 + (0.5 + 0.25) / 2) / 2])


def test_loops_without_a_length(rig: Rig) -> None:
    """Of those only how many were done is told; inside another they leave its step where it was; `total` helps."""
    seen: list[float] = []

    def work() -> None:
        for step in track(range(2)):
            for _ in track(iter("abc")):
                seen.append(rig.at())
            for item in track(iter("ab"), total=2):
                if (step, item) == (1, "b"):
                    seen.append(rig.at())

    rig.run(work)
    assert seen[:3] == [0.0, 0.0, 0.0]
    assert seen[-1] == pytest.approx((1 + 0.5 / 2) / 2)
    alone = rig.run(lambda: list(track(iter("abc"))))
    assert (alone[-1].completed_steps, alone[-1].total_steps, alone[-1].progress) == (3, None, 0.0)


def test_a_loop_that_claims_too_little_does_not_pass_one(rig: Rig) -> None:
    """More items than `total` said, and none at all, are no harm."""
    assert rig.run(lambda: list(track(range(10), total=4)))[-1].progress == 1.0
    assert rig.run(lambda: list(track([]))) == []


def test_outside_a_task_items_are_just_given() -> None:
    """Without a task `track` is the iterable, closed with it."""
    assert list(track(range(3))) == [0, 1, 2]


def test_what_is_held_back_is_sent_in_time(rig: Rig) -> None:
    """A task that says two things at once and then nothing for long is shown where it is, not where it was."""

    def work() -> None:
        rung: list[Callable[[], None]] = []
        rig.seat = QuietSeat("w", rig.sent.append, rung)
        bind(rig.seat)
        rig.begin()
        task = current_task()
        task.progress(0.2)
        task.progress(0.4)
        assert [update.progress for update in rig.sent] == [0.2]
        assert len(rung) == 1, "one bell, however much is held"
        task._sent_at -= 1.0  # its time has come
        rung.pop()()
        assert [update.progress for update in rig.sent] == [0.2, 0.4]
        task.progress(0.5)
        rung.pop()()
        assert len(rung) == 1, "it was early, and rings again"
        rig.seat.finish()
        rung.pop()()
        assert ([update.progress for update in rig.sent], rung) == ([0.2, 0.4, 0.5], [])

    rig.run(work)


def test_where_no_thread_can_be_had_the_end_sends_what_is_held(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Telling progress never fails for want of a thread."""

    def none(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Seat, "later", none)
    assert [update.progress for update in rig.run(lambda: [current_task().progress(n / 4) for n in (1, 2, 3)])] == [
        0.25,
        0.75,
    ]


class QuietSeat(Seat):
    """A seat whose bell is rung by hand."""

    __slots__ = ("_rung",)

    def __init__(self, worker_id: str, send: Callable[[ProgressUpdate], None], rung: list[Callable[[], None]]) -> None:
        super().__init__(worker_id, send)
        self._rung = rung

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._rung.append(call)
