"""Whether a failed attempt may be tried again, and the outcomes of tasks that end while they wait."""

from __future__ import annotations

import builtins

from msgspec.structs import replace

from longshore import errors
from longshore.task import Attempt, ErrorRecord, Outcome, RetryPolicy, TaskState


def may_retry(policy: RetryPolicy, outcome: Outcome, forgiven: int = 0) -> bool:
    """Tell whether the policy allows another attempt after this one; `forgiven` ones before it do not count."""
    if outcome.attempts - forgiven >= policy.attempts or outcome.state is TaskState.CANCELLED:
        return False
    kind, retry_on = kind_of(outcome), policy.retry_on
    if issubclass(kind, errors.PoisonTask | errors.OutcomeUnknown):
        return False
    if issubclass(kind, errors.MemoryLimitExceeded):  # it would take as much again: `Exception` does not mean it
        retry_on = tuple(named for named in retry_on if issubclass(named, errors.LongshoreError))
    return issubclass(kind, retry_on)


def kind_of(outcome: Outcome) -> type[BaseException]:
    """Return the class of a failure's exception, or one that stands for it where that did not travel."""
    if outcome.exception is not None:
        return type(outcome.exception)
    if outcome.state is TaskState.TIMED_OUT:
        return errors.TaskTimeout
    module, _, name = outcome.error.type.rpartition(".") if outcome.error is not None else ("", "", "")
    known = {"longshore.errors": errors, "builtins": builtins, "": builtins}.get(module)
    kind = getattr(known, name, None)
    return kind if isinstance(kind, type) and issubclass(kind, BaseException) else Exception


def unknown(attempt: Attempt, outcome: Outcome) -> Outcome:
    """Return the outcome of a task that is not to run twice: nobody knows how far it got where its worker died."""
    if not issubclass(kind_of(outcome), errors.WorkerDied | errors.PoisonTask):
        return outcome
    message = (
        f"task {attempt.task_id} ({attempt.spec.name}) may have done its work or not: its worker died under it, and "
        'with on_crash="unknown" it is not run again'
    )
    last = outcome.error or ErrorRecord(type="", message="", attempt=attempt.number)
    record = replace(last, type="longshore.errors.OutcomeUnknown", message=message, reason="unknown")
    exception = errors.OutcomeUnknown(message, reason="unknown", exit_code=last.exit_code, signal=last.signal)
    exception.__cause__ = outcome.exception
    return replace(outcome, error=record, exception=exception)


def expired(attempt: Attempt, now: float) -> Outcome:
    """Return the outcome of a task whose deadline over all attempts passed while it waited."""
    spec = attempt.spec
    limit = "its deadline over all attempts" if spec.deadline_s is None else f"its deadline of {spec.deadline_s:g} s"
    message = f"task {attempt.task_id} ({spec.name}) timed out: it passed {limit} while waiting"
    return _waiting(attempt, TaskState.TIMED_OUT, "TaskTimeout", "timeout", message, now)


def stopped(attempt: Attempt, now: float, message: str) -> Outcome:
    """Return the outcome of a task that was cancelled while it waited."""
    return _waiting(attempt, TaskState.CANCELLED, "TaskCancelled", "cancelled", message, now)


def never_had(attempt: Attempt, now: float, why: str) -> Outcome:
    """Return the outcome of a task that was accepted before anybody knew that it can never have what it reserves."""
    message = f"{attempt.spec.name} asks for more than there can ever be: {why}"
    ended = _waiting(attempt, TaskState.FAILED, "ResourceUnavailable", "resources", message, now)
    return replace(ended, exception=errors.ResourceUnavailable(message, reason=why))


def _waiting(attempt: Attempt, state: TaskState, kind: str, reason: str, message: str, now: float) -> Outcome:
    error = ErrorRecord(type=f"longshore.errors.{kind}", message=message, reason=reason, attempt=attempt.number)
    return Outcome(
        task_id=attempt.task_id,
        key=attempt.key,
        index=attempt.index,
        name=attempt.spec.name,
        state=state,
        error=error,
        attempts=attempt.number,
        queued_s=max(0.0, now - attempt.queued_at),
    )
