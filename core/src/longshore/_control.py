"""What may be asked of a pool and done to it while it runs; `WorkerPool` has it from here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from longshore._engine.messages import Cancel, Keep, Pause, Unpause
from longshore._measuring import Measuring
from longshore._parts import Parts
from longshore._pipelines import PipelineRun
from longshore._processors import Processors
from longshore._runtime.driver import Driver
from longshore._runtime.executors import Executors
from longshore._runtime.roster import Roster
from longshore._setup import setup_of
from longshore._telling import Telling
from longshore.errors import PoolNotRunning, WrongPlace
from longshore.hookspecs import Processor
from longshore.processor import ProcessorHealth
from longshore.records import LeftBehind, PoolStats, RunSnapshot, WorkerStats, WorkerUsage
from longshore.worker import running_task


class Steering:
    """What a sink may do to the run of a pool: this and no more; from any thread."""

    def __init__(self, pool: Control) -> None:
        """Steer this one."""
        self._pool = pool

    def cancel(self, task_id: str) -> None:
        """Cancel one task; unknown and ended ones are ignored."""
        self._pool.cancel(task_id)

    def pause(self) -> None:
        """Start nothing new until `unpause`."""
        self._pool.pause()

    def unpause(self) -> None:
        """Start work again."""
        self._pool.unpause()

    def resize(self, executor: str, workers: int) -> None:
        """Change the number of workers of an executor; ValueError and PluginError for what can't be."""
        self._pool.resize(executor, workers)


