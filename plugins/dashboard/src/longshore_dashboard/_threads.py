"""Threads that answer what takes a while, so that the loop does not wait for it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def on_thread(threads: Executor, make: Callable[[], T]) -> T:
    """Return what a call gives that one of the threads makes, while the loop goes on."""
    return await asyncio.get_running_loop().run_in_executor(threads, make)


class PageThreads(Executor):
    """A few daemon threads.

    The standard library's take nothing any more once the interpreter begins to end, and pages that linger are asked for
    just then.
    """

    def __init__(self, count: int) -> None:
        """Start so many."""
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._count = count
        for number in range(count):
            threading.Thread(target=self._work, name=f"longshore-dashboard-{number}", daemon=True).start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have one of them call a function; as many wait as there are requests, and those the listener bounds."""
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - it is raised where the future is waited for
                future.set_exception(error)
            else:
                future.set_result(result)

        self._calls.put(call)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End them once they are through with what was asked; waits for none."""
        for _ in range(self._count):
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
