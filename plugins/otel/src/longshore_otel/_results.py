"""How a task ended, in the words that OpenTelemetry has for the runs of pipelines (`cicd.pipeline.task.run.result`)."""

from __future__ import annotations

from typing import Any

from longshore import errors

_RESULTS = {
    "completed": "success",
    "failed": "failure",
    "timed_out": "timeout",
    "cancelled": "cancellation",
    "skipped": "skip",
}
_OURS = {
    f"{kind.__module__}.{kind.__qualname__}"
    for kind in (errors.WorkerDied, errors.WorkerNotReady, errors.MemoryLimitExceeded, errors.PoisonTask)
}
"""What is no fault that the task's own code raised."""
ENDS = frozenset({"task_completed", "task_failed", "task_cancelled"})
"""The events of which each task has one; what is measured needs no others."""
OF_SPANS = ENDS | {"task_submitted", "task_started", "task_retried", "worker_error", "worker_pool_stopped"}
"""The events that spans are made of."""
GOOD = frozenset({"success", "skip", "cancellation"})
"""Results that are no errors."""


def result_of(data: dict[str, Any]) -> str:  # Any: the data of an event
    """Return "success", "failure", "timeout", "cancellation", or "error" where it was the worker that failed."""
    died = data.get("exit_code") is not None or data.get("signal") is not None or data.get("error") in _OURS
    result = _RESULTS.get(str(data.get("state")), "error")
    return "error" if result == "failure" and died else result


def error_type(data: dict[str, Any], result: str) -> str | None:  # Any: as above
    """Return what went wrong, None where nothing did."""
    return None if result in GOOD else str(data.get("error") or result)
