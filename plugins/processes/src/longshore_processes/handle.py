"""One worker as the controller sees it: its descriptors, what it was sent, and when to look at it again.

Used by whoever holds the baton (`handover.py`), save for the statistics, which any thread may read.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from enum import Enum
from time import monotonic
from typing import Final

from longshore.records import WorkerStats, WorkerStatus, WorkerType
from longshore.task import Attempt

from longshore_processes import frames
from longshore_processes.backlog import Kind
from longshore_processes.bays import BAYS, Bay, Memory, Span, make_memory
from longshore_processes.cgroups import Facts
from longshore_processes.frames import IDLE, UNLIMITED, Frame, FrameReader
from longshore_processes.memory import Gauge
from longshore_processes.rungs import Rung
from longshore_processes.spawner import WorkerFds
from longshore_processes.stacks import Asked, Nudge

IN_FLIGHT: Final = 2
"""Batches a worker has at once: one to run, one so that it never waits for the next."""


class Doom(Enum):
    """Why a worker was killed by us."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    MEMORY = "memory"
    PREPARE = "initializer"
    STOPPED = "stopped"
    STUCK = "stuck"
    STOP = "stop"


class Held:
    """A batch that was sent; `done` of its attempts are reported. Serials are the worker's own numbering."""

    __slots__ = ("attempts", "bay", "done", "first", "kind", "sent")

    def __init__(self, kind: Kind, first: int, attempts: Sequence[Attempt], bay: Bay) -> None:
        """Hold attempts numbered from `first`."""
        self.kind = kind
        self.first = first
        self.attempts = attempts
        self.bay = bay
        self.done = 0
        self.sent = len(attempts)

    def cut(self, serial: int) -> Sequence[Attempt]:
        """Remove and return what is not reported from `serial` on."""
        at = max(self.done, serial - self.first)
        tail, self.attempts = self.attempts[at:], self.attempts[:at]
        return tail

    def rest(self) -> list[tuple[int, Attempt]]:
        """Return what is not reported yet, with serials."""
        return list(enumerate(self.attempts[self.done :], self.first + self.done))


