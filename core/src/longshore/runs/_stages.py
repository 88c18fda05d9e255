"""Sums by stage, kept as events come in: what would be too slow to sum anew for each look at a run."""

from __future__ import annotations

from typing import Final

from longshore.runs._views import STATES, StageView

NAMES_MOST: Final = 200
"""Stages that are told apart; the tasks of later ones come under OTHERS."""
OTHERS: Final = "(others)"


class StageSum:
    """The tasks of one name on one executor."""

    __slots__ = ("completed_s", "counts", "cpu_s", "executor", "first", "last", "name", "retried", "run_s", "wait_s")

    def __init__(self, name: str, executor: str) -> None:
        """Begin with no task."""
        self.name = name
        self.executor = executor
        self.counts = dict.fromkeys(STATES, 0)
        self.retried = 0
        self.wait_s = self.run_s = self.cpu_s = self.completed_s = 0.0
        self.first: float | None = None
        self.last: float | None = None

    def ended(self, at: float, wait_s: float, run_s: float, cpu_s: float | None) -> None:
        """Add what a task took that ended at `at`, in seconds since 1970."""
        self.wait_s += wait_s
        self.run_s += run_s
        self.cpu_s += cpu_s or 0.0
        self.last = at if self.last is None else max(at, self.last)

    def began(self, at: float) -> None:
        """Take note that an attempt began at `at`."""
        self.first = at if self.first is None else min(at, self.first)

    def view(self, **ranked: float) -> StageView:
        """Return what views get; `ranked` are the quantiles, which are not known here."""
        done = self.counts["completed"]
        return StageView(
            name=self.name,
            executor=self.executor,
            retried=self.retried,
            wait_s=self.wait_s,
            run_s=self.run_s,
            cpu_s=self.cpu_s,
            first_started=self.first,
            last_ended=self.last,
            mean_s=self.completed_s / done if done else None,
            **self.counts,
            **ranked,  # type: ignore[arg-type]  # p50_s, p95_s, p99_s
        )


class StageSums:
    """All stages of a run, in the order in which they came; at most NAMES_MOST, and one for the others."""

    def __init__(self) -> None:
        """Begin with none."""
        self._stages: dict[tuple[str, str], StageSum] = {}

    def of(self, name: str, executor: str) -> StageSum:
        """Return the sum of a stage."""
        found = self._stages.get((name, executor))
        if found is None:
            if len(self._stages) >= NAMES_MOST:
                name, executor = OTHERS, ""
            found = self._stages.setdefault((name, executor), StageSum(name, executor))
        return found

    def all(self) -> list[StageSum]:
        """Return them all."""
        return list(self._stages.values())
