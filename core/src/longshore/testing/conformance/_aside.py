"""A thread that calls a plugin as a pool does: never the main one, one call at a time, and none waited for for ever.

Used by the suites of probes, sinks and processors.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self


class Aside:
    """The plugin's own thread, from `with` to its end; it is a daemon, so that a call that hangs keeps nobody."""

    def __init__(self, patience_s: float) -> None:
        """Wait `patience_s` seconds for each call."""
        self._patience_s = patience_s
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="conformance", daemon=True)
        self._hangs = False

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the thread, unless a call hangs in it."""
        self._calls.put(None)
        if not self._hangs:
            self._thread.join(self._patience_s)

    def tried(self, what: str, function: Callable[..., Any], *args: Any) -> Any:  # Any: a plugin's
        """Return what a call gives, or raise what it raises; AssertionError where it has done neither in time."""
        future: Future[Any] = Future()

        def call() -> None:
            try:
                future.set_result(function(*args))
            except BaseException as error:  # noqa: BLE001 - it is raised where the future is waited for
                future.set_exception(error)

        self._calls.put(call)
        try:
            return future.result(self._patience_s)
        except TimeoutError:
            if future.done():  # the plugin's own
                raise
            self._hangs = True
            raise AssertionError(f"{what} did not come back within {self._patience_s:g} s: it may never hang") from None

    def done(
        self, what: str, function: Callable[..., Any], *args: Any, allowed: tuple[type[Exception], ...] = ()
    ) -> Any:  # Any: as above
        """Return what a call gives that may raise what is `allowed`, and else nothing; AssertionError with all else."""
        passed: tuple[type[Exception], ...] = (AssertionError, *allowed)
        try:
            return self.tried(what, function, *args)
        except passed:
            raise
        except BaseException as error:
            raise AssertionError(f"{what} raised {type(error).__name__}: {error}") from error

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
