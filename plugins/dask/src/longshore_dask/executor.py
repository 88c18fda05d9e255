"""The executor `dask`: the contract's face of the dispatcher, which has a thread and a loop of its own.

Dask's client, and a local cluster's scheduler, unpickle and answer on the loop they are on: the pool's is never that.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final

from longshore.hookspecs import CancelRequest, Capabilities, ExecutorHost, LimitRequest, Probe, ResizeRequest, hookimpl
from longshore.records import WorkerStats
from longshore.task import Attempt
from pydantic import BaseModel, ConfigDict, Field

from longshore_dask import spool, yard
from longshore_dask.cluster import Cluster
from longshore_dask.dispatcher import Dispatcher
from longshore_dask.muster import Muster
from longshore_dask.survey import ClusterProbe
from longshore_dask.words import TOPIC

_CAPABILITIES: Final = Capabilities(
    worker_type="dask",
    runs=frozenset({"function"}),
    timeout="abandon",
    cancel_running=True,
    pickles=True,
)
_STOPPED: Final = "cancelled: the pool stopped"
_GRACE_S: Final = 3.0  # past the deadline, for processes of the local cluster to be killed
_LEAVE_S: Final = 1.0  # what closing the connections gets of the time there is, at least


class DaskSettings(BaseModel):
    """The table `[tool.longshore.executors.dask]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str | None = Field(default=None, pattern=r"^[a-z]+://\S+$|^[\w.\-]+:\d+$")
    """The scheduler's, such as "tls://dask.example:8786"; None starts a cluster on loopback in this machine."""
    connect_timeout_s: float = Field(default=10.0, gt=0.0, allow_inf_nan=False)
    """Seconds in which the scheduler must answer."""
    initializer_timeout_s: float | None = Field(default=120.0, gt=0.0, allow_inf_nan=False)
    """Seconds an initializer may take; its thread is abandoned then, and its task times out. None is for ever."""
    max_result_bytes: int | None = Field(default=None, ge=1)
    """How many bytes a result may take as it is sent; above, its task fails with PayloadError. None is no limit."""


class DaskExecutor:
    """Runs functions on the workers of a Dask cluster, short ones many at a time."""

    Settings = DaskSettings
    api: int = 1

    def __init__(self, settings: DaskSettings | None = None) -> None:
        """Connect to nothing yet."""
        self._settings = settings or DaskSettings()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._dispatcher: Dispatcher | None = None
        self._muster: Muster | None = None
        self._limit: int | None = None
        self._lost = False

    @property
    def capabilities(self) -> Capabilities:
        """Functions only; an attempt past its time limit, or cancelled, is given up in its worker and goes on there."""
        return _CAPABILITIES

    @hookimpl
    async def start(self, host: ExecutorHost) -> None:
        """Connect to the cluster, or start one with `host.workers` processes, as many as usable CPUs where that is 0.

        RuntimeError where no scheduler answers, and where no worker has what it takes: Python of the same minor version
        and the same versions of longshore-core and longshore-dask. A cluster without workers is waited for.
        """
        self._lost, self._limit = False, None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="longshore-dask", daemon=True)
        self._thread.start()
        try:
            await self._ask(self._open(host))
        except BaseException:
            with suppress(Exception):
                await self._ask(self._close(monotonic() + _LEAVE_S))
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
    def resize(self, request: ResizeRequest) -> None:
        """Change the number of a local cluster's workers; RuntimeError for one that is not ours to change."""
        if self._settings.address is not None:
            raise RuntimeError(
                f"the Dask cluster at {self._settings.address} has the workers it has: scale it by its own means"
            )
        muster = self._muster
        if muster is not None:
            self._post(lambda _: muster.resize(request.workers))

    @hookimpl
    def limit(self, request: LimitRequest) -> None:
        """Have only so many threads of the cluster at work; what they have been given goes on."""
        self._limit = request.workers
        if self._dispatcher is not None:
            self._post(lambda dispatcher: dispatcher.limit(request.workers))

    @hookimpl
    def cluster(self) -> Probe | None:
        """Return what measures the cluster at `address`; None without one, for its workers are on this machine then."""
        return None if self._settings.address is None else ClusterProbe(self._survey)

    @hookimpl
    def workers(self) -> Sequence[WorkerStats]:
        """Return what each worker of the cluster is doing for this pool."""
        dispatcher = self._dispatcher
        return [one.stats() for one in list(dispatcher.crew.stations.values())] if dispatcher is not None else ()

    @hookimpl
    def pids(self) -> Sequence[int]:
        """Return the pids of a local cluster's workers; those of other machines say nothing here."""
        dispatcher = self._dispatcher
        if dispatcher is None or not dispatcher.cluster.is_local:
            return ()
        return [one.hello.pid for one in list(dispatcher.crew.stations.values())]

    @hookimpl
    def complaints(self) -> Sequence[str]:
        """Return what workers lack that are not used; that there are none, or no scheduler any more, if it is so."""
        dispatcher, muster = self._dispatcher, self._muster
        if dispatcher is None or muster is None:
            return ()
        where = dispatcher.cluster.where
        if not dispatcher.cluster.alive:
            return (f"the connection to the Dask scheduler {where} is lost",)
        none = [] if dispatcher.crew.stations else [f"the Dask cluster at {where} has no workers"]
        return [*none, *list(muster.unfit.values())]

    @hookimpl
    async def stop(self, deadline: float) -> None:
        """End everything by `deadline`; what is still held is reported as cancelled, a local cluster is ended."""
        if self._loop is None:
            return
        with suppress(Exception):
            async with asyncio.timeout(max(0.0, deadline - monotonic()) + _GRACE_S):
                await self._ask(self._close(deadline))
        dispatcher, self._dispatcher, self._muster = self._dispatcher, None, None
        await self._leave()
        if dispatcher is not None:
            dispatcher.give_up(_STOPPED)

    # ---- on the executor's own thread

    async def _open(self, host: ExecutorHost) -> None:
        settings = self._settings
        cluster = Cluster(settings.address, settings.connect_timeout_s)
        self._dispatcher = dispatcher = Dispatcher(
            host,
            cluster,
            run=secrets.token_hex(16),
            initializer_timeout_s=settings.initializer_timeout_s,
            max_result_bytes=settings.max_result_bytes,
            tell_lost=self._tell_lost,
        )
        dispatcher.crew.limit = self._limit
        await cluster.open(host.workers)
        cluster.subscribe(TOPIC, dispatcher.heard)
        self._muster = Muster(dispatcher)
        dispatcher.trim = self._muster.trim
        await self._muster.open()

    async def _close(self, deadline: float) -> None:
        dispatcher = self._dispatcher
        if dispatcher is None:
            return
        pids = self.pids()
        dispatcher.closing = True
        dispatcher.cancel({attempt.task_id: _STOPPED for attempt in dispatcher.left()})
        with suppress(TimeoutError):
            async with asyncio.timeout(0.0 if self._lost else max(0.0, deadline - _LEAVE_S - monotonic())):
                while dispatcher.busy():
                    dispatcher.changed.clear()
                    await dispatcher.changed.wait()
        dispatcher.give_up(_STOPPED)
        await dispatcher.end_errands()
        if dispatcher.cluster.alive:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LEAVE_S):
                    await dispatcher.cluster.call(yard.goodbye, dispatcher.run, workers=None)
        await dispatcher.cluster.close(deadline, pids)
        if dispatcher.cluster.is_local:
            await asyncio.to_thread(spool.remove_all, dispatcher.run)

    def _tell_lost(self, error: BaseException) -> None:
        dispatcher = self._dispatcher
        if self._lost or dispatcher is None or dispatcher.closing:
            return
        self._lost = True
        where = self._settings.address or "of the local cluster"
        lost = RuntimeError(
            f"the Dask scheduler {where} is gone, and with it what its workers did; a run with a journal can be "
            "resumed, there or with another executor"
        )
        lost.__cause__ = error
        dispatcher.host.failed(lost)

    # ---- between the threads

    def _post(self, call: Callable[[Dispatcher], None]) -> None:
        """Have something done on the executor's own thread."""
        loop, dispatcher = self._loop, self._dispatcher
        if loop is None or dispatcher is None:
            raise RuntimeError("the executor 'dask' is not running: start it first")
        loop.call_soon_threadsafe(call, dispatcher)

    def _survey(self) -> dict[str, Any]:  # Any: what Dask's scheduler says of a worker
        """Return what the scheduler says of each worker, waiting for that; not on the loops."""
        loop, dispatcher = self._loop, self._dispatcher
        if loop is None or dispatcher is None:
            return {}
        asked = asyncio.run_coroutine_threadsafe(dispatcher.survey(), loop)
        try:
            return asked.result(self._settings.connect_timeout_s)
        finally:
            asked.cancel()

    async def _ask(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for something that is done on the executor's own thread."""
        assert self._loop is not None
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _leave(self) -> None:
        """End the thread; one that hangs in the user's code is left to itself."""
        loop, self._loop, thread, self._thread = self._loop, None, self._thread, None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join, _LEAVE_S)
        if not thread.is_alive():
            loop.close()
