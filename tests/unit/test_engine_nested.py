"""Tasks that wait for tasks of their own pool: what the engine lends for them, and when it refuses a wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.messages import (
    ExecutorUp,
    Lend,
    Reported,
    Start,
    Stimulus,
    Submit,
    Tangled,
    Waits,
)
from longshore._engine.nested import NESTED_MOST, PATIENCE_S
from longshore.task import Attempt, Outcome, Resources, TaskSpec, TaskState


def work() -> None:
    """Stand for a user's function."""


class Nest:
    """An engine whose executor grows and shrinks as it is told to."""

    def __init__(self, slots: int = 1, **config: Any) -> None:
        self.engine = Engine(EngineConfig(**config))
        self.slots = slots
        self.now = 0.0
        self.running: list[str] = []
        self.lent: list[int] = []
        self.tangled: list[Tangled] = []
        self.handle(ExecutorUp("quay", slots, runs_ahead=False))

    def handle(self, *stimuli: Stimulus) -> None:
        more: list[Stimulus] = []
        for command in self.engine.handle(stimuli, self.now):
            if isinstance(command, Start):
                self.running += [attempt.task_id for attempt in command.attempts]
            elif isinstance(command, Lend):
                self.lent.append(command.extra)
                more.append(ExecutorUp("quay", self.slots + command.extra, runs_ahead=False))
            elif isinstance(command, Tangled):
                self.tangled.append(command)
        if more:
            self.handle(*more)

    def submit(self, *ids: str, **options: Any) -> None:
        spec = TaskSpec(function=work, name="work", executor="quay", **options)
        self.handle(Submit(spec, [Attempt(task_id, spec) for task_id in ids]))

    def waits(self, *ids: str) -> None:
        self.handle(*[Waits(task_id, True) for task_id in ids])

    def goes_on(self, *ids: str) -> None:
        self.handle(*[Waits(task_id, False) for task_id in ids])

    def ends(self, *ids: str) -> None:
        self.running = [task_id for task_id in self.running if task_id not in ids]
        self.handle(Reported("quay", [_completed(task_id) for task_id in ids]))

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.handle()


def _completed(task_id: str) -> Outcome:
    return Outcome(task_id, None, 0, "work", TaskState.COMPLETED)


def test_a_task_that_waits_lends_its_worker_and_gets_it_back() -> None:
    """The one worker's task waits for a second: that runs, and then there is one worker again."""
    nest = Nest()
    nest.submit("parent", "child")
    assert nest.running == ["parent"]
    nest.waits("parent")
    assert nest.running == ["parent", "child"]
    assert "waits for other tasks" in (nest.engine.why("parent", nest.now) or "")
    nest.ends("child")
    nest.goes_on("parent")
    assert "waits" not in (nest.engine.why("parent", nest.now) or "")
    assert nest.lent == [1, 0]
    nest.ends("parent")
    assert nest.engine.idle
    assert not nest.tangled


def test_no_more_are_begun_than_there_are_workers() -> None:
    """Of many children of a task that waits, as many run as there are workers."""
    nest = Nest(slots=2)
    nest.submit("parent", *[f"child-{number}" for number in range(5)])
    nest.waits("parent")
    assert nest.running == ["parent", "child-0", "child-1"]


def test_tasks_that_wait_do_not_count_against_the_cap_over_all() -> None:
    """max_concurrent_tasks bounds those that run, not those that wait for them."""
    nest = Nest(slots=1, max_concurrent_tasks=1)
    nest.submit("a", "b", "c")
    nest.waits("a")
    nest.waits("b")
    assert nest.running == ["a", "b", "c"]


def test_nothing_is_lent_where_nothing_waits_for_a_worker() -> None:
    """Who waits for what runs elsewhere, or already, costs no further worker."""
    nest = Nest(slots=2)
    nest.submit("parent", "child")
    nest.waits("parent")
    assert nest.lent == []


def test_a_task_that_waits_in_several_places_lends_one_worker() -> None:
    """Two waits of one task are one task that waits, until both are over."""
    nest = Nest()
    nest.submit("parent", "child", "other")
    nest.waits("parent", "parent")
    assert nest.running == ["parent", "child"]
    nest.ends("child")
    nest.goes_on("parent")
    assert nest.running == ["parent", "other"]


def test_a_task_that_ends_with_a_wait_open_gives_its_worker_back() -> None:
    """A wait that was left open, by a coroutine that goes on elsewhere, ends with the attempt."""
    nest = Nest()
    nest.submit("parent", "child")
    nest.waits("parent")
    nest.ends("parent")
    nest.goes_on("parent")
    nest.ends("child")
    nest.submit("a", "b")
    assert nest.running == ["a"]


def test_a_wait_is_refused_when_nothing_can_go_on_for_long() -> None:
    """The child wants what its parent holds: after a while the newest wait is refused, with what is lacking."""
    nest = Nest(slots=2, capacity={"gpu": 1.0})
    nest.submit("parent", "child", resources=Resources(gpu=1))
    nest.waits("parent")
    assert nest.engine.next_due() == PATIENCE_S
    nest.passes(PATIENCE_S / 2)
    assert not nest.tangled
    nest.passes(PATIENCE_S / 2)
    (tangled,) = nest.tangled
    assert tangled.task_ids == ["parent"]
    assert "gpu" in tangled.message
    nest.ends("parent")
    nest.ends("child")
    assert nest.engine.next_due() is None


def test_a_wait_is_not_refused_while_anything_may_let_it_end() -> None:
    """While another task runs, or the pool is paused, or an executor is yet to come up, nobody is told off."""
    nest = Nest(slots=2, capacity={"gpu": 1.0})
    nest.submit("parent", "child", resources=Resources(gpu=1))
    nest.submit("other")
    nest.waits("parent")
    nest.passes(10 * PATIENCE_S)
    nest.passes(10 * PATIENCE_S)
    assert not nest.tangled


def test_workers_are_lent_up_to_a_stated_number_and_then_a_wait_is_refused() -> None:
    """A chain of tasks that each wait for the next goes NESTED_MOST deep beyond the workers there are."""
    nest = Nest(max_queue_size=NESTED_MOST * 2)
    ids: Sequence[str] = [f"t{number}" for number in range(NESTED_MOST + 2)]
    nest.submit(*ids)
    for task_id in ids[:-1]:
        assert nest.running[-1] == task_id
        nest.waits(task_id)
    assert max(nest.lent) == NESTED_MOST
    assert len(nest.running) == NESTED_MOST + 1
    nest.passes(PATIENCE_S)
    assert nest.tangled[0].task_ids[0] == ids[-2]
