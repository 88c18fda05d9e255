"""The records of workers: what each is and does, and what goes on in one after its task has ended.

Used by `records`, from where everybody has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class WorkerType(StrEnum):
    """The kinds of workers that come with us; other executors have names of their own."""

    ASYNC = "async"
    THREAD = "thread"
    PROCESS = "process"
    INLINE = "inline"
    """The pool's own thread."""


class WorkerStatus(StrEnum):
    """What a worker is at: it begins idle or busy, and stopped is for good."""

    IDLE = "idle"
    BUSY = "busy"
    STOPPING = "stopping"
    """It takes nothing new, and may still be at its last task."""
    STOPPED = "stopped"
    ERROR = "error"
    """It does not answer, or is dead and not yet replaced, or blocks the loop it is on."""


class WorkerStats(Struct, frozen=True, kw_only=True):
    """Statistics of one worker, live; those of a stopped pool are of its last run."""

    worker_id: str
    worker_type: str
    """A `WorkerType` for the executors that come with us, else the executor's own name."""
    status: WorkerStatus
    tasks_completed: int = 0
    tasks_failed: int = 0
    total_processing_time: float = 0.0
    """Seconds, over completed tasks: what failed, timed out or was cancelled does not inflate it."""
    current_task: str | None = None
    last_heartbeat: datetime | None = None
    """When it was last known to live, as of the pool's own beat; before the first, when it was first seen.

    From an executor: when it last heard of the worker, "now" for one that it sees alive from any thread. None where
    only a turn of the pool's loop can show it.
    """
    started: bool = True
    """False for a place whose process starts with the first work for it; such a one has no heartbeats."""
    batches: int = 0
    """How often it was given work, where short tasks are given together; 0 where each is taken by itself."""
    running_s: float | None = None
    """For how long its current task has run; None without one, and from an executor that can't tell."""
    memory_limit_by: str | None = None
    """What holds its tasks to their limit of memory, in a word of its executor's; None: nothing, the limit is advice.

    From process workers: "cgroup-v2", "cgroup-v1", "address-space" or "polling", once they are started.
    """
    pid: int | None = None
    """Of a worker that is a process of its own, and runs."""
    executor: str = ""
    """Its executor, by the name that tasks say; the pool fills it in."""
    memory_mb: float | None = None
    """What its process holds with all that descend from it, as measured last; None where nobody measures that."""

    @property
    def average_processing_time(self) -> float:
        """Return seconds per completed task, 0.0 with none."""
        return self.total_processing_time / self.tasks_completed if self.tasks_completed else 0.0


class LeftBehind(Struct, frozen=True, kw_only=True):
    """What goes on in a worker though its task has ended: nothing can stop it, and another worker took its place.

    A function in a thread that was abandoned, or a coroutine that ignored being cancelled.
    """

    worker_id: str
    worker_type: str
    task_id: str
    name: str
    """The name of the task."""
    thread: str
    """The name of the thread that it is in."""
    since_s: float
    """Seconds since it was given up on."""
    stack: Sequence[str] = ()
    """Where it is now, outermost first: "file:line in function"; empty where that can't be seen."""
