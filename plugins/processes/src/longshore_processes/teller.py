"""What the pool is told: outcomes, progress and notices, each kind in batches.

Used by whoever holds the baton (`handover.py`).
"""

from __future__ import annotations

from time import monotonic

from longshore.events import ProgressUpdate
from longshore.hookspecs import ExecutorHost, WorkerNotice
from longshore.worker import Reports

from longshore_processes.gathering import Gathering


class Teller:
    """Holds what is to be told, and tells it."""

    __slots__ = ("_gathering", "_host", "cancels", "notices", "reports", "updates")

    def __init__(self, host: ExecutorHost) -> None:
        """Have nothing to tell `host`."""
        self._host = host
        self._gathering = Gathering()
        self.reports = Reports()
        self.updates: list[ProgressUpdate] = []
        self.notices: list[WorkerNotice] = []
        self.cancels: dict[str, str] = {}
        """Tasks that are to be reported as cancelled when they come back, and with which message."""

    @property
    def until(self) -> float | None:
        """When what is held back is told at the latest; None while nothing is."""
        return self._gathering.until

    def tell(self, *, more: bool) -> None:
        """Pass on what there is, each kind in one batch; outcomes may wait for others, where `more` are coming."""
        if self.updates:
            updates, self.updates = self.updates, []
            self._host.progress(updates)
        more = more and not self.notices  # what is told of a worker comes after what it ran
        if self.reports and not self._gathering.goes_on(len(self.reports), monotonic(), more=more):
            if self.cancels:
                for outcome in self.reports:
                    self.cancels.pop(outcome.task_id, None)
            for part in self.reports.take():
                self._host.report(part)
        if self.notices:
            notices = self.notices[:]
            self.notices.clear()  # the crew adds to the same list
            self._host.notice(notices)
