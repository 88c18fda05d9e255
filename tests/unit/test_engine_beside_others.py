"""Beside others: the cap settles at what is left, stalls have to be over for a while, and the time is counted."""

from __future__ import annotations

from math import inf

import pytest
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.messages import ExecutorUp, Measured, Submit
from longshore._engine.pressure import Pressure
from longshore.records import Load
from longshore.task import Attempt, TaskSpec

pytestmark = pytest.mark.throttling


def test_beside_a_steady_load_of_others_it_settles_at_what_is_left() -> None:
    """Others alone are above the warning level, and stay: as many run as fit below the limit, and not one for ever."""
    pressure = Pressure(8)
    for second in range(60):
        running = float(min(8, pressure.cap))
        load = Load(67.0 + running, 75.0, 65.0, running, "%", 750.0, 10.0)
        pressure.take(Measured({"memory": load}), float(second), busy=int(running), workers=8, ended=second)
    assert pressure.cap == 4, "4 % are left to the gap below the limit, and each takes one"


def test_a_pressure_has_to_be_calm_for_a_while() -> None:
    """Once on for stalls, the brake goes off after two seconds below 3 %, not as soon as below the level."""
    pressure = Pressure(8)
    stalls = [(12.0, True), (5.0, True), (4.0, True), (2.0, True), (3.5, True), (2.0, True), (2.0, True), (2.0, False)]
    for second, (percent, on) in enumerate(stalls):
        load = Load(percent, inf, 10.0, None, "%", None, 0.0)
        measured = Measured({"pressure.memory.some": load})
        pressure.take(measured, float(second), busy=1, workers=8, ended=second)
        assert pressure.presses is on, percent


def test_the_time_that_tasks_wait_is_counted_by_what_is_short() -> None:
    """Only while something waits, and from one reading to the next, under the name of what was short at the first."""
    engine = Engine(EngineConfig(max_concurrent_tasks=2))
    engine.handle([ExecutorUp("quay", 2, runs_ahead=False)], 0.0)

    def measure(now: float, memory: float, cpu: float) -> None:
        loads = {
            "memory": Load(memory, 75.0, 65.0, None, "%", 750.0, 10.0),
            "cpu": Load(cpu, 80.0, 70.0, None, "%", 3.2, 0.04),
        }
        engine.handle([Measured(loads)], now)

    measure(1.0, 80.0, 10.0)
    measure(2.0, 80.0, 10.0)
    assert engine.throttled_s() == {}
    spec = TaskSpec(function=print, name="work", executor="quay")
    engine.handle([Submit(spec, [Attempt(f"t{number}", spec, queued_at=2.0) for number in range(9)])], 2.0)
    measure(3.0, 80.0, 10.0)
    measure(5.0, 20.0, 90.0)
    assert engine.throttled_s() == {"memory": 3.0}
    measure(6.0, 20.0, 90.0)
    measure(7.0, 20.0, 90.0)
    measure(8.0, 20.0, 90.0)
    assert engine.throttled_s()["cpu"] >= 1.0
