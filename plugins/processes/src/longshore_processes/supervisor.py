"""The supervisor: one thread in the controller that feeds the workers, sees them end, and keeps the time limits.

In: batches of attempts, cancellations, sizes, the end, by `post` from any thread. Out: outcomes, progress and notices
to the host, in batches. One selector over a wake-up pipe, every worker's socket, output and pidfd; it sleeps until one
of them or the nearest deadline is due, and never polls.
"""

from __future__ import annotations

import selectors
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from time import monotonic, process_time

from longshore.chaos import point
from longshore.hookspecs import CancelRequest, ExecutorHost, LimitRequest, ResizeRequest
from longshore.task import Attempt
from longshore.worker import cancelled, failed

from longshore_processes import frames
from longshore_processes.autopsy import autopsy, end_notice
from longshore_processes.bell import Bell
from longshore_processes.codec import load
from longshore_processes.commands import STOPPED, Command, Leavings, Stop, leavings
from longshore_processes.crew import Crew, Ear, Terms
from longshore_processes.foreman import Foreman
from longshore_processes.frames import IDLE
from longshore_processes.handle import Doom, Handle
from longshore_processes.handover import Handover
from longshore_processes.outcomes import describe_end, settle
from longshore_processes.output import died_with
from longshore_processes.overseer import Overseer
from longshore_processes.spawner import Exited, Lost, Refused, Started
from longshore_processes.teller import Teller
from longshore_processes.timing import BEAT_S, Looks, Pulse
from longshore_processes.vigil import GivenUp, Vigil


