"""What an executor sees of the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from longshore._engine.messages import ExecutorUp
from longshore._runtime.driver import Driver
from longshore.chaos import point
from longshore.events import ProgressUpdate
from longshore.hookspecs import Capabilities, WorkerNotice
from longshore.task import Outcome


class Host:
    """The pool, for one executor; every method may be called from any thread."""

    def __init__(self, name: str, workers: int, driver: Driver, *, limits: bool, capabilities: Capabilities) -> None:
        """Stand between the executor `name` and the driver."""
        self.workers = workers
        self.loop = asyncio.get_running_loop()
        self._name = name
        self._driver = driver
        self._capabilities = capabilities
        self._limits = limits
        self._before_report = point("pool.before-report")

    def report(self, outcomes: Sequence[Outcome]) -> None:
        """Pass on how attempts ended."""
        self._before_report("")
        self._driver.reported(self._name, outcomes)

    def progress(self, updates: Sequence[ProgressUpdate]) -> None:
        """Pass on what running tasks say of themselves."""
        self._driver.inject(lambda: self._driver.progress(updates))

    def notice(self, notices: Sequence[WorkerNotice]) -> None:
        """Pass on something about a worker."""
        for notice in notices:
            self._driver.inject(partial(self._driver.notice, notice))

    def resized(self, workers: int) -> None:
        """Pass on how many workers there are."""
        can = self._capabilities
        up = ExecutorUp(self._name, workers, can.runs_ahead, self._limits, can.weighs)
        self._driver.inject(lambda: self._driver.stimulate(up))

    def failed(self, error: BaseException) -> None:
        """Pass on that nothing can run any more."""
        self._driver.inject(lambda: self._driver.fail(error))
