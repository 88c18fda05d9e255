"""Light attempts: those whose arguments are a few small scalars, to pickle which takes a moment and runs nobody's code.

Used by whoever holds the baton (`handover.py`).
"""

from __future__ import annotations

import pickle
from typing import Final

from longshore.pickling import PROTOCOL
from longshore.task import Attempt

from longshore_processes.backlog import Kind
from longshore_processes.bays import Bay
from longshore_processes.codec import SCALARS
from longshore_processes.outcomes import Load

_MOST: Final = 4096  # of characters or bytes in one argument, and of arguments


def is_light(attempt: Attempt) -> bool:
    """Tell whether an attempt is light."""
    for value in attempt.args if not attempt.kwargs else (*attempt.args, *attempt.kwargs.values()):
        kind = type(value)
        if kind not in SCALARS or ((kind is str or kind is bytes) and len(value) > _MOST):
            return False
    return len(attempt.args) <= _MOST


def pack_light(kind: Kind, attempt: Attempt, bay: Bay) -> Load:
    """Return what `outcomes.pack` does of one attempt that is light, at a fifth of the price."""
    bay.begin()
    named = attempt.kwargs
    form, item = ("kwargs", (attempt.args, dict(named))) if named else ("args", attempt.args)
    numbers = None if attempt.number == 1 else [attempt.number]
    limits = kind.timeout_s, kind.soft_timeout_s
    fields = (kind.number, form, kind.name, *limits, attempt.task_id, numbers, attempt.expires_at, [item], ())
    return Load([attempt], pickle.dumps(fields, PROTOCOL), [])
