"""The workers there are: hired up to a target, let go, and buried when they end.

Used by whoever holds the baton (`handover.py`), save for `handles`, which statistics read from any thread.
"""

from __future__ import annotations

import logging
import os
import pickle
import selectors
import signal
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final, NamedTuple

from longshore.errors import WorkerDied
from longshore.hookspecs import WorkerNotice
from longshore.records import WorkerStats, WorkerStatus, WorkerType
from longshore.task import Outcome
from longshore.worker import OutcomeColumns

from longshore_processes import frames
from longshore_processes.autopsy import doom_by_kernel
from longshore_processes.cgroups import Facts
from longshore_processes.handle import Handle, worker_id
from longshore_processes.logs import levels
from longshore_processes.output import Output
from longshore_processes.recycling import Recycling
from longshore_processes.relay import Lines, LogRelay
from longshore_processes.spawner import Exited, Lost, News, Refused, Spawner, Spawning, Started, make_spawner
from longshore_processes.timing import Patience

_READ: Final = 1 << 16
_BUDGET_S: Final = 60.0
_BUDGET_BASE: Final = 10
_BUDGET_PER_WORKER: Final = 3
_BACKOFF_S: Final = 0.02
_BACKOFF_MAX_S: Final = 0.1
_BACKOFF_IN_PART_S: Final = 5.0  # while other workers do the work
_RELAY_S: Final = 0.5  # for log lines at the end, at least


class Ear(NamedTuple):
    """Who is called for a descriptor; what workers print is heard before what they say came of it."""

    call: Callable[[int], None]
    early: bool = False


class Terms(NamedTuple):
    """On which terms there are workers."""

    spawning: Spawning
    recycling: Recycling
    patience: Patience


