"""Ray as the dispatcher and the muster use it: actors made, called and ended, and whether the cluster is there.

Everything here runs on the loop of the executor's own thread; what of Ray blocks is called on another.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import ray
from longshore.batching import spool
from longshore.batching.burial import Evidence, plain_evidence
from longshore.batching.codec import load
from longshore.batching.crew import Cause, Station
from longshore.batching.words import Hello
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from longshore_ray import connection
from longshore_ray.crew import Shaped, actor_options
from longshore_ray.slot import GROUPS, Slot, read_of_dead
from longshore_ray.survey import SURVEY_S, Machine
from longshore_ray.words import RAY, lack_by_error, lack_by_versions

EVIDENCE_S: Final = 20.0
"""How long a process on a lost worker's machine is waited for, that reads what that wrote down."""
_CAUGHT_UP_S: Final = 2.0
_KNOCK_S: Final = 2.0
_ACTOR: Final[dict[str, Any]] = {  # Any: as Ray has them
    "max_restarts": 0,
    "max_task_retries": 0,
    "max_concurrency": 1,
    "concurrency_groups": GROUPS,
}
_LOST: Final = (
    exceptions.RayActorError,
    exceptions.OutOfMemoryError,
    exceptions.NodeDiedError,
    exceptions.WorkerCrashedError,
    exceptions.ObjectLostError,
)
_CUT: Final = (OSError, exceptions.RpcError, exceptions.LocalRayletDiedError)


