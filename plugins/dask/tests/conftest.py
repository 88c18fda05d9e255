"""What the tests of this plugin share: a started executor with its host, and clusters of somebody else's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from longshore.testing import CollectingHost, Rig
from longshore_dask import DaskExecutor

PATIENCE_S = 40.0
QUIET = {**os.environ, "DASK_LOGGING__DISTRIBUTED": "error"}
HOST = ("--host", "127.0.0.1", "--no-dashboard")


def dask(*words: str, folder: Path, **env: str) -> subprocess.Popen[bytes]:
    """Start a scheduler or a worker, in a folder of its own."""
    command = [sys.executable, "-m", "dask", *words]
    null = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=folder, env={**QUIET, "TMPDIR": str(folder), **env}, stdout=null, stderr=null)


class Theirs:
    """A scheduler, and workers with two threads and a resource each, once they are added."""

    def __init__(self, folder: Path, *words: str) -> None:
        said = folder / "scheduler.json"
        self._folder, self._words = folder, words
        self.scheduler = dask("scheduler", *HOST, "--port", "0", "--scheduler-file", str(said), *words, folder=folder)
        self.started = [self.scheduler]
        self._nannies: list[subprocess.Popen[bytes]] = []
        give_up = time.monotonic() + PATIENCE_S
        while not said.exists() or '"address"' not in (text := said.read_text()):
            assert time.monotonic() < give_up, "the scheduler did not start"
            assert self.scheduler.poll() is None, "the scheduler ended"
            time.sleep(0.02)
        self.address = text.split('"address": "')[1].split('"')[0]

    def add_worker(
        self, *, threads: int = 2, memory: str = "1GB", nanny: bool = False, **env: str
    ) -> subprocess.Popen[bytes]:
        """Start one more worker, with a nanny that replaces it; it is there when the scheduler knows of it."""
        kept = "--nanny" if nanny else "--no-nanny"
        has = ("--nthreads", str(threads), "--memory-limit", memory, "--resources", "GPU=1", kept)
        own = ("--local-directory", str(self._folder), *self._words)
        worker = dask("worker", self.address, *HOST, *has, *own, folder=self._folder, **env)
        self.started.append(worker)
        self._nannies += [worker] if nanny else []
        return worker

    def end(self) -> None:
        """End all that was started."""
        for one in reversed(self.started):
            with suppress(ProcessLookupError):
                (one.terminate if one in self._nannies else one.kill)()  # a nanny ends its worker
            one.wait(20.0)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[..., Theirs]]:
    """A maker of schedulers without workers; words are options of these and of their workers."""
    made: list[Theirs] = []

    def make(*words: str) -> Theirs:
        made.append(Theirs(tmp_path, *words))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def theirs(cluster: Callable[..., Theirs]) -> Theirs:
    """A scheduler without workers."""
    return cluster()


@pytest.fixture(scope="session")
def shared_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster with two workers of one thread each, the same one for all tests."""
    cluster = Theirs(tmp_path_factory.mktemp("cluster"))
    for _ in range(2):
        cluster.add_worker(threads=1)
    with Client(cluster.address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        client.wait_for_workers(2, timeout=PATIENCE_S)
    yield cluster.address
    cluster.end()


MakeRig = Callable[..., Awaitable[Rig]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def start() -> AsyncIterator[MakeRig]:
    """A maker of rigs with so many workers; each is stopped at the end."""
    made: list[Rig] = []

    async def make(workers: int, **settings: Any) -> Rig:
        executor = DaskExecutor(DaskExecutor.Settings(**settings))
        rig = Rig(executor, CollectingHost(workers, patience_s=PATIENCE_S))
        made.append(rig)
        await rig.start()
        return rig

    yield make
    for rig in made:
        await rig.stop(within_s=8.0)
