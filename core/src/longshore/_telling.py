"""What the pool tells: every batch of events goes into the fold, and from there to the bus and to each sink's courier.

Called by the pool on its loop. Nobody who is told can hold it up: with no sink and subscriber a batch costs the fold.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from longshore._delivery import EventBus, ForeignBus, SinkCourier
from longshore._tracking import RunFold
from longshore.events import EventBatch, Happened
from longshore.hookspecs import Sink
from longshore.records import RunInfo, RunSnapshot, RunSummary, SinkHealth, Usage


class Telling:
    """One run's fold, bus and sinks. `snapshot` may be called from any thread."""

    def __init__(self, bus: EventBus, foreign: object | None) -> None:
        """Tell `bus`, and through it a duck-typed bus of the user's."""
        self._bus = bus
        self._couriers: list[SinkCourier] = []
        self._began = time.monotonic()
        self.fold = RunFold(self._began)
        self.run: RunInfo | None = None
        self._seq = 1
        self._expected: int | None = 0
        self._troubles: Counter[str] = Counter()
        self.throttled: Callable[[], str | None] = lambda: None
        self.usage: Callable[[], Mapping[str, Usage]] = dict
        self._detach = ForeignBus(foreign).attach(bus) if foreign is not None else None

    @property
    def uptime_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def expect(self, tasks: int | None) -> None:
        """Add to how many tasks there will be; once somebody can't say, nobody can."""
        self._expected = None if tasks is None or self._expected is None else self._expected + tasks

    def open(self, run: RunInfo, sinks: Mapping[str, Sink]) -> None:
        """Begin to tell the sinks of this run."""
        self.run = run
        self._couriers = [SinkCourier(name, sink, run) for name, sink in sinks.items()]
        for courier in self._couriers:
            courier.start()

    def publish(self, batch: EventBatch) -> None:
        """Fold a batch and pass it on."""
        if isinstance(batch, Happened) and batch.type == "worker_error":
            self._troubles[str(batch.data.get("error", "no reason given"))[:200]] += 1
        self.fold.fold(batch, time.monotonic())
        at = datetime.now(UTC)
        self._bus.publish_batch(batch, self._seq, at)
        for courier in self._couriers:
            courier.put(batch, self._seq, at)
        self._seq += len(batch)

    def snapshot(self) -> RunSnapshot:
        """Return the run as it is now."""
        if self.run is None:
            raise RuntimeError("the run has not begun")
        return self.fold.snapshot(
            self.run,
            time.monotonic(),
            total=self._expected or None,
            throttled=self.throttled(),
            usage=self.usage(),
            sinks=self.health(),
        )

    def health(self) -> Sequence[SinkHealth]:
        """Return how telling each sink went so far."""
        return [courier.health() for courier in self._couriers]

    def notes(self) -> list[str]:
        """Return a line for people on each sink that did not go well, and on what went wrong with workers."""
        workers = [f"{count} x a worker: {trouble}" for trouble, count in self._troubles.most_common(5)]
        return [_note(health) for health in self.health() if health.state != "ok"] + workers

    async def conclude(self, summary: RunSummary, within_s: float) -> None:
        """Let each sink have what waits for it and close, side by side, and give up on those that take longer."""
        deadline = time.monotonic() + within_s
        for courier in self._couriers:
            courier.conclude(summary, deadline)
        loop = asyncio.get_running_loop()
        waits = [loop.run_in_executor(None, courier.wait) for courier in self._couriers]
        await asyncio.gather(self._bus.drain(within_s), *waits)
        if self._detach is not None:
            self._detach()


def _note(health: SinkHealth) -> str:
    what = f"sink {health.name} is {health.state}: {health.delivered} events delivered, {health.dropped} dropped"
    if health.errors:
        what += f", {health.errors} error{'s' if health.errors > 1 else ''}"
    return f"{what}; the last: {health.last_error}" if health.last_error else what
