"""The commit barrier: outcomes go to the journal's writer thread first, and only then to whoever waits for them.

One thread, one commit at a time, all that has come in meanwhile in the next one (group commit). Without a journal there
is no committer, and the driver tells at once.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeGuard

from msgspec import Struct
from msgspec.structs import replace

from longshore._packing import described
from longshore.chaos import point
from longshore.errors import JournalError
from longshore.hookspecs import Journal
from longshore.records import Accepted, CommitBatch, JournalQuery, Recalled, RunOpening, Settled, Started, Tried
from longshore.task import Outcome, Priority, TaskSpec

_BUSY = 64
"""After a commit of more outcomes than that, the next one waits a moment for what comes meanwhile."""
_WINDOW_S = 0.003
_END_S = 1.0  # the thread has nothing left to do but to end


class Ends(Struct, frozen=True, eq=False):
    """Outcomes of one spec that are to be told once they are committed."""

    spec: TaskSpec
    outcomes: Sequence[Outcome]
    settled: Settled | None
    """What is to be committed; None where they are in the journal already."""
    sources: Sequence[str] = ()
    """The recorded tasks that such outcomes are to be read of."""


class Notes(Struct, frozen=True, kw_only=True, eq=False):
    """What else is to be committed; `then` is called on the loop once it is."""

    accepted: Sequence[Accepted] = ()
    started: Sequence[Started] = ()
    tried: Sequence[Tried] = ()
    states: Mapping[str, Any] = {}  # Any: JSON-safe values
    ended: str | None = None
    then: Callable[[], None] | None = None


_Item = Ends | Notes


class Committer:
    """Commits in order; `told` is called on the loop with the ends that are committed, those of one spec together.

    When the journal raises, nothing of that batch or after it is told, and `failed` is called once with a JournalError.
    """

    def __init__(
        self,
        journal: Journal,
        run: RunOpening,
        *,
        told: Callable[[TaskSpec, Sequence[Outcome]], None],
        after: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Take the journal; nothing is opened before `start`."""
        self.waiting = [0, 0]
        """How many outcomes are not told yet: of ordinary and of urgent tasks."""
        self._journal = journal
        self._run = run
        self._told = told
        self._after = after
        self._failed = failed
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[Recalled] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._broken = self._busy = False
        self._commits_since: float | None = None
        self._before_commit, self._after_commit = point("journal.before-commit"), point("journal.after-commit")
        self._thread = threading.Thread(target=self._write, name="longshore-journal", daemon=True)

    async def start(self) -> Recalled:
        """Open the journal on its thread, and return what it has of the run; raises JournalError when that fails."""
        self._thread.start()
        try:
            return await self._opened
        except BaseException:
            self._queue.put(None)  # given up on while it opens: then it is closed as soon as it is open
            raise

    def commit(self, ends: Ends) -> None:
        """Queue outcomes for the next commit."""
        self.waiting[ends.spec.priority is Priority.CRITICAL] += len(ends.outcomes)
        self._queue.put(ends)

    def note(self, notes: Notes) -> None:
        """Queue something for the next commit."""
        self._queue.put(notes)

    def busy_s(self) -> float:
        """Return for how many seconds the journal has been at its commit; 0 where it is at none. From any thread."""
        since = self._commits_since
        return 0.0 if since is None else time.monotonic() - since

    async def stop(self, deadline_s: float) -> bool:
        """Commit what is queued, close the journal; False when that took longer than `deadline_s`."""
        self._queue.put(None)
        closed, _ = await asyncio.wait({self._closed}, timeout=deadline_s)
        if closed:
            self._thread.join(_END_S)
        return bool(closed)

    # ---- on the journal's thread

    def _write(self) -> None:
        try:
            recalled = self._journal.open(self._run)
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, and the caller waits
            broken = _journal_error("open", error)
            self._post(lambda: self._has_opened(broken))
        else:
            self._post(lambda: self._has_opened(recalled))
            self._write_items()
        self._post(lambda: self._closed.set_result(None))

    def _write_items(self) -> None:
        """Commit what comes, until told to end; then close the journal."""
        last = False
        while not last:
            items, last = self._next()
            if items and not self._broken:
                self._commit(items)
        try:
            self._journal.close()
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything
            broken = _journal_error("close", error)
            self._post(lambda: self._failed(broken))

    def _next(self) -> tuple[list[_Item], bool]:
        """Wait for something, then take all there is."""
        items: list[_Item] = []
        item = self._queue.get()
        if self._busy:
            time.sleep(_WINDOW_S)  # few large commits cost the loop less than many small ones
        while item is not None:
            items.append(item)
            if self._queue.empty():
                return items, False
            item = self._queue.get()
        return items, True

    def _commit(self, items: list[_Item]) -> None:
        self._busy = sum([len(item.outcomes) for item in items if _are_ends(item)]) > _BUSY
        try:
            batch = _batch(self._run.run_id, items)
            if batch is not None:
                self._commits_since = time.monotonic()
                self._before_commit("")
                self._journal.commit(batch)
                self._after_commit("")
                self._commits_since = None
            ends = [item if item.settled is not None else self._restored(item) for item in items if _are_ends(item)]
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, and none of these may be told
            self._broken = True
            broken = _journal_error("commit", error)
            self._post(lambda: self._failed(broken))
        else:
            then = [item.then for item in items if isinstance(item, Notes) and item.then is not None]
            if ends or then:
                self._post(lambda: self._release(ends, then))

    def _restored(self, ends: Ends) -> Ends:
        """Return the ends with what the journal has of them; JournalError if it has one no more."""
        found = {one.task_id: one for one in self._journal.load(JournalQuery(task_ids=ends.sources))}
        missing = [source for source in ends.sources if source not in found]
        if missing:
            raise JournalError(f"the recorded outcome of task {missing[0]} is not in the journal any more")
        outcomes = [
            replace(found[source], task_id=here.task_id, key=here.key, index=here.index, name=here.name, restored=True)
            for source, here in zip(ends.sources, ends.outcomes, strict=True)
        ]
        return Ends(ends.spec, outcomes, None, ends.sources)

    def _has_opened(self, result: Recalled | JournalError) -> None:
        if not self._opened.done():
            if isinstance(result, JournalError):
                self._opened.set_exception(result)
            else:
                self._opened.set_result(result)

    def _post(self, act: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop was closed under the pool: nobody waits any more
            self._loop.call_soon_threadsafe(act)

    def _release(self, ends: list[Ends], then: list[Callable[[], None]]) -> None:
        for act in then:
            act()
        for one in ends:
            self.waiting[one.spec.priority is Priority.CRITICAL] -= len(one.outcomes)
            self._told(one.spec, one.outcomes)
        self._after()


def _are_ends(item: _Item) -> TypeGuard[Ends]:
    return isinstance(item, Ends)


def _batch(run_id: str, items: Sequence[_Item]) -> CommitBatch | None:
    """Return what is to be committed of them; None for nothing."""
    notes = [item for item in items if isinstance(item, Notes)]
    settled = [item.settled for item in items if isinstance(item, Ends) and item.settled is not None]
    if not notes and not settled:
        return None
    states: dict[str, Any] = {}  # Any: JSON-safe values
    for note in notes:
        states.update(note.states)
    return CommitBatch(
        run_id=run_id,
        at=time.time(),
        accepted=[one for note in notes for one in note.accepted],
        started=[one for note in notes for one in note.started],
        tried=[one for note in notes for one in note.tried],
        settled=settled,
        states=states,
        ended=next((note.ended for note in notes if note.ended is not None), None),
    )


def _journal_error(act: str, error: BaseException) -> JournalError:
    facts = error.facts if isinstance(error, JournalError) else {}
    broken = JournalError(f"the journal could not {act}: {described(error)}", **facts)
    broken.__cause__ = error
    return broken
