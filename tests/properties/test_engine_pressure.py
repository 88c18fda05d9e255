"""What follows from what is measured: readings go in, and what may run, what is told and what is said come out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.messages import ExecutorUp, Measured, Reported, Start, Submit, Tell, Tick
from longshore._engine.pressure import CEILING_S, DWELL_S, STALL_S
from longshore.events import Happened
from longshore.records import Load
from longshore.task import Attempt, Outcome, Priority, Resources, TaskSpec, TaskState


def memory(usage: float, own: float | None = None) -> Load:
    """Return the use of a machine with 1000 MB."""
    return Load(usage, 75.0, 65.0, own, "%", 750.0, 10.0)


def cpu(usage: float, own: float | None = None) -> Load:
    """Return the use of a machine with 4 cores."""
    return Load(usage, 80.0, 70.0, own, "%", 3.2, 0.04)


class Yard:
    """An engine with one executor, whose time and measures are set by the test."""

    def __init__(self, slots: int = 8, most: int = 8, capacity: dict[str, float] | None = None) -> None:
        lendable = capacity or {"cpu": 3.2, "memory": 750.0}
        self.engine = Engine(EngineConfig(max_concurrent_tasks=most, capacity=lendable))
        self.now = 0.0
        self.running: dict[str, Attempt] = {}
        self.started: list[str] = []
        self.warnings: list[dict[str, Any]] = []
        self.count = 0
        self.handle(ExecutorUp("quay", slots, runs_ahead=False))

    def handle(self, stimulus: Any) -> None:
        for command in self.engine.handle([stimulus], self.now):
            if isinstance(command, Start):
                self.running.update({attempt.task_id: attempt for attempt in command.attempts})
                self.started += [attempt.task_id for attempt in command.attempts]
            elif isinstance(command, Tell) and isinstance(command.batch, Happened):
                assert command.batch.type == "resource_warning"
                self.warnings.append(command.batch.data)

    def submit(self, count: int = 1, resources: Resources | None = None, priority: Priority = Priority.NORMAL) -> None:
        spec = TaskSpec(function=print, name="work", executor="quay", priority=priority, resources=resources)
        ids = [f"{priority.name}-{self.count + number}" for number in range(count)]
        self.count += count
        self.handle(Submit(spec, [Attempt(name, spec, queued_at=self.now) for name in ids]))

    def measure(self, passed_s: float = 1.0, valid_s: float = 10.0, **loads: Load) -> None:
        self.now += passed_s
        self.handle(Measured(loads, valid_s))

    def end(self, count: int = 1) -> None:
        for name in list(self.running)[:count]:
            del self.running[name]
            done = Outcome(name, None, 0, "work", TaskState.COMPLETED, ran_s=1.0)
            self.handle(Reported("quay", [done]))

    def told(self) -> list[tuple[str, str, str]]:
        return [(one["resource"], one["level"], one["state"]) for one in self.warnings]


@pytest.mark.throttling
@pytest.mark.requirement("req:G17")
def test_a_warning_comes_once_per_crossing_and_so_does_its_end() -> None:
    """A value that swings around its level is told once; it is over when it stayed a gap below for a while."""
    yard = Yard()
    for usage in (60.0, 65.0, 66.0, 64.0, 66.0, 63.0, 66.0):
        yard.measure(0.5, memory=memory(usage))
    said = "memory 66 % is over the warning level of 65 %"
    told = {"resource": "memory", "usage": 66.0, "threshold": 65.0, "limit": 75.0, "state": "crossed", "level": "soft"}
    assert yard.warnings == [{**told, "message": said}]
    yard.measure(0.5, memory=memory(50.0))
    yard.measure(DWELL_S / 2, memory=memory(64.0))
    yard.measure(0.5, memory=memory(50.0))
    assert len(yard.warnings) == 1, "a moment below is not enough"
    yard.measure(DWELL_S, memory=memory(50.0))
    assert yard.told()[1:] == [("memory", "soft", "cleared")]
    yard.measure(memory=memory(90.0))
    assert yard.told()[2:] == [("memory", "soft", "crossed"), ("memory", "hard", "crossed")]
    yard.measure(memory=memory(70.0))
    yard.measure(DWELL_S, memory=memory(70.0))
    assert yard.told()[4:] == [("memory", "hard", "cleared")]


@pytest.mark.throttling
@pytest.mark.requirement("req:G18", "req:A15")
@pytest.mark.parametrize("load", [memory(95.0), Load(1.2, 1.0, 0.8, None, "MB/s", 1.0)], ids=["memory", "network_io"])
def test_over_a_hard_limit_nothing_new_starts(load: Load, request: pytest.FixtureRequest) -> None:
    """Not even what declares nothing, nor when nothing runs; what runs goes on, and below the limit it starts again."""
    name = str(request.node.callspec.id)
    yard = Yard()
    yard.submit(2)
    yard.measure(**{name: load})
    yard.submit(3)
    assert len(yard.running) == 2
    assert yard.engine.concurrency == 0
    assert f"{name} {load.usage:g}" in str(yard.engine.held_because())
    assert str(yard.engine.held_because()).endswith("nothing new starts")
    yard.end(2)
    yard.measure(**{name: load})
    assert not yard.running
    for _ in range(3):
        yard.measure(DWELL_S, **{name: Load(0.1, load.limit, load.warning)})
    assert len(yard.running) == 3


@pytest.mark.throttling
@pytest.mark.requirement("req:G18")
def test_what_is_said_names_resource_use_and_limit() -> None:
    """In words that need no knowledge of what is inside."""
    yard = Yard()
    yard.measure(memory=memory(91.0))
    assert yard.engine.held_because() is None, "nothing waits"
    yard.submit()
    assert yard.engine.held_because() == "memory 91 % is over the limit of 75 %: nothing new starts"
    cpu_only = Yard()
    cpu_only.submit()
    cpu_only.measure(cpu=cpu(97.0, own=2.0))
    cpu_only.submit()
    assert cpu_only.engine.held_because() == "cpu 95 % used by others is over the limit of 80 %: one task at a time"
    soft = Yard()
    soft.submit(8)
    soft.measure(memory=memory(70.0))
    soft.submit()
    assert soft.engine.held_because() == "memory 70 % is over the warning level of 65 %: at most 6 tasks at once"


@pytest.mark.throttling
@pytest.mark.requirement("req:G18")
def test_memory_that_is_used_here_lets_one_run_when_nothing_does() -> None:
    """Over the limit by our own use: what runs has to end, then they go one by one, so that it can end at all."""
    yard = Yard()
    yard.submit(2)
    yard.measure(memory=memory(80.0, own=50.0))
    yard.submit(3)
    assert len(yard.running) == 2
    yard.end()
    assert len(yard.running) == 1
    yard.end()
    assert len(yard.running) == 1
    assert len(yard.started) == 3


@pytest.mark.throttling
@pytest.mark.requirement("req:G18")
def test_a_pool_that_uses_its_cores_is_not_short_of_cpu() -> None:
    """Of CPU only what others use counts: all cores busy with our own tasks hold nothing back."""
    yard = Yard()
    yard.submit(4)
    yard.measure(cpu=cpu(100.0, own=97.0))
    yard.submit(4)
    assert len(yard.running) == 8
    assert yard.warnings == []


@pytest.mark.throttling
def test_a_machine_that_others_keep_busy_stalls_nobody() -> None:
    """CPU over its limit by others: one at a time, and one more where nothing ends for long."""
    yard = Yard()
    yard.measure(cpu=cpu(100.0, own=0.0))
    yard.submit(5)
    assert len(yard.running) == 1
    for _ in range(2):
        yard.end()
        yard.measure(cpu=cpu(100.0, own=0.0))
        assert len(yard.running) == 1
    waited = 0
    while len(yard.running) == 1:
        yard.measure(cpu=cpu(100.0, own=0.0))
        waited += 1
    assert STALL_S <= waited <= STALL_S + 1
    yard.measure(cpu=cpu(75.0, own=0.0))
    yard.measure(DWELL_S, cpu=cpu(75.0, own=0.0))
    assert yard.engine.concurrency == 4, "a soft one halves"
    assert len(yard.running) == 3


@pytest.mark.throttling
@pytest.mark.priority
@pytest.mark.requirement("req:G19")
def test_under_pressure_the_least_urgent_are_parked_first() -> None:
    """LOW and BACKGROUND start only when nothing more urgent waits; by waiting long they become more urgent."""
    yard = Yard(slots=4, most=4)
    yard.submit(4)
    yard.measure(memory=memory(66.0))
    assert yard.engine.concurrency == 3
    yard.submit(2, priority=Priority.LOW)
    yard.submit(1, resources=Resources(memory_mb=400))
    yard.end(2)
    assert yard.started[4:] == [], "a LOW one would fit, but something more urgent waits"
    assert yard.engine.held_because() is not None
    yard.now += 2.0
    yard.handle(Tick())
    assert yard.started[4:] == ["LOW-4"]
    calm = Yard(slots=4, most=4)
    calm.submit(4)
    calm.measure(memory=memory(30.0))
    calm.submit(2, priority=Priority.LOW)
    calm.submit(1, resources=Resources(memory_mb=700))
    calm.end(2)
    assert calm.started[4:] == ["LOW-4", "LOW-5"]


def trace(
    use: Callable[[int, float], float], seconds: int, *, others: bool = True, slots: int = 8
) -> tuple[Yard, list[int], list[float]]:
    """Run a pool that always has work, on a machine whose memory follows what runs; return cap and use by second."""
    yard = Yard(slots=slots, most=slots)
    yard.submit(500)
    caps, uses = [], []
    for second in range(seconds):
        used = use(len(yard.running), float(second))
        yard.measure(memory=memory(used, own=0.0 if others else used))
        yard.end(len(yard.running))  # all that runs ends, so that what may start does
        caps.append(yard.engine.concurrency)
        uses.append(used)
    return yard, caps, uses


def turns(caps: list[int]) -> int:
    """Return how often a trace changed its direction."""
    steps = [after - before for before, after in pairwise(caps) if after != before]
    return sum((one > 0) != (other > 0) for one, other in pairwise(steps))


@pytest.mark.throttling
@pytest.mark.requirement("req:G19")
def test_concurrency_settles_below_the_warning_level_and_does_not_oscillate() -> None:
    """Each running task takes 10 %: of 8, it settles at the 6 that fit below 65 %, in few steps, and stays."""
    yard, caps, uses = trace(lambda running, _: 10.0 * running, 60, others=False)
    assert uses[0] == 80.0
    assert all(use <= 65.0 for use in uses[6:30]), uses
    assert turns(caps[:30]) <= 2, caps
    assert turns(caps) <= 6, caps
    assert caps[25] in (5, 6)
    assert sum(level == "hard" for _, level, state in yard.told() if state == "crossed") <= 2


@pytest.mark.throttling
@pytest.mark.requirement("req:G19")
def test_concurrency_recovers_after_the_pressure() -> None:
    """What somebody else took and gave back is used again within the time that a step too far is remembered."""
    _, caps, _ = trace(lambda _, second: 70.0 if second < 10 else 20.0, 60)
    assert min(caps[:10]) == 1
    assert turns(caps) == 1, caps
    assert caps[20] > caps[10]
    assert caps[int(10 + CEILING_S)] == 8


@pytest.mark.throttling
@pytest.mark.requirement("req:G19")
@settings(max_examples=30, derandomize=True, deadline=None, database=None)
@given(
    each=st.floats(0.5, 40.0),
    rest=st.floats(0.0, 60.0),
    noise=st.lists(st.floats(-1.5, 1.5), min_size=7, max_size=7),
    slots=st.integers(1, 40),
)
def test_whatever_a_task_takes_concurrency_does_not_oscillate(
    each: float, rest: float, noise: list[float], slots: int
) -> None:
    """On any machine the cap settles within half a minute, then tries a step up now and then; work always goes on."""
    yard, caps, _ = trace(
        lambda running, second: rest + each * running + noise[int(second) % 7], 120, others=False, slots=slots
    )
    assert turns(caps[:30]) <= 12, caps
    assert turns(caps[30:]) <= 12, caps
    assert min(caps) >= 1
    assert len(yard.started) >= min(500, 120)


@pytest.mark.requirement("req:G19")
def test_no_swing_of_the_measure_makes_the_cap_swing() -> None:
    """Use that jumps by 4 % around the warning level each second moves the cap in one direction only."""
    _, caps, _ = trace(lambda _, second: 63.0 + 4.0 * (second % 2), 30)
    assert turns(caps) == 0, caps


def test_what_was_measured_long_ago_holds_nothing() -> None:
    """A probe that fell silent does not hold the pool for ever: its last reading counts for a stated time."""
    yard = Yard()
    yard.measure(memory=memory(95.0), valid_s=7.0)
    yard.submit(2)
    assert not yard.running
    due = yard.engine.next_due()
    assert due == yard.now + 7.0
    yard.now = due
    yard.handle(Tick())
    assert len(yard.running) == 2
    assert yard.engine.next_due() is None
    assert yard.told()[-2:] == [("memory", "soft", "cleared"), ("memory", "hard", "cleared")]
    yard.measure(cpu=cpu(95.0))
    yard.measure(memory=memory(20.0))
    assert yard.told()[-1] == ("cpu", "hard", "cleared"), "what is not measured any more holds nothing either"


@pytest.mark.allocation
@pytest.mark.requirement("req:D08", "req:G16")
def test_what_is_measured_and_what_is_lent_count_once() -> None:
    """Of 750 MB: 200 in use before, 300 lent of which 100 are used, a quarter kept; the reason has the numbers."""
    yard = Yard()
    yard.measure(memory=memory(20.0))
    yard.submit(resources=Resources(memory_mb=300))
    yard.measure(memory=memory(30.0))
    lacks = yard.engine.lacks
    assert lacks(Resources(memory_mb=62)) is None
    assert lacks(Resources(memory_mb=63)) == (
        "memory: needs 63 MB, 62.5 MB free after what running tasks may still take and a reserve of 188 MB"
    )
    assert yard.engine.never_fits(Resources(memory_mb=750)) is None
    yard.end()
    yard.measure(memory=memory(20.0))
    assert lacks(Resources(memory_mb=362)) is None
    assert lacks(None) is None


@pytest.mark.allocation
def test_cpu_that_others_use_counts_beside_what_is_lent() -> None:
    """Of 3.2 cores: 2 used by others and 1 lent leave 0.2, whatever our own tasks really use."""
    yard = Yard()
    yard.measure(cpu=cpu(50.0, own=0.0))
    yard.submit(resources=Resources(cpu=1))
    for own in (0.0, 25.0, 50.0):
        yard.measure(cpu=cpu(50.0 + own, own=own))
        assert yard.engine.lacks(Resources(cpu=0.2)) is None
        assert yard.engine.lacks(Resources(cpu=0.3)) is not None


@pytest.mark.allocation
@pytest.mark.requirement("req:D09")
def test_what_does_not_fit_now_waits_and_goes_in_order() -> None:
    """It starts when something is given back, first come first; where nothing runs, one goes on whatever others use."""
    yard = Yard()
    yard.measure(memory=memory(10.0))
    for _ in range(3):
        yard.submit(resources=Resources(memory_mb=400))
    assert yard.started == ["NORMAL-0"]
    assert "waits for memory: needs " in str(yard.engine.held_because())
    yard.end()
    assert yard.started == ["NORMAL-0", "NORMAL-1"]
    yard.measure(memory=memory(60.0))
    yard.end()
    assert yard.started == ["NORMAL-0", "NORMAL-1", "NORMAL-2"], "60 % + 40 % is over 75 %, but nothing else runs"


@pytest.mark.allocation
@pytest.mark.requirement("req:A16")
def test_a_gpu_over_its_limit_holds_those_that_want_one() -> None:
    """Tasks that ask for a GPU wait, all others go on; without a GPU they are refused as what is unavailable."""
    yard = Yard(capacity={"gpu": 0.0, "gpu_memory": 0.0})
    wanted = Resources(gpu=1)
    assert yard.engine.never_fits(wanted) == "gpu: needs 1 GPU, none is visible: unavailable"
    yard.measure(gpu=Load(95.0, 90.0, 72.0, None, "%", 1.0, 0.0))
    assert yard.engine.never_fits(wanted) is None
    assert yard.engine.never_fits(Resources(gpu=2)) == "gpu: needs 2 GPUs, 1 GPU is all there is"
    assert yard.engine.lacks(wanted) == "gpu: 95 % is over the limit of 90 %"
    yard.submit(resources=wanted)
    yard.submit()
    assert yard.started == ["NORMAL-1"]
    yard.end()
    assert yard.started == ["NORMAL-1"]
    for _ in range(2):
        yard.measure(DWELL_S, gpu=Load(10.0, 90.0, 72.0, None, "%", 1.0, 0.0))
    assert yard.started == ["NORMAL-1", "NORMAL-0"]
    assert yard.told() == [("gpu", level, state) for state in ("crossed", "cleared") for level in ("soft", "hard")]


@pytest.mark.throttling
def test_a_warning_before_any_worker_is_there_is_no_reason_to_go_down_to_one() -> None:
    """Executors start with the first work: until then the cap goes down from the most there may be."""
    yard = Yard(slots=0)
    yard.measure(memory=memory(66.0))
    yard.handle(ExecutorUp("quay", 8, runs_ahead=False))
    yard.submit(8)
    assert len(yard.running) == yard.engine.concurrency == 6


@pytest.mark.throttling
def test_a_step_down_is_given_time_to_show() -> None:
    """While more runs than the last step allows, what is measured is not its doing, and no further step follows."""
    yard = Yard()
    yard.submit(16)
    for _ in range(5):
        yard.measure(memory=memory(70.0))
    assert (yard.engine.concurrency, len(yard.running)) == (6, 8)
    yard.end(2)
    yard.measure(memory=memory(70.0))
    assert yard.engine.concurrency == 5
