"""The executor `inline`: the function runs in the pool's own thread, one attempt per loop iteration. For debuggers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from types import CoroutineType

from msgspec.structs import replace

from longshore.hookspecs import CancelRequest, Capabilities, ExecutorHost, ResizeRequest, hookimpl
from longshore.records import WorkerStats, WorkerType
from longshore.task import Attempt
from longshore.worker import Seat, bind, call_in, cancelled, completed, failed, unawaited


class InlineExecutor:
    """Runs plain functions one at a time, blocking the loop while one runs; it can neither time out nor cancel them."""

    capabilities = Capabilities(
        worker_type=WorkerType.INLINE,
        runs=frozenset({"function"}),
        timeout="none",
        cancel_running=False,
        isolation=frozenset({"task", "shared"}),
        runs_ahead=False,
    )

    def __init__(self) -> None:
        """Make an executor that is not started."""
        self._backlog: deque[Attempt] = deque()
        self._scheduled = False
        self._stopping = False
        self._seat = Seat("inline-0", lambda update: self._host.progress((update,)))

    @hookimpl
    async def start(self, host: ExecutorHost) -> None:
        """Get ready."""
        self._host = host
        host.resized(1)

    @hookimpl
    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Queue the attempts; each runs in a loop iteration of its own."""
        self._backlog.extend(attempts)
        self._schedule()

    @hookimpl
    def cancel(self, request: CancelRequest) -> None:
        """Drop those that wait."""
        ids = set(request.task_ids)
        now = time.monotonic()
        dropped = [attempt for attempt in self._backlog if attempt.task_id in ids]
        for attempt in dropped:
            self._backlog.remove(attempt)
        if dropped:
            self._host.report([cancelled(attempt, now, now, None, request.message) for attempt in dropped])

    @hookimpl
    def resize(self, request: ResizeRequest) -> None:
        """Keep the one worker there is."""
        self._host.resized(1)

    @hookimpl
    def workers(self) -> Sequence[WorkerStats]:
        """Return the one worker."""
        return [self._seat.stats(WorkerType.INLINE, stopping=self._stopping)]

    @hookimpl
    def pids(self) -> Sequence[int]:
        """Return nothing: it is this process."""
        return ()

    @hookimpl
    async def stop(self, deadline: float) -> None:
        """Report what waits as cancelled."""
        self._stopping = True
        self.cancel(CancelRequest([attempt.task_id for attempt in self._backlog], "cancelled: the pool stopped"))
        self._seat.close()

    def _schedule(self) -> None:
        if self._backlog and not self._scheduled:
            self._scheduled = True
            self._host.loop.call_soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        if not self._backlog:
            return
        attempt, seat = self._backlog.popleft(), self._seat
        bind(seat)
        seat.started = started = time.monotonic()
        seat.attempt = attempt
        before_s = time.thread_time()
        try:
            seat.prepare(attempt.spec.initializer)
            context = attempt.context or attempt.spec.context
            if context:
                value = call_in(context, seat, attempt.spec.function, attempt.args, attempt.kwargs)
            else:
                value = attempt.spec.function(*attempt.args, **(attempt.kwargs or {}))
            if type(value) is CoroutineType:  # a value's own idea of its class is user code
                raise unawaited(attempt.spec.name, value)
        except BaseException as error:  # noqa: BLE001 - the user's code may raise anything, and it costs this task only
            outcome = failed(attempt, error, started, time.monotonic(), seat.worker_id)
            outcome = replace(outcome, cpu_s=time.thread_time() - before_s)
            seat.failed += 1
        else:
            cpu_s = time.thread_time() - before_s
            outcome = completed(attempt, value, started, time.monotonic(), seat.worker_id, cpu_s)
            seat.completed += 1
            seat.busy_s += outcome.ran_s
        seat.finish()
        seat.attempt = None
        self._host.report([outcome])
        self._schedule()
