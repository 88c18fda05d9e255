"""Gives what waits to the workers there are: who gets how much, and what comes back to be given again.

Used by whoever holds the baton (`handover.py`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from signal import SIGKILL
from time import monotonic
from typing import Final

from longshore.chaos import point
from longshore.task import Attempt, TaskSpec
from longshore.worker import cancelled, timed_out

from longshore_processes import frames
from longshore_processes.autopsy import not_ready
from longshore_processes.backlog import AHEAD_S, Backlog, Kind, Kinds, by_kind
from longshore_processes.bays import LARGE, Bay
from longshore_processes.crew import Crew
from longshore_processes.handle import IN_FLIGHT, Doom, Handle
from longshore_processes.light import pack_light
from longshore_processes.outcomes import Load, describe_end, pack
from longshore_processes.posting import settled
from longshore_processes.teller import Teller
from longshore_processes.timing import Looks
from longshore_processes.vigil import Vigil

_DEATHS: Final = 3
"""So many workers in a row may end while they get ready, by what they do themselves."""
_HOPELESS_S: Final = 30.0  # until another is tried
_LATELY: Final = 64


class Foreman:
    """Holds the backlog; what ends without ever being run is added to `reports`."""

    def __init__(self, crew: Crew, looks: Looks, teller: Teller, vigil: Vigil) -> None:
        """Have nothing waiting for `crew`."""
        self.backlog = Backlog()
        self.cancels = teller.cancels
        self.packing: Sequence[Attempt] = ()
        """What is neither in the backlog nor with a worker: it is being pickled."""
        self.crew = crew
        self._looks = looks
        self._kinds = Kinds(vigil)
        self._before_batch = point("supervisor.before-batch")
        self._reports = teller.reports
        self._lately: dict[TaskSpec, Kind] = {}  # the kinds of specs that were taken lately

    def take(self, attempts: Sequence[Attempt]) -> None:
        """Add attempts at the end of what waits."""
        for spec, raised_mb, group in by_kind(attempts):
            kind, forgotten = self._kinds.of(spec, raised_mb)
            self.crew.limited = self.crew.limited or kind.memory_limit_mb is not None
            if forgotten is not None:
                self._forget(forgotten)
            if raised_mb is None and spec not in self._lately:
                if len(self._lately) >= _LATELY:
                    self._lately.clear()
                self._lately[spec] = kind
            if (trials := kind.hopeless(now := monotonic())) is not None:
                self._reports += [not_ready(attempt, trials, now, now, None) for attempt in group]
            else:
                self.backlog.append(kind, group)

    def put_back(self, kind: Kind, attempts: Sequence[Attempt], now: float) -> None:
        """Add attempts that a worker did not run at the front, less those that were cancelled meanwhile."""
        if self.cancels:
            gone = [attempt for attempt in attempts if attempt.task_id in self.cancels]
            self._reports += [cancelled(a, now, now, None, self.cancels[a.task_id]) for a in gone]
            attempts = [attempt for attempt in attempts if attempt.task_id not in self.cancels]
        self.backlog.put_back(kind, attempts)

    def expire(self, now: float) -> None:
        """Report what waited past its deadline."""
        if self.backlog.next_expiry is not None and now >= self.backlog.next_expiry:
            self._reports += [timed_out(attempt, now, now, None) for attempt in self.backlog.expired(now)]

    def dispatch(self, now: float) -> None:
        """Give away as much as workers have room for."""
        while self.backlog:
            kind = self.backlog.head()
            gpus = self.backlog.first().gpus if kind.on_gpu else ()
            leave_s = self._looks.patience.leave_s
            handle = settled(self.crew, gpus, now, leave_s) if gpus else self._choose(kind, now)
            if handle is None:
                return
            share = -(-len(self.backlog) // (max(1, self.crew.limit or self.crew.target) * IN_FLIGHT))
            size, left = 1 if kind.on_gpu else kind.batch_size(share), self.crew.recycling.left(handle)
            self.packing = self.backlog.take(size if left is None else min(size, left))
            handle.gpus = gpus or handle.gpus
            if self._send(handle, kind, now) and left is not None and self.crew.recycling.is_spent(handle):
                self.crew.spend(handle, now)

    def give_at_once(self, attempt: Attempt, now: float) -> Handle | None:
        """Give a light attempt (`is_light`) to an idle worker that has run its kind; None where it has to wait.

        Runs no code of the user's, so any thread may wait for it that has the baton.
        """
        kind = self._lately.get(attempt.spec)
        if kind is None or kind.hopeless(now) is not None or kind.error is not None or kind.item_bytes > LARGE:
            return None
        if kind.on_gpu or self.backlog or self.crew.recycling.on or attempt.memory_limit_mb is not None:
            return None
        if self.crew.is_full():
            return None
        for handle in self.crew.handles.values():
            if not handle.held and handle.greeted and kind.number in handle.known and handle.has_room():
                self.packing = [attempt]
                bay = handle.free_bay()
                self._hand_out(handle, kind, pack_light(kind, attempt, bay), bay, now)
                return handle
        return None

    def _send(self, handle: Handle, kind: Kind, now: float) -> bool:
        """Give a worker what is to be packed; tell whether anything could be."""
        bay = handle.free_bay()
        load = pack(self._kinds, kind, self.packing, bay)
        self._reports += load.refused
        self.packing = load.attempts
        if load.attempts:
            self._hand_out(handle, kind, load, bay, now)
        return bool(load.attempts)

    def _hand_out(self, handle: Handle, kind: Kind, load: Load, bay: Bay, now: float) -> None:
        self._before_batch(handle.worker_id)
        handle.give(kind, load.attempts, bay, load.batch)
        self.packing = ()
        if handle.outgoing:
            self.crew.want_writing(handle)
        handle.given_at = now
        self._looks.plan(handle, now)

    def next_timer(self) -> float | None:
        """Return when something is to be done about what waits, though no worker has anything to say."""
        timers: list[float] = []
        if self.backlog:
            if self.backlog.next_expiry is not None:
                timers.append(self.backlog.next_expiry)
            if self.crew.next_hire_at and self.crew.staff() < self.crew.target and not self.crew.is_full():
                timers.append(self.crew.next_hire_at)
        return min(timers, default=None)

    def _choose(self, kind: Kind, now: float) -> Handle | None:
        """Return an idle worker, else a new one, else one that will soon want more.

        One that waits to take the place of a spent one is idle, and has to wait until that holds nothing.
        """
        if self.crew.limit == 0:
            return None
        ready, spare, busy, full = None, None, 0, self.crew.is_full()
        replacing = self.crew.recycling.on
        for handle in self.crew.handles.values():
            if handle.has_room():
                if not handle.idle():
                    spare = handle
                elif full:
                    continue
                elif not replacing:
                    return handle
                else:
                    ready = ready or handle
            if replacing:
                busy += handle.counts()
        ready = None if full else ready or self.crew.hire(now)
        if ready is not None and busy < self.crew.target:
            return ready
        known = kind.ran_s is not None and kind.ran_s <= AHEAD_S
        return spare if known else None

    def note_end(self, handle: Handle, now: float) -> None:
        """Take note of a worker that ended while it got ready: from some deaths on no other is tried for a while."""
        found = handle.blamed()
        if found is None or handle.doomed not in (None, Doom.PREPARE) or not handle.words.preparing():
            return
        if handle.doomed is None and handle.status is not None and os.waitstatus_to_exitcode(handle.status) == -SIGKILL:
            return  # nobody does that to himself: a stranger did, and may do so to any worker
        kind = found[0].kind
        trials = kind.starting if handle.words.initializing() else kind.own
        if handle.doomed is None:
            trials.deaths += 1
            trials.end = describe_end(handle.status)
            if trials.deaths >= _DEATHS:
                trials.hopeless_until = now + _HOPELESS_S
        elif not trials.worked:
            trials.end, trials.hopeless_until = None, now + (self._looks.patience.initializer_s or 0.0)

    def fail_hopeless(self, now: float) -> None:
        """Fail what waits for a worker to get ready though none does; so is done with what comes, in `take`."""
        for trials, attempts in self.backlog.remove_hopeless(now):
            self._reports += [not_ready(attempt, trials, now, now, None) for attempt in attempts]

    def _forget(self, kind: Kind) -> None:
        for handle in self.crew.handles.values():
            if kind.number in handle.known and not any(held.kind is kind for held in handle.held):
                handle.known.discard(kind.number)
                handle.send(frames.FORGET, kind.number, b"")
                self.crew.want_writing(handle)
