"""What a pool knows of the machine: its monitor, whose loads go to the engine; also a monitor that somebody else wrote.

Loads come on the probes' threads and are handed to the driver, so that measuring keeps nobody waiting.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from longshore._engine.messages import InUse, Measured
from longshore._limits import ResourceLimits
from longshore._loads import HostSize, cluster_loads_of, demands_of
from longshore._packing import described
from longshore._runtime.clusters import Clusters
from longshore._runtime.driver import Driver
from longshore._runtime.executors import Executors
from longshore._telling import in_threads
from longshore.monitor import ResourceMonitor
from longshore.records import Load, Reading, ReadRequest, TaskCounts, Usage, WorkerStats, WorkerUsage
from longshore.task import Resources

_FIRST_S = 2.0  # what the first reading of a GPU may take, before tasks that want one are refused
_BEGUN_S = 0.1  # a reading may be so old when it is looked at
_ANSWER_S = 5.0  # what a coroutine of somebody else's monitor may take


class ForeignMonitor:
    """Anything with `current_usage` or `check_availability`, sync or async, as a probe; what it raises is counted.

    `current_usage` maps resources to use, in the units of the limits. While `check_availability({})` says no, nothing
    starts. Coroutines run on the pool's loop, all else on a thread of its own.
    """

    resources: Sequence[str] = ()

    def __init__(self, target: object) -> None:
        """Adapt `target`; TypeError if it has neither."""
        known = ("current_usage", "check_availability")
        if not any(_has(target, name) for name in known):
            raise TypeError(f"{type(target).__name__} is no resource monitor: it has neither {' nor '.join(known)}")
        self._target = target
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = False
        self.errors = 0
        self.last_error: str | None = None
        self.closed: str | None = None
        """Why it lets nothing start, if it says so."""

    @property
    def period_s(self) -> float:
        """Seconds between two questions."""
        interval = inspect.getattr_static(self._target, "check_interval", None)
        return interval if isinstance(interval, int | float) and interval > 0 else 1.0

    @property
    def limits(self) -> ResourceLimits | None:
        """Its own limits, where it has them."""
        limits = inspect.getattr_static(self._target, "limits", None)
        return limits if isinstance(limits, ResourceLimits) else None

    async def start(self) -> None:
        """Start it, unless it says that it runs."""
        self._loop = asyncio.get_running_loop()
        if inspect.getattr_static(self._target, "running", False) is not True:
            self._begun = await self._call("start")

    async def stop(self) -> None:
        """Stop it, if it was started here."""
        if self._begun:
            self._begun = False
            await self._call("stop")

    async def _call(self, name: str) -> bool:
        method = getattr(self._target, name, None)
        if method is None:
            return False
        try:
            made = method()
            if inspect.isawaitable(made):
                await asyncio.wait_for(made, _ANSWER_S)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # the caller's own
            self._count(name, error)
        return True

    def _count(self, name: str, error: BaseException) -> None:
        self.errors += 1
        self.last_error = f"{name}: {described(error)}"

    async def refusal(self, required: Mapping[str, float]) -> str | None:
        """Ask its `check_availability` for a task's resources; return why they can't be had, None if they can.

        What it raises, or takes too long over, is counted, and no refusal.
        """
        check = getattr(self._target, "check_availability", None)
        if check is None:
            return None
        answers: list[Any] = []  # Any: whatever it gives
        try:
            async with asyncio.timeout(_ANSWER_S):
                if inspect.iscoroutinefunction(check):
                    answers.append(await check(required))
                else:
                    await in_threads([lambda: answers.append(check(required))])
                if inspect.isawaitable(answers[0]) and not isinstance(answers[0], tuple):
                    answers[0] = await answers[0]
            return _reason(answers[0])
        except Exception as error:  # noqa: BLE001 - it is not ours
            self._count("check_availability", error)
            return None

    def read(self, request: ReadRequest) -> Reading:
        """Ask it once."""
        used = self._ask("current_usage")
        check = getattr(self._target, "check_availability", None)
        self.closed = _reason(self._answer(check({}))) if check is not None else None
        return Reading(datetime.now(UTC), _readings(used) if isinstance(used, Mapping) else {})

    def _ask(self, name: str) -> Any:  # Any: whatever it gives
        asked = getattr(self._target, name, None)
        return self._answer(asked() if callable(asked) else asked)

    def _answer(self, given: Any) -> Any:  # Any: whatever it gives
        if not inspect.isawaitable(given) or isinstance(given, tuple):
            return given
        assert self._loop is not None, "it is asked between start and stop"
        return asyncio.run_coroutine_threadsafe(_await(given), self._loop).result(_ANSWER_S)


class Growth:
    """What running tasks use of memory: by how much each worker process has grown since it last had nothing to do."""

    def __init__(self) -> None:
        """Have seen no worker."""
        self._before: dict[int, float] = {}  # MB by process id, while it had nothing to do, or the least since

    def see(self, usage: Mapping[int, WorkerUsage], rows: Iterable[WorkerStats]) -> dict[str, InUse]:
        """Take what workers use, and what each does; return what their tasks use, by task.

        One that has only just begun is left out: the reading may be of the task before it.
        """
        self._before = {pid: before for pid, before in self._before.items() if pid in usage}
        tasks: dict[str, InUse] = {}
        for row in rows:
            used = usage.get(row.pid) if row.pid is not None else None
            if used is None or row.pid is None:
                continue
            before = min(used.memory_mb, self._before.get(row.pid, used.memory_mb))
            self._before[row.pid] = before if row.current_task is not None else used.memory_mb
            if row.current_task is not None and (row.running_s or 0.0) >= _BEGUN_S:
                tasks[row.current_task] = InUse(used.memory_mb - before, row.running_s or 0.0)
        return tasks


class Measuring:
    """The monitor of one run, started unless it ran before; only what was started here is stopped."""

    def __init__(self, monitor: ResourceMonitor, foreign: ForeignMonitor | None) -> None:
        """Take a monitor, and whose answers it measures, if they are somebody else's."""
        self.monitor = monitor
        self._foreign = foreign
        self._driver: Driver | None = None
        self._pids: Callable[[], Sequence[int]] = list
        self._counts: Callable[[], TaskCounts] = TaskCounts
        self._workers: Callable[[], Iterable[tuple[str, WorkerStats]]] = list
        self._clusters = Clusters()
        self._growth = Growth()
        self._starts = False
        self._gpu_seen = asyncio.Event()

    def join(self, driver: Driver, executors: Executors, counts: Callable[[], TaskCounts]) -> None:
        """Tell `driver` what is measured from the start on, with the workers and counts of its pool."""
        self._driver, self._counts, self._clusters = driver, counts, executors.clusters
        self._clusters.told = self.cluster_measured
        self._pids, self._workers = executors.pids, executors.workers

    async def start(self) -> None:
        """Begin to measure; return when GPUs were looked for, where there is a probe for them."""
        if self._foreign is not None:
            await self._foreign.start()
        self.monitor.attach(self)
        self._starts = not self.monitor.running
        if self._starts:
            await self.monitor.start()
        elif self.monitor.loads:
            self.measured(self.monitor.loads, self.monitor.valid_s)
        if any(name.startswith("gpu") for name in self.monitor.resources):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._gpu_seen.wait(), _FIRST_S)

    async def stop(self) -> None:
        """Tell no more, and stop what was started here."""
        self.monitor.detach(self)
        if self._starts:
            await self.monitor.stop()
        if self._foreign is not None:
            await self._foreign.stop()

    @property
    def again_s(self) -> float:
        """Seconds until a monitor that refused something is worth asking again."""
        return self._foreign.period_s if self._foreign is not None else 1.0

    async def refusal(self, resources: Resources) -> str | None:
        """Return why somebody else's monitor says that these can't be had now; None if it does not, or is ours."""
        return await self._foreign.refusal(demands_of(resources)) if self._foreign is not None else None

    def notes(self) -> list[str]:
        """Return a line for people on readings that failed, and on limits that nothing is measured for."""
        errors = self.monitor.errors + (self._foreign.errors if self._foreign is not None else 0)
        last = self.monitor.last_error or (self._foreign.last_error if self._foreign is not None else None)
        notes = [*self._clusters.notes()]
        notes += [f"measuring the machine failed {errors} times; the last: {last}"] if errors else []
        unmeasured = [name for name in self.monitor.unavailable if name not in ("cpu", "memory")]
        return notes + [f"{name} is unavailable: nothing measures it, so its limit did nothing" for name in unmeasured]

    def usage(self) -> dict[str, Usage]:
        """Return what was read last of this machine, and of clusters as "EXECUTOR.RESOURCE"; from any thread."""
        clusters = self._clusters.usage()
        return self.monitor.usage | {
            f"{at}.{name}": one for at, usage in clusters.items() for name, one in usage.items()
        }

    def loads(self) -> dict[str, Load]:
        """Return the loads of this machine, and those of clusters as "EXECUTOR.RESOURCE"; from any thread."""
        clusters = {at: cluster_loads_of(usage) for at, usage in self._clusters.usage().items()}
        return self.monitor.loads | {
            f"{at}.{name}": one for at, loads in clusters.items() for name, one in loads.items()
        }

    # ---- on the probes' threads

    def cluster_measured(self, site: str, usage: Mapping[str, Usage], valid_s: float) -> None:
        """Hand the newest loads of an executor's cluster to the driver."""
        driver, measured = self._driver, Measured(cluster_loads_of(usage), valid_s, site=site)
        if driver is not None:
            driver.inject(lambda: driver.stimulate(measured))

    def pids(self) -> Sequence[int]:
        """Return the processes of the pool's workers."""
        return self._pids()

    def counts(self) -> tuple[int, int]:
        """Return how many tasks run and are queued."""
        counts = self._counts()
        return counts.running, counts.queued

    def measured(self, loads: Mapping[str, Load], valid_s: float) -> None:
        """Hand the newest loads to the driver."""
        driver, closed = self._driver, self._foreign.closed if self._foreign is not None else None
        if driver is None:
            return
        usage = self.monitor.workers
        tasks = self._growth.see(usage, [row for _, row in self._workers()]) if usage else {}

        def tell() -> None:
            driver.stimulate(Measured(loads, valid_s, closed, tasks))
            if "gpu" in loads or self.monitor.has_read("gpu"):
                self._gpu_seen.set()

        driver.inject(tell)


