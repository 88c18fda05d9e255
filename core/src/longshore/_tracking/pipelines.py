"""How far a pipeline is, from the states of its stages; called by the progress tracker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from longshore.task import TaskState

ENDS = frozenset({"completed", "failed", "timed_out", "cancelled", "skipped"})
"""States that no task and no stage leaves."""
_DONE = frozenset({TaskState.COMPLETED.value, TaskState.SKIPPED.value})


class Standing(Struct, frozen=True):
    """Where a pipeline is: the share of its work that is done, stages done with, and its state."""

    progress: float
    completed_stages: int
    state: str

    @property
    def over(self) -> bool:
        """Whether nothing more is to come."""
        return self.state in ENDS


def standing(stages: Iterable[tuple[str, float]], total: int) -> Standing:
    """Return where a pipeline of `total` stages is, given the state and progress of those that are known.

    Stages completed or skipped are done, others count by how far they came. It is over once all stages ended, or one
    failed or was cancelled and none is under way; then it is what the worst of them is.
    """
    known = list(stages)
    states = [state for state, _ in known]
    done = sum(state in _DONE for state in states)
    parts = sum(min(1.0, max(0.0, progress)) for state, progress in known if state not in _DONE)
    progress = min(1.0, (done + parts) / total) if total > 0 else 0.0
    return Standing(progress, states.count(TaskState.COMPLETED.value), _state(states, total))


def _state(states: Sequence[str], total: int) -> str:
    under_way = any(state not in ENDS for state in states)
    broken = [state for state in states if state in ENDS and state not in _DONE]
    if under_way or (len(states) < total and not broken):
        return TaskState.PROCESSING.value
    for state in ("failed", "timed_out"):
        if state in broken:
            return TaskState.FAILED.value
    return TaskState.CANCELLED.value if broken else TaskState.COMPLETED.value
