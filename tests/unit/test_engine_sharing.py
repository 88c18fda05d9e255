"""Executors on a machine that runs short: how many of their workers they may use, and what they are given ahead."""

from __future__ import annotations

import pytest
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.messages import Command, ExecutorUp, Limit, Measured, Reported, Start, Submit
from longshore._engine.place import Place
from longshore._engine.sharing import share_out
from longshore.records import Load
from longshore.task import Attempt, Outcome, Resources, TaskSpec, TaskState

BUSY = Measured({"cpu": Load(90.0, 80.0, 70.0, 0.0)})
CALM = Measured({"cpu": Load(10.0, 80.0, 70.0, 0.0)})


def work() -> None:
    """Stand for a user's function."""


def spec_of(executor: str = "quay", resources: Resources | None = None) -> TaskSpec:
    return TaskSpec(function=work, name="work", executor=executor, resources=resources)


def submitted(spec: TaskSpec, count: int, prefix: str = "t", first_at: float = 0.0) -> Submit:
    """Tasks that were queued one after the other, a millionth of a second apart."""
    return Submit(spec, [Attempt(f"{prefix}{n}", spec, queued_at=first_at + n * 1e-6) for n in range(count)])


def ended(command: Start, ran_s: float = 0.00001) -> Reported:
    outcomes = [
        Outcome(one.task_id, None, 0, "work", TaskState.COMPLETED, attempts=one.number, ran_s=ran_s)
        for one in command.attempts
    ]
    return Reported(command.executor, outcomes)


def starts(commands: list[Command]) -> list[Start]:
    return [command for command in commands if isinstance(command, Start)]


def limits(commands: list[Command]) -> list[tuple[str, int | None]]:
    return [(command.executor, command.workers) for command in commands if isinstance(command, Limit)]


def place_of(name: str, slots: int, held: int, waiting: int = 0) -> Place:
    place = Place(name)
    place.up(slots, runs_ahead=True, limits=True)
    place.held, place.waiting = held, waiting
    return place


@pytest.mark.requirement("req:G19")
def test_short_tasks_go_ahead_under_a_cap_where_the_executor_keeps_it() -> None:
    """With the CPU used by others one task runs at a time, and yet the executor gets its short tasks by the dozen."""
    for keeps, ahead in ((True, True), (False, False)):
        engine = Engine(EngineConfig(max_queue_size=10_000))
        commands = engine.handle([ExecutorUp("quay", 4, True, keeps), BUSY, submitted(spec_of(), 5000)], 0.0)
        given: list[int] = []
        told: list[tuple[str, int | None]] = []
        for turn in range(1, 12):
            told += limits(commands)
            given += [len(start.attempts) for start in starts(commands)]
            commands = engine.handle([ended(start) for start in starts(commands)], turn * 0.001)
        assert engine.concurrency == 1
        assert (given[-1] > 100) is ahead, given
        assert told == ([("quay", 1)] if ahead else [])


def test_all_workers_are_used_again_when_the_machine_is_calm() -> None:
    """The limit is lifted with the cap, also if nothing starts just then."""
    engine = Engine()
    commands = engine.handle([ExecutorUp("quay", 4, True, True), submitted(spec_of(), 200)], 0.0)
    commands = engine.handle([ended(starts(commands)[0])], 0.001)
    assert not limits(commands)
    assert limits(engine.handle([BUSY], 1.0)) == [("quay", 1)], "what it was given ahead is held back as well"
    engine.handle([CALM], 2.0)
    seconds = [limits(engine.handle([CALM], 3.0 + second)) for second in range(20)]
    assert [told for told in seconds if told][-1] == [("quay", None)]


def test_what_is_counted_is_given_one_for_each_worker_that_may_run() -> None:
    """Under a cap a task that reserves something is not handed out ahead, whatever the executor can keep."""
    engine = Engine()
    spec = spec_of(resources=Resources(cpu=0.01))
    commands = engine.handle([ExecutorUp("quay", 4, True, True), BUSY, submitted(spec, 50)], 0.0)
    assert [len(start.attempts) for start in starts(commands)] == [1]


def test_nothing_is_given_ahead_while_another_executor_waits_for_its_turn() -> None:
    """Where the tasks of two wait, the cap is shared one by one, whoever waits longest first."""
    engine = Engine()
    up = [ExecutorUp("quay", 4, True, True), ExecutorUp("yard", 4, True, True)]
    commands = engine.handle([*up, BUSY, submitted(spec_of(), 50), submitted(spec_of("yard"), 50, "u", 5e-7)], 1.0)
    order: list[str] = []
    for turn in range(1, 9):
        assert sum(len(start.attempts) for start in starts(commands)) == 1
        order += [start.executor for start in starts(commands)]
        commands = engine.handle([ended(start) for start in starts(commands)], 1.0 + turn * 0.001)
    assert order == ["quay", "yard"] * 4


def test_the_cap_is_shared_among_those_that_hold_something() -> None:
    """Who could use least is served first; nobody that holds something is left out while others have two."""
    quay, yard, dock = place_of("quay", 8, 100), place_of("yard", 8, 100), place_of("dock", 8, 1)
    told = {limit.executor: limit.workers for limit in share_out([quay, yard, dock], 6)}
    assert told == {"quay": 2, "yard": 3} or told == {"quay": 3, "yard": 2}
    assert sum(place.busy() for place in (quay, yard, dock)) == 6
    assert not share_out([quay, yard, dock], 6), "what has not changed is not told again"
    assert {limit.workers for limit in share_out([quay, yard, dock], 50)} == {None}


def test_workers_of_tasks_that_wait_for_others_do_not_count() -> None:
    """A task that waits for another holds its worker and uses none: the limit leaves room for both."""
    quay = place_of("quay", 8, 100, waiting=3)
    assert [limit.workers for limit in share_out([quay], 2)] == [5]
    assert quay.busy() == 2
