"""What came of an item, as a record in its batch's bay: made by the worker before the item counts as finished.

Used by `child.py` only, inside a worker process; `outcomes.py` reads the records in the controller.
"""

from __future__ import annotations

import os
import pickle
import sys
from contextlib import suppress
from time import process_time
from types import CoroutineType
from typing import Any, Final, NoReturn

from longshore.errors import MemoryLimitExceeded, PayloadError, TaskCancelled
from longshore.pickling import PROTOCOL
from longshore.task import ErrorRecord
from longshore.worker import described, pack_error, unawaited
from msgspec.structs import replace

from longshore_processes import frames
from longshore_processes.bays import LARGE, PACKED, PICKLE, Bay
from longshore_processes.codec import (
    SCALARS,
    cause_of,
    cut_trace,
    dump,
    dump_exception,
    dump_onto,
    dump_plain,
    load,
)
from longshore_processes.memory import Account
from longshore_processes.output import flush_streams
from longshore_processes.rungs import Rung, is_refusal, over_limit
from longshore_processes.seat import Link, ProcessSeat

# A scalar is a record as it is, if its item was short. Else it begins with one of these, processor time and peak of
# memory, where they were measured. Then comes
# PACKED: a pickle; None if it was sent apart
SHELVED: Final = "shelved"  # from where on a pickle is on the bay's shelf, and its size
FAILED: Final = "failed"  # a pickle of what `_facts` returns; None if it was sent apart
LONG: Final = "long"  # a scalar
# An empty record was itself sent apart.

LONG_S: Final = 0.001
"""From here on an item's processor time is measured; below, its wall time stands for it."""
_LARGE_S: Final = 0.005  # from here on an item's peak of memory is read: that takes 10 us

_REFUSED: Final = "the kernel refused it more addresses (RLIMIT_AS)"
_KILLED: Final = "the kernel killed what it had started"
_OURS: Final = frozenset({__file__, os.path.join(os.path.dirname(__file__), "child.py")})


