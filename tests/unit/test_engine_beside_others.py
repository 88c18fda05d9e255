"""Beside others: the cap settles at what is left, stalls have to be over for a while, and the time is counted."""

from __future__ import annotations

from math import inf

import pytest
from longshore._engine.messages import Measured
from longshore._engine.pressure import Pressure
from longshore.records import Load

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
