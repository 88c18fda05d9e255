"""Whether a pool is well: a few looks, from any thread, each with a reason when it finds something."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping

from longshore._delivery import EventBus
from longshore._journaling import Journaling
from longshore._packing import message_of
from longshore._runtime.driver import Driver
from longshore._runtime.executors import Executors
from longshore._runtime.roster import Roster
from longshore._telling import Telling
from longshore._watching import Watching
from longshore.errors import JournalError
from longshore.monitor import ResourceMonitor
from longshore.records import Health, SinkHealth, WorkerStatus

_ANSWER_S = 1.0  # what the loop gets to answer in
_LATE_S = 5.0  # what the scheduler may be behind its times, as it is while the loop is taken for a moment
_COMMIT_S = 10.0  # what a commit may take before people should know
_LOST = ("quarantined", "stuck")


def look(
    driver: Driver,
    executors: Executors,
    *,
    roster: Roster,
    monitor: ResourceMonitor,
    telling: Telling,
    journaling: Journaling | None,
    watching: Watching,
) -> Health:
    """Return the health of a pool that was started; waits up to a second for its loop when called from elsewhere.

    What the pool has none of, such as a journal, is not looked at.
    """
    late_s = 0.0 if _is_here(driver.loop) else watching.late_s()
    found = {
        "running": _running(driver),
        "loop": _loop(driver.loop),
        "scheduler": [f"what is due has not been done for {late_s:.0f} s"] if late_s > _LATE_S else [],
        "executors": _executors(driver, executors),
        "workers": _workers(roster),
        "queue": watching.saturated(),
        "progress": watching.stalled(),
        "probes": [f"probe {name} gives no readings" for name in monitor.silent()],
        "sinks": [f"sink {sink.name} is {sink.state}" for sink in telling.health() if _is_lost(sink)],
        "handlers": _handlers(telling.bus),
    }
    if journaling is not None:
        found["journal"] = _journal(driver, journaling)
    if monitor.probes:
        found["monitor"] = _monitor(driver, monitor)
    return _told(found)


def _told(found: Mapping[str, list[str]]) -> Health:
    reasons = tuple(reason for group in found.values() for reason in group)
    return Health(
        healthy=not reasons,
        reasons=reasons,
        checks={name: not group for name, group in found.items()},
        found={name: tuple(group) for name, group in found.items() if group},
    )


def _executors(driver: Driver, executors: Executors) -> list[str]:
    slots = driver.engine.slots()
    return [
        *(f"executor {name} has no workers" for name in executors.up() if not slots.get(name)),
        *driver.engine.scaled_late(time.monotonic()),
        *(f"executor {name}: {complaint}" for name, complaint in executors.complaints()),
    ]


def _workers(roster: Roster) -> list[str]:
    dead = [row.worker_id for row in roster.workers() if row.status is WorkerStatus.ERROR]
    return [f"worker {name} is dead, or does not answer" for name in dead]


def _is_lost(sink: SinkHealth) -> bool:
    """Tell whether a sink hears nothing any more, or has raised when it was told last; it may have before, too."""
    return sink.state in _LOST or (sink.failing > 0 and sink.state == "failing")


def _handlers(bus: EventBus) -> list[str]:
    """Name the handlers that do not come back from a call; of what else there may be, `bus.health()` says more."""
    stuck = [f"event handler {one.name} is stuck" for one in bus.health() if one.state == "stuck"]
    return stuck or ([] if bus.is_healthy() else ["a handler of events does not keep up, or raised"])


def _running(driver: Driver) -> list[str]:
    if driver.failure is not None:
        return [f"the pool has failed: {message_of(driver.failure)}"]
    return ["the pool takes no work: it is stopping, or has stopped"] if driver.ending else []


def _is_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether this is the loop's own thread, so that it turns."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _loop(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Ask the loop for a sign of life, unless this is its own thread."""
    if _is_here(loop):
        return []
    answered = threading.Event()
    try:
        loop.call_soon_threadsafe(answered.set)
    except RuntimeError:
        return ["the pool's loop is closed"]
    return [] if answered.wait(_ANSWER_S) else [f"the pool's loop did not answer within {_ANSWER_S:g} s"]


def _journal(driver: Driver, journaling: Journaling) -> list[str]:
    if isinstance(driver.failure, JournalError):
        return [message_of(driver.failure)]
    busy_s = journaling.busy_s()
    return [f"the journal has been at a commit for {busy_s:.0f} s"] if busy_s > _COMMIT_S else []


def _monitor(driver: Driver, monitor: ResourceMonitor) -> list[str]:
    """Return that what was measured is too old to count, or that nothing is measured any more."""
    if driver.ending:
        return []
    if not monitor.running:
        return ["the resource monitor was stopped: nothing is measured"]
    quiet_s = monitor.quiet_s()
    return [f"no probe has given a reading for {quiet_s:.0f} s"] if quiet_s > monitor.valid_s else []
