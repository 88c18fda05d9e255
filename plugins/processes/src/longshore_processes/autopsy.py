"""What becomes of the attempts of a worker that ended: one is to blame at most, the others are run elsewhere.

Used on the supervisor's thread only; called when everything the worker had sent is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from longshore.hookspecs import WorkerNotice
from longshore.task import Attempt, ErrorRecord, Outcome, TaskState
from longshore.worker import cancelled, ended, timed_out

from longshore_processes.backlog import Kind
from longshore_processes.handle import Doom, Handle
from longshore_processes.outcomes import describe_end, memory_exceeded, worker_died

_STOPPED: Final = ("was stopped by a signal, did not go on and was killed", {"reason": "stopped"})
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
    outcomes = [_sentence(handle, culprit, began, now, cancels)] if culprit is not None else []
    back: list[tuple[Kind, Sequence[Attempt]]]
    back = [(kind, [a for a in attempts if a is not culprit]) for kind, attempts in handle.cut(0)]
    return Verdict(outcomes, back, culprit, blamed)


def _sentence(handle: Handle, attempt: Attempt, began: float, now: float, cancels: Mapping[str, str]) -> Outcome:
    if handle.doomed is Doom.TIMEOUT:
        note = "its worker process could not be killed" if handle.written_off else "its worker process was killed"
        return timed_out(attempt, began, now, handle.worker_id, note)
    if handle.doomed is Doom.PREPARE:
        return not_ready(attempt, began, now, handle.worker_id)
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
    return worker_died(handle, attempt, began)


def not_ready(attempt: Attempt, began: float, now: float, worker: str | None) -> Outcome:
    """Return the outcome of an attempt for which no worker got ready in time, in whichever worker that was."""
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
