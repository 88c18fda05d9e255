"""Whether a task may be run, as a hook and its processor say, looked at before a worker is taken.

In: the attempt of a task. Out: how it ends, where it may not; else None. Called on the pool's loop.
"""

from __future__ import annotations

from longshore._carrying import plain
from longshore._processing import ProcessorCall
from longshore.errors import PluginError
from longshore.processor import ProcessorContext
from longshore.task import Attempt, Outcome, TaskSpec
from longshore.worker import failed


def examine(attempt: Attempt) -> Outcome | None:
    """Return how a task of a processor ends whose document will not do; None for every other."""
    call = plain(attempt.spec.function)
    context = attempt.args[0] if attempt.args else None
    if not isinstance(call, ProcessorCall) or call.check is None or not isinstance(context, ProcessorContext):
        return None
    error = call.check(context)
    if error is None:
        return None
    return _unrun(attempt, error)


def veto(spec: TaskSpec, reason: str) -> PluginError:
    """Return what whoever submitted a task is told that a hook refused."""
    return PluginError(f"a hook refused {spec.name}: {reason}", reason="vetoed", why=reason)


def vetoed(attempt: Attempt, reason: str) -> Outcome:
    """Return how a task ends that a hook refused, where that is an outcome."""
    return _unrun(attempt, veto(attempt.spec, reason))


def _unrun(attempt: Attempt, error: BaseException) -> Outcome:
    never = Attempt.of(attempt, 0, attempt.queued_at)
    return failed(never, error, attempt.queued_at, attempt.queued_at, None)