class Crew:
    """Hires, watches and buries workers; what they say and how they end is told by the three callbacks."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        *,
        target: int,
        terms: Terms,
        post: Callable[[News], None],
        on_frames: Callable[[Handle], None],
        on_end: Callable[[Handle], None],
        on_notice: Callable[[WorkerNotice], None],
    ) -> None:
        """Have nobody yet."""
        self.handles: dict[int, Handle] = {}
        self.by_sock: dict[int, Handle] = {}
        """The same, by the descriptor of their sockets."""
        self.target = target
        self.limit: int | None = None
        """So many may have something to do at once, None: all."""
        self.relay = LogRelay()
        self.recycling = terms.recycling
        self._patience = terms.patience
        self.outputs: dict[int, Output] = {}
        self._selector = selector
        self._spawning = terms.spawning
        self._post = post
        self._on_frames = on_frames
        self._on_end = on_end
        self._on_notice = on_notice
        self._spawner: Spawner | None = None
        self._count = 0
        self._failures: deque[float] = deque()
        self._reason = ""
        self._works_from = 0  # a worker of this number or a later one was started since starting failed
        self.next_hire_at = 0.0
        self.limited = False
        """Whether tasks with a limit of memory have come; only then workers are made ready for any."""
        self._lines: dict[int, Lines] = {}

    def staff(self) -> int:
        """Return how many workers are here to stay."""
        return sum(1 for handle in self.handles.values() if not (handle.retiring or handle.gone or handle.doomed))

    def is_full(self) -> bool:
        """Tell whether no other may be given something to do."""
        return self.limit is not None and sum(handle.counts() for handle in self.handles.values()) >= self.limit

    def stats(self, places: int) -> list[WorkerStats]:
        """Return what each worker is doing, then idle ones yet to be started, up to `places`; from any thread.

        One that is to take the place of a spent one is not told of before that has gone.
        """
        handles = list(self.handles.values())
        here = sum(not handle.gone and (not handle.retiring or handle.counts()) for handle in handles)
        waiting = [handle for handle in handles if not (handle.held or handle.retiring or handle.gone)]
        too_many = max(0, here - (places or self.target)) if self.recycling.on else 0
        hidden = waiting[max(0, len(waiting) - too_many) :] if too_many else []
        rows = [handle.stats() for handle in handles if handle not in hidden]
        missing = places - here
        for number in range(self._count, self._count + missing):
            rows.append(
                WorkerStats(
                    worker_id=worker_id(number),
                    worker_type=WorkerType.PROCESS,
                    status=WorkerStatus.IDLE,
                    started=False,
                )
            )
        return rows

    def hire(self, now: float) -> Handle | None:
        """Begin to start a worker, which may be given work at once; None when none may be or can be started now."""
        if self.staff() >= self.target or now < self.next_hire_at:
            return None
        handle = None
        try:
            if self._spawner is None:
                self._spawner = make_spawner(self._spawning, self._post)
                for fd in self._spawner.fds():
                    self._selector.register(fd, selectors.EVENT_READ, Ear(lambda _: self._ask_spawner()))
            handle = Handle(self._count, self._spawning.max_result_bytes)
            self._spawner.start(handle.number, handle.worker_id, handle.far, limited=self.limited)
        except OSError as error:
            if handle is not None:
                handle.close()
            self.start_failed(str(error))
            return None
        self._count += 1
        self.handles[handle.number] = handle
        lines = self._lines[handle.number] = Lines(lambda line: self.relay.line(handle.worker_id, line))
        self.outputs[handle.number] = Output(lines.feed, handle.whose)
        self.by_sock[handle.sock.fileno()] = handle
        self._selector.register(handle.sock, selectors.EVENT_READ, Ear(lambda mask: self._on_socket(handle, mask)))
        self._selector.register(handle.log, selectors.EVENT_READ, Ear(lambda _: self.take_output(handle), early=True))
        handle.send(frames.LEVELS, logging.root.manager.disable, pickle.dumps(levels()))
        self.take_news(self._spawner.news() if not self._spawner.fds() else [])
        return handle

    def want_writing(self, handle: Handle) -> None:
        """Watch for room to send, exactly while something waits to be sent."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if handle.outgoing else 0)
        with suppress(KeyError):
            key = self._selector.get_key(handle.sock)
            if key.events != events:
                self._selector.modify(handle.sock, events, key.data)

    def take_news(self, news: Iterable[News]) -> None:
        """Take note of starts and ends."""
        for item in news:
            match item:
                case Lost():
                    self._spawner_lost(item.reason)
                case Started():
                    self._started(item)
                case Refused():
                    self.start_failed(item.reason)
                    self._end(self.handles.get(item.number), None)
                case Exited():
                    self._end(self.handles.get(item.number), item.status, item.memory)

    def spend(self, handle: Handle, now: float) -> None:
        """Let a worker go when it has run what it holds, and have the next one ready by then."""
        handle.spent = handle.retiring = True
        self.hire(now)

    def succeeded(self, handle: Handle) -> None:
        """Take note that a worker gave a result: if it was started since the last failure, starting workers works."""
        if handle.number >= self._works_from:
            self._failures.clear()
            self.next_hire_at = 0.0

    def start_failed(self, reason: str) -> None:
        """Take note of a start that came to nothing; the next waits, longer each time, most where others work on."""
        now = monotonic()
        while self._failures and self._failures[0] < now - _BUDGET_S:
            self._failures.popleft()
        if not self._failures:
            error = f"a worker process could not be started: {reason}"
            told = {"worker_id": worker_id(self._count), "error": error, "reason": "start_failed"}
            self._on_notice(WorkerNotice("worker_error", told))
        self._failures.append(now)
        self._works_from = self._count
        self._reason = reason
        most_s = _BACKOFF_IN_PART_S if self._somebody_works() else _BACKOFF_MAX_S
        self.next_hire_at = now + min(most_s, _BACKOFF_S * 2.0 ** min(len(self._failures), 10))

    def exhausted(self) -> WorkerDied | None:
        """Return the error to fail with when starting workers has failed too often in a row and none is at work."""
        if len(self._failures) <= _BUDGET_PER_WORKER * self.target + _BUDGET_BASE or self._somebody_works():
            return None
        return WorkerDied(
            f"process workers cannot be started: {len(self._failures)} starts failed within {_BUDGET_S:g} s "
            f"without a result; the last: {self._reason}; try another executor, or look at the limits on "
            "processes, memory and open files",
            reason="start_failed",
        )

    def _somebody_works(self) -> bool:
        return any(handle.greeted and not (handle.gone or handle.doomed) for handle in self.handles.values())

    def start_unanswered(self, handle: Handle) -> None:
        """Go on without a worker of which nobody says that it runs, or how it ended.

        Whatever starts workers is replaced, unless others are at work: those would end with it.
        """
        if self._spawner is None:
            return
        reason = f"whatever starts workers gave no answer within {self._patience.start_s:g} s"
        if not any(one.greeted and one.held and not (one.gone or one.doomed) for one in self.handles.values()):
            self._spawner_lost(reason)
            return
        self.start_failed(reason)
        handle.gone = True
        self._on_end(handle)

    def bury(self, handle: Handle) -> None:
        """Close what belonged to a worker that ended."""
        self.take_output(handle)
        output, lines = self.outputs.pop(handle.number, None), self._lines.pop(handle.number, None)
        if output is not None and lines is not None:
            output.finish()
            lines.finish()
        for fd in (handle.sock, handle.log, handle.pidfd):
            if fd is not None:
                with suppress(KeyError):
                    self._selector.unregister(fd)
        self.handles.pop(handle.number, None)
        self.by_sock.pop(handle.sock.fileno(), None)
        handle.close()

    def forsake(self) -> None:
        """Have every worker end, without waiting; from any thread, while the supervisor's is held up for good."""
        if self._spawner is not None:
            self._spawner.forsake()

    def close(self, timeout_s: float, until: float) -> None:
        """End every worker and whatever starts them; what they logged may take until monotonic `until` to pass on."""
        if self._spawner is not None:
            self._drop_spawner(timeout_s)
        for handle in list(self.handles.values()):
            handle.gone = True
            self.bury(handle)
        self.relay.close(max(until, monotonic() + _RELAY_S))

    def _started(self, news: Started) -> None:
        handle = self.handles.get(news.number)
        if handle is None:  # given up meanwhile
            if news.pidfd is not None:
                os.close(news.pidfd)
            return
        handle.started(news.pid, news.pidfd, news.rung, news.group)
        if news.pidfd is not None:
            self._selector.register(news.pidfd, selectors.EVENT_READ, Ear(lambda _: self._on_pidfd(handle)))
        if handle.doomed:
            handle.kill()

    def _on_pidfd(self, handle: Handle) -> None:
        if handle.number not in self.handles:  # buried earlier in the same round
            return
        handle.gone = True
        if handle.pidfd is not None:
            self._selector.unregister(handle.pidfd)
        # How it ended is the zygote's to say, in a moment; if we killed it, or nobody is left to ask, we know enough.
        if handle.doomed or handle.orphan or handle.status is not None:
            self._on_end(handle)
        else:
            handle.give_up_at = monotonic() + self._patience.start_s

    def _end(self, handle: Handle | None, status: int | None, memory: Facts | None = None) -> None:
        """Take note of the wait status; a worker with a pidfd is buried when that has been seen as well."""
        if handle is None:
            return
        handle.status, handle.memory = status, memory
        doom_by_kernel(handle)
        if handle.pidfd is None or handle.gone:
            handle.gone = True
            self._on_end(handle)

    def _on_socket(self, handle: Handle, mask: int) -> None:
        if handle.number not in self.handles:
            return
        if mask & selectors.EVENT_WRITE:
            handle.push()
            handle.seen_at = monotonic()  # it reads
            self.want_writing(handle)
        if mask & selectors.EVENT_READ:
            self._on_frames(handle)
            if handle.reader.closed:
                with suppress(KeyError):
                    self._selector.unregister(handle.sock)

    def shown(self, handle: Handle, settled: Sequence[tuple[int, Sequence[Outcome]]]) -> list[Sequence[Outcome]]:
        """Return outcomes that come with the serial of the first, failures with what they wrote, if a moment ago."""
        if any(type(outcomes) is not OutcomeColumns and _failures(outcomes) for _, outcomes in settled):
            self.take_output(handle)
        output = self.outputs[handle.number]
        return [output.settle(outcomes, serial) for serial, outcomes in settled]

    def take_output(self, handle: Handle) -> None:
        """Take in what a worker has printed so far."""
        output = self.outputs.get(handle.number)
        if output is None:
            return
        with suppress(BlockingIOError):
            data = os.read(handle.log, _READ)
            if data:
                output.feed(data)
            else:
                with suppress(KeyError):
                    self._selector.unregister(handle.log)

    def _ask_spawner(self) -> None:
        if self._spawner is not None:
            self.take_news(self._spawner.news())

    def _spawner_lost(self, reason: str) -> None:
        self._drop_spawner(0.1)
        self.start_failed(reason)
        for handle in list(self.handles.values()):
            handle.orphan = True
            if handle.pid is not None and not handle.gone:
                with suppress(OSError):  # the kernel has ended the worker; what it started is left
                    os.killpg(handle.pid, signal.SIGKILL)
            if handle.pid is None or handle.gone:
                handle.gone = True
                self._on_end(handle)

    def _drop_spawner(self, timeout_s: float) -> None:
        spawner, self._spawner = self._spawner, None
        if spawner is not None:
            for fd in spawner.fds():
                self._selector.unregister(fd)
            spawner.close(timeout_s)


def _failures(outcomes: Sequence[Outcome]) -> bool:
    return any(outcome.error is not None for outcome in outcomes)
