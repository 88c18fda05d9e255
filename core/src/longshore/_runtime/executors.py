"""The executors in use: made and started with the first work that names them, stopped together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from longshore._engine.messages import Lend, Limit, Scale
from longshore._packing import described
from longshore._runtime.clusters import Clusters, cluster_of
from longshore._runtime.driver import Driver
from longshore._runtime.host import Host
from longshore._runtime.inline import InlineExecutor
from longshore.errors import PluginError
from longshore.hookspecs import Executor, LimitRequest, Probe, ResizeRequest
from longshore.records import LeftBehind, StackTrace, WorkerStats

_log = logging.getLogger("longshore.pool")
_START_S = 1.0  # what one that is just starting gets to finish that before it is stopped
_GRACE_S = 5.0  # past the deadline, for one that kills what would not end


class Executors:
    """Executors by name. `make` loads one, `wanted` says how many workers it is to have (0: as it sees fit)."""

    def __init__(self, driver: Driver, make: Callable[[str], Executor], wanted: Callable[[str], int]) -> None:
        """Start with none."""
        self._driver = driver
        driver.adapt = self._adapt
        self._make = make
        self._wanted = wanted
        self._own: dict[str, int] = {}  # how many workers each is to have, where that was said
        self._lent: dict[str, int] = {}  # and how many beyond those
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._mute: set[str] = set()  # those that it was said of that they can't say what their workers do
        self.clusters = Clusters()
        self._up: dict[str, Executor] = {}  # those whose `start` has returned: nothing else is asked of one before

    def get(self, name: str) -> Executor:
        """Return an executor, loading and starting it on first use; PluginError if there is none of that name."""
        executor = self._driver.executors.get(name)
        if executor is None:
            workers = self._wanted(name)
            executor = InlineExecutor() if name == "inline" else self._make(name)
            self._driver.executors[name] = executor
            limits = callable(getattr(executor, "limit", None))
            host = Host(name, workers, self._driver, limits=limits, capabilities=executor.capabilities)
            cluster = cluster_of(executor)
            if cluster is not None:
                self._driver.engine.locate(name)
            self._starting[name] = asyncio.get_running_loop().create_task(self._start(name, executor, host, cluster))
        return executor

    def up(self) -> Sequence[str]:
        """Return the names of those that have started."""
        return list(self._up)

    def resize(self, name: str, workers: int) -> None:
        """Have an executor change its number of workers, as soon as it has started."""
        self.get(name)
        self._starting[name].add_done_callback(lambda _: self._resize(name, workers))

    def _adapt(self, command: Lend | Limit | Scale) -> None:
        """Have an executor use workers beyond its own, or not all it has, or have more or fewer."""
        if isinstance(command, Lend):
            self._lend(command.executor, command.extra)
            return
        if isinstance(command, Scale):
            self._resize(command.executor, command.workers)
            return
        try:
            getattr(self._driver.executors[command.executor], "limit")(LimitRequest(command.workers))  # noqa: B009
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything; it uses the workers it used
            _log.warning("executor %s could not limit the workers it uses: %r", command.executor, error)

    def _lend(self, name: str, extra: int) -> None:
        """Have an executor that has started use so many workers beyond its own."""
        self._lent[name] = extra
        own = self._own.get(name, self._wanted(name))
        if own:
            self._resize(name, own)

    def _resize(self, name: str, workers: int) -> None:
        if name in self._up:
            self._own[name] = workers
            try:
                self._up[name].resize(ResizeRequest(workers + self._lent.get(name, 0)))
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything; it has the workers it had
                _log.warning("executor %s could not be resized to %d workers: %r", name, workers, error)

    async def bring_up(self, names: Iterable[str]) -> dict[str, int]:
        """Start these executors, and return how many workers each is to have; one that can't be loaded is left out.

        PluginError if one cannot start. Who names one that was left out is told why then.
        """
        for name in names:
            try:
                self.get(name)
            except PluginError as error:
                _log.info("executor %s is not brought up: %s", name, error)
        if self._starting:
            await asyncio.wait(self._starting.values())
        if self._driver.failure is not None:
            raise self._driver.failure
        return {name: self._wanted(name) for name in self._up}

    def workers(self) -> Iterator[tuple[str, WorkerStats]]:
        """Yield what each worker is doing, with its executor's name; from any thread."""
        for name, executor in list(self._up.items()):
            try:
                rows = executor.workers()
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and the others are to be told of
                if name not in self._mute:
                    self._mute.add(name)
                    _log.warning("executor %s could not say what its workers do: %r", name, error)
                continue
            for row in rows:
                yield name, row

    def left_behind(self) -> list[LeftBehind]:
        """Return what goes on in workers though its task has ended, of those that can tell; from any thread."""
        return [one for _, one in self._ask("left_behind")]

    def complaints(self) -> list[tuple[str, str]]:
        """Return what is wrong with executors, by name, of those that can tell; from any thread."""
        return list(self._ask("complaints"))

    def stacks(self, within_s: float) -> list[StackTrace]:
        """Return where workers that are processes of their own are, of executors that can tell; not on the loop."""
        return [one for _, one in self._ask("stacks", within_s)]

    def _ask(self, question: str, *arguments: float) -> Iterator[tuple[str, Any]]:  # Any: what that method gives
        """Yield what the executors answer to a question that not every one of them has a method for."""
        for name, executor in list(self._up.items()):
            answer = getattr(executor, question, None)
            try:
                answers = list(answer(*arguments)) if answer is not None else []
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                _log.warning("executor %s could not answer: %s raised %r", name, question, error)
                continue
            yield from ((name, one) for one in answers)

    def pids(self) -> Sequence[int]:
        """Return the process ids of all workers that are processes of their own."""
        return [pid for executor in list(self._up.values()) for pid in executor.pids()]

    async def stop(self, deadline: float) -> None:
        """Stop all side by side by `deadline` (monotonic seconds), and give up on those that take much longer."""
        self.clusters.stop()
        half = [starting for starting in self._starting.values() if not starting.done()]
        if half:
            await asyncio.wait(half, timeout=_START_S)  # half started is harder to stop than started
        for starting in self._starting.values():
            starting.cancel()
        stopping = {asyncio.ensure_future(executor.stop(deadline)): name for name, executor in self._up.items()}
        if not stopping:
            return
        ended, late = await asyncio.wait(stopping, timeout=max(0.0, deadline - time.monotonic()) + _GRACE_S)
        for task in late:
            task.cancel()
            _log.warning("executor %s did not stop in time, and is left to itself", stopping[task])
        for task in ended:
            if task.exception() is not None:
                _log.warning("executor %s did not stop cleanly: %r", stopping[task], task.exception())

    async def _start(self, name: str, executor: Executor, host: Host, cluster: Probe | None) -> None:
        try:
            await executor.start(host)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, and those who wait are told
            failure = PluginError(f"executor {name} could not start: {described(error)}", name=name)
            failure.__cause__ = error
            self._driver.fail(failure)
        else:
            self._up[name] = executor
            if cluster is not None:
                self.clusters.measure(name, cluster)
