"""What meddles between an executor of threads and the pool, for executors that break a promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from longshore.events import ProgressUpdate
from longshore.hookspecs import ExecutorHost, hookimpl
from longshore.task import Attempt, Outcome
from longshore_threads import ThreadsExecutor
from msgspec.structs import replace

THREADS: Final = ThreadsExecutor.capabilities


class Between:
    """The pool as an executor sees it, less what the executor itself does with what it tells."""

    def __init__(self, host: ExecutorHost, executor: Meddling) -> None:
        self._host, self._executor = host, executor
        self.loop, self.workers = host.loop, host.workers
        self.notice, self.failed = host.notice, host.failed

    def report(self, outcomes: Sequence[Outcome]) -> None:
        told = self._executor.reported(outcomes)
        if told:
            self._host.report(told)

    def progress(self, updates: Sequence[ProgressUpdate]) -> None:
        told = self._executor.said(updates)
        if told:
            self._host.progress(told)

    def resized(self, workers: int) -> None:
        self._host.resized(self._executor.counted(workers))


class Meddling(ThreadsExecutor):
    """Threads that may give attempts and tell outcomes otherwise than they are."""

    host: ExecutorHost

    @hookimpl
    async def start(self, host: ExecutorHost) -> None:
        self.host = host
        await super().start(Between(host, self))

    @hookimpl
    def submit(self, attempts: Sequence[Attempt]) -> None:
        super().submit([self.given(attempt) for attempt in attempts])

    def given(self, attempt: Attempt) -> Attempt:
        return attempt

    def reported(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        return [told for told in map(self.told, outcomes) if told is not None]

    def told(self, outcome: Outcome) -> Outcome | None:
        return outcome

    def said(self, updates: Sequence[ProgressUpdate]) -> Sequence[ProgressUpdate]:
        return updates

    def counted(self, workers: int) -> int:
        return workers


def claiming(wrong: str, **claims: Any) -> type[ThreadsExecutor]:
    """Return threads that claim to be able to do more than they are."""
    made = {"__doc__": wrong, "capabilities": replace(THREADS, **claims)}
    return type("Claiming", (ThreadsExecutor,), made)


def telling(wrong: str, change: Callable[[Outcome], Outcome | None]) -> type[Meddling]:
    """Return threads that tell outcomes as `change` makes them; None tells nothing."""
    return type("Telling", (Meddling,), {"__doc__": wrong, "told": lambda self, outcome: change(outcome)})


def giving(wrong: str, change: Callable[[Attempt], Attempt]) -> type[Meddling]:
    """Return threads that run attempts as `change` makes them."""
    return type("Giving", (Meddling,), {"__doc__": wrong, "given": lambda self, attempt: change(attempt)})
