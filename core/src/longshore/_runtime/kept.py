"""A task that may be asked for by its id: its handle, and when it was submitted and began. Made by the seam."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from longshore._calling import NamedCall
from longshore._carrying import plain
from longshore._runtime.driver import Driver
from longshore._runtime.handles import Handle
from longshore._runtime.results import ResultStore
from longshore._runtime.sizes import size_of
from longshore.errors import LongshoreError
from longshore.records import TaskRecord
from longshore.task import Attempt, Outcome, TaskState

_RECORD_BYTES = 2000  # what is held of a task beside its context and its result


class KeptTask(Handle[Any]):
    """A handle that the store of results holds; it tells the store of its end."""

    __slots__ = ("_ended_s", "_store", "_submitted_s", "attempt", "started_s", "submitted_at")

    def __init__(self, attempt: Attempt, driver: Driver, store: ResultStore[KeptTask]) -> None:
        """Stand for a task that is submitted now."""
        super().__init__(attempt.task_id, driver)
        self.attempt = attempt
        self.submitted_at = datetime.now(UTC)
        self.started_s: float | None = None
        """When an executor was first given it, in monotonic seconds."""
        self._store = store
        self._submitted_s = attempt.queued_at
        self._ended_s: float | None = None

    def _settle(self, outcome: Outcome | None, refusal: LongshoreError | None = None) -> None:
        super()._settle(outcome, refusal)
        now = self._ended_s = time.monotonic()
        if outcome is not None and outcome.attempts == 1 and self.started_s is not None:
            # Attempts are given out ahead: only what ended it knows when it began, if it did.
            began = outcome.worker is not None or outcome.ran_s > 0
            self.started_s = self._submitted_s + outcome.queued_s if began else None
        held_bytes = _RECORD_BYTES + size_of(self.attempt.args[0])
        if outcome is not None:
            held_bytes += size_of(outcome.value) + size_of(outcome.error)
        self._store.ended(self.task_id, now, held_bytes)

    def check_here(self) -> None:
        """Raise WrongPlace where its end can't be waited for: on another loop than the pool's."""
        self._driver.check_here()

    def record(self, worker_id: str | None) -> TaskRecord:
        """Return what is known of the task; `worker_id` runs it now."""
        spec, outcome, started_s = self.attempt.spec, self._outcome, self.started_s
        function = plain(spec.function)
        function = function.function if isinstance(function, NamedCall) else function
        return TaskRecord(
            task_id=self.task_id,
            processor_name=spec.name,
            context=self.attempt.args[0],
            processor_func=function,
            priority=spec.priority,
            timeout=spec.timeout_s,
            executor=spec.executor,
            state=self.state,
            submitted_at=self.submitted_at,
            started_at=self._stamp(started_s),
            completed_at=self._stamp(self._ended_s),
            attempts=self._begun(),
            result=outcome.value if outcome is not None else None,
            error=outcome.error if outcome is not None else None,
            worker_id=outcome.worker if outcome is not None else worker_id,
            wait_time=None if started_s is None else max(0.0, started_s - self._submitted_s),
            duration_s=outcome.ran_s if outcome is not None else None,
            cpu_s=outcome.cpu_s if outcome is not None else None,
            peak_memory_mb=outcome.peak_memory_mb if outcome is not None else None,
            resources=spec.resources,
            key=self.attempt.key,
            retry_of=spec.retry_of,
        )

    def _begun(self) -> int:
        """Return how many attempts have begun."""
        if self.started_s is None:
            return 0
        if self._outcome is not None:
            return self._outcome.attempts
        attempt = self._driver.engine.find(self.task_id)
        if attempt is None:
            return 0
        return attempt.number if self.state is TaskState.PROCESSING else attempt.number - 1

    def _stamp(self, moment_s: float | None) -> datetime | None:
        if moment_s is None:
            return None
        return self.submitted_at + timedelta(seconds=max(0.0, moment_s - self._submitted_s))