def monitor_of(given: object, limits: ResourceLimits) -> tuple[ResourceMonitor, ForeignMonitor | None]:
    """Return a monitor of ours for what a pool was given; TypeError if that is none."""
    if isinstance(given, ResourceMonitor) and issubclass(type(given), ResourceMonitor):  # a mock only says that it is
        return given, None
    foreign = ForeignMonitor(given)
    return ResourceMonitor(foreign.limits or limits, None, {type(given).__name__: foreign}), foreign


def _reason(answer: Any) -> str | None:  # Any: whatever a monitor of somebody else's gives
    """Return why nothing is available, None if it is: the answer is a flag, or a pair of it and the reason."""
    available, reason = answer[:2] if isinstance(answer, tuple) else (answer, None)
    return None if available else str(reason or "the resource monitor says that nothing is available")


def _has(target: object, name: str) -> bool:
    """Tell whether it has such an attribute, without calling what computes it where that can be helped."""
    if inspect.getattr_static(target, name, None) is not None:
        return True
    return getattr(target, name, None) is not None  # such as what a mock makes when it is asked


def _readings(used: Mapping[object, object]) -> dict[str, Usage]:
    """Return use in the units of the limits as a probe would have read it."""
    host = HostSize.here()
    readings: dict[str, Usage] = {}
    for key, value in used.items():
        name, amount = str(getattr(key, "value", key)), float(value)  # type: ignore[arg-type]  # checked by float itself
        if name in ("cpu", "memory"):
            there = host.cores if name == "cpu" else host.memory_mb
            readings[name] = Usage(amount / 100.0 * there, there)
        elif name == "gpu":
            readings["gpu.0"] = Usage(amount, 100.0)
        elif name in ("disk_io", "network_io"):
            readings[f"{name}.all"] = Usage(amount)
    return readings


async def _await(given: Awaitable[Any]) -> Any:  # Any: whatever it gives
    return await given
