"""Turns attempts into the payload of a batch, and what a worker sends back into outcomes; the controller's hot path.

Used on the supervisor's thread only. Nothing here waits or touches a descriptor.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from signal import Signals
from time import monotonic
from typing import Any, NamedTuple

from longshore.errors import PayloadError, WorkerDied
from longshore.task import Attempt, Outcome, PlainOutcome, TaskState
from longshore.worker import OutcomeColumns, RemoteTraceback, described, ended, failed, in_columns
from msgspec.structs import replace

from longshore_processes.backlog import BATCH_BYTES, Kind, Kinds
from longshore_processes.bays import LARGE, Bay, Shelf, Span, read_records
from longshore_processes.codec import (
    SCALARS,
    dump_plain,
    dump_plain_onto,
    load,
    load_exception,
    set_cause,
)
from longshore_processes.frames import Payload
from longshore_processes.handle import Handle, Held
from longshore_processes.records import FAILED, LONG, SHELVED
from longshore_processes.rungs import over_limit
from longshore_processes.seat import ID_SEPARATOR

_COMPLETED = TaskState.COMPLETED


End = tuple[str, dict[str, Any]]
"""How a process ended, in words and as facts. Any: JSON-safe values."""


class Load(NamedTuple):
    """A batch ready to be sent, and what could not be carried."""

    attempts: Sequence[Attempt]
    batch: Span | bytes
    """Where in the bay it is, or itself where it found no room there."""
    refused: list[Outcome]


def pack(kinds: Kinds, kind: Kind, attempts: Sequence[Attempt], bay: Bay) -> Load:
    """Pickle a batch into a bay: as one if its arguments are plain, else each by itself so that each fails by itself.

    Large ones with a limit of memory go each by itself, too: then what reading them takes is their own task's.
    """
    bay.begin()
    if kind.error is not None:
        error = kind.error
        return Load([], b"", [refuse(attempt, error) for attempt in attempts])
    form, items = _items(attempts)
    limited = kind.memory_limit_mb is not None
    batch = None
    if not (limited and kind.item_bytes > BATCH_BYTES) and not _may_share(form, items):
        batch = _dump(bay, _fields(kind, attempts, form, items))
    refused: list[Outcome] = []
    if batch is None or (limited and _size(batch) > BATCH_BYTES):
        bay.begin()
        attempts, packed, refused = _pack_each(kinds, kind, attempts, bay.arguments)
        batch = _dump(bay, _fields(kind, attempts, "packed", packed)) if attempts else None
    if attempts:
        carried = bay.arguments.used + (len(batch) if isinstance(batch, bytes) else 0)
        kind.item_bytes = max(carried / len(attempts), 0.5 * kind.item_bytes)
    return Load(attempts, batch or b"", refused)


def _items(attempts: Sequence[Attempt]) -> tuple[str, list[Any]]:  # Any: the user's arguments
    """Return `form` and `items` of `seat.Batch`."""
    if in_columns(attempts):
        return "args", attempts.calls
    if any(attempt.kwargs for attempt in attempts):
        return "kwargs", [(attempt.args, dict(attempt.kwargs or {})) for attempt in attempts]
    return "args", [attempt.args for attempt in attempts]


def _may_share(form: str, items: Sequence[Any]) -> bool:  # Any: as above
    """Tell whether what one of them changes in its arguments could be seen by another, were both in one pickle."""
    if len(items) == 1:
        return False
    if form == "args":
        return not set(map(type, chain.from_iterable(items))) <= SCALARS
    kinds = {type(value) for args, kwargs in items for value in (*args, *kwargs.values())}
    return not kinds <= SCALARS


def _dump(bay: Bay, fields: tuple[object, ...]) -> Span | bytes | None:
    """Return where in the bay the batch is, or the batch where it finds no room; None if it is not plain."""
    if not dump_plain_onto(bay.arguments, fields):
        return None
    span = bay.arguments.keep()
    return dump_plain(fields) if span is None else span


def _size(batch: Span | bytes) -> int:
    return len(batch) if isinstance(batch, bytes) else batch[1]


def _pack_each(
    kinds: Kinds, kind: Kind, attempts: Sequence[Attempt], shelf: Shelf
) -> tuple[list[Attempt], list[tuple[object, ...]], list[Outcome]]:
    """Pickle the arguments of each attempt, large ones onto the shelf while there is room; refuse what can't be."""
    large = kind.item_bytes > LARGE or len(attempts) == 1
    good: list[Attempt] = []
    packed: list[tuple[object, ...]] = []
    refused: list[Outcome] = []
    for attempt in attempts:
        try:
            data = kinds.arguments(attempt, shelf if large else None)
            span = shelf.keep() if large else None
            if large and span is None:
                data = kinds.arguments(attempt, None)
        except PayloadError as error:
            refused.append(refuse(attempt, error))
            continue
        good.append(attempt)
        packed.append((data,) if span is None else span)
    return good, packed, refused


