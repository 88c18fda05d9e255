"""From the views of a run to its report: everything is read once, by pages.

In: a store that has taken in the run's events, its record, its history. Out: a `Report`, and the attempts for traces.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

import msgspec

from longshore._report import analysis
from longshore._report.analysis import Chain, Material
from longshore._report.failing import with_inputs
from longshore._report.measured import bands_of, lines_of, workers_of
from longshore._report.records import Environment, FailedTask, Report, RunFacts
from longshore._report.spans import Span, Sums, spans_of, workers_at_once
from longshore._report.untasked import FailedInput
from longshore._report.verdict import verdict
from longshore.records import RunHistory
from longshore.runs import Bar, Bin, RunStore, TaskDetail, TaskFilter, TaskRow, Timeline, WorkerView

FAILED_MOST = 2000
KINDS_MOST = 100
SLOWEST = 20
WORKERS_MOST = 200
BARS_MOST = 5000
STEPS_MOST = 300
STEP_LEAST_S = 0.05
"""Ends are told later than they were by up to so much: what is drawn more finely shows that instead."""
BINS_MOST = 20_000
_PAGE = 1000
_FAILED = TaskFilter(states=("failed", "timed_out"))
_ALL = TaskFilter()


@dataclass(frozen=True, slots=True)
class Handover:
    """What tasks of a stage waited between leaving the queue and beginning in a worker, where that is recorded."""

    seconds: float = 0.0
    tasks: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """A run to report on."""

    run: RunFacts
    store: RunStore
    environment: Environment
    history: RunHistory = field(default_factory=RunHistory)
    handovers: Mapping[tuple[str, str], Handover] = field(default_factory=dict)
    """By name and executor of the stage."""
    failed_inputs: Sequence[FailedInput] = ()
    """Inputs that failed though no task of theirs did."""
    left_inputs: int = 0
    """Inputs of the command that had no result as it ended."""
    now: float | None = None
    """When this is looked at, for a run that goes on."""

    @property
    def span(self) -> tuple[float, float]:
        """When the first task was submitted, and when something last happened; now, for a run that goes on."""
        start, end = self.store.span() or (self.run.started, self.run.started)
        start = max(start, self.run.started)
        return start, max(start, end, self.now or start)


def report(source: Source) -> Report:
    """Return the report on a run."""
    store, (start, end) = source.store, source.span
    material = _material(source)
    workers = sorted(store.workers(), key=lambda worker: -worker.busy_s)
    failed = list(islice(chain(map(_failed, tasks(store, _FAILED)), map(_input, source.failed_inputs)), FAILED_MOST))
    sums = analysis.totals(material)
    timeline = store.timeline(start, end, bars_most=BARS_MOST, steps=_bins(len(workers)), lanes_most=WORKERS_MOST)
    return Report(
        run=source.run,
        verdict=verdict(material),
        totals=sums,
        environment=source.environment,
        written=time.time(),
        stages=analysis.stage_uses(material),
        executors=analysis.executor_uses(material),
        findings=analysis.findings(material),
        forecast=analysis.forecast(material),
        throttled=analysis.throttles(material.bands),
        bands=material.bands,
        retries=analysis.retries(material),
        resources=material.lines,
        failures=with_inputs(store.failures(KINDS_MOST), source.failed_inputs, KINDS_MOST),
        failed_tasks=failed,
        failed_left_out=sums.failed + sums.timed_out + sums.failed_inputs - len(failed),
        slowest=store.slowest(SLOWEST),
        workers=workers[:WORKERS_MOST],
        workers_left_out=max(0, len(workers) - WORKERS_MOST),
        running=material.sums.series(),
        throughput=store.throughput(start, end, steps=_steps(end - start)),
        timeline=_rounded(timeline),
        notes=material.notes,
    )


def tasks(store: RunStore, wanted: TaskFilter = _ALL) -> Iterator[TaskRow]:
    """Yield the tasks that a filter lets through, in the order in which they became known."""
    after = None
    while True:
        page = store.tasks(wanted, after=after, limit=_PAGE)
        yield from page.rows
        if page.next is None:
            return
        after = page.next


def attempts(store: RunStore, row: TaskRow, end: float) -> list[Span]:
    """Return the attempts of a task that have begun; those that go on are cut off at `end`."""
    retried = row.attempt > 1 or row.state == "retrying"
    detail = store.task(row.task_id) if retried else None
    return list(spans_of(row, detail.attempts if detail is not None else (), end))


def spans(source: Source) -> Iterator[Span]:
    """Yield all attempts of a run."""
    end = source.span[1]
    for row in tasks(source.store):
        yield from attempts(source.store, row, end)


def failures(source: Source) -> Iterator[TaskDetail]:
    """Yield all that is known of each task that failed."""
    for row in tasks(source.store, _FAILED):
        detail = source.store.task(row.task_id)
        if detail is not None:
            yield detail


def _material(source: Source) -> Material:
    store, (start, end) = source.store, source.span
    wall_s = end - start
    steps = _steps(wall_s)
    sums = Sums(start, max(wall_s, 1e-3) / steps, steps)
    for row in tasks(store):
        sums.take(row, attempts(store, row, end))
    for stage, handover in source.handovers.items():
        sums.stages[stage].start_s += handover.seconds
        sums.stages[stage].starts += handover.tasks
    return Material(
        run=source.run,
        stages=store.stages(),
        sums=sums,
        wall_s=wall_s,
        workers={**workers_at_once(store.workers()), **workers_of(source.history)},
        memory_mb=_memory(store.workers()),
        chain=_chain(store, end),
        bands=bands_of(source.history, end),
        lines=lines_of(source.history),
        failed_inputs=len(source.failed_inputs),
        left_inputs=source.left_inputs,
        left_out=store.left_out,
        notes=_notes(source),
    )


def _steps(wall_s: float) -> int:
    return max(1, min(STEPS_MOST, int(wall_s / STEP_LEAST_S)))


def _bins(lanes: int) -> int:
    """Return in how many steps a timeline of so many lanes is to be summed."""
    return max(50, min(STEPS_MOST, BINS_MOST // max(1, min(lanes, WORKERS_MOST))))


def _rounded(timeline: Timeline) -> Timeline:
    """Return it with no more digits than tell anything: these are most of a report's size."""
    bars = [
        Bar(b.lane, round(b.start, 4), round(b.end, 4), b.state, b.name, b.row, _short(b.wait_s)) for b in timeline.bars
    ]
    bins = [
        Bin(b.lane, round(b.start, 4), round(b.busy, 4), b.tasks, b.failed, b.name, round(b.longest_s, 4))
        for b in timeline.bins
    ]
    return msgspec.structs.replace(timeline, bars=bars, bins=bins)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _memory(workers: Iterable[WorkerView]) -> dict[str, float]:
    most: dict[str, float] = {}
    for worker in workers:
        most[worker.executor] = max(most.get(worker.executor, 0.0), worker.peak_memory_mb or 0.0)
    return most


