"""What the command's journal records of inputs that failed though no task of theirs did."""

from __future__ import annotations

from longshore._report.untasked import FAILED_INPUTS, FailedInput, read_failed_inputs
from longshore.cli.recorded import CommandJournal, failed_input
from longshore.records import CommitBatch, RunOpening
from longshore.task import TaskState
from longshore.testing.journal import MemoryJournal

RUN = "20260131T000000-abcdef"


class Counting(MemoryJournal):
    """A journal that counts how often failed inputs are recorded."""

    written = 0

    def commit(self, batch: CommitBatch) -> None:
        """Count."""
        self.written += FAILED_INPUTS in batch.states
        super().commit(batch)


def lost(name: str) -> FailedInput | None:
    """Return that an input was no file."""
    return failed_input(name, TaskState.FAILED, ("FileNotFoundError", "missing"))


def test_each_failed_input_is_recorded_and_forgotten_once_it_went_well() -> None:
    """Also by a run that goes on, and whatever bytes the name has."""
    kept = MemoryJournal()
    journal = CommandJournal(kept, {})
    journal.open(RunOpening(run_id=RUN, at=0.0))
    for name in ("a", "b\udcff"):
        journal.note_input(name, lost(name))
    journal.commit(CommitBatch(run_id=RUN))
    assert [one.key for one in read_failed_inputs(kept.archive(), RUN)] == ["a", "b\\udcff"]
    journal.close()
    journal = CommandJournal(kept, {})
    journal.open(RunOpening(run_id=RUN, at=0.0, resume=True))
    journal.note_input("b\udcff", None)
    journal.note_input("unheard-of", None)
    journal.commit(CommitBatch(run_id=RUN, ended="completed"))
    assert [one.key for one in read_failed_inputs(kept.archive(), RUN)] == ["a"]


def test_many_failed_inputs_are_not_recorded_anew_with_each() -> None:
    """The more there are, the more have to come; the last commit has all."""
    kept = Counting()
    journal = CommandJournal(kept, {})
    journal.open(RunOpening(run_id=RUN, at=0.0))
    for number in range(1000):
        journal.note_input(f"f{number}", lost(f"f{number}"))
        journal.commit(CommitBatch(run_id=RUN))
    assert kept.written < 100
    journal.commit(CommitBatch(run_id=RUN, ended="completed"))
    assert len(read_failed_inputs(kept.archive(), RUN)) == 1000


def test_only_what_failed_is_a_failed_input() -> None:
    """What was cancelled has not failed; a document that ran out of time has."""
    assert failed_input("a", TaskState.CANCELLED, ("x", "y")) is None
    assert failed_input("a", TaskState.COMPLETED, None) is None
    late = failed_input("a", TaskState.TIMED_OUT, None)
    assert late is not None
    assert (late.state, late.type) == ("timed_out", "timed_out")
