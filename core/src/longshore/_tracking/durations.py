"""How long tasks took, by processor: durations of the completed in sketches, the others counted apart."""

from __future__ import annotations

from typing import Any

from longshore._sketch import Sketch
from longshore._tracking.stages import OTHER, STAGES_MOST


class _Durations:
    __slots__ = ("cancelled", "failed", "took")

    def __init__(self) -> None:
        self.took = Sketch()
        self.failed = 0
        self.cancelled = 0

    def merge(self, other: _Durations) -> None:
        self.took.merge(other.took)
        self.failed += other.failed
        self.cancelled += other.cancelled

    def told(self) -> dict[str, Any]:  # Any: numbers
        told: dict[str, Any] = {
            "total_tasks": self.took.count,
            "failed_tasks": self.failed,
            "cancelled_tasks": self.cancelled,
        }
        if self.took.count:
            told |= {
                "average_duration": self.took.mean,
                "median_duration": self.took.median,
                "min_duration": self.took.least,
                "max_duration": self.took.most,
                "std_duration": self.took.deviation,
            }
        return told


class DurationBook:
    """Durations in seconds by processor, in bounded space; names past the limit share one entry."""

    __slots__ = ("_books",)

    def __init__(self) -> None:
        """Begin with none."""
        self._books: dict[str, _Durations] = {}

    def completed(self, name: str, took_s: float) -> None:
        """Count a task that completed."""
        self._of(name).took.add(took_s)

    def failed(self, name: str) -> None:
        """Count a task that failed or timed out; how long it took says nothing of those that succeed."""
        self._of(name).failed += 1

    def cancelled(self, name: str) -> None:
        """Count a task that was cancelled."""
        self._of(name).cancelled += 1

    def of(self, name: str) -> dict[str, Any]:  # Any: numbers and the name
        """Return the statistics of one processor, nothing of one that is not known."""
        book = self._books.get(name)
        return {} if book is None else {"processor": name, **book.told()}

    def of_all(self) -> dict[str, Any]:  # Any: numbers, and by name dicts of them
        """Return the statistics over all processors, and by processor."""
        if not self._books:
            return {"total_tasks": 0}
        whole = _Durations()
        for book in self._books.values():
            whole.merge(book)
        by_name = {name: book.told() for name, book in self._books.items()}
        return {**whole.told(), "processors": len(by_name), "per_processor": by_name}

    def _of(self, name: str) -> _Durations:
        if name not in self._books and len(self._books) >= STAGES_MOST:
            name = OTHER
        return self._books.setdefault(name, _Durations())
