"""Attempts as spans of time, and what is summed over them; pure, and in bounded memory however many there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from msgspec import Struct

from longshore._report.records import Series
from longshore.runs import AttemptRow, TaskRow, WorkerView

OTHERS = "(others)"
NAMES_MOST = 50
"""Stages told apart in series; those after go together as `OTHERS`."""


class Span(Struct, frozen=True, gc=False):
    """One attempt that has begun; `end` is the moment of looking for one that goes on."""

    name: str
    executor: str
    worker: str | None
    start: float
    end: float
    state: str
    attempt: int
    label: str
    """What it works on: its task's key, else its id."""
    task_id: str
    row: int
    again: bool
    """Whether another attempt followed."""
    error: str | None = None

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return self.end - self.start


def spans_of(task: TaskRow, earlier: Sequence[AttemptRow], now: float) -> Iterable[Span]:
    """Yield the attempts of a task that have begun, the earlier ones first."""
    label = task.key if task.key is not None else task.task_id
    for one in earlier:
        if one.started is not None:
            end = max(one.started, one.started if one.ended is None else one.ended)
            yield Span(task.name, task.executor, one.worker, one.started, end, one.state, one.number, label,
                       task.task_id, task.id, True, one.error)  # fmt: skip
    if task.started is not None and task.state not in ("pending", "retrying"):
        end = max(task.started, now if task.ended is None else task.ended)
        yield Span(task.name, task.executor, task.worker, task.started, end, task.state, task.attempt, label,
                   task.task_id, task.id, False, task.error)  # fmt: skip


@dataclass(slots=True)
class StageSums:
    """What is known of a stage beyond its view."""

    lost_s: float = 0.0
    start_s: float = 0.0
    starts: int = 0
    """How many tasks `start_s` is of."""


@dataclass(slots=True)
class Waits:
    """What tasks waited between their attempts, and the one that did longest."""

    total_s: float = 0.0
    longest_s: float = 0.0
    longest_of: str | None = None

    def take(self, task: TaskRow, waited_s: float) -> None:
        """Add what a task waited between all its attempts."""
        self.total_s += waited_s
        if waited_s > self.longest_s:
            self.longest_s, self.longest_of = waited_s, task.key if task.key is not None else task.task_id


class Steps:
    """How much time fell into each step of a stretch of time: spans are added in any order, in constant time each."""

    def __init__(self, start: float, step_s: float, steps: int) -> None:
        """Begin with nothing in `steps` steps of `step_s`, which is above 0, from `start`."""
        self._start, self._step_s, self._steps = start, step_s, steps
        self._whole = [0.0] * (steps + 1)  # changes of how many cover a step from end to end
        self._part = [0.0] * steps  # time in steps that are covered in part

    def add(self, start: float, end: float) -> None:
        """Add a span; what lies outside is cut off."""
        low = min(max((start - self._start) / self._step_s, 0.0), float(self._steps))
        high = min(max((end - self._start) / self._step_s, 0.0), float(self._steps))
        first, last = min(int(low), self._steps - 1), min(int(high), self._steps - 1)
        if first == last:
            self._part[first] += high - low
            return
        self._part[first] += first + 1 - low
        self._part[last] += high - last
        self._whole[first + 1] += 1.0
        self._whole[last] -= 1.0

    def means(self) -> list[float]:
        """Return for each step how many spans there were at once, in the mean."""
        covered = accumulate(self._whole)
        return [round(part + whole, 4) for part, whole in zip(self._part, covered, strict=False)]


@dataclass(slots=True)
class Sums:
    """All that is summed over attempts."""

    start: float
    step_s: float
    steps: int
    stages: dict[tuple[str, str], StageSums] = field(default_factory=lambda: defaultdict(StageSums))
    busy_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By executor."""
    waits: Waits = field(default_factory=Waits)
    _running: dict[str, Steps] = field(default_factory=dict)

    def take(self, task: TaskRow, spans: Iterable[Span]) -> None:
        """Add a task with its attempts."""
        stage = self.stages[task.name, task.executor]
        if task.attempt == 1 and None not in (task.started, task.submitted, task.wait_s):
            stage.start_s += max(0.0, (task.started or 0.0) - (task.submitted or 0.0) - (task.wait_s or 0.0))
            stage.starts += 1
        ended, waited_s = None, 0.0
        for span in spans:
            waited_s += max(0.0, span.start - ended) if ended is not None else 0.0
            ended = span.end
            self.busy_s[span.executor] += span.seconds
            self._of(span.name).add(span.start, span.end)
            if span.again:
                stage.lost_s += span.seconds
        self.waits.take(task, waited_s)

    def series(self) -> Series:
        """Return how many ran at once, by stage."""
        running = {name: steps.means() for name, steps in self._running.items()}
        return Series(start=self.start, step_s=self.step_s, names=list(running), running=list(running.values()))

    def _of(self, name: str) -> Steps:
        found = self._running.get(name)
        if found is None:
            known = name if len(self._running) < NAMES_MOST else OTHERS
            found = self._running.setdefault(known, Steps(self.start, self.step_s, self.steps))
        return found


def most_at_once(lives: Iterable[tuple[float, float]]) -> int:
    """Return how many of these spans there are at once at most; one that begins as another ends is after it."""
    changes = sorted((at, change) for start, end in lives for at, change in ((start, 1), (end, -1)))
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def workers_at_once(workers: Iterable[WorkerView]) -> dict[str, int]:
    """Return by executor how many workers lived at once, as far as tasks have named them; at least 1 for each."""
    lives: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for worker in workers:
        if worker.first is not None:
            lives[worker.executor].append((worker.first, max(worker.first, worker.last or worker.first)))
    return {executor: max(1, most_at_once(each)) for executor, each in lives.items()}
