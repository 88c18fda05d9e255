"""The memory of tasks: what their kinds take is learnt, what they need is set aside, and who took too much tries again.

Asked by the engine once any executor tells what memory its tasks take; before that `used` is false, and nothing is
looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import inf

from msgspec.structs import replace

from longshore._columns import ids_of, weighed
from longshore._engine.aside import NOTHING, Aside, Share
from longshore._engine.dispatch import Dispatch
from longshore._engine.learning import RETRY_FACTOR, SURE_AFTER, Kind, Learning, Taken, raised_mb, starts_at_once
from longshore._engine.ledger import MEMORY
from longshore._engine.messages import ExecutorUp, InUse, Measured, Shed
from longshore._engine.retry import expired, kind_of
from longshore._engine.running import Running
from longshore._engine.shedding import Candidate, Shedding
from longshore.errors import MemoryLimitExceeded
from longshore.task import Attempt, ErrorRecord, Outcome, TaskState

HEAVY = 0.10
"""A kind counts once all workers of its executor together would take this part of the memory there is for it."""
LIGHT = 0.05
"""Below this part it counts no more."""
CHANGE = 0.05
"""What is set aside follows what was learnt in steps of this part."""
WARM_S = 3.0
"""A task that has run for so long shows what its kind takes, though it has not ended."""
LEAST_MB = 64.0
"""What is set aside at least for a kind of which none has ended: it may be waiting for its input."""
AT_CAP_MOST = 2
"""So often a task may take more than all there is before it is told that it needs another machine."""


class Mark:
    """A task that was ended for the memory it took, or so that it came free."""

    __slots__ = ("at_cap", "forgiven", "hopeless", "limit_mb", "raised_mb", "shed")

    def __init__(self) -> None:
        """Be one that nothing has become of yet."""
        self.forgiven = 0
        """How many of its attempts don't count, as they were ended for others' sake."""
        self.shed = False
        """Whether its running attempt was asked to end for that."""
        self.hopeless = False
        """Whether it needs more than there is."""
        self.at_cap = 0
        self.raised_mb = 0.0
        self.limit_mb: float | None = None
        """What its next attempt may take, if not what its spec says."""


class Memory:
    """What follows from the memory that tasks are known to take."""

    __slots__ = ("_dispatch", "_shedding", "_warm", "learning", "marks", "used")

    def __init__(self, dispatch: Dispatch, learning: Learning) -> None:
        """Start with what was learnt before."""
        self._dispatch = dispatch
        self._shedding = Shedding()
        self._warm = Counter[Kind]()  # how many of each kind run, and have for a while
        self.learning = learning
        dispatch.aside.known = lambda kind: learning.get(kind) is not None
        self.marks: dict[str, Mark] = {}
        """By task, of those that have not ended."""
        self.used = False

    @property
    def _aside(self) -> Aside:
        return self._dispatch.aside

    @property
    def _limit_mb(self) -> float:
        return self._dispatch.ledger.capacity.get(MEMORY, inf)

    def up(self, stimulus: ExecutorUp) -> None:
        """Take note of an executor: whether it tells what memory its tasks take."""
        if stimulus.weighs:
            self.used = True
            if stimulus.executor not in self._aside.weighing:
                self._aside.weighing.add(stimulus.executor)
                if self._aside.used:  # what waited for it already stays before what comes
                    self._dispatch.sort_out()

    def again(self, task_id: str) -> tuple[bool | None, int]:
        """Return whether a task whose attempt ended is to be tried again whatever its policy says (None: as that says).

        And how many attempts do not count. One that was ended for others' sake is tried again, and not counted.
        """
        mark = self.marks.get(task_id)
        if mark is None:
            return None, 0
        if mark.shed:
            mark.shed = False
            mark.forgiven += 1
            return True, mark.forgiven
        return (False if mark.hopeless else None), mark.forgiven

    def next_attempt(self, attempt: Attempt) -> Attempt:
        """Return the attempt that follows, with what it may take now."""
        mark = self.marks.get(attempt.task_id)
        return attempt if mark is None or mark.limit_mb is None else replace(attempt, memory_limit_mb=mark.limit_mb)

    def forget(self, task_ids: Iterable[str]) -> None:
        """Remember nothing of tasks that have ended."""
        for task_id in task_ids:
            self.marks.pop(task_id, None)
            self._aside.raised.pop(task_id, None)

    # ---- learning

    def ended(self, outcomes: Sequence[Outcome], running: Running) -> None:
        """Learn from attempts that are reported, before they are taken off."""
        asked = self._shedding.asked
        if asked is not None and asked in ids_of(outcomes) and _is_current(running.get(asked), outcomes):
            self._shedding.ended(asked)
        for outcome in outcomes if self._aside.cold else weighed(outcomes):
            attempt = running.get(outcome.task_id)
            if attempt is not None and attempt.number == outcome.attempts and outcome.state is TaskState.COMPLETED:
                self._learn(attempt, outcome)

    def _learn(self, attempt: Attempt, outcome: Outcome) -> None:
        kind, peak_mb = self._kind(attempt), outcome.peak_memory_mb
        if peak_mb is None:
            if self.learning.get(kind) is None and kind in self._aside.kinds:
                self._dispatch.set_aside(kind, NOTHING)  # it is over before anybody can look
            return
        cores = outcome.cpu_s / outcome.ran_s if outcome.cpu_s is not None and outcome.ran_s > 0 else None
        self._follow(attempt, kind, self.learning.saw(kind, peak_mb, cores))

    def _kind(self, attempt: Attempt) -> Kind:
        return Kind.of(attempt.spec, attempt.args, attempt.kwargs)

    def _follow(self, attempt: Attempt, kind: Kind, taken: Taken) -> None:
        """Set aside what was learnt, if it is enough to count, and is another than before."""
        estimate_mb, before = taken.memory_mb, self._aside.kinds.get(kind)
        if estimate_mb is None or not self._aside.takes_part(attempt.spec) or self._limit_mb == inf:
            return
        workers = max(1, self._dispatch.places[attempt.spec.executor].slots)
        part = estimate_mb * workers / self._limit_mb if self._limit_mb > 0 else inf
        if part < (LIGHT if before is not None and before.memory_mb else HEAVY):
            if before is not None and before != NOTHING:
                self._dispatch.set_aside(kind, NOTHING)
            return
        known = taken.count + taken.ended + self._warm[kind]
        share = Share(estimate_mb, None if known >= SURE_AFTER else starts_at_once(known))
        same = before is not None and abs(share.memory_mb - before.memory_mb) <= CHANGE * before.memory_mb
        if before is None or not same or share.most != before.most:
            self._dispatch.set_aside(kind, share)

    # ---- what is measured

    def measured(self, measured: Measured, running: Running, busy: set[str], now: float) -> list[Shed]:
        """Take a reading; return whom to end for it: nobody that is `busy` being ended, or waiting for others."""
        short = self._dispatch.brakes(MEMORY)
        if short is not self._aside.cold:
            self._beware(short)
        ramped = self._aside.ramped()
        if ramped:
            self._warm_up(ramped, measured.tasks, running)
        memory = measured.loads.get(MEMORY)
        found = self._shedding.see(memory, now, len(running), lambda: self._candidates(measured.tasks, running, busy))
        if found is None:
            return []
        task_id, used_mb = found.attempt.task_id, found.use.memory_mb
        mark = self.marks.setdefault(task_id, Mark())
        mark.shed = True
        self._raise(found.attempt, mark, found.reserved_mb, used_mb)
        message = (
            f"task {task_id} ({found.attempt.spec.name}) was ended to free the {used_mb:.0f} MB of memory that it "
            "took, as too little was left; it runs again when there is room, and this attempt does not count"
        )
        return [Shed(found.attempt.spec.executor, (task_id,), message)]

    def _beware(self, short: bool) -> None:
        """Be careful with kinds of which nothing is known while memory is short, and no more afterwards."""
        workers = sum(self._dispatch.places[name].slots for name in self._aside.weighing)
        if short and self._limit_mb < inf:
            self._aside.beware(self._limit_mb, workers)
            self._dispatch.sort_out()
        elif not short:
            self._aside.beware(None)
            for kind in [kind for kind in self._aside.kinds if self.learning.get(kind) is None]:
                self._dispatch.set_aside(kind, NOTHING)

    def _warm_up(self, ramped: list[Kind], tasks: Mapping[str, InUse], running: Running) -> None:
        """Let more of a kind run at once, where some have for a while, and so show what they take."""
        found = [running.get(task_id) for task_id, use in tasks.items() if use.running_s >= WARM_S]
        warm = [attempt for attempt in found if attempt is not None]
        self._warm = Counter(map(self._kind, warm))
        for kind in ramped:
            share, taken = self._aside.kinds[kind], self.learning.get(kind)
            known = self._warm[kind] + (taken.count + taken.ended if taken is not None else 0)
            memory_mb = share.memory_mb
            if taken is None and self._warm[kind]:
                alike = [attempt for attempt in warm if self._kind(attempt) == kind]
                seen_mb = max(tasks[attempt.task_id].memory_mb for attempt in alike)
                memory_mb = min(memory_mb, max(LEAST_MB, RETRY_FACTOR * seen_mb))
                for attempt in alike:
                    if self._aside.takes_part(attempt.spec) and attempt.task_id not in self._aside.raised:
                        self._dispatch.ledger.lower(attempt.task_id, memory_mb)
            changed = Share(memory_mb, None if known >= SURE_AFTER else starts_at_once(known))
            if share != changed:
                self._dispatch.set_aside(kind, changed)

    def _candidates(self, tasks: Mapping[str, InUse], running: Running, busy: set[str]) -> list[Candidate]:
        lent_to = self._dispatch.ledger.lent_to
        return [
            Candidate(attempt, use, lent_to(task_id).get(MEMORY, 0.0))
            for task_id, use in tasks.items()
            if task_id not in busy and (attempt := running.get(task_id)) is not None and not self._is_ending(attempt)
        ]

    def _is_ending(self, attempt: Attempt) -> bool:
        """Tell whether it would be of no use to end an attempt: it was asked to already, or keeps its memory."""
        mark = self.marks.get(attempt.task_id)
        return (mark is not None and mark.shed) or attempt.spec.executor not in self._aside.weighing

    # ---- who took too much

    def judge(self, attempt: Attempt, outcome: Outcome, now: float) -> Outcome:
        """Return the outcome of an attempt that did not complete, before it is taken off; see what follows of it."""
        mark = self.marks.get(attempt.task_id)
        if mark is not None and mark.shed:
            mark.shed = outcome.state is TaskState.CANCELLED
            if mark.shed and attempt.expires_at is not None and now >= attempt.expires_at:
                mark.shed = False
                return expired(attempt, now)
        if outcome.state is not TaskState.FAILED or attempt.spec.executor not in self._aside.weighing:
            return outcome
        if not issubclass(kind_of(outcome), MemoryLimitExceeded):
            return outcome
        mark = self.marks.setdefault(attempt.task_id, Mark())
        error = outcome.error
        seen_mb = (error.peak_memory_mb if error is not None else None) or outcome.peak_memory_mb or 0.0
        reserved_mb = self._dispatch.ledger.lent_to(attempt.task_id).get(MEMORY, 0.0)
        if mark.raised_mb >= self._limit_mb:
            mark.at_cap += 1
            mark.hopeless = mark.at_cap >= AT_CAP_MOST
        self._raise(attempt, mark, reserved_mb, seen_mb)
        limit_mb = attempt.memory_limit_mb or attempt.spec.memory_limit_mb
        if limit_mb is not None:
            mark.limit_mb = max(limit_mb, mark.raised_mb)
        return _hopeless(attempt, outcome, self._limit_mb) if mark.hopeless else outcome

    def _raise(self, attempt: Attempt, mark: Mark, reserved_mb: float, seen_mb: float) -> None:
        """Have a task reserve more when it is tried again, and its kind at once."""
        kept_mb = max(reserved_mb, mark.raised_mb)
        if seen_mb <= kept_mb:
            kept_mb /= RETRY_FACTOR  # it took no more than was set aside: that was enough
        mark.raised_mb = raised_mb(kept_mb, seen_mb, self._limit_mb)
        self._aside.raised[attempt.task_id] = mark.raised_mb
        kind = self._kind(attempt)
        self._follow(attempt, kind, self.learning.cut_off(kind, seen_mb))


def _is_current(attempt: Attempt | None, outcomes: Sequence[Outcome]) -> bool:
    """Tell whether one of these is the end of this attempt, and not of one before it that is reported late."""
    if attempt is None:
        return False
    return any(one.task_id == attempt.task_id and one.attempts == attempt.number for one in outcomes)


def _hopeless(attempt: Attempt, outcome: Outcome, limit_mb: float) -> Outcome:
    message = (
        f"task {attempt.task_id} ({attempt.spec.name}) needs more than this machine: {AT_CAP_MOST} times it took more "
        f"than the {limit_mb:.0f} MB of memory that tasks may take in all; give it less at once, or raise "
        "limits.max_memory_percent"
    )
    last = outcome.error or ErrorRecord(type="", message="", attempt=attempt.number)
    record = replace(last, type="longshore.errors.MemoryLimitExceeded", message=message, reason="memory")
    facts = {"reason": "memory", "limit_mb": limit_mb, "peak_memory_mb": last.peak_memory_mb}
    exception = MemoryLimitExceeded(message, **facts)
    exception.__cause__ = outcome.exception
    return replace(outcome, error=record, exception=exception)
