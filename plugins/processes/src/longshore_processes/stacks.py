"""The stacks of workers: a worker writes them when a signal asks for it, whatever it is at; C code too, or a held lock.

The handler is C code that needs neither the interpreter's lock nor a turn of the worker's, and writes to the worker's
end of its nudge. Its other end is the controller's, whose closing ends the worker. Both sides are here.
"""

from __future__ import annotations

import faulthandler
import os
import re
import select
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final, NamedTuple

from longshore.records import StackTrace

ASK: Final = signal.SIGRTMIN + 5 if sys.platform == "linux" else signal.SIGUSR1
"""What asks a worker for its stacks: where there are such, a signal that no program sends and few tasks use."""
_QUIET_S: Final = 0.1  # after so long without more, a worker that began to write has written all
_BYTES_MOST: Final = 256 * 1024  # of one worker
_WORKERS_MOST: Final = 64
_FRAMES_MOST: Final = 60
_THREAD: Final = re.compile(r"(Current thread|Thread) (0x[0-9a-f]+).*\(most recent call first\):")
_FRAME: Final = re.compile(r'  File "(.*)", line (\d+|\?\?\?) in (.*)')


class Asked(NamedTuple):
    """A worker, and its controller's end of the nudge."""

    worker_id: str
    pid: int | None
    pidfd: int | None
    nudge: Nudge
    ready: bool
    """Whether it has begun to take work: before, the signal would end it."""


class Nudge:
    """Both ends, until the worker has its own, `far`. `ask` may be called from any thread."""

    def __init__(self) -> None:
        """Open; a worker that nobody reads from is not held up by what it writes."""
        self._near, far = socket.socketpair()
        self._near.setblocking(False)
        far.setblocking(False)
        self.far = far.detach()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close this end, which ends the worker."""
        with self._lock:
            self._near.close()

    def ask(self, pid: int, pidfd: int | None) -> socket.socket | None:
        """Ask for stacks; return where they come, a copy; None where the worker is over.

        Whoever closes `pidfd` closes this first.
        """
        with self._lock:
            if self._near.fileno() < 0:
                return None
            near = self._near.dup()
            near.setblocking(False)
            try:
                _read(near)  # what came too late for whoever asked before
                if pidfd is not None:
                    signal.pidfd_send_signal(pidfd, ASK)
                else:
                    os.kill(pid, ASK)
            except OSError:
                near.close()
                return None
            return near


def answer(nudge: int) -> None:
    """In a worker: write all stacks to `nudge` whenever that is asked for."""
    faulthandler.register(ASK, file=nudge, all_threads=True, chain=False)


def wait_for_close(nudge: int) -> None:
    """In a worker: return when the controller has closed its end, or is gone."""
    poll = select.poll()
    poll.register(nudge, select.POLLIN)
    while True:
        poll.poll()
        try:
            if not os.read(nudge, 1):
                return
        except BlockingIOError:
            continue
        except OSError:  # it was closed with stacks in it that nobody had read
            return


def stacks_of(workers: Sequence[Asked], within_s: float) -> list[StackTrace]:
    """Ask workers for their stacks, all at once, and return what they wrote by then; the first 64."""
    deadline, found = monotonic() + within_s, list[StackTrace]()
    lines: dict[str, socket.socket] = {}
    try:
        for worker in workers[:_WORKERS_MOST]:
            if worker.pid is not None and worker.ready:
                near = worker.nudge.ask(worker.pid, worker.pidfd)
                if near is not None:
                    lines[worker.worker_id] = near
        texts = _collect(lines, deadline)
    finally:
        for near in lines.values():
            near.close()
    for worker in workers[:_WORKERS_MOST]:
        found += _told(worker, texts.get(worker.worker_id), within_s)
    beyond = len(workers) - _WORKERS_MOST
    if beyond > 0:
        found.append(StackTrace(of="workers", note=f"{beyond} more worker processes were not asked"))
    return found


def _collect(lines: dict[str, socket.socket], deadline: float) -> dict[str, str]:
    """Return what comes by the deadline, or until all have written and are quiet."""
    texts = dict.fromkeys(lines, b"")
    with selectors.DefaultSelector() as selector:
        for worker_id, near in lines.items():
            selector.register(near, selectors.EVENT_READ, worker_id)
        while selector.get_map() and (left := deadline - monotonic()) > 0:
            ready = selector.select(min(left, _QUIET_S) if all(texts.values()) else left)
            if not ready:
                break
            for key, _ in ready:
                data = _read(lines[key.data])
                texts[key.data] += data
                if not data or len(texts[key.data]) > _BYTES_MOST:
                    selector.unregister(key.fileobj)
    return {worker_id: text.decode("utf-8", "replace") for worker_id, text in texts.items()}


def _read(near: socket.socket) -> bytes:
    """Return what is there; nothing where that is nothing, or the worker is gone."""
    with suppress(OSError):
        return near.recv(_BYTES_MOST)
    return b""


def _told(worker: Asked, text: str | None, within_s: float) -> list[StackTrace]:
    of = f"worker {worker.worker_id}"
    if worker.pid is None:
        return [StackTrace(of=of, note="its process is being started")]
    kernel = _in_kernel(worker.pid)
    traces = [] if text is None else list(parsed(of, text, kernel))
    if traces:
        return traces
    if not worker.ready:
        return [StackTrace(of=of, note=f"it has not begun to take work{kernel and f'; {kernel}'}")]
    said = "it has ended" if text is None else f"it wrote no stacks within {within_s:g} s"
    return [StackTrace(of=of, frames=_kernel_stack(worker.pid), note=f"{said}{kernel and f'; {kernel}'}")]


def parsed(of: str, text: str, kernel: str = "") -> Iterator[StackTrace]:
    """Yield the threads of what a worker has written, the one that ran or was interrupted first, less our own watch."""
    threads: list[tuple[bool, str, list[str], int]] = []
    for line in text.splitlines():
        head, frame = _THREAD.match(line), _FRAME.match(line)
        if head is not None:
            threads.append((head[1] != "Current thread", head[2], [], 0))
        elif frame is not None and threads:
            other, ident, frames, left_out = threads[-1]
            if len(frames) < _FRAMES_MOST:
                frames.append(f"{frame[1]}:{frame[2]} in {frame[3]}")
            else:
                threads[-1] = other, ident, frames, left_out + 1
    for other, ident, frames, left_out in sorted(threads, key=lambda thread: thread[0]):
        if frames and frames[0].endswith(" in wait_for_close"):
            continue
        note = kernel if not other else ""
        yield StackTrace(of=f"{of}, thread {ident}", frames=frames[::-1], left_out=left_out, note=note)


def _in_kernel(pid: int) -> str:
    """Return how Linux has a process, and where it waits in the kernel; empty where that is not told."""
    state, where = "", ""
    with suppress(OSError), open(f"/proc/{pid}/status") as file:
        state = next((line.partition(":")[2].strip() for line in file if line.startswith("State:")), "")
    with suppress(OSError), open(f"/proc/{pid}/wchan") as file:
        where = file.read(100).strip()
    return f"state {state}" + (f", in the kernel: {where}" if where not in ("", "0") else "") if state else ""


def _kernel_stack(pid: int) -> Sequence[str]:
    """Return where a process is in the kernel, outermost first, where this program may know that."""
    with suppress(OSError), open(f"/proc/{pid}/stack") as file:
        return [f"{line.strip()} in the kernel" for line in file][:_FRAMES_MOST][::-1]
    return ()
