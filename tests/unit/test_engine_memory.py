"""Memory in the engine: kinds that take much are counted, what runs out is freed, what was too little is made good."""

from __future__ import annotations

from typing import Any

import pytest
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.learning import starts_at_once
from longshore._engine.messages import (
    Cancel,
    Command,
    ExecutorUp,
    InUse,
    Measured,
    Reported,
    Settle,
    Shed,
    Start,
    Submit,
    Tell,
    Waits,
)
from longshore.errors import MemoryLimitExceeded
from longshore.events import TaskRetrying
from longshore.records import Load
from longshore.task import Attempt, ErrorRecord, Outcome, Resources, RetryPolicy, TaskSpec, TaskState

LIMIT_MB = 10_000.0


def work() -> None:
    """Stand for a user's function."""


def spec_of(name: str = "work", **options: Any) -> TaskSpec:  # Any: options of a spec
    return TaskSpec(**{"function": work, "name": name, "executor": "quay", **options})


def reading(percent: float, own: float = 0.0, **tasks: InUse) -> Measured:
    """Return what is measured of a machine on which tasks may use 10 GB, which is 75 % of it."""
    per_unit = LIMIT_MB / 75.0
    return Measured({"memory": Load(percent, 75.0, 65.0, own, "%", LIMIT_MB, per_unit)}, tasks=tasks)


class Rig:
    """An engine with one executor that tells what memory its tasks take, and what it was told to do."""

    def __init__(self, workers: int = 4, learnt: dict[str, Any] | None = None) -> None:  # Any: JSON-safe values
        capacity = {"memory": LIMIT_MB}
        self.engine = Engine(EngineConfig(max_queue_size=10_000, capacity=capacity, learnt=learnt or {}))
        self.running: dict[str, Attempt] = {}
        self.commands: list[Command] = []
        self.now = 0.0
        self.tell(ExecutorUp("quay", workers, True, True, True))

    def tell(self, *stimuli: Any, passed_s: float = 0.0) -> list[Command]:  # Any: stimuli
        self.now += passed_s
        self.commands = self.engine.handle(stimuli, self.now)
        for command in self.commands:
            if isinstance(command, Start):
                self.running |= {attempt.task_id: attempt for attempt in command.attempts}
        return self.commands

    def submit(self, spec: TaskSpec, *ids: str, args: tuple[Any, ...] = ()) -> None:  # Any: arguments
        self.tell(Submit(spec, [Attempt(task_id, spec, args, queued_at=self.now) for task_id in ids]))

    def report(self, *ids: str, state: TaskState = TaskState.COMPLETED, **facts: Any) -> None:  # Any: of an outcome
        outcomes = []
        for task_id in ids:
            attempt = self.running.pop(task_id)
            given = {"ran_s": 1.0, **facts}
            outcomes.append(Outcome(task_id, None, 0, attempt.spec.name, state, attempts=attempt.number, **given))
        self.tell(Reported("quay", outcomes), passed_s=0.01)

    def exceed(self, task_id: str, seen_mb: float) -> None:
        record = ErrorRecord(type="longshore.errors.MemoryLimitExceeded", message="too much", peak_memory_mb=seen_mb)
        self.report(task_id, state=TaskState.FAILED, error=record)

    def teach(self, peak_mb: float, count: int = 20, name: str = "work") -> None:
        """Have tasks of a kind end that took so much."""
        for number in range(count):
            self.submit(spec_of(name), f"{name}-taught-{number}")
            self.report(f"{name}-taught-{number}", peak_memory_mb=peak_mb, cpu_s=8.0)

    def aside_mb(self, task_id: str) -> float:
        return self.engine.lent_to(task_id).get("memory", 0.0)

    def shed(self) -> list[str]:
        return [task_id for command in self.commands if isinstance(command, Shed) for task_id in command.task_ids]

    def settled(self) -> list[Outcome]:
        return [outcome for command in self.commands if isinstance(command, Settle) for outcome in command.outcomes]


# ---- learnt


def test_a_kind_that_was_seen_to_take_much_is_admitted_by_that() -> None:
    """Four workers, 10 GB, 3 GB each: three run at once, though nobody declared anything."""
    rig = Rig()
    rig.teach(3000.0 / 1.15)
    rig.submit(spec_of(), *"abcd")
    assert list(rig.running) == ["a", "b", "c"]
    assert rig.aside_mb("a") == pytest.approx(3000.0, rel=0.01)
    assert set(rig.engine.lent()) == {"memory"}, "CPU is recorded and never reserved"
    why = rig.engine.why("d", rig.now)
    assert why is not None
    assert "waits for memory: needs " in why
    assert "so much its kind was seen to take" in why
    rig.report("b", peak_memory_mb=2600.0)
    assert list(rig.running) == ["a", "c", "d"]


