"""Who starts when, simulated: steady streams, scarce workers, scarce resources, rates; time is a number.

Each test drives an engine that is under watch (`EngineLaws`), with workers that take a known time.
"""

from __future__ import annotations

import gc
import weakref
from heapq import heappop, heappush
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.messages import (
    Abort,
    Cancel,
    Command,
    ExecutorUp,
    Refuse,
    Reported,
    Start,
    Stimulus,
    Submit,
    Tick,
)
from longshore.task import Attempt, Outcome, Priority, Resources, TaskSpec, TaskState
from longshore.testing._laws import EngineLaws

AGING_S = 2.0
FEW_AND_MANY = pytest.mark.parametrize("examples", [8, pytest.param(100, marks=pytest.mark.slow)], ids=["few", "many"])


def work() -> None:
    """Stand for a user's function."""


def spec_of(name: str, priority: Priority = Priority.NORMAL, executor: str = "quay", **options: Any) -> TaskSpec:
    """Any: the other options of a spec."""
    return TaskSpec(function=work, name=name, executor=executor, priority=priority, **options)


def completed(attempt: Attempt, ran_s: float) -> Outcome:
    return Outcome(
        attempt.task_id, None, 0, attempt.spec.name, TaskState.COMPLETED, attempts=attempt.number, ran_s=ran_s
    )


class Quay:
    """Workers that take `service_s` for a task, an engine that feeds them, and when it gave each task out."""

    def __init__(self, service_s: float, workers: int = 1, config: EngineConfig | None = None) -> None:
        self.service_s = service_s
        self.now = 0.0
        self.laws = EngineLaws(Engine(config or EngineConfig(max_queue_size=100_000)))
        self.started: dict[str, float] = {}
        self.order: list[str] = []
        self.ending: list[tuple[float, int, Attempt]] = []
        self.free_at: dict[str, list[float]] = {}
        self.tell(ExecutorUp("quay", workers))

    def tell(self, *stimuli: Stimulus) -> list[Command]:
        for stimulus in stimuli:
            if isinstance(stimulus, ExecutorUp):
                free_at = self.free_at.setdefault(stimulus.executor, [])
                free_at += [self.now] * (stimulus.slots - len(free_at))
        commands = self.laws.handle(stimuli, self.now)
        for command in commands:
            if isinstance(command, Start):
                for attempt in command.attempts:
                    self.order.append(attempt.task_id)
                    self.started[attempt.task_id] = self.now
                    free_at = self.free_at[command.executor]
                    ends = max(self.now, heappop(free_at)) + self.service_s
                    heappush(free_at, ends)
                    heappush(self.ending, (ends, len(self.order), attempt))
        return commands

    def submit(self, spec: TaskSpec, *task_ids: str) -> list[Command]:
        return self.tell(Submit(spec, [Attempt(task_id, spec, queued_at=self.now) for task_id in task_ids]))

    def run_until(self, when: float) -> None:
        """Let workers end and the engine's own calls come, up to `when`."""
        while True:
            due = self.laws.engine.next_due()
            ends = self.ending[0][0] if self.ending else None
            coming = min((at for at in (due, ends) if at is not None), default=None)
            if coming is None or coming > when:
                self.now = when
                return
            self.now = coming
            if ends == coming:
                attempt = heappop(self.ending)[2]
                self.tell(Reported(attempt.spec.executor, [completed(attempt, self.service_s)]))
            else:
                self.tell(Tick())


@pytest.mark.requirement("req:D05")
@FEW_AND_MANY
def test_aging_bounds_the_wait_under_a_steady_stream(examples: int) -> None:
    """A task starts within 2 s for each level below HIGH and the service of those ahead, whatever keeps coming."""

    @settings(deadline=None, max_examples=examples, derandomize=True)
    @given(
        service_s=st.sampled_from([0.1, 0.25, 0.7]),
        crowd=st.floats(0.3, 0.95),
        ahead=st.integers(0, 8),
        priority=st.sampled_from([Priority.NORMAL, Priority.LOW, Priority.BACKGROUND]),
    )
    def law(service_s: float, crowd: float, ahead: int, priority: Priority) -> None:
        quay = Quay(service_s)
        high = spec_of("high", Priority.HIGH)
        quay.submit(high, *(f"first{n}" for n in range(ahead + 1)))
        quay.submit(spec_of("patient", priority), "patient")
        most_s = AGING_S * (priority - Priority.HIGH) + service_s * (ahead + 2)
        arrival = 0
        while quay.now <= most_s and "patient" not in quay.started:
            arrival += 1
            quay.run_until(arrival * service_s * crowd)
            quay.submit(high, f"later{arrival}")
        assert quay.started["patient"] <= most_s

    law()


