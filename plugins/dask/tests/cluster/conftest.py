"""A cluster as somebody else would have it: a scheduler and workers in processes of their own, on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

QUIET = {**os.environ, "DASK_LOGGING__DISTRIBUTED": "error"}
HOST = ("--host", "127.0.0.1", "--no-dashboard")
PATIENCE_S = 40.0


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
