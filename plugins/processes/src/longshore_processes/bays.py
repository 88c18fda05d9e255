"""The bays of one worker: shared memory where a batch finds its arguments and leaves each result as it is finished.

Both sides use it. A worker has two, as it has two batches at most: the controller puts a batch into one that is free,
and it is free again when all of the batch is reported, or the worker has said that it skips the rest. What is in it
survives the worker, however that ends.
"""

from __future__ import annotations

import marshal
import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pickle import PickleBuffer
from typing import Any, Final, NamedTuple

from longshore_processes.frames import MEMORY_NAME, Words

BAYS: Final = 2
SLOTS: Final = 2048
"""Items of one batch, at most."""
ARENA_BYTES: Final = 256 << 20
"""Arguments, and as much again of results, find room in one bay; what is larger goes over the socket."""
KEPT_BYTES: Final = 32 << 20
"""So much of that stays in memory once it was used: pages that are there already take a tenth of the time."""
LARGE: Final = 1 << 16
"""Pickles from here on are written straight into a bay, when the task before had one as large."""

_WORDS_BYTES: Final = 1 << 16  # before the bays: the words of `frames.py`; mappings begin at multiples of this
_ARENA_STEPS: Final = (ARENA_BYTES, KEPT_BYTES, 1 << 20, 0)  # smaller where a limit on the size of files forbids more
_LEAN_STEPS: Final = (1 << 20, 0)  # where addresses are limited, which others need as well
_COLUMN: Final = 8 * SLOTS
_MARK_BYTES: Final = 64
"""Records up to this find room always; larger ones, while there is some."""
_RECORDS_BYTES: Final = (1 << 20) + _MARK_BYTES * SLOTS
_ROOMY: Final = _RECORDS_BYTES - _MARK_BYTES * SLOTS
_FIXED_BYTES: Final = -(-(3 * _COLUMN + SLOTS + _RECORDS_BYTES) // _WORDS_BYTES) * _WORDS_BYTES
_ALIGN: Final = 64
_marshalled = marshal.dumps
_MARSHAL: Final = 2  # the last version without references between objects: records can be read in one go
# Kinds of results: a whole number or a float, which are words of their own; constants; and where the word says up to
# where there is a record, or one that is a pickle.
_NUMBER, _FLOAT, _NONE, _FALSE, _TRUE, _RECORD, PICKLE = range(7)
_SMALL: Final = 4096
_TUPLES: Final = b"()"  # what marshalled tuples begin with, but for a bit
_MARSHALLED: Final = 0x7F

PACKED: Final = "packed"
"""What a record begins with that has a pickle as its fourth and last part, after two that are None if not known."""


def make_memory() -> int:
    """Return the descriptor of new, empty memory for one worker that has no name anywhere."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create(MEMORY_NAME, os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        _enlarge(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _enlarge(fd: int) -> None:
    import resource  # not on Windows, where no worker is started

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    for arena_bytes in _ARENA_STEPS if limit == resource.RLIM_INFINITY else _LEAN_STEPS:
        size = _WORDS_BYTES + BAYS * (_FIXED_BYTES + 2 * arena_bytes)
        with suppress(OSError):
            os.ftruncate(fd, size)
            with mmap.mmap(fd, size):
                return
    raise OSError("there is no room for the memory that is shared with a worker: look at the limits on file size")


Span = tuple[int, int]
"""Where something is: from which byte on, how many."""


class Results(NamedTuple):
    """Some results that were finished one after the other."""

    values: list[Any]  # Any: whole numbers, and whatever records hold
    starts: Sequence[float]
    ends: Sequence[float]


class Memory:
    """All that a worker shares with the controller: the words, and its bays."""

    __slots__ = ("_map", "bays", "words")

    def __init__(self, fd: int) -> None:
        """Map what is behind `fd`, which stays the caller's to close."""
        self._map = mmap.mmap(fd, os.fstat(fd).st_size)
        self.words = Words(self._map)
        self.bays = [Bay(self._map, index) for index in range(BAYS)]

    def close(self) -> None:
        """Unmap it."""
        self.words.close()
        for bay in self.bays:
            bay.close()
        self._map.close()


class Shelf:
    """A stretch of shared memory that takes one pickle after the other; a file for the pickler that makes one.

    Objects above 64 KiB are copied once, from where they are. What finds no room is counted, so that the size is known.
    """

    __slots__ = ("_at", "_chunks", "size", "top", "view")

    def __init__(self, view: memoryview) -> None:
        """Be empty."""
        self.view = view
        self.size = 0
        """Bytes of the pickle that is being written, whether they found room or not."""
        self.top = 0
        """Up to where this side has written or read since it was set to 0."""
        self._at = 0  # where it begins
        self._chunks: list[bytes] = []

    def clear(self) -> None:
        """Be empty again."""
        self._at = 0

    def begin(self) -> None:
        """Begin a pickle, or begin it anew."""
        self.size = 0
        self._chunks.clear()

    def write(self, data: bytes | bytearray | memoryview | PickleBuffer) -> None:
        """Take a piece, as picklers give it: a frame of small objects, or one large object."""
        if isinstance(data, PickleBuffer):
            data = data.raw()
        start = self._at + self.size
        count = len(data)
        self.size += count
        if start + count <= len(self.view):
            self.top = max(self.top, start + count)
            self.view[start : start + count] = data
        if count < 2 * LARGE and isinstance(data, bytes):
            self._chunks.append(data)

    @property
    def used(self) -> int:
        """Bytes that are kept."""
        return self._at

    def names(self, names: Sequence[bytes]) -> bool:
        """Tell whether any of these names may be in the pickle that was written."""
        return any(name in chunk for chunk in self._chunks for name in names)

    def keep(self) -> Span | None:
        """Keep what was written since `begin`; return where it is, None if it found no room."""
        self._chunks.clear()
        if self._at + self.size > len(self.view):
            return None
        span = self._at, self.size
        self._at += -(-self.size // _ALIGN) * _ALIGN
        return span

    def read(self, span: Sequence[int]) -> memoryview:
        """Return what was kept."""
        at, size = span
        self.top = max(self.top, at + size)
        return self.view[at : at + size]


class Bay:
    """One bay, as either side sees it.

    The worker writes start, end and value of an item before it publishes that the item is finished, and the controller
    reads only what is published. A value is a word of its own if it is a whole number of 64 bits; else a record, which
    is what `marshal` makes of plain values: reading it back runs nobody's code.
    """

    __slots__ = (
        "_at",
        "_before",
        "_begin",
        "_floats",
        "_kinds",
        "_map",
        "_records",
        "_slot",
        "_views",
        "arguments",
        "ends",
        "index",
        "large",
        "small",
        "starts",
        "words",
    )

    def __init__(self, memory: mmap.mmap, index: int) -> None:
        """Use the bay `index` of `memory`."""
        self.index = index
        self._map = memory
        size = (len(memory) - _WORDS_BYTES) // BAYS
        self._begin = _WORDS_BYTES + index * size
        self._views = [memoryview(memory)[self._begin : self._begin + size]]
        arena = (size - _FIXED_BYTES) // 2
        self.starts = self._part(0, _COLUMN).cast("d")
        self.ends = self._part(_COLUMN, _COLUMN).cast("d")
        self.words = self._part(2 * _COLUMN, _COLUMN).cast("q")
        self._floats = self._part(2 * _COLUMN, _COLUMN).cast("d")
        self._kinds = self._part(3 * _COLUMN, SLOTS)
        self._records = self._part(3 * _COLUMN + SLOTS, _RECORDS_BYTES)
        self.arguments = Shelf(self._part(_FIXED_BYTES, arena))
        """Where the controller writes the batch, and arguments that are large."""
        self.large = Shelf(self._part(_FIXED_BYTES + arena, arena))
        """Where the worker writes results that are large."""
        self.small = _SMALL
        """Texts and bytes up to this are noted as they are."""
        self._at = 0  # records up to here are written, or read
        self._before = 0  # up to where those before the last slot's are written
        self._slot = -1

    def _part(self, at: int, size: int) -> memoryview:
        view = self._views[0][at : at + size]
        self._views.append(view)
        return view

    def begin(self) -> None:
        """Have a new batch in it: by the controller before it writes the arguments."""
        self._at = 0
        self.arguments.clear()

    def trim(self) -> None:
        """Give back memory beyond what is kept, when nothing in it is needed any more: by the controller."""
        first = self._begin + _FIXED_BYTES
        for shelf, begin in ((self.arguments, first), (self.large, first + len(self.arguments.view))):
            if shelf.top > KEPT_BYTES and hasattr(mmap, "MADV_REMOVE"):
                with suppress(OSError):  # a file system that can't: then it is kept
                    self._map.madvise(mmap.MADV_REMOVE, begin + KEPT_BYTES, shelf.top - KEPT_BYTES)
            shelf.top = 0

    def run(self, count: int) -> None:
        """Get ready for the results of `count` items, each a number unless it is put as a record: by the worker."""
        self._at, self._slot = 0, -1
        self._kinds[:count] = bytes(count)
        self.large.clear()

    def note(self, slot: int, value: Any) -> bool:  # Any: the user's result
        """Write the result of a slot if it is a small scalar, but no whole number; tell whether it was."""
        kind = type(value)
        if kind is float:
            self._floats[slot] = value
            self._kinds[slot] = _FLOAT
        elif value is None:
            self._kinds[slot] = _NONE
        elif kind is bool:
            self._kinds[slot] = _TRUE if value else _FALSE
        else:
            return (kind is str or kind is bytes) and len(value) <= self.small and self.put(slot, value) is None
        return True

    def put(self, slot: int, value: Any, kind: int = _RECORD) -> bytes | None:  # Any: of plain values
        """Write the record of a slot; return what it would be if there is no room for it.

        Of what is put into one slot again the last counts, even if the first was interrupted anywhere.
        """
        record = _marshalled(value, _MARSHAL)
        if slot != self._slot:
            self._before = self._at
            self._slot = slot
        at, size = self._before, len(record)
        end = at + size
        if end > _ROOMY and size > _MARK_BYTES:
            return record
        self._records[at:end] = record
        self._at = end
        self.words[slot] = end
        self._kinds[slot] = kind
        return None

    def is_light(self, slot: int) -> bool:
        """Tell whether the first result that is to be taken, in this slot, is a scalar: to read it takes a moment."""
        kind = self._kinds[slot]
        return kind < _RECORD or (kind == _RECORD and self._records[self._at] & _MARSHALLED not in _TUPLES)

    def take(self, start: int, stop: int) -> Results:
        """Return the results in the slots from `start` up to, not including, `stop`: all of them, and in order."""
        kinds = bytes(self._kinds[start:stop])
        words, count = self.words[start:stop].tolist(), len(kinds)
        if kinds.count(_NUMBER) == count:
            values: list[Any] = words
        elif kinds.count(_NONE) == count:
            values = [None] * count
        else:
            values = self._mixed(kinds, words, self._floats[start:stop].tolist())
        return Results(values, self.starts[start:stop].tolist(), self.ends[start:stop].tolist())

    def _mixed(self, kinds: bytes, words: list[int], floats: Sequence[float]) -> list[Any]:  # Any: as above
        last = max(kinds.rfind(_RECORD), kinds.rfind(PICKLE))
        coming: Iterator[Any] = iter(())
        if last >= 0:
            count = kinds.count(_RECORD) + kinds.count(PICKLE)
            records = read_records(count, self._records[self._at : words[last]])
            self._at = words[last]
            if kinds.count(_RECORD) == len(kinds):
                return records
            coming = iter(records)
        constants = {_NONE: None, _FALSE: False, _TRUE: True}
        return [
            word
            if kind == _NUMBER
            else (PACKED, None, None, next(coming))
            if kind == PICKLE
            else next(coming)
            if kind == _RECORD
            else number
            if kind == _FLOAT
            else constants[kind]
            for kind, word, number in zip(kinds, words, floats, strict=True)
        ]

    def close(self) -> None:
        """Let go of it."""
        self.starts.release()
        self.ends.release()
        self.words.release()
        self._floats.release()
        for view in reversed(self._views):
            view.release()


def read_records(count: int, data: bytes | bytearray | memoryview) -> list[Any]:  # Any: of plain values
    """Return the values of so many records that follow each other: they are the inside of a marshalled list."""
    values: list[Any] = marshal.loads(b"[" + count.to_bytes(4, "little") + memoryview(data))  # noqa: S302 - of a worker of ours
    return values
