"""Looks after workers that hold something: limits of time and memory, what waits behind a slow item, who is stuck.

Used by whoever holds the baton (`handover.py`); it looks when a handle's timers say so.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

from longshore_processes.foreman import Foreman
from longshore_processes.frames import IDLE
from longshore_processes.handle import Doom, Handle
from longshore_processes.procfs import is_stopped
from longshore_processes.rungs import Rung
from longshore_processes.timing import FIRST_LOOK_S, Looks, first_look_s, memory_look_s

WITHDRAW_S: Final = 0.001
"""From asking a worker to skip to looking what it had begun: a store is seen by the other side long before."""


class Overseer:
    """Kills, withdraws and lets go; what comes back goes to the foreman."""

    def __init__(
        self,
        foreman: Foreman,
        looks: Looks,
        *,
        drain: Callable[[Handle], None],
        write_off: Callable[[Handle], None],
        no_start: Callable[[Handle], None],
    ) -> None:
        """Have `drain` take in all that a worker has sent, `write_off` go on without one that can't be killed.

        `no_start` is called with one of which whoever starts workers says nothing.
        """
        self._foreman = foreman
        self._looks = looks
        self._patience = looks.patience
        self._drain = drain
        self._write_off = write_off
        self._no_start = no_start

    def look(self, handle: Handle, now: float) -> None:
        """See to what is due for one worker."""
        if handle.give_up_at is not None and now >= handle.give_up_at:
            if handle.gone:  # nobody says how it ended
                self._no_start(handle)
            else:
                self._write_off(handle)
            return
        if handle.doomed or handle.gone:
            return
        if handle.leave_at is not None and now >= handle.leave_at:
            self.kill(handle, Doom.STUCK, IDLE)
            return
        if handle.withdraw_at is not None and now >= handle.withdraw_at:
            self._finish_withdrawal(handle, now)
        if handle.due_at is not None and now >= handle.due_at:
            self._check_deadline(handle, now)
        if handle.check_at is not None and now >= handle.check_at:
            self._check_pace(handle, now)
        if handle.memory_at is not None and now >= handle.memory_at:
            handle.memory_at = self._check_memory(handle, now)

    def _check_deadline(self, handle: Handle, now: float) -> None:
        serial = handle.words.running()[0]
        limit = self._looks.limit_of(handle, serial)
        over = limit is not None and now >= limit.at and handle.words.running()[0] == serial
        if limit is not None and over and (limit.doom is not Doom.PREPARE or handle.words.preparing()):
            self.kill(handle, limit.doom, serial)
            return
        if any(a.expires_at is not None and a.expires_at <= now for s, a in handle.attempts() if s != serial):
            self.withdraw(handle, now)
        check_at, memory_at = handle.check_at, handle.memory_at
        self._looks.plan(handle, now)
        if handle.held:  # nothing has come or gone: a limit shorter than the other looks must not put them off for ever
            handle.check_at, handle.memory_at = check_at, memory_at

    def _check_pace(self, handle: Handle, now: float) -> None:
        """Let nothing wait, for its turn or for being reported, behind an item that is slow for its kind."""
        handle.check_at = None
        serial, started = handle.words.running()
        found = handle.find(serial)
        if found is None:
            if not handle.idle():
                self._check_stuck(handle, now)
            return
        slow_at = started + found[0].kind.slow_s()
        if now < slow_at:
            handle.check_at = slow_at
            return
        if not handle.slow:
            if serial > handle.reported():
                self._drain(handle)
            if handle.find(serial) is None:  # it has ended meanwhile
                return
            handle.slow = True
            if handle.held[-1].first + len(handle.held[-1].attempts) - 1 > serial:
                self.withdraw(handle, now)
        self._check_stopped(handle, serial, now)

    def _check_stopped(self, handle: Handle, serial: int, now: float) -> None:
        """Kill a worker that was stopped by a signal in the midst of an item and does not go on."""
        if handle.pid is None or not is_stopped(handle.pid):
            handle.stopped_at = None
        elif handle.stopped_at is None:
            handle.stopped_at = now
        elif now - handle.stopped_at >= self._patience.begin_s:
            self.kill(handle, Doom.STOPPED, serial)
            return
        handle.check_at = now + self._patience.begin_s

    def _check_memory(self, handle: Handle, now: float) -> float | None:
        """Kill a worker whose item took more than it may; return when to look again."""
        preparing, (serial, started) = handle.words.preparing(), handle.words.running()
        found, gauge = handle.find(serial), handle.gauge()
        if found is None or preparing:
            return now + FIRST_LOOK_S
        limit_mb = found[1].memory_limit_mb or found[0].kind.memory_limit_mb
        if limit_mb is None or gauge is None:
            return None  # until it holds something else
        if now < (first := started + first_look_s(limit_mb)):
            return first
        grown_mb = gauge.grown_mb(handle.words.base_mb, limit_mb)
        by_group_mb = gauge.group_grown_mb(limit_mb, handle.words.kills)
        over = grown_mb > limit_mb or by_group_mb is not None
        if over and handle.words.running()[0] == serial:
            handle.grown_mb = max(grown_mb, by_group_mb or 0.0)
            self.kill(handle, Doom.MEMORY, serial)
        return now + memory_look_s(limit_mb - grown_mb, by_kernel=handle.rung in (Rung.CGROUP_V1, Rung.CGROUP_V2))

    def _check_stuck(self, handle: Handle, now: float) -> None:
        """Kill a worker that does not begin what it was given: stopped, or its interpreter held by a thread."""
        idle_s = now - max(handle.seen_at, handle.given_at)
        wait_s = self._patience.begin_s if handle.greeted else self._patience.start_s
        if idle_s < wait_s:
            handle.check_at = now + min(wait_s, max(0.005, idle_s))
        elif handle.pid is not None:
            self.kill(handle, Doom.STUCK, IDLE)
        else:
            self._no_start(handle)

    def withdraw(self, handle: Handle, now: float) -> None:
        """Ask a worker not to begin what it has not begun; see `_finish_withdrawal`."""
        if handle.withdraw_at is None and not handle.idle():
            handle.withdraw_from = handle.words.begun() + 1
            handle.words.skip(handle.withdraw_from, handle.next_serial)
            handle.withdraw_at = now + WITHDRAW_S

    def _finish_withdrawal(self, handle: Handle, now: float) -> None:
        """Take back what a worker will not begin. What it claimed just then comes back by a SKIPPED frame."""
        handle.withdraw_at = None
        running, begun = handle.words.running()[0], handle.words.begun()
        self._drain(handle)
        for kind, attempts in handle.cut(max(handle.withdraw_from, begun + 1)):
            self._foreman.put_back(kind, attempts, now)
        found = handle.find(running)
        if found is not None and found[1].task_id in self._foreman.cancels:
            self.kill(handle, Doom.CANCEL, running)
        self._looks.plan(handle, now)
        self.let_go(handle)

    def kill(self, handle: Handle, why: Doom, serial: int) -> None:
        """Kill a worker for the item `serial`, or IDLE for none; the first reason stands."""
        if handle.doomed is not None:
            return
        handle.doomed, handle.doomed_serial = why, serial
        handle.give_up_at = monotonic() + self._patience.die_s
        handle.kill()

    def let_go(self, handle: Handle) -> None:
        """Let a worker that is to leave end, once it holds nothing; it gets some time to clean up."""
        if handle.retiring and handle.leave_at is None and handle.idle() and not handle.outgoing:
            handle.leave_at = monotonic() + self._patience.leave_s
            handle.retire()
