"""When a task has ended its worker too often: decided by the engine, from what executors report."""

from __future__ import annotations

from typing import Any

import pytest
from longshore._engine.engine import Engine
from longshore._engine.messages import ExecutorUp, Reported, Settle, Start, Stimulus, Submit
from longshore.errors import MemoryLimitExceeded, PoisonTask, TaskTimeout, WorkerDied
from longshore.task import Attempt, ErrorRecord, Outcome, RetryPolicy, TaskSpec, TaskState


def work() -> None:
    """Stand for a user's function."""


class Story:
    """One task in an engine, whose attempts end as the test says; retries fall due at once."""

    def __init__(self, **retry: Any) -> None:
        policy = RetryPolicy(backoff=0.0, jitter=0.0, **{"attempts": 10, **retry})
        self.spec = TaskSpec(function=work, name="work", executor="quay", retry=policy)
        self.engine = Engine()
        self.now = 0.0
        self.running: Attempt | None = None
        self.end: Outcome | None = None
        self._handle(ExecutorUp("quay", 1), Submit(self.spec, [Attempt("t", self.spec)]))

    def _handle(self, *stimuli: Stimulus) -> None:
        self.now += 1.0
        for command in self.engine.handle(stimuli, self.now):
            if isinstance(command, Start):
                (self.running,) = command.attempts
            elif isinstance(command, Settle):
                (self.end,) = command.outcomes

    def ends(self, exception: Exception, state: TaskState = TaskState.FAILED, *, travels: bool = True) -> None:
        attempt, self.running = self.running, None
        assert attempt is not None, "no attempt runs"
        facts = getattr(exception, "facts", {})
        error = ErrorRecord(
            type=f"longshore.errors.{type(exception).__name__}",
            message=str(exception),
            reason=facts.get("reason"),
            signal=facts.get("signal"),
            exit_code=facts.get("exit_code"),
        )
        carried = exception if travels else None
        outcome = Outcome("t", None, 0, "work", state, None, error, attempt.number, exception=carried)
        self._handle(Reported("quay", [outcome]))


def died(signal: int = 9) -> WorkerDied:
    return WorkerDied("it died", reason=f"signal {signal}", signal=signal)


def test_a_task_that_kills_its_workers_ends_after_three_of_them_whatever_attempts_are_left() -> None:
    """With attempts=10 and poison_after=3 a task runs three times, and its end says how each worker died."""
    story = Story()
    for signal in (9, 11, 6):
        story.ends(died(signal))
    assert story.running is None
    assert story.end is not None
    assert story.end.attempts == 3
    assert story.end.state is TaskState.FAILED
    assert isinstance(story.end.exception, PoisonTask)
    assert story.end.exception.facts["deaths"] == ["signal 9", "signal 11", "signal 6"]
    assert story.end.error is not None
    assert story.end.error.signal == 6
    assert story.end.error.reason == "poison"
    with pytest.raises(PoisonTask, match=r"3 times \(signal 9, signal 11, signal 6\)"):
        story.end.unwrap()


def test_poison_is_known_also_where_the_exception_did_not_travel() -> None:
    """The record of the error is enough."""
    story = Story(poison_after=1)
    story.ends(died(), travels=False)
    assert story.end is not None
    assert story.end.error is not None
    assert story.end.error.type == "longshore.errors.PoisonTask"


@pytest.mark.parametrize(
    ("exception", "state"),
    [
        (TaskTimeout("too long"), TaskState.TIMED_OUT),
        (MemoryLimitExceeded("too much"), TaskState.FAILED),
        (ValueError("its own"), TaskState.FAILED),
    ],
)
def test_only_a_workers_own_death_makes_poison(exception: Exception, state: TaskState) -> None:
    """What we kill for a limit, and what raises, is tried again as its policy says, between deaths as well."""
    story = Story(poison_after=2, retry_on=(Exception, MemoryLimitExceeded))
    story.ends(died())
    for _ in range(4):
        story.ends(exception, state)
    assert story.end is None
    story.ends(died())
    assert story.end is not None
    assert isinstance(story.end.exception, PoisonTask)
    assert story.end.attempts == 6


def test_a_policy_that_ends_first_leaves_the_error_as_it_is() -> None:
    """One death of a task that has one attempt is WorkerDied, and two of two are."""
    story = Story(attempts=2)
    story.ends(died())
    story.ends(died())
    assert story.end is not None
    assert isinstance(story.end.exception, WorkerDied)


def test_deaths_of_tasks_that_ended_are_not_remembered() -> None:
    """Nothing grows with tasks that are over."""
    story = Story(attempts=2)
    story.ends(died())
    assert story.engine._deaths.seen
    story.ends(ValueError("its own"))
    assert story.end is not None
    assert not story.engine._deaths.seen


@pytest.mark.parametrize("value", [0, -1, 1.5, "3"])
def test_poison_after_is_a_count(value: Any) -> None:
    """What can't be meant is refused where it is given."""
    with pytest.raises(ValueError, match="poison_after"):
        RetryPolicy(poison_after=value)
