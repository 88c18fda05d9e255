"""When what has ended is told: together while there is more to do, and never late for that."""

from __future__ import annotations

import time
from typing import Any

from longshore.hookspecs import WorkerNotice
from longshore_processes.gathering import Gathering


def doze(seconds: float) -> None:
    """Sleep."""
    time.sleep(seconds)


def test_outcomes_are_gathered_for_a_moment_only() -> None:
    """They wait while others are coming, but not past 4 ms, nor once there are many; then it begins anew."""
    gathering = Gathering()
    asked = [
        (1, 5.0, False),
        (1, 5.0, True),
        (2, 5.003, True),
        (2, 5.004, True),
        (10_000, 5.002, True),
        (1, 6.0, True),
        (1, 6.0001, False),
    ]
    goes_on = [(gathering.goes_on(count, now, more=more), gathering.until) for count, now, more in asked]
    ends = (False, None)
    assert goes_on == [ends, (True, 5.004), (True, 5.004), ends, ends, (True, 6.004), ends]


def test_what_ended_is_told_while_others_wait(lone_yard: Any) -> None:
    """An outcome reaches the pool though its worker has gone on to a long task, and another waits behind that."""
    lone_yard.run(doze, [0.03])
    ids = lone_yard.submit(doze, [0.03, 30.0, 30.0])
    lone_yard.wait(ids[:1], 5.0)
    lone_yard.cancel(ids)
    lone_yard.wait(ids)


def test_what_the_crew_says_is_told_each_time(lone_yard: Any) -> None:
    """A notice is passed on whatever was told before it: each comes once, in order."""
    supervisor = lone_yard.executor._supervisor
    for number in range(3):
        supervisor.crew._on_notice(WorkerNotice("worker_error", {"error": str(number)}))
        lone_yard.run(doze, [0.0])
        told = [notice.data["error"] for notice in lone_yard.host.notices]
        assert told == [str(each) for each in range(number + 1)]
