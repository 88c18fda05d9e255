"""Which tasks end their workers, and when one has done so too often to be tried again.

Only a worker's own end counts, which executors report as WorkerDied: one that was ended for a limit of time or memory
is reported as what it was. The engine asks for each failed attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from longshore._engine.retry import kind_of
from longshore.errors import PoisonTask, WorkerDied
from longshore.task import Attempt, ErrorRecord, Outcome


class Deaths:
    """How the workers of tasks that have not ended yet died under them, in words."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        """Have seen none."""
        self.seen: dict[str, list[str]] = {}
        """By task."""

    def judge(self, attempt: Attempt, outcome: Outcome) -> Outcome:
        """Return the outcome of a failed attempt; that of a poisonous task, if it was one death too many."""
        if not issubclass(kind_of(outcome), WorkerDied):
            return outcome
        seen = self.seen.setdefault(attempt.task_id, [])
        seen.append((outcome.error.reason if outcome.error is not None else None) or "unknown")
        return outcome if len(seen) < attempt.spec.retry.poison_after else _poisoned(attempt, outcome, seen)

    def recall(self, deaths: Mapping[str, Sequence[str]]) -> None:
        """Take note of what was seen of tasks before their run went on."""
        self.seen.update({task_id: list(seen) for task_id, seen in deaths.items()})

    def forget(self, outcomes: Iterable[Outcome]) -> None:
        """Remember nothing of tasks that have ended."""
        for outcome in outcomes:
            self.seen.pop(outcome.task_id, None)


def _poisoned(attempt: Attempt, outcome: Outcome, seen: list[str]) -> Outcome:
    times = "once" if len(seen) == 1 else f"{len(seen)} times"
    message = (
        f"task {attempt.task_id} ({attempt.spec.name}) has ended its worker {times} ({', '.join(seen)}) and is not "
        "tried again: look for what crashes in it, or raise RetryPolicy(poison_after=...)"
    )
    last = outcome.error or ErrorRecord(type="", message="", attempt=attempt.number)
    exception = PoisonTask(message, reason="poison", deaths=list(seen), exit_code=last.exit_code, signal=last.signal)
    exception.__cause__ = outcome.exception
    if last.output_tail:
        exception.add_note(f"what it wrote last:\n{last.output_tail}")
    record = replace(last, type="longshore.errors.PoisonTask", message=message, reason="poison")
    return replace(outcome, error=record, exception=exception)
