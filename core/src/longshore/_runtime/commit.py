"""The commit barrier: outcomes go to the journal's writer thread first, and only then to whoever waits for them.

One thread, one commit at a time, all that has come in meanwhile in the next one (group commit). Without a journal there
is no committer, and the driver tells at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue

from longshore.errors import JournalError
from longshore.hookspecs import Journal
from longshore.records import CommitBatch, RunInfo
from longshore.task import Outcome, Priority, TaskSpec

_Group = tuple[TaskSpec, Sequence[Outcome]]
_END_S = 1.0  # the thread has nothing left to do but to end


class Committer:
    """Commits outcomes in order; `told` is called on the loop with each group that is committed.

    When the journal raises, nothing of that batch or after it is told, and `failed` is called once with a JournalError.
    """

    def __init__(
        self,
        journal: Journal,
        run: RunInfo,
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
        self._queue: SimpleQueue[_Group | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._broken = False
        self._thread = threading.Thread(target=self._write, name="longshore-journal", daemon=True)

    async def start(self) -> None:
        """Open the journal on its thread; raises JournalError when that fails."""
        self._thread.start()
        try:
            await self._opened
        except BaseException:
            self._queue.put(None)  # given up on while it opens: then it is closed as soon as it is open
            raise

    def commit(self, spec: TaskSpec, outcomes: Sequence[Outcome]) -> None:
        """Queue outcomes for the next commit."""
        self.waiting[spec.priority is Priority.CRITICAL] += len(outcomes)
        self._queue.put((spec, outcomes))

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
            self._journal.open(self._run)
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, and the caller waits
            broken = _journal_error("open", error)
            self._post(lambda: self._has_opened(broken))
        else:
            self._post(lambda: self._has_opened(None))
            self._write_groups()
        self._post(lambda: self._closed.set_result(None))

    def _write_groups(self) -> None:
        """Commit what comes, until told to end; then close the journal."""
        last = False
        while not last:
            groups, last = self._next()
            if groups and not self._broken:
                self._commit(groups)
        try:
            self._journal.close()
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything
            broken = _journal_error("close", error)
            self._post(lambda: self._failed(broken))

    def _next(self) -> tuple[list[_Group], bool]:
        """Wait for a group, then take all there are."""
        groups: list[_Group] = []
        item = self._queue.get()
        while item is not None:
            groups.append(item)
            if self._queue.empty():
                return groups, False
            item = self._queue.get()
        return groups, True

    def _commit(self, groups: list[_Group]) -> None:
        outcomes = [outcome for _, group in groups for outcome in group]
        try:
            self._journal.commit(CommitBatch(run_id=self._run.run_id, outcomes=outcomes))
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, and none of these may be told
            self._broken = True
            broken = _journal_error("commit", error)
            self._post(lambda: self._failed(broken))
        else:
            self._post(lambda: self._release(groups))

    def _has_opened(self, broken: JournalError | None) -> None:
        if not self._opened.done():
            if broken is None:
                self._opened.set_result(None)
            else:
                self._opened.set_exception(broken)

    def _post(self, act: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop was closed under the pool: nobody waits any more
            self._loop.call_soon_threadsafe(act)

    def _release(self, groups: list[_Group]) -> None:
        for spec, outcomes in groups:
            self.waiting[spec.priority is Priority.CRITICAL] -= len(outcomes)
            self._told(spec, outcomes)
        self._after()


def _journal_error(act: str, error: BaseException) -> JournalError:
    broken = JournalError(f"the journal could not {act}: {type(error).__name__}: {error}")
    broken.__cause__ = error
    return broken
