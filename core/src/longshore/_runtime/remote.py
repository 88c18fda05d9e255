"""What `submit_threadsafe` returns: a future for other threads, and the call on the pool's loop that fills it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from longshore._runtime.driver import Driver
from longshore._runtime.handles import Handle
from longshore._runtime.waiting import ThreadWait, Waiters
from longshore.errors import LongshoreError
from longshore.worker import bind

_log = logging.getLogger("longshore.pool")


class RemoteFuture(concurrent.futures.Future[Any]):  # Any: the user's result
    """The future of a task; whoever waits for it in a task of the same pool lends its worker out meanwhile.

    Waiting is seen in `result` and `exception`, and in what else waits in `concurrent.futures`: `wait`, `as_completed`.
    """

    def __init__(self, driver: Driver) -> None:
        """Stand for a task that is yet to be submitted to `driver`."""
        super().__init__()
        self._driver = driver
        self._call: asyncio.Task[None] | None = None
        self._refusal: LongshoreError | None = None
        self._waiters = Waiters(self)

    def begin(self, submit: Callable[[], Awaitable[Handle[Any]]]) -> None:
        """Have `submit` called on the pool's loop, in the context of the caller; RuntimeError if that is closed."""
        self._driver.loop.call_soon_threadsafe(self._begin, submit)
        super().add_done_callback(lambda _: self._ended())

    def result(self, timeout: float | None = None) -> Any:  # Any: as above
        """Wait for the task's end and return its result or raise its exception."""
        with self.wait():
            return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the task's end and return its exception, None if it completed."""
        with self.wait():
            return super().exception(timeout)

    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[Any]], object]) -> None:
        """Have `fn` called with this future at its end; what it raises, SystemExit too, is logged and ends there."""

        def guarded(future: concurrent.futures.Future[Any]) -> None:
            try:
                fn(future)
            except BaseException:  # noqa: BLE001 - user code on the pool's loop, which an exit would end
                _log.exception("a callback of a task's future raised: %r", fn)

        super().add_done_callback(guarded)

    def refuse(self, error: LongshoreError) -> None:
        """Give up on the task with an error, though the task may go on; on the loop."""
        self._refusal = error
        self._give_up()

    def wait(self) -> AbstractContextManager[object]:
        """Return what the thread that calls waits inside of."""
        if self.done():
            return nullcontext()
        return ThreadWait(self._driver.waits, self._driver.inject, self.refuse)

    def _begin(self, submit: Callable[[], Awaitable[Handle[Any]]]) -> None:
        if not self.cancelled():
            self._call = self._driver.loop.create_task(self._fill(submit))
        else:
            self.set_running_or_notify_cancel()

    async def _fill(self, submit: Callable[[], Awaitable[Handle[Any]]]) -> None:
        """Submit, await the handle, and take its end over."""
        bind(None)  # who waits is the task that asked, and only while its thread does
        handle: Handle[Any] | None = None
        try:
            handle = await submit()
            value = await handle
        except asyncio.CancelledError:
            if self._refusal is None:
                if handle is not None:
                    handle.cancel()
                self.cancel()
            self._end(self._refusal)
        except Exception as error:  # noqa: BLE001 - the task's own, which may be anything
            self._end(error)
        else:
            self._end(None, value)

    def _end(self, error: BaseException | None, value: object = None) -> None:
        if not self.set_running_or_notify_cancel():
            return
        if error is not None:
            self.set_exception(error)
        else:
            self.set_result(value)

    def _ended(self) -> None:
        """Cancel the task, if the future was cancelled before the task ended; from any thread."""
        if self.cancelled():
            self._driver.inject(self._give_up)

    def _give_up(self) -> None:
        if self._call is not None:
            self._call.cancel()
