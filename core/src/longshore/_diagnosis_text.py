"""A diagnosis as plain text: one line a fact, nothing in it that a terminal would act on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from longshore._diagnosis import Diagnosis
from longshore._plain import line
from longshore.records import StackTrace, WorkerStats

_TEXT_MOST = 300
_IDLE_MOST = 5  # idle workers that are named


def diagnosis_text(diagnosis: Diagnosis) -> str:
    """Return a diagnosis as text for people: lines of printable characters, whatever tasks and files are called."""
    return "".join(f"{_cut(line(text))}\n" for text in _lines(diagnosis))


def _lines(found: Diagnosis) -> Iterator[str]:
    yield f"diagnosis of run {found.run_id} ({found.name}), process {found.pid} on {found.host}, {found.at.isoformat()}"
    yield f"up for {found.uptime_s:.1f} s; the pool's loop {found.loop}"
    yield from (f"note: {note}" for note in found.notes)
    yield from (f"complaint: {complaint}" for complaint in found.complaints)
    yield ""
    yield from _tasks(found)
    yield ""
    yield from _workers(found)
    yield ""
    yield from _resources(found)
    yield ""
    yield from _around(found)
    for stack in found.stacks:
        yield ""
        yield from _stack(stack)
    yield ""
    yield f"end of the diagnosis of run {found.run_id}"


def _tasks(found: Diagnosis) -> Iterator[str]:
    counts = found.counts
    yield (
        f"tasks: {counts.queued} queued, {counts.running} running (at most {found.concurrency}), "
        f"{counts.retrying} to be tried again, {counts.completed} completed, {counts.failed} failed, "
        f"{counts.cancelled} cancelled"
    )
    if found.held is not None:
        yield f"nothing more is started: {found.held}"
    for queue in found.queues:
        yield f"  queue {queue.executor} {queue.priority}: {queue.tasks}"
    if found.waiting is not None:
        yield f"  waits longest: {found.waiting.task_id} ({found.waiting.name}) {found.waiting.why}"
    for task in found.running:
        reserved = found.reserved.get(task.task_id)
        overdue = ", overdue" if task.overdue else ""
        yield (
            f"  running: {task.task_id} ({task.name}) on {task.executor} for {task.running_s:.1f} s, "
            f"attempt {task.attempt}{overdue}{f', reserves {_amounts(reserved)}' if reserved else ''}"
        )


def _workers(found: Diagnosis) -> Iterator[str]:
    total = len(found.workers) + found.more_workers
    yield f"workers: {total}"
    idle = [worker for worker in found.workers if worker.status == "idle"]
    shown = [worker for worker in found.workers if worker.status != "idle"] + idle[:_IDLE_MOST]
    yield from map(_worker, shown)
    if total > len(shown):
        yield f"  and {total - len(shown)} more"
    for left in found.left_behind:
        where = f"{left.thread} of {left.worker_id}"
        yield f"  left behind: {left.task_id} ({left.name}) in {where} for {left.since_s:.1f} s"


def _worker(worker: WorkerStats) -> str:
    facts = [str(worker.status)]
    if worker.current_task is not None:
        facts.append(f"at {worker.current_task}{'' if worker.running_s is None else f' for {worker.running_s:.1f} s'}")
    if worker.pid is not None:
        facts.append(f"pid {worker.pid}")
    if worker.memory_mb is not None:
        facts.append(f"{worker.memory_mb:.0f} MB")
    if not worker.started:
        facts.append("not started yet")
    return f"  {worker.worker_id}: {', '.join(facts)}"


def _resources(found: Diagnosis) -> Iterator[str]:
    yield f"limits: {_json(found.limits)}"
    yield f"use, in their units: {_amounts(found.usage) or 'not measured'}"
    for one in found.reservations:
        limit = "no limit" if one.limit is None else f"of {one.limit:g}"
        yield f"  {one.resource}: {one.lent:g} reserved, {one.taken:g} taken with what is measured, {limit}"


def _around(found: Diagnosis) -> Iterator[str]:
    for sink in found.sinks:
        error = f"; the last error: {sink.last_error}" if sink.last_error else ""
        yield f"sink {sink.name}: {sink.state}, {sink.delivered} delivered, {sink.dropped} dropped{error}"
    yield f"journal: {found.journal.state}, {found.journal.uncommitted} outcomes not committed"
    yield f"settings that are set: {_json(found.settings)}"
    yield f"versions: {', '.join(f'{name} {version}' for name, version in found.versions.items())}"


def _stack(stack: StackTrace) -> Iterator[str]:
    yield f"{stack.of}:{f' {stack.note}' if stack.note else ''}"
    if stack.left_out:
        yield f"  ... {stack.left_out} frames outside of these"
    yield from (f"  {frame}" for frame in stack.frames)


def _amounts(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in amounts.items())


def _json(value: Mapping[str, Any] | Sequence[Any]) -> str:  # Any: JSON-safe values
    return msgspec.json.encode(value).decode()


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_MOST else f"{text[:_TEXT_MOST]}..."
