"""A sink that keeps what it is told, and wakes the test that waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Condition

from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import RunInfo, RunSummary


class RecordingSink:
    """Records every event in the order it came; may be read and waited on from any thread."""

    api = 1

    def __init__(self) -> None:
        """Start with nothing told."""
        self._changed = Condition()
        self._events: list[AnyEvent] = []
        self.run: RunInfo | None = None
        """What it was opened with."""
        self.summary: RunSummary | None = None
        """What it was closed with; None until then."""

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Record that a run begins."""
        with self._changed:
            self.run = run
            self._changed.notify_all()

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Record the events."""
        with self._changed:
            self._events.extend(batch)
            self._changed.notify_all()

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        """Record that the run is over."""
        with self._changed:
            self.summary = summary
            self._changed.notify_all()

    @property
    def events(self) -> Sequence[AnyEvent]:
        """Return what has come so far, a copy."""
        with self._changed:
            return list(self._events)

    def of_type(self, *types: str) -> Sequence[AnyEvent]:
        """Return the events of these types, in the order they came."""
        return [event for event in self.events if event.type in types]

    def wait_for(self, predicate: Callable[[Sequence[AnyEvent]], bool], timeout_s: float) -> Sequence[AnyEvent]:
        """Return the events once `predicate` holds for them; raise TimeoutError, naming what came, after `timeout_s`.

        `predicate` is called on the waiting thread, each time something comes.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: predicate(self._events), timeout_s):
                came = [event.type for event in self._events[-10:]]
                raise TimeoutError(
                    f"after {timeout_s:g} s and {len(self._events)} events it does not hold; last: {came}"
                )
            return list(self._events)

    def wait_closed(self, timeout_s: float) -> RunSummary:
        """Return the summary once the run is over; raise TimeoutError after `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self.summary is not None, timeout_s)
            if self.summary is None:
                raise TimeoutError(f"the sink was not closed within {timeout_s:g} s")
            return self.summary


__all__ = ["RecordingSink"]
