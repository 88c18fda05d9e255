"""The executor `processes`: the contract's face of the supervisor.

Everything it is asked goes to the supervisor's thread by its inbox; everything comes back from that thread.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Final

from longshore import usable_cpus
from longshore.hookspecs import CancelRequest, Capabilities, ExecutorHost, LimitRequest, ResizeRequest, hookimpl
from longshore.records import StackTrace, WorkerStats
from longshore.task import Attempt
from longshore.worker import cancelled, timed_out
from pydantic import BaseModel, ConfigDict, Field

from longshore_processes.cgroups import Groups
from longshore_processes.commands import STOPPED, Stop
from longshore_processes.crew import Terms
from longshore_processes.recycling import Recycling
from longshore_processes.rungs import MemoryLimitBy, possible
from longshore_processes.spawner import Spawning, StartMethod, has_zygote, numeric_threads
from longshore_processes.stacks import stacks_of
from longshore_processes.supervisor import Supervisor
from longshore_processes.timing import Patience

_CAPABILITIES: Final = Capabilities(
    worker_type="process",
    runs=frozenset({"function"}),
    timeout="kill",
    cancel_running=True,
    pickles=True,
    columns=True,
    limits_memory=sys.platform == "linux",
    weighs=True,
)

_GRACE_S: Final = 3.0  # past the deadline, to kill and reap what would not end


class ProcessesSettings(BaseModel):
    """The table `[tool.longshore.executors.processes]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    start_method: StartMethod = "auto"
    """How workers are started: "zygote" (Linux), "interpreter" (a fresh one each), or whichever the system allows."""
    blas_threads: int | None = Field(default=None, ge=1)
    """Threads of numeric libraries in each worker; None is what the environment says, else cores divided by workers."""
    python: str | None = None
    """The interpreter that workers are started with, of this one's version; None is this one."""
    initializer_timeout_s: float | None = Field(default=120.0, gt=0.0, allow_inf_nan=False)
    """Seconds a worker may take to get ready for a task: to import its function, run its initializer or a processor's
    `initialize`, read what the pool shares. None is for ever. A task's own time limit begins after that."""
    max_tasks_per_worker: int | None = Field(default=None, ge=1)
    """A worker is replaced when it has run so many tasks; None is never."""
    max_worker_memory_mb: float | None = Field(default=None, gt=0.0, allow_inf_nan=False)
    """A worker is replaced when it has more MB of its own than this after a task, initializers included; None is never.
    """
    control_groups: bool = False
    """Whether each worker is in a control group of its own, with all it starts, which then can't leave it.

    On Linux, where a group of version 2 is delegated to this program; starting a worker takes some milliseconds more.
    """
    memory_limit_by: MemoryLimitBy = "auto"
    """What holds tasks to their limits of memory: the best there is, "control-group" or a refusal to start,
    "address-space" (RLIMIT_AS, for each process of a task by itself; what is mapped counts, used or not), or no more
    than "polling", which is always there as well. `get_worker_stats()` tells what each worker has."""
    max_result_bytes: int | None = Field(default=None, ge=1)
    """How many bytes a result may take as it is sent; above, its task fails with PayloadError. None is no limit."""


class ProcessesExecutor:
    """Runs functions in supervised worker processes, started on demand and replaced when they end."""

    Settings = ProcessesSettings
    api: int = 1

    def __init__(self, settings: ProcessesSettings | None = None) -> None:
        """Start nothing yet."""
        self._settings = settings or ProcessesSettings()
        self._supervisor: Supervisor | None = None
        self._asked = 0
        self._limit = LimitRequest(None)
        self._asking = threading.Lock()  # what workers write belongs to who asked
        self._changing = threading.Lock()  # guards which supervisor it is: the vigil may have put another in its place

    @property
    def capabilities(self) -> Capabilities:
        """Functions only; an attempt past its time limit, or cancelled, is killed."""
        return _CAPABILITIES

    @hookimpl
    async def start(self, host: ExecutorHost) -> None:
        """Start the supervisor's thread; worker processes come with the first work, up to `host.workers` of them.

        With 0, up to as many as there are usable CPUs. RuntimeError where a process can't be handed a pipe, where
        there is no interpreter to start it with, and where control groups are asked for that are not to be had, or what
        is to hold tasks to their limits of memory.
        """
        if os.name != "posix" or not hasattr(socket, "AF_UNIX"):
            raise RuntimeError("process workers need a POSIX system: use executor 'threads' here")
        self._asked, self._limit = host.workers, LimitRequest(None)
        settings, cpus = self._settings, usable_cpus()
        workers = host.workers or cpus
        spawning = Spawning(
            settings.start_method,
            numeric_threads(workers, cpus, settings.blas_threads),
            settings.python,
            settings.control_groups,
            settings.max_result_bytes,
            possible(settings.memory_limit_by, zygote=has_zygote()),
        )
        _check(spawning)
        recycling = Recycling(settings.max_tasks_per_worker, settings.max_worker_memory_mb)
        self._host, self._terms = host, Terms(spawning, recycling, Patience(settings.initializer_timeout_s))
        self._supervisor = self._begin(workers)
        host.resized(workers)

    @hookimpl
    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Take attempts in this order; returns at once."""
        with self._changing:
            self._running().offer(attempts)

    @hookimpl
    def cancel(self, request: CancelRequest) -> None:
        """End these attempts: waiting ones are taken back, running ones killed with their worker."""
        with self._changing:
            if self._supervisor is not None:
                self._supervisor.post(request)

    @hookimpl
    def resize(self, request: ResizeRequest) -> None:
        """Change the number of workers; idle ones go first, busy ones when what they run has ended."""
        self._asked = request.workers
        with self._changing:
            if self._supervisor is not None:
                self._supervisor.post(request)

    @hookimpl
    def limit(self, request: LimitRequest) -> None:
        """Give work to so many workers at once only; what a worker has been given goes on."""
        self._limit = request
        with self._changing:
            if self._supervisor is not None:
                self._supervisor.post(request)

    @hookimpl
    def workers(self) -> Sequence[WorkerStats]:
        """Return what each worker is doing; those that were asked for and are yet to be started stand last, idle."""
        return self._supervisor.crew.stats(self._asked) if self._supervisor is not None else ()

    @hookimpl
    def pids(self) -> Sequence[int]:
        """Return the pids of the workers that run."""
        handles = list(self._supervisor.crew.handles.values()) if self._supervisor is not None else []
        return [handle.pid for handle in handles if handle.pid is not None and not handle.gone]

    @hookimpl
    def stacks(self, within_s: float) -> Sequence[StackTrace]:
        """Return the stacks of the workers, which write them themselves; one diagnosis at a time, from any thread."""
        with self._asking:
            handles = list(self._supervisor.crew.handles.values()) if self._supervisor is not None else []
            return stacks_of([handle.asked() for handle in handles if not handle.gone], within_s)

    @hookimpl
    async def stop(self, deadline: float) -> None:
        """End everything by `deadline`; what is still held is reported as cancelled, what runs is killed."""
        with self._changing:
            supervisor, self._supervisor = self._supervisor, None
        if supervisor is None:
            return
        supervisor.handover.close()
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        supervisor.when_over(lambda: loop.call_soon_threadsafe(over.set))
        supervisor.post(Stop(deadline))
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, deadline - monotonic()) + _GRACE_S):
                await over.wait()
        if supervisor.join(_GRACE_S if over.is_set() else 0.0):
            return
        left = supervisor.give_up()
        if left is not None:
            now = monotonic()
            held = [cancelled(attempt, now, now, None, STOPPED) for attempt in left.attempts]
            self._host.report([*left.outcomes, *held])
            await asyncio.to_thread(supervisor.clear_away)

    def _begin(self, workers: int) -> Supervisor:
        supervisor = Supervisor(self._host, self._terms, workers=workers, on_held_up=self._take_over)
        supervisor.start()
        return supervisor

    def _take_over(self, supervisor: Supervisor, culprit: Attempt) -> None:
        """Report the task whose arguments hold the supervisor up, and have another go on with the rest.

        On the vigil's thread: the loop may be blocked.
        """
        with self._changing:
            left = supervisor.give_up() if supervisor is self._supervisor else None
            if left is None:
                return
            self._supervisor = other = self._begin(supervisor.crew.target)
            other.post(self._limit)
            other.post([attempt for attempt in left.attempts if attempt.task_id != culprit.task_id])
            for command in left.commands:
                other.post(command)
        now = monotonic()
        note = "its arguments were still being pickled, in the process of the pool"
        began = now - (culprit.spec.timeout_s or 0.0)
        self._host.report([*left.outcomes, timed_out(culprit, began, now, None, note)])
        supervisor.clear_away()

    def _running(self) -> Supervisor:
        if self._supervisor is None:
            raise RuntimeError("the executor 'processes' is not running: start it first")
        return self._supervisor


def _check(spawning: Spawning) -> None:
    """Raise RuntimeError for what no worker could be started with."""
    spawning.interpreter()
    if spawning.grouped and (not has_zygote() or Groups.here() is None):
        raise RuntimeError(
            "executors.processes.control_groups is on, and no control group of version 2 is delegated to this program: "
            "start it by `systemd-run --user --scope -p Delegate=yes`, or leave that setting out"
        )
