"""A `concurrent.futures.Executor` over a pool: for programs that have one already, and for what takes one.

`with PoolExecutor(max_workers=4, executor="processes") as executor: ...`. All that works with futures does: `wait`,
`as_completed`, `loop.run_in_executor`, dask's `pool=`, and joblib after `register_joblib()`.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from longshore._pool_future import PoolFuture
from longshore._runtime.specs import from_here, merged
from longshore._worker_init import WorkerInit
from longshore.errors import LongshoreError
from longshore.task import TaskOptions

if TYPE_CHECKING:
    from longshore._futures_desk import Desk
    from longshore.settings import Settings

T = TypeVar("T")


class BrokenPool(LongshoreError, BrokenExecutor):
    """The executor is not usable any more: its initializer failed, it was killed, or its pool has failed.

    One that dies under its task is no reason: that costs this one future, as `WorkerDied`.
    """


class PoolExecutor(Executor):
    """Calls functions in the workers of a pool of its own, which it brings up with the first call.

    `submit`, `map` and the futures keep the contract of `concurrent.futures`; every method may be called from any
    thread. Nothing is refused for want of room: what is submitted waits, in order and by priority. A call has no time
    limit unless `with_options` sets one; settings hold for all else. Callbacks of futures run in the pool's thread:
    let them be quick. When the interpreter ends, or nobody holds the executor any more, what was submitted still ends.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        executor: str | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),  # Any: the user's own
        max_tasks_per_child: int | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Take what its pool is to be; nothing is started yet.

        `executor` names where calls run: "threads", "processes", "asyncio" (coroutine functions give their result),
        "inline" (one by one, in the pool's thread), or another that is installed; None is what settings say, else
        "threads". `max_workers` is how many run at once; None is what settings say. Each worker calls
        `initializer(*initargs)` before its first call; if that raises, takes longer than `initializer_timeout_s` of
        the executor's settings (120 s) or ends one process after the other, the executor is broken. A process ends
        after `max_tasks_per_child` calls, and another takes its place. `settings` are read from their sources if None.

        Raises ValueError and TypeError for what can't be meant, PluginError for an executor that is missing or broken.
        """
        from longshore._futures_parts import make_desk  # heavy: the pool and settings

        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        desk, name, workers = make_desk(BrokenPool, settings, executor, max_workers, max_tasks_per_child)
        desk.has_initializer = initializer is not None
        starting = WorkerInit(initializer, initargs) if initializer is not None else None
        self._options = merged(TaskOptions(), {"executor": name, "initializer": starting})
        self._max_workers = workers  # dask and others look at it
        self._lease = _Lease(desk)

    def with_options(self, **changes: Any) -> PoolExecutor:  # Any: each option's own type, see TaskOptions
        """Return an executor over the same pool whose calls have these options, such as `timeout` or `retry`.

        They are those of `longshore.TaskOptions`, but for `executor` and `initializer`, which belong to the pool.
        TypeError names one that does not exist, ValueError a value that can't be meant. To shut down one is to shut
        down all over this pool.
        """
        for fixed in ("executor", "initializer"):
            if fixed in changes:
                raise TypeError(f"{fixed} belongs to the whole executor: name it where that is made")
        view = PoolExecutor.__new__(type(self))
        view._options = merged(self._options, changes)
        view._max_workers, view._lease = self._max_workers, self._lease
        return view

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:  # Any: the user's own
        """Have `fn(*args, **kwargs)` called; return its future.

        What can't work (a coroutine function in threads, arguments that can't be pickled for a process) fails the
        future. Raises RuntimeError after `shutdown` or at the end of the interpreter, BrokenPool when it is broken.
        """
        desk = self._lease.desk
        future: PoolFuture[T] = PoolFuture(desk)
        desk.enter(future, from_here(self._options), fn, args, kwargs or None)
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],  # Any: the user's own
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Call `fn` with the items of the iterables, side by side; give results in order, raise the first failure.

        All calls are submitted at once; with `buffersize` no more than that many are ahead of what was given. Results
        that do not come within `timeout` seconds of this call raise TimeoutError. An error, or closing the iterator,
        cancels what is pending. `chunksize` changes nothing: calls travel in batches by themselves.
        """
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        end = None if timeout is None else time.monotonic() + timeout
        calls = zip(*iterables, strict=False)
        futures = deque(self.submit(fn, *args) for args in (calls if buffersize is None else islice(calls, buffersize)))
        more = (self.submit(fn, *args) for args in calls) if buffersize is not None else iter(())
        return _in_order(futures, more, end)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with `wait` return when all have ended and nothing of the pool is left.

        `cancel_futures` cancels those that are pending, which happens a moment later if nobody waits. RuntimeError
        for `wait` in a callback or in a call of this executor, which it would wait for.
        """
        self._lease.desk.close(cancel_pending=cancel_futures)
        if wait:
            self._lease.desk.join()

    def terminate_workers(self) -> None:
        """Take no more calls, cancel what is pending, and end what runs, which raises BrokenPool; waits for nothing.

        Processes that run something are killed with all they started; threads can't be, and are abandoned.
        """
        self._lease.desk.kill("the executor was ended by terminate_workers()")

    def kill_workers(self) -> None:
        """Do what `terminate_workers` does: there is no gentler way to end a process in the middle of a call."""
        self._lease.desk.kill("the executor was ended by kill_workers()")


class _Lease:
    """What an executor and its views hold together: when nobody has it any more, the pool ends after its work."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        weakref.finalize(self, desk.close).atexit = False  # then the interpreter waits by itself


def _in_order(futures: deque[Future[T]], more: Iterator[Future[T]], end: float | None) -> Generator[T, None, None]:
    """Give the results of futures, with one more submitted for each that is given; cancel what is left at the end."""
    try:
        while futures:
            futures.extend(islice(more, 1))
            yield _result(futures.popleft(), end)
    finally:
        for future in futures:
            future.cancel()


def _result(future: Future[T], end: float | None) -> T:
    """Wait for a result; nothing but the caller refers to it then."""
    try:
        return future.result(None if end is None else end - time.monotonic())
    finally:
        future.cancel()  # changes something only where the wait ended without it
        del future  # it would be in a cycle with the traceback of what it raised


def register_joblib() -> None:
    """Make "longshore" a backend of joblib: `with joblib.parallel_config("longshore"): ...`; needs joblib."""
    from longshore._futures_joblib import register

    register(lambda workers, executor, options: PoolExecutor(workers, executor=executor).with_options(**options))


__all__ = ["BrokenPool", "PoolExecutor", "register_joblib"]
