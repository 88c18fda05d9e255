"""Turns attempts into the payload of a batch, and what a worker sends back into outcomes; the controller's hot path.

Used on the supervisor's thread only. Nothing here waits or touches a descriptor.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from signal import Signals
from time import monotonic
from typing import Any, NamedTuple

from longshore.errors import MemoryLimitExceeded, PayloadError, WorkerDied
from longshore.task import PLAIN_TYPES, Attempt, Outcome, PlainOutcome, TaskState
from longshore.worker import ended, failed
from msgspec.structs import replace

from longshore_processes.backlog import BATCH_BYTES, Kind, Kinds
from longshore_processes.child import FAILED, LONG
from longshore_processes.codec import RemoteTraceback, dump_plain, load, load_exception, set_cause, told
from longshore_processes.handle import Handle, Held
from longshore_processes.seat import ID_SEPARATOR

_COMPLETED = TaskState.COMPLETED


End = tuple[str, dict[str, Any]]
"""How a process ended, in words and as facts. Any: JSON-safe values."""


class Load(NamedTuple):
    """A batch ready to be sent, and what could not be carried."""

    attempts: list[Attempt]
    payload: bytes
    refused: list[Outcome]


def pack(kinds: Kinds, kind: Kind, attempts: list[Attempt]) -> Load:
    """Pickle a batch: as one where its arguments are plain, else each by itself so that each fails by itself.

    Large ones with a limit of memory go each by itself, too: then what reading them takes is their own task's.
    """
    if kind.error is not None:
        error = kind.error
        return Load([], b"", [refuse(attempt, error) for attempt in attempts])
    named = [task.kwargs for task in attempts]
    if any(named):
        form, items = "kwargs", [(task.args, dict(task.kwargs or {})) for task in attempts]
    else:
        form, items = "args", [task.args for task in attempts]
    limited = kind.memory_limit_mb is not None
    large = limited and kind.item_bytes > BATCH_BYTES
    payload = None if large else dump_plain(_fields(kind, attempts, form, items))
    if payload is None or (limited and len(payload) > BATCH_BYTES):
        attempts, packed, refused = _pack_each(kinds, attempts)
        payload = dump_plain(_fields(kind, attempts, "packed", packed)) if attempts else b""
        return _load(kind, attempts, payload or b"", refused)
    return _load(kind, attempts, payload, [])


def _load(kind: Kind, attempts: list[Attempt], payload: bytes, refused: list[Outcome]) -> Load:
    if attempts:
        kind.item_bytes = max(len(payload) / len(attempts), 0.5 * kind.item_bytes)
    return Load(attempts, payload, refused)


def _pack_each(kinds: Kinds, attempts: list[Attempt]) -> tuple[list[Attempt], list[tuple[bytes]], list[Outcome]]:
    good: list[Attempt] = []
    packed: list[tuple[bytes]] = []
    refused: list[Outcome] = []
    for attempt in attempts:
        try:
            packed.append((kinds.arguments(attempt),))
            good.append(attempt)
        except PayloadError as error:
            refused.append(refuse(attempt, error))
    return good, packed, refused


def _fields(kind: Kind, attempts: list[Attempt], form: str, items: Sequence[object]) -> tuple[object, ...]:
    """Return the fields of `seat.Batch`."""
    numbers: list[int] | None = [attempt.number for attempt in attempts]
    if numbers is not None and numbers.count(1) == len(numbers):
        numbers = None
    ids = ID_SEPARATOR.join([attempt.task_id for attempt in attempts])
    limits = kind.timeout_s, kind.soft_timeout_s
    return kind.number, form, kind.name, *limits, ids, numbers, attempts[0].expires_at, items


def refuse(attempt: Attempt, error: PayloadError) -> Outcome:
    """Return the outcome of an attempt that could not be carried to a worker."""
    now = monotonic()
    return failed(attempt, error, now, now, None)


def settle(handle: Handle, held: Held, payload: bytes) -> list[Outcome]:
    """Return the outcomes of the next results of `held`, and learn from them what the kind costs."""
    values, starts, ends = load(payload)
    count = len(values)
    attempts = held.attempts[held.done : held.done + count]
    held.done += count
    held.kind.learn((ends[-1] - starts[0]) / count)
    if tuple in set(map(type, values)):
        return [
            _outcome(handle, attempt, value, start, end)
            for attempt, value, start, end in zip(attempts, values, starts, ends, strict=False)
        ]
    worker, name = handle.worker_id, held.kind.name
    handle.completed += count
    handle.busy_s += sum(ends) - sum(starts)
    plain = PLAIN_TYPES
    return [
        (PlainOutcome if type(value) in plain else Outcome)(
            task.task_id,
            task.key,
            task.index,
            name,
            _COMPLETED,
            value,
            None,
            task.number,
            start - task.queued_at,
            (ran_s := end - start),
            ran_s,
            None,
            worker,
        )
        for task, value, start, end in zip(attempts, values, starts, ends, strict=False)
    ]


def _outcome(handle: Handle, attempt: Attempt, value: Any, start: float, end: float) -> Outcome:  # Any: see child.py
    if type(value) is not tuple:
        return _complete(handle, attempt, value, start, end, end - start)
    kind, cpu_s, peak_mb, *facts = value
    cpu_s = end - start if cpu_s is None else cpu_s
    if kind == FAILED:
        handle.failed += 1
        return replace(_failure(attempt, facts, start, end), cpu_s=cpu_s, peak_memory_mb=peak_mb)
    if kind == LONG:
        return _complete(handle, attempt, facts[0], start, end, cpu_s, peak_mb)
    try:
        result = load(facts[0])
    except BaseException as error:  # noqa: BLE001 - reducers are user code; the frame was read whole, so only this fails
        handle.failed += 1
        what = f"the result of task {attempt.task_id} ({attempt.spec.name})"
        text = f"{what} could not be read: {told(error)}"
        unfit = PayloadError(text, task_id=attempt.task_id)
        unfit.__cause__ = error
        return failed(attempt, unfit, start, end, handle.worker_id)
    return _complete(handle, attempt, result, start, end, cpu_s, peak_mb)


def _complete(
    handle: Handle,
    attempt: Attempt,
    value: Any,  # Any: the user's result
    start: float,
    end: float,
    cpu_s: float,
    peak_mb: float | None = None,
) -> Outcome:
    """Return a completed outcome."""
    handle.completed += 1
    handle.busy_s += end - start
    return Outcome(
        attempt.task_id,
        attempt.key,
        attempt.index,
        attempt.spec.name,
        _COMPLETED,
        value,
        None,
        attempt.number,
        start - attempt.queued_at,
        end - start,
        cpu_s,
        peak_mb,
        handle.worker_id,
    )


def _failure(attempt: Attempt, facts: Sequence[Any], start: float, end: float) -> Outcome:  # Any: see child.py
    is_cancel, record, data, cause = facts
    exception = load_exception(data)
    if exception is not None:
        remote = RemoteTraceback(record.traceback)
        remote.__cause__ = load_exception(cause)
        set_cause(exception, remote)  # its class may forbid the plain way
    return ended(attempt, TaskState.CANCELLED if is_cancel else TaskState.FAILED, record, start, end, exception)


def worker_died(handle: Handle, attempt: Attempt, started: float, end: End | None = None) -> Outcome:
    """Return the outcome of an attempt whose worker ended under it, by itself or by a stranger's hand."""
    how, facts = end or describe_end(handle.status)
    where = f"its worker {handle.worker_id} (pid {handle.pid})"
    text = f"task {attempt.task_id} ({attempt.spec.name}): {where} {how} while it ran"
    return failed(attempt, WorkerDied(text, worker=handle.worker_id, **facts), started, monotonic(), handle.worker_id)


