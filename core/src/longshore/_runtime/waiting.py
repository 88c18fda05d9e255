"""Running tasks that wait for other tasks of their own pool: the engine is told, and one that waits in vain is, too.

A wait begins and ends on the pool's loop; who waits in a thread has that done for it.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Protocol

from longshore._engine.messages import Stimulus, Tangled, Waits
from longshore.errors import LongshoreError, WrongPlace
from longshore.worker import running_task

_NOBODYS: AbstractContextManager[None] = nullcontext()


class OpenWaits:
    """The waits that go on, the oldest first."""

    def __init__(self, stimulate: Callable[[Stimulus], None], is_running: Callable[[str], bool]) -> None:
        """Have none; the engine is told by `stimulate`, and knows of a task whether it `is_running` here."""
        self._stimulate = stimulate
        self._is_running = is_running
        self._open: list[Wait] = []

    def of(self, future: asyncio.Future[Any]) -> AbstractContextManager[object]:  # Any: whatever is waited for
        """Return what to await `future` inside of; it is the wait of the task that this code runs in, if one is."""
        task = running_task()
        if task is None or not self._is_running(task.task_id):
            return _NOBODYS

        def refuse(error: LongshoreError) -> None:
            if not future.done():
                future.set_exception(error)

        return Wait(self, task.task_id, refuse)

    def begin(self, wait: Wait) -> None:
        """Take note that a task waits."""
        self._open.append(wait)
        self._stimulate(Waits(wait.task_id, True))

    def end(self, wait: Wait) -> None:
        """Take note that it waits no more."""
        if wait in self._open:
            self._open.remove(wait)
            self._stimulate(Waits(wait.task_id, False))

    def refuse(self, tangled: Tangled) -> None:
        """End the newest wait of these tasks with an error: nothing can go on."""
        for wait in reversed(self._open):
            if wait.task_id in tangled.task_ids:
                wait.refuse(WrongPlace(f"task {wait.task_id} waits in vain: {tangled.message}", task_id=wait.task_id))
                return


class Wait:
    """One wait of one task."""

    __slots__ = ("_waits", "refuse", "task_id")

    def __init__(self, waits: OpenWaits, task_id: str, refuse: Callable[[LongshoreError], None]) -> None:
        """Make a wait that begins when it is entered; `refuse` ends it with an error."""
        self._waits = waits
        self.task_id = task_id
        self.refuse = refuse

    def __enter__(self) -> None:
        """Begin."""
        self._waits.begin(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._waits.end(self)


class ThreadWait:
    """A wait of the task that this thread runs, if it runs one; entered and left in that thread."""

    __slots__ = ("_inject", "_refuse", "_wait", "_waits")

    def __init__(
        self,
        waits: OpenWaits,
        inject: Callable[[Callable[[], None]], None],
        refuse: Callable[[LongshoreError], None],
    ) -> None:
        """Have the wait begin and end on the pool's loop by `inject`; there `refuse` is called, if it is in vain."""
        self._waits, self._inject, self._refuse = waits, inject, refuse
        self._wait: Wait | None = None

    def __enter__(self) -> None:
        """Begin."""
        task = running_task()
        if task is not None:
            self._wait = wait = Wait(self._waits, task.task_id, self._refuse)
            self._inject(lambda: self._waits.begin(wait))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        wait = self._wait
        if wait is not None:
            self._inject(lambda: self._waits.end(wait))


class Waited(Protocol):
    """A future that tells of those that wait for it in a task."""

    def wait(self) -> AbstractContextManager[object]:
        """Return what the thread that calls waits inside of."""


class Waiters(list[Any]):  # Any: what `concurrent.futures` puts in while somebody waits for several futures
    """Those that wait for one future together with others, by `concurrent.futures.wait` or `as_completed`."""

    def __init__(self, future: Waited) -> None:
        """Have nobody wait; the future, which has this, is not kept by it."""
        super().__init__()
        self._future = weakref.ref(future)
        self._waits: dict[int, AbstractContextManager[object]] = {}

    def append(self, waiter: Any) -> None:  # Any: as above
        """Have one more wait, in its thread."""
        super().append(waiter)
        future = self._future()
        if future is not None:
            self._waits[id(waiter)] = wait = future.wait()
            wait.__enter__()

    def remove(self, waiter: Any) -> None:  # Any: as above
        """Have one wait no more, in its thread."""
        super().remove(waiter)
        wait = self._waits.pop(id(waiter), None)
        if wait is not None:
            wait.__exit__(None, None, None)