class Worker(Shaped):
    """A worker with what is called in it."""

    def __init__(self, address: str, hello: Hello, actor: Any, node: str) -> None:  # Any: Ray's handle of an actor
        """Be idle."""
        super().__init__(address, hello, RAY)
        self.actor, self.node = actor, node
        self.heard = 0
        """How often it has told something."""
        self.idle_since: float | None = None
        self._changed = asyncio.Event()

    def hear(self, number: int) -> None:
        """Have heard so often."""
        self.heard = number
        self._changed.set()

    async def catch_up(self, number: int) -> None:
        """Wait until so much was heard as had been told: it is on its way by itself. Not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CAUGHT_UP_S):
                while self.heard < number:
                    self._changed.clear()
                    await self._changed.wait()


class RayCluster:
    """The connection, and the workers that were made by it."""

    def __init__(self, run: str, namespace: str) -> None:
        """Connect to nothing yet."""
        self.run, self._namespace = run, namespace
        self.is_local = False
        self.alive = False
        self.where = "of this machine"
        self.node = ""
        """The machine that this is."""
        self.ended: Callable[[Station], None] = lambda station: None
        """Called with a worker that is to be ended."""
        self.lost: Callable[[str, BaseException], None] = lambda address, error: None
        """Called with a worker that is no more, maybe more than once."""
        self.heard: Callable[[Any], None] = lambda message: None  # Any: as the dispatcher takes it
        self._made: Any = None  # Any: Ray's class of actors

    async def open(self, address: str | None, within_s: float, *, cpus: int, object_store_mb: int | None) -> None:
        """Connect; RuntimeError where nothing answers, `within_s` at an address."""
        self.is_local = await connection.opened(
            address, within_s, cpus=cpus, object_store_mb=object_store_mb, namespace=self._namespace
        )
        context = ray.get_runtime_context()
        self.where, self.node = context.gcs_address, context.get_node_id()
        self.alive = True
        self._made = ray.remote(**_ACTOR)(Slot)

    async def nodes(self) -> list[dict[str, float]]:
        """Return what each machine of the cluster has in all."""
        found = await connection.aside(ray.nodes)
        return [dict(node["Resources"]) for node in found if node["Alive"]]

    # ---- workers

    def make(self, name: str, needs: Mapping[str, float]) -> Any:  # Any: Ray's handle of an actor
        """Ask Ray for a worker of this shape; it comes when there is room for it."""
        # Workers find modules where the program does, as those of `processes`, where these paths are there: Ray tells
        # them of the folders of the script and of the program only.
        paths = [os.path.abspath(path) for path in sys.path]
        return self._made.options(**actor_options(needs, 0.0 if self.is_local else 1.0)).remote(self.run, name, paths)

    async def greet(self, actor: Any, needs: Mapping[str, float]) -> Worker:  # Any: as above
        """Return a worker that is up; RuntimeError says what its machine lacks."""
        try:
            versions, node, fields = await actor.hello.options(concurrency_group="control").remote()
        except exceptions.RayTaskError as error:
            raise RuntimeError(lack_by_error(str(error))) from error
        lack = lack_by_versions(versions, node)
        if lack is not None:
            raise RuntimeError(lack)
        hello = Hello(*fields)._replace(resources=dict(needs))
        return Worker(hello.name, hello, actor, node)

    async def listen(self, worker: Worker) -> BaseException:
        """Pass on what a worker tells, until it is no more; returns what Ray says of that."""
        try:
            while True:
                number, news = load(await worker.actor.listen.options(concurrency_group="listen").remote())
                self._pass_on(worker, news)
                worker.hear(number)
        except Exception as error:  # noqa: BLE001 - whatever Ray raises of a worker that it has lost
            return error

    def _pass_on(self, worker: Station, news: Sequence[tuple[str, object]]) -> None:
        for what, facts in news:
            self.heard((self.run, what, worker.address, facts))

    def submit(self, station: Station, payload: bytes, priority: int, needs: Mapping[str, float]) -> Any:
        """Hand a batch to a worker; what is returned gives the result, or raises. Any: a coroutine of bytes."""
        assert isinstance(station, Worker)
        return self._result(station, station.actor.run.remote(payload))

    async def _result(self, worker: Worker, reference: Any) -> bytes:  # Any: Ray's reference to the result
        try:
            told, news, result = load(await reference)
        except _LOST as error:
            self.lost(worker.address, error)
            raise
        if worker.heard < told:
            await worker.catch_up(told)
        self._pass_on(worker, news)
        return bytes(result)

    async def withdraw(self, station: Station, messages: Mapping[str, str], within_s: float) -> None:
        """Have a worker end these attempts."""
        await self._control(station, "withdraw", within_s, dict(messages))

    async def recall(self, station: Station, numbers: Sequence[int], within_s: float) -> Collection[int]:
        """Have a worker not begin these batches."""
        answer = await self._control(station, "recall", within_s, list(numbers))
        return answer if isinstance(answer, list) else ()

    async def part(self, station: Station, within_s: float) -> None:
        """End a worker that has nothing to do, in order."""
        await self._control(station, "goodbye", within_s)
        self.kill(station)

    async def _control(self, station: Station, method: str, within_s: float, *args: Any) -> Any:
        """Return what a method of a worker answers, None if it doesn't. Any: its arguments and answer."""
        assert isinstance(station, Worker)
        with suppress(Exception):
            async with asyncio.timeout(within_s):
                return await getattr(station.actor, method).options(concurrency_group="control").remote(*args)
        return None

    async def survey(self, stations: Iterable[Station]) -> dict[str, Machine]:
        """Return what the machines have that these workers are on, of those that answer."""
        one_each = {station.hello.host: station for station in stations if not station.leaving}
        answers = await asyncio.gather(*(self._control(one, "survey", SURVEY_S) for one in one_each.values()))
        return {node: Machine(*answer) for node, answer in zip(one_each, answers, strict=True) if answer is not None}

    def cause_of(self, error: BaseException, future: Any) -> Cause:
        """Tell what Ray gave a call up for; what was raised in the worker comes as a RayTaskError, whatever it is."""
        if isinstance(error, exceptions.RayTaskError):
            return Cause.BATCH
        if isinstance(error, _LOST):
            return Cause.WORKER
        return Cause.CLUSTER if isinstance(error, _CUT) else Cause.BATCH

    def end(self, station: Station) -> None:
        """End a worker that has given an attempt up."""
        self.ended(station)

    def kill(self, station: Station) -> None:
        """End a worker at once."""
        assert isinstance(station, Worker)
        self.discard(station.actor)

    def discard(self, actor: Any) -> None:  # Any: as above
        """End an actor, whether or not it is up."""
        with suppress(Exception):
            ray.kill(actor, no_restart=True)

    async def evidence(self, worker: Worker, numbers: Sequence[int]) -> Evidence | None:
        """Return what a lost worker had written down, by batch; None where nobody can read that."""
        home = worker.hello.home
        if home is None:
            return None
        here = plain_evidence(read_of_dead(self.run, home, numbers))
        if here is not None:
            return here
        strategy = NodeAffinitySchedulingStrategy(node_id=worker.node, soft=False)
        reader = ray.remote(num_cpus=0, max_retries=0)(read_of_dead).options(scheduling_strategy=strategy)
        with suppress(Exception):
            async with asyncio.timeout(EVIDENCE_S):
                return plain_evidence(await reader.remote(self.run, home, list(numbers)))
        return None

    # ---- the whole

    async def watch(self) -> BaseException:
        """Return when the cluster's head is gone, with what was seen of that."""
        host, _, port = self.where.rpartition(":")
        while True:
            try:
                async with asyncio.timeout(10.0):
                    reader, writer = await asyncio.open_connection(host, int(port))
            except (OSError, TimeoutError) as error:
                return error
            try:
                await reader.read()  # it ends with the head; Ray itself would look for a minute, then end this process
            except OSError:
                pass
            finally:
                writer.close()
            await asyncio.sleep(0.05)

    async def close(self, within_s: float) -> None:
        """Let go of the connection, a local cluster ends; one that is lost is not waited for without end.

        What workers on this machine wrote down goes too: those that died with their cluster could not remove it.
        """
        if self.where == "of this machine":
            return
        self.alive = False
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await connection.aside(connection.disconnect)
        await asyncio.to_thread(spool.remove_all, self.run)
