"""The engine's laws, under any order of what can happen: `EngineLaws` checks every answer, here is what is asked.

The machine mixes executors, priorities, reservations, rates, limits, deadlines and retries; time is a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from longshore._engine.config import EngineConfig
from longshore._engine.engine import Engine
from longshore._engine.messages import (
    Abort,
    Cancel,
    Dismiss,
    Drain,
    ExecutorUp,
    Grant,
    InUse,
    Measured,
    Past,
    Pause,
    Remembered,
    Reported,
    Stimulus,
    Submit,
    Tick,
    Unpause,
)
from longshore.errors import MemoryLimitExceeded
from longshore.records import Load
from longshore.task import Attempt, ErrorRecord, Outcome, Priority, Resources, RetryPolicy, TaskSpec, TaskState
from longshore.testing._laws import EngineLaws
from msgspec.structs import replace

EXECUTORS = ("quay", "yard")
CAPACITY = {"cpu": 4.0, "memory": 1000.0, "gpu": 1.0, "licence": 1.0}
ENDS = (TaskState.COMPLETED, TaskState.FAILED, TaskState.TIMED_OUT, TaskState.CANCELLED)


def work() -> None:
    """Stand for a user's function."""


RESERVED = [
    *(None, None, None, Resources(cpu=1), Resources(cpu=1), Resources(cpu=3, memory_mb=600)),
    *(Resources(custom={"crane": 1}), Resources(cpu=9)),
    Resources(gpu=1, cpu=1) | Resources(cpu=3) | Resources(memory_mb=300),
    Resources(cpu=0.5, custom={"licence": 0.5}) | Resources(cpu=9),
]
SPECS = st.builds(
    TaskSpec,
    function=st.just(work),
    name=st.sampled_from(["load", "weigh", "stow"]),
    executor=st.sampled_from(EXECUTORS),
    priority=st.sampled_from(Priority),
    deadline_s=st.sampled_from([None, None, 0.3, 5.0]),
    retry=st.sampled_from(
        [
            RetryPolicy(attempts=3, backoff=0.0),
            RetryPolicy(attempts=3, backoff=0.2, jitter=0.5),
            RetryPolicy(attempts=4, backoff=0.1, jitter=0.0, retry_on=(ConnectionError, TimeoutError)),
            RetryPolicy(attempts=6, backoff=0.0, retry_on=(MemoryLimitExceeded, ConnectionError)),
            RetryPolicy(),
        ]
    ),
    resources=st.sampled_from(RESERVED),
    max_per_second=st.sampled_from([None, None, None, 2.0, 200.0]),
    concurrent_limit=st.sampled_from([None, None, None, 1, 2]),
    group=st.sampled_from([None, None, "one", "two"]),
    rank=st.integers(0, 2),
)
PLAIN = st.builds(
    TaskSpec,
    function=st.just(work),
    name=st.just("plain"),
    executor=st.sampled_from(EXECUTORS),
    priority=st.sampled_from(Priority),
    group=st.sampled_from([None, None, "one"]),
    rank=st.integers(0, 2),
)
CONFIGS = st.builds(
    EngineConfig,
    max_queue_size=st.integers(2, 30),
    priority_queue_size=st.integers(1, 8),
    max_concurrent_tasks=st.integers(1, 8),
    capacity=st.just(CAPACITY),
)
ENDED: list[tuple[TaskState, Exception | None]] = [(TaskState.COMPLETED, None), (TaskState.FAILED, ValueError("no"))]
KEEP = st.sampled_from([False, False, False, True])
PASSED_S = st.sampled_from([0.0, 0.001, 0.1, 0.5, 2.0, 7.0])
HOW = st.sampled_from(
    [
        (TaskState.FAILED, ConnectionError("gone")),
        (TaskState.COMPLETED, None),
        (TaskState.FAILED, ValueError("no")),
        (TaskState.FAILED, None),
        (TaskState.TIMED_OUT, None),
        (TaskState.CANCELLED, None),
        (TaskState.FAILED, MemoryLimitExceeded("took too much", peak_memory_mb=300.0)),
    ]
)
OPERATING = st.one_of(
    st.builds(
        ExecutorUp,
        st.sampled_from(EXECUTORS),
        st.sampled_from([2, 1, 3, 5, 0]),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    st.sampled_from([Pause(), Unpause(), Unpause(), Unpause(), Pause("one"), Unpause("one"), Unpause("one")]),
    st.builds(Grant, st.sampled_from([CAPACITY, CAPACITY, {**CAPACITY, "cpu": 2.0}, {**CAPACITY, "cpu": 0.5}])),
)
LOADS = st.fixed_dictionaries(
    {},
    optional={
        "memory": st.builds(
            Load,
            usage=st.sampled_from([20.0, 40.0, 68.0, 70.0, 74.0, 90.0, 98.0]),
            limit=st.just(75.0),
            warning=st.just(65.0),
            own=st.sampled_from([None, 10.0, 40.0]),
            lendable=st.just(1000.0),
            per_unit=st.just(10.0),
        ),
        "cpu": st.builds(
            Load,
            usage=st.sampled_from([10.0, 72.0, 95.0]),
            limit=st.just(80.0),
            warning=st.just(70.0),
            own=st.sampled_from([0.0, 10.0, 90.0]),
            per_unit=st.just(0.05),
        ),
        "network_io": st.builds(Load, usage=st.sampled_from([0.0, 2.0]), limit=st.just(1.0), warning=st.just(0.8)),
    },
)
MEASURED = st.builds(Measured, loads=LOADS, valid_s=st.just(10.0))
USE = st.builds(InUse, st.sampled_from([0.0, 20.0, 150.0, 700.0]), st.sampled_from([0.1, 5.0]))
PEAKS = st.sampled_from([None, None, None, 5.0, 60.0, 400.0, 2000.0])
RAN_S = st.sampled_from([0.0, 0.00001, 0.001, 1.0])


def outcome_of(
    attempt: Attempt,
    state: TaskState,
    error: Exception | None = None,
    ran_s: float = 0.0,
    peak_mb: float | None = None,
) -> Outcome:
    """Return what an executor reports of an attempt; a failure without an exception did not travel."""
    record = None if state is TaskState.COMPLETED else ErrorRecord(type="builtins.ValueError", message="no")
    return Outcome(
        attempt.task_id,
        attempt.key,
        attempt.index,
        attempt.spec.name,
        state,
        error=record,
        attempts=attempt.number,
        ran_s=ran_s,
        peak_memory_mb=peak_mb,
        exception=error,
    )


class EngineMachine(RuleBasedStateMachine):
    """Whatever happens, in whatever order and in batches of any size."""

    specs = Bundle("specs")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.count = 0
        self.kept: list[Stimulus] = []
        self.old: list[Attempt] = []

    @initialize(
        config=CONFIGS,
        target=specs,
        mixed=st.lists(SPECS, min_size=3, max_size=6),
        plain=PLAIN,
        uniform=st.floats(0, 0.99),
        weighing=st.sampled_from([EXECUTORS, EXECUTORS, EXECUTORS[:1]]),
    )
    def begin(
        self, config: EngineConfig, mixed: list[TaskSpec], plain: TaskSpec, uniform: float, weighing: Sequence[str]
    ) -> object:
        self.laws = EngineLaws(Engine(config, lambda: uniform))
        up = [ExecutorUp(executor, 2, weighs=executor in weighing) for executor in EXECUTORS]
        self.laws.handle(up, self.now)
        return multiple(plain, *mixed)

    def tell(self, stimulus: Stimulus, keep: bool) -> None:
        """Let the engine handle it, now or together with what comes next."""
        self.kept.append(stimulus)
        if not keep:
            kept, self.kept = self.kept, []
            self.laws.handle(kept, self.now)

    @rule(spec=specs, count=st.integers(1, 6), keep=KEEP)
    def submit(self, spec: TaskSpec, count: int, keep: bool) -> None:
        attempts = [Attempt(f"t{self.count + n}", spec, queued_at=self.now) for n in range(count)]
        self.count += count
        self.tell(Submit(spec, attempts), keep)

    @rule(spec=specs, number=st.integers(2, 5), lost=st.integers(0, 1), keep=KEEP)
    def go_on(self, spec: TaskSpec, number: int, lost: int, keep: bool) -> None:
        """A task of a run that goes on: some attempts of it were made before."""
        attempt = Attempt(f"t{self.count}", spec, number=number, queued_at=self.now)
        self.count += 1
        self.tell(Remembered({attempt.task_id: Past(number, min(lost, number - 1))}), keep=True)
        self.tell(Submit(spec, [attempt]), keep)

    @rule(spec=specs, count=st.integers(1, 3), keep=KEEP)
    def dismiss(self, spec: TaskSpec, count: int, keep: bool) -> None:
        """Tasks whose input will never do: accepted, and ended unrun."""
        attempts = [Attempt(f"t{self.count + n}", spec, queued_at=self.now) for n in range(count)]
        self.count += count
        self.tell(Dismiss(spec, attempts, [outcome_of(attempt, TaskState.FAILED) for attempt in attempts]), keep)

    @rule(one=specs, other=specs)
    def submit_both(self, one: TaskSpec, other: TaskSpec) -> None:
        self.submit(one, 2, keep=True)
        self.submit(other, 2, keep=False)

    @rule(data=st.data(), keep=KEEP, ran_s=RAN_S, peak_mb=PEAKS)
    def report(self, data: st.DataObject, keep: bool, ran_s: float, peak_mb: float | None) -> None:
        """Some of what an executor holds has ended, each in its way."""
        holding = [executor for executor in EXECUTORS if self.laws.model.held[executor]]
        if holding:
            executor = data.draw(st.sampled_from(holding))
            held = list(self.laws.model.held[executor].values())
            ended = data.draw(st.lists(st.sampled_from(held), min_size=1, unique_by=lambda a: a.task_id))
            self.old += ended
            how = data.draw(st.lists(HOW, min_size=len(ended), max_size=len(ended)))
            outcomes = [outcome_of(a, *one, ran_s, peak_mb) for a, one in zip(ended, how, strict=True)]
            self.tell(Reported(executor, outcomes), keep)

    @rule(how=HOW, passed_s=PASSED_S)
    def report_all(self, how: tuple[TaskState, Exception | None], passed_s: float) -> None:
        """All that runs ends in one way."""
        self.now += passed_s
        for attempt in self.laws.model.running():
            self.old.append(attempt)
            self.tell(Reported(attempt.spec.executor, [outcome_of(attempt, *how, passed_s)]), keep=True)
        self.tell(Tick(), keep=False)

    @rule(data=st.data(), how=HOW, keep=KEEP)
    def report_again(self, data: st.DataObject, how: tuple[TaskState, Exception | None], keep: bool) -> None:
        """A worker that was given up reports late, or twice; somebody reports what nobody knows."""
        stranger = Attempt("stranger", TaskSpec(function=work, name="no", executor="quay"))
        attempt = data.draw(st.sampled_from([*self.old[-5:], stranger]))
        self.tell(Reported(attempt.spec.executor, [outcome_of(attempt, *how)]), keep)

    @rule(data=st.data(), keep=KEEP)
    def cancel(self, data: st.DataObject, keep: bool) -> None:
        held = [attempt.task_id for attempt in self.laws.model.running()]
        ids = [*held, *(known.task.task_id for known in self.laws.model.live()), *self.laws.outcomes, "stranger"]
        self.tell(Cancel(data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=4))), keep)

    @rule(passed_s=PASSED_S, when_due=st.booleans(), keep=KEEP)
    def wait(self, passed_s: float, when_due: bool, keep: bool) -> None:
        due = self.laws.engine.next_due() if when_due else None
        self.now = self.now + passed_s if due is None else max(due, self.now)
        self.tell(Tick(), keep)

    @rule(data=st.data(), measured=MEASURED, passed_s=PASSED_S, keep=KEEP)
    def measure(self, data: st.DataObject, measured: Measured, passed_s: float, keep: bool) -> None:
        """A probe has read the machine, and what some of the tasks use that run, or ran."""
        self.now += passed_s
        running = [attempt.task_id for attempt in [*self.laws.model.running(), *self.old[-2:]]]
        tasks = {task_id: data.draw(USE) for task_id in running}
        self.tell(replace(measured, tasks=tasks), keep)

    @rule(data=st.data(), use=USE)
    def run_out(self, data: st.DataObject, use: InUse) -> None:
        """Memory is nearly used up, and stays so; who is ended for it is reported, or ended by itself just before."""
        high = Load(98.0, 75.0, 65.0, 40.0, "%", 1000.0, 10.0)
        for _ in range(3):
            tasks = {attempt.task_id: use for attempt in self.laws.model.running()}
            self.laws.handle([*self.kept, Measured({"memory": high}, tasks=tasks)], self.now)
            self.kept.clear()
            self.now += 1.5
            ended = [attempt for attempt in self.laws.model.running() if attempt.task_id == self.laws.shedding]
            how = [data.draw(st.sampled_from([(TaskState.CANCELLED, None), *ENDED])) for _ in ended]
            for attempt, one in zip(ended, how, strict=True):
                self.old.append(attempt)
                self.laws.handle([Reported(attempt.spec.executor, [outcome_of(attempt, *one)])], self.now)

    @rule(stimulus=OPERATING, keep=KEEP)
    def operate(self, stimulus: Stimulus, keep: bool) -> None:
        self.tell(stimulus, keep)

    @invariant()
    def depths(self) -> None:
        """What is said to wait, by executor and priority, is what waits."""
        if not hasattr(self, "laws"):
            return
        engine, counted = self.laws.engine, dict[str, Counter[str]]()
        for attempt in engine._dispatch.waiting():
            counted.setdefault(attempt.spec.executor, Counter())[attempt.spec.priority.name] += 1
        assert engine.queue() == counted

    def teardown(self) -> None:
        """With workers, and only reports and `next_due` to move it, everything ends; nothing more is taken."""
        if not hasattr(self, "laws"):
            return
        up = [ExecutorUp(executor, 1) for executor in EXECUTORS]
        end = Abort() if self.count % 3 == 0 else Drain()
        drive(self.laws, [*self.kept, *up, Grant(CAPACITY), Unpause(), end], self.now)


