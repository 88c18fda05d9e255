"""Whether a document suits a processor, looked at before a worker is taken.

In: the attempt of a task. Out: how it ends, where the document will not do; else None. Called on the pool's loop.
"""

from __future__ import annotations

from longshore._carrying import plain
from longshore._processing import ProcessorCall
from longshore.processor import ProcessorContext
from longshore.task import Attempt, Outcome
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
    unrun = Attempt.of(attempt, 0, attempt.queued_at)
    return failed(unrun, error, attempt.queued_at, attempt.queued_at, None)
