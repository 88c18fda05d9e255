"""The backend "longshore" of joblib. Imported only by who registers it: joblib is the user's own.

One executor serves all calls under one `parallel_config`, so that its workers stay warm between them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol

from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, register_parallel_backend

from longshore._cpus import usable_cpus


class Workers(Protocol):
    """What it needs of an executor."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:  # Any: the user's own
        """Have a function called."""

    def shutdown(self) -> None:
        """End, after what was submitted."""

    def kill_workers(self) -> None:
        """End at once."""


Make = Callable[[int, str, Mapping[str, Any]], Workers]  # Any: each option's own type


class LongshoreBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # joblib carries no types
    """Runs joblib's batches in a PoolExecutor; what joblib calls nested runs in threads of the worker."""

    default_n_jobs = -1
    supports_retrieve_callback = True
    supports_inner_max_num_threads = False

    def __init__(
        self,
        make: Make,
        executor: str = "processes",
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        **options: Any,  # Any: each option's own type
    ) -> None:
        """Take what `parallel_config` was given: the executor, and options for `make` as `with_options` takes them."""
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._make = make
        self._place = executor
        self._options = options
        self._workers = 0
        self._executor: Workers | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many workers that is: -1 is all usable processors, -2 all but one."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(1, usable_cpus() + 1 + n_jobs)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:  # Any: joblib's own
        """Get ready for a call; the workers of the one before are kept if there are to be as many."""
        self.parallel = parallel
        workers = self.effective_n_jobs(n_jobs)
        if self._executor is None or workers != self._workers:
            self._end()
            self._workers = workers
            self._executor = self._make(workers, self._place, {"name": "joblib", **self._options})
        return workers

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None) -> Future[Any]:  # Any: same
        """Have a batch run; its future goes to `callback` at its end."""
        if self._executor is None:
            raise RuntimeError("joblib submits before it configures its backend")
        future = self._executor.submit(operator.call, func)  # one function for all: what it is given differs
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:  # Any: joblib's own
        """Return what a batch gave, or raise what it raised."""
        return out.result()

    def terminate(self) -> None:
        """End a call; the workers stay for the next, and end with this backend."""
        self.parallel = None
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End what runs, after a failure or an interrupt; be ready for a next call where that is wanted."""
        if self._executor is not None:
            self._executor.kill_workers()
            self._executor = None
        if ensure_ready:
            self.configure(self._workers, self.parallel)

    def _end(self) -> None:
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None


def register(make: Make) -> None:
    """Make the backend known to joblib; `make` gives an executor by its number of workers, its name and options."""
    register_parallel_backend("longshore", partial(LongshoreBackend, make))
