"""The short way: a task that comes alone goes to a worker from the thread that offers it, and its result comes back so.

To wake the supervisor's thread for each is what most of a short round trip would be. Who works with the supervisor's
state has the baton, which its thread lends out only while it rests; nobody ever waits for it but that thread. On the
short way no code of the user's runs: what is not light goes the long way.
"""

from __future__ import annotations

import asyncio
import os
import select
import selectors
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import ceil, inf
from time import monotonic, process_time
from typing import Final

from longshore.chaos import Pause
from longshore.task import Attempt

from longshore_processes import frames
from longshore_processes.bell import Bell
from longshore_processes.foreman import Foreman
from longshore_processes.handle import Handle
from longshore_processes.light import is_light
from longshore_processes.timing import Pulse

WATCH_S: Final = 0.05
"""For so long at a time the supervisor leaves it to the pool's loop to see results, while it does."""
_Ready = list[tuple[selectors.SelectorKey, int]]


class Handover:
    """Lends the supervisor's state out while that rests, to the pool's loop."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        bell: Bell,
        foreman: Foreman,
        pulse: Pulse,
        *,
        before_results: Pause,
        is_open: Callable[[], bool],
        settle: Callable[[Handle, int], None],
        tell: Callable[[], None],
    ) -> None:
        """Have `settle` and `tell` called with the baton; nothing is given away while it is not `is_open`.

        `before_results` is the point of trials before a worker's results are taken.
        """
        self._selector, self._bell, self._foreman, self._pulse = selector, bell, foreman, pulse
        self._is_open, self._settle, self._tell = is_open, settle, tell
        self._baton = threading.Lock()
        self._baton.acquire()  # the supervisor's, from the beginning
        self._before_results = before_results
        self._doze = select.poll()
        self._doze.register(bell, select.POLLIN)
        self._rests_until = inf
        self._used = False  # since the supervisor last went to rest
        self._heavy: set[int] = set()  # kinds whose results are not light
        self._loop_watches = False
        self._fault: BaseException | None = None
        self._loop = _running_loop()
        self._thread = threading.get_ident()
        self._views: list[select.epoll] = []
        self._listens = False
        if self._loop is not None and isinstance(selector, selectors.EpollSelector):
            self._views.append(select.epoll.fromfd(os.dup(selector.fileno())))  # it stays open while the loop has it

    # ---- on the supervisor's thread

    def rest(self, until: float | None, *, quiet: bool, idle: bool) -> _Ready:
        """Wait until something happens, or until then; return what may be heard.

        `quiet` is with nothing half done, `idle` with no worker that holds anything. Raises what went wrong meanwhile.
        """
        now = monotonic()
        watches = quiet and self._used and bool(self._views) and (idle or self._listens)
        if watches or idle:
            self._used = False
        if watches:
            until = now + WATCH_S if until is None else min(until, now + WATCH_S)
        timeout_s = None if until is None else max(0.0, until - now)
        self._rests_until = inf if until is None else until
        self._loop_watches = watches
        self._baton.release()
        try:
            if timeout_s is not None and watches:
                self._doze.poll(ceil(1000.0 * timeout_s))
            else:
                ready = self._selector.select(timeout_s)
        finally:
            self._baton.acquire()
            self._loop_watches = False
        if self._fault is not None:
            raise self._fault
        return self._selector.select(0.0) if watches else ready

    # ---- on any thread

    def offer(self, attempts: Sequence[Attempt]) -> bool:
        """Give what came alone to a worker, if that can be done here and now; tell whether it was."""
        if len(attempts) != 1 or not is_light(attempts[0]) or not self._baton.acquire(blocking=False):
            return False
        rings = False
        try:
            if not self._is_open():
                return False
            now = monotonic()
            handle = self._foreman.give_at_once(attempts[0], now)
            if handle is None:
                return False
            self._pulse.wake(now, process_time)
            light = handle.held[0].kind.number not in self._heavy
            self._used = self._used or light
            watched = not self._loop_watches or self._listens or (light and self._listen())
            rings = not watched or min(handle.timers(), default=inf) < self._rests_until
        finally:
            self._baton.release()
        if rings:
            self._bell.ring()
        return True

    # ---- on the loop's thread

    def _listen(self) -> bool:
        """Have the loop hear of results, and tell whether it will; nowhere else than on its own thread."""
        if threading.get_ident() == self._thread and self._loop is not None and self._views:
            try:
                self._loop.add_reader(self._views[0], self._hear)
                self._listens = True
            except (NotImplementedError, OSError, RuntimeError):  # a loop that can't: then it is never asked again
                self.close()
        return self._listens

    def _hear(self) -> None:
        """Take results that are light; have the supervisor hear all else."""
        if not self._baton.acquire(blocking=False):
            self._hush()
            self._bell.ring()  # it is at work, and may have looked already: it is not to rest before it looked again
            return
        heard = False
        try:
            if self._loop_watches:
                heard = self._take_in(self._views[0].poll(0.0))
                self._tell()
        except Exception as error:  # noqa: BLE001 - a fault of ours must fail the pool, not leave it waiting
            self._fault, heard = error, False
        finally:
            if not heard:
                self._hush()
                self._loop_watches = False
            self._baton.release()
        if not heard:
            self._bell.ring()

    def _take_in(self, ready: list[tuple[int, int]]) -> bool:
        """Tell whether all that is ready was taken."""
        handles: list[Handle] = []
        for fd, mask in ready:
            handle = self._foreman.crew.by_sock.get(fd)
            if handle is None or mask != select.EPOLLIN:
                return False  # what a worker printed is heard before what came of it
            handles.append(handle)
        taken = [self._take(handle) for handle in handles]
        return False not in taken

    def _take(self, handle: Handle) -> bool:
        self._before_results(handle.worker_id)
        came = handle.read()
        if not came:
            return not handle.reader.closed
        if len(came) == 1 and came[0][0] == frames.FINISHED and len(handle.held) == 1:
            held = handle.held[0]
            if held.sent == 1 and held.bay.is_light(0):
                self._settle(handle, came[0][1])
                return True
            self._heavy.add(held.kind.number)
        handle.unread = came
        return False

    def _hush(self) -> None:
        if self._listens and self._loop is not None:
            self._listens = False
            self._loop.remove_reader(self._views[0])

    def _leave(self) -> None:
        self._hush()
        with suppress(IndexError):
            self._views.pop().close()

    # ---- from any thread

    def close(self) -> None:
        """Have the loop listen no more, at once where it is called there."""
        if self._loop is None or not self._views:
            return
        if threading.get_ident() == self._thread:
            self._leave()
            return
        try:
            self._loop.call_soon_threadsafe(self._leave)
        except RuntimeError:  # it is closed
            with suppress(IndexError):
                self._views.pop().close()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
