"""Who subscribed to the bus, and what the bus itself puts between the batches; called by the lanes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from datetime import datetime

from longshore._delivery.mailbox import Batch, Parcel
from longshore._packing import described
from longshore.events import (
    TERMINAL_TYPES,
    AnyEvent,
    Happened,
    TaskRetrying,
    TasksProgressed,
    TasksSettled,
    TasksStarted,
    TasksSubmitted,
)
from longshore.records import SinkHealth

Handler = Callable[[AnyEvent], object]

ERROR_CHARS = 500
"""Of what a handler or a sink raised, that are kept."""
_TYPES: dict[type, frozenset[str]] = {
    TasksSubmitted: frozenset({"task_submitted"}),
    TasksStarted: frozenset({"task_started"}),
    TasksProgressed: frozenset({"task_progress"}),
    TaskRetrying: frozenset({"task_retried"}),
    TasksSettled: TERMINAL_TYPES,
}
_log = logging.getLogger("longshore.events")


class Single:
    """A batch of one event that somebody published."""

    def __init__(self, event: AnyEvent) -> None:
        """Carry `event`."""
        self.event = event

    def __len__(self) -> int:
        """Return 1."""
        return 1

    def expand(self, seq: int, at: datetime) -> Sequence[AnyEvent]:
        """Return the event as it is."""
        return (self.event,)


def may_hold(batch: Batch, types: frozenset[str]) -> bool:
    """Tell whether any event of the batch may be of one of these types; costs by the batch."""
    if isinstance(batch, Happened):
        return batch.type in types
    if isinstance(batch, Single):
        return batch.event.type in types
    return not types.isdisjoint(_TYPES.get(type(batch), frozenset()))


class Barrier:
    """A batch that is no event: `reached` is done once everything before it has been handled."""

    def __init__(self) -> None:
        """Not reached yet."""
        self.reached: Future[None] = Future()

    def __len__(self) -> int:
        """Return 0: it is no event."""
        return 0

    def expand(self, seq: int, at: datetime) -> Sequence[AnyEvent]:
        """Return no event; lanes expand one batch after another, so all before it are done."""
        self.reach()
        return ()

    def reach(self) -> None:
        """Let nobody wait for it any more."""
        with suppress(InvalidStateError):  # reached before, or given up on
            self.reached.set_result(None)


class Subscriber:
    """One handler, what it wants to hear, and how that went; it came and left at places in its mailbox."""

    def __init__(self, handler: Handler, types: frozenset[str] | None, name: str) -> None:
        """Subscribe `handler` to `types`, or to everything."""
        self.handler = handler
        self.types = types
        self.name = name
        self.since = 0
        self.until: int | None = None  # None while it stays
        self.active = True
        self.delivered = self.errors = self.failing = 0
        self.last_error: str | None = None
        self.called_at: float | None = None  # when the call it is in began

    def wants(self, batch: Batch) -> bool:
        """Tell whether any event of the batch may be of a type it wants."""
        return self.types is None or may_hold(batch, self.types)

    def selected(self, parcel: Parcel) -> bool:
        """Tell whether a batch that waited is for it."""
        there = parcel.place > self.since and (self.until is None or parcel.place <= self.until)
        return self.active and there and self.wants(parcel.batch)

    def likes(self, event: AnyEvent) -> bool:
        """Tell whether an event is for it."""
        return self.active and (self.types is None or event.type in self.types)

    def succeeded(self) -> None:
        """Count a call that returned."""
        self.delivered += 1
        self.failing = 0

    def failed(self, error: BaseException) -> None:
        """Count a call that raised; only the first is logged."""
        self.errors += 1
        self.failing += 1
        self.last_error = described(error)[:ERROR_CHARS]
        if self.errors == 1:
            _log.warning(
                "event handler %s raised %s; it goes on being called, and its errors counted",
                self.name,
                self.last_error,
            )

    def health(self, dropped: int, waiting: int, *, is_stuck: bool) -> SinkHealth:
        """Return how it went, `dropped` being what its lane dropped, and `waiting` what waits there."""
        state = "stuck" if is_stuck else "failing" if self.errors else "slow" if dropped else "ok"
        return SinkHealth(
            name=self.name,
            delivered=self.delivered,
            dropped=dropped,
            waiting=waiting,
            errors=self.errors,
            last_error=self.last_error,
            state=state,
        )


class Subscription:
    """The end of one subscription, in two ways; calling it ends it at once."""

    def __init__(self, leave: Callable[[], None], finish: Callable[[], None]) -> None:
        """End it by one of these."""
        self._leave = leave
        self.finish = finish
        """End it once all was told that waits; nothing that comes later is."""

    def __call__(self) -> None:
        """End it; what waits is not told any more."""
        self._leave()
