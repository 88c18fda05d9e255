"""What becomes of the tasks of a run that goes on: what is recorded goes in, a word for each comes out.

A recorded task is found by what it is: the function, the user's tag of its version, and the content of its arguments;
never by its place. What is found is taken, so that the same work asked for twice is found twice only if it was done
twice. Asked by the runtime's `recalling`, and by tests.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from longshore._engine.messages import Past
from longshore.errors import JournalError, OutcomeUnknown
from longshore.records import Recalled, TaskEntry, TaskKind
from longshore.task import Attempt, ErrorRecord, Outcome, TaskState

_RESTORED = (TaskState.COMPLETED, TaskState.FAILED, TaskState.TIMED_OUT)
_Place = tuple[str, str | None]


class Recall:
    """What is recorded of a run that goes on, by what it is; what was asked for is taken out."""

    def __init__(self, recalled: Recalled, *, failed: bool = False) -> None:
        """Take what the journal has; with `failed`, what failed is to be done again."""
        self._failed = failed
        self._places: dict[_Place, dict[str, list[TaskEntry]]] = {}
        self.counts: Counter[str] = Counter()
        """How many tasks were found and what became of them, by a word for each."""
        entries = list(recalled.tasks)
        redone = {entry.retry_of for entry in entries}
        for entry in entries:
            if entry.identity is not None and entry.task_id not in redone:
                place = self._places.setdefault((entry.kind.function, entry.kind.version), {})
                place.setdefault(entry.identity, []).append(entry)
        for place in self._places.values():
            for found in place.values():
                if len(found) > 1:
                    found.sort(key=worth)

    def take(self, kind: TaskKind, identity: str | None) -> TaskEntry | None:
        """Return what is recorded of this work, once."""
        place = self._places.get((kind.function, kind.version))
        if identity is None or place is None:
            return None
        found = place.get(identity)
        if found is None:
            return None
        entry = found.pop(0)
        if not found:
            del place[identity]
        return entry

    def judge(self, kind: TaskKind, entry: TaskEntry) -> str:
        """Return in a word what becomes of a task that is recorded; "restored" and "unknown" run nothing."""
        if kind.version is None and None not in (kind.code, entry.kind.code) and kind.code != entry.kind.code:
            return "changed"
        if entry.state is None:
            return "unknown" if entry.kind.at_most_once and entry.attempts else "unfinished"
        if entry.stale:
            return "stale"
        if entry.state not in _RESTORED:
            return "cancelled"
        if self._failed and entry.state is not TaskState.COMPLETED:
            return "failed"
        return "restored" if entry.kept else "not kept"

    @property
    def left(self) -> int:
        """How many recorded tasks nobody has asked for."""
        return sum(len(found) for place in self._places.values() for found in place.values())

    def notes(self) -> list[str]:
        """Return what a person should know of how the run went on."""
        told = [(self.counts[word], *forms) for word, forms in _WORDS.items()]
        told.append((self.left, *_KEPT))
        return [f"{count} {one if count == 1 else many}" for count, one, many in told if count]


_KEPT: Final = (
    "recorded task stays as it is: nothing asked for it again",
    "recorded tasks stay as they are: nothing asked for them again",
)
_WORDS: Final = {
    "restored": (
        "result was recorded before, and its task not run again",
        "results were recorded before, and their tasks not run again",
    ),
    "unfinished": ("task had not ended, and ran again", "tasks had not ended, and ran again"),
    "unknown": (
        "task had begun and may not run twice: its outcome is unknown",
        "tasks had begun and may not run twice: their outcome is unknown",
    ),
    "changed": (
        "task ran again, since the code of its function has changed",
        "tasks ran again, since the code of their function has changed",
    ),
    "stale": ("task ran again, since its input has changed", "tasks ran again, since their inputs have changed"),
    "failed": ("task that had failed ran again", "tasks that had failed ran again"),
    "cancelled": ("task that had been cancelled ran again", "tasks that had been cancelled ran again"),
    "not kept": (
        "task ran again, since its result could not be stored",
        "tasks ran again, since their results could not be stored",
    ),
    "no identity": (
        "task ran whatever is recorded: nothing says whether it is the same work",
        "tasks ran whatever is recorded: nothing says whether they are the same work",
    ),
}
"""What is said of tasks by what was found of them: of one, and of more."""


def worth(entry: TaskEntry) -> int:
    """Return the place in the order in which entries of one identity are taken: what need not be run comes first."""
    return 0 if entry.state is TaskState.COMPLETED else 1 if entry.state is not None else 2


def past_of(entry: TaskEntry) -> Past | None:
    """Return what there was of a task that had not ended; None where it has certainly not begun.

    A first attempt is recorded only once it lasts, so there may have been one that nothing tells of.
    """
    if entry.attempts:
        return Past(entry.attempts + 1, entry.lost, entry.deaths)
    return None if entry.kind.at_most_once else Past(2, 1)


def restored(attempt: Attempt, entry: TaskEntry) -> Outcome:
    """Return an outcome whose value is still to be read."""
    if entry.state is None:
        raise JournalError(f"task {entry.task_id} has no recorded outcome")
    name = attempt.spec.name
    return Outcome(
        attempt.task_id, attempt.key, attempt.index, name, entry.state, attempts=entry.attempts, restored=True
    )


def unknown(attempt: Attempt, entry: TaskEntry) -> Outcome:
    """Return the outcome of a task that had begun when its run ended, and is not to run twice."""
    message = (
        f"task {attempt.task_id} ({attempt.spec.name}) may have done its work or not: the run ended under attempt "
        f'{entry.attempts}, and with on_crash="unknown" it is not run again'
    )
    error = ErrorRecord(
        type="longshore.errors.OutcomeUnknown", message=message, reason="unknown", attempt=max(1, entry.attempts)
    )
    return Outcome(
        attempt.task_id,
        attempt.key,
        attempt.index,
        attempt.spec.name,
        TaskState.FAILED,
        error=error,
        attempts=max(1, entry.attempts),
        exception=OutcomeUnknown(message, reason="unknown"),
    )
