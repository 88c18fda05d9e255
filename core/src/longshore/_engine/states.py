"""The states of a task as one table of legal moves; the engine makes no other."""

from __future__ import annotations

from collections.abc import Mapping

from longshore.task import TaskState

PENDING = TaskState.PENDING
QUEUED = TaskState.QUEUED
PROCESSING = TaskState.PROCESSING
COMPLETED = TaskState.COMPLETED
FAILED = TaskState.FAILED
TIMED_OUT = TaskState.TIMED_OUT
CANCELLED = TaskState.CANCELLED

MOVES: Mapping[TaskState, frozenset[TaskState]] = {
    # waiting for a retry to fall due
    PENDING: frozenset({QUEUED, CANCELLED, TIMED_OUT}),
    # failed: dismissed, for what it was given will never do
    QUEUED: frozenset({PROCESSING, CANCELLED, TIMED_OUT, FAILED}),
    PROCESSING: frozenset({COMPLETED, FAILED, TIMED_OUT, CANCELLED, PENDING}),
    COMPLETED: frozenset(),
    FAILED: frozenset(),
    TIMED_OUT: frozenset(),
    CANCELLED: frozenset(),
    TaskState.SKIPPED: frozenset(),
}
"""From each state, the states it may be left for. An end is left for none."""

ENDS = frozenset(state for state, leaves in MOVES.items() if not leaves)

REPORTED = MOVES[PROCESSING] & ENDS
"""What an executor may report of an attempt."""


def check_reported(state: TaskState, task_id: str) -> None:
    """Raise AssertionError for a state no attempt can end in: an executor that reports nonsense is a bug."""
    if state not in REPORTED:
        raise AssertionError(f"an executor reported task {task_id} as {state.value}, which is no end")
