"""Sums by stage and by worker, kept as events come in: they would be too slow to make anew for each look at a run."""

from __future__ import annotations

from typing import Final

from longshore.runs._views import STATES, StageView, WorkerView

NAMES_MOST: Final = 200
"""Stages that are told apart; the tasks of later ones come under OTHERS."""
OTHERS: Final = "(others)"
WORKERS_MOST: Final = 1000
"""Workers that are told apart; what later ones did comes under OTHERS."""


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


class WorkerSum:
    """What one worker did."""

    __slots__ = ("busy_s", "cpu_s", "executor", "failed", "first", "last", "peak_memory_mb", "tasks", "worker")

    def __init__(self, worker: str, executor: str) -> None:
        """Begin with nothing done."""
        self.worker = worker
        self.executor = executor
        self.tasks = self.failed = 0
        self.busy_s = self.cpu_s = 0.0
        self.peak_memory_mb: float | None = None
        self.first: float | None = None
        self.last: float | None = None

    def ended(self, at: float, run_s: float, cpu_s: float | None, peak_memory_mb: float | None, bad: bool) -> None:
        """Add a task that ended at `at`, in seconds since 1970."""
        self.tasks += 1
        self.failed += bad
        self.busy_s += run_s
        self.cpu_s += cpu_s or 0.0
        began = at - run_s
        self.first = began if self.first is None else min(began, self.first)
        self.last = at if self.last is None else max(at, self.last)
        if peak_memory_mb is not None:
            self.peak_memory_mb = max(peak_memory_mb, self.peak_memory_mb or 0.0)


class StageSums:
    """All stages of a run, in the order in which they came, and its workers; at most so many, and one for others."""

    def __init__(self) -> None:
        """Begin with none."""
        self._stages: dict[tuple[str, str], StageSum] = {}
        self._workers: dict[str, WorkerSum] = {}

    def worker(self, worker: str, executor: str) -> WorkerSum:
        """Return the sum of a worker."""
        found = self._workers.get(worker)
        if found is None:
            if len(self._workers) >= WORKERS_MOST:
                worker, executor = OTHERS, ""
            found = self._workers.setdefault(worker, WorkerSum(worker, executor))
        return found

    def workers(self) -> list[WorkerView]:
        """Return what each worker did, by executor and name; from any thread."""
        there = [*self._workers.values()]  # in one go: another may come meanwhile
        there.sort(key=lambda one: (one.executor, one.worker))
        return [WorkerView(**{name: getattr(one, name) for name in WorkerSum.__slots__}) for one in there]

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