def drive(laws: EngineLaws, first: Sequence[Stimulus], now: float) -> float:
    """Run what is left to its end, one report at a time, and return when it ended."""
    laws.handle(first, now)
    spec = TaskSpec(function=work, name="late", executor="quay")
    laws.handle([Submit(spec, [Attempt("too late", spec, queued_at=now)])], now)
    unfit = Attempt("unfit, and too late", spec, queued_at=now)
    laws.handle([Dismiss(spec, [unfit], [outcome_of(unfit, TaskState.FAILED)])], now)
    while not laws.engine.idle:
        running = laws.model.running()
        if running:
            attempt, now = running[0], now + 0.001
            done = outcome_of(attempt, TaskState.COMPLETED, None, 0.001)
            laws.handle([Reported(attempt.spec.executor, [done])], now)
        else:
            due = laws.engine.next_due()
            assert due is not None, "a lost wake-up: tasks wait, nothing runs, and nobody will call"
            now = due
            laws.handle([Tick()], now)
    laws.check_end()
    return now


def search(examples: int, steps: int, *, derandomize: bool) -> None:
    """Let Hypothesis look for a sequence that breaks a law."""
    bounds = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=derandomize,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(EngineMachine, settings=bounds)


@pytest.mark.timeout(300)  # it takes 1 s; looking for the shortest sequence that breaks a law takes longer
@pytest.mark.requirement(
    "req:A04",
    "req:A05",
    "req:A08",
    "req:B09",
    "req:D02",
    "req:D03",
    "req:D04",
    "req:D13",
    "req:D14",
    "req:F04",
    "req:G13",
    "req:G14",
)
@pytest.mark.parametrize("examples", [40, pytest.param(120, marks=pytest.mark.slow)], ids=["few", "many"])
def test_the_laws_hold_whatever_happens(examples: int) -> None:
    """Each accepted task ends exactly once, in order, within every bound, and the events tell the same story."""
    search(examples, 40, derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_laws_hold_in_a_long_search() -> None:
    """The same, over more and longer sequences, others each time."""
    search(1500, 80, derandomize=False)
