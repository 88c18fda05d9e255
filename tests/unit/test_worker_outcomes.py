"""Outcomes that executors make of what a user's function raised, whatever that is like."""

from __future__ import annotations

from typing import Any

from longshore.errors import TaskCancelled
from longshore.task import Attempt, ErrorRecord, Outcome, TaskSpec, TaskState
from longshore.worker import failed


class Disguised(Exception):
    """Says that it is of another class, or raises when it is asked."""

    claim: Any = None

    @property
    def __class__(self) -> Any:  # type: ignore[override]  # Any: that is what is tried
        if self.claim is None:
            raise RuntimeError("no class")
        return self.claim


class Claiming(Disguised):
    claim = TaskCancelled


def attempt() -> Attempt:
    return Attempt("t", TaskSpec(function=print, name="print", executor="x"), ())


def test_a_failure_goes_by_its_type() -> None:
    """What an exception says of its own class neither hurts nor makes a failure a cancellation."""
    assert failed(attempt(), Claiming(), 0.0, 1.0, None).state is TaskState.FAILED
    outcome = failed(attempt(), Disguised(), 0.0, 1.0, None)
    assert outcome.state is TaskState.FAILED
    assert failed(attempt(), TaskCancelled(), 0.0, 1.0, None).state is TaskState.CANCELLED


def test_what_was_written_last_is_noted_where_our_exception_stands_in() -> None:
    """An outcome whose exception did not travel raises ours, with the last output as a note; without, it has none."""
    record = ErrorRecord(type="X", message="x", output_tail="step 1")
    assert Outcome("t", None, 0, "n", TaskState.FAILED, None, record).failure().__notes__ == [
        "what it wrote last:\nstep 1"
    ]
    silent = Outcome("t", None, 0, "n", TaskState.FAILED, None, ErrorRecord(type="X", message="x"))
    assert not hasattr(silent.failure(), "__notes__")