def _notes(source: Source) -> list[str]:
    notes = []
    if source.run.generation > 1:
        notes.append(
            f"This run was begun {source.run.generation:,} times: the time between, with nobody at work, "
            "is part of the wall time."
        )
    if source.store.left_out:
        notes.append(f"{source.store.left_out:,} tasks are in none of these figures: there were too many to look at.")
    if not source.history.points_fine and not source.history.points_minute:
        notes.append(
            "No history of resources is recorded of this run: there is nothing on limits and what held it back."
        )
    return notes


def _chain(store: RunStore, end: float) -> Chain | None:
    """Return what took longest of what had to be done in turn, among the documents of the slowest tasks."""
    longest: Chain | None = None
    for row in store.slowest(SLOWEST):
        detail = store.task(row.task_id)
        if detail is None:
            continue
        rows = [row]
        if row.key is not None and detail.group is not None:
            rows += [other for other in detail.related if other.key == row.key and other.name != row.name]
        seconds = _covered([span for one in rows for span in attempts(store, one, end)])
        if longest is None or seconds > longest.seconds:
            label = row.key if row.key is not None else row.task_id
            longest = Chain(label, seconds, len({one.name for one in rows}))
    return longest


def _covered(found: Sequence[Span]) -> float:
    """Return how long at least one of these was under way: what ran side by side counts once."""
    total_s, until = 0.0, 0.0
    for span in sorted(found, key=lambda one: one.start):
        total_s += max(0.0, span.end - max(span.start, until))
        until = max(until, span.end)
    return total_s


def _failed(row: TaskRow) -> FailedTask:
    return FailedTask(
        id=row.id,
        task_id=row.task_id,
        name=row.name,
        key=row.key,
        state=row.state,
        attempt=row.attempt,
        run_s=row.run_s,
        error=row.error,
        fingerprint=row.fingerprint,
        message=row.note,
    )


def _input(failed: FailedInput) -> FailedTask:
    return FailedTask(
        id=-1,
        task_id="",
        name="",
        key=failed.key,
        state=failed.state,
        attempt=0,
        run_s=None,
        error=failed.type,
        fingerprint=failed.fingerprint,
        message=failed.reason,
    )
