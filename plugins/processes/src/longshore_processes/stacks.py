"""The stacks of workers: each thread of one writes its own when a signal asks for it, whatever it is at.

The handler is C code that needs neither the interpreter's lock nor a turn of the worker's, and writes to the worker's
end of its nudge. Its other end is the controller's, whose closing ends the worker. A thread writes only where it is
itself: reading another one's frames while that runs can crash. Both sides are here.
"""

from __future__ import annotations

import ctypes
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
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Final, NamedTuple

from longshore.records import StackTrace

ASK: Final = int(signal.SIGRTMIN + 5 if sys.platform == "linux" else getattr(signal, "SIGUSR1", 0))
"""What asks a worker for its stacks: where there are such, a signal that no program sends and few tasks use."""
_QUIET_S: Final = 0.02  # after so long without more, a thread that began to write has written all
_ROUND_S: Final = 0.2  # what a thread beside the main one gets: one that runs no Python never writes
_BYTES_MOST: Final = 64 * 1024  # of one thread
_WORKERS_MOST: Final = 64
_THREADS_MOST: Final = 16  # of one worker
_FRAMES_MOST: Final = 60
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
    """Both ends, until the worker has its own, `far`. `open` and `ask` may be called from any thread."""

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

    def open(self) -> socket.socket | None:
        """Return where stacks come, a copy, less what came too late for whoever asked before; None if it is closed."""
        with self._lock:
            if self._near.fileno() < 0:
                return None
            near = self._near.dup()
        near.setblocking(False)
        _read(near)
        return near

    def ask(self, pid: int, pidfd: int | None, thread: int) -> bool:
        """Ask a thread for its stack; False where the worker or the thread is over.

        Whoever closes `pidfd` closes this first, so that the process is the one it was.
        """
        with self._lock, suppress(OSError):
            if self._near.fileno() < 0:
                return False
            if thread != pid:
                if pidfd is not None:
                    signal.pidfd_send_signal(pidfd, 0)  # it is there, so its number is nobody else's
                return _send_to_thread(pid, thread)
            if pidfd is not None:
                signal.pidfd_send_signal(pidfd, ASK)
            else:
                os.kill(pid, ASK)
            return True
        return False


def answer(nudge: int) -> None:
    """In a worker: have a thread write its stack to `nudge` whenever it is asked for that."""
    faulthandler.register(ASK, file=nudge, all_threads=False, chain=False)


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
    """Ask workers for their stacks, side by side, and return what they wrote by then; the first 64.

    The main threads are asked first; in a worker one thread at a time, since two at once are one to the handler.
    """
    deadline, wrote = monotonic() + within_s, dict[str, list[StackTrace]]()
    with ExitStack() as opened:
        lines = {worker: near for worker in workers[:_WORKERS_MOST] if (near := _open(worker, opened)) is not None}
        threads = {worker: _threads(worker) for worker in lines}
        for turn in range(_THREADS_MOST):
            at = {worker: known[turn] for worker, known in threads.items() if turn < len(known)}
            if not at or monotonic() > deadline:
                break
            until = deadline - within_s / 2 if turn == 0 else min(deadline, monotonic() + _ROUND_S)
            texts = _collect(at, lines, until)
            for worker, text in texts.items():
                wrote.setdefault(worker.worker_id, []).extend(_trace(worker, at[worker], text))
            if turn == 0:  # who does not answer is not asked again
                threads = {worker: threads[worker] for worker, text in texts.items() if text}
    found = [one for worker in workers[:_WORKERS_MOST] for one in wrote.get(worker.worker_id) or [_silent(worker)]]
    beyond = len(workers) - _WORKERS_MOST
    if beyond > 0:
        found.append(StackTrace(of="workers", note=f"{beyond} more worker processes were not asked"))
    return found


def _open(worker: Asked, opened: ExitStack) -> socket.socket | None:
    near = worker.nudge.open() if worker.pid is not None and worker.ready else None
    return opened.enter_context(near) if near is not None else None


