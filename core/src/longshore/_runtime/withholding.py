"""Attempts that are recorded as begun first, and reach their executor once that lasts: what may not run twice, and
each that is not its task's first, so that no number is given out again by a run that goes on.

Used by the driver, where there is a journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from longshore._columns import in_columns
from longshore._engine.messages import CancelAttempts, Start
from longshore._outcomes import cancelled
from longshore._runtime.recording import Recorder
from longshore.hookspecs import Executor
from longshore.task import Attempt, Outcome


class Withheld:
    """What waits for its record, and goes to one of `executors` then; `report` takes those cancelled meanwhile."""

    def __init__(
        self,
        recorder: Recorder,
        executors: Mapping[str, Executor],
        report: Callable[[str, Sequence[Outcome]], None],
    ) -> None:
        """Hold nothing yet."""
        self._recorder = recorder
        self._executors = executors
        self._report = report
        self._held: dict[str, str | None] = {}  # by task; why it was cancelled, None where it was not

    def admit(self, start: Start, attempts: Sequence[Attempt]) -> Sequence[Attempt]:
        """Return those that may begin at once; the others follow as soon as their record lasts."""
        if in_columns(attempts):
            held: Sequence[Attempt] = attempts if attempts.spec.on_crash == "unknown" else ()
        else:
            held = [attempt for attempt in attempts if attempt.number > 1 or attempt.spec.on_crash == "unknown"]
        if not held:
            return attempts
        self._held.update(dict.fromkeys([attempt.task_id for attempt in held]))
        self._recorder.begin(held, lambda: self._release(start.executor, held))
        return [attempt for attempt in attempts if attempt.task_id not in self._held]

    def cancel(self, command: CancelAttempts) -> Sequence[str]:
        """Have those of these tasks that are held end unrun; return the others."""
        if not self._held:
            return command.task_ids
        for task_id in command.task_ids:
            if task_id in self._held:
                self._held[task_id] = command.message
        return [task_id for task_id in command.task_ids if task_id not in self._held]

    def _release(self, executor: str, attempts: Sequence[Attempt]) -> None:
        reasons = [(attempt, self._held.pop(attempt.task_id, None)) for attempt in attempts]
        now = time.monotonic()
        ended = [cancelled(attempt, now, now, None, reason) for attempt, reason in reasons if reason is not None]
        if ended:
            self._report(executor, ended)
        going = [attempt for attempt, reason in reasons if reason is None]
        if going:
            self._executors[executor].submit(going)