def test_small_tasks_are_counted_by_nobody() -> None:
    """A kind of which all workers together would take less than a tenth of the memory is handed out as ever."""
    rig = Rig()
    rig.teach(100.0)
    rig.submit(spec_of(), *(f"t{n}" for n in range(6)))
    assert not rig.engine.lent()
    assert not rig.engine._dispatch.counts_exactly


def test_what_is_declared_counts_and_not_what_was_learnt() -> None:
    """Who says how much memory a task needs is believed; who says something else gets the memory beside it."""
    rig = Rig()
    rig.teach(3000.0)
    rig.submit(spec_of(resources=Resources(memory_mb=10)), "said")
    rig.submit(spec_of(resources=Resources(cpu=1)), "other")
    assert rig.engine.lent_to("said") == {"memory": 10}
    assert rig.engine.lent_to("other") == {"cpu": 1, "memory": pytest.approx(3450.0)}


def test_large_inputs_are_another_kind_than_small_ones() -> None:
    """What tasks with large inputs take does not hold up those with small ones."""
    rig = Rig()
    large = (b"x" * (1 << 20),)
    for number in range(20):
        rig.submit(spec_of(), f"l{number}", f"s{number}", args=())
        rig.report(f"l{number}", f"s{number}", peak_memory_mb=10.0)
        rig.submit(spec_of(), f"L{number}", args=large)
        rig.report(f"L{number}", peak_memory_mb=6000.0)
    rig.submit(spec_of(), "one", "two", args=large)
    rig.submit(spec_of(), "three", "four")
    assert list(rig.running) == ["one", "three", "four"]


def test_what_waits_already_is_counted_too_and_keeps_its_order() -> None:
    """Thousands were queued before anything was known of them: they go by what is known now, first in first out."""
    rig = Rig()
    rig.engine._dispatch._places["quay"].runs_ahead = False
    rig.submit(spec_of(), *(f"t{n}" for n in range(50)))
    rig.now += 1.0
    rig.submit(spec_of("other"), "o1", "o2")
    assert list(rig.running) == ["t0", "t1", "t2", "t3"]
    rig.report("t0", peak_memory_mb=4000.0)
    assert list(rig.running) == ["t1", "t2", "t3", "t4"], "two of them at most while little is known"
    rig.report("t1", "t2", "t3", peak_memory_mb=4000.0)
    assert list(rig.running) == ["t4", "t5", "o1", "o2"]
    assert rig.engine.lent() == {"memory": pytest.approx(9200.0)}


def test_an_estimate_beyond_the_machine_lets_one_run_alone() -> None:
    """What is only guessed refuses nobody: of 15 GB expected and 10 there, one runs alone (fault:M9)."""
    rig = Rig()
    rig.teach(15_000.0)
    rig.submit(spec_of(), "a", "b")
    assert list(rig.running) == ["a"]
    assert rig.aside_mb("a") == LIMIT_MB
    rig.report("a", peak_memory_mb=9000.0)
    assert list(rig.running) == ["b"]


def test_a_new_kind_is_ramped_up() -> None:
    """Heavy tasks of which one has ended run two at once, after three four; those that have run for long count."""
    rig = Rig(workers=8)
    rig.submit(spec_of(), "first")
    rig.report("first", peak_memory_mb=500.0)
    rig.submit(spec_of(), *(f"t{n}" for n in range(8)))
    assert len(rig.running) == starts_at_once(1) == 2
    rig.tell(reading(10.0, t0=InUse(400.0, 9.0), t1=InUse(400.0, 9.0)), passed_s=9.0)
    assert len(rig.running) == starts_at_once(3) == 4


def test_what_was_learnt_is_kept_for_the_next_run() -> None:
    """A second engine that is given it admits by it at once."""
    rig = Rig()
    rig.teach(3000.0)
    again = Rig(learnt=rig.engine.learnt())
    again.submit(spec_of(), "first")
    again.report("first", peak_memory_mb=10.0)
    again.submit(spec_of(), *"abcd")
    assert len(again.running) == 2
    assert again.aside_mb("a") > 3000.0


def test_while_memory_is_short_kinds_that_nobody_knows_start_one_by_one() -> None:
    """Above the warning level a worker's share is set aside for each; below it, nothing is, and nobody looks."""
    rig = Rig()
    rig.tell(reading(70.0))
    rig.submit(spec_of(), *"abc")
    assert list(rig.running) == ["a"]
    assert rig.aside_mb("a") == LIMIT_MB / 4
    rig.report("a", ran_s=0.001)
    assert list(rig.running) == ["b", "c"], "it was over before anybody could look: it takes nothing"
    assert not rig.engine.lent()
    for _ in range(20):
        rig.tell(reading(10.0), passed_s=1.0)
    rig.submit(spec_of("third"), *"xyz")
    assert not rig.engine.lent()


