"""Workers that follow their load: what waits and what is used go in, how many there are to be comes out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from longshore._engine.config import EngineConfig, ScaleBounds
from longshore._engine.engine import Engine
from longshore._engine.messages import ExecutorUp, Keep, Measured, Pause, Reported, Scale, Start, Submit, Tell, Tick
from longshore._engine.scaling import GROW_AFTER_S, LATE_S, LOOK_S, SHORT_IDLE_S
from longshore.events import Happened
from longshore.records import Load
from longshore.task import Attempt, Outcome, Resources, TaskSpec, TaskState


class Yard:
    """An engine with one executor between bounds, which obeys at once; the test moves the clock."""

    def __init__(
        self, least: int = 1, most: int = 8, idle_s: float = 30.0, begin: int = 1, cap: int = 50, deaf: bool = False
    ) -> None:
        bounds = {"quay": ScaleBounds(least, most, idle_s)}
        self.engine = Engine(EngineConfig(max_concurrent_tasks=cap, scaling=bounds, capacity={"licence": 2.0}))
        self.now, self.deaf, self.count = 0.0, deaf, 0
        self.running: dict[str, Attempt] = {}
        self.workers = begin
        self.changes: list[tuple[float, int]] = []
        self.events: list[dict[str, Any]] = []
        self.busy: list[tuple[float, int]] = [(0.0, 0)]
        self.handle(ExecutorUp("quay", begin, runs_ahead=False))

    def handle(self, stimulus: Any) -> None:
        self.busy.append((self.now, len(self.running)))
        for command in self.engine.handle([stimulus], self.now):
            match command:
                case Start():
                    self.running.update({attempt.task_id: attempt for attempt in command.attempts})
                case Scale():
                    self.changes.append((self.now, command.workers))
                    self.workers = self.workers if self.deaf else command.workers
                case Tell(batch=Happened(type="workers_scaled", data=data)):
                    self.events.append(dict(data))
                case _:
                    pass
        self.busy.append((self.now, len(self.running)))
        if self.changes and self.changes[-1][0] == self.now and not self.deaf and not isinstance(stimulus, ExecutorUp):
            self.handle(ExecutorUp("quay", self.workers, runs_ahead=False))

    def submit(self, count: int, resources: Resources | None = None) -> list[str]:
        spec = TaskSpec(function=print, name="work", executor="quay", resources=resources)
        ids = [f"t{self.count + number}" for number in range(count)]
        self.count += count
        self.handle(Submit(spec, [Attempt(name, spec, queued_at=self.now) for name in ids]))
        return ids

    def end(self, count: int) -> None:
        for name in list(self.running)[:count]:
            attempt = self.running.pop(name)
            done = Outcome(name, None, 0, "work", TaskState.COMPLETED, attempts=attempt.number, ran_s=0.1)
            self.handle(Reported("quay", [done]))

    def wait(self, seconds: float) -> None:
        """Let time pass; the engine is called when it asked to be, and at the end."""
        until = self.now + seconds
        while (due := self.engine.next_due()) is not None and due < until:
            self.now = max(due, self.now)
            before = len(self.changes)
            self.handle(Tick())
            if self.engine.next_due() == due and len(self.changes) == before:
                self.now += 1e-3  # as a timer that fires late
        self.now = until
        self.handle(Tick())

    def measure(self, usage: float) -> None:
        self.handle(Measured({"memory": Load(usage, 75.0, 65.0, None, "%", 750.0, 10.0)}, valid_s=1000.0))


Step = tuple[str, float]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(1, 12).map(float)),
        st.tuples(st.just("end"), st.integers(1, 12).map(float)),
        st.tuples(st.just("wait"), st.sampled_from([0.05, 0.3, 1.0, 3.0, 11.0, 31.0])),
        st.tuples(st.just("measure"), st.sampled_from([20.0, 70.0, 80.0])),
    ),
    max_size=40,
)


def play(yard: Yard, steps: Sequence[Step]) -> None:
    for what, amount in steps:
        {
            "submit": lambda amount: yard.submit(int(amount)),
            "end": lambda amount: yard.end(int(amount)),
            "wait": yard.wait,
            "measure": yard.measure,
        }[what](amount)


@pytest.mark.scaling
@given(STEPS, st.integers(1, 3), st.integers(0, 5))
def test_the_bounds_hold_and_no_change_follows_too_soon(steps: list[Step], least: int, more: int) -> None:
    """Never fewer than the least nor more than the most; up once in GROW_AFTER_S, down idle_s after any change."""
    yard = Yard(least, least + more, idle_s=10.0, begin=least)
    play(yard, steps)
    assert all(least <= workers <= least + more for _, workers in yard.changes)
    assert bool(yard.changes) <= bool(more)
    told = [(0.0, least), *yard.changes]
    for (at, before), (then, after) in pairwise(told):
        assert after != before
        assert then - at >= (GROW_AFTER_S if after > before else min(SHORT_IDLE_S, 10.0)) - 1e-6
    assert [event["workers"] for event in yard.events] == [workers for _, workers in yard.changes]


@pytest.mark.scaling
@given(STEPS)
def test_a_worker_that_was_used_lately_stays(steps: list[Step]) -> None:
    """There are never fewer workers than were busy at once, for as long as a look takes, within the last `idle_s`."""
    yard = Yard(1, 6, idle_s=10.0)
    play(yard, [step for step in steps if step[0] != "measure"])
    before = 1
    for at, workers in yard.changes:
        if workers < before:
            seen = [(since, busy, until) for (since, busy), (until, _) in pairwise(yard.busy) if until - since > LOOK_S]
            within = [busy for since, busy, until in seen if until > at - 10.0 and since <= at]
            assert workers >= max(within, default=0)
        before = workers


@pytest.mark.scaling
@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(5, 12))
def test_what_waits_gets_as_many_workers_as_there_may_be_and_idleness_takes_them_back(least: int, most: int) -> None:
    """With work for all it grows to the most by parts; without any it is back at the least, and wants no more looks."""
    yard = Yard(least, most, begin=least)
    yard.submit(60)
    yard.wait(30.0)
    assert yard.workers == most == len(yard.running)
    ups = [workers for _, workers in yard.changes]
    assert ups == sorted(ups)
    while yard.running:
        yard.end(most)
    yard.wait(31.0)
    assert yard.workers == least
    assert yard.engine.next_due() is None


@pytest.mark.scaling
def test_a_swing_shorter_than_the_window_moves_nothing() -> None:
    """A burst each ten seconds keeps the workers it needs: it does not cost a start and an end each time."""
    yard = Yard(1, 4, idle_s=30.0)
    yard.submit(8)
    yard.wait(10.0)
    grown = len(yard.changes)
    assert yard.workers == 4
    for _ in range(20):
        yard.end(4)
        yard.submit(4)
        yard.wait(0.2)
        yard.end(8)
        yard.wait(10.0)
    assert len(yard.changes) == grown


@pytest.mark.scaling
def test_there_is_no_growth_that_nothing_could_use() -> None:
    """What waits for a licence, for the cap over all, for a pause to end or for memory gets no more workers."""
    licences = Yard(2, 8, begin=2)
    licences.submit(10, Resources(custom={"licence": 1}))
    capped = Yard(2, 8, begin=2, cap=2)
    capped.submit(10)
    short = Yard(2, 8, begin=2)
    short.measure(70.0)
    short.submit(10)
    paused = Yard(2, 8, begin=2)
    paused.submit(10)
    paused.handle(Pause())
    for yard in (licences, capped, short, paused):
        yard.wait(20.0)
        assert not yard.changes


@pytest.mark.scaling
def test_growth_waits_for_the_workers_that_were_asked_for() -> None:
    """An executor that does not get its workers is not asked for more each second, and after a while that is told."""
    yard = Yard(1, 8, deaf=True)
    yard.submit(20)
    yard.wait(10.0)
    assert [workers for _, workers in yard.changes] == [2]
    assert not yard.engine.scaled_late(yard.now)
    yard.wait(LATE_S)
    (late,) = yard.engine.scaled_late(yard.now)
    assert "was to have 2 workers" in late


@pytest.mark.scaling
def test_idle_workers_go_sooner_while_memory_is_short() -> None:
    """Above the warning level of memory a worker that is not used goes after SHORT_IDLE_S, for what it holds."""
    yard = Yard(1, 4, begin=4)
    yard.measure(70.0)
    yard.wait(SHORT_IDLE_S + 0.2)
    assert yard.workers == 1
    assert yard.events[-1]["reason"] == "at most 0 were used in 5 s"


@pytest.mark.scaling
def test_workers_that_were_set_by_hand_stay() -> None:
    """Whoever resizes has the last word: no load changes that number."""
    yard = Yard(1, 8)
    yard.handle(Keep("quay"))
    yard.handle(ExecutorUp("quay", 3, runs_ahead=False))
    yard.submit(20)
    yard.wait(60.0)
    assert not yard.changes
    assert not yard.engine.scaled()


@pytest.mark.scaling
def test_a_task_that_waits_for_a_worker_is_told_that_there_may_be_more() -> None:
    """`explain` says that all workers are busy, and up to how many there may come to be."""
    yard = Yard(1, 3)
    *_, last = yard.submit(3)
    assert "1 of 1 workers of quay are busy; there are more when that lasts, up to 3" in str(yard.engine.why(last, 0.0))
    state = yard.engine.scaled()["quay"]
    assert (state.workers, state.min_workers, state.max_workers, state.last) == (1, 1, 3, None)
