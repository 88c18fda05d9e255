"""Circuit breakers, held against a plain reading of their rule, for whatever order of ends Hypothesis makes."""

from __future__ import annotations

from itertools import count
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from longshore._engine.engine import Engine
from longshore._engine.messages import Cancel, ExecutorUp, Reported, Settle, Start, Submit, Tell, Tick
from longshore.events import Happened
from longshore.task import Attempt, CircuitBreaker, Outcome, RetryPolicy, TaskSpec, TaskState

RULE = CircuitBreaker(failures=3, open_s=10.0, trials=2)


def work() -> None:
    """Stand for a user's function."""


SPEC = TaskSpec(
    function=work, name="flaky", executor="quay", breaker=RULE, retry=RetryPolicy(attempts=2, backoff=1.0, jitter=0.0)
)
OTHER = TaskSpec(function=work, name="other", executor="quay")


class BreakerMachine(RuleBasedStateMachine):
    """An engine with four workers, and what its breaker should be by the ends that it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.engine = Engine()
        self.ids = count()
        self.running: dict[str, Attempt] = {}
        self.trials: set[str] = set()
        self.left: set[str] = set()
        self.failed = 0
        self.good = 0
        self.until: float | None = None
        self.warnings: list[str] = []
        self.expected: list[str] = []
        self.handle(ExecutorUp("quay", 4))

    def handle(self, *stimuli: Any) -> None:
        """Give it to the engine, and check what it starts by the rule."""
        for command in self.engine.handle(stimuli, self.now):
            if isinstance(command, Start):
                for attempt in command.attempts:
                    self.starts(attempt)
            elif isinstance(command, Settle):
                self.left -= {outcome.task_id for outcome in command.outcomes}
            elif isinstance(command, Tell) and isinstance(command.batch, Happened):
                assert command.batch.data["resource"] == "circuit.flaky"
                self.warnings.append(command.batch.data["state"])

    def starts(self, attempt: Attempt) -> None:
        self.running[attempt.task_id] = attempt
        if attempt.spec is not SPEC or self.until is None:
            return
        assert self.now >= self.until, "nothing starts while it is open"
        self.trials.add(attempt.task_id)
        assert len(self.trials) + self.good <= RULE.trials, "only so many are tried"

    @rule(number=st.integers(1, 4), spec=st.sampled_from([SPEC, SPEC, OTHER]))
    def submit(self, number: int, spec: TaskSpec) -> None:
        attempts = [Attempt(f"t{next(self.ids)}", spec, queued_at=self.now) for _ in range(number)]
        self.left |= {attempt.task_id for attempt in attempts}
        self.handle(Submit(spec, attempts))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), state=st.sampled_from(["completed", "failed", "failed", "timed_out", "cancelled"]))
    def end(self, data: st.DataObject, state: str) -> None:
        attempt = self.running.pop(data.draw(st.sampled_from(sorted(self.running))) if len(self.running) else "")
        on_trial = attempt.task_id in self.trials
        self.trials.discard(attempt.task_id)
        if attempt.spec is SPEC and state != "cancelled":
            self.expect(state != "completed", on_trial)
        error = None if state == "completed" else ValueError("no")
        outcome = Outcome(
            attempt.task_id, None, 0, attempt.spec.name, TaskState(state), attempts=attempt.number, exception=error
        )
        self.handle(Reported("quay", [outcome]))

    def expect(self, failed: bool, on_trial: bool) -> None:
        """Do by the words of the rule what an end means."""
        if self.until is None:
            self.failed = self.failed + 1 if failed else 0
            if self.failed == RULE.failures:
                self.open()
                self.expected.append("crossed")
        elif on_trial and failed:
            self.open()
        elif on_trial:
            self.good += 1
            if self.good == RULE.trials:
                self.until, self.failed = None, 0
                self.expected.append("cleared")

    def open(self) -> None:
        self.until, self.good = self.now + RULE.open_s, 0
        self.trials.clear()

    @precondition(lambda self: self.left)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.handle(Cancel([data.draw(st.sampled_from(sorted(self.left)))]))

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.handle(Tick())

    @invariant()
    def it_tells_of_each_change_once(self) -> None:
        assert self.warnings == self.expected

    @invariant()
    def it_never_forgets_to_go_on(self) -> None:
        """Whoever waits while nothing runs is started by time alone."""
        if self.left and not self.running:
            assert self.engine.next_due() is not None

    def teardown(self) -> None:
        """In the end, with all ending well, every task ends."""
        for _ in range(10_000):
            if not self.left:
                break
            for task_id in list(self.running):
                attempt = self.running.pop(task_id)
                on_trial = task_id in self.trials
                self.trials.discard(task_id)
                if attempt.spec is SPEC:
                    self.expect(False, on_trial)
                done = Outcome(task_id, None, 0, attempt.spec.name, TaskState.COMPLETED, attempts=attempt.number)
                self.handle(Reported("quay", [done]))
            self.now = max(self.now, self.engine.next_due() or self.now)
            self.handle(Tick())
        assert not self.left
        assert self.engine.idle


TestBreaker = BreakerMachine.TestCase