class Handle:
    """The controller's ends of one worker, and the record of what it holds, made before anything is sent."""

    gpus: tuple[int, ...] = ()
    """The GPUs of the last task on some that it was given."""

    def __init__(self, number: int, max_result_bytes: int | None = None) -> None:
        """Open the descriptors of a worker that is yet to be started."""
        self.number = number
        self.worker_id = worker_id(number)
        self._open(max_result_bytes)
        self._begin_memory()
        self.reader = FrameReader(self.sock)
        self.unread: list[Frame] = []
        self.outgoing: deque[memoryview] = deque()
        self.pid: int | None = None
        self.pidfd: int | None = None
        self.held: deque[Held] = deque()
        self._in_bays: dict[Bay, Held] = {}
        self.apart: dict[int, frames.Payload] = {}  # what came of results that found no room in their bay, by serial
        self.known: set[int] = set()
        self.next_serial = 0
        self.greeted = False  # it has said that it is ready
        self.proved = False  # it has given a result, so starting it was no mistake
        self.slow = False  # its running item is slow for its kind: nothing is sent after it
        self.retiring = False
        self.spent = False  # it is to leave since it has done its share, or has grown too much
        self.doomed: Doom | None = None
        self.doomed_serial = IDLE
        self.gone = False
        self.orphan = False  # whoever would tell how it ended is gone
        self.status: int | None = None
        self.due_at: float | None = None
        self.check_at: float | None = None
        self.memory_at: float | None = None
        self.given_at = self.busy_s = 0.0
        self.withdraw_at: float | None = None
        self.withdraw_from = 0
        self.give_up_at: float | None = None
        self.leave_at: float | None = None
        self.stopped_at: float | None = None  # since when it was seen stopped by a signal
        self._pardon = (0.0, 0.0)  # the start that it is for, and how long nobody looked since then
        self.written_off = False  # it was killed and did not end
        self.completed = self.failed = self.batches = 0
        self.seen_at = monotonic()

    def _begin_memory(self) -> None:
        self.grown_mb = 0.0  # what the item it was killed for had taken
        self._gauge: Gauge | None = None
        self.rung = Rung.POLLING  # what holds its items to their limits
        self._group: str | None = None
        self.memory: Facts | None = None  # how that of its group stood when it ended

    def _open(self, max_result_bytes: int | None) -> None:
        with ExitStack() as undo:  # where descriptors run out half-way, none may be lost
            self.sock, self._far = socket.socketpair()
            undo.callback(self.sock.close)
            undo.callback(self._far.close)
            self._nudge = nudge = Nudge()
            undo.callback(nudge.close)
            undo.callback(os.close, nudge.far)
            self.log, log = _pipe(undo)
            page = make_memory()
            undo.callback(os.close, page)
            self._memory = Memory(page)
            undo.pop_all()
        self.sock.setblocking(False)
        os.set_blocking(self.log, False)
        self.words = self._memory.words
        self.words.clear()
        self.words.result_most = UNLIMITED if max_result_bytes is None else min(max_result_bytes, UNLIMITED)
        self.far = WorkerFds(self._far.fileno(), nudge.far, page, log)

    # -- sending

    def idle(self) -> bool:
        """Tell whether it holds nothing."""
        return not self.held

    def counts(self) -> bool:
        """Tell whether it is one of the workers at work; one that leaves since it is one too many is not."""
        return bool(self.held) and not (self.doomed or self.gone or (self.retiring and not self.spent))

    def has_room(self) -> bool:
        """Tell whether it may be given a batch."""
        if self.retiring or self.doomed or self.gone or self.withdraw_at is not None or len(self._in_bays) == BAYS:
            return False
        return not self.held or (len(self.held) < IN_FLIGHT and not self.slow and not self.outgoing)

    def send(self, kind: int, number: int, *parts: bytes) -> None:
        """Queue one frame and send what goes without waiting."""
        self.outgoing += frames.frame(kind, number, *parts)
        self.push()

    def push(self) -> None:
        """Send what goes without waiting; the rest stays in `outgoing`."""
        outgoing = self.outgoing
        try:
            while outgoing:
                sent = self.sock.send(outgoing[0]) if len(outgoing) == 1 else self.sock.sendmsg([*outgoing][:16])
                while outgoing and sent >= outgoing[0].nbytes:
                    sent -= outgoing.popleft().nbytes
                if sent:
                    outgoing[0] = outgoing[0][sent:]
        except BlockingIOError:
            return
        except OSError:  # it died; whoever watches for its end says so next
            outgoing.clear()

    def free_bay(self) -> Bay:
        """Return the bay for the next batch, if it has room for one: the first if it can be, which is in the cache."""
        first, second = self._memory.bays
        return second if first in self._in_bays else first

    def empty(self, bay: Bay) -> None:
        """Take note that nothing of the batch in a bay will be written or read any more."""
        self._in_bays.pop(bay, None)
        bay.trim()

    def skipped(self, serial: int) -> tuple[Kind, Sequence[Attempt]] | None:
        """Take note that the worker leaves a batch at `serial`; return what of that was not taken back before."""
        for held in list(self._in_bays.values()):
            if held.first <= serial < held.first + held.sent:
                self.empty(held.bay)
        held_now = self.held[0] if self.held else None
        if held_now is None or not held_now.first <= serial < held_now.first + len(held_now.attempts):
            return None
        back = held_now.cut(serial)
        if held_now.done >= len(held_now.attempts):
            self.held.popleft()
        return held_now.kind, back

    def give(self, kind: Kind, attempts: Sequence[Attempt], bay: Bay, batch: Span | bytes) -> None:
        """Record that these attempts are its own now, then send them: the batch itself, or where it is in the bay."""
        first = self.next_serial
        self.next_serial += len(attempts)
        self.batches += 1
        held = Held(kind, first, attempts, bay)
        self.held.append(held)
        self._in_bays[bay] = held
        if kind.number not in self.known:
            self.known.add(kind.number)
            self.outgoing += frames.frame(frames.CODE, kind.number, kind.data or b"")
            if kind.memory_limit_mb is not None:
                self.outgoing += frames.frame(frames.LIMIT, kind.number, str(kind.memory_limit_mb).encode())
        if isinstance(batch, bytes):
            self.send(frames.BATCH, first, frames.PLACE.pack(bay.index, 0, 0), batch)
        else:
            self.send(frames.BATCH, first, frames.PLACE.pack(bay.index, *batch))

    # -- looking

    def reported(self) -> int:
        """Return the first serial that is not reported yet."""
        return self.held[0].first + self.held[0].done if self.held else self.next_serial

    def waiting(self) -> int:
        """Return how many attempts it holds."""
        return sum(len(held.attempts) - held.done for held in self.held)

    def find(self, serial: int) -> tuple[Held, Attempt] | None:
        """Return the unreported attempt with this serial."""
        for held in self.held:
            index = serial - held.first
            if held.done <= index < len(held.attempts):
                return held, held.attempts[index]
        return None

    def blamed(self) -> tuple[Held, Attempt] | None:
        """Return the attempt it was killed for, or was at when it ended by itself."""
        return self.find(self.doomed_serial if self.doomed is not None else self.words.running()[0])

    def whose(self, marked: int) -> int:
        """Return whose text is what was just read without a mark, where `marked` had the last; IDLE for nobody's."""
        first = self.reported()
        if marked >= first:
            return marked
        begun = self.words.begun()
        return begun if begun >= first else IDLE

    def cut(self, serial: int) -> list[tuple[Kind, Sequence[Attempt]]]:
        """Take away what is not reported from `serial` on, last batch first."""
        tails = [(held.kind, held.cut(serial)) for held in reversed(self.held)]
        self.held = deque(held for held in self.held if held.done < len(held.attempts))
        return tails

    def gauge(self) -> Gauge | None:
        """Return what reads its memory; None while it has no process, and where the system does not tell."""
        if self._gauge is None and self.pid is not None and not self.gone:
            with suppress(OSError):
                self._gauge = Gauge(self.pid, self._group)
        return self._gauge

    def timers(self) -> list[float]:
        """Return the times at which to look at it again."""
        if self.doomed is not None or self.gone:
            return [self.give_up_at] if self.give_up_at is not None else []
        looks = (self.due_at, self.check_at, self.memory_at, self.withdraw_at, self.leave_at)
        return [at for at in looks if at is not None]

    def pardon(self, since: float, now: float) -> None:
        """Take note that the supervisor was held up since then: it may have been the whole machine."""
        started = self.words.running()[1]
        self._pardon = started, self.pardon_s(started) + now - max(started, since)
        self.seen_at = now
        if self.give_up_at is not None:
            self.give_up_at += now - since
        if self.leave_at is not None:
            self.leave_at += now - since

    def pardon_s(self, started: float) -> float:
        """Return how much later the limit is of what began at `started`."""
        begun, extra_s = self._pardon
        return extra_s if begun == started else 0.0

    def attempts(self) -> Iterator[tuple[int, Attempt]]:
        """Go through what it holds, with serials."""
        for held in self.held:
            yield from held.rest()

    def stats(self) -> WorkerStats:
        """Return its statistics; from any thread."""
        status = WorkerStatus.BUSY if self.held else WorkerStatus.IDLE
        if self.doomed or (self.retiring and not self.held):
            status = WorkerStatus.STOPPING
        if self.gone:
            status = WorkerStatus.STOPPED
        task_id, running_s = self._current()
        return WorkerStats(
            worker_id=self.worker_id,
            worker_type=WorkerType.PROCESS,
            status=status,
            tasks_completed=self.completed,
            tasks_failed=self.failed,
            total_processing_time=self.busy_s,
            current_task=task_id,
            running_s=running_s,
            last_heartbeat=datetime.now(UTC),  # the supervisor sees at once when it ends
            started=self.pid is not None,
            batches=self.batches,
            memory_limit_by=self.rung.value if self.pid is not None and sys.platform == "linux" else None,
            pid=None if self.gone else self.pid,
        )

    def _current(self) -> tuple[str | None, float | None]:
        """Return what it runs, or is about to, and for how long: 0 s until its worker is ready for it."""
        try:
            serial, started = self.words.running()
            found = self.find(serial)
            attempt = found[1] if found else next((attempt for _, attempt in self.attempts()), None)
            begun = found is not None and not self.words.preparing()
        except (RuntimeError, ValueError):  # the supervisor changed or closed it meanwhile
            return None, None
        if attempt is None:
            return None, None
        return attempt.task_id, max(0.0, monotonic() - started) if begun else 0.0

    # -- ending

    def kill(self) -> None:
        """Kill it and its group at once."""
        if self.pid is None or self.gone:
            return
        with suppress(OSError):
            if self.pidfd is not None:
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)  # the zygote ends its group when reaping it
            else:
                os.killpg(self.pid, signal.SIGKILL)

    def retire(self) -> None:
        """Let it end when it has read what it was sent."""
        self.retiring = True
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def started(self, pid: int, pidfd: int | None, rung: Rung, group: str | None) -> None:
        """Take note of the process, and what holds it to limits of memory; the worker's ends are its own now."""
        self.pid, self.pidfd, self.rung, self._group = pid, pidfd, rung, group
        self.close_far()

    def asked(self) -> Asked:
        """Return how it is asked for its stacks; from any thread."""
        begun = False
        with suppress(ValueError, IndexError):  # it is being closed
            begun = self.words.running()[0] != IDLE  # whoever would read that it is ready may be held up
        return Asked(self.worker_id, self.pid, self.pidfd, self._nudge, self.greeted or begun)

    def close_far(self) -> None:
        """Close the worker's ends here."""
        if self._far.fileno() >= 0:
            self._far.close()
            for fd in self.far[1:]:
                os.close(fd)

    def close(self) -> None:
        """Close everything."""
        self.close_far()
        self.sock.close()
        self._nudge.close()
        for fd in (self.log, self.pidfd):
            if fd is not None:
                os.close(fd)
        self.pidfd = None
        if self._gauge is not None:
            self._gauge.close()
        self._memory.close()

    def read(self) -> list[Frame]:
        """Return the frames that have come, those first that were laid aside in `unread`."""
        frames = self.reader.read()
        if self.unread:
            frames, self.unread = [*self.unread, *frames], []
        return frames


def worker_id(number: int) -> str:
    """Return the id of the worker that is started as this number."""
    return f"process-{number}"


def _pipe(undo: ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for fd in ends:
        undo.callback(os.close, fd)
    return ends
