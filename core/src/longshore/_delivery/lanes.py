"""The lanes of the bus: where subscribers are called. Batches in from any thread, single events out, in order.

Handlers that are plain functions share one daemon thread; each coroutine function has a lane on its own loop. A lane
has a bounded mailbox, so a slow handler costs events of its lane, counted, and never memory or the publisher's time.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from contextvars import copy_context
from datetime import datetime

from longshore._delivery.mailbox import Batch, Mailbox, Parcel
from longshore._delivery.subscriber import Barrier, Subscriber
from longshore.events import AnyEvent
from longshore.records import SinkHealth

AWAITABLE_LIMIT_S = 10.0
"""How long the bus's thread waits for what a plain function returned to be awaited."""
CALL_LIMIT_S = 2.0
"""A call that has gone on for longer, with events waiting behind it, is not well."""
_EVENTS_PER_TURN = 50  # a loop lane lets others on the loop have a turn after so many events
_LINGER_S = 0.002


class Lane:
    """What both kinds of lane have in common: a mailbox and its subscribers."""

    def __init__(self, limit_events: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Make an empty lane; `clock` is for tests."""
        self.mailbox = Mailbox(limit_events)
        self.subscribers: tuple[Subscriber, ...] = ()
        self.clock = clock
        self._lost = 0
        self._barriers: set[Barrier] = set()
        self._given_up = False

    def add(self, subscriber: Subscriber) -> None:
        """Let a subscriber hear what comes from now on."""
        subscriber.since = self.mailbox.place
        self.subscribers = (*self.subscribers, subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        """Let a subscriber hear nothing more; the last one closes the lane."""
        subscriber.active = False
        self.subscribers = tuple(other for other in self.subscribers if other is not subscriber)
        if not self.subscribers:
            self.mailbox.close()

    def put(self, batch: Batch, seq: int, at: datetime) -> None:
        """Take in a batch if anybody here wants it; never waits for a handler."""
        if any(subscriber.until is None and subscriber.wants(batch) for subscriber in self.subscribers):
            self.mailbox.put(batch, seq, at)
            self.wake()

    def put_barrier(self, barrier: Barrier, at: datetime) -> None:
        """Take in a barrier, whoever is here; in a closed lane it is reached at once."""
        self._barriers.add(barrier)
        barrier.reached.add_done_callback(lambda _: self._barriers.discard(barrier))
        kept = self.mailbox.mark(barrier, at)
        self.wake()
        if not kept or self._given_up:
            barrier.reach()

    def wake(self) -> None:
        """See to it that what waits is handled."""

    def rest(self) -> None:
        """Hold no thread while nothing is to be told."""

    def join(self, timeout_s: float) -> None:
        """Wait for the lane's own thread, if it has one."""

    @property
    def dropped(self) -> int:
        """How many events nobody here will be told of."""
        return self.mailbox.dropped + self._lost

    @property
    def waiting(self) -> int:
        """How many events are still to be told here, one that a call goes on with included."""
        return self.mailbox.in_hand + self.mailbox.pending

    def is_stuck(self, subscriber: Subscriber) -> bool:
        """Tell whether a subscriber is in a call that has taken too long, with events behind it."""
        began = subscriber.called_at
        return began is not None and self.waiting > 1 and self.clock() - began > CALL_LIMIT_S

    def health(self) -> list[SinkHealth]:
        """Return how telling each subscriber went; what its lane holds and dropped is the same for all of them."""
        return [
            subscriber.health(self.dropped, self.waiting, is_stuck=self.is_stuck(subscriber))
            for subscriber in self.subscribers
        ]

    @property
    def is_healthy(self) -> bool:
        """Whether it keeps up, no call takes too long, and every handler's last call did not raise."""
        keeps_up = self.mailbox.pending <= self.mailbox.limit_events and not self.mailbox.closed
        return keeps_up and not any(one.failing or self.is_stuck(one) for one in self.subscribers)

    def opened(self, parcels: Sequence[Parcel]) -> Iterator[tuple[list[Subscriber], AnyEvent]]:
        """Yield each event of what was taken, with those it may be for, and keep count of what is still in hand."""
        for parcel in parcels:
            told = [subscriber for subscriber in self.subscribers if subscriber.selected(parcel)]
            for event in parcel.expand():
                yield told, event
                self.mailbox.in_hand -= 1


class ThreadLane(Lane):
    """The lane of the plain functions: one daemon thread while there is something to tell, or soon may be."""

    def __init__(self, limit_events: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Make the lane; its thread starts with the first event."""
        super().__init__(limit_events, clock)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loops: dict[Subscriber, asyncio.AbstractEventLoop] = {}

    def add(self, subscriber: Subscriber, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Let a subscriber hear what comes from now on; what it returns to be awaited is awaited on `loop`."""
        if loop is not None:
            self._loops[subscriber] = loop
        super().add(subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        """Let a subscriber hear nothing more; the last one ends the thread."""
        super().remove(subscriber)
        self._loops.pop(subscriber, None)

    def wake(self) -> None:
        """Start the thread, unless it is there; where none is to be had, the next event tries again."""
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="longshore-bus", daemon=True)
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def rest(self) -> None:
        """Let the thread end when it has told all there is; the next event starts another."""
        with self._lock:
            if self._thread is not None:
                self.mailbox.release()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end, unless this is it."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _work(self) -> None:
        while (parcels := self.mailbox.take(linger=_LINGER_S)) or self._goes_on():
            for told, event in self.opened(parcels):
                for subscriber in told:
                    if subscriber.likes(event):
                        self._call(subscriber, event)

    def _goes_on(self) -> bool:
        """Tell whether something came after all; if not, the thread ends, and `wake` starts another for what comes."""
        with self._lock:
            if self.mailbox.is_empty:
                self._thread = None
            return self._thread is not None

    def _call(self, subscriber: Subscriber, event: AnyEvent) -> None:
        subscriber.called_at = self.clock()
        try:
            result = subscriber.handler(event)
            if inspect.isawaitable(result):
                self._await(result, self._loops.get(subscriber))
        except BaseException as error:  # noqa: BLE001 - a handler is the user's; its faults are its own
            subscriber.failed(error)
        else:
            subscriber.succeeded()
        subscriber.called_at = None

    def _await(self, result: Awaitable[object], loop: asyncio.AbstractEventLoop | None) -> None:
        if loop is None or loop.is_closed():
            if inspect.iscoroutine(result):
                result.close()
            raise TypeError("the handler returned an awaitable, and was subscribed where no event loop runs")
        future = asyncio.run_coroutine_threadsafe(_awaited(result), loop)
        try:
            future.result(AWAITABLE_LIMIT_S)
        finally:
            future.cancel()


class LoopLane(Lane):
    """The lane of one coroutine function: a task on its loop while there is something to tell."""

    def __init__(
        self,
        limit_events: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Make the lane; without a loop, or once that is closed, it takes the one that runs where one publishes."""
        super().__init__(limit_events, clock)
        self._loop = loop
        self._context = copy_context()  # handlers run in that of their subscription, not of whoever publishes
        self._lock = threading.Lock()
        self._awake = False
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Start the lane's task unless it runs; a loop that is closed, with none here, closes the lane."""
        with self._lock:
            if self._awake:
                return
            if self._loop is None or self._loop.is_closed():
                found = running_loop()
                if found is None:
                    if self._loop is not None:
                        self._give_up()
                    return
                self._loop = found
            self._awake = True
        try:
            self._loop.call_soon_threadsafe(self._begin, self._loop, context=self._context)
        except RuntimeError:  # the loop is closed, and nobody is left to tell
            self._give_up()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._task = loop.create_task(self._pump())

    def _give_up(self) -> None:
        """Drop what waits, since nobody will come for it; no barrier is waited for in vain."""
        self._given_up = True
        self.mailbox.close()
        self.mailbox.discard()
        self._lost, self.mailbox.in_hand = self._lost + self.mailbox.in_hand, 0
        for barrier in tuple(self._barriers):
            barrier.reach()

    async def _pump(self) -> None:
        try:
            while self._stay_awake():
                await self._tell(self.mailbox.take(0.0))
        except asyncio.CancelledError:
            self._give_up()
            raise

    def _stay_awake(self) -> bool:
        with self._lock:
            self._awake = not self.mailbox.is_empty
            return self._awake

    async def _tell(self, parcels: Sequence[Parcel]) -> None:
        for count, (told, event) in enumerate(self.opened(parcels), 1):
            for subscriber in told:
                if subscriber.likes(event):
                    await self._call(subscriber, event)
            if count % _EVENTS_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _call(self, subscriber: Subscriber, event: AnyEvent) -> None:
        subscriber.called_at = self.clock()
        try:
            result = subscriber.handler(event)
            if inspect.isawaitable(result):
                await result
        except BaseException as error:  # a handler is the user's; its faults are its own
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            subscriber.failed(error)
        else:
            subscriber.succeeded()
        finally:
            subscriber.called_at = None


async def _awaited(result: Awaitable[object]) -> object:
    return await result


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs on this thread, None where none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