def memory_exceeded(handle: Handle, attempt: Attempt, started: float) -> Outcome:
    """Return the outcome of an attempt whose worker was killed since it took more memory than it may."""
    limit_mb = attempt.spec.memory_limit_mb or 0.0
    text = (
        f"task {attempt.task_id} ({attempt.spec.name}) took {handle.grown_mb:.0f} MB of memory and may take "
        f"{limit_mb:.0f}: its worker process was killed; declare Resources(memory_mb=...) for such tasks, or raise "
        "workers.task_memory_limit_mb"
    )
    facts = {"reason": "memory", "limit_mb": limit_mb, "peak_memory_mb": handle.grown_mb, "worker": handle.worker_id}
    return failed(attempt, MemoryLimitExceeded(text, **facts), started, monotonic(), handle.worker_id)


def describe_end(status: int | None) -> End:
    """Return how a process ended, in words and as facts, by its wait status."""
    if status is None:
        return "ended", {"reason": "ended"}
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        known = number in {item.value for item in Signals}
        name = Signals(number).name if known else "unknown"
        return f"was killed by signal {number} ({name})", {"signal": number, "reason": f"signal {number}"}
    code = os.waitstatus_to_exitcode(status)
    return f"exited with code {code}", {"exit_code": code, "reason": f"exit {code}"}
