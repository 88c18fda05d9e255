"""The fold of a run, fed by hand: batches in, snapshots out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from longshore._sketch import Sketch
from longshore._tracking import RunFold
from longshore._tracking.eta import remaining_s
from longshore._tracking.rate import RateRing
from longshore._tracking.running import RunningTasks
from longshore._tracking.stages import GROUPS_MOST, OTHER, RETRY_TYPES_MOST, STAGES_MOST
from longshore.events import (
    Happened,
    ProgressUpdate,
    TaskRetrying,
    TasksProgressed,
    TasksSettled,
    TasksStarted,
    TasksSubmitted,
)
from longshore.records import RunInfo, RunSnapshot
from longshore.task import Attempt, ErrorRecord, Outcome, Task, TaskSpec, TaskState


def spec(name: str = "f", executor: str = "threads") -> TaskSpec:
    return TaskSpec(function=print, name=name, executor=executor)


def tasks(of: TaskSpec, count: int, prefix: str = "t") -> list[Task]:
    return [Task(f"{prefix}{i}", of, (), None, i, f"doc-{prefix}{i}") for i in range(count)]


def settled(task: Task, state: TaskState = TaskState.COMPLETED, **fields: object) -> Outcome:
    return Outcome(task.task_id, task.key, task.index, task.spec.name, state, **fields)  # type: ignore[arg-type]


def snapshot(fold: RunFold, now: float = 10.0, total: int | None = None) -> RunSnapshot:
    started = datetime(2024, 1, 1, tzinfo=UTC)
    info = RunInfo(run_id="r1", started=started, snapshot=lambda: snapshot(fold), name="demo")
    return fold.snapshot(info, now, total=total)


def begun(count: int, at: float = 1.0) -> tuple[RunFold, TaskSpec, list[Task]]:
    fold, of = RunFold(0.0), spec()
    made = tasks(of, count)
    fold.fold(TasksSubmitted(of, made), at)
    fold.fold(TasksStarted([Attempt.of(task, 1, at) for task in made]), at)
    return fold, of, made


def test_a_task_is_overdue_from_when_that_is_told_to_the_end_of_its_attempt() -> None:
    """One that runs is marked and counted; one that is told of as it ends, or of an attempt before, is not."""
    fold, of, (first, second, third) = begun(3)

    def late(task: Task, attempt: int = 1) -> Happened:
        return Happened("task_overdue", {"task_id": task.task_id, "attempt": attempt})

    fold.fold(late(first), 2.0)
    fold.fold(late(second, attempt=2), 2.0)
    assert (snapshot(fold).overdue, [task.overdue for task in snapshot(fold).slowest]) == (1, [True, False, False])
    fold.fold(late(third), 3.0)
    fold.fold(TasksSettled(of, [settled(first)]), 4.0)
    fold.fold(late(first), 4.0)
    assert snapshot(fold).overdue == 1
    fold.fold(TaskRetrying(of, settled(third, TaskState.FAILED), 0.5), 5.0)
    assert snapshot(fold).overdue == 0


def test_retries_are_counted_by_the_type_of_their_error() -> None:
    """Each attempt that is followed by another counts under what it failed with; past the limit they share one."""
    fold, of, made = begun(RETRY_TYPES_MOST + 2)
    for number, task in enumerate(made):
        error = ErrorRecord(type=f"Error{number}", message="")
        fold.fold(TaskRetrying(of, settled(task, TaskState.FAILED, error=error), 0.5), 2.0)
    fold.fold(TaskRetrying(of, settled(made[0], TaskState.TIMED_OUT), 0.5), 2.0)
    (stage,) = snapshot(fold).stages
    assert len(stage.retries) == RETRY_TYPES_MOST + 1
    assert (stage.retries["Error0"], stage.retries[OTHER]) == (1, 3)
    assert sum(stage.retries.values()) == snapshot(fold).retried


def test_a_task_is_counted_where_it_is_from_queued_to_its_end() -> None:
    """At each step of its life a task counts in exactly one place, and a retried one counts as such."""
    fold, of = RunFold(0.0), spec()
    (task,) = tasks(of, 1)
    fold.fold(TasksSubmitted(of, [task]), 1.0)
    assert snapshot(fold).queued == 1
    fold.fold(TasksStarted([Attempt.of(task, 1, 1.0)]), 2.0)
    assert (snapshot(fold).queued, snapshot(fold).running) == (0, 1)
    fold.fold(TaskRetrying(of, settled(task, TaskState.FAILED), 0.5), 3.0)
    assert (snapshot(fold).running, snapshot(fold).retrying, snapshot(fold).retried) == (0, 1, 1)
    fold.fold(TasksStarted([Attempt.of(task, 2, 3.5)]), 3.5)
    assert (snapshot(fold).running, snapshot(fold).retrying) == (1, 0)
    fold.fold(TasksSettled(of, [settled(task, attempts=2)]), 4.0)
    last = snapshot(fold)
    assert (last.running, last.completed, last.ended, last.submitted) == (0, 1, 1, 1)
    assert fold.counts().ended == fold.counts().submitted == 1


def test_a_task_cancelled_before_it_starts_leaves_the_queue() -> None:
    """Cancelling counts for tasks that wait, first time or for a retry, as for those that run."""
    fold, of = RunFold(0.0), spec()
    waiting, retrying = tasks(of, 2)
    fold.fold(TasksSubmitted(of, [waiting, retrying]), 1.0)
    fold.fold(TasksStarted([Attempt.of(retrying, 1, 1.0)]), 1.0)
    fold.fold(TaskRetrying(of, settled(retrying, TaskState.FAILED), 9.0), 2.0)
    fold.fold(TasksSettled(of, [settled(t, TaskState.CANCELLED) for t in (waiting, retrying)]), 3.0)
    last = snapshot(fold)
    assert (last.cancelled, last.queued, last.retrying, last.running, last.failures) == (2, 0, 0, 0, [])


def test_means_are_over_the_tasks_they_speak_of() -> None:
    """The mean run time is that of completed tasks only; a cancelled task's wait is nobody's wait."""
    fold, of, (good, better, bad, gone) = begun(4)
    fold.fold(
        TasksSettled(
            of,
            [
                settled(good, ran_s=1.0, queued_s=2.0),
                settled(better, ran_s=3.0, queued_s=4.0),
                settled(bad, TaskState.TIMED_OUT, ran_s=100.0, queued_s=6.0),
                settled(gone, TaskState.CANCELLED, ran_s=100.0, queued_s=100.0),
            ],
        ),
        5.0,
    )
    last = snapshot(fold)
    assert (last.mean_run_s, last.mean_wait_s, last.stages[0].mean_s) == (2.0, 4.0, 2.0)
    assert (last.failed, last.timed_out, last.cancelled) == (1, 1, 1)


def test_stages_tell_names_and_executors_apart() -> None:
    """Each name on each executor has its own counts, and they add up to the run's."""
    fold = RunFold(0.0)
    specs = [spec("parse"), spec("parse", "processes"), spec("ocr")]
    for number, of in enumerate(specs, 1):
        made = tasks(of, number, f"{number}-")
        fold.fold(TasksSubmitted(of, made), 1.0)
        fold.fold(TasksStarted([Attempt.of(made[0], 1, 1.0)]), 1.0)
    last = snapshot(fold)
    seen = [(s.name, s.executor, s.submitted, s.running, s.queued) for s in last.stages]
    assert seen == [("parse", "threads", 1, 1, 0), ("parse", "processes", 2, 1, 1), ("ocr", "threads", 3, 1, 2)]
    assert (last.submitted, last.running, last.queued) == (6, 3, 3)


