"""The same streams without async: each call has a pool on a loop in a thread of its own, so it works in a loop too."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import aclosing, suppress
from contextvars import copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from longshore._runtime.sizes import size_of
from longshore._runtime.source import check_iterable
from longshore.task import Outcome

if TYPE_CHECKING:
    from longshore._runtime.stream import Stream
    from longshore._submit import Submitter
    from longshore.settings import Settings, WorkerConfig

ItemT = TypeVar("ItemT")
T = TypeVar("T")

_log = logging.getLogger("longshore.sync")
_HANDED_MOST = 16  # batches the thread may be ahead of its caller
_HANDED_BYTES = 4 << 20  # a batch that holds more counts as several
_END_S = 20.0  # what the thread gets to end once it was told to: more than a pool needs to stop
Open = Callable[["Submitter"], "Stream[Any]"]  # Any: an outcome, or a user's result


class SyncStream(Generic[ItemT]):
    """An iterator over what becomes of many calls; also a context manager that cancels what is left on leaving.

    Iterate once, from one thread at a time. Nothing begins before the first result is asked for. `close`, leaving
    `with`, or letting go of it cancels what is queued or running, and waits until its pool has stopped.
    """

    def __init__(self, results: Generator[ItemT, None, None]) -> None:
        """Give what `results` gives."""
        self._results = results

    def __iter__(self) -> Iterator[ItemT]:
        """Iterate; the generator itself, for a step of ours would cost as much as one of it."""
        return self._results

    def __next__(self) -> ItemT:
        """Give the next; waits for it."""
        return next(self._results)

    def close(self) -> None:
        """Cancel what is left; nothing more is given."""
        self._results.close()

    def __enter__(self) -> Self:
        """Enter; leaving cancels what is left."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what is left."""
        self.close()


