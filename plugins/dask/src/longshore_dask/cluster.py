"""The connection to the cluster: one that runs, or a local one of our own; checks what its workers have.

Everything here runs on the loop of the executor's own thread.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
import platform
import signal
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any, Final

import dask
from distributed import Client, LocalCluster
from longshore import usable_cpus
from longshore.batching.crew import Cause, Station

from longshore_dask import yard
from longshore_dask.hush import hushed

_log = logging.getLogger("longshore.dask")
_HAVE: Final = ("longshore-core", "longshore-dask")
_ASK_S: Final = 30.0
_KILL_S: Final = 0.5
_CUT: Final = "scheduler-connection-lost"  # what Dask says of futures then
_warned: set[str] = set()


class Cluster:
    """A client, and the cluster where that is ours."""

    def __init__(self, address: str | None, connect_timeout_s: float, run: str) -> None:
        """Connect to nothing yet."""
        self._address, self._timeout_s, self._run = address, connect_timeout_s, run
        self._local: Any = None  # Any: Dask carries no types, here and below
        self._client: Any = None
        self._topics: list[str] = []
        self._hush = ExitStack()

    @property
    def is_local(self) -> bool:
        """Whether it is of our own making."""
        return self._address is None

    @property
    def alive(self) -> bool:
        """Whether the scheduler is there, as far as the connection shows."""
        return self._client is not None and self._client.status == "running"

    @property
    def where(self) -> str:
        """The scheduler's address, for people."""
        return str(self._client.scheduler.address) if self.alive else self._address or "of the local cluster"

    async def open(self, workers: int) -> None:
        """Connect, or start `workers` processes on loopback and a scheduler in this one; RuntimeError if it fails."""
        self._hush.enter_context(hushed(lambda: self.alive))
        target: Any = self._address
        if target is None:
            self._local = target = await LocalCluster(  # type: ignore[no-untyped-call]  # it carries no types
                n_workers=workers or usable_cpus(),
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # any port, for what is left without it
                silence_logs=logging.CRITICAL,
                asynchronous=True,
            )
        try:
            self._client = await Client(  # type: ignore[no-untyped-call]  # as above
                target, asynchronous=True, set_as_default=False, timeout=self._timeout_s, name="longshore"
            )
        except (OSError, TimeoutError, ValueError) as error:
            raise RuntimeError(
                f"no Dask scheduler answers at {self._address} ({error}): look whether it runs and can be reached from "
                "here, and set executors.dask.address"
            ) from error
        _warn_if_open(self.where)

    def subscribe(self, topic: str, handler: Callable[[Any], None]) -> None:
        """Have `handler` called with what is told under a topic."""
        self._topics.append(topic)
        self._client.subscribe_topic(topic, lambda event: handler(event[1]))

    def submit(self, station: Station, payload: bytes, priority: int, needs: Mapping[str, float]) -> Any:
        """Hand one Dask task to the scheduler, for this worker and no other, and return its future."""
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": 2 * len(payload) + (10 << 20)}):
            return self._client.submit(
                yard.run,
                payload,
                workers=[station.address],
                allow_other_workers=False,
                retries=0,
                pure=False,
                priority=-priority,
                resources=dict(needs) or None,
            )

    async def withdraw(self, station: Station, messages: Mapping[str, str], within_s: float) -> None:
        """Have a worker give up these attempts."""
        await self.call(yard.withdraw, self._run, messages, workers=[station.address], within_s=within_s)

    async def recall(self, station: Station, numbers: Sequence[int], within_s: float) -> Collection[int]:
        """Have a worker not begin these batches."""
        where = station.address
        answers = await self.call(yard.recall, self._run, list(numbers), workers=[where], within_s=within_s)
        answer = answers.get(where)
        return answer if isinstance(answer, list) else ()

    def cause_of(self, error: BaseException, future: Any) -> Cause:
        """Tell what Dask gave a task up for; the scheduler tells of each worker it loses.

        What was raised in the worker, whatever it is, is in the future; else it is the client's own.
        """
        if type(error).__name__ == "KilledWorker":
            return Cause.WORKER
        if getattr(error, "reason", None) == _CUT:
            return Cause.CLUSTER
        raised_there = future is not None and future.status == "error"
        return Cause.CLUSTER if isinstance(error, OSError) and not raised_there else Cause.BATCH

    def end(self, station: Station) -> None:
        """Leave the worker as it is: its threads go on."""

    async def release(self, future: Any) -> None:
        """Have the scheduler forget a task."""
        with suppress(Exception):
            await self._client.cancel([future], asynchronous=True, reason="longshore", msg="not wanted any more")

    async def call(
        self, function: Callable[..., Any], *args: Any, workers: Sequence[str] | None, within_s: float = _ASK_S
    ) -> dict[str, Any]:
        """Call a function on the loops of workers; a worker that can't be reached, or raises, answers an exception."""
        try:
            async with asyncio.timeout(within_s):
                asked = None if workers is None else list(workers)
                answers: dict[str, Any] = await self._client.run(function, *args, workers=asked, on_error="return")
        except Exception as error:  # noqa: BLE001 - any kind of lost connection
            return dict.fromkeys(workers or (), error)
        return answers

    async def lacking(self, workers: Sequence[str] | None) -> dict[str, str | None]:
        """Return by worker in words what it lacks to run tasks of ours, None for nothing. Asks by what Python has."""
        pythons = await self.call(platform.python_version, workers=workers)
        found = [await self.call(importlib.metadata.version, name, workers=list(pythons)) for name in _HAVE]
        return {
            address: _lack(address, python, [answers.get(address) for answers in found])
            for address, python in pythons.items()
        }

    async def told(self) -> dict[str, Any]:
        """Return what the scheduler says of each worker, by address; it asks none for that."""
        identity: dict[str, Any] = await self._client.scheduler.identity()
        return dict(identity["workers"])

    def scale(self, workers: int) -> None:
        """Have so many workers, or more."""
        self._local.scale(max(workers, len(self._local.worker_spec)))

    async def retire(self, address: str) -> None:
        """End a worker of the local cluster that has nothing to do."""
        with suppress(Exception):
            names = [name for name, nanny in self._local.workers.items() if nanny.worker_address == address]
            await self._local.scale_down(names)

    async def close(self, deadline: float, pids: Sequence[int]) -> None:
        """Let go of it by `deadline`; processes of ours that are left then are killed."""
        for topic in self._topics:
            with suppress(Exception):
                self._client.unsubscribe_topic(topic)
        sender = getattr(self._client, "scheduler_comm", None)
        with self._hush, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for part in filter(None, (self._client, self._local)):
                with suppress(Exception):
                    async with asyncio.timeout(max(_KILL_S, deadline - monotonic())):
                        await part.close()
            await _end(sender)
        if self._local is not None:
            for pid in pids:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)


