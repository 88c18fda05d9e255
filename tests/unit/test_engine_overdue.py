"""Soft timeouts: the engine tells once of an attempt that runs for too long, whoever runs it."""

from __future__ import annotations

from typing import Any

from longshore._engine.engine import Engine
from longshore._engine.messages import AskRunning, ExecutorUp, Reported, RunsFor, Stimulus, Submit, Tell
from longshore.events import Happened
from longshore.task import Attempt, Outcome, RetryPolicy, TaskSpec, TaskState


def work() -> None:
    """Stand for a user's function."""


class Watch:
    """An engine with one executor, what it asked, and what it told."""

    def __init__(self, slots: int = 2) -> None:
        self.engine = Engine()
        self.asked: list[str] = []
        self.told: list[dict[str, Any]] = []
        self.handle(0.0, ExecutorUp("quay", slots))

    def handle(self, now: float, *stimuli: Stimulus) -> None:
        for command in self.engine.handle(stimuli, now):
            if isinstance(command, AskRunning):
                self.asked += command.task_ids
            elif isinstance(command, Tell) and isinstance(command.batch, Happened):
                assert command.batch.type == "task_overdue"
                self.told.append(command.batch.data)

    def submit(self, *ids: str, soft_s: float | None = 1.0, **options: Any) -> None:
        spec = TaskSpec(function=work, name="work", executor="quay", soft_timeout_s=soft_s, **options)
        self.handle(0.0, Submit(spec, [Attempt(task_id, spec) for task_id in ids]))

    def ended(self, now: float, task_id: str, ran_s: float, number: int = 1, *, fails: bool = False) -> None:
        state = TaskState.FAILED if fails else TaskState.COMPLETED
        exception = ValueError() if fails else None
        outcome = Outcome(task_id, None, 0, "work", state, attempts=number, ran_s=ran_s, exception=exception)
        self.handle(now, Reported("quay", [outcome]))


def test_an_attempt_is_told_of_once_when_it_has_run_for_its_soft_timeout() -> None:
    """The event comes when the executor says that it has run for so long, names the worker, and comes once."""
    watch = Watch()
    watch.submit("a")
    assert watch.engine.next_due() == 1.0
    watch.handle(1.0)
    assert watch.asked == ["a"]
    watch.handle(1.0, RunsFor({"a": ("quay-0", 1.0)}))
    (told,) = watch.told
    assert told == {
        "task_id": "a",
        "worker_id": "quay-0",
        "name": "work",
        "running_s": 1.0,
        "attempt": 1,
        "soft_timeout_s": 1.0,
    }
    watch.handle(5.0, RunsFor({"a": ("quay-0", 5.0)}))
    watch.ended(6.0, "a", 6.0)
    assert len(watch.told) == 1


def test_time_that_an_attempt_waits_in_its_executor_does_not_count() -> None:
    """One that has not begun, or began late, is asked about again when it may be overdue."""
    watch = Watch()
    watch.submit("a")
    watch.handle(1.0)
    watch.handle(1.0, RunsFor({"a": (None, 0.0)}))
    assert watch.engine.next_due() == 2.0
    watch.handle(2.0)
    watch.handle(2.0, RunsFor({"a": ("quay-0", 0.25)}))
    assert watch.engine.next_due() == 2.75
    assert not watch.told


def test_where_nobody_knows_it_has_run_since_it_was_handed_out() -> None:
    """An executor that can't tell for how long gets no longer for it."""
    watch = Watch()
    watch.submit("a")
    watch.handle(1.5)
    watch.handle(1.5, RunsFor({"a": (None, None)}))
    assert watch.told[0]["running_s"] == 1.5


def test_an_attempt_that_ended_while_nobody_could_look_is_told_of_with_its_end() -> None:
    """A loop that is blocked delays the event; it does not lose it."""
    watch = Watch()
    watch.submit("a", "b")
    watch.ended(9.0, "a", 3.0)
    watch.ended(9.0, "b", 0.5)
    assert [told["task_id"] for told in watch.told] == ["a"]


def test_each_attempt_is_told_of_anew() -> None:
    """What is tried again may be overdue again; the look for the first attempt finds nothing."""
    watch = Watch()
    watch.submit("a", retry=RetryPolicy(attempts=2, backoff=0.0, jitter=0.0))
    watch.ended(0.5, "a", 0.5, fails=True)
    watch.handle(1.0)
    assert not watch.asked
    watch.handle(1.5)
    watch.handle(1.5, RunsFor({"a": ("quay-1", 1.0)}))
    assert [told["attempt"] for told in watch.told] == [2]


def test_without_soft_timeouts_nothing_is_watched() -> None:
    """Attempts of specs without one are not looked at, and nothing falls due."""
    watch = Watch()
    watch.submit("a", soft_s=None)
    assert not watch.engine._overdue.used
    assert watch.engine.next_due() is None


def test_what_has_ended_long_before_its_soft_timeout_is_forgotten() -> None:
    """Many short tasks with a long soft timeout leave a bounded number of looks behind."""
    watch = Watch(slots=1)
    for round_ in range(60):
        ids = [f"{round_}-{number}" for number in range(200)]
        watch.submit(*ids, soft_s=1e6)
        for task_id in ids:
            watch.ended(0.0, task_id, 0.0)
    assert watch.engine.idle
    assert len(watch.engine._overdue._looks) <= 4096 + 200
