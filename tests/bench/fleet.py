"""A fleet of workers that is only computed: what the engine decides for it, how fast, and the same when run again.

    uv run python tests/bench/fleet.py                       # 1,000 workers, 1,000,000 tasks
    uv run python tests/bench/fleet.py --workers 100 --tasks 20000 --seed 7

Nothing runs and no time passes: tasks take what the dice say, of time and of memory, the machine's memory is what they
take together, and the engine sees it once a second as a pool would.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.messages import (
    Command,
    ExecutorUp,
    InUse,
    Measured,
    Reported,
    Settle,
    Shed,
    Start,
    Stimulus,
    Submit,
    Tick,
)
from longshore.records import Load
from longshore.task import Attempt, Outcome, PlainOutcome, Priority, Resources, TaskSpec, TaskState

_TICK_S = 0.05
_YARDS = 4
_MB_PER_WORKER = 1000.0
_LIMIT = 75.0


def work() -> None:
    """Stand for a user's function."""


class Sort(NamedTuple):
    """A kind of task: how often it comes, what it asks for, and what it takes on average."""

    name: str
    weight: float
    ran_s: float
    peak_mb: float
    resources: Resources | None = None


SORTS = (
    Sort("light", 0.70, 0.2, 15.0),
    Sort("heavy", 0.20, 1.0, 2500.0),
    Sort("declared", 0.09, 0.5, 400.0, Resources(cpu=1, memory_mb=900)),
    Sort("either", 0.01, 0.5, 100.0, Resources(custom={"licence": 0.5}) | Resources(cpu=4)),
)


class Running(NamedTuple):
    """A task that is under way."""

    attempt: Attempt
    began: float
    ran_s: float
    peak_mb: float

    def used_mb(self, now: float) -> float:
        """Return what it has taken by now: it fills its memory in the first half of its time."""
        return self.peak_mb * min(1.0, 2.0 * (now - self.began) / self.ran_s)


class Report(NamedTuple):
    """What came of it."""

    completed: int
    starts: int
    shed: int
    simulated_s: float
    cpu_s: float
    peak_percent: float
    digest: str