@pytest.mark.requirement("req:D03")
def test_critical_work_is_never_overtaken_by_age() -> None:
    """However long ordinary work has waited, what is CRITICAL and waits goes first."""
    quay = Quay(0.5)
    quay.submit(spec_of("busy"), "busy")
    quay.submit(spec_of("high", Priority.HIGH), "high")
    quay.submit(spec_of("low", Priority.LOW), "low")
    for n in range(200):
        quay.submit(spec_of("now", Priority.CRITICAL), f"critical{n}")
        quay.run_until(quay.now + 0.45)
    assert not {"high", "low"} & quay.started.keys()
    quay.run_until(quay.now + 60)
    assert quay.order[-2:] == ["high", "low"]


@pytest.mark.requirement("req:D02", "req:D04")
@FEW_AND_MANY
def test_all_five_priorities_order_and_equal_ones_keep_theirs(examples: int) -> None:
    """Of what waits, the urgent goes first, and equals go in the order they came."""

    @settings(deadline=None, max_examples=examples, derandomize=True)
    @given(order=st.permutations([priority for priority in Priority for _ in range(3)]))
    def law(order: list[Priority]) -> None:
        quay = Quay(0.01)
        quay.submit(spec_of("busy"), "busy")
        for n, priority in enumerate(order):
            quay.submit(spec_of(priority.name, priority), f"{n}")
        quay.run_until(1.0)
        assert quay.order[1:] == [str(n) for n in sorted(range(len(order)), key=lambda n: (order[n], n))]

    law()


@pytest.mark.parametrize(
    "options", [{"max_per_second": 100.0}, {"concurrent_limit": 1}, {"resources": Resources(cpu=1)}], ids=str
)
@pytest.mark.requirement("req:D05")
def test_counted_work_is_not_starved_by_short_plain_work(
    options: dict[str, Any],  # Any: options of a spec
) -> None:
    """A task with a rate, a limit or a reservation gets its worker although plain work is handed out far ahead."""
    quay = Quay(0.0002, workers=2)
    plain = spec_of("plain")
    for n in range(30):
        quay.submit(plain, *(f"warm{n}.{m}" for m in range(5)))
        quay.run_until(quay.now + 0.0002)
    assert len(quay.laws.model.running()) > 2
    before_it = len(quay.laws.model.live())
    quay.submit(spec_of("counted", **options), "counted")
    for n in range(before_it):  # twice what two workers need
        quay.submit(plain, *(f"more{n}.{m}" for m in range(5)))
        quay.run_until(quay.now + 0.0002)
    assert "counted" in quay.started


@pytest.mark.requirement("req:D05")
def test_a_large_reservation_is_not_starved_by_small_ones() -> None:
    """What wants all of a resource starts once it has waited 2 s and those before it have ended."""
    quay = Quay(1.0, workers=8, config=EngineConfig(capacity={"cpu": 4.0}))
    small = spec_of("small", resources=Resources(cpu=1))
    quay.submit(small, *(f"first{n}" for n in range(6)))
    quay.submit(spec_of("large", resources=Resources(cpu=4)), "large")
    for n in range(30):
        quay.submit(small, f"small{n}")
        quay.run_until(quay.now + 0.2)
    assert quay.started["large"] <= AGING_S + 2 * quay.service_s


@pytest.mark.requirement("req:A08", "req:D03")
def test_the_cap_over_all_executors_is_shared_by_urgency() -> None:
    """With more workers than may run at once, an urgent task elsewhere goes before the backlog of another executor."""
    quay = Quay(1.0, workers=4, config=EngineConfig(max_concurrent_tasks=2))
    quay.tell(ExecutorUp("yard", 4))
    quay.submit(spec_of("backlog"), *(f"backlog{n}" for n in range(50)))
    quay.submit(spec_of("urgent", Priority.CRITICAL, executor="yard"), "urgent")
    quay.submit(spec_of("low", Priority.LOW, executor="yard"), "low")
    quay.run_until(30.0)
    assert quay.started["urgent"] == 1.0
    assert quay.started["low"] < 2 * AGING_S + 30.0


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.requirement("req:A08")
def test_max_concurrent_tasks_holds_while_short_tasks_are_handed_out_ahead(workers: int) -> None:
    """Nothing is handed out ahead where the cap binds: as many run as it allows, and no more."""
    quay = Quay(0.00001, workers=workers, config=EngineConfig(max_concurrent_tasks=workers))
    quay.submit(spec_of("short"), *(f"short{n}" for n in range(200)))
    quay.run_until(1.0)
    quay.tell(ExecutorUp("quay", workers + 2))
    quay.submit(spec_of("short"), *(f"more{n}" for n in range(200)))
    assert len(quay.laws.model.running()) == workers
    quay.run_until(2.0)
    quay.laws.check_end()


