"""Handles: what a caller holds of one submitted task, and the table that brings them their outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from typing import Any, Generic, TypeVar

from longshore._engine.messages import Cancel
from longshore._runtime.driver import Driver
from longshore.chaos import point
from longshore.errors import LongshoreError
from longshore.task import Outcome, Task, TaskState
from longshore.worker import in_a_task

T = TypeVar("T")


class Handle(Generic[T]):
    """One submitted task. `await handle` gives its result, or raises its own exception unchanged.

    May be awaited by several at once, any number of times. Cancelling a waiter does not cancel the task. Belongs to the
    pool's loop; `cancel` may be called from there only (`pool.cancel` from any thread).
    """

    __slots__ = ("_driver", "_outcome", "_refusal", "_waiters", "task_id")

    def __init__(self, task_id: str, driver: Driver) -> None:
        """Stand for a task that was given to the driver."""
        self.task_id = task_id
        self._driver = driver
        self._outcome: Outcome | None = None
        self._refusal: LongshoreError | None = None
        self._waiters: list[asyncio.Future[None]] | None = None

    def __repr__(self) -> str:
        """Show id and state."""
        return f"<Handle {self.task_id} {self.state.value}>"

    @property
    def state(self) -> TaskState:
        """Where the task is."""
        if self._outcome is not None:
            return self._outcome.state
        if self._refusal is not None:
            return TaskState.FAILED
        return self._driver.engine.state(self.task_id) or TaskState.PENDING

    @property
    def done(self) -> bool:
        """Whether the task has reached its end."""
        return self._outcome is not None or self._refusal is not None

    def cancel(self, message: str = "cancelled by its handle") -> None:
        """Ask for the task to end: queued, it is removed; running, its executor does what it can."""
        if not self.done:
            self._driver.stimulate(Cancel((self.task_id,), message))

    async def outcome(self) -> Outcome:
        """Wait for the task's end and return its outcome; raises only what is ours, never the task's exception."""
        if self._outcome is None:
            await self.ended()
        return self._came()

    def __await__(self) -> Generator[Any, None, T]:  # Any: as asyncio's futures
        """Wait for the task's end; return its result or raise its exception."""
        if self._outcome is None:
            yield from self.ended().__await__()
        value: T = self._came().unwrap()
        return value

    def _came(self) -> Outcome:
        if self._refusal is not None:
            raise self._refusal
        if self._outcome is None:
            raise AssertionError("a handle was woken without an outcome")
        return self._outcome

    async def ended(self) -> None:
        """Wait for the task's end. Raises WrongPlace in a task of the pool, where all that runs waits in vain."""
        if self.done:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(future)
        try:
            if not in_a_task():
                await future
                return
            with self._driver.waits.of(future):
                await future
        finally:
            if self._waiters is not None:
                self._waiters.remove(future)

    def _settle(self, outcome: Outcome | None, refusal: LongshoreError | None = None) -> None:
        self._outcome = outcome
        self._refusal = refusal
        waiters, self._waiters = self._waiters, None
        for future in waiters or ():
            if not future.done():
                future.set_result(None)


class HandleTable:
    """The owner of all tasks that were submitted one by one."""

    def __init__(self) -> None:
        """Start with none."""
        self._handles: dict[str, Handle[Any]] = {}  # Any: each task has its own type
        self._before_settling = point("pool.before-settling")

    def add(self, handle: Handle[Any]) -> None:  # Any: as above
        """Bring `handle` its outcome when there is one."""
        self._handles[handle.task_id] = handle

    def __contains__(self, task_id: object) -> bool:
        """Tell whether a task of this id was submitted and has not ended."""
        return task_id in self._handles

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Bring outcomes to their handles."""
        self._before_settling("")
        for outcome in outcomes:
            handle = self._handles.pop(outcome.task_id, None)
            if handle is not None:
                handle._settle(outcome)

    def refuse(self, tasks: Sequence[Task], error: LongshoreError) -> None:
        """Tell handles that their tasks were not accepted; no tasks means all there are."""
        ids = [task.task_id for task in tasks] or list(self._handles)
        for task_id in ids:
            handle = self._handles.pop(task_id, None)
            if handle is not None:
                handle._settle(None, error)