class Control:
    """Questions and orders to one pool, which sets what is declared here."""

    _started: bool
    _driver: Driver
    _executors: Executors
    _roster: Roster
    _telling: Telling
    _parts: Parts
    _processors: Processors
    _measuring: Measuring
    _runs: set[PipelineRun]

    @property
    def run_id(self) -> str:
        """The id of the run; rises with time."""
        run = self._telling.run if self._started else None
        if run is None:
            raise PoolNotRunning("the pool has not been started")
        return run.run_id

    async def wait_for_completion(self, timeout: float | None = None) -> bool:
        """Wait until nothing is queued or running; False when that takes longer than `timeout` seconds.

        True at once where that is so already, whatever the timeout. WrongPlace on another loop than the pool's, and in
        a task of this pool, which it would wait for.
        """
        if not self._started:
            return True
        if not self._driver.idle:
            self._driver.check_here()
            self._check_waits_for_another("wait for the completion of")
        try:
            async with asyncio.timeout(timeout):
                await self._wait_until_idle()
        except TimeoutError:
            return False
        return True

    def _check_waits_for_another(self, what: str) -> None:
        """Raise WrongPlace in a task of this pool: what is to be waited for would wait for it."""
        task = running_task()
        if task is not None and self._driver.engine.is_running(task.task_id):
            raise WrongPlace(
                f"the task {task.task_id} ({task.name}) cannot {what} the pool that runs it: that would wait for the "
                "task, and the task for that; do it where the pool was started, or use `pool.cancel_all()` here",
                task_id=task.task_id,
            )

    async def _wait_until_idle(self) -> None:
        await self._driver.wait_until_idle()
        while self._runs:  # between two stages nothing is queued, and yet there is more to come
            await next(iter(self._runs)).wait()
            await self._driver.wait_until_idle()

    def cancel(self, task_id: str) -> None:
        """Ask for a task to end; unknown and ended ones are ignored. From any thread."""
        self._inject(lambda driver: driver.stimulate(Cancel((task_id,), "cancelled by id")))

    def cancel_all(self, message: str = "cancelled") -> None:
        """Cancel everything that is queued or running, and go on taking work. From any thread."""
        self._inject(lambda driver: driver.stimulate(Cancel([task.task_id for task in driver.engine.live()], message)))

    def pause(self) -> None:
        """Start nothing new until `unpause`; running tasks go on. From any thread."""
        self._inject(lambda driver: driver.stimulate(Pause()))

    def unpause(self) -> None:
        """Start work again. From any thread."""
        self._inject(lambda driver: driver.stimulate(Unpause()))

    def resize(self, executor: str, workers: int) -> None:
        """Change how many workers an executor has; running tasks go on. From any thread.

        One that grew and shrank with its load keeps this number from then on.
        Raises ValueError and PluginError for what can't be; an executor that can't follow goes on as it was.
        """
        if type(workers) is not int or workers < 1:
            raise ValueError(f"workers must be a whole number of at least 1, not {workers!r}")
        self._parts.workers(executor)
        if executor != "inline":
            self._parts.plugins.load("executors", executor)

        def resize(driver: Driver) -> None:
            driver.stimulate(Keep(executor))
            self._executors.resize(executor, workers)

        self._inject(resize)

    def _inject(self, act: Callable[[Driver], None]) -> None:
        """Have the driver do something on its thread."""
        if not self._started:
            raise PoolNotRunning("the pool has not been started")
        driver = self._driver
        driver.inject(lambda: act(driver))

    def replace_processor(self, name: str, processor: Processor | type[Processor] | str) -> None:
        """Use another processor under this name from now on: its class, an instance, or the name of an installed one.

        Tasks that were submitted before end with the one they have; those submitted afterwards use the new one, and a
        worker cleans up the old one when it gets the first of these, or ends. Of an instance each worker has a copy.
        May also bring a name that is not installed. Raises PluginError, and then changes nothing. From any thread.
        """
        self._processors.replace(name, processor)

    async def check_processors(self, *names: str, timeout_s: float = 5.0) -> dict[str, ProcessorHealth]:
        """Ask these processors whether they can work: those the pool has used so far, if none is named. Never raises.

        For each one is made, initialised, asked by its `health_check` and cleaned up, on a thread of its own beside the
        workers. Who has not answered after `timeout_s` is reported as unhealthy and left to itself.
        """
        return await self._processors.health(names or self._processors.used(), timeout_s)

    def snapshot(self) -> RunSnapshot:
        """Return the run as it is now, or was at its end. From any thread."""
        if not self._started:
            raise PoolNotRunning("the pool has not been started")
        return self._telling.snapshot()

    def _offered(self) -> dict[str, Any]:  # Any: RunInfo's
        """Return what sinks are offered to ask and do."""
        parts = self._parts
        return {
            "snapshot": self.snapshot,
            "control": Steering(self),
            "stats": self.get_stats,
            "workers": self.get_worker_stats,
            "setup": lambda: setup_of(parts.settings, parts.plugins),
        }

    def get_stats(self) -> PoolStats:
        """Return the pool's statistics; cheap. Those of the last run once it has stopped."""
        if not self._started:
            return PoolStats()
        engine = self._driver.engine
        return self._telling.stats(
            self._roster.workers(),
            len(self._executors.left_behind()),
            engine.scaled(),
            engine.throttled_s(),
            engine.queue(),
        )

    def get_worker_stats(self) -> list[WorkerStats]:
        """Return what each worker of each executor in use is doing; after `stop`, all as stopped. From any thread."""
        if not self._started:
            return []
        used, workers = self._measuring.monitor.workers, self._roster.workers()
        return [_with_memory(worker, used) for worker in workers] if used else workers

    def left_behind(self) -> list[LeftBehind]:
        """Return what goes on in workers though its task has ended, and where it is now. From any thread.

        Functions in threads that were abandoned at their timeout, and coroutines that ignored being cancelled. Nothing
        can stop them; one that comes to its end is left out.
        """
        return self._executors.left_behind() if self._started else []

    def expect(
        self, tasks: int | None, expected_s: Mapping[str, Mapping[str, float]] | None = None, stages: int = 1
    ) -> Callable[[int], None]:
        """Tell progress of so many tasks to come, beside those of streams; None if nobody can say.

        `expected_s` is what they will likely take in seconds, by key and name; each key is counted for `stages` tasks.
        Returns what may be called once with how many there were in the end.
        """
        return self._telling.expect(tasks, expected_s, stages)


def _with_memory(worker: WorkerStats, used: Mapping[int, WorkerUsage]) -> WorkerStats:
    """Return a worker with what was measured of its process, where it has one."""
    use = used.get(worker.pid) if worker.pid is not None else None
    return worker if use is None else replace(worker, memory_mb=use.memory_mb)