def _threads(worker: Asked) -> list[int]:
    """Return the threads of a worker, the main one first; that alone where the others can't be asked."""
    pid = worker.pid or 0
    others: list[int] = []
    with suppress(OSError):
        others = sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))
    return [pid, *(thread for thread in others if thread != pid)]


def _send_to_thread(pid: int, thread: int) -> bool:
    try:
        return bool(ctypes.CDLL(None).tgkill(pid, thread, ASK) == 0)
    except AttributeError:  # a C library without it
        return False


def _collect(at: dict[Asked, int], lines: dict[Asked, socket.socket], until: float) -> dict[Asked, str]:
    """Ask one thread of each worker; return what comes by then, or until all have written and are quiet."""
    asked = [worker for worker, thread in at.items() if worker.nudge.ask(worker.pid or 0, worker.pidfd, thread)]
    texts = dict.fromkeys(asked, b"")
    with selectors.DefaultSelector() as selector:
        for worker in asked:
            selector.register(lines[worker], selectors.EVENT_READ, worker)
        while selector.get_map() and (left := until - monotonic()) > 0:
            ready = selector.select(min(left, _QUIET_S) if all(texts.values()) else left)
            if not ready:
                break
            for key, _ in ready:
                data = _read(lines[key.data])
                texts[key.data] += data
                if not data or len(texts[key.data]) > _BYTES_MOST:
                    selector.unregister(key.fileobj)
    return {worker: text.decode("utf-8", "replace") for worker, text in texts.items()}


def _read(near: socket.socket) -> bytes:
    """Return what is there; nothing where that is nothing, or the worker is gone."""
    with suppress(OSError):
        return near.recv(_BYTES_MOST)
    return b""


def _trace(worker: Asked, thread: int, text: str) -> Iterator[StackTrace]:
    """Yield what a thread has written, if it did, and is not our own watch."""
    frames = frames_of(text)
    if not text or (frames and frames[0].endswith(" in wait_for_close")):
        return
    name = "main thread" if thread == worker.pid else f"thread {thread}"
    yield StackTrace(
        of=f"worker {worker.worker_id}, {name}",
        frames=frames[:_FRAMES_MOST][::-1],
        left_out=max(0, len(frames) - _FRAMES_MOST),
        note=_in_kernel(f"/proc/{worker.pid}/task/{thread}"),
    )


def frames_of(text: str) -> list[str]:
    """Return the frames that a thread has written, innermost first."""
    found = (_FRAME.match(line) for line in text.splitlines())
    return [f"{frame[1]}:{frame[2]} in {frame[3]}" for frame in found if frame is not None]


def _silent(worker: Asked) -> StackTrace:
    """Return what is known of a worker that wrote nothing."""
    of = f"worker {worker.worker_id}"
    if worker.pid is None:
        return StackTrace(of=of, note="its process is being started")
    kernel = _in_kernel(f"/proc/{worker.pid}")
    said = "it wrote no stacks in time" if worker.ready else "it has not begun to take work"
    note = f"{said}; {kernel}" if kernel else "it has ended, or this system does not tell"
    return StackTrace(of=of, frames=_kernel_stack(worker.pid), note=note)


def _in_kernel(place: str) -> str:
    """Return how Linux has a process or a thread, and where it waits in the kernel; empty where that is not told."""
    state, where = "", ""
    with suppress(OSError), open(f"{place}/status") as file:
        state = next((line.partition(":")[2].strip() for line in file if line.startswith("State:")), "")
    with suppress(OSError), open(f"{place}/wchan") as file:
        where = file.read(100).strip()
    return f"state {state}" + (f", in the kernel: {where}" if where not in ("", "0") else "") if state else ""


def _kernel_stack(pid: int) -> Sequence[str]:
    """Return where a process is in the kernel, outermost first, where this program may know that."""
    with suppress(OSError), open(f"/proc/{pid}/stack") as file:
        return [f"{line.strip()} in the kernel" for line in file][:_FRAMES_MOST][::-1]
    return ()
