"""The executor `dask`: its settings, and what of the contract is Dask's own."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

from longshore.batching import spool
from longshore.batching.dispatcher import Dispatcher
from longshore.batching.executor import LEAVE_S, BatchExecutor
from longshore.batching.survey import ClusterProbe
from longshore.hookspecs import Capabilities, ExecutorHost, Probe, ResizeRequest, hookimpl
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, field_validator

from longshore_dask.crew import DaskCrew
from longshore_dask.survey import use_of

if TYPE_CHECKING:
    # Half a second, with Dask: for who starts the executor, not for who only has it looked at.
    from longshore_dask.cluster import Cluster
    from longshore_dask.muster import Muster

_CAPABILITIES: Final = Capabilities(
    worker_type="dask",
    runs=frozenset({"function"}),
    timeout="abandon",
    cancel_running=True,
    pickles=True,
)


_ADDRESS: Final = r"^[a-z]+://\S+$|^[\w.\-]+:\d+$"
_Address = Annotated[str, WithJsonSchema({"type": "string", "pattern": _ADDRESS})]  # whose error is told in words


class DaskSettings(BaseModel):
    """The table `[tool.longshore.executors.dask]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    address: _Address | None = None
    """The scheduler's, such as "tls://dask.example:8786"; None starts a cluster on loopback in this machine."""
    connect_timeout_s: float = Field(default=10.0, gt=0.0, allow_inf_nan=False)
    """Seconds in which the scheduler must answer."""
    initializer_timeout_s: float | None = Field(default=120.0, gt=0.0, allow_inf_nan=False)
    """Seconds an initializer may take; its thread is abandoned then, and its task times out. None is for ever."""
    max_result_bytes: int | None = Field(default=None, ge=1)
    """How many bytes a result may take as it is sent; above, its task fails with PayloadError. None is no limit."""

    @field_validator("address")
    @classmethod
    def _leads_somewhere(cls, address: str | None) -> str | None:
        if address is not None and not re.search(_ADDRESS, address):
            raise ValueError(
                "a scheduler's address is HOST:PORT or SCHEME://HOST:PORT, such as 'dask.example:8786' or "
                "'tls://dask.example:8786'"
            )
        return address


class DaskExecutor(BatchExecutor):
    """Runs functions on the workers of a Dask cluster, short ones many at a time.

    `start` connects to the cluster, or starts one with `host.workers` processes, as many as usable CPUs where that is
    0. Workers need Python of the same minor version and the same versions of longshore-core and longshore-dask.
    """

    Settings = DaskSettings
    api: int = 1
    name = "dask"
    system = "Dask scheduler {where}"

    def __init__(self, settings: DaskSettings | None = None) -> None:
        """Connect to nothing yet."""
        super().__init__()
        self._settings = settings or DaskSettings()
        self._cluster: Cluster | None = None
        self._muster: Muster | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Functions only; an attempt past its time limit, or cancelled, is given up in its worker and goes on there."""
        return _CAPABILITIES

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
    def cluster(self) -> Probe | None:
        """Return what measures the cluster at `address`; None without one, for its workers are on this machine then."""
        return None if self._settings.address is None else ClusterProbe(self._survey, use_of)

    @hookimpl
    def pids(self) -> Sequence[int]:
        """Return the pids of a local cluster's workers; those of other machines say nothing here."""
        dispatcher, cluster = self._dispatcher, self._cluster
        if dispatcher is None or cluster is None or not cluster.is_local:
            return ()
        return [one.hello.pid for one in list(dispatcher.crew.stations.values())]

    @hookimpl
    def complaints(self) -> Sequence[str]:
        """Return what workers lack that are not used; that there are none, or no scheduler any more, if it is so."""
        dispatcher, cluster, muster = self._dispatcher, self._cluster, self._muster
        if dispatcher is None or cluster is None or muster is None:
            return ()
        where = cluster.where
        if not cluster.alive:
            return (f"the connection to the Dask scheduler {where} is lost",)
        none = [] if dispatcher.crew.stations else [f"the Dask cluster at {where} has no workers"]
        return [*none, *list(muster.unfit.values())]

    # ---- on the executor's own thread

    async def _open(self, host: ExecutorHost) -> None:
        from longshore_dask import yard
        from longshore_dask.cluster import Cluster
        from longshore_dask.muster import Muster

        settings = self._settings
        run = f"dask-{secrets.token_hex(16)}"
        self._cluster = cluster = Cluster(settings.address, settings.connect_timeout_s, run)
        self._dispatcher = dispatcher = Dispatcher(
            host,
            cluster,
            DaskCrew(is_local=settings.address is None),
            run=run,
            initializer_timeout_s=settings.initializer_timeout_s,
            max_result_bytes=settings.max_result_bytes,
            tell_lost=self._tell_lost,
        )
        dispatcher.crew.limit = self._limit
        await cluster.open(host.workers)
        cluster.subscribe(yard.TOPIC, dispatcher.heard)
        self._muster = Muster(dispatcher, cluster)
        dispatcher.trim = self._muster.trim
        await self._muster.open()

    async def _let_go(self, dispatcher: Dispatcher, deadline: float) -> None:
        from longshore_dask import yard

        cluster = self._cluster
        if cluster is None:
            return
        pids = self.pids()
        if cluster.alive:
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await cluster.call(yard.goodbye, dispatcher.run, workers=None)
        await cluster.close(deadline, pids)
        if cluster.is_local:
            await asyncio.to_thread(spool.remove_all, dispatcher.run)

    def _where(self) -> str:
        return self._settings.address or "of the local cluster"

    def _survey(self) -> dict[str, Any]:  # Any: what Dask's scheduler says of a worker
        """Return what the scheduler says of each worker, waiting for that; not on the loops."""
        dispatcher, cluster = self._dispatcher, self._cluster
        if dispatcher is None or cluster is None:
            return {}
        return self._asked(_told(dispatcher, cluster), self._settings.connect_timeout_s)


async def _told(dispatcher: Dispatcher, cluster: Cluster) -> dict[str, Any]:  # Any: as above
    """Return what the scheduler says of the workers in use, by address; give nothing to those that are paused."""
    if (task := asyncio.current_task()) is not None:
        dispatcher.keep(task)
    stations = dispatcher.crew.stations
    told = {one: facts for one, facts in (await cluster.told()).items() if one in stations}
    for address, facts in told.items():
        if (station := stations.get(address)) is not None:
            station.paused = facts["status"] == "paused"
    dispatcher.give()
    return told
