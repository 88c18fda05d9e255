"""What is known of single tasks: told by events or by hand, read as records; called by the progress tracker.

Times are given: `at` is a stamp for people, `now` monotonic seconds that durations are measured in.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from longshore._tracking.durations import DurationBook
from longshore._tracking.shelf import Shelf
from longshore.task import TaskState

Data = Mapping[str, Any]  # Any: an event's JSON-safe values, of which a stranger's may be anything


class Entry:
    """One task; the first fourteen fields are those of the record that is made of it."""

    __slots__ = (
        "children",
        "children_ended",
        "completed_at",
        "completed_steps",
        "cpu_usage",
        "current_step",
        "document_id",
        "error",
        "memory_usage",
        "message",
        "own",
        "parent_id",
        "processor_name",
        "progress",
        "started",
        "started_at",
        "status",
        "task_id",
        "total_steps",
    )

    def __init__(self, task_id: str, processor_name: str, document_id: str, parent_id: str | None = None) -> None:
        """Begin with a task that is queued."""
        self.task_id = task_id
        self.processor_name = processor_name
        self.document_id = document_id
        self.status = TaskState.QUEUED.value
        self.progress = 0.0
        self.message = ""
        self.started_at: datetime | None = None
        self.completed_at: datetime | None = None
        self.error: str | None = None
        self.current_step: str | None = None
        self.total_steps: int | None = None
        self.completed_steps = 0
        self.cpu_usage = 0.0
        self.memory_usage = 0.0
        self.parent_id = parent_id
        self.started: float | None = None
        self.own = False
        """Whether it said itself how far it is; else its children say it."""
        self.children = self.children_ended = 0

    def start(self, at: datetime, now: float) -> None:
        """Begin to run; an attempt after the first changes no stamp."""
        self.status = TaskState.PROCESSING.value
        if self.started is None:
            self.started_at, self.started = at, now

    def advance(self, progress: float | None) -> None:
        """Be so far, or as far as the steps say; taken into 0 to 1, and never back."""
        if progress is None and self.total_steps:
            progress = self.completed_steps / self.total_steps
        if progress is not None and progress > self.progress:
            self.progress = min(1.0, progress)

    def follow_children(self) -> None:
        """Be as far as the share of the children that ended; all of them are not the task's own end."""
        if not self.own:
            self.completed_steps, self.total_steps = self.children_ended, self.children
            whole = self.children + (self.children_ended == self.children)
            self.advance(self.children_ended / whole)

    def end(self, state: str, at: datetime, now: float, error: str | None) -> float:
        """Reach an end; return the seconds since the start, 0.0 if there was none."""
        self.status = state
        self.error = error
        if state == TaskState.COMPLETED:
            self.progress = 1.0
        if self.started_at is None or self.started is None:
            self.completed_at = at
            return 0.0
        took_s = max(0.0, now - self.started)
        # Stamps jump with the wall clock, durations do not: the end is the start and what was measured.
        self.completed_at = self.started_at + timedelta(seconds=took_s)
        return took_s


