"""Inputs of a run of the command that failed though no task of theirs did, as its journal keeps them.

`cli.recorded` writes them while the run goes on; what tells of a recorded run reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from longshore._failure_identity import failure_identity
from longshore._report.words import encodable
from longshore.errors import JournalError
from longshore.hookspecs import Archive
from longshore.records import RunRecord

FAILED_INPUTS: Final = "failed_inputs"
"""The named state that has them."""
LEFT_INPUTS: Final = "left_inputs"
"""The named state that has how many inputs had no result as the run ended."""


class FailedInput(Struct, frozen=True, kw_only=True):
    """An input that failed though no task of its did: it was no file, was refused before, or its result is no JSON."""

    key: str
    """Its name, with escapes for what UTF-8 has no way to say."""
    state: str
    """"failed" or "timed_out"."""
    type: str
    reason: str

    @property
    def fingerprint(self) -> str:
        """Which failures are the same one."""
        return failure_identity(self.type, self.reason)


def key_of(name: str) -> str:
    """Return as what an input of this name is kept."""
    return encodable(name)


def as_state(found: Iterable[FailedInput]) -> list[Any]:  # Any: JSON-safe values
    """Return what is recorded of them."""
    told: list[Any] = msgspec.to_builtins(list(found))
    return told


def from_state(value: object) -> list[FailedInput]:
    """Return them from what is recorded; msgspec.ValidationError for what this version can't read."""
    return msgspec.convert(value or (), list[FailedInput])


def read_failed_inputs(archive: Archive, run_id: str) -> Sequence[FailedInput]:
    """Return those of a recorded run; JournalError where they can't be read."""
    try:
        return from_state(archive.states(run_id, (FAILED_INPUTS,)).get(FAILED_INPUTS))
    except msgspec.ValidationError as error:
        text = f"what is recorded of the inputs of run {run_id} that failed can't be read by this version: {error}"
        raise JournalError(text, reason="unreadable", run_id=run_id) from error


def read_left_inputs(archive: Archive, run: RunRecord) -> int:
    """Return how many inputs of a recorded run had no result as it ended; 0 where it has not ended, or all had one."""
    if run.state not in ("stopped", "failed"):
        return 0
    left = archive.states(run.run_id, (LEFT_INPUTS,)).get(LEFT_INPUTS)
    return left if isinstance(left, int) else 0