@FEW_AND_MANY
def test_a_rate_is_kept_and_used_up(examples: int) -> None:
    """No window sees more starts than the rate allows, whatever each reserves, and none is left unused.

    Over any window w: at most rate * (w + 0.01 s) + 1, which `EngineLaws` checks.
    """

    @settings(deadline=None, max_examples=examples, derandomize=True)
    @given(rate=st.sampled_from([0.5, 3.0, 50.0, 1000.0]), count=st.integers(1, 30), reservations=st.integers(1, 3))
    def law(rate: float, count: int, reservations: int) -> None:
        quay = Quay(0.0001, workers=100)
        quay.run_until(60.0)  # a rate that was not used is not saved up
        for n in range(count):
            resources = Resources(memory_mb=float(n % reservations))
            quay.submit(spec_of("called", max_per_second=rate, resources=resources), f"t{n}")
        quay.run_until(quay.now + count / rate + 1.0)
        assert len(quay.order) == count
        assert max(quay.started.values()) <= 60.0 + (count - 1) / rate + 0.001
        quay.laws.check_end()

    law()


@pytest.mark.requirement("req:G14")
def test_a_limit_counts_tasks_of_one_name_whatever_they_reserve() -> None:
    """A concurrency limit is one for all tasks of its name, also where each reserves another amount."""
    quay = Quay(1.0, workers=10)
    for n in range(6):
        quay.submit(spec_of("few", concurrent_limit=2, resources=Resources(memory_mb=float(n))), f"t{n}")
    assert len(quay.laws.model.running()) == 2
    assert quay.laws.engine.held_because() == "at most 2 of few at once"
    quay.run_until(3.5)
    quay.laws.check_end()


@pytest.mark.requirement("req:D08")
def test_what_can_never_fit_is_refused_with_its_numbers() -> None:
    """A request above all there is is refused at once, says what and how much, and leaves nothing behind."""
    quay = Quay(1.0, config=EngineConfig(capacity={"memory": 1000.0}))
    commands = quay.submit(spec_of("vast", resources=Resources(memory_mb=5000)), "vast")
    assert [type(command) for command in commands] == [Refuse]
    assert isinstance(commands[0], Refuse)
    assert (commands[0].cause, commands[0].message) == ("never", "memory: needs 5000 MB, 1000 MB are all there is")
    quay.laws.check_end()


@pytest.mark.requirement("req:D14")
def test_cancelled_tasks_in_the_queue_do_not_hide_those_behind_them() -> None:
    """A worker that comes free starts what waits behind cancelled tasks, however many they are."""
    quay = Quay(1.0, workers=1)
    quay.submit(spec_of("t"), *(f"t{n}" for n in range(22)))
    quay.tell(Cancel([f"t{n}" for n in range(1, 11)]))
    quay.run_until(1.0)
    assert quay.order == ["t0", "t11"]


@pytest.mark.requirement("req:D13")
def test_the_engine_keeps_nothing_of_tasks_that_have_ended() -> None:
    """Deadlines, retries and reservations of ended tasks hold no memory, and wake nobody."""
    quay = Quay(0.001, workers=4)
    for n in range(500):
        quay.submit(spec_of("t", deadline_s=3600.0, resources=Resources(memory_mb=n + 1.0)), f"t{n}")
        quay.run_until(quay.now + 0.001)
    quay.submit(spec_of("t", concurrent_limit=1), "last")
    quay.tell(Cancel(["last"]))
    quay.run_until(quay.now + 1.0)
    engine = quay.laws.engine
    quay.laws.check_end()
    assert not engine._cancelling
    assert len(engine._expiring._heap) <= 4096 + 1
    assert not engine._dispatch._lanes


class Cargo:
    """An argument that can be seen to go."""


@pytest.mark.requirement("req:C16")
def test_an_engine_that_was_aborted_leaves_nothing_behind() -> None:
    """After Abort the waiting tasks and their arguments are free, although no collector looks into the records."""
    engine, spec, cargo = Engine(), spec_of("t"), Cargo()
    gone = weakref.ref(cargo)
    engine.handle([Submit(spec, [Attempt(f"t{n}", spec, (cargo,)) for n in range(5)])], 0.0)
    engine.handle([Abort()], 1.0)
    del engine, cargo
    gc.collect()
    assert gone() is None