def test_a_name_for_each_task_grows_no_memory() -> None:
    """Past a thousand names the rest share one stage, and no count is lost."""
    fold = RunFold(0.0)
    for number in range(STAGES_MOST + 50):
        of = spec(f"name-{number}")
        (task,) = tasks(of, 1, f"{number}-")
        fold.fold(TasksSubmitted(of, [task]), 1.0)
        fold.fold(TasksStarted([Attempt.of(task, 1, 1.0)]), 1.0)
        fold.fold(TasksSettled(of, [settled(task)]), 1.0)
    last = snapshot(fold)
    assert len(last.stages) == STAGES_MOST + 1
    assert (last.stages[-1].name, last.stages[-1].completed, last.completed) == (OTHER, 50, STAGES_MOST + 50)


def test_the_longest_running_come_first_with_what_they_say() -> None:
    """The slowest list is ordered by age, names the document, and shows the newest progress of this attempt."""
    fold, of = RunFold(0.0), spec()
    made = tasks(of, 15)
    fold.fold(TasksSubmitted(of, made), 0.0)
    for second, task in enumerate(made):
        fold.fold(TasksStarted([Attempt.of(task, 1, 0.0)]), float(second))
    fold.fold(TasksSettled(of, [settled(made[0])]), 15.0)
    updates = [ProgressUpdate("t1", 1, 0.5, "page 5"), ProgressUpdate("t1", 1, 0.4, "late")]
    fold.fold(TasksProgressed([*updates, ProgressUpdate("t0", 1, 0.9), ProgressUpdate("t2", 7, 0.9)]), 16.0)
    slowest = snapshot(fold, 20.0).slowest
    assert [task.task_id for task in slowest] == [f"t{i}" for i in range(1, 11)]
    first = slowest[0]
    assert (first.running_s, first.label, first.progress, first.message) == (19.0, "doc-t1", 0.5, "page 5")
    assert slowest[1].progress is None


def test_marks_of_a_long_run_do_not_add_up() -> None:
    """A task that runs on while a million start and end leaves the book as small as the number of running tasks."""
    book, of = RunningTasks(), spec()
    old, *others = tasks(of, 5001)
    book.start([Attempt.of(old, 1, 0.0)], 0.0)
    for number, task in enumerate(others, 1):
        book.start([Attempt.of(task, 1, 0.0)], number * 0.02)
        book.end([settled(task)])
    assert len(book) == 1
    assert len(book._order) < 1100
    ((attempt, started),) = book.oldest(10)
    assert (attempt.task_id, started) == ("t0", 0.0)


