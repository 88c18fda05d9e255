"""Who is ended when memory runs out, and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.learning import KINDS_MOST
from longshore._engine.messages import Command, ExecutorUp, InUse, Measured, Reported, Shed, Start, Stimulus, Submit
from longshore._engine.shedding import Candidate, Shedding, shed_level, victim
from longshore.records import Load
from longshore.task import Attempt, Outcome, Priority, Resources, RetryPolicy, TaskSpec, TaskState
from longshore.testing._laws import EngineLaws


def work() -> None:
    """Stand for a user's function."""


def spec_of(**options: Any) -> TaskSpec:  # Any: options of a spec
    return TaskSpec(**{"function": work, "name": "work", "executor": "quay", **options})


def candidate(name: str, used: float, reserved: float = 0.0, ran: float = 1.0, **options: Any) -> Candidate:  # Any
    return Candidate(Attempt(name, spec_of(**options)), InUse(used, ran), reserved)


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        ([candidate("a", 900, 100), candidate("b", 1000, 900)], "a"),
        ([candidate("a", 900, 1000, 9.0), candidate("b", 900, 1000, 1.0)], "b"),
        ([candidate("a", 900, 1000), candidate("b", 900, 1000, priority=Priority.LOW)], "b"),
        ([candidate("a", 900, 1000), candidate("b", 900, 1000, 9.0, retry=RetryPolicy(attempts=3))], "b"),
        ([candidate("a", 0.2)], None),
        ([], None),
    ],
    ids=["over", "youngest", "priority", "retriable", "small", "none"],
)
def test_who_is_ended(candidates: Sequence[Candidate], chosen: str | None) -> None:
    """Who is over what it reserved by most; else the least urgent, then who may be tried again, then the youngest."""
    found = victim(candidates)
    assert (found.attempt.task_id if found is not None else None) == chosen


def test_tasks_are_ended_well_above_the_limit_only() -> None:
    """The limit stops what is new; halfway from there to all there is, running tasks are ended."""
    assert shed_level(Load(0.0, 75.0)) == 87.5
    assert shed_level(Load(0.0, 95.0)) == 95.0
    assert shed_level(Load(0.0, 100.0)) == 100.0
    assert shed_level(Load(0.0, 500.0, unit="MB")) == 500.0


def test_an_executor_that_does_not_answer_stops_nothing() -> None:
    """A victim that does not end in ten seconds is no reason to let the machine run full."""
    shedding, one = Shedding(), candidate("a", 900.0)
    memory = Load(92.0, 75.0)
    seen = [shedding.see(memory, float(second), 2, lambda: [one]) for second in range(14)]
    assert [second for second, found in enumerate(seen) if found is not None] == [1, 11]


def test_names_that_come_and_go_while_memory_is_short_are_forgotten() -> None:
    """A pool that sees a new name with every task does not grow by them, nor do its lanes."""
    engine = Engine(EngineConfig(max_queue_size=100, capacity={"memory": 1000.0}))
    short = Measured({"memory": Load(66.0, 75.0, 65.0, 1.0, "%", 1000.0, 10.0)}, valid_s=1e9)
    engine.handle([ExecutorUp("quay", 2, True, True, True), short], 0.0)
    for number in range(1500):
        spec = TaskSpec(function=work, name=f"n{number}", executor="quay")
        attempt = Attempt(f"t{number}", spec, queued_at=number * 0.01)
        engine.handle([Submit(spec, [attempt])], number * 0.01)
        done = Outcome(attempt.task_id, None, 0, spec.name, TaskState.COMPLETED, ran_s=0.001)
        engine.handle([Reported("quay", [done])], number * 0.01)
    assert engine.idle
    assert len(engine._dispatch.aside.kinds) <= KINDS_MOST + 1
    assert not engine._dispatch._lanes


def test_a_victim_that_kept_to_what_it_reserved_reserves_no_more() -> None:
    """It was ended for others' sake: what it said it needs was enough."""
    engine = Engine(EngineConfig(capacity={"memory": 10_000.0}))
    spec = spec_of(executor="quay", resources=Resources(memory_mb=3000.0))
    up = ExecutorUp("quay", 4, True, True, True)
    engine.handle([up, Submit(spec, [Attempt("a", spec), Attempt("b", spec)])], 0.0)
    high = Measured({"memory": Load(92.0, 75.0, 65.0, 50.0, "%", 10_000.0, 133.3)}, tasks={"a": InUse(1000.0, 5.0)})
    engine.handle([high], 1.0)
    (shed,) = [command for command in engine.handle([high], 2.0) if isinstance(command, Shed)]
    assert tuple(shed.task_ids) == ("a",)
    assert engine._dispatch.aside.raised == {"a": 3000.0}


AGAIN = RetryPolicy(attempts=3, backoff=0.0)


def short_of_memory(**used_mb: float) -> Measured:
    """Return a reading above which tasks are ended at once."""
    memory = Load(98.0, 75.0, 65.0, 40.0, "%", 10_000.0, 133.3)
    return Measured({"memory": memory}, tasks={name: InUse(used, 5.0) for name, used in used_mb.items()})


