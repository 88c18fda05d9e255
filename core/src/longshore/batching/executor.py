"""The contract's face of a dispatcher, which has a thread and a loop of its own.

What such a system sends is read, and unpickled, on the loop that it is awaited on: the pool's is never that.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

from longshore.batching.crew import Cluster, Crew
from longshore.batching.dispatcher import Dispatcher
from longshore.batching.survey import ClusterProbe
from longshore.hookspecs import CancelRequest, ExecutorHost, LimitRequest, Probe, hookimpl
from longshore.records import Usage, WorkerStats
from longshore.task import Attempt

T = TypeVar("T")
LEAVE_S: Final = 1.0
"""What closing the connections gets of the time there is, at least."""
_STOPPED: Final = "cancelled: the pool stopped"
_GRACE_S: Final = 3.0  # past the deadline, for processes of a local cluster to be killed


class BatchSettings(Protocol):
    """What the settings of all such executors have."""

    @property
    def address(self) -> str | None:
        """The system's, None where it is on this machine only."""

    @property
    def initializer_timeout_s(self) -> float | None:
        """Seconds an initializer may take."""

    @property
    def max_result_bytes(self) -> int | None:
        """How many bytes a result may take as it is sent."""


S = TypeVar("S", bound=BatchSettings)


class BatchExecutor(Generic[S]):
    """An executor whose workers belong to another system; what is that system's own stands in the class made of it."""

    name: ClassVar[str]
    """The executor's."""
    system: ClassVar[str]
    """What the whole is called in messages, with `{where}` for its place."""

    def __init__(self, settings: S, *, survey_s: float) -> None:
        """Connect to nothing yet; what the cluster has is waited for no longer than `survey_s`."""
        self._settings, self._survey_s = settings, survey_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._dispatcher: Dispatcher | None = None
        self._limit: int | None = None
        self._lost = False

    # ---- what is the system's own; all on the executor's own thread

    async def _open(self, host: ExecutorHost) -> None:
        """Connect, set `_dispatcher`, bring up or find the workers."""
        raise NotImplementedError

    async def _let_go(self, dispatcher: Dispatcher, deadline: float) -> None:
        """Take leave of the workers, and close the connection by `deadline`."""
        raise NotImplementedError

    async def _told(self, dispatcher: Dispatcher) -> Mapping[str, Any]:  # Any: whatever the system tells
        """Return what the system tells of the workers in use, or of their machines."""
        raise NotImplementedError

    def _use_of(self, told: Mapping[str, Any]) -> Mapping[str, Usage]:  # Any: as above
        """Return what the cluster has by what was told."""
        raise NotImplementedError

    def _where(self) -> str:
        """Return where the system is, for people."""
        raise NotImplementedError

    # ---- the contract

    @hookimpl
    async def start(self, host: ExecutorHost) -> None:
        """Connect to the system, or start one, and find out whether its workers have what it takes.

        RuntimeError where none answers or none has. A cluster without workers, or without room for them, is waited for.
        """
        self._lost, self._limit = False, None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"longshore-{self.name}", daemon=True)
        self._thread.start()
        try:
            await self._ask(self._open(host))
        except BaseException:
            with suppress(Exception):
                await self._ask(self._close(monotonic() + LEAVE_S))
            await self._leave()
            raise

    @hookimpl
    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Take attempts in this order; returns at once."""
        taken = list(attempts)
        self._post(lambda dispatcher: dispatcher.take(taken))

    @hookimpl
    def cancel(self, request: CancelRequest) -> None:
        """End these attempts: waiting ones are dropped, running ones given up by their workers."""
        messages: dict[str, str | None] = dict.fromkeys(request.task_ids, request.message)
        self._post(lambda dispatcher: dispatcher.cancel(messages))

    @hookimpl
    def limit(self, request: LimitRequest) -> None:
        """Have only so many of the workers at work; what they have been given goes on."""
        self._limit = request.workers
        if self._dispatcher is not None:
            self._post(lambda dispatcher: dispatcher.limit(request.workers))

    @hookimpl
    def workers(self) -> Sequence[WorkerStats]:
        """Return what each worker is doing for this pool."""
        dispatcher = self._dispatcher
        return [one.stats() for one in list(dispatcher.crew.stations.values())] if dispatcher is not None else ()

    @hookimpl
    def cluster(self) -> Probe | None:
        """Return what measures the cluster at `address`; None without one, for its workers are on this machine then."""
        return None if self._settings.address is None else ClusterProbe(self._survey, self._use_of)

    @hookimpl
    async def stop(self, deadline: float) -> None:
        """End everything by `deadline`; what is still held is reported as cancelled, a local cluster is ended."""
        if self._loop is None:
            return
        with suppress(Exception):
            async with asyncio.timeout(max(0.0, deadline - monotonic()) + _GRACE_S):
                await self._ask(self._close(deadline))
        dispatcher, self._dispatcher = self._dispatcher, None
        await self._leave()
        if dispatcher is not None:
            dispatcher.give_up(_STOPPED)

    # ---- on the executor's own thread

    def _dispatches(self, host: ExecutorHost, cluster: Cluster, crew: Crew, run: str) -> Dispatcher:
        """Set and return the dispatcher to a cluster and its crew, with the limits that the settings have."""
        self._dispatcher = dispatcher = Dispatcher(
            host,
            cluster,
            crew,
            run=run,
            initializer_timeout_s=self._settings.initializer_timeout_s,
            max_result_bytes=self._settings.max_result_bytes,
            tell_lost=self._tell_lost,
        )
        crew.limit = self._limit
        return dispatcher

    async def _close(self, deadline: float) -> None:
        dispatcher = self._dispatcher
        if dispatcher is None:
            return
        dispatcher.closing = True
        dispatcher.cancel({attempt.task_id: _STOPPED for attempt in dispatcher.left()})
        with suppress(TimeoutError):
            async with asyncio.timeout(0.0 if self._lost else max(0.0, deadline - LEAVE_S - monotonic())):
                while dispatcher.busy():
                    dispatcher.changed.clear()
                    await dispatcher.changed.wait()
        dispatcher.give_up(_STOPPED)
        await dispatcher.end_errands()
        await self._let_go(dispatcher, deadline)

    def _tell_lost(self, error: BaseException) -> None:
        dispatcher = self._dispatcher
        if self._lost or dispatcher is None or dispatcher.closing:
            return
        self._lost = True
        whole = self.system.format(where=self._where())
        lost = RuntimeError(
            f"the {whole} is gone, and with it what its workers did; a run with a journal can be resumed, there or "
            "with another executor"
        )
        lost.__cause__ = error
        dispatcher.host.failed(lost)

    # ---- between the threads

    def _post(self, call: Callable[[Dispatcher], None]) -> None:
        """Have something done on the executor's own thread."""
        loop, dispatcher = self._loop, self._dispatcher
        if loop is None or dispatcher is None:
            raise RuntimeError(f"the executor {self.name!r} is not running: start it first")
        loop.call_soon_threadsafe(call, dispatcher)

    async def _ask(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for something that is done on the executor's own thread."""
        assert self._loop is not None
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _survey(self) -> Mapping[str, Any]:  # Any: as above
        """Return what the system tells of the cluster, waiting for that; not on the loops."""
        dispatcher = self._dispatcher
        return {} if dispatcher is None else self._asked(self._told(dispatcher), self._survey_s)

    def _asked(self, work: Coroutine[Any, Any, T], within_s: float) -> T:
        """Wait for what is done on the executor's own thread, on one that is neither that nor the pool's."""
        if self._loop is None:
            work.close()
            raise RuntimeError(f"the executor {self.name!r} is not running")
        asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return asked.result(within_s)
        finally:
            asked.cancel()

    async def _leave(self) -> None:
        """End the thread; one that hangs in the user's code is left to itself."""
        loop, self._loop, thread, self._thread = self._loop, None, self._thread, None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join, LEAVE_S)
        if not thread.is_alive():
            loop.close()


__all__ = ["LEAVE_S", "BatchExecutor", "BatchSettings"]
