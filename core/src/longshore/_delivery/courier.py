"""A courier brings one sink its events: batches from the loop in, guarded calls of the sink on a thread of its own out.

Made, fed and finished by the pool. Whatever the sink does (raise, sleep, block for ever), feeding it costs the same.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from longshore._delivery.mailbox import Batch, Mailbox, Parcel
from longshore._delivery.subscriber import ERROR_CHARS, may_hold
from longshore._packing import described
from longshore.events import AnyEvent
from longshore.hookspecs import Sink
from longshore.records import RunInfo, RunSummary, SinkHealth

SLICE_EVENTS = 1000
"""A sink gets at most this many events in one call."""
LINGER_S = 0.05
"""How long events are gathered before a sink is called: twenty wake-ups a second are felt by nobody."""
_log = logging.getLogger("longshore.sinks")


class SinkCourier:
    """One sink, its mailbox and its daemon thread: `open`, then `on_events` in order, then `close`, never two at once.

    `put`, `conclude` and `health` may be called from any thread and return at once. After `quarantine_after` calls
    in a row that raised, or when `open` raises, the sink gets no more events: one warning is logged, and
    what would have been delivered is counted as dropped; `close` is still called.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        run: RunInfo,
        *,
        limit: int = 10_000,
        quarantine_after: int = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a courier; nothing runs before `start`."""
        self.name = name
        self._sink = sink
        self._types = _types_of(sink)
        self._run = run
        self._quarantine_after = quarantine_after
        self._clock = clock
        self._mailbox = Mailbox(limit)
        self._thread = threading.Thread(target=self._work, name=f"longshore-sink-{name}", daemon=True)
        self._delivered = self._lost = self._errors = self._failing = 0
        self._last_error: str | None = None
        self._quarantined = self._late = False
        self._concluded = threading.Event()
        self._summary: RunSummary | None = None
        self._deadline = float("inf")
        self._in_hand = 0  # taken out of the mailbox, and not yet in a call
        self._in_call = 0

    def start(self) -> None:
        """Start the thread, and open the sink on it."""
        self._thread.start()

    def put(self, batch: Batch, seq: int, at: datetime) -> None:
        """Take in a batch whose events count from `seq`, if the sink may want any; never waits for the sink."""
        if self._types is None or may_hold(batch, self._types):
            self._mailbox.put(batch, seq, at)

    def conclude(self, summary: RunSummary, deadline: float) -> None:
        """Let the sink have what waits, until the clock's `deadline` at most, then close it with `summary`."""
        self._summary, self._deadline = summary, deadline
        self._mailbox.close()
        self._concluded.set()

    def wait(self) -> bool:
        """Wait until the sink is closed, at most to the deadline given to `conclude`; return whether it is.

        False leaves the daemon thread behind with the call it is in; what still waited is dropped and counted.
        """
        self._thread.join(max(0.0, self._deadline - self._clock()))
        if self._thread.is_alive():
            self._mailbox.discard()
        return not self._thread.is_alive()

    def health(self) -> SinkHealth:
        """Return how telling this sink went so far; after `wait` returned False the state is "stuck"."""
        state = self._state()
        given_up = self._in_hand if state == "stuck" else 0
        return SinkHealth(
            name=self.name,
            delivered=self._delivered,
            dropped=self._mailbox.dropped + self._lost + given_up,
            waiting=self._in_call,
            errors=self._errors,
            failing=self._failing,
            last_error=self._last_error,
            state=state,
        )

    def _state(self) -> str:
        if self._thread.is_alive() and self._clock() >= self._deadline:
            return "stuck"
        if self._quarantined:
            return "quarantined"
        if self._errors:
            return "failing"
        return "slow" if self._late or self._mailbox.dropped else "ok"

    def _work(self) -> None:
        opened = self._guard("open", self._run)
        if not opened:
            self._quarantine()
        while parcels := self._mailbox.take(linger=LINGER_S):
            self._deliver(parcels)
        self._concluded.wait()
        if opened:
            self._guard("close", self._summary)

    def _deliver(self, parcels: Sequence[Parcel]) -> None:
        self._in_hand = sum(len(parcel.batch) for parcel in parcels)
        for events in _slices(parcels):
            self._late = self._clock() >= self._deadline
            if self._quarantined or self._late:
                break
            self._in_hand -= len(events)
            wanted = events if self._types is None else [event for event in events if event.type in self._types]
            if not wanted:
                continue
            self._in_call = len(wanted)
            taken = self._guard("on_events", wanted)
            self._in_call = 0
            if taken:
                self._delivered += len(wanted)
                continue
            self._lost += len(wanted)
            if self._failing >= self._quarantine_after:
                self._quarantine()
        self._lost, self._in_hand = self._lost + self._in_hand, 0

    def _guard(self, method: str, argument: object) -> bool:
        """Call the sink; whatever it raises, SystemExit included, is counted and goes no further."""
        try:
            getattr(self._sink, method)(argument)
        except BaseException as error:  # noqa: BLE001 - the sink is a plugin; its faults are its own
            self._errors += 1
            self._failing += 1
            self._last_error = described(error)[:ERROR_CHARS]
            return False
        self._failing = 0
        return True

    def _quarantine(self) -> None:
        self._quarantined = True
        self._mailbox.close()
        _log.warning(
            "sink %s is quarantined after %d failed calls in a row, the last with %s; the run goes on without it",
            self.name,
            self._failing,
            self._last_error,
        )


def _types_of(sink: object) -> frozenset[str] | None:
    """Return which types of events a sink says that it wants; None, which is all, where it does not say so."""
    types = getattr(sink, "event_types", None)
    return frozenset(types) if isinstance(types, (frozenset, set, tuple, list)) else None


def _slices(parcels: Sequence[Parcel]) -> Iterator[list[AnyEvent]]:
    """Yield the parcels' events in order, SLICE_EVENTS at a time."""
    gathered: list[AnyEvent] = []
    for parcel in parcels:
        events = parcel.expand()
        taken = 0
        while len(gathered) + len(events) - taken >= SLICE_EVENTS:
            end = taken + SLICE_EVENTS - len(gathered)
            gathered.extend(events[taken:end])
            taken = end
            yield gathered
            gathered = []
        gathered.extend(events[taken:])
    if gathered:
        yield gathered
