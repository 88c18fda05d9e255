"""The outcomes of attempts as executors report them, and when an attempt must have ended.

Used by `worker`, from where executors have them; light, for workers import it.
"""

from __future__ import annotations

from contextlib import suppress
from types import CoroutineType
from typing import Any

from longshore._packing import pack_error
from longshore.errors import TaskCancelled
from longshore.task import PLAIN_TYPES, Attempt, ErrorRecord, Outcome, PlainOutcome, TaskState

NEVER = float("inf")
_COMPLETED = TaskState.COMPLETED  # looked up once: an Enum's member costs 70 ns to get at on Python 3.11


def due_at(attempt: Attempt, started: float) -> float:
    """Return when an attempt begun at `started` must have ended, in monotonic seconds; infinity without a limit."""
    timeout_s, expires_at = attempt.spec.timeout_s, attempt.expires_at
    due = NEVER if timeout_s is None else started + timeout_s
    return due if expires_at is None else min(due, expires_at)


def completed(
    attempt: Attempt, value: Any, started: float, ended: float, worker: str, cpu_s: float | None = None
) -> Outcome:
    """Return the outcome of an attempt that returned `value`; times are monotonic seconds. Any: the user's result."""
    kind = PlainOutcome if type(value) in PLAIN_TYPES else Outcome
    return kind(
        attempt.task_id,
        attempt.key,
        attempt.index,
        attempt.spec.name,
        _COMPLETED,
        value,
        None,
        attempt.number,
        started - attempt.queued_at,
        ended - started,
        cpu_s,
        None,
        worker,
    )


def ended(
    attempt: Attempt,
    state: TaskState,
    error: ErrorRecord,
    started: float,
    now: float,
    exception: BaseException | None = None,
) -> Outcome:
    """Return the outcome of an attempt that gave no value; times are monotonic seconds."""
    return Outcome(
        attempt.task_id,
        attempt.key,
        attempt.index,
        attempt.spec.name,
        state,
        None,
        error,
        attempt.number,
        max(0.0, started - attempt.queued_at),
        max(0.0, now - started),
        None,
        error.peak_memory_mb,
        error.worker,
        exception,
    )


def failed(attempt: Attempt, exception: BaseException, started: float, now: float, worker: str | None) -> Outcome:
    """Return the outcome of an attempt that raised; a raised TaskCancelled of ours counts as cancelled."""
    # By its type: an exception's own idea of its class is user code.
    state = TaskState.CANCELLED if issubclass(type(exception), TaskCancelled) else TaskState.FAILED
    return ended(attempt, state, pack_error(exception, attempt.number, worker), started, now, exception)


def unawaited(name: str, coroutine: CoroutineType[Any, Any, Any]) -> TypeError:  # Any: as typing has it
    """Close the coroutine that the function `name` returned, which nobody awaits, and return the error for that."""
    with suppress(BaseException):  # one that had begun may refuse to end
        coroutine.close()
    return TypeError(
        f"{name} returned a coroutine, which only an async def may: "
        "submit `async def call(*args): return await f(*args)` in its place"
    )


def timed_out(attempt: Attempt, started: float, now: float, worker: str | None, note: str = "") -> Outcome:
    """Return the outcome of an attempt that passed its limit; `note` says what became of what was running."""
    spec = attempt.spec
    expired = attempt.expires_at is not None and now >= attempt.expires_at
    limit = f"its deadline of {spec.deadline_s:g} s over all attempts" if expired and spec.deadline_s else None
    limit = limit or (f"its timeout of {spec.timeout_s:g} s" if spec.timeout_s else "its deadline")
    message = f"task {attempt.task_id} ({spec.name}) timed out: it passed {limit}" + (f"; {note}" if note else "")
    return _cut_short(attempt, TaskState.TIMED_OUT, "timeout", message, started, now, worker)


def unready(
    attempt: Attempt, started: float, now: float, worker: str | None, *, executor: str, note: str = ""
) -> Outcome:
    """Return the outcome of an attempt whose initializer took too long; `note` says what became of that."""
    message = (
        f"task {attempt.task_id} ({attempt.spec.name}) timed out before it began: its initializer did not end in time"
        + (f"; {note}" if note else "")
        + f"; a longer one is set as executors.{executor}.initializer_timeout_s"
    )
    return _cut_short(attempt, TaskState.TIMED_OUT, "initializer", message, started, now, worker)


def cancelled(attempt: Attempt, started: float, now: float, worker: str | None, message: str = "cancelled") -> Outcome:
    """Return the outcome of an attempt that was cancelled before or while it ran."""
    return _cut_short(attempt, TaskState.CANCELLED, "cancelled", message, started, now, worker)


def _cut_short(
    attempt: Attempt, state: TaskState, reason: str, message: str, started: float, now: float, worker: str | None
) -> Outcome:
    """Return the outcome of an attempt that was not let end by itself."""
    kind = "TaskTimeout" if state is TaskState.TIMED_OUT else "TaskCancelled"
    error = ErrorRecord(
        type=f"longshore.errors.{kind}", message=message, reason=reason, attempt=attempt.number, worker=worker
    )
    return ended(attempt, state, error, started, now)
