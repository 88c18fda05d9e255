"""An executor that runs nothing: the test says how and when each attempt ends."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Condition
from typing import Any

from longshore import worker
from longshore.errors import WorkerDied
from longshore.hookspecs import CancelRequest, Capabilities, ExecutorHost, ResizeRequest, hookimpl
from longshore.records import WorkerStats, WorkerStatus
from longshore.task import Attempt, Outcome

_CAPABILITIES = Capabilities(
    worker_type="manual", runs=frozenset({"coroutine", "function"}), timeout="kill", runs_ahead=False
)


class ManualExecutor:
    """Holds each attempt until the test ends it by `finish`, `fail`, `die` or `expire`, or somebody cancels it.

    It keeps the contract of `longshore.hookspecs.Executor`: each attempt is reported exactly once. It enforces no
    timeout by itself, and calls no user function. The methods of the test may be called from any thread.
    """

    api = 1

    def __init__(
        self, *, capabilities: Capabilities = _CAPABILITIES, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Hold nothing; with `monotonic=clock.monotonic` of a FakeClock, durations are the test's as well."""
        self._capabilities = capabilities
        self._monotonic = monotonic
        self._changed = Condition()
        self._held: dict[str, tuple[Attempt, float]] = {}
        self._host: ExecutorHost | None = None
        self._workers = 0
        self._ended: Counter[tuple[str | None, bool]] = Counter()
        self.submitted: list[Attempt] = []
        """Every attempt it was ever given, in order."""
        self.cancelled: list[CancelRequest] = []
        """What it was asked to cancel, in order."""

    # ---- the contract

    @property
    def capabilities(self) -> Capabilities:
        """What it was made with."""
        return self._capabilities

    @hookimpl
    async def start(self, host: ExecutorHost) -> None:
        """Get ready."""
        self._host = host
        self._workers = host.workers
        host.resized(self._workers)

    @hookimpl
    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Hold the attempts."""
        now = self._monotonic()
        with self._changed:
            for attempt in attempts:
                self._held[attempt.task_id] = (attempt, now)
            self.submitted.extend(attempts)
            self._changed.notify_all()

    @hookimpl
    def cancel(self, request: CancelRequest) -> None:
        """Report what is held of these tasks as cancelled."""
        self.cancelled.append(request)
        for task_id in request.task_ids:
            held = self._take(task_id)
            if held is not None:
                self._report(worker.cancelled(*held, self._monotonic(), "manual-0", request.message))

    @hookimpl
    def resize(self, request: ResizeRequest) -> None:
        """Have another number of workers."""
        self._workers = request.workers
        self._its_host().resized(request.workers)

    @hookimpl
    def workers(self) -> Sequence[WorkerStats]:
        """Return one worker for each attempt held, as far as there are workers, and idle ones for the rest."""
        with self._changed:
            running, ended = list(self._held)[: self._workers], Counter(self._ended)
        tasks: list[str | None] = [*running, *[None] * (self._workers - len(running))]
        return [
            WorkerStats(
                worker_id=f"manual-{index}",
                worker_type=self._capabilities.worker_type,
                status=WorkerStatus.IDLE if task_id is None else WorkerStatus.BUSY,
                tasks_completed=ended[f"manual-{index}", True],
                tasks_failed=ended[f"manual-{index}", False],
                current_task=task_id,
            )
            for index, task_id in enumerate(tasks)
        ]

    @hookimpl
    def pids(self) -> Sequence[int]:
        """Return none: it has no processes."""
        return ()

    @hookimpl
    async def stop(self, deadline: float) -> None:
        """Report what is still held as cancelled."""
        self.cancel(CancelRequest(self.holding, "cancelled: the executor stopped"))

    # ---- the test's side

    @property
    def holding(self) -> Sequence[str]:
        """The ids of the tasks whose attempts are held, oldest first."""
        with self._changed:
            return list(self._held)

    def wait_holding(self, count: int, timeout_s: float) -> Sequence[str]:
        """Return the held task ids once there are `count`; raise TimeoutError after `timeout_s`.

        It blocks: call it from another thread than the pool's loop.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._held) >= count, timeout_s):
                raise TimeoutError(f"{len(self._held)} attempts are held after {timeout_s:g} s, not {count}")
            return list(self._held)

    def finish(self, task_id: str, value: Any = None, by: str = "manual-0") -> None:  # Any: a user's result
        """End the held attempt of this task with a value, as if the worker `by` had run it."""
        attempt, started = self._taken(task_id)
        self._report(worker.completed(attempt, value, started, self._monotonic(), by))

    def fail(self, task_id: str, error: BaseException, by: str = "manual-0") -> None:
        """End it as if the user's function had raised `error`."""
        self._report(worker.failed(*self._at_end(task_id, error, by)))

    def die(self, task_id: str, signal: int = 9) -> None:
        """End it as if its worker had been killed by `signal`."""
        error = WorkerDied(
            f"the worker died of signal {signal} while it ran task {task_id}", reason=f"signal {signal}", signal=signal
        )
        self._report(worker.failed(*self._at_end(task_id, error)))

    def expire(self, task_id: str) -> None:
        """End it as if it had passed its time limit."""
        attempt, started = self._taken(task_id)
        self._report(worker.timed_out(attempt, started, self._monotonic(), "manual-0"))

    # ---- inside

    def _at_end(
        self, task_id: str, error: BaseException, by: str = "manual-0"
    ) -> tuple[Attempt, BaseException, float, float, str]:
        attempt, started = self._taken(task_id)
        return attempt, error, started, self._monotonic(), by

    def _take(self, task_id: str) -> tuple[Attempt, float] | None:
        with self._changed:
            return self._held.pop(task_id, None)

    def _taken(self, task_id: str) -> tuple[Attempt, float]:
        held = self._take(task_id)
        if held is None:
            raise LookupError(f"no attempt of task {task_id} is held; held are {list(self.holding)}")
        return held

    def _report(self, outcome: Outcome) -> None:
        with self._changed:
            self._ended[outcome.worker, outcome.ok] += 1
        self._its_host().report([outcome])

    def _its_host(self) -> ExecutorHost:
        if self._host is None:
            raise RuntimeError("the ManualExecutor was not started")
        return self._host


__all__ = ["ManualExecutor"]