class Recorder:
    """Makes records, and keeps what the next ones are made by: how large results are, where processor time stands."""

    def __init__(self, seat: ProcessSeat, link: Link, account: Account, max_result_bytes: int) -> None:
        """Look at the item in `seat`."""
        self._seat = seat
        self._link = link
        self._account = account
        self._most = max_result_bytes
        self._small = min(LARGE, max_result_bytes)
        self._large: set[int] = set()  # codes whose last result was large
        self._cpu_mark = 0.0
        self._took_mb: float | None = None  # what an item had taken that was held up at its limit, until it is told

    def begin(self) -> None:
        """Count processor time from here on: a batch begins, or what came before its first item is over."""
        self._cpu_mark = process_time()

    def forget(self, code: int) -> None:
        """Forget about the results of a code."""
        self._large.discard(code)

    def put(self, bay: Bay, slot: int, serial: int, value: Any, start: float, end: float) -> None:
        """Put the record of a result into its slot. Any: what the user's function returned."""
        if end - start >= LONG_S:
            self._raise_if_exceeded()
        cpu_s, peak_mb = self._measured(start, end) if end - start >= LONG_S else (None, None)
        record: Any  # a scalar, or a tuple as above
        if type(value) in SCALARS and not self._may_be_large(value):
            record = value if cpu_s is None else (LONG, cpu_s, peak_mb, value)
        elif type(value) is CoroutineType:  # a value's own idea of its class is user code
            record = FAILED, cpu_s, peak_mb, self._facts(unawaited(self._name(), value), serial)
        else:
            try:
                record = self._carried(bay, value, cpu_s, peak_mb)
            except _TooLarge as error:
                record = FAILED, cpu_s, peak_mb, self._facts(_too_large(error.size, self._most), serial)
            except BaseException as error:  # noqa: BLE001 - reducers are user code
                record = FAILED, cpu_s, peak_mb, self._facts(not_carried("result", error), serial)
        self._put(bay, slot, serial, record)

    def fail(self, bay: Bay, slot: int, serial: int, error: BaseException, start: float, end: float) -> None:
        """Put the record of a failure into its slot."""
        if end - start >= LONG_S or is_refusal(error):
            try:
                self._raise_if_exceeded(error)
            except MemoryLimitExceeded as exceeded:
                error = exceeded
        cpu_s, peak_mb = self._measured(start, end) if end - start >= LONG_S else (None, None)
        if self._took_mb is not None:  # that counts what the item had started, too
            peak_mb, self._took_mb = self._took_mb, None
        self._put(bay, slot, serial, (FAILED, cpu_s, peak_mb, self._facts(error, serial)))

    def _raise_if_exceeded(self, error: BaseException | None = None) -> None:
        """Raise MemoryLimitExceeded if the item that ended was held up at its limit, by which `error` may have come."""
        took_mb = self._account.exceeded_mb(error)
        task = self._seat.task() if took_mb is not None else None
        if took_mb is None or task is None:
            return
        how = _REFUSED if self._account.rung is Rung.ADDRESS_SPACE else _KILLED
        who = task.task_id, task.name
        limit_mb = self._account.limit_mb or 0.0
        self._took_mb = round(took_mb, 3)
        raise over_limit(who, limit_mb, took_mb, self._account.rung, self._seat.worker_id, how) from error

    def _measured(self, start: float, end: float) -> tuple[float | None, float | None]:
        """Return processor time, and peak of memory where it is worth asking for."""
        # Short items since the mark are in it too; their share is small beside a long item's.
        now = process_time()
        cpu_s, self._cpu_mark = now - self._cpu_mark, now
        return cpu_s, self._account.peak_mb() if end - start >= _LARGE_S else None

    def _name(self) -> str:
        return self._seat.batch.name if self._seat.batch is not None else "the function"

    def _may_be_large(self, value: Any) -> bool:  # Any: a scalar
        if type(value) is int:
            return value.bit_length() > self._small
        return type(value) in (str, bytes) and len(value) > self._small // 4  # a character takes four bytes at most

    def _carried(self, bay: Bay, value: Any, cpu_s: float | None, peak_mb: float | None) -> tuple[Any, ...]:
        """Return the record of a result that is pickled, straight onto the shelf if it may be large. Any: as above."""
        shelf = bay.large
        code = self._seat.batch.code if self._seat.batch is not None else 0
        data = None
        if code in self._large or type(value) in SCALARS:
            dump_onto(shelf, value)
        else:
            data = _proved(value)
            if len(data) <= self._small:
                return PACKED, cpu_s, peak_mb, data
            shelf.begin()
            shelf.write(data)
        if shelf.size > self._most:
            raise _TooLarge(shelf.size)
        (self._large.add if shelf.size > LARGE else self._large.discard)(code)
        span = shelf.keep()
        if span is None:
            return PACKED, cpu_s, peak_mb, dump(value) if data is None else data
        return SHELVED, cpu_s, peak_mb, *span

    def _put(self, bay: Bay, slot: int, serial: int, record: Any) -> None:  # Any: a record
        """Write a record into the bay. What finds no room there is sent before the item counts as finished."""
        if type(record) is tuple and (record[0] == PACKED or record[0] == FAILED):
            kind, cpu_s, peak_mb, data = record
            if len(data) > LARGE:
                self._link.send(frames.APART, serial, data)
                record = kind, cpu_s, peak_mb, None
            elif cpu_s is None and kind == PACKED and bay.put(slot, data, PICKLE) is None:
                return
        left = bay.put(slot, record)
        if left is not None:
            self._link.send(frames.APART, serial, left)
            bay.put(slot, ())

    def _facts(self, error: BaseException, serial: int) -> bytes:
        """Return a pickle: whether it was cancelled, the error record, pickles of the exception and its cause."""
        flush_streams()
        record = record_of(error, self._seat, serial)
        is_cancel = issubclass(type(error), TaskCancelled)
        facts = is_cancel, record, dump_exception(error), dump_exception(cause_of(error))
        return pickle.dumps(facts, PROTOCOL)


def record_of(error: BaseException, seat: ProcessSeat, serial: int) -> ErrorRecord:
    """Return what is known of an error that the item `serial` raised."""
    cut_trace(error, _OURS)
    batch = seat.batch
    numbers = batch.numbers if batch is not None else None
    number = numbers[serial - seat.first] if numbers is not None else 1
    record = pack_error(error, number, seat.worker_id)
    # Facts of the user's that are not what they should be might not travel.
    facts = {name: getattr(record, name) for name in ("exit_code", "signal", "peak_memory_mb")}
    return replace(record, **{name: fact if type(fact) in (int, float) else None for name, fact in facts.items()})


def leave_fork(failure: ErrorRecord | None) -> NoReturn:
    """End a forked child that came back from the user's function: result, socket and bays are the worker's."""
    with suppress(OSError, ValueError):
        if failure is not None:
            sys.stderr.write(failure.traceback)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0 if failure is None else 1)


def not_carried(what: str, error: BaseException) -> PayloadError:
    """Return the error of an object of the user's that could not be pickled or unpickled here."""
    verb = "cannot be carried back from" if what == "result" else "could not be read in"
    return PayloadError(f"the {what} {verb} the worker process: {described(error)}")


def _proved(value: Any) -> bytes:  # Any: as above
    """Return a pickle of a result that was read here, under the task's own limits: what that does it does here."""
    data = dump_plain(value)
    if data is None:
        data = dump(value)
        load(data)
    return data


class _TooLarge(Exception):
    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


def _too_large(size: int, most: int) -> PayloadError:
    return PayloadError(
        f"the result takes {size:,} bytes as it is sent, and may take {most:,}: write it to a file and return the "
        "file's path, or raise max_result_bytes in [tool.longshore.executors.processes]",
        size_bytes=size,
        limit_bytes=most,
    )