def _fields(kind: Kind, attempts: Sequence[Attempt], form: str, items: Sequence[object]) -> tuple[object, ...]:
    """Return the fields of `seat.Batch`."""
    numbers, expires_at = None, None
    gpus: tuple[int, ...] | None = () if kind.on_gpu else None
    if in_columns(attempts):
        ids = attempts.ids
    else:
        ids = [attempt.task_id for attempt in attempts]
        expires_at, gpus = attempts[0].expires_at, attempts[0].gpus if kind.on_gpu else None
        if any(attempt.number != 1 for attempt in attempts):
            numbers = [attempt.number for attempt in attempts]
    limits = kind.timeout_s, kind.soft_timeout_s
    return kind.number, form, kind.name, *limits, ID_SEPARATOR.join(ids), numbers, expires_at, items, gpus


def refuse(attempt: Attempt, error: PayloadError) -> Outcome:
    """Return the outcome of an attempt that could not be carried to a worker."""
    now = monotonic()
    return failed(attempt, error, now, now, None)


def settle(handle: Handle, finished: int) -> list[tuple[int, Sequence[Outcome]]]:
    """Return the outcomes of what a worker finished up to serial `finished`, and learn from them what kinds cost.

    They come by batch, each with the serial of the first.
    """
    settled: list[tuple[int, Sequence[Outcome]]] = []
    while handle.held:
        held = handle.held[0]
        serial = held.first + held.done
        if finished > serial:
            for part in _settle(handle, held, min(finished - held.first, len(held.attempts))):
                settled.append((serial, part))
                serial += len(part)
        if held.done < len(held.attempts):
            break
        handle.held.popleft()
        if held.done == held.sent:
            handle.empty(held.bay)
    return settled


def _settle(handle: Handle, held: Held, done: int) -> Sequence[Sequence[Outcome]]:
    values, starts, ends = held.bay.take(held.done, done)
    attempts = held.attempts[held.done : done]
    first = held.first + held.done
    held.done = done
    held.kind.learn((ends[-1] - starts[0]) / len(values))
    if tuple in set(map(type, values)):
        outcomes = [
            _outcome(handle, held, attempt, serial, value, start, end)
            for serial, (attempt, value, start, end) in enumerate(
                zip(attempts, values, starts, ends, strict=True), first
            )
        ]
        return OutcomeColumns.of(attempts, outcomes) if in_columns(attempts) else [outcomes]
    worker, name = handle.worker_id, held.kind.name
    handle.completed += len(values)
    handle.busy_s += sum(ends) - sum(starts)
    if in_columns(attempts):
        return [OutcomeColumns(attempts, values, starts, ends, worker, cpu=True)]
    return [
        [
            PlainOutcome(  # records are tuples, and all else is a scalar
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
            for task, value, start, end in zip(attempts, values, starts, ends, strict=True)
        ]
    ]


def _outcome(
    handle: Handle,
    held: Held,
    attempt: Attempt,
    serial: int,
    value: Any,  # Any: a record, see records.py
    start: float,
    end: float,
) -> Outcome:
    apart = handle.apart.pop(serial, None)
    if value == () and apart is not None:
        [value], apart = read_records(1, apart), None
    if type(value) is not tuple:
        return _complete(handle, attempt, value, start, end, end - start)
    kind, cpu_s, peak_mb, *facts = value
    payload: Payload = facts[0] if apart is None else apart
    cpu_s = end - start if cpu_s is None else cpu_s
    if kind == LONG:
        return _complete(handle, attempt, facts[0], start, end, cpu_s, peak_mb)
    if kind == FAILED:
        handle.failed += 1
        return replace(_failure(attempt, load(payload), start, end), cpu_s=cpu_s, peak_memory_mb=peak_mb)
    try:
        if kind == SHELVED:
            with held.bay.large.read(facts) as data:  # no error's traceback may keep it: it could not be unmapped
                result = load(data)
        else:
            result = load(payload)
    except BaseException as error:  # noqa: BLE001 - reducers are user code; the pickle is whole, so only this fails
        handle.failed += 1
        what = f"the result of task {attempt.task_id} ({attempt.spec.name})"
        text = f"{what} could not be read: {described(error)}"
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


def _failure(attempt: Attempt, facts: Sequence[Any], start: float, end: float) -> Outcome:  # Any: see records.py
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
    at = (
        "while it got ready for it, by what is imported or an initializer"
        if handle.words.preparing()
        else "while it ran"
    )
    text = f"task {attempt.task_id} ({attempt.spec.name}): {where} {how} {at}"
    return failed(attempt, WorkerDied(text, worker=handle.worker_id, **facts), started, monotonic(), handle.worker_id)


def memory_exceeded(handle: Handle, attempt: Attempt, started: float) -> Outcome:
    """Return the outcome of an attempt whose worker was killed since it took more memory than it may."""
    limit_mb = attempt.memory_limit_mb or attempt.spec.memory_limit_mb or 0.0
    error = over_limit(
        (attempt.task_id, attempt.spec.name),
        limit_mb,
        handle.grown_mb,
        handle.rung,
        handle.worker_id,
        "its worker process was killed",
    )
    return failed(attempt, error, started, monotonic(), handle.worker_id)


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
