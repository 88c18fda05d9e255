"""The same streams without async: each call has a pool on a loop in a thread of its own, so it works in a loop too."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from longshore.task import Outcome

if TYPE_CHECKING:
    from longshore._runtime.stream import Stream
    from longshore._submit import Submitter
    from longshore.settings import Settings, WorkerConfig

_log = logging.getLogger("longshore.sync")
_HANDED_MOST = 16  # batches the thread may be ahead of its caller
_END_S = 20.0  # what the thread gets to end once it was told to: more than a pool needs to stop
Open = Callable[["Submitter"], "Stream[Any]"]  # Any: an outcome, or a user's result


def outcomes(
    function: Callable[..., Any],  # Any: the user's function
    items: Iterable[Any],
    *,
    workers: int | None = None,
    total: int | None = None,
    ordered: bool = False,
    settings: Settings | None = None,
    **options: Any,
) -> Generator[Outcome, None, None]:
    """Call `function` with each item; yield an Outcome per item as they end (`ordered`: in input order).

    Lazy and bounded, never raises for a task. `items` are iterated in another thread, and while that waits for one
    nothing is given. `options` are those of `pool.options`; `workers` is how many each executor may have. Closing the
    generator cancels what is left.
    """
    bridge = _Bridge(
        lambda pool: pool.options(**options).outcomes(function, items, total=total, ordered=ordered), workers, settings
    )
    return bridge.run()


def map(
    function: Callable[..., Any],  # Any: the user's function
    items: Iterable[Any],
    *,
    workers: int | None = None,
    total: int | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> Generator[Any, None, None]:
    """Call `function` with each item; yield results in input order, and raise the first failure, like the built-in."""
    return _Bridge(lambda pool: pool.options(**options).map(function, items, total=total), workers, settings).run()


class _Bridge:
    """One stream on a loop in a thread, read by a generator in the caller's."""

    def __init__(self, open_stream: Open, workers: int | None, settings: Settings | None) -> None:
        self._open = open_stream
        self._workers = workers
        self._settings = settings
        self._handed: queue.Queue[list[Any] | BaseException | None] = queue.Queue()
        self._slots = threading.Semaphore(_HANDED_MOST)
        self._closing = False
        self._begun = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def run(self) -> Generator[Any, None, None]:  # Any: an outcome, or a user's result
        thread = threading.Thread(target=self._work, name="longshore-sync", daemon=True)
        thread.start()
        try:
            while (batch := self._handed.get()) is not None:
                if isinstance(batch, BaseException):
                    raise batch
                self._slots.release()
                yield from batch
        finally:
            self._close()
            thread.join(_END_S)
            if thread.is_alive():
                _log.warning("what ran in the background has not ended after %g s, and is left to itself", _END_S)

    def _close(self) -> None:
        """Have the thread cancel what is left, wherever it waits."""
        self._closing = True
        self._slots.release()
        self._begun.wait(_END_S)
        if self._loop is not None and self._task is not None:
            with suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._task.cancel)

    def _work(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - such as no loop to be had; the caller's thread raises it
            self._handed.put(error)
        finally:
            self._begun.set()

    async def _serve(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._begun.set()
        try:
            await self._stream()
        except BaseException as error:  # noqa: BLE001 - the caller's thread raises it, unless it closed: then nobody looks
            self._handed.put(error)
        else:
            self._handed.put(None)

    async def _stream(self) -> None:
        from longshore.pool import WorkerPool  # heavy, and only needed once something is called

        loop = asyncio.get_running_loop()
        pool = WorkerPool(self._config(), settings=self._settings)
        async with pool, self._open(pool) as stream:
            async for batch in stream.batches():
                if not self._slots.acquire(blocking=False):
                    await loop.run_in_executor(None, self._slots.acquire)
                if self._closing:
                    return
                self._handed.put(batch)

    def _config(self) -> WorkerConfig | None:
        """Return the settings' worker counts with those asked for in their place."""
        if self._workers is None:
            return None
        from longshore.settings import load_settings

        base = (self._settings or load_settings().settings).workers
        counts = dict.fromkeys(("async_workers", "thread_workers", "process_workers"), self._workers)
        cap = max(self._workers, base.max_concurrent_tasks)
        return base.model_validate({**base.model_dump(), **counts, "max_concurrent_tasks": cap})