def outcomes(
    function: Callable[..., Any],  # Any: the user's function
    items: Iterable[Any],
    *,
    workers: int | None = None,
    total: int | None = None,
    ordered: bool = False,
    key: Callable[[Any], str] | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> SyncStream[Outcome]:
    """Call `function` with each item; give an Outcome per item as they end (`ordered`: in input order).

    Lazy and bounded, never raises for a task. `items` are iterated in another thread, and while that waits for one
    nothing is given. `options` are those of `pool.options`; `workers` is how many each executor may have; `key` names
    an item in events and views. With executor="inline" all runs in the caller's thread, if no loop runs there.
    """
    check_iterable("items", items)

    def opened(pool: Submitter) -> Stream[Outcome]:
        return pool.options(**options).outcomes(function, items, total=total, ordered=ordered, key=key)

    return _stream(opened, workers, settings, options)


@overload
def map(
    function: Callable[..., Coroutine[Any, Any, T]],
    items: Iterable[Any],
    *,
    workers: int | None = None,
    total: int | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> SyncStream[T]: ...


@overload
def map(
    function: Callable[..., T],
    items: Iterable[Any],
    *,
    workers: int | None = None,
    total: int | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> SyncStream[T]: ...


def map(
    function: Callable[..., Any],  # Any: the user's function
    items: Iterable[Any],
    *,
    workers: int | None = None,
    total: int | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> SyncStream[Any]:
    """Call `function` with each item; give results in input order, and raise the first failure, like the built-in."""
    check_iterable("items", items)

    def opened(pool: Submitter) -> Stream[Any]:
        return pool.options(**options).map(function, items, total=total)

    return _stream(opened, workers, settings, options)


@overload
def starmap(
    function: Callable[..., Coroutine[Any, Any, T]],
    calls: Iterable[Iterable[Any]],
    *,
    workers: int | None = None,
    total: int | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> SyncStream[T]: ...


@overload
def starmap(
    function: Callable[..., T],
    calls: Iterable[Iterable[Any]],
    *,
    workers: int | None = None,
    total: int | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> SyncStream[T]: ...


def starmap(
    function: Callable[..., Any],  # Any: the user's function
    calls: Iterable[Iterable[Any]],
    *,
    workers: int | None = None,
    total: int | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> SyncStream[Any]:
    """Do what `map` does, with each item giving all arguments of one call."""
    check_iterable("calls", calls)

    def opened(pool: Submitter) -> Stream[Any]:
        return pool.options(**options).starmap(function, calls, total=total)

    return _stream(opened, workers, settings, options)


def _stream(
    opened: Open, workers: int | None, settings: Settings | None, options: dict[str, Any]
) -> SyncStream[Any]:  # Any: an outcome or a result, and each option's own type
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    bridge = _Bridge(opened, workers, settings)
    return SyncStream(bridge.run_here() if options.get("executor") == "inline" else bridge.run())


class _Bridge:
    """One stream on a loop in a thread, read by a generator in the caller's."""

    def __init__(self, open_stream: Open, workers: int | None, settings: Settings | None) -> None:
        self._open = open_stream
        self._workers = workers
        self._settings = settings
        self._context = copy_context()  # tasks see the context of whoever called
        self._handed: queue.Queue[tuple[list[Any], int] | BaseException | None] = queue.Queue()
        self._slots = threading.Semaphore(_HANDED_MOST)
        self._closing = False
        self._begun = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def run(self) -> Generator[Any, None, None]:  # Any: an outcome, or a user's result
        thread = threading.Thread(target=self._context.run, args=(self._work,), name="longshore-sync", daemon=True)
        thread.start()
        try:
            while (handed := self._handed.get()) is not None:
                if isinstance(handed, BaseException):
                    raise handed
                batch, slots = handed
                del handed
                yield from batch
                del batch
                self._slots.release(slots)
        finally:
            self._close()
            thread.join(_END_S)
            if thread.is_alive():
                _log.warning("what ran in the background has not ended after %g s, and is left to itself", _END_S)

    def run_here(self) -> Generator[Any, None, None]:  # Any: as above
        """Step a loop in the caller's own thread, where debuggers look; if one runs there already, be as `run`."""
        if _in_a_loop():
            yield from self.run()
            return
        # With a factory it leaves alone what the caller has set as the thread's loop.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            batches = self._batches()
            try:
                while (batch := runner.run(anext(batches, None))) is not None:
                    yield from batch
            finally:
                runner.run(batches.aclose())

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
        loop = asyncio.get_running_loop()
        async with aclosing(self._batches()) as batches:
            async for batch in batches:
                slots = min(_HANDED_MOST, 1 + size_of(batch[-1]) * len(batch) // _HANDED_BYTES)
                for _ in range(slots):
                    if not self._slots.acquire(blocking=False):
                        await loop.run_in_executor(None, self._slots.acquire)
                    if self._closing:
                        return
                self._handed.put((batch, slots))

    async def _batches(self) -> AsyncGenerator[list[Any], None]:
        """Give what comes in together, from a pool that is started for it and stopped after it."""
        from longshore.pool import WorkerPool  # heavy, and only needed once something is called

        pool = WorkerPool(self._config(), settings=self._settings)
        async with pool, self._open(pool) as stream, aclosing(stream.batches()) as batches:
            async for batch in batches:
                yield batch

    def _config(self) -> WorkerConfig | None:
        """Return the settings' worker counts with those asked for in their place."""
        if self._workers is None:
            return None
        from longshore.settings import load_settings

        base = (self._settings or load_settings().settings).workers
        counts = dict.fromkeys(("async_workers", "thread_workers", "process_workers"), self._workers)
        cap = max(self._workers, base.max_concurrent_tasks)
        return base.model_validate({**base.model_dump(), **counts, "max_concurrent_tasks": cap})


def _in_a_loop() -> bool:
    """Tell whether a loop runs in this thread; what comes after has not the error in its context that says so."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


__all__ = ["Open", "SyncStream", "map", "outcomes", "starmap"]
