"""A run that is only computed: the engine decides as it would, and the world that it decides for is numbers.

Nothing runs and no time passes. Each task takes as long, and as much memory, as it is said to; a worker takes one task
at a time; machines are lost when they are said to be. What is computed twice comes out the same.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from heapq import heapify, heappop, heappush
from itertools import islice
from math import inf

from msgspec import Struct

from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.messages import (
    Command,
    ExecutorUp,
    InUse,
    Measured,
    Refuse,
    Reported,
    Settle,
    Shed,
    Start,
    Stimulus,
    Submit,
    Tick,
)
from longshore._sketch import Sketch
from longshore.records import Load
from longshore.task import (
    Attempt,
    ErrorRecord,
    Outcome,
    PlainOutcome,
    Priority,
    Resources,
    RetryPolicy,
    TaskSpec,
    TaskState,
)
from longshore.testing._fleet import Loss, Simulated, Waits, Work

__all__ = ["Loss", "Simulated", "Simulation", "Waits", "Work"]

READING_S = 1.0
_BATCH = 64
_SOFT_SHARE = 65.0 / 75.0
_DIED = ErrorRecord(type="longshore.errors.WorkerDied", message="its machine was lost", reason="signal 9")


class _Run(Struct):
    attempt: Attempt
    work: Work
    began: float
    worker: int

    def used_mb(self, now: float) -> float:
        """Return what it has taken by now: it fills its memory in the first half of its time."""
        share = min(1.0, 2.0 * (now - self.began) / self.work.ran_s) if self.work.ran_s > 0 else 1.0
        return (self.work.peak_memory_mb or 0.0) * share


class Simulation:
    """An engine, and the fleet that its commands act on."""

    def __init__(
        self,
        works: Iterable[Work],
        *,
        workers: Mapping[str, int],
        memory_mb: float | None = None,
        limit_percent: float = 75.0,
        losses: Sequence[Loss] = (),
        uniform: Callable[[], float] = lambda: 0.5,
        learnt: Mapping[str, object] | None = None,
        capacity: Mapping[str, float] | None = None,
        controller_s: float = 0.0,
    ) -> None:
        """Do these works, in this order, on so many workers by executor; ValueError for a fleet that has none.

        With `memory_mb` the fleet has so much memory in all, of which tasks may use `limit_percent`; `capacity` is
        what there is of other resources, by name. Of CPUs there are as many as workers. `works` is taken
        as the queue has room. A task whose machine is lost runs again. Each task that
        has ended keeps the controller busy for `controller_s`, one after the other: meanwhile free workers wait.
        """
        if not workers or any(count < 1 for count in workers.values()):
            raise ValueError("each executor needs at least one worker")
        self.workers = dict(workers)
        self._works = iter(works)
        self._memory_mb, self._limit, self._controller_s = memory_mb, limit_percent, controller_s
        total, limit_mb = sum(workers.values()), (memory_mb or 0.0) * limit_percent / 100.0
        config = EngineConfig(
            max_queue_size=max(100, 2 * total),
            max_concurrent_tasks=total,
            capacity={"cpu": float(total), **({"memory": limit_mb} if memory_mb else {}), **(capacity or {})},
            learnt=learnt or {},
        )
        self.engine = Engine(config, uniform)
        self._losses = sorted(losses, key=lambda loss: loss.at)
        self._begin_with_nothing()

    def _begin_with_nothing(self) -> None:
        self.now = 0.0
        self._specs: dict[tuple[str, str, Resources | None], TaskSpec] = {}
        self._of: dict[str, Work] = {}
        self._next: deque[Work] = deque()
        self._ready: deque[Work] = deque()  # stages that follow one that has ended
        self._running: dict[str, _Run] = {}
        self._ends: list[tuple[float, str, int]] = []
        self._free = {name: list(range(count)) for name, count in self.workers.items()}
        self._gone: dict[str, set[int]] = {name: set() for name in self.workers}
        self._returns: list[tuple[float, str, Sequence[int]]] = []
        self._number = 0
        self._digest = sha256()
        self._reading_at = 0.0
        self._queued, self._idle = Sketch(), Sketch()
        self._free_since: dict[tuple[str, int], float] = {}  # of workers that have had a task
        self._lost_s = self._decide_s = self._peak_mb = 0.0
        self._completed = self._starts = self._shed = self._refused = self._given_up = 0
        self._busy_s = dict.fromkeys(self.workers, 0.0)

    def run(self, told: Callable[[int, float], None] | None = None) -> Simulated:
        """Let all of it happen; `told` hears now and then how many tasks are done, and the simulated time."""
        self._decide([ExecutorUp(name, count, False, True, True) for name, count in self.workers.items()])
        heard = 0
        while True:
            ended = self._finish()
            self.now += self._controller_s * sum(len(report.outcomes) for report in ended)
            stimuli: list[Stimulus] = [*self._lose(), *ended, *self._submit()]
            if self._memory_mb and self.now >= self._reading_at:
                self._reading_at = self.now + READING_S
                stimuli.append(self._measure())
            self._decide(stimuli or [Tick()])
            if told is not None and self._completed >= heard:
                told(self._completed, self.now)
                heard = self._completed + 1000
            if self.engine.idle and not self._ready and not self._peek():
                break
            self.now = self._soonest()
        return self._result()

    def _result(self) -> Simulated:
        return Simulated(
            makespan_s=self.now,
            completed=self._completed,
            starts=self._starts,
            busy_s=self._busy_s,
            lost_s=self._lost_s,
            shed=self._shed,
            peak_memory_mb=self._peak_mb,
            queued=Waits.of(self._queued),
            idle=Waits.of(self._idle),
            given_up=self._given_up,
            refused=self._refused,
            decisions=self._digest.hexdigest(),
            decide_cpu_s=self._decide_s,
        )

    # ---- time

    def _soonest(self) -> float:
        """Return when something happens next."""
        times = [self._ends[0][0]] if self._ends else []  # by now at least: the controller may have been busy since
        due = self.engine.next_due()
        more = (self._ready or self._peek()) and self.engine.room(Priority.NORMAL) > 0
        if more or (due is not None and due <= self.now):
            return self.now
        times += [due] if due is not None else []
        times += [self._losses[0].at] if self._losses else []
        times += [self._returns[0][0]] if self._returns else []
        if self._memory_mb and not self.engine.idle:
            times.append(self._reading_at)
        if not times:
            raise RuntimeError(f"the simulation stands still at {self.now:.3f} s, with tasks that wait for nothing")
        return max(self.now, min(times))

    # ---- what happens

    def _peek(self) -> bool:
        """Tell whether there is work that was not submitted yet."""
        if not self._next:
            self._next.extend(islice(self._works, _BATCH))
        return bool(self._next)

    def _submit(self) -> Iterator[Submit]:
        """Fill the queue: stages that follow first, then new works; those of one spec together."""
        room = self.engine.room(Priority.NORMAL)
        batch: list[Attempt] = []
        while room > 0 and (self._ready or self._peek()):
            work = self._ready.popleft() if self._ready else self._next.popleft()
            spec = self._spec(work)
            if batch and (batch[0].spec is not spec or len(batch) >= _BATCH):
                yield Submit(batch[0].spec, batch)
                batch = []
            task_id = f"t{self._number}"
            self._number += 1
            self._of[task_id] = work
            batch.append(Attempt(task_id, spec, queued_at=self.now))
            room -= 1
        if batch:
            yield Submit(batch[0].spec, batch)

    def _spec(self, work: Work) -> TaskSpec:
        key = (work.stage, work.executor, work.resources)
        spec = self._specs.get(key)
        if spec is None:
            retry = RetryPolicy(attempts=1000, backoff=0.0, jitter=0.0)
            spec = self._specs[key] = TaskSpec(
                function=_work, name=work.stage, executor=work.executor, resources=work.resources, retry=retry
            )
        return spec

    def _finish(self) -> list[Reported]:
        """Report what has ended by now, by executor."""
        ended: dict[str, list[Outcome]] = {}
        while self._ends and self._ends[0][0] <= self.now:
            at, task_id, number = heappop(self._ends)
            run = self._running.get(task_id)
            if run is None or run.attempt.number != number:
                continue  # it was ended before
            self._release(run, at)
            self._busy_s[run.work.executor] += run.work.ran_s
            ended.setdefault(run.work.executor, []).append(self._outcome(run, TaskState.COMPLETED))
        return [Reported(executor, outcomes) for executor, outcomes in ended.items()]

    def _release(self, run: _Run, at: float) -> None:
        del self._running[run.attempt.task_id]
        if run.worker not in self._gone[run.work.executor]:
            heappush(self._free[run.work.executor], run.worker)
            self._free_since[run.work.executor, run.worker] = at

    def _lose(self) -> Iterator[Stimulus]:
        """Take away the machines that are lost by now, with what runs there, and give back those that are back."""
        while self._losses and self._losses[0].at <= self.now:
            loss = self._losses.pop(0)
            for executor, count in self.workers.items():
                there = [worker for worker in range(count) if worker not in self._gone[executor]]
                lost = there[: round(loss.share * count)]
                self._gone[executor].update(lost)
                yield from self._die(executor, set(lost))
                yield self._up(executor)
                if lost and loss.back_after_s < inf:
                    heappush(self._returns, (self.now + loss.back_after_s, executor, lost))
        while self._returns and self._returns[0][0] <= self.now:
            _, executor, back = heappop(self._returns)
            self._gone[executor].difference_update(back)
            for worker in back:
                self._free_since[executor, worker] = self.now
                heappush(self._free[executor], worker)
            yield self._up(executor)

    def _up(self, executor: str) -> ExecutorUp:
        return ExecutorUp(executor, self.workers[executor] - len(self._gone[executor]), False, True, True)

    def _die(self, executor: str, lost: set[int]) -> Iterator[Reported]:
        self._free[executor] = [worker for worker in self._free[executor] if worker not in lost]
        heapify(self._free[executor])
        dead = [run for run in self._running.values() if run.work.executor == executor and run.worker in lost]
        for run in dead:
            self._release(run, self.now)
            self._lost_s += min(run.work.ran_s, self.now - run.began)
        if dead:
            yield Reported(executor, [self._outcome(run, TaskState.FAILED) for run in dead])

    def _measure(self) -> Measured:
        """Return what a probe would read now."""
        assert self._memory_mb is not None
        in_use = {name: InUse(run.used_mb(self.now), self.now - run.began) for name, run in self._running.items()}
        used_mb = sum(use.memory_mb for use in in_use.values())
        self._peak_mb = max(self._peak_mb, used_mb)
        per_unit = self._memory_mb / 100.0
        percent, soft = used_mb / per_unit, self._limit * _SOFT_SHARE
        limit_mb = self._limit * per_unit
        return Measured({"memory": Load(percent, self._limit, soft, percent, "%", limit_mb, per_unit)}, tasks=in_use)

    # ---- what the engine wants

    def _decide(self, stimuli: Sequence[Stimulus]) -> None:
        began = time.thread_time()
        commands = self.engine.handle(stimuli, self.now)
        self._decide_s += time.thread_time() - began
        victims = [victim for command in commands for victim in self._obey(command)]
        for run in victims:
            self._lost_s += self.now - run.began
            self._decide([Reported(run.work.executor, [self._outcome(run, TaskState.CANCELLED)])])

    def _obey(self, command: Command) -> Iterator[_Run]:
        """Do as told; yield who was ended by that."""
        match command:
            case Start():
                self._starts += len(command.attempts)
                self._digest.update(" ".join(attempt.task_id for attempt in command.attempts).encode())
                for attempt in command.attempts:
                    self._begin(attempt)
            case Shed():
                self._shed += 1
                self._digest.update(f"shed {command.task_ids[0]}".encode())
                run = self._running[command.task_ids[0]]
                self._release(run, self.now)
                yield run
            case Settle():
                for outcome in command.outcomes:
                    self._settle(outcome)
            case Refuse():
                for task in command.tasks:
                    self._refused += 1
                    del self._of[task.task_id]
            case _:
                pass

    def _begin(self, attempt: Attempt) -> None:
        work = self._of[attempt.task_id]
        run = _Run(attempt, work, self.now, heappop(self._free[work.executor]))
        self._running[attempt.task_id] = run
        if (since := self._free_since.get((work.executor, run.worker))) is not None:
            self._idle.add(self.now - since)
        heappush(self._ends, (self.now + work.ran_s, attempt.task_id, attempt.number))

    def _settle(self, outcome: Outcome) -> None:
        work = self._of.pop(outcome.task_id)
        self._completed += outcome.ok
        self._given_up += not outcome.ok
        self._queued.add(outcome.queued_s)
        if work.then is not None and outcome.ok:
            self._ready.append(work.then)

    def _outcome(self, run: _Run, state: TaskState) -> Outcome:
        attempt = run.attempt
        done = state is TaskState.COMPLETED
        return (PlainOutcome if done else Outcome)(
            attempt.task_id,
            None,
            0,
            attempt.spec.name,
            state,
            error=_DIED if state is TaskState.FAILED else None,
            attempts=attempt.number,
            queued_s=run.began - attempt.queued_at,
            ran_s=run.work.ran_s if done else self.now - run.began,
            peak_memory_mb=run.used_mb(self.now),
        )


def _work() -> None:
    """Stand for what the tasks call."""


__all__ = ["READING_S", "Loss", "Simulated", "Simulation", "Work"]
