"""The executors of the core keep what every executor does: `inline`, and the fake of `longshore.testing`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

import msgspec
import pytest
from longshore._runtime.inline import InlineExecutor
from longshore.hookspecs import CancelRequest, Capabilities, Executor, ExecutorHost, ResizeRequest, hookimpl
from longshore.task import Attempt
from longshore.testing import ExecutorConformance, ManualExecutor
from longshore.worker import Seat, bind, call_in

CAPABILITIES = Capabilities(worker_type="manual", runs=frozenset({"function"}), timeout="none", runs_ahead=False)


class SelfRunning(ManualExecutor):
    """A ManualExecutor with threads in the test's place: each runs what is held, and ends it as it ended."""

    def __init__(self, capabilities: Capabilities = CAPABILITIES) -> None:
        super().__init__(capabilities=capabilities)
        self._next: SimpleQueue[Attempt | None] = SimpleQueue()
        self._seats: list[Seat] = []
        self._abandoned: set[Seat] = set()

    @hookimpl
    async def start(self, host: ExecutorHost) -> None:
        self._progress = host.progress
        self._have(host.workers)
        await super().start(host)

    @hookimpl
    def submit(self, attempts: Sequence[Attempt]) -> None:
        super().submit(attempts)
        for attempt in attempts:
            self._next.put(attempt)

    @hookimpl
    def cancel(self, request: CancelRequest) -> None:
        for number, seat in enumerate(self._seats):
            if seat.attempt is not None and seat.attempt.task_id in request.task_ids:
                self._abandoned.add(seat)
                self._seats[number] = self._begin(seat.worker_id)
        super().cancel(request)

    @hookimpl
    def resize(self, request: ResizeRequest) -> None:
        self._have(request.workers)
        super().resize(request)

    @hookimpl
    async def stop(self, deadline: float) -> None:
        await super().stop(deadline)
        self._have(0)

    def _have(self, workers: int) -> None:
        while len(self._seats) < workers:
            self._seats.append(self._begin(f"manual-{len(self._seats)}"))
        while len(self._seats) > workers:
            self._seats.pop()
            self._next.put(None)

    def _begin(self, worker_id: str) -> Seat:
        seat = Seat(worker_id, lambda update: self._progress((update,)))
        threading.Thread(target=self._work, args=(seat,), daemon=True).start()
        return seat

    def _work(self, seat: Seat) -> None:
        bind(seat)
        while seat not in self._abandoned and (attempt := self._next.get()) is not None:
            if attempt.task_id in self.holding:
                with suppress(LookupError):  # it was cancelled meanwhile
                    self._run(seat, attempt)

    def _run(self, seat: Seat, attempt: Attempt) -> None:
        seat.started, seat.attempt = time.monotonic(), attempt
        spec, context = attempt.spec, attempt.context or attempt.spec.context
        try:
            seat.prepare(spec.initializer)
            if context is not None:
                value = call_in(context, seat, spec.function, attempt.args, attempt.kwargs)
            else:
                value = spec.function(*attempt.args, **(attempt.kwargs or {}))
        except BaseException as error:
            seat.finish()
            self.fail(attempt.task_id, error, seat.worker_id)
        else:
            seat.finish()
            self.finish(attempt.task_id, value, seat.worker_id)
        finally:
            seat.attempt = None


class Finishing(SelfRunning):
    """Runs to its end what it holds when it is stopped; nobody can cancel it."""

    def __init__(self) -> None:
        super().__init__(msgspec.structs.replace(CAPABILITIES, cancel_running=False))

    @hookimpl
    async def stop(self, deadline: float) -> None:
        while self.holding:
            await asyncio.sleep(0.001)
        await super().stop(deadline)


def test_what_had_ended_when_it_was_stopped_is_not_cancelled(tmp_path: Path) -> None:
    """The suite bears with short tasks that have ended by then, where it can't hold them up."""
    ExecutorConformance().test_stop_reports_what_it_holds_as_cancelled(Finishing, tmp_path)


class TestInlineExecutor(ExecutorConformance):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return InlineExecutor


class TestManualExecutor(ExecutorConformance):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return SelfRunning
