"""What becomes of the attempts of a worker that ended: one is to blame at most, the others are run elsewhere.

Used on the supervisor's thread only; called when everything the worker had sent is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from longshore.errors import WorkerNotReady
from longshore.hookspecs import WorkerNotice
from longshore.task import Attempt, ErrorRecord, Outcome, TaskState
from longshore.worker import cancelled, ended, failed, timed_out

from longshore_processes.backlog import Kind, Trials
from longshore_processes.handle import Doom, Handle, Held
from longshore_processes.outcomes import End, describe_end, memory_exceeded, worker_died
from longshore_processes.rungs import MB

_STOPPED: Final = ("was stopped by a signal, did not go on and was killed", {"reason": "stopped"})
_STARVED: Final = (
    "was killed by the kernel since memory ran out, at no limit of the task's own: the machine's, or that of a group",
    {"signal": 9, "reason": "out_of_memory"},
)
_UNKILLABLE: Final = "could not be killed, and is written off"


class Verdict(NamedTuple):
    """The outcomes to report, and the attempts to run again, last batch first."""

    outcomes: list[Outcome]
    back: list[tuple[Kind, Sequence[Attempt]]]
    culprit: Attempt | None
    serial: int
    """Of the item that is to blame."""


def autopsy(handle: Handle, now: float, cancels: Mapping[str, str]) -> Verdict:
    """Judge by the progress word and by why it was killed, if it was us.

    What it had finished is reported. The item it was killed for is timed out or cancelled, even if the next had begun
    when the signal came. Where it was not us, the item it was at is to blame. Every other item is run elsewhere.
    """
    running, started = handle.words.running()
    blamed = handle.doomed_serial if handle.doomed is not None else running
    found = handle.find(blamed)
    culprit = found[1] if found is not None else None
    began = started if blamed == running else handle.given_at
    outcomes = [_sentence(handle, *found, began, now, cancels)] if found is not None else []
    back: list[tuple[Kind, Sequence[Attempt]]]
    back = [
        (kind, [a for a in attempts if culprit is None or a.task_id != culprit.task_id])
        for kind, attempts in handle.cut(0)
    ]
    return Verdict(outcomes, back, culprit, blamed)


def _sentence(
    handle: Handle, held: Held, attempt: Attempt, began: float, now: float, cancels: Mapping[str, str]
) -> Outcome:
    if handle.doomed is Doom.TIMEOUT:
        note = "its worker process could not be killed" if handle.written_off else "its worker process was killed"
        return timed_out(attempt, began, now, handle.worker_id, note)
    if handle.doomed is Doom.PREPARE:
        return not_ready(attempt, None, began, now, handle.worker_id)
    if handle.doomed is Doom.MEMORY:
        handle.failed += 1
        return memory_exceeded(handle, attempt, began)
    if handle.doomed is Doom.STOPPED:
        handle.failed += 1
        return worker_died(handle, attempt, began, _STOPPED)
    if handle.doomed is not None:
        message = cancels.get(attempt.task_id, "cancelled")
        return cancelled(attempt, began, now, handle.worker_id, message)
    handle.failed += 1
    trials = held.kind.hopeless(now)
    if trials is not None and trials.end is not None and handle.words.preparing():
        return not_ready(attempt, trials, began, now, handle.worker_id)
    starved = handle.memory is not None and handle.memory.kills > handle.words.kills and not handle.memory.reached
    return worker_died(handle, attempt, began, _STARVED if starved else None)


def doom_by_kernel(handle: Handle) -> None:
    """Take note of it if a worker was killed by the kernel, since what it ran met its limit: as if it had been us.

    By the counts of its own group: a stranger's SIGKILL looks the same, and leaves them as they were.
    """
    facts = handle.memory
    if handle.doomed is not None or facts is None or not facts.reached or facts.kills <= handle.words.kills:
        return
    serial = handle.words.running()[0]
    found = handle.find(serial)
    limit_mb = found[0].kind.memory_limit_mb if found is not None else None
    if limit_mb is not None and facts.limit is not None:
        handle.doomed, handle.doomed_serial = Doom.MEMORY, serial
        handle.grown_mb = limit_mb + (facts.peak - facts.limit) / MB


def not_ready(attempt: Attempt, trials: Trials | None, began: float, now: float, worker: str | None) -> Outcome:
    """Return the outcome of an attempt for which no worker gets ready, or got ready in time; `trials` have shown it."""
    if trials is not None and trials.end is not None:
        return _not_tried(attempt, trials, trials.end, began, now, worker)
    error = ErrorRecord(
        type="longshore.errors.TaskTimeout",
        message=(
            f"task {attempt.task_id} ({attempt.spec.name}) timed out: no worker process was ready for it within "
            "executors.processes.initializer_timeout_s: importing its function, its initializer, a processor's "
            "initialize or reading what the pool shares takes too long, or hangs"
        ),
        reason="initializer",
        attempt=attempt.number,
        worker=worker,
    )
    return ended(attempt, TaskState.TIMED_OUT, error, began, now)


def _not_tried(attempt: Attempt, trials: Trials, end: End, began: float, now: float, worker: str | None) -> Outcome:
    """Return the outcome of an attempt that did not begin, since workers ended while they got ready for its like."""
    by_initializer = trials.initializer is not None
    at, reason = ("in its initializer", "initializer") if by_initializer else ("in what it imports", "import")
    how, facts = end
    text = (
        f"task {attempt.task_id} ({attempt.spec.name}) did not begin: one worker process after the other ended "
        f"while it got ready for such tasks, {at}: it {how}; look for what crashes there"
    )
    error = WorkerNotReady(text, **{**facts, "reason": reason, "worker": worker})
    return failed(attempt, error, began, now, worker)


def end_notice(handle: Handle, verdict: Verdict) -> WorkerNotice:
    """Return what to tell about the end of a worker."""
    culprit = verdict.culprit
    why = handle.doomed.value if handle.doomed is not None else None
    how, facts = describe_end(handle.status) if not handle.written_off else (_UNKILLABLE, {"reason": "unkillable"})
    data = {
        "worker_id": handle.worker_id,
        "error": f"a worker process {how}",
        "pid": handle.pid,
        "task_id": culprit.task_id if culprit is not None else None,
        **facts,
        "killed_for": why,
    }
    return WorkerNotice("worker_error", data)
