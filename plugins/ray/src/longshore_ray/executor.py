"""The executor `ray`: its settings, and what of the contract is Ray's own."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Final

from longshore import usable_cpus
from longshore.batching.dispatcher import Dispatcher
from longshore.batching.executor import LEAVE_S, BatchExecutor
from longshore.batching.survey import ClusterProbe
from longshore.hookspecs import Capabilities, ExecutorHost, Probe, ResizeRequest, hookimpl
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, field_validator

from longshore_ray.survey import SURVEY_S, Machine, outlived, use_of

if TYPE_CHECKING:  # importing Ray takes a second: only where it is used
    from longshore_ray.cluster import RayCluster
    from longshore_ray.muster import Muster

_CAPABILITIES: Final = Capabilities(
    worker_type="ray",
    runs=frozenset({"function"}),
    timeout="kill",
    cancel_running=True,
    pickles=True,
)


_ADDRESS: Final = r"^(auto|[\w.\-]+:\d+|\[[0-9a-f:]+\]:\d+)$"
_Address = Annotated[str, WithJsonSchema({"type": "string", "pattern": _ADDRESS})]  # whose error is told in words


class RaySettings(BaseModel):
    """The table `[tool.longshore.executors.ray]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    address: _Address | None = None
    """The head's, such as "ray.example:6379", or "auto" for the one of this machine; None starts one on loopback."""
    connect_timeout_s: float = Field(default=30.0, gt=0.0, allow_inf_nan=False)
    """Seconds in which the cluster at `address` must answer."""
    namespace: str = Field(default="longshore", min_length=1)
    """Ray's namespace for the workers, where the pool makes the connection."""
    workers: int | None = Field(default=None, ge=1)
    """How many workers a running cluster is asked for; None is one for each of its CPUs."""
    start_timeout_s: float = Field(default=60.0, gt=0.0, allow_inf_nan=False)
    """Seconds the first worker is waited for; a pool starts without one where the cluster has no room yet."""
    initializer_timeout_s: float | None = Field(default=120.0, gt=0.0, allow_inf_nan=False)
    """Seconds an initializer may take; its worker is ended then, and its task times out. None is for ever."""
    max_result_bytes: int | None = Field(default=None, ge=1)
    """How many bytes a result may take as it is sent; above, its task fails with PayloadError. None is no limit."""
    object_store_mb: int | None = Field(default=None, ge=80)
    """Shared memory of a local cluster, in MiB; None leaves it to Ray, which takes 30 % of the memory."""

    @field_validator("address")
    @classmethod
    def _leads_somewhere(cls, address: str | None) -> str | None:
        if address is None or re.search(_ADDRESS, address):
            return address
        if address.startswith("ray://"):
            raise ValueError(
                "a ray:// address leads to Ray's client server, which does not tell how a worker ended; run on a "
                "machine of the cluster, and give the head's HOST:PORT or 'auto'"
            )
        raise ValueError(
            "a cluster's address is its head's HOST:PORT, such as 'ray.example:6379' or '[fd00::1]:6379', or 'auto' "
            "for the cluster of this machine"
        )


class RayExecutor(BatchExecutor):
    """Runs functions in actors of a Ray cluster, short ones many at a time.

    `start` connects to Ray, or starts a cluster on loopback, and brings up `host.workers` workers, one for each CPU
    where that is 0. A cluster without room is waited for.
    """

    Settings = RaySettings
    api: int = 1
    name = "ray"
    system = "Ray cluster at {where}"

    def __init__(self, settings: RaySettings | None = None) -> None:
        """Connect to nothing yet."""
        super().__init__()
        self._settings = settings or RaySettings()
        self._cluster: RayCluster | None = None
        self._muster: Muster | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Functions only; an attempt past its time limit, or cancelled, is ended with its worker."""
        return _CAPABILITIES

    @hookimpl
    def resize(self, request: ResizeRequest) -> None:
        """Ask Ray for more workers, or end some that are idle."""
        muster = self._muster
        if muster is not None:
            self._post(lambda _: muster.resize(request.workers))

    @hookimpl
    def cluster(self) -> Probe | None:
        """Return what measures the cluster at `address`; None without one, for its workers are on this machine then."""
        return None if self._settings.address is None else ClusterProbe(self._survey, use_of)

    @hookimpl
    def pids(self) -> Sequence[int]:
        """Return the pids of the workers on this machine; those of others say nothing here."""
        dispatcher, cluster = self._dispatcher, self._cluster
        if dispatcher is None or cluster is None:
            return ()
        return [one.hello.pid for one in list(dispatcher.crew.stations.values()) if one.hello.host == cluster.node]

    @hookimpl
    def complaints(self) -> Sequence[str]:
        """Return that the cluster is gone or has no room, and what a worker lacked that could not come up."""
        cluster, muster = self._cluster, self._muster
        if self._dispatcher is None or cluster is None or muster is None:
            return ()
        if self._lost:
            return (f"the Ray cluster at {cluster.where} is gone",)
        return [said for said in (muster.waits(), muster.unfit) if said is not None]

    # ---- on the executor's own thread

    async def _open(self, host: ExecutorHost) -> None:
        from longshore_ray.cluster import RayCluster  # not before it is used
        from longshore_ray.crew import CPU, RayCrew
        from longshore_ray.muster import Muster

        settings = self._settings
        run, crew = f"ray-{secrets.token_hex(16)}", RayCrew()
        self._cluster = cluster = RayCluster(run, settings.namespace)
        self._dispatcher = dispatcher = Dispatcher(
            host,
            cluster,
            crew,
            run=run,
            initializer_timeout_s=settings.initializer_timeout_s,
            max_result_bytes=settings.max_result_bytes,
            tell_lost=self._tell_lost,
        )
        crew.limit, cluster.heard = self._limit, dispatcher.heard
        await cluster.open(
            settings.address,
            settings.connect_timeout_s,
            cpus=usable_cpus(),
            object_store_mb=settings.object_store_mb,
        )
        dispatcher.errand(self._watch(cluster))
        wanted = settings.workers or host.workers
        if not wanted:
            wanted = max(1, int(sum(node.get(CPU, 0.0) for node in await cluster.nodes())))
        self._muster = Muster(dispatcher, cluster, crew, wanted)
        await self._muster.open(settings.start_timeout_s)

    async def _watch(self, cluster: RayCluster) -> None:
        error = await cluster.watch()
        cluster.alive = False
        self._tell_lost(error)

    async def _let_go(self, dispatcher: Dispatcher, deadline: float) -> None:
        cluster = self._cluster
        if cluster is None:
            return
        if cluster.alive:
            stations, pids = list(dispatcher.crew.stations.values()), self.pids()
            await asyncio.gather(*(cluster.part(station, LEAVE_S) for station in stations))
            if self._muster is not None:
                self._muster.close()
            await asyncio.to_thread(outlived, pids, max(LEAVE_S, deadline - monotonic()))
        await cluster.close(max(LEAVE_S, deadline - monotonic()))

    def _survey(self) -> Mapping[str, Machine]:
        """Return what the machines have that workers are on, waiting for that; not on the loops."""
        dispatcher, cluster = self._dispatcher, self._cluster
        if dispatcher is None or cluster is None:
            return {}
        stations = list(dispatcher.crew.stations.values())
        return self._asked(cluster.survey(stations), 2 * SURVEY_S)

    def _where(self) -> str:
        return self._cluster.where if self._cluster is not None else ""
