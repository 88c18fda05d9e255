"""What a pool has in a Dask worker, and what its controller has the worker call: `hello` makes it, `goodbye` ends it.

Runs in the worker.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from distributed.core import Status
from distributed.worker import get_worker
from longshore.batching.codec import load
from longshore.batching.folders import working_folder
from longshore.batching.running import run_batch
from longshore.batching.spool import read, remove_of
from longshore.batching.words import Batch, Hello, Record
from longshore.batching.yard import Yard

from longshore_dask.crew import DASK

TOPIC: Final = "longshore"
"""The topic of Dask's events by which workers tell of what runs; one for all pools, so that no scheduler fills up."""
_EVENT_BYTES: Final = 128 << 10  # the scheduler keeps the last thousand events of a topic
_OVER: Final = frozenset({Status.closing, Status.closed, Status.failed, Status.stopping, Status.stopped})

# By the pool's run and the worker's address: several workers may be in one process.
_yards: dict[tuple[str, str], DaskYard] = {}
_lock: Final = threading.Lock()


class DaskYard(Yard):
    """One pool's place in one worker."""

    def __init__(self, run: str, worker: Any) -> None:  # Any: Dask's Worker, which carries no types
        """Be empty."""
        super().__init__(DASK, run, str(worker.name))
        self.message_bytes = _EVENT_BYTES
        self._worker = worker

    def hello(self) -> Hello:
        """Return what this worker is."""
        worker = self._worker
        resources = {str(name): float(amount) for name, amount in worker.state.total_resources.items()}
        limit = worker.memory_manager.memory_limit
        host, threads = f"{socket.gethostname()} {worker.ip}", worker.state.nthreads
        memory_mb = limit / 1e6 if limit else None
        return Hello(self.name, host, threads, os.getpid(), self.home, resources, memory_mb, working_folder())

    def is_over(self) -> bool:
        """Tell whether this worker is closing, as one that lost its scheduler: what it has is run elsewhere."""
        return self._worker.status in _OVER

    def tell(self, what: str, facts: object) -> None:
        """Tell the controller of something, by the scheduler."""
        self._worker.log_event(TOPIC, [self.run, what, self._worker.address, facts])


def run(payload: bytes) -> bytes:
    """Run a batch, a pickle of `words.Batch`: what Dask is given to call."""
    batch = Batch(*load(payload))
    return run_batch(_yards[batch.run, get_worker().address], batch)


# ---- what the controller has workers call, on their loops


def hello(run: str, dask_worker: Any = None) -> Hello:  # Any: Dask's Worker, which it fills in by this name
    """Make the place of a pool in this worker, and say what it is."""
    with _lock:
        yard = _yards.get((run, dask_worker.address))
        if yard is None:
            yard = _yards[run, dask_worker.address] = DaskYard(run, dask_worker)
    return yard.hello()


def withdraw(run: str, messages: Mapping[str, str], dask_worker: Any = None) -> None:  # Any: as above
    """End these attempts."""
    yard = _yards.get((run, dask_worker.address))
    if yard is not None:
        yard.withdraw(messages)


def recall(run: str, numbers: Sequence[int], dask_worker: Any = None) -> list[int]:  # Any: as above
    """Have these batches not begin here, and return which won't."""
    yard = _yards.get((run, dask_worker.address))
    return [] if yard is None else yard.recall(numbers)


def read_of_dead(run: str, home: str, numbers: Sequence[int]) -> dict[int, list[Record] | None] | None:
    """Return what a worker of this machine had written down, and remove it."""
    found = read(run, home, numbers)
    if found is not None:
        remove_of(run, home)
    return found


def goodbye(run: str, dask_worker: Any = None) -> None:  # Any: as above
    """Take away the place of a pool in this worker."""
    with _lock:
        yard = _yards.pop((run, dask_worker.address), None)
    if yard is not None:
        yard.close()