class Supervisor:
    """Runs on its own thread; only `post`, `offer`, `join`, `handover` and `crew.handles` are for others."""

    _stop: Stop | None = None
    _broken: BaseException | None = None

    def __init__(
        self, host: ExecutorHost, terms: Terms, *, workers: int, on_held_up: Callable[[Supervisor, Attempt], None]
    ) -> None:
        """Get ready to keep up to `workers` workers; `on_held_up` is told when an argument holds the thread up."""
        self._host, self._teller = host, Teller(host)
        self._before_results, self._vigil = point("supervisor.before-results"), Vigil(partial(on_held_up, self))
        self._inbox, self._ending = deque[Command](), threading.Lock()
        self._bell, self._selector = Bell(), selectors.DefaultSelector()
        self._selector.register(self._bell, selectors.EVENT_READ, Ear(lambda _: self._bell.heard()))
        self._reports = self._teller.reports
        self.crew = Crew(
            self._selector,
            target=workers,
            terms=terms,
            post=self.post,
            on_frames=self._on_frames,
            on_end=self._on_end,
            on_notice=self._teller.notices.append,
        )
        self._looks, self._pulse = Looks(terms.patience), Pulse()
        self._foreman = Foreman(self.crew, self._looks, self._teller, self._vigil)
        self._overseer = Overseer(
            self._foreman,
            self._looks,
            drain=self._drain,
            write_off=self._write_off,
            no_start=self.crew.start_unanswered,
        )
        self.handover = Handover(
            self._selector,
            self._bell,
            self._foreman,
            self._pulse,
            before_results=self._before_results,
            is_open=lambda: not (self._inbox or self._stop or self._broken),
            settle=self._settle,
            tell=self._tell,
        )
        self._when_over: list[Callable[[], object]] | None = []
        self._thread = threading.Thread(target=self._run, name="longshore-processes", daemon=True)

    def start(self) -> None:
        """Start the thread; no worker before there is work. RuntimeError where the system has no more of them."""
        try:
            self._thread.start()
        except BaseException:
            self._release()
            raise

    def post(self, command: Command) -> None:
        """Hand over a command; from any thread, never blocks."""
        self._inbox.append(command)
        self._bell.ring()

    def offer(self, attempts: Sequence[Attempt]) -> None:
        """Hand over attempts, from any thread, without blocking. Where others wait before them, it need not wake."""
        if self.handover.offer(attempts):
            return
        self._inbox.append(attempts)
        self._bell.ring_unless_soon(monotonic())

    def when_over(self, call: Callable[[], object]) -> None:
        """Have `call` called when everything has ended: from the thread, or at once."""
        with self._ending:
            if self._when_over is not None:
                self._when_over.append(call)
                return
        call()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; tell whether it came."""
        self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    def give_up(self) -> Leavings | None:
        """Take all that it has, while its thread is held up, and have its workers end; None if it is not, any more."""
        if not self._vigil.give_up():
            return None
        for handle in list(self.crew.handles.values()):
            handle.kill()
            self._drain(handle)  # what it has finished is not to be run again
        self.crew.forsake()
        return leavings(self.crew, self._foreman, self._inbox, self._reports)

    # -- the loop

    def _run(self) -> None:
        given_up = False
        try:
            while not self._over():
                self._turn()
            self._tell()
        except GivenUp:
            given_up = True  # another has taken over, and clears away
        except BaseException as error:  # noqa: BLE001 - a fault of ours must fail the pool, not leave it waiting
            self._break(error)
            self._tell()
        finally:
            if not given_up:
                self.clear_away()
            with self._ending:
                calls, self._when_over = self._when_over or [], None
            for call in calls:
                with suppress(RuntimeError):  # the loop that waited is closed
                    call()

    def clear_away(self) -> None:
        """End and close all there is: on its own thread, or on that of whoever has given that up."""
        self._vigil.close()
        until = self._stop.deadline if self._stop else monotonic()
        self.crew.close(min(1.0, max(0.1, until - monotonic())), until)
        self._release()

    def _release(self) -> None:
        """Close the supervisor's own descriptors."""
        self.handover.close()
        self._selector.close()
        self._bell.close()

    def _over(self) -> bool:
        return self._stop is not None and (not self.crew.handles or monotonic() >= self._stop.deadline)

    def _turn(self) -> None:
        at = self._next_timer()
        self._bell.looks_at = at if at is not None and self._foreman.backlog else inf
        if self._inbox:  # looked at after that was said: who offered earlier may have relied on what was said before
            at = 0.0
        self._hear(at)
        now = monotonic()
        if (since := self._pulse.beat(now, process_time())) < now:
            self._hear(0.0)  # a selector that was interrupted may have told of nothing
            for handle in self.crew.handles.values():
                handle.pardon(since, now)
                self._looks.plan(handle, now)
        while self._inbox:
            self._obey(self._inbox.popleft())
        now = monotonic()
        for handle in list(self.crew.handles.values()):
            self._overseer.look(handle, now)
        self._foreman.expire(now)
        if self._broken is None:
            self._foreman.dispatch(now)
            if self._stop is None and (error := self.crew.exhausted()) is not None:
                self._break(error)
        self._tell()

    def _hear(self, until: float | None) -> None:
        """Wait for something to happen, and take it in: what workers printed before what came of it."""
        quiet = self._stop is None and not self._foreman.backlog and not self._reports
        ready = self.handover.rest(until, quiet=quiet, idle=not any(h.held for h in self.crew.handles.values()))
        for early in (True, False):
            for key, mask in ready:
                if key.data.early is early:
                    key.data.call(mask)
        for handle in list(self.crew.handles.values()):
            if handle.unread:
                self._on_frames(handle)

    def _next_timer(self) -> float | None:
        timers = [at for handle in self.crew.handles.values() for at in handle.timers()]
        if any(handle.held for handle in self.crew.handles.values()):
            timers.append(monotonic() + BEAT_S)
        else:
            self._pulse.rest()
        if self._stop is not None:
            timers.append(self._stop.deadline)
        timers += [at for at in (self._foreman.next_timer(), self._teller.until) if at is not None]
        return min(timers, default=None)

    def _tell(self) -> None:
        """Pass on what came of this turn."""
        self._teller.tell(more=bool(self._foreman.backlog))

    # -- commands

    def _obey(self, command: Command) -> None:
        match command:
            case CancelRequest():
                self._cancel(command)
            case ResizeRequest():
                self.crew.target = command.workers
                self._shrink()
                self._host.resized(command.workers)
            case LimitRequest():
                self.crew.limit = command.workers
            case Stop():
                self._begin_stop(command)
            case Started() | Refused() | Exited() | Lost():
                self.crew.take_news([command])
            case _:
                self._take(command)

    def _take(self, attempts: Sequence[Attempt]) -> None:
        if self._stop is not None or self._broken is not None:
            now = monotonic()
            error = self._broken
            self._reports += [
                failed(a, error, now, now, None) if error is not None else cancelled(a, now, now, None, STOPPED)
                for a in attempts
            ]
            return
        self._foreman.take(attempts)

    def _cancel(self, request: CancelRequest) -> None:
        wanted = set(request.task_ids)
        now = monotonic()
        for attempt in self._foreman.backlog.remove(wanted):
            wanted.discard(attempt.task_id)
            self._reports.append(cancelled(attempt, now, now, None, request.message))
        for handle in list(self.crew.handles.values()) if wanted else ():
            running = handle.words.running()[0]
            found = [(serial, a) for serial, a in handle.attempts() if a.task_id in wanted]
            self._foreman.cancels.update({attempt.task_id: request.message for _, attempt in found})
            if any(serial == running for serial, _ in found):
                self._overseer.kill(handle, Doom.CANCEL, running)
            elif found:
                self._overseer.withdraw(handle, now)

    def _shrink(self) -> None:
        """Let workers go that are too many: idle ones first, the others when their running item has ended."""
        now = monotonic()
        extra = self.crew.staff() - self.crew.target
        staff = [h for h in self.crew.handles.values() if not (h.retiring or h.doomed or h.gone)]
        for handle in sorted(staff, key=Handle.waiting)[: max(0, extra)]:
            handle.retiring = True
            self._overseer.withdraw(handle, now)
            self._overseer.let_go(handle)

    def _begin_stop(self, stop: Stop) -> None:
        self._stop = stop
        now = monotonic()
        self._reports += [cancelled(a, now, now, None, STOPPED) for a in self._foreman.backlog.clear()]
        for handle in list(self.crew.handles.values()):
            self._drain(handle)
            if handle.idle():
                handle.retire()
                continue
            self._reports += [
                cancelled(a, handle.given_at, now, handle.worker_id, STOPPED) for _, a in handle.attempts()
            ]
            handle.held.clear()
            self._overseer.kill(handle, Doom.STOP, IDLE)

    # -- what workers say

    def _on_frames(self, handle: Handle) -> None:
        self._before_results(handle.worker_id)
        for kind, number, payload in handle.read():
            if kind == frames.FINISHED:
                self._settle(handle, number)
            elif kind == frames.APART:
                handle.apart[number] = payload
            elif kind == frames.PROGRESS:
                self._on_progress(payload)
            elif kind == frames.LOG:
                self.crew.relay.record(payload)
            elif kind == frames.SKIPPED:
                self._on_skipped(handle, number)
            elif kind == frames.HELLO:
                handle.greeted = True
                handle.seen_at = monotonic()

    def _on_progress(self, payload: frames.Payload) -> None:
        with suppress(BaseException):  # a step may be an object of the user's: what can't be read is not told
            self._teller.updates.append(load(payload))

    def _settle(self, handle: Handle, finished: int) -> None:
        """Report what a worker has finished up to serial `finished`."""
        settled = settle(handle, finished)
        if not settled:
            return
        for outcomes in self.crew.shown(handle, settled):
            self._reports += outcomes
        handle.seen_at = now = monotonic()
        handle.slow = False
        if not handle.proved:
            handle.proved = True
            self.crew.succeeded(handle)
        self._looks.plan(handle, now)
        if not handle.retiring and self._stop is None and self.crew.recycling.is_overgrown(handle):
            self.crew.spend(handle, now)
            self._overseer.withdraw(handle, now)
        self._overseer.let_go(handle)

    def _on_skipped(self, handle: Handle, serial: int) -> None:
        """Take back what a worker had claimed when it saw that it was withdrawn."""
        if (back := handle.skipped(serial)) is not None:
            now = monotonic()
            self._foreman.put_back(*back, now)
            handle.slow = False
            self._looks.plan(handle, now)
        self._overseer.let_go(handle)

    def _drain(self, handle: Handle) -> None:
        """Take everything a worker has printed, sent and finished so far, however it ended since."""
        finished = handle.words.finished()  # before the rest is read: progress of those is on its way already
        self.crew.take_output(handle)
        handle.reader.dry = False
        while not handle.reader.dry:
            self._on_frames(handle)
        self._settle(handle, finished)

    # -- ends

    def _on_end(self, handle: Handle) -> None:
        """A worker is no more: settle what it ran, take back the rest, and have another in its place."""
        now = monotonic()
        self._drain(handle)
        output = self.crew.outputs[handle.number]
        self._foreman.note_end(handle, now)
        verdict = autopsy(handle, now, self._foreman.cancels)
        self._reports += died_with(verdict.outcomes, output.last(verdict.serial))
        for kind, attempts in verdict.back:
            self._foreman.put_back(kind, attempts, now)
        self._foreman.fail_hopeless(now)
        expected = handle.retiring or handle.doomed is not None
        if not handle.proved and verdict.culprit is None:
            if not expected:
                self.crew.start_failed(describe_end(handle.status)[0])
            elif handle.doomed is Doom.STUCK and not handle.greeted:
                self.crew.start_failed("it did not get as far as taking work")
        if handle.doomed is not Doom.STOP and (handle.doomed or not handle.retiring):
            self._teller.notices.append(end_notice(handle, verdict))
        self.crew.bury(handle)
        if self._stop is None and self._broken is None and not handle.retiring:
            self.crew.hire(now)  # so that whoever comes next finds one ready

    def _write_off(self, handle: Handle) -> None:
        """Go on without a worker that was killed and does not end."""
        if handle.number not in self.crew.handles:  # it ended in this very turn
            return
        handle.gone = handle.written_off = True
        self._on_end(handle)

    def _break(self, error: BaseException) -> None:
        """Fail for good: everything held fails with the cause, and so does the pool."""
        self._broken = error
        now = monotonic()
        self._reports += [failed(attempt, error, now, now, None) for attempt in self._foreman.backlog.clear()]
        for handle in list(self.crew.handles.values()):
            with suppress(Exception):  # it may be what is broken
                self._drain(handle)
            self._reports += [failed(attempt, error, now, now, None) for _, attempt in handle.attempts()]
            handle.held.clear()
            self._overseer.kill(handle, Doom.STOP, IDLE)
        self._host.failed(error)