def test_a_long_task_of_a_new_kind_shows_what_it_takes_while_it_runs() -> None:
    """On a machine that stays short of memory others of its kind need not wait for its end."""
    rig = Rig()
    rig.tell(reading(66.0))
    rig.submit(spec_of(), *"abcd")
    rig.tell(reading(64.0, 1.0, a=InUse(40.0, 1.0)), passed_s=1.0)
    assert list(rig.running) == ["a"]
    rig.tell(reading(64.0, 1.0, a=InUse(40.0, 5.0)), passed_s=4.0)
    assert list(rig.running) == ["a", "b"]
    assert (rig.aside_mb("a"), rig.aside_mb("b")) == (80.0, 80.0)
    assert rig.engine.lent() == {"memory": 160.0}


# ---- freed


def busy_rig(*names: str, **options: Any) -> Rig:  # Any: options of a spec
    rig = Rig()
    rig.tell(reading(10.0))
    for name in names:
        rig.submit(spec_of(name, **options), name)
    assert list(rig.running) == list(names)
    return rig


def high(**tasks: InUse) -> Measured:
    return reading(92.0, 50.0, **tasks)


@pytest.mark.requirement("req:G19")
def test_when_memory_runs_out_one_task_is_ended_and_runs_again() -> None:
    """It is asked once use has been high for a second, costs no retry, and waits until more fits than it had."""
    rig = busy_rig("a", "b")
    rig.tell(high(a=InUse(900.0, 5.0), b=InUse(2000.0, 9.0)), passed_s=1.0)
    assert rig.shed() == []
    rig.tell(high(a=InUse(900.0, 6.0), b=InUse(2000.0, 9.9)), passed_s=1.0)
    assert rig.shed() == ["b"]
    rig.report("b", state=TaskState.CANCELLED)
    (told,) = [one.batch for one in rig.commands if isinstance(one, Tell) and isinstance(one.batch, TaskRetrying)]
    assert told.delay_s == 0
    assert not rig.settled()
    assert "b" not in rig.running
    for _ in range(40):
        rig.tell(reading(60.0, 20.0, a=InUse(900.0, 9.0)), passed_s=1.0)
    assert "b" not in rig.running, "3000 are set aside for it, and are not there beside the others"
    for _ in range(40):
        rig.tell(reading(20.0, 10.0, a=InUse(900.0, 9.0)), passed_s=1.0)
    assert rig.running["b"].number == 2
    assert rig.aside_mb("b") == pytest.approx(3000.0)
    rig.report("b", state=TaskState.FAILED)
    assert [outcome.state for outcome in rig.settled()] == [TaskState.FAILED], "it had one attempt of its own"


def test_one_victim_at_a_time_and_the_effect_is_measured_before_the_next() -> None:
    """While one is being ended, and for one reading after, nobody else is."""
    rig = busy_rig("a", "b", "c")
    use = {name: InUse(1000.0, 5.0) for name in "abc"}
    rig.tell(high(**use), passed_s=1.0)
    rig.tell(high(**use), passed_s=1.0)
    (first,) = rig.shed()
    rig.tell(high(**use), passed_s=1.0)
    assert rig.shed() == []
    rig.report(first, state=TaskState.CANCELLED)
    left = {name: use[name] for name in "abc" if name != first}
    rig.tell(high(**left), passed_s=1.0)
    assert rig.shed() == []
    rig.tell(high(**left), passed_s=1.0)
    (second,) = rig.shed()
    assert second != first
    rig.report(second, state=TaskState.CANCELLED)
    for _ in range(5):
        rig.tell(high(), passed_s=1.0)
        assert rig.shed() == [], "what runs alone is left alone"


def test_no_victim_while_use_is_falling_or_over_at_once() -> None:
    """A spike costs nobody anything; what is nearly all of the memory waits for no second reading."""
    rig = busy_rig("a", "b")
    use = {name: InUse(1000.0, 5.0) for name in "ab"}
    for percent in (96.0, 95.0, 94.0, 93.0, 89.0):
        rig.tell(reading(percent, 50.0, **use), passed_s=1.0)
        assert rig.shed() == []
    rig.tell(reading(50.0, 50.0, **use), passed_s=1.0)
    rig.tell(reading(98.0, 50.0, **use), passed_s=0.1)
    assert len(rig.shed()) == 1


