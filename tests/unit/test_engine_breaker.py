"""The circuit breaker of the engine: who shares one, what counts, what is said of it."""

from __future__ import annotations

from typing import Any

import pytest
from longshore._engine.breaker import Breakers
from longshore._engine.engine import Engine
from longshore._engine.messages import ExecutorUp, Reported, Start, Submit, Tell, Tick
from longshore.errors import WorkerDied
from longshore.events import Happened
from longshore.task import Attempt, CircuitBreaker, Outcome, RetryPolicy, TaskSpec, TaskState

FAILED, COMPLETED = TaskState.FAILED, TaskState.COMPLETED


def work() -> None:
    """Stand for a user's function."""


def spec_of(**options: Any) -> TaskSpec:  # Any: options of a spec
    return TaskSpec(
        **{"function": work, "name": "work", "executor": "quay", "breaker": CircuitBreaker(failures=2), **options}
    )


class Rig:
    """An engine with workers, and the time."""

    def __init__(self) -> None:
        self.engine, self.now, self.number = Engine(), 0.0, 0
        self.started: list[str] = []
        self.told: list[dict[str, Any]] = []
        self.handle(ExecutorUp("quay", 8))

    def handle(self, *stimuli: Any) -> list[str]:
        """Return which tasks start by this."""
        new: list[str] = []
        for command in self.engine.handle(stimuli, self.now):
            if isinstance(command, Start):
                new += [attempt.task_id for attempt in command.attempts]
            elif isinstance(command, Tell) and isinstance(command.batch, Happened):
                self.told.append(dict(command.batch.data))
        return new

    def submit(self, spec: TaskSpec, count: int = 1) -> list[str]:
        attempts = [Attempt(f"t{self.number + n}", spec, queued_at=self.now) for n in range(count)]
        self.number += count
        return self.handle(Submit(spec, attempts))

    def end(
        self, task_id: str, state: TaskState, exception: BaseException | None = None, attempt: int = 1
    ) -> list[str]:
        return self.handle(
            Reported("quay", [Outcome(task_id, None, 0, "work", state, attempts=attempt, exception=exception)])
        )

    def at(self, now: float) -> list[str]:
        self.now = now
        return self.handle(Tick())


@pytest.mark.requirement("req:F06")
def test_five_failures_a_minute_of_rest_three_trials() -> None:
    """The defaults: after 5 failures in a row nothing starts for 60 s, then 3 are tried, then all go on."""
    rig, spec = Rig(), spec_of(breaker=CircuitBreaker())
    rig.submit(spec, 5)
    for number in range(5):
        rig.end(f"t{number}", FAILED)
    assert rig.submit(spec, 6) == []
    assert rig.engine.next_due() == 60.0
    assert rig.at(59.9) == []
    assert rig.at(60.0) == ["t5", "t6", "t7"]
    assert [rig.end(name, COMPLETED) for name in ("t5", "t6")] == [[], []]
    assert rig.end("t7", COMPLETED) == ["t8", "t9", "t10"]
    assert [told["state"] for told in rig.told] == ["crossed", "cleared"]


def test_a_failed_trial_means_another_rest_and_what_is_said_of_all_that() -> None:
    """Whoever waits is told why, in numbers: open, half-open; and the event comes when that begins and ends."""
    rig, spec = Rig(), spec_of()
    rig.submit(spec, 3)
    rig.end("t0", FAILED)
    rig.end("t1", FAILED)
    assert rig.submit(spec, 5) == []
    assert "the circuit breaker of work is open, since 2 attempts failed in a row: the next is tried in 60 s" in str(
        rig.engine.why("t3", rig.now)
    )
    assert rig.engine.held_because() == "the circuit breaker of work is open"
    assert rig.end("t2", COMPLETED) == [], "it began before it opened"
    assert rig.at(60.0) == ["t3", "t4", "t5"]
    rig.end("t3", COMPLETED)
    assert "half-open: 2 run on trial, and all start again when 3 have ended well, of which 1 have" in str(
        rig.engine.why("t6", rig.now)
    )
    assert rig.end("t4", FAILED) == []
    assert rig.at(119.0) == []
    assert rig.end("t5", FAILED) == [], "one of a round that is over"
    assert len(rig.at(120.0)) == 2
    [told] = rig.told
    assert told == {
        "resource": "circuit.work",
        "usage": 2.0,
        "threshold": 2.0,
        "limit": None,
        "state": "crossed",
        "level": "hard",
        "message": "the circuit breaker of work is open, since 2 attempts failed in a row: the next is tried in 60 s",
    }


