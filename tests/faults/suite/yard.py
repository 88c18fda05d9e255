"""A pool under trial: whatever runs in it is in the books, and its end compares books, events and outcomes."""

from __future__ import annotations

import inspect
import json
import os
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from longshore import Outcome, ResourceLimits, RetryPolicy, Settings, WorkerConfig, WorkerPool
from longshore.hookspecs import Sink
from suite import audit, leaks
from suite.trial import Trial

ENDS = ("task_completed", "task_failed", "task_cancelled")
UNHARMED: Callable[[Any], Any] = lambda item: item  # noqa: E731 - tasks give back what they are given


def retry(attempts: int, *kinds: type[BaseException], poison_after: int | None = None) -> RetryPolicy:
    """Return a policy that tries again at once; no task counts as poison that says nothing of it."""
    more: dict[str, Any] = {"retry_on": kinds} if kinds else {}
    return RetryPolicy(attempts=attempts, backoff=0.0, jitter=0.0, poison_after=poison_after or attempts + 1, **more)


class Yard:
    """One pool, with an audit file and a file of events."""

    def __init__(self, trial: Trial, pool: WorkerPool, path: Path, method: str) -> None:
        """Try `pool`, whose processes are started by `method`; files are named after `path`."""
        self.method = method
        self.trial, self.pool = trial, pool
        self.audit_path, self.events_path = path.with_suffix(".audit"), path.with_suffix(".jsonl")
        self.arrivals: dict[str, float] = {}
        self.outcomes: dict[str, Outcome] = {}

    def booked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with what it needs to be in the books."""
        pen = audit.audited_async if inspect.iscoroutinefunction(function) else audit.audited
        return partial(pen, function, str(self.audit_path))

    async def run(
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        *,
        bad: Collection[int] = (),
        expected: Callable[[Any], Any] = UNHARMED,
        executor: str = "processes",
        **options: Any,
    ) -> list[Outcome]:
        """Run a task per item; those whose index is not in `bad` are to give what `expected` says. In input order."""
        on = self.pool.options(executor=executor, name=getattr(function, "__name__", "task"), **options)
        found: dict[int, Outcome] = {}
        async with on.outcomes(self.booked(function), items) as stream:
            async for outcome in stream:
                self.arrivals[outcome.task_id] = monotonic()
                self.trial.add("recorded_twice", outcome.index in found)
                found[outcome.index] = self.outcomes[outcome.task_id] = outcome
        self.trial.add("tasks", len(items))
        self.trial.add("lost", len(items) - len(found))
        for index, outcome in sorted(found.items()):
            if index not in bad and not (outcome.ok and _same(outcome.value, expected(items[index]))):
                self.trial.add("bystanders")
                said = outcome.error.message if outcome.error else f"gave {str(outcome.value)[:60]!r}"
                self.trial.notes.append(f"harmed: item {index} {outcome.state.value}: {said}")
        return [outcome for _, outcome in sorted(found.items())]

    def workers(self) -> list[int]:
        """Return the pids of the worker processes, as the system knows them."""
        return leaks.workers(os.getpid())

    def lines(self) -> list[audit.Line]:
        """Return the books."""
        return audit.read(self.audit_path)

    def times(self, bad: Sequence[Outcome]) -> None:
        """Take the times from each fault to its outcome, and to the first task of a worker that was not there.

        A fresh interpreter takes its own time to start: that is a figure by itself.
        """
        begun = audit.starts(self.lines())
        for outcome in bad:
            own = [line.at for line in begun if line.task_id == outcome.task_id]
            if not own:
                continue
            self.trial.worst("detect_s", self.arrivals[outcome.task_id] - own[-1])
            known = {line.pid for line in begun if line.at <= own[-1]}
            later = [line.at for line in begun if line.at > own[-1] and line.pid not in known]
            if later:
                self.trial.worst(
                    "interpreter_back_s" if self.method == "interpreter" else "recover_s", min(later) - own[-1]
                )

    def check(self) -> None:
        """Compare books, events and outcomes, once the pool has stopped."""
        lines, told = self.lines(), _events(self.events_path)
        self.trial.add("run_again", audit.run_again(lines))
        by_task: dict[str, list[str]] = defaultdict(list)
        for event in told:
            if event["type"].startswith("task_") and event["type"] != "task_progress":
                by_task[event["task_id"]].append(event["type"])
        for task_id, types in by_task.items():
            ends = [kind for kind in types if kind in ENDS]
            self.trial.add("recorded_twice", max(0, len(ends) - 1))
            legal = types[0] == "task_submitted" and len(ends) == 1 and types[-1] in ENDS
            self.trial.expect(legal, f"the events of task {task_id} are {types}")
        strange = {line.task_id for line in lines} - set(by_task)
        self.trial.expect(not strange, f"{len(strange)} tasks ran that no event knows")
        executed = Counter(line.task_id for line in audit.starts(lines))
        for task_id, outcome in self.outcomes.items():
            fits = not outcome.ok or executed[task_id] >= 1
            self.trial.expect(fits, f"task {task_id} completed and never ran")

    def retried(self) -> int:
        """Return how many retries the events tell of."""
        return sum(event["type"] == "task_retried" for event in _events(self.events_path))


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def told_events(yard: Yard) -> list[dict[str, Any]]:  # Any: JSON-safe values
    """Return what the file of events has of a yard whose pool has stopped."""
    return _events(yard.events_path)


def _events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@asynccontextmanager
async def open_yard(
    trial: Trial,
    method: str = "auto",
    workers: int = 2,
    processes: dict[str, Any] | None = None,
    probes: Sequence[str] = (),
    limits: dict[str, float] | None = None,
    sinks: dict[str, Any] | None = None,
    also: Sequence[Sink] = (),
    **config: Any,
) -> AsyncIterator[Yard]:
    """Open a pool whose processes are started by `method`, and judge it when it has stopped.

    `processes` are more settings of that executor, `config` those of the workers.
    With `probes` it measures, against `limits`. `sinks` are told beside the one whose events are judged, and so are
    those that are made already.
    """
    trial.pools += 1
    path = trial.folder / f"pool-{trial.pools}"
    settings = Settings(
        probes=tuple(probes),
        limits=ResourceLimits(**(limits or {})),
        sinks={"jsonl": {"path": str(path.with_suffix(".jsonl"))}, **(sinks or {})},
        executors={"processes": {"start_method": method, **(processes or {})}},
        workers=WorkerConfig(process_workers=workers, **config),
    )
    async with WorkerPool(settings=settings, sinks=also) as pool:
        yard = Yard(trial, pool, path, method)
        yield yard
    yard.check()


class Driver(threading.Thread):
    """Does something to the pool from outside, again and again, until it is told to stop."""

    def __init__(self, act: Callable[[], None], wait_s: Callable[[], float]) -> None:
        """Call `act` after each wait."""
        super().__init__(name="fault-driver", daemon=True)
        self._act, self._wait_s = act, wait_s
        self._over = threading.Event()

    def run(self) -> None:
        """Go on until stopped."""
        while not self._over.wait(self._wait_s()):
            self._act()

    def __enter__(self) -> Driver:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop and join."""
        self._over.set()
        self.join()
