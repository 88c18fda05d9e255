"""What is kept of tasks after their end, and for how long; who asks for a task by its id asks here.

Pure but for one warning: the time is given to it. Used by the seam, on the pool's loop.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain
from typing import Generic, NamedTuple, TypeVar

from longshore.errors import TaskNotFound

EntryT = TypeVar("EntryT")

_log = logging.getLogger("longshore.pool")
_BETWEEN = "-t"  # between a run's token and the number of a task in its id


class _Held(NamedTuple, Generic[EntryT]):
    entry: EntryT
    since: float
    size_bytes: int


class ResultStore(Generic[EntryT]):
    """Entries by task id: those not ended, all of them; of those that have, as many as the bounds allow.

    An ended one is kept for `keep_s` after its end or its last reading. Above `max_count`, those that were read go,
    the longest unread first; what nobody has read yet is not dropped for their number. Above `max_bytes`, those that
    were read go first, and then the oldest. An id that was given out here and is no longer held has expired: that is
    known from its number, so that nothing is kept of it.
    """

    def __init__(self, *, keep_s: float, max_count: int, max_bytes: float) -> None:
        """Hold nothing yet."""
        self.keep_s, self.max_count, self.max_bytes = keep_s, max_count, max_bytes
        self.held_bytes = 0
        self.dropped_unread = 0
        """How many were dropped for `max_bytes` before anybody had read them."""
        self._issued: dict[str, int] = {}
        self.live: dict[str, EntryT] = {}
        """Those that have not ended."""
        self._unread: dict[str, _Held[EntryT]] = {}  # by their ends, oldest first
        self._read: dict[str, _Held[EntryT]] = {}  # by their last reading, oldest first

    def issue(self, token: str) -> str:
        """Return the next id that begins with `token`."""
        number = self._issued.get(token, 0)
        self._issued[token] = number + 1
        return f"{token}{_BETWEEN}{number:x}"

    def add(self, task_id: str, entry: EntryT) -> None:
        """Hold an entry until its end, and from then on within the bounds."""
        self.live[task_id] = entry

    def ended(self, task_id: str, now: float, size_bytes: int) -> None:
        """Note the end of a task, of which so many bytes are held from now on."""
        entry = self.live.pop(task_id, None)
        if entry is not None:
            self._unread[task_id] = _Held(entry, now, size_bytes)
            self.held_bytes += size_bytes
            self._tidy(now)

    def read(self, task_id: str, now: float) -> None:
        """Note that the result was read; what is not held, or has not ended, is ignored."""
        held = self._unread.pop(task_id, None) or self._read.pop(task_id, None)
        if held is not None:
            self._read[task_id] = held._replace(since=now)
            self._tidy(now)

    def get(self, task_id: str, now: float) -> EntryT:
        """Return an entry; TaskNotFound says whether its result has expired or there never was one of this id."""
        self._tidy(now)
        live = self.live.get(task_id)
        if live is not None:
            return live
        held = self._unread.get(task_id) or self._read.get(task_id)
        if held is not None:
            return held.entry
        if self._was_issued(task_id):
            raise TaskNotFound(
                f"the result of task {task_id} has expired: one is kept for {self.keep_s:g} s after its end or last "
                f"reading, all together up to {self.max_bytes / 1e6:g} MB; see [tool.longshore.results]",
                task_id=task_id,
                reason="expired",
            )
        raise TaskNotFound(
            f"there is no task {task_id!r}: results are kept of what submit_task was given", task_id=str(task_id)
        )

    def __contains__(self, task_id: object) -> bool:
        """Tell whether an entry of this id is held; what has expired may be until somebody else asks."""
        return task_id in self.live or task_id in self._unread or task_id in self._read

    def __iter__(self) -> Iterator[EntryT]:
        """Yield the entries, newest first: those that have not ended, those nobody has read, those that were read."""
        ended = (held.entry for group in (self._unread, self._read) for held in reversed(list(group.values())))
        return chain(reversed(list(self.live.values())), ended)

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(self.live) + len(self._unread) + len(self._read)

    def _was_issued(self, task_id: object) -> bool:
        token, _, number = str(task_id).rpartition(_BETWEEN)
        try:
            value = int(number, 16)
        except ValueError:
            return False
        return f"{value:x}" == number and 0 <= value < self._issued.get(token, 0)

    def _tidy(self, now: float) -> None:
        """Drop what has expired and what is too much."""
        for group in (self._read, self._unread):
            while group and next(iter(group.values())).since + self.keep_s <= now:
                self._drop(group)
        while self._read and (len(self._read) + len(self._unread) > self.max_count or self.held_bytes > self.max_bytes):
            self._drop(self._read)
        while self._unread and self.held_bytes > self.max_bytes:
            self._drop(self._unread)
            self.dropped_unread += 1
            if self.dropped_unread == 1:
                _log.warning(
                    "results that nobody has read are dropped, the oldest first: they hold more than %g MB together; "
                    "read them sooner, or raise results.max_mb in the settings",
                    self.max_bytes / 1e6,
                )

    def _drop(self, group: dict[str, _Held[EntryT]]) -> None:
        """Drop the first of a group."""
        self.held_bytes -= group.pop(next(iter(group))).size_bytes
