"""A small pool's end of the contract, to drive the executor on a real loop, with a deadline on every wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from longshore.events import ProgressUpdate
from longshore.hookspecs import CancelRequest, LimitRequest, ResizeRequest, WorkerNotice
from longshore.task import Attempt, Outcome, TaskSpec
from longshore.worker import AttemptColumns
from longshore_processes import ProcessesExecutor
from longshore_processes.executor import ProcessesSettings

WAIT_S = 15.0


class Host:
    """Collects what the executor tells; a second report for one task is an error."""

    def __init__(self, loop: asyncio.AbstractEventLoop, workers: int) -> None:
        self.loop = loop
        self.workers = workers
        self.outcomes: dict[str, Outcome] = {}
        self.twice: list[str] = []
        self.updates: list[ProgressUpdate] = []
        self.notices: list[WorkerNotice] = []
        self.sizes: list[int] = []
        self.errors: list[BaseException] = []
        self.changed = threading.Condition()

    def report(self, outcomes: Sequence[Outcome]) -> None:
        with self.changed:
            self.twice += [outcome.task_id for outcome in outcomes if outcome.task_id in self.outcomes]
            self.outcomes.update({outcome.task_id: outcome for outcome in outcomes})
            self.changed.notify_all()

    def progress(self, updates: Sequence[ProgressUpdate]) -> None:
        self._add(self.updates, updates)

    def notice(self, notices: Sequence[WorkerNotice]) -> None:
        self._add(self.notices, notices)

    def resized(self, workers: int) -> None:
        self._add(self.sizes, [workers])

    def failed(self, error: BaseException) -> None:
        self._add(self.errors, [error])

    def _add(self, to: list[Any], items: Sequence[Any]) -> None:
        with self.changed:
            to.extend(items)
            self.changed.notify_all()


class Yard:
    """One started executor and its host."""

    def __init__(self, runner: asyncio.Runner, workers: int, settings: ProcessesSettings | None = None) -> None:
        self._runner = runner
        self._ids = count()
        self.host = Host(runner.get_loop(), workers)
        self.executor = ProcessesExecutor(settings)
        runner.run(self.executor.start(self.host))

    def submit(
        self, function: Callable[..., Any], items: Sequence[Any], *, kwargs: Any = None, number: int = 1, **spec: Any
    ) -> list[str]:
        """Submit one task per item, as one slice; an item is the one argument. Several are columns, if they can be."""
        made = TaskSpec(function=function, name=getattr(function, "__name__", "x"), executor="processes", **spec)
        ids = [f"t{next(self._ids)}" for _ in items]
        now = monotonic()
        if len(ids) > 1 and kwargs is None and number == 1:
            self.executor.submit(AttemptColumns(made, ids, [(item,) for item in items], 0, now))
            return ids
        self.executor.submit(
            [
                Attempt(task_id, made, (item,), kwargs, number=number, queued_at=now)
                for task_id, item in zip(ids, items, strict=True)
            ]
        )
        return ids

    def submit_attempts(self, attempts: list[Attempt]) -> None:
        self.executor.submit(attempts)

    def wait(self, ids: Sequence[str], wait_s: float = WAIT_S) -> list[Outcome]:
        """Return the outcomes of these tasks, in this order."""
        host = self.host
        self.until(lambda: all(task_id in host.outcomes for task_id in ids), wait_s, f"outcomes of {len(ids)} tasks")
        assert not host.twice, f"reported twice: {host.twice}"
        return [host.outcomes[task_id] for task_id in ids]

    def run(self, function: Callable[..., Any], items: Sequence[Any], **spec: Any) -> list[Outcome]:
        return self.wait(self.submit(function, items, **spec))

    def until(self, condition: Callable[[], object], wait_s: float = WAIT_S, what: str = "the condition") -> None:
        """Wait for something the host is told of."""
        with self.host.changed:
            assert self.host.changed.wait_for(condition, wait_s), f"no {what} within {wait_s} s: {self.host.outcomes}"

    def cancel(self, ids: Sequence[str]) -> None:
        self.executor.cancel(CancelRequest(ids, "not wanted"))

    def resize(self, workers: int) -> None:
        self.executor.resize(ResizeRequest(workers))

    def limit(self, workers: int | None) -> None:
        self.executor.limit(LimitRequest(workers))

    def stop(self, within_s: float = 5.0) -> None:
        self._runner.run(self.executor.stop(monotonic() + within_s))


@contextmanager
def opened(workers: int, settings: ProcessesSettings | None = None) -> Iterator[Yard]:
    with asyncio.Runner() as runner:
        yard = Yard(runner, workers, settings)
        try:
            yield yard
        finally:
            yard.stop()


@pytest.fixture
def yard() -> Iterator[Yard]:
    """Two workers."""
    with opened(2) as made:
        yield made


@pytest.fixture
def lone_yard() -> Iterator[Yard]:
    """One worker."""
    with opened(1) as made:
        yield made


@pytest.fixture
def open_yard() -> Callable[..., Any]:
    """Return `opened(workers, settings)`, for tests that need another shape."""
    return opened


def poll(condition: Callable[[], object], wait_s: float = WAIT_S) -> bool:
    """Wait for something nobody tells of, such as a process that ends."""
    ticker = threading.Event()
    until = monotonic() + wait_s
    while not condition():
        if monotonic() > until:
            return False
        ticker.wait(0.005)
    return True


@pytest.fixture
def eventually() -> Callable[..., bool]:
    """Return `poll(condition, wait_s)`."""
    return poll


def tokened(token: str) -> list[int]:
    """Return the live processes that were started with this token in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if token.encode() in (folder / "environ").read_bytes() and " Z " not in (folder / "stat").read_text():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


@pytest.fixture
def find_tokened() -> Callable[[str], list[int]]:
    """Return `tokened(token)`."""
    return tokened