class Fleet:
    """An engine, and the world that its commands act on."""

    def __init__(self, workers: int, tasks: int, seed: int) -> None:
        """Have everything ahead."""
        self.workers, self.left = workers, tasks
        self._dice = random.Random(seed)
        self._limit_mb = workers * _MB_PER_WORKER
        self.engine = Engine(
            EngineConfig(
                max_queue_size=max(100, 2 * workers),
                max_concurrent_tasks=workers,
                capacity={"cpu": float(workers), "memory": self._limit_mb, "licence": workers / 100.0},
            ),
            self._dice.random,
        )
        self._specs = {
            (sort.name, yard): TaskSpec(
                function=work, name=sort.name, executor=f"yard-{yard}", resources=sort.resources
            )
            for sort in SORTS
            for yard in range(_YARDS)
        }
        self.running: dict[str, Running] = {}
        self._ends: list[tuple[float, str, int]] = []
        self._ended: list[Outcome] = []
        self._digest = hashlib.sha256()
        self.counts: Counter[str] = Counter()
        self.now = self.cpu_s = self.peak_percent = 0.0
        self._number = 0

    def run(self) -> Report:
        """Let all of it happen."""
        each = self.workers // _YARDS
        ups: list[Stimulus] = [ExecutorUp(f"yard-{yard}", each, False, True, True) for yard in range(_YARDS)]
        self._decide(ups)
        next_reading = 0.0
        while self.left or not self.engine.idle:
            self.now += _TICK_S
            stimuli: list[Stimulus] = [*self._finish(), *self._submit()]
            if self.now >= next_reading:
                next_reading = self.now + 1.0
                stimuli.append(self._measure())
            self._decide(stimuli or [Tick()])
        counts = self.counts
        return Report(
            counts["completed"], counts["starts"], counts["shed"], self.now, self.cpu_s, self.peak_percent,
            self._digest.hexdigest(),
        )  # fmt: skip

    def _submit(self) -> Iterator[Submit]:
        """Fill the queue, a few hundred tasks of one spec at a time as a stream would."""
        room = min(self.left, self.engine.room(Priority.NORMAL))
        while room > 0:
            count = min(room, 64)
            sort = self._dice.choices(SORTS, [sort.weight for sort in SORTS])[0]
            spec = self._specs[sort.name, self._dice.randrange(_YARDS)]
            ids = range(self._number, self._number + count)
            self._number += count
            self.left -= count
            room -= count
            yield Submit(spec, [Attempt(f"t{number}", spec, queued_at=self.now) for number in ids])

    def _finish(self) -> Iterator[Reported]:
        """Report what has ended by now, by executor."""
        by_yard: dict[str, list[Outcome]] = {}
        while self._ends and self._ends[0][0] <= self.now:
            _, task_id, number = heappop(self._ends)
            run = self.running.get(task_id)
            if run is None or run.attempt.number != number:
                continue  # it was ended before
            del self.running[task_id]
            by_yard.setdefault(run.attempt.spec.executor, []).append(_outcome(run, TaskState.COMPLETED))
        return (Reported(yard, outcomes) for yard, outcomes in by_yard.items())

    def _measure(self) -> Measured:
        """Return what a probe would read now."""
        tasks = {task_id: InUse(run.used_mb(self.now), self.now - run.began) for task_id, run in self.running.items()}
        used_mb = sum(use.memory_mb for use in tasks.values())
        per_unit = self._limit_mb / _LIMIT
        percent = used_mb / per_unit
        self.peak_percent = max(self.peak_percent, percent)
        return Measured({"memory": Load(percent, _LIMIT, 65.0, percent, "%", self._limit_mb, per_unit)}, tasks=tasks)

    def _decide(self, stimuli: list[Stimulus]) -> None:
        began = time.thread_time()
        commands = self.engine.handle(stimuli, self.now)
        self.cpu_s += time.thread_time() - began
        victims = [victim for command in commands for victim in self._obey(command)]
        if victims:
            self._decide([Reported(run.attempt.spec.executor, [_outcome(run, TaskState.CANCELLED)]) for run in victims])

    def _obey(self, command: Command) -> Iterator[Running]:
        """Do as told; yield who was ended by that."""
        match command:
            case Start():
                self._digest.update(" ".join(attempt.task_id for attempt in command.attempts).encode())
                self.counts["starts"] += len(command.attempts)
                for attempt in command.attempts:
                    self._begin(attempt)
            case Shed():
                self.counts["shed"] += 1
                self._digest.update(f"shed {command.task_ids[0]}".encode())
                yield self.running.pop(command.task_ids[0])
            case Settle():
                self.counts["completed"] += len(command.outcomes)
            case _:
                pass

    def _begin(self, attempt: Attempt) -> None:
        sort = next(sort for sort in SORTS if sort.name == attempt.spec.name)
        ran_s = sort.ran_s * self._dice.uniform(0.5, 1.5)
        run = Running(attempt, self.now, ran_s, sort.peak_mb * self._dice.uniform(0.6, 1.4))
        self.running[attempt.task_id] = run
        heappush(self._ends, (self.now + ran_s, attempt.task_id, attempt.number))


def _outcome(run: Running, state: TaskState) -> Outcome:
    attempt = run.attempt
    kind = PlainOutcome if state is TaskState.COMPLETED else Outcome
    return kind(
        attempt.task_id, None, 0, attempt.spec.name, state,
        attempts=attempt.number, ran_s=run.ran_s, cpu_s=run.ran_s, peak_memory_mb=run.peak_mb,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run a fleet, and print what came of it."""
    parser = argparse.ArgumentParser(description="Decide for a fleet of workers that is only computed.")
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    report = Fleet(given.workers, given.tasks, given.seed).run()
    per_s = report.starts / report.cpu_s
    print(f"{report.completed} tasks on {given.workers} workers, {report.simulated_s:.0f} s simulated")
    print(f"{per_s:.0f} starts decided per second of CPU ({report.cpu_s:.1f} s in all)")
    print(f"memory at most {report.peak_percent:.0f} % where {_LIMIT:.0f} % is the limit, {report.shed} ended for it")
    return 0 if report.completed == given.tasks else 1


if __name__ == "__main__":
    sys.exit(main())
