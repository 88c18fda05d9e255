"""The laws of the fold, for any legal run."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from longshore._tracking import RunFold
from longshore.events import (
    EventBatch,
    ProgressUpdate,
    TaskRetrying,
    TasksProgressed,
    TasksSettled,
    TasksStarted,
    TasksSubmitted,
)
from longshore.records import RunInfo, RunSnapshot
from longshore.task import Attempt, ErrorRecord, Outcome, Task, TaskSpec, TaskState

SPECS = [TaskSpec(function=print, name=name, executor=where) for name, where in (("a", "x"), ("a", "y"), ("b", "x"))]
ENDS = (TaskState.COMPLETED, TaskState.FAILED, TaskState.TIMED_OUT, TaskState.CANCELLED)


class Model:
    """Where each task is, kept the slow and obvious way; makes the next legal batch."""

    def __init__(self) -> None:
        self.where: dict[str, str] = {}
        self.tasks: dict[str, Task] = {}
        self.tries: dict[str, int] = {}

    def of(self, spec: TaskSpec, *places: str) -> list[str]:
        return [i for i, place in self.where.items() if place in places and self.tasks[i].spec is spec]

    def submit(self, spec: TaskSpec, count: int) -> EventBatch:
        made = [Task(f"t{len(self.tasks) + i}", spec) for i in range(count)]
        for task in made:
            self.tasks[task.task_id], self.where[task.task_id], self.tries[task.task_id] = task, "queued", 0
        return TasksSubmitted(spec, made)

    def start(self, ids: list[str]) -> EventBatch:
        for i in ids:
            self.where[i] = "running"
            self.tries[i] += 1
        return TasksStarted([Attempt.of(self.tasks[i], self.tries[i], 0.0) for i in ids])

    def outcome(self, i: str, state: TaskState) -> Outcome:
        error = None if state is TaskState.COMPLETED else ErrorRecord(type=state.value, message=i)
        task = self.tasks[i]
        return Outcome(i, None, 0, task.spec.name, state, None, error, self.tries[i], 0.5, len(i) / 2)

    def retry(self, i: str) -> EventBatch:
        self.where[i] = "retrying"
        return TaskRetrying(self.tasks[i].spec, self.outcome(i, TaskState.FAILED), 0.1)

    def settle(self, spec: TaskSpec, ids: list[str], state: TaskState) -> EventBatch:
        for i in ids:
            self.where[i] = state.value
        return TasksSettled(spec, [self.outcome(i, state) for i in ids])


@st.composite
def step(draw: st.DrawFn, model: Model) -> EventBatch:
    spec = draw(st.sampled_from(SPECS))
    running, waiting = model.of(spec, "running"), model.of(spec, "queued", "retrying")
    kind = draw(st.sampled_from(("submit", "start", "progress", "retry", "settle", "cancel")))
    if kind == "start" and waiting:
        mixed = [i for other in SPECS for i in model.of(other, "queued", "retrying")]
        return model.start(mixed[: draw(st.integers(1, len(mixed)))])
    if kind == "progress" and running:
        return TasksProgressed([ProgressUpdate(i, model.tries[i], draw(st.floats(0, 1))) for i in running])
    if kind == "retry" and running:
        return model.retry(draw(st.sampled_from(running)))
    if kind == "settle" and running:
        return model.settle(spec, running[: draw(st.integers(1, len(running)))], draw(st.sampled_from(ENDS)))
    if kind == "cancel" and waiting:
        return model.settle(spec, waiting[:1], TaskState.CANCELLED)
    return model.submit(spec, draw(st.integers(1, 5)))


def snapshot(fold: RunFold, now: float) -> RunSnapshot:
    started = datetime(2024, 1, 1, tzinfo=UTC)
    return fold.snapshot(RunInfo(run_id="r", started=started, snapshot=lambda: snapshot(fold, now)), now, total=500)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_counts_are_true_at_every_instant_and_folding_again_gives_the_same(data: st.DataObject) -> None:
    """After every batch each count is what a task-by-task book says, in all and by stage; a second fold agrees."""
    model, fold = Model(), RunFold(0.0)
    batches: list[EventBatch] = []
    for number in range(data.draw(st.integers(1, 25))):
        batches.append(data.draw(step(model)))
        fold.fold(batches[-1], number * 0.7)
        seen = snapshot(fold, number * 0.7)
        places = list(model.where.values())
        for state in ("queued", "running", "retrying", "completed", "timed_out", "cancelled"):
            assert getattr(seen, state) == places.count(state), state
        assert seen.failed == places.count("failed") + places.count("timed_out")
        assert seen.submitted == seen.queued + seen.running + seen.retrying + seen.ended == len(places)
        for stage in seen.stages:
            mine = [
                p
                for i, p in model.where.items()
                if (model.tasks[i].spec.name, model.tasks[i].spec.executor) == (stage.name, stage.executor)
            ]
            assert (stage.queued, stage.running) == (mine.count("queued"), mine.count("running"))
    again = RunFold(0.0)
    for number, batch in enumerate(batches):
        again.fold(batch, number * 0.7)
    assert snapshot(again, 50.0) == snapshot(fold, 50.0)
