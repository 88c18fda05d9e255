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
from longshore._engine.learning import (
    FACTOR,
    RETRY_FACTOR,
    SURE_AFTER,
    Kind,
    Learning,
    Taken,
    cold_start_mb,
    raised_mb,
    starts_at_once,
)
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
TIGHT_MB = 512.0
"""Where a worker's share of the memory is less than this, who takes more than is set aside for him is ended at once: a
task of a size that nobody expected would else use up all there is before that could be measured."""
STARVED = "out_of_memory"
"""What executors give for the reason of such an end."""
STARVED_MOST = 2
"""So often a task whose worker the kernel ended for memory, at no limit of the task's own, is run again for free."""
AT_CAP_MOST = 2
"""So often a task may take more than all there is before it is told that it needs another machine."""


class Mark:
    """A task that was ended for the memory it took, or so that it came free."""

    __slots__ = ("at_cap", "forgiven", "hopeless", "limit_mb", "raised_mb", "shed", "starved")

    def __init__(self) -> None:
        """Be one that nothing has become of yet."""
        self.forgiven = 0
        """How many of its attempts don't count, as they were ended for others' sake."""
        self.shed = False
        """Whether its running attempt was asked to end for that."""
        self.hopeless = False
        """Whether it needs more than there is."""
        self.at_cap = self.starved = 0
        self.raised_mb = 0.0
        self.limit_mb: float | None = None
        """What its next attempt may take, if not what its spec says."""


class Memory:
    """What follows from the memory that tasks are known to take."""

    __slots__ = ("_dispatch", "_shedding", "_tight", "_warm", "learning", "marks", "used")

    def __init__(self, dispatch: Dispatch, learning: Learning) -> None:
        """Start with what was learnt before."""
        self._dispatch = dispatch
        self._shedding = Shedding()
        self._warm = Counter[Kind]()  # how many of each kind run, and have for a while
        self._tight: Share | None = None
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
        return self._dispatch.ledger.ceiling(MEMORY)

    def up(self, stimulus: ExecutorUp) -> None:
        """Take note of an executor: whether it tells what memory its tasks take."""
        if stimulus.weighs:
            self.used = True
            if stimulus.executor not in self._aside.weighing:
                self._aside.weighing.add(stimulus.executor)
                if self._aside.used:  # what waited for it already stays before what comes
                    self._dispatch.sort_out()
            self._beware(0.0)

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
        estimate_mb, before, tight = taken.memory_mb, self._aside.kinds.get(kind), self._tight
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
        if tight is not None:
            share = Share(max(tight.memory_mb, taken.first_mb or 0.0), None, held_to=True)
        same = before is not None and abs(share.memory_mb - before.memory_mb) <= CHANGE * before.memory_mb
        if before is None or not same or share[1:] != before[1:]:
            self._dispatch.set_aside(kind, share)

    # ---- what is measured

    def measured(self, measured: Measured, running: Running, busy: set[str], now: float) -> list[Shed]:
        """Take a reading; return whom to end for it: nobody that is `busy` being ended, or waiting for others."""
        memory = measured.loads.get(MEMORY)
        tasks_mb = sum(use.memory_mb for use in measured.tasks.values())
        self._beware(memory.usage * memory.per_unit - tasks_mb if memory is not None else 0.0)
        ramped = self._aside.ramped()
        if ramped:
            self._warm_up(ramped, measured.tasks, running)
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

    def _beware(self, base_mb: float) -> None:
        """Be careful with kinds of which nothing is known while memory is short or tight, and no more afterwards.

        `base_mb` is what is used beside the tasks.
        """
        workers = sum(self._dispatch.places[name].slots for name in self._aside.weighing)
        self._tight = self._tightness(base_mb, workers)
        share = self._tight
        if share is None and self._dispatch.here.brakes(MEMORY) and self._limit_mb < inf:
            share = Share(cold_start_mb(self._limit_mb, workers), starts_at_once(0))
        careful = self._aside.cold
        if not self._aside.beware(share):
            return
        if share is not None and not careful:
            self._dispatch.sort_out()
        for kind in [kind for kind in self._aside.kinds if self.learning.get(kind) is None]:
            self._dispatch.set_aside(kind, share or NOTHING)

    def _tightness(self, base_mb: float, workers: int) -> Share | None:
        """Return what is set aside for each task at least, where there is little for each worker; None where not.

        It follows what is used beside the tasks in steps, or all that waits would be sorted anew with each reading.
        """
        if not workers or self._limit_mb >= TIGHT_MB * workers:
            return None
        there_mb = self._dispatch.ledger.lendable(MEMORY)
        share_mb, before = max(LEAST_MB, (there_mb - max(0.0, base_mb)) / workers), self._tight
        if before is not None and abs(before.memory_mb - share_mb) <= CHANGE * before.memory_mb:
            return before
        return Share(share_mb, None, held_to=True)

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
        """Tell whether an attempt is not to be ended: it was asked to, keeps its memory, or may not run twice."""
        mark, spec = self.marks.get(attempt.task_id), attempt.spec
        shed = mark is not None and mark.shed
        return shed or spec.executor not in self._aside.weighing or spec.on_crash == "unknown"

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
        if outcome.error is not None and outcome.error.reason == STARVED:
            return self._starved(attempt, outcome)
        if not issubclass(kind_of(outcome), MemoryLimitExceeded):
            return outcome
        mark = self.marks.setdefault(attempt.task_id, Mark())
        error = outcome.error
        seen_mb = (error.peak_memory_mb if error is not None else None) or outcome.peak_memory_mb or 0.0
        reserved_mb = self._dispatch.ledger.lent_to(attempt.task_id).get(MEMORY, 0.0)
        if mark.raised_mb >= self._limit_mb:
            mark.at_cap += 1
            mark.hopeless = mark.at_cap >= AT_CAP_MOST
        own_mb = attempt.spec.memory_limit_mb
        limit_mb = attempt.memory_limit_mb or own_mb
        self._raise(attempt, mark, reserved_mb, seen_mb)
        if attempt.memory_limit_mb is not None and (own_mb is None or attempt.memory_limit_mb < own_mb):
            mark.shed = not mark.hopeless  # it was held to what we thought, and nobody said that it may take no more
            self._expect(attempt, mark)
            mark.limit_mb = mark.raised_mb if own_mb is None else min(own_mb, mark.raised_mb)
        elif limit_mb is not None:
            mark.limit_mb = max(limit_mb, mark.raised_mb)
        return _hopeless(attempt, outcome, self._limit_mb) if mark.hopeless else outcome

    def _expect(self, attempt: Attempt, mark: Mark) -> None:
        """Set the most that its kind was seen to take aside for a task, or all there is where it is the first so large.

        Every try in between would be ended as well, and cost as much.
        """
        known = self.learning.get(self._kind(attempt))
        most_mb = known.most_mb * FACTOR if known is not None else 0.0
        enough = most_mb >= mark.raised_mb
        mark.raised_mb = min(most_mb, self._limit_mb) if enough else self._limit_mb
        self._aside.raised[attempt.task_id] = mark.raised_mb

    def _starved(self, attempt: Attempt, outcome: Outcome) -> Outcome:
        """Have a task run again whose worker the kernel ended, as all memory was used up: as if we had ended it."""
        mark = self.marks.setdefault(attempt.task_id, Mark())
        mark.starved += 1
        if mark.starved <= STARVED_MOST:
            mark.shed = True
            reserved_mb = self._dispatch.ledger.lent_to(attempt.task_id).get(MEMORY, 0.0)
            self._raise(attempt, mark, reserved_mb, outcome.peak_memory_mb or reserved_mb)
        return outcome

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
