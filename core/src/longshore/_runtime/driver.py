"""The driver: carries stimuli to the engine and its commands out, on the pool's loop, one step per batch.

Reports and submissions only queue a stimulus and ask for a step; the step pulls from hungry streams, lets the engine
decide, and carries out. Nothing here polls: a step follows from a stimulus or from the engine's own next due time.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import copy_context

from longshore._engine.engine import Engine
from longshore._engine.messages import (
    Abort,
    AskRunning,
    CancelAttempts,
    Command,
    Dismiss,
    Drain,
    Lend,
    Limit,
    Refuse,
    Reported,
    Scale,
    Settle,
    Start,
    Stimulus,
    Tangled,
    Tell,
    Tick,
    Unpause,
)
from longshore._packing import message_of
from longshore._runtime.alarm import Alarm
from longshore._runtime.asking import cancel_running, running_for
from longshore._runtime.idling import Idling
from longshore._runtime.line import Line
from longshore._runtime.loops import check_on, in_no_task
from longshore._runtime.owners import Feeder, Owner, error_of
from longshore._runtime.recording import Recorder
from longshore._runtime.submissions import Submissions
from longshore._runtime.turnstile import Turnstile
from longshore._runtime.waiting import OpenWaits
from longshore._runtime.withholding import Withheld
from longshore.errors import LongshoreError, PoolNotRunning
from longshore.events import EventBatch, ProgressUpdate, TasksProgressed, TasksSettled
from longshore.hookspecs import CancelRequest, Executor, WorkerNotice
from longshore.task import Attempt, Outcome, Priority, TaskSpec

_TICK = (Tick(),)
_BURST = 128
"""Where tasks run in other processes, so many that were submitted without a break are given out before there is one."""


class Driver:
    """One pool's engine at work. Made and used on the loop's thread; `inject` and the reports may come from any."""

    claim: Callable[[str, Sequence[Attempt]], Sequence[Attempt]] | None = None
    """Asked, with the executor's name, which attempts that are about to start there may; None: all may."""

    def __init__(
        self,
        engine: Engine,
        *,
        publish: Callable[[EventBatch], None],
        notice: Callable[[WorkerNotice], None],
        recorder: Recorder | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take an engine; `publish` gets each batch of events in order."""
        self.engine = engine
        self.executors: dict[str, Executor] = {}
        self.failure: BaseException | None = None
        self._publish = publish
        self.notice = notice
        self.recorder = recorder
        self._held = Withheld(recorder, self.executors, self.reported) if recorder is not None else None
        self._clock = clock
        self.loop = asyncio.get_running_loop()
        self._context = copy_context()  # steps run in it, not in that of a task that happened to ask for one
        self._thread = threading.get_ident()
        self._submits = Submissions()
        self._stimuli: list[Stimulus] = []
        self._inbox: deque[Callable[[], None]] = deque()
        self._owners: dict[TaskSpec, Owner] = {}
        self.others: Owner | None = None
        """Who is sent the outcomes of specs that nobody owns; what is not his he ignores."""
        self._feeders: deque[Feeder] = deque()
        self.cuts: set[Callable[[LongshoreError], None]] = set()
        """Who beside feeders is told when no more is taken: the pool is stopping, or has failed."""
        self._scheduled = self._stepping = False
        self.alarm = Alarm(self.loop, self.wake, clock)
        self.waits = OpenWaits(self.stimulate, engine.is_running)
        self.adapt: Callable[[Lend | Limit | Scale], None] = lambda command: None
        """How an executor is given workers beyond its own, or told to use fewer of them."""
        self._turnstiles = (Turnstile(self.wake, self.waits), Turnstile(self.wake, self.waits))  # ordinary, urgent
        self.line = Line(engine.refuses, engine.site_of, self.wake)
        """Who waits for resources outside of the queue."""
        self._idling = Idling(lambda: self.idle)
        self._draining = self._aborting = self._closed = False

    # ---- from the loop's thread

    def own(self, spec: TaskSpec, owner: Owner) -> None:
        """Send the outcomes of a spec's tasks to `owner`, until `disown`."""
        self._owners[spec] = owner

    def disown(self, spec: TaskSpec) -> None:
        """Send the outcomes of a spec's tasks to nobody but `others`."""
        self._owners.pop(spec, None)

    def feed(self, feeder: Feeder) -> None:
        """Pull tasks from `feeder` whenever there is room, until `unfeed`."""
        self._feeders.append(feeder)
        self.wake()

    def unfeed(self, feeder: Feeder) -> None:
        """Pull no more from `feeder`."""
        if feeder in self._feeders:
            self._feeders.remove(feeder)

    def room(self, priority: Priority) -> int:
        """Return how many more tasks may be submitted now; outcomes that wait for their commit count as queued."""
        urgent = priority is Priority.CRITICAL
        uncommitted = self.recorder.waiting[urgent] if self.recorder is not None else 0
        taken = self._submits.pending[urgent] + self._turnstiles[urgent].granted + uncommitted
        return max(0, self.engine.room(priority) - taken)

    def submit(self, spec: TaskSpec, tasks: Sequence[Attempt], *, hurry: bool = False) -> None:
        """Submit tasks for which there is room; in a `hurry` those that run elsewhere may have started on return."""
        together = self._submits.add(spec, tasks)
        alone = not self._scheduled and hurry and self.engine.idle and not self._feeders
        if (alone or (hurry and together >= _BURST)) and self.executors[spec.executor].capabilities.pickles:
            self._step_now()
        else:
            self.wake()

    def dismiss(self, tasks: Sequence[Attempt], outcomes: Sequence[Outcome]) -> None:
        """Have tasks of one spec accepted and ended unrun, with these outcomes; they need no room."""
        self.stimulate(Dismiss(tasks[0].spec, tasks, outcomes))

    def stimulate(self, stimulus: Stimulus) -> None:
        """Queue a stimulus and see to a step."""
        self._stimuli.append(stimulus)
        self.wake()

    def wake(self) -> None:
        """See to a step soon."""
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self.loop.call_soon(self._step, context=self._context)

    @property
    def unseen(self) -> bool:
        """Whether something was submitted that the engine has not seen yet."""
        return bool(self._submits)

    def crowded(self, priority: Priority) -> bool:
        """Tell whether there is no room, or others wait for it."""
        return bool(self._turnstiles[priority is Priority.CRITICAL]) or self.room(priority) <= 0

    async def wait_for_room(self, priority: Priority) -> None:
        """Wait until there is room, in the order of asking; it is the caller's until he next awaits something."""
        self.check()
        if self.crowded(priority):
            await self._turnstiles[priority is Priority.CRITICAL].wait()
            self.check()

    async def wait_until_idle(self) -> None:
        """Wait until every accepted task has ended and been told; PoolNotRunning if the pool fails."""
        await self._idling.wait(lambda: self.failure is not None)
        self._check_failed()

    async def wait_until_drained(self) -> bool:
        """Wait until every accepted task has ended and been told; False if `abort` or a failure came before."""
        await self._idling.wait(lambda: self._aborting or self.failure is not None)
        return self.failure is None and not self._aborting

    @property
    def idle(self) -> bool:
        """Whether every accepted task has ended and been told, and no stream is about to give more."""
        if self._submits or self._stimuli or self._inbox or not self.engine.idle:
            return False
        uncommitted = self.recorder is not None and any(self.recorder.waiting)
        return not uncommitted and not any(feeder.hungry for feeder in self._feeders)

    @property
    def ending(self) -> bool:
        """Whether it takes no more work: it is stopping, or over."""
        return self._closed or self._draining

    def check(self) -> None:
        """Raise PoolNotRunning if the pool takes no work: it has failed, is stopping, or is over; WrongPlace."""
        check_on(self.loop)
        self._check_failed()
        if self._closed or self._draining:
            raise PoolNotRunning(f"the pool takes no work: it {'has stopped' if self._closed else 'is stopping'}")

    def check_here(self) -> None:
        """Raise WrongPlace if this is not called on the pool's loop, where nothing would ever wake the caller."""
        check_on(self.loop)

    def _check_failed(self) -> None:
        if self.failure is not None:
            raise PoolNotRunning(f"the pool has failed: {message_of(self.failure)}") from self.failure

    # ---- the end

    def drain(self) -> None:
        """Take no more; what was accepted goes on, also if the pool was paused."""
        self._draining = True
        feeders, self._feeders = self._feeders, deque()
        for cut in [*(feeder.cut for feeder in feeders), *self.cuts]:
            cut(PoolNotRunning("the pool was stopped before the stream had given all its items"))
        self._turn_away()
        self.inject(lambda: self._stimuli.extend((Unpause(), Drain())))  # behind a `pause` that is on its way

    def abort(self) -> None:
        """Cancel what there is, if there is anything."""
        if not self.idle and not self._aborting:
            self._aborting = True
            self.stimulate(Abort())
            self._idling.release()

    def fail(self, error: BaseException) -> None:
        """Stop for good: everything that waits is told why, what runs is asked to end."""
        if self.failure is not None:
            return
        self.failure = error
        self._feeders.clear()
        self._turn_away()
        self._idling.release()
        refusal = PoolNotRunning(f"the pool has failed: {message_of(error)}")
        refusal.__cause__ = error
        self._give_up_on_owners(refusal)
        for cut in list(self.cuts):
            cut(refusal)
        cancel_running(self.engine, self.executors, "cancelled: the pool has failed")

    def close(self) -> None:
        """End for good; no step comes after, and whoever still waits is told."""
        self._closed = True
        self.alarm.cancel()
        self._turn_away()
        self._give_up_on_owners(PoolNotRunning("the pool has stopped, and the outcome of this task is not known"))

    def _turn_away(self) -> None:
        for turnstile in self._turnstiles:
            turnstile.turn_away()
        self.line.turn_away()

    def _give_up_on_owners(self, refusal: LongshoreError) -> None:
        owners, self._owners = self._owners, {}
        for owner in filter(None, (*owners.values(), self.others)):
            owner.refuse((), refusal)

    # ---- from any thread

    def inject(self, act: Callable[[], None]) -> None:
        """Have `act` called on the loop's thread, before the next decision."""
        if self._closed:
            return
        self._inbox.append(act)
        with suppress(RuntimeError):  # the loop was closed under the pool: nobody waits any more
            if threading.get_ident() == self._thread:
                self.wake()
            elif not self._scheduled:
                self._scheduled = True
                self.loop.call_soon_threadsafe(self._step, context=self._context)

    def reported(self, executor: str, outcomes: Sequence[Outcome]) -> None:
        """Take an executor's report."""
        if threading.get_ident() == self._thread:
            quiet = not self._scheduled and not self._feeders
            alone = quiet and self.engine.runs_only(len(outcomes)) and in_no_task()
            self._stimuli.append(Reported(executor, outcomes))
            if alone:
                self._step_now()
            else:
                self.wake()
        else:
            self.inject(lambda: self._stimuli.append(Reported(executor, outcomes)))

    # ---- a step

    def _step_now(self) -> None:
        """Do a step at once, unless this is a part of one, where another follows."""
        if self._stepping or self._closed:
            self.wake()
        else:
            self._context.run(self._step)

    def _step(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        now = self._clock()
        self._stepping = True
        try:
            while self._inbox:
                self._inbox.popleft()()
            if self.failure is not None:
                return  # nobody waits any more, and what broke may break again
            if self._feeders:
                self._pull()
            for command in self.engine.handle(self._take() or _TICK, now):
                self._carry_out(command)
        except Exception as error:  # noqa: BLE001 - an executor or sink that breaks its contract must not hang the pool
            self.fail(error)
            return
        finally:
            self._stepping = False
        if self._feeders or self.line or self._turnstiles[0] or self._turnstiles[1]:
            self._let_in()
        self._idling.look()
        self.alarm.set(self.engine.next_due())

    def _take(self) -> list[Stimulus]:
        """Take what the engine is to be told, submissions first: a retry would take the room that they were promised.

        Reports also wait a turn of the loop for those that were let in and have not come yet.
        """
        now, late = self._stimuli, list[Stimulus]()
        if self._turnstiles[0].granted or self._turnstiles[1].granted:
            late = [one for one in now if isinstance(one, Reported)]
            now = [one for one in now if not isinstance(one, Reported)]
        taken = [*self._submits.take(), *now]
        self._stimuli = late
        if late:
            self.wake()
        return taken

    def _pull(self) -> None:
        """Share the room out among the streams that have more; who is asked first takes turns."""
        self._feeders.rotate(-1)
        hungry = [feeder for feeder in self._feeders if feeder.hungry]
        for others, feeder in zip(range(len(hungry), 0, -1), hungry, strict=True):
            room = self.room(feeder.spec.priority)
            attempts = feeder.pull(-(-room // others)) if room else []
            if attempts:
                self._submits.put(feeder.spec, attempts)

    def _carry_out(self, command: Command) -> None:
        match command:
            case Settle():
                (self.tell if self.recorder is None else self.recorder.settled)(command.spec, command.outcomes)
            case Start():
                attempts = command.attempts if self.claim is None else self.claim(command.executor, command.attempts)
                if self._held is not None:
                    attempts = self._held.admit(command, attempts)
                if attempts:
                    self.executors[command.executor].submit(attempts)
            case Tell():
                if self.recorder is not None:
                    self.recorder.note(command.batch)
                self._publish(command.batch)
            case CancelAttempts():
                ids = command.task_ids if self._held is None else self._held.cancel(command)
                self.executors[command.executor].cancel(CancelRequest(ids, command.message))
            case Refuse():
                self._refuse(command)
            case AskRunning():
                self.stimulate(running_for(command.executor, self.executors[command.executor], command.task_ids))
            case Lend() | Limit() | Scale():
                self.adapt(command)
            case Tangled():
                if self.recorder is None or not any(self.recorder.waiting):  # else an end is about to be told
                    self.waits.refuse(command)

    def tell(self, spec: TaskSpec, outcomes: Sequence[Outcome]) -> None:
        """Tell callers, then everybody, of outcomes that stand."""
        owner = self._owners.get(spec, self.others)
        if owner is not None:
            owner.settle(outcomes)
        self._publish(TasksSettled(spec, outcomes))

    def _refuse(self, refusal: Refuse) -> None:
        owner = self._owners.get(refusal.tasks[0].spec, self.others) if refusal.tasks else None
        if owner is not None:
            owner.refuse(refusal.tasks, error_of(refusal))

    def progress(self, updates: Sequence[ProgressUpdate]) -> None:
        """Tell what running tasks say of themselves; what comes after their end is dropped."""
        running = [u for u in updates if self.engine.is_running(u.task_id)]
        if running:
            self._publish(TasksProgressed(running))

    def _let_in(self) -> None:
        """Let those in who wait for room, and see to another step while streams have more and there is room."""
        for turnstile, priority in zip(self._turnstiles, (Priority.NORMAL, Priority.CRITICAL), strict=True):
            if turnstile:
                turnstile.let_in(self.room(priority))
        self.line.let_in()
        if any(feeder.hungry and self.room(feeder.spec.priority) > 0 for feeder in self._feeders):
            self.wake()