def test_a_task_that_somebody_cancelled_is_not_run_again() -> None:
    """Also where it was being ended for its memory already."""
    rig = busy_rig("a", "b")
    for _ in range(2):
        rig.tell(high(a=InUse(900.0, 5.0)), passed_s=1.0)
    assert rig.shed() == ["a"]
    rig.tell(Cancel(["a"]))
    rig.report("a", state=TaskState.CANCELLED)
    assert [outcome.state for outcome in rig.settled()] == [TaskState.CANCELLED]


def test_a_task_that_waits_for_others_is_not_ended_for_its_memory() -> None:
    """Those it waits for would have run for nothing; the other goes, though it took less."""
    rig = busy_rig("a", "b")
    rig.tell(Waits("a", True))
    for _ in range(2):
        rig.tell(high(a=InUse(900.0, 5.0), b=InUse(100.0, 5.0)), passed_s=1.0)
    assert rig.shed() == ["b"]


def test_a_victim_that_ends_by_itself_has_ended() -> None:
    """Its result stands; nothing is run twice for nothing."""
    rig = busy_rig("a", "b")
    for _ in range(2):
        rig.tell(high(a=InUse(900.0, 5.0)), passed_s=1.0)
    rig.report("a", value=7)
    assert [outcome.value for outcome in rig.settled()] == [7]


def test_a_victim_past_its_deadline_is_timed_out() -> None:
    """It is not run again when its time over all attempts is over, and not said to be cancelled either."""
    rig = busy_rig("a", "b", deadline_s=3.0)
    for _ in range(2):
        rig.tell(high(a=InUse(900.0, 5.0)), passed_s=1.0)
    rig.now = 5.0
    rig.report("a", state=TaskState.CANCELLED)
    assert [outcome.state for outcome in rig.settled()] == [TaskState.TIMED_OUT]


# ---- too little


NAMES_IT = RetryPolicy(attempts=9, backoff=0.0, retry_on=(MemoryLimitExceeded,))


def test_who_took_too_much_is_tried_again_with_more() -> None:
    """Twice what it reserved or one and a half of what was seen, whichever is more, and it may take that."""
    rig = Rig()
    rig.submit(spec_of(retry=NAMES_IT, memory_limit_mb=1024.0), "a")
    rig.exceed("a", 1100.0)
    assert (rig.aside_mb("a"), rig.running["a"].memory_limit_mb) == (pytest.approx(1650.0), pytest.approx(1650.0))
    rig.exceed("a", 1700.0)
    assert (rig.aside_mb("a"), rig.running["a"].memory_limit_mb) == (pytest.approx(3300.0), pytest.approx(3300.0))
    rig.submit(spec_of(), "b")
    assert rig.aside_mb("b") == pytest.approx(1700.0 * 1.15), "its kind is known to take as much at once"


def test_who_needs_more_than_there_is_is_told_so() -> None:
    """At the limit it is tried twice, whatever attempts are left, and the message has the numbers."""
    rig = Rig()
    rig.submit(spec_of(retry=NAMES_IT, memory_limit_mb=1024.0), "a")
    seen_mb, numbers = 7000.0, []
    while "a" in rig.running:
        numbers.append(rig.running["a"].number)
        rig.exceed("a", seen_mb)
        seen_mb = 10_500.0
    assert numbers == [1, 2, 3]
    (outcome,) = rig.settled()
    assert outcome.error is not None
    assert "needs more than this machine: 2 times it took more than the 10000 MB" in outcome.error.message
    with pytest.raises(MemoryLimitExceeded, match="needs more than this machine"):
        outcome.unwrap()


def test_a_policy_that_does_not_name_it_tries_nothing_again() -> None:
    """As ever: `Exception` alone does not mean it."""
    rig = Rig()
    rig.submit(spec_of(retry=RetryPolicy(attempts=9, backoff=0.0), memory_limit_mb=1024.0), "a")
    rig.exceed("a", 1100.0)
    assert len(rig.settled()) == 1
    assert not rig.engine._memory.marks
    assert not rig.engine._dispatch.aside.raised


# ---- the price


def test_nothing_is_looked_at_where_nobody_tells_of_memory() -> None:
    """An executor that tells of no memory has its tasks handed on as they are, whatever was learnt elsewhere."""
    rig = Rig()
    rig.teach(5000.0)
    rig.tell(ExecutorUp("yard", 4, True, True, False))
    spec = spec_of(executor="yard")
    rig.tell(Submit(spec, [Attempt(f"y{n}", spec) for n in range(4)]))
    assert not any(rig.engine.lent_to(f"y{n}") for n in range(4))
    engine = Engine()
    engine.handle([ExecutorUp("yard", 4)], 0.0)
    assert not engine._memory.used
    assert not engine._dispatch.aside.used
