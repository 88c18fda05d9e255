"""How a run ended, and why: as its pool tells it, and as its journal keeps it.

In: what became of the pool. Out: a `RunEnd`, the named state that journals have of one that failed, and that read back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

import msgspec
from msgspec import Struct

from longshore._packing import described, message_of, type_name
from longshore.errors import LongshoreError
from longshore.hookspecs import Archive
from longshore.records import RunRecord

_STATE: Final = "end"
"""The name of the state by which a journal has the reason."""


class RunEnd(Struct, frozen=True, kw_only=True):
    """What became of a run."""

    state: str
    """"completed", "stopped" or "failed"."""
    error: str | None = None
    """Why it failed."""
    type: str = ""
    """The class of what was raised, where something was."""

    @classmethod
    def of(
        cls, failure: BaseException | None, fault: str | None, left_by: BaseException | None, *, drained: bool
    ) -> Self:
        """Return it: by the pool's own failure, a fault at its end, what its block was left by, and what it had left.

        What is not an Exception, such as a cancellation, is somebody's wish and stops a run; `sys.exit(0)` does not.
        """
        if failure is not None:
            return cls(state="failed", error=message_of(failure), type=type_name(failure))
        if fault is not None:
            return cls(state="failed", error=fault)
        if isinstance(left_by, Exception):
            told = message_of(left_by) if isinstance(left_by, LongshoreError) else described(left_by)
            return cls(state="failed", error=told, type=type_name(left_by))
        wished = left_by is not None and not (isinstance(left_by, SystemExit) and not left_by.code)
        return cls(state="completed" if drained and not wished else "stopped")

    def states(self) -> Mapping[str, Any]:  # Any: JSON-safe values
        """Return what a journal is to keep of it beside the state of the run."""
        return {_STATE: msgspec.to_builtins(self)} if self.error is not None else {}


def read_end(archive: Archive, run: RunRecord) -> RunEnd:
    """Return how a recorded run ended; without a reason where none is recorded, or none can be read."""
    if run.state == "failed":  # what is kept is the reason of the last time that it failed
        try:
            return msgspec.convert(archive.states(run.run_id, (_STATE,)).get(_STATE), RunEnd)
        except msgspec.ValidationError:
            pass
    return RunEnd(state=run.state)


__all__ = ["RunEnd", "read_end"]