class TaskBook:
    """The tasks and the statistics of those that ended; for one thread at a time."""

    __slots__ = ("_durations", "shelf")

    def __init__(self, most: int, keep: timedelta) -> None:
        """Keep at most `most` ended tasks, for `keep`; the statistics stay."""
        self.shelf: Shelf[Entry] = Shelf(most, keep)
        self._durations = DurationBook()

    def statistics(self, name: str | None) -> dict[str, Any]:  # Any: numbers, and by name dicts of them
        """Return what all tasks of a processor took, or all there were."""
        return self._durations.of_all() if name is None else self._durations.of(name)

    def start(self, entry: Entry, at: datetime, now: float, total_steps: int | None) -> None:
        """Take in a task that starts, whatever was known of one of its id."""
        entry.start(at, now)
        entry.total_steps = total_steps
        self.shelf.put(entry.task_id, entry)

    def update(self, task_id: str, progress: float | None, message: str = "", **fields: Any) -> Entry | None:
        """Change what is given of a task; None for one that is unknown or has ended. Any: each field's own type."""
        entry = self.shelf.active(task_id)
        if entry is None:
            return None
        entry.message = message or entry.message
        for name, value in fields.items():
            if value is not None:
                setattr(entry, name, value)
        entry.own = entry.own or bool(progress) or fields.get("completed_steps") is not None
        if entry.own:
            entry.advance(progress)
        return entry

    def end(self, task_id: str, state: str, at: datetime, now: float, error: str | None = None) -> Entry | None:
        """End a task; None for one that is unknown or has ended."""
        entry = self.shelf.active(task_id)
        if entry is not None:
            took_s = entry.end(state, at, now, error)
            self._count(entry, at, took_s)
        return entry

    def fold(self, kind: str, data: Data, at: datetime, now: float) -> None:
        """Take in an event of a task."""
        task_id = data.get("task_id")
        if not isinstance(task_id, str) or self.shelf.has_ended(task_id):
            return
        if kind == "task_submitted":
            self._seen(task_id, data)
        elif kind == "task_started":
            self._seen(task_id, data).start(at, now)
        elif kind == "task_progress":
            self._progress(task_id, data)
        elif kind == "task_retried":
            self._back_to_queue(task_id, data)
        else:
            self._ended(task_id, data, at, now)

    def _seen(self, task_id: str, data: Data) -> Entry:
        """Return the entry of a task, made on first sight; its parent has one child more then."""
        entry = self.shelf.active(task_id)
        if entry is None:
            name = str(data.get("processor") or data.get("name") or "")
            entry = Entry(task_id, name, str(data.get("key") or task_id), data.get("parent_id"))
            self.shelf.put(task_id, entry)
            parent = self.shelf.active(entry.parent_id) if entry.parent_id else None
            if parent is not None:
                parent.children += 1
                parent.follow_children()
        return entry

    def _progress(self, task_id: str, data: Data) -> None:
        names = ("current_step", "completed_steps", "total_steps")
        self.update(task_id, data.get("progress"), data.get("message") or "", **{n: data.get(n) for n in names})

    def _back_to_queue(self, task_id: str, data: Data) -> None:
        entry = self.shelf.active(task_id)
        if entry is not None:
            entry.status = TaskState.QUEUED.value
            entry.error = _told(data)

    def _ended(self, task_id: str, data: Data, at: datetime, now: float) -> None:
        entry = self._seen(task_id, data)
        cpu_s, took_s = data.get("cpu_s"), float(data.get("duration_s") or 0.0)
        if cpu_s is not None and took_s > 0:
            entry.cpu_usage = 100.0 * cpu_s / took_s
        entry.memory_usage = data.get("peak_memory_mb") or entry.memory_usage
        state = str(data.get("state") or TaskState.FAILED.value)
        entry.end(state, at, now, None if state == TaskState.COMPLETED else _told(data))
        entry.completed_at = _stamp(entry, at, took_s, attempt=int(data.get("attempt") or 1))
        self._count(entry, at, took_s)
        parent = self.shelf.active(entry.parent_id) if entry.parent_id else None
        if parent is not None:
            parent.children_ended += 1
            parent.follow_children()

    def _count(self, entry: Entry, at: datetime, took_s: float) -> None:
        """Put a task that ended into the statistics, and among the ended."""
        if entry.status == TaskState.COMPLETED:
            self._durations.completed(entry.processor_name, took_s)
        elif entry.status == TaskState.CANCELLED:
            self._durations.cancelled(entry.processor_name)
        else:
            self._durations.failed(entry.processor_name)
        self.shelf.end(entry.task_id, at)


def _stamp(entry: Entry, at: datetime, took_s: float, *, attempt: int) -> datetime:
    """Return when a task ended that ran for `took_s` in its last attempt, its event being stamped `at`.

    Events may be handled in a rush, so the time of their handling says little, and stamps jump with the wall clock:
    what was measured is the nearest. Only where there were attempts and waits before it, the stamps say more.
    """
    if entry.started_at is None:
        return at
    measured = entry.started_at + timedelta(seconds=max(0.0, took_s))
    if took_s > 0 and attempt == 1:
        return measured
    return max(at, measured)


def _told(data: Data) -> str | None:
    """Return an event's error as one line."""
    said = [str(data[name]) for name in ("error", "message") if data.get(name)]
    return ": ".join(said) or None
