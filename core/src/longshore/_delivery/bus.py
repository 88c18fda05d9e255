"""The event bus: who subscribes is told of everything that happens, in order, without the teller waiting.

Fed by the pool with batches and by anyone with single events; the work is done in the lanes.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from longshore._delivery.foreign import as_event
from longshore._delivery.lanes import Lane, LoopLane, ThreadLane, running_loop
from longshore._delivery.mailbox import Batch
from longshore._delivery.subscriber import Barrier, Handler, Single, Subscriber, Subscription
from longshore.records import SinkHealth

LIMIT_EVENTS = 10_000


class EventBus:
    """Tells subscribers what happens; made anywhere, usable from any thread, and never in the publisher's way.

    Events of one task come in the order they happened, each subscriber is called for one at a time, and what a
    subscriber raises is counted and hurts nobody else. Plain functions are called on the bus's own thread, coroutine
    functions on the loop they were subscribed on. To a subscriber that does not keep up, at most `limit_events` wait:
    then progress is reduced to the newest of each task, after that events of tasks under way are dropped, and ends of
    tasks only when ten times as many wait; every drop is counted in `health`.
    """

    def __init__(self, *, limit_events: int = LIMIT_EVENTS, clock: Callable[[], float] = time.monotonic) -> None:
        """Make a bus without subscribers; it has no thread, and needs no loop.

        TypeError for a limit that is no whole number, ValueError for one below 1. `clock` is for tests.
        """
        if isinstance(limit_events, bool) or not isinstance(limit_events, int):
            raise TypeError(f"limit_events must be a whole number, not {type(limit_events).__name__}")
        if limit_events < 1:
            raise ValueError(f"limit_events must be at least 1, not {limit_events}")
        self._limit_events = limit_events
        self._clock = clock
        self._lock = threading.Lock()
        self._lanes: tuple[Lane, ...] = ()

    def subscribe(
        self, handler: Handler, types: Iterable[str] | str | None = None, *, name: str | None = None
    ) -> Subscription:
        """Call `handler` with each event to come, of the given types only; what is returned ends it when called.

        A coroutine function is called on the loop that runs here, or where none runs, or it is closed by then, on the
        first loop that something is published from. `name` is what `health` shows.
        """
        wanted = None if types is None else frozenset({types} if isinstance(types, str) else types)
        subscriber = Subscriber(handler, wanted, name or str(getattr(handler, "__qualname__", handler)))
        with self._lock:
            lane = self._enter(subscriber)
        return Subscription(lambda: self._leave(lane, subscriber), lambda: self._finish(lane, subscriber))

    def publish(self, event: object) -> None:
        """Tell of one event: ours, or any object with `.type` and `.data`; returns before anyone was called."""
        told = as_event(event)
        self.publish_batch(Single(told), told.seq, told.at)

    async def emit(self, event: object) -> None:
        """Do what `publish` does, for callers that await; handlers are called later."""
        self.publish(event)

    @property
    def is_heard(self) -> bool:
        """Whether anybody subscribes."""
        return bool(self._lanes)

    def publish_batch(self, batch: Batch, seq: int, at: datetime) -> None:
        """Tell of a batch whose events count from `seq`; without subscribers it costs one test."""
        if self._lanes:
            for lane in self._lanes:
                lane.put(batch, seq, at)

    async def drain(self, timeout_s: float) -> bool:
        """Wait until all that was published before has been handled; False when that takes longer."""
        barriers = []
        for lane in self._lanes:
            barriers.append(Barrier())
            lane.put_barrier(barriers[-1], datetime.now(UTC))
        futures = [asyncio.wrap_future(barrier.reached) for barrier in barriers]
        if not futures:
            return True
        _, late = await asyncio.wait(futures, timeout=timeout_s)
        for future in late:
            future.cancel()
        return not late

    def rest(self, timeout_s: float = 1.0) -> None:
        """End the bus's thread when it has told what waits, waiting up to `timeout_s`; the next event starts another.

        Nobody is unsubscribed: it is for the time between two runs, and does no harm at any other.
        """
        lanes = self._lanes
        for lane in lanes:
            lane.rest()
        for lane in lanes:
            lane.join(timeout_s)

    def close(self, timeout_s: float = 1.0) -> None:
        """End all subscriptions and the bus's thread, waiting for it up to `timeout_s`; what waits is still told."""
        with self._lock:
            lanes, self._lanes = self._lanes, ()
        for lane in lanes:
            lane.mailbox.close()
        for lane in lanes:
            lane.join(timeout_s)

    def is_healthy(self) -> bool:
        """Tell whether every subscriber keeps up, and its last call did not raise.

        Nobody keeps up who has been in one call for more than two seconds while more waits to be told.
        """
        return all(lane.is_healthy for lane in self._lanes)

    def health(self) -> list[SinkHealth]:
        """Return how telling each subscriber went; plain functions share a thread, what it dropped and what waits.

        "stuck" is who has been in one call for more than two seconds while more waits to be told.
        """
        return [health for lane in self._lanes for health in lane.health()]

    def _enter(self, subscriber: Subscriber) -> Lane:
        loop = running_loop()
        if _is_async(subscriber.handler):
            own = LoopLane(self._limit_events, self._clock, loop=loop)
            own.add(subscriber)
            self._lanes = (*self._lanes, own)
            return own
        for lane in self._lanes:
            if isinstance(lane, ThreadLane):
                lane.add(subscriber, loop)
                return lane
        shared = ThreadLane(self._limit_events, self._clock)
        shared.add(subscriber, loop)
        self._lanes = (*self._lanes, shared)
        return shared

    def _finish(self, lane: Lane, subscriber: Subscriber) -> None:
        if not lane.waiting:
            self._leave(lane, subscriber)
            return
        subscriber.until = lane.mailbox.place
        told = Barrier()
        told.reached.add_done_callback(lambda _: self._leave(lane, subscriber))
        lane.put_barrier(told, datetime.now(UTC))

    def _leave(self, lane: Lane, subscriber: Subscriber) -> None:
        with self._lock:
            lane.remove(subscriber)
            if not lane.subscribers:
                self._lanes = tuple(other for other in self._lanes if other is not lane)


def _is_async(handler: Handler) -> bool:
    """Tell whether calling the handler gives a coroutine, as far as can be seen from outside."""
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        inspect.getattr_static(handler, "__call__", None)
    )