def test_failures_alike_are_one_group_and_kinds_are_bounded() -> None:
    """Failures group by type and reason, most frequent first, with a few labels; past 100 kinds they share one."""
    fold, of, made = begun(200)
    errors = [ErrorRecord(type="DocumentError", message=f"m{i}", reason="encrypted") for i in range(7)]
    errors += [ErrorRecord(type=f"Kind{i}", message="") for i in range(193)]
    outcomes = [settled(t, TaskState.FAILED, error=error) for t, error in zip(made, errors, strict=True)]
    fold.fold(TasksSettled(of, outcomes), 2.0)
    groups = snapshot(fold).failures
    assert len(groups) == GROUPS_MOST + 1
    assert (groups[0].type, groups[0].count) == (OTHER, 200 - 7 - 99)
    second = groups[1]
    assert (second.type, second.reason, second.count, second.message) == ("DocumentError", "encrypted", 7, "m0")
    assert list(second.labels) == [f"doc-t{i}" for i in range(5)]
    assert sum(group.count for group in groups) == 200


def test_other_happenings_change_no_count() -> None:
    """An open event folds to nothing."""
    fold, _, _ = begun(1)
    before = snapshot(fold)
    fold.fold(Happened("worker_pool_started", {}), 2.0)
    assert snapshot(fold) == before


def test_the_rate_is_over_the_last_ten_seconds() -> None:
    """Early on the rate is over the time there was; later, old ends no longer count."""
    ring = RateRing(100.0)
    ring.add(10, 101.5)
    assert ring.per_second(102.0) == pytest.approx(5.0)
    for second in range(102, 130):
        ring.add(7, second + 0.5)
    assert ring.per_second(130.0) == pytest.approx(7.0)
    assert ring.per_second(145.0) == 0.0


def test_an_empty_sketch_knows_nothing() -> None:
    """Without values there is no quantile and no median, and no spread."""
    empty = Sketch()
    assert (empty.quantile(0.5), empty.median, empty.mean, empty.variation) == (None, None, 0.0, 0.0)


def test_the_eta_is_honest() -> None:
    """Nothing is promised without a total or with too few ended; even work gives a narrow range, uneven a wide one."""
    fold, of, made = begun(50, at=1.0)
    fold.fold(TasksSettled(of, [settled(t, ran_s=1.0) for t in made[:4]]), 2.0)
    assert snapshot(fold, 2.0, total=100).eta_low_s is None
    fold.fold(TasksSettled(of, [settled(t, ran_s=1.0) for t in made[4:]]), 6.0)
    assert snapshot(fold, 6.0).eta_high_s is None
    known = snapshot(fold, 6.0, total=100)
    assert known.eta_low_s == pytest.approx(5.0)
    assert known.eta_high_s == pytest.approx(5.0)
    assert snapshot(fold, 6.0, total=20).total == 50, "a total below what was submitted is corrected"
    assert snapshot(fold, 6.0, total=50).eta_high_s == 0.0
    uneven = Sketch()
    for value in [0.1] * 45 + [9.0] * 5:
        uneven.add(value)
    wide = remaining_s(left=50, ended=50, elapsed_s=5, recent_per_s=10, running=8, ages_s=(), durations=uneven)
    assert wide is not None
    assert wide[0] < 4.0 < 8.0 < wide[1]


def test_each_stage_has_a_rate_of_its_own() -> None:
    """A stage's rate is over the last ten seconds of what ended in it, or since its first task began."""
    fold, fast, made = begun(20)
    slow = spec("slow")
    fold.fold(TasksSubmitted(slow, (waiting := tasks(slow, 1, "s"))), 1.0)
    fold.fold(TasksSettled(fast, [settled(task, ran_s=2.0) for task in made]), 3.0)
    fold.fold(TasksSettled(slow, [settled(waiting[0], ran_s=0.5)]), 4.5)
    assert [stage.rate_per_s for stage in snapshot(fold, 5.0).stages] == [5.0, 1.0]
    assert [stage.rate_per_s for stage in snapshot(fold, 30.0).stages] == [0.0, 0.0]


def test_a_task_that_runs_on_and_on_pushes_the_estimate() -> None:
    """With one task left that runs far longer than the others did, the high end grows with its age."""
    fold, of, made = begun(50, at=1.0)
    fold.fold(TasksSettled(of, [settled(t, ran_s=1.0) for t in made[1:]]), 6.0)
    highs = [snapshot(fold, now, total=50).eta_high_s for now in (6.0, 61.0, 301.0)]
    assert highs == pytest.approx([5.0, 60.0, 300.0])
    fold.fold(TasksSettled(of, [settled(made[0], ran_s=300.0)]), 301.0)
    assert snapshot(fold, 301.0, total=50).eta_high_s == 0.0
