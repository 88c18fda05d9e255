"""Turns what a worker says of a batch into outcomes, and its death into what is known of each attempt; no clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from longshore.batching.codec import load, load_exception
from longshore.batching.words import CANCELLED, DONE, FAILED, TIMED_OUT, End, Record, System
from longshore.errors import MemoryLimitExceeded, PayloadError, WorkerDied
from longshore.hookspecs import WorkerNotice
from longshore.task import Attempt, ErrorRecord, Outcome, TaskState
from longshore.worker import cancelled, completed, described, ended, failed, timed_out, unready

NOT_BEGUN: Final = "it had not begun by then"


def outcome_of(attempt: Attempt, record: Record, began: float, worker_id: str, system: System) -> Outcome:
    """Return the outcome of an attempt whose batch began at monotonic `began`, as far as that is known here."""
    started = began + record.started_s
    over = started + record.ran_s
    if record.how == CANCELLED:
        message = record.data.decode(errors="replace") or "cancelled"
        note = f"{message}; {system.given_up}" if record.ran_s else message
        return cancelled(attempt, started, over, worker_id, note)
    if record.how == TIMED_OUT:
        return timed_out(attempt, started, over, worker_id, system.given_up)
    if record.how not in (DONE, FAILED):
        return unready(attempt, started, over, worker_id, executor=system.executor, note=system.given_up)
    try:
        value = load(record.data)
    except BaseException as error:  # noqa: BLE001 - reducers are user code; only this attempt fails
        what = f"the result of task {attempt.task_id} ({attempt.spec.name})"
        unfit = PayloadError(f"{what} from {system.worker(worker_id)} could not be read: {described(error)}")
        unfit.__cause__ = error
        return failed(attempt, unfit, started, over, worker_id)
    if record.how == DONE:
        return completed(attempt, value, started, over, worker_id, record.cpu_s)
    is_cancel, packed, data = value
    return _failure(attempt, is_cancel, packed, data, started, over)


def _failure(
    attempt: Attempt, is_cancel: bool, packed: ErrorRecord, data: bytes | None, started: float, over: float
) -> Outcome:
    state = TaskState.CANCELLED if is_cancel else TaskState.FAILED
    return ended(attempt, state, packed, started, over, load_exception(data, packed.traceback))


def worker_died(
    attempt: Attempt, worker_id: str, given_at: float, now: float, end: End, system: System, *, sure: bool
) -> Outcome:
    """Return the outcome of an attempt under which its worker ended; `sure` that it had begun, else it may have.

    `end` is what the system says of that worker's end.
    """
    how = "while it ran" if sure else "and it may have begun: nothing of that worker is left to look at"
    said = f": {end.why}" if end.why else ""
    kind = MemoryLimitExceeded if end.memory else WorkerDied
    error = kind(
        f"task {attempt.task_id} ({attempt.spec.name}): its {system.title} worker {worker_id} was lost {how}{said}",
        worker=worker_id,
        reason="memory" if end.memory else "worker lost",
    )
    return failed(attempt, error, given_at, now, worker_id)


def not_begun(attempt: Attempt, message: str | None, now: float) -> Outcome:
    """Return the outcome of an attempt that is not to begin any more, or whose worker does not answer.

    None in place of a message is for one whose deadline has passed.
    """
    if message is None:
        return timed_out(attempt, now, now, None, NOT_BEGUN)
    return cancelled(attempt, now, now, None, message)


def refused(attempt: Attempt, error: Exception, now: float) -> Outcome:
    """Return the outcome of an attempt that no worker took."""
    return failed(attempt, error, now, now, None)


def thread_left(attempt: Attempt, worker_id: str, number: int, system: System) -> WorkerNotice:
    """Return what the pool is told of a thread that was given up; `number` of them are now, in that worker."""
    data = {
        "worker_id": worker_id,
        "task_id": attempt.task_id,
        "name": attempt.spec.name,
        "error": system.given_up,
        "abandoned_threads": number,
    }
    return WorkerNotice("worker_error", data)


def split_at_death(
    attempts: Sequence[Attempt], records: Sequence[Record]
) -> tuple[list[tuple[Attempt, Record]], Attempt | None, list[Attempt]]:
    """Return those of a begun batch that had ended, the one that ran when its worker died, and those behind it."""
    done = list(zip(attempts, records, strict=False))
    rest = list(attempts[len(done) :])
    return done, rest[0] if rest else None, rest[1:]


__all__ = ["NOT_BEGUN", "not_begun", "outcome_of", "refused", "split_at_death", "thread_left", "worker_died"]
