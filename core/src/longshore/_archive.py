"""The contract of a journal's archive, what `Journal.archive` returns; public as `longshore.hookspecs.Archive`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from longshore.records import JournalQuery, RunRecord, TaskEntry, TaskTrace
from longshore.task import Outcome


class Archive(Protocol):
    """What is recorded, for reading, while runs go on or not; may be used from any one thread."""

    def runs(self, newest: int | None = None) -> Sequence[RunRecord]:
        """Return all runs, or so many of them, the newest first. A damaged one has the state "damaged".

        To ask for a few must not cost what all of them do: it is done as a run of the command begins.
        """

    def run(self, run_id: str) -> RunRecord:
        """Return one run; JournalError if it is not there."""

    def states(self, run_id: str, names: Sequence[str]) -> Mapping[str, Any]:
        """Return those of a run's named states that are there; JournalError if the run is not. Any: JSON-safe."""

    def tasks(self, query: JournalQuery) -> Iterator[TaskEntry]:
        """Yield recorded tasks, in the order they were recorded; `run_id` is needed."""

    def traces(self, query: JournalQuery) -> Iterator[TaskTrace]:
        """Yield all that is recorded of tasks but their values, those done again too; `run_id` is needed."""

    def outcomes(self, query: JournalQuery) -> Iterator[Outcome]:
        """Yield recorded outcomes; the value of one that was not kept is None. `run_id` is needed."""

    def remove(self, run_id: str) -> None:
        """Delete a run with all that belongs to it; JournalError if a controller holds it."""

    def close(self) -> None:
        """Let go of what is open."""
