"""The executors in use: made and started with the first work that names them, stopped together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from longshore._runtime.driver import Driver
from longshore._runtime.host import Host
from longshore._runtime.inline import InlineExecutor
from longshore.errors import PluginError
from longshore.hookspecs import Executor, ResizeRequest
from longshore.records import WorkerStats

_log = logging.getLogger("longshore.pool")


class Executors:
    """Executors by name. `make` loads one, `wanted` says how many workers it is to have (0: as it sees fit)."""

    def __init__(self, driver: Driver, make: Callable[[str], Executor], wanted: Callable[[str], int]) -> None:
        """Start with none."""
        self._driver = driver
        self._make = make
        self._wanted = wanted
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._up: dict[str, Executor] = {}  # those whose `start` has returned: nothing else is asked of one before

    def get(self, name: str) -> Executor:
        """Return an executor, loading and starting it on first use; PluginError if there is none of that name."""
        executor = self._driver.executors.get(name)
        if executor is None:
            workers = self._wanted(name)
            executor = InlineExecutor() if name == "inline" else self._make(name)
            self._driver.executors[name] = executor
            host = Host(name, workers, self._driver, runs_ahead=executor.capabilities.runs_ahead)
            self._starting[name] = asyncio.get_running_loop().create_task(self._start(name, executor, host))
        return executor

    def resize(self, name: str, workers: int) -> None:
        """Have an executor change its number of workers."""
        self.get(name)
        self._starting[name].add_done_callback(lambda _: self._resize(name, workers))

    def _resize(self, name: str, workers: int) -> None:
        if name in self._up:
            self._up[name].resize(ResizeRequest(workers))

    def workers(self) -> list[WorkerStats]:
        """Return what each worker of each executor is doing."""
        return [worker for executor in list(self._up.values()) for worker in executor.workers()]

    def pids(self) -> Sequence[int]:
        """Return the process ids of all workers that are processes of their own."""
        return [pid for executor in list(self._up.values()) for pid in executor.pids()]

    async def stop(self, deadline: float) -> None:
        """Stop all side by side by `deadline` (monotonic seconds)."""
        if self._starting:
            await asyncio.wait(self._starting.values(), timeout=1.0)  # half started is harder to stop than started
        for starting in self._starting.values():
            starting.cancel()
        executors = dict(self._up)
        results = await asyncio.gather(*(one.stop(deadline) for one in executors.values()), return_exceptions=True)
        for name, result in zip(executors, results, strict=True):
            if isinstance(result, BaseException):
                _log.warning("executor %s did not stop cleanly: %r", name, result)

    async def _start(self, name: str, executor: Executor, host: Host) -> None:
        try:
            await executor.start(host)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and those who wait are told
            failure = PluginError(f"executor {name} could not start: {type(error).__name__}: {error}", name=name)
            failure.__cause__ = error
            self._driver.fail(failure)
        else:
            self._up[name] = executor