def ended(task_id: str, number: int, state: TaskState, ran_s: float = 1.0) -> Reported:
    return Reported("quay", [Outcome(task_id, None, 0, "work", state, attempts=number, ran_s=ran_s)])


class Watched:
    """An engine under watch with tasks that run, and room to try them again at once."""

    def __init__(self, *names: str) -> None:
        self.laws = EngineLaws(Engine(EngineConfig(capacity={"memory": 10_000.0})))
        self.now = 0.0
        spec = spec_of(retry=AGAIN)
        self.tell(ExecutorUp("quay", 4, True, True, True), Submit(spec, [Attempt(name, spec) for name in names]))

    def tell(self, *stimuli: Stimulus) -> list[str]:
        """Return what was ended for its memory, and what was started, in order."""
        commands = self.laws.handle(stimuli, self.now)
        self.now += 0.5
        return [told for command in commands for told in _in_words(command)]


def _in_words(command: Command) -> list[str]:
    if isinstance(command, Shed):
        return [f"end {task_id}" for task_id in command.task_ids]
    return [f"start {one.task_id}.{one.number}" for one in command.attempts] if isinstance(command, Start) else []


def test_a_victim_whose_own_end_comes_with_the_reading_is_asked_before_it_starts_again() -> None:
    """A request that comes too late is for the attempt that has ended: the next one starts after it, and is its own."""
    watched = Watched("a", "b")
    ends = ended("a", 1, TaskState.FAILED), ended("b", 1, TaskState.COMPLETED)
    assert watched.tell(short_of_memory(a=900.0, b=100.0), *ends) == ["end a", "start a.2"]
    watched.tell(ended("a", 2, TaskState.CANCELLED))
    assert watched.laws.outcomes["a"].state is TaskState.CANCELLED


def test_all_that_ran_may_have_ended_when_the_request_goes_out() -> None:
    """What ran beside the victim as memory was read counts, also if it is over before anybody is asked."""
    watched = Watched("a", "b")
    ends = [ended(name, 1, TaskState.COMPLETED) for name in "ab"]
    assert watched.tell(short_of_memory(a=900.0, b=100.0), *ends) == ["end a"]
    watched.laws.check_end()


def test_a_late_report_of_a_former_attempt_is_not_the_end_of_the_victim() -> None:
    """Nobody else is ended while the victim is still being ended, whatever is heard of its attempts before."""
    watched = Watched("a", "b", "c")
    assert watched.tell(ended("a", 1, TaskState.FAILED)) == ["start a.2"]
    use = {"a": 900.0, "b": 100.0, "c": 100.0}
    assert watched.tell(short_of_memory(**use)) == ["end a"]
    watched.tell(ended("a", 1, TaskState.FAILED))
    for _ in range(4):
        assert watched.tell(short_of_memory(**use)) == []
    watched.tell(ended("a", 2, TaskState.CANCELLED))
    assert "a" not in watched.laws.outcomes


def test_who_waited_for_an_executor_before_it_was_up_is_not_overtaken() -> None:
    """Tasks that came before their executor said what it tells of memory go before those after, however short it is."""
    watched, spec = Watched(), spec_of(executor="yard")
    warned, fine = (Measured({"memory": Load(used, 75.0, 65.0, 1.0, "%", 10_000.0, 133.3)}) for used in (70.0, 10.0))
    watched.tell(warned, Submit(spec, [Attempt("a", spec), Attempt("b", spec)]))
    assert watched.tell(ExecutorUp("yard", 1, False, True, True)) == ["start a.1"]
    watched.tell(Submit(spec, [Attempt("c", spec, queued_at=watched.now)]))
    for reading in (fine, fine, fine, fine, warned):
        assert watched.tell(reading) == []
    done = Outcome("a", None, 0, "work", TaskState.COMPLETED, ran_s=1.0)
    assert watched.tell(Reported("yard", [done])) == ["start b.1"]


def test_who_waits_for_memory_keeps_what_else_it_needs() -> None:
    """A kind that is known to take much and has waited for two seconds is not passed by others that want its cores."""
    watched = Watched()
    heavy, light = (spec_of(name=name, resources=Resources(cpu=1)) for name in ("heavy", "light"))
    watched.tell(Submit(heavy, [Attempt("h0", heavy)]))
    seen = Outcome("h0", None, 0, "heavy", TaskState.COMPLETED, ran_s=1.0, peak_memory_mb=8000.0)
    watched.tell(Reported("quay", [seen]))
    heavies = Submit(heavy, [Attempt(name, heavy, queued_at=watched.now) for name in ("h1", "h2")])
    assert watched.tell(heavies) == ["start h1.1"]
    watched.now += 3.0
    assert watched.tell(Submit(light, [Attempt("l", light, queued_at=watched.now)])) == []
    assert watched.tell(ended("h1", 1, TaskState.COMPLETED)) == ["start h2.1", "start l.1"]