async def _end(sender: Any) -> None:  # Any: Dask's sender of batches, None where nothing was connected
    """End what still waits to send: where the scheduler hangs up first Dask leaves it, for Python to complain of."""
    if sender is not None:
        sender.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(_KILL_S):
                await sender.stopped.wait()


def _lack(address: str, python: Any, versions: Sequence[Any]) -> str | None:
    here = platform.python_version()
    if isinstance(python, BaseException):
        return f"the Dask worker {address} does not answer: {python!r}"
    if python.split(".")[:2] != here.split(".")[:2]:
        return f"the Dask worker {address} has Python {python}, and this is {here}: they must be of one minor version"
    for name, found in zip(_HAVE, versions, strict=True):
        own = importlib.metadata.version(name)
        if isinstance(found, BaseException) or found is None:
            return f"the Dask worker {address} has no {name}: run `pip install longshore-dask=={own}` there"
        if found != own:
            return f"the Dask worker {address} has {name} {found}, and here is {own}: install the same version on both"
    return None


def _warn_if_open(address: str) -> None:
    """Say once for each cluster that anybody who reaches it can run code in it; not where it has TLS."""
    if address.startswith(("tls://", "inproc://", "wss://")) or address in _warned:
        return
    if address.startswith("tcp://127.0.0.1:"):
        _log.info("the Dask cluster at %s has no authentication: programs of this machine can run code in it", address)
        return
    _warned.add(address)
    _log.warning(
        "the Dask cluster at %s has no authentication: whoever can reach it can run code in it; set up TLS in Dask's "
        "configuration (distributed.comm.tls) and use a tls:// address",
        address,
    )