def test_others_are_not_held_back() -> None:
    """Tasks of another name, and those without a breaker, start all the while."""
    rig = Rig()
    rig.submit(spec_of(), 2)
    rig.end("t0", FAILED)
    rig.end("t1", FAILED)
    assert rig.submit(spec_of(), 1) == []
    assert rig.submit(spec_of(name="other"), 1) == ["t3"]
    assert rig.submit(spec_of(breaker=None), 1) == ["t4"]


def test_the_stages_and_runs_of_a_processor_share_one() -> None:
    """By the processor's name, whatever the task is called and whichever run of a pipeline it belongs to."""
    rig = Rig()
    rig.submit(spec_of(processor="ocr", name="a", group="run-1", executor="quay"))
    rig.submit(spec_of(processor="ocr", name="b", group="run-2", max_per_second=1000.0))
    rig.end("t0", FAILED)
    rig.end("t1", FAILED)
    assert rig.submit(spec_of(processor="ocr", name="c", group="run-3")) == []


def test_what_counts_as_a_failure() -> None:
    """Exceptions that `on` names, time-outs and deaths by their class; another one, or a success, ends the row."""
    rig, spec = Rig(), spec_of(breaker=CircuitBreaker(failures=2, on=(ConnectionError, WorkerDied)))
    rig.submit(spec, 6)
    rig.end("t0", FAILED, ConnectionError())
    rig.end("t1", FAILED, ValueError("a bad document"))
    rig.end("t2", FAILED, ConnectionError())
    rig.end("t3", TaskState.CANCELLED)
    assert rig.told == []
    rig.end("t4", FAILED, WorkerDied("gone"))
    assert [told["state"] for told in rig.told] == ["crossed"]


def test_retries_wait_and_do_not_spend_attempts_meanwhile() -> None:
    """A task between two attempts keeps them for when the breaker lets it try; each attempt that fails counts."""
    rig, spec = Rig(), spec_of(retry=RetryPolicy(attempts=3, backoff=1.0, jitter=0.0))
    rig.submit(spec)
    rig.end("t0", FAILED)
    assert rig.at(1.0) == ["t0"]
    rig.end("t0", FAILED, attempt=2)
    assert rig.at(10.0) == []
    assert rig.at(61.0) == ["t0"]


def test_a_deadline_ends_what_waits_for_a_breaker() -> None:
    """The deadline over all attempts holds while nothing is tried."""
    rig = Rig()
    rig.submit(spec_of(), 2)
    rig.end("t0", FAILED)
    rig.end("t1", FAILED)
    rig.submit(spec_of(deadline_s=5.0))
    rig.at(5.0)
    assert rig.engine.state("t2") is None


def test_breakers_that_know_nothing_are_forgotten() -> None:
    """Many names do not fill the memory; one that is open, or has seen a failure, stays."""
    breakers, rule = Breakers(), CircuitBreaker(failures=1)
    tripped = breakers.get(("tripped", rule))
    assert tripped is not None
    tripped.ended(Outcome("t", None, 0, "tripped", FAILED), 0.0)
    for number in range(5000):
        breakers.get((str(number), rule))
        breakers.tidy([])
    assert len(breakers._by_key) < 1100
    assert breakers.get(("tripped", rule)) is tripped


@pytest.mark.parametrize("wrong", [{"failures": 0}, {"trials": 1.5}, {"open_s": 0}, {"on": ValueError}])
def test_a_breaker_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    """Each value names what it has to be."""
    with pytest.raises(ValueError, match=f"CircuitBreaker.{next(iter(wrong))}"):
        CircuitBreaker(**wrong)
