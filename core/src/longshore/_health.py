"""Whether a pool is well: a few looks, from any thread, each with a reason when it finds something."""

from __future__ import annotations

import asyncio
import threading
import time

from longshore._delivery import EventBus
from longshore._runtime.driver import Driver
from longshore._runtime.executors import Executors
from longshore._telling import Telling
from longshore.monitor import ResourceMonitor
from longshore.records import Health
from longshore.task import Priority

_ANSWER_S = 1.0  # what the loop gets to answer in
_LOST = ("quarantined", "stuck")


def look(driver: Driver, executors: Executors, monitor: ResourceMonitor, telling: Telling) -> Health:
    """Return the health of a pool that was started; waits up to a second for its loop when called from elsewhere."""
    found = {
        "running": _running(driver),
        "loop": _loop(driver.loop),
        "executors": [
            *(f"executor {name} has no workers" for name in executors.up() if not driver.engine.slots().get(name)),
            *driver.engine.scaled_late(time.monotonic()),
            *(f"executor {name}: {complaint}" for name, complaint in executors.complaints()),
        ],
        "queue": _queue(driver),
        "probes": [f"probe {name} gives no readings" for name in monitor.silent()],
        "sinks": [f"sink {sink.name} is {sink.state}" for sink in telling.health() if sink.state in _LOST],
        "handlers": _handlers(telling.bus),
    }
    reasons = tuple(reason for group in found.values() for reason in group)
    return Health(healthy=not reasons, reasons=reasons, checks={name: not group for name, group in found.items()})


def _handlers(bus: EventBus) -> list[str]:
    """Name the handlers that do not come back from a call; of what else there may be, `bus.health()` says more."""
    stuck = [f"event handler {one.name} is stuck" for one in bus.health() if one.state == "stuck"]
    return stuck or ([] if bus.is_healthy() else ["a handler of events does not keep up, or raised"])


def _running(driver: Driver) -> list[str]:
    if driver.failure is not None:
        return [f"the pool has failed: {driver.failure}"]
    return ["the pool takes no work: it is stopping, or has stopped"] if driver.ending else []


def _loop(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Ask the loop for a sign of life, unless this is its own thread."""
    try:
        if asyncio.get_running_loop() is loop:
            return []
    except RuntimeError:
        pass
    answered = threading.Event()
    try:
        loop.call_soon_threadsafe(answered.set)
    except RuntimeError:
        return ["the pool's loop is closed"]
    return [] if answered.wait(_ANSWER_S) else [f"the pool's loop did not answer within {_ANSWER_S:g} s"]


def _queue(driver: Driver) -> list[str]:
    full = {"the queue": Priority.NORMAL, "the queue of CRITICAL tasks": Priority.CRITICAL}
    return [f"{what} is full" for what, priority in full.items() if driver.room(priority) <= 0]
