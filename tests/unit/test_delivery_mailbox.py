"""The mailbox between the loop and a reader: what is kept, what is dropped first, and what is counted."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from longshore._delivery import Mailbox
from longshore._delivery.mailbox import HARD_FACTOR, WHOLE_TIME, Batch
from longshore.events import (
    Happened,
    ProgressUpdate,
    TaskRetrying,
    TasksProgressed,
    TasksSettled,
    TasksStarted,
    TasksSubmitted,
)
from longshore.task import Attempt, Outcome, Task, TaskSpec, TaskState

AT = datetime(2024, 1, 1, tzinfo=UTC)
SPEC = TaskSpec(function=print, name="f", executor="threads")


def submitted(count: int) -> TasksSubmitted:
    return TasksSubmitted(SPEC, [Task(f"t{i}", SPEC, ("argument",)) for i in range(count)])


def started(count: int) -> TasksStarted:
    return TasksStarted([Attempt.of(Task(f"t{i}", SPEC, ("argument",)), 1, 0.0) for i in range(count)])


def settled(count: int) -> TasksSettled:
    return TasksSettled(
        SPEC, [Outcome(f"t{i}", None, i, "f", TaskState.COMPLETED, "value", worker="w") for i in range(count)]
    )


def progressed(*amounts: tuple[str, float]) -> TasksProgressed:
    return TasksProgressed([ProgressUpdate(task_id, 1, amount) for task_id, amount in amounts])


def filled(box: Mailbox, *batches: Batch) -> Mailbox:
    seq = 0
    for batch in batches:
        box.put(batch, seq, AT)
        seq += len(batch)
    return box


def test_what_fits_comes_out_as_it_went_in() -> None:
    """Below the limit nothing is dropped, and order and numbers stay."""
    box = filled(Mailbox(100), submitted(2), started(2), progressed(("t0", 0.5)), settled(2), Happened("x", {}))
    parcels = box.take(0)
    events = [event for parcel in parcels for event in parcel.expand()]
    assert [event.seq for event in events] == list(range(8))
    assert [event.type for event in events[3:6]] == ["task_started", "task_progress", "task_completed"]
    assert (box.pending, box.dropped) == (0, 0)


def test_past_the_limit_progress_goes_first_but_the_newest_of_each_task() -> None:
    """A full box keeps one update per task, the newest, in its place before the task's end; the rest is counted."""
    steps = [progressed(("t0", i / 10), ("t1", i / 10)) for i in range(10)]
    box = filled(Mailbox(20), *steps, settled(2))
    events = [event for parcel in box.take(0) for event in parcel.expand()]
    assert [(event.type, event.data.get("progress")) for event in events] == [
        ("task_progress", 0.9),
        ("task_progress", 0.9),
        ("task_completed", None),
        ("task_completed", None),
    ]
    assert [event.seq for event in events] == [18, 19, 20, 21]
    assert box.dropped == 18


def test_then_the_middle_of_tasks_is_dropped_and_ends_only_at_the_hard_limit() -> None:
    """Past the limit submitted, started and retried are dropped and counted; ends and warnings are still kept."""
    box = filled(Mailbox(10), settled(10), submitted(4), started(3), TaskRetrying(SPEC, settled(1).outcomes[0], 1.0))
    assert box.dropped == 8
    filled(box, Happened("resource_warning", {}), *[settled(10)] * 8)
    assert box.dropped == 8
    assert box.pending == 91
    filled(box, settled(10))
    assert box.dropped == 18
    assert sum(len(parcel.batch) for parcel in box.take(0)) == 91 <= 10 * HARD_FACTOR


def test_an_empty_box_takes_a_batch_of_any_size() -> None:
    """A batch larger than the limit reaches a reader that keeps up."""
    box = filled(Mailbox(5), submitted(50))
    assert (len(box.take(0)[0].batch), box.dropped) == (50, 0)


def test_progress_of_ever_new_tasks_grows_no_memory() -> None:
    """With a reader that never comes, progress of any number of tasks stays within the limit."""
    box = Mailbox(50)
    for i in range(1000):
        box.put(progressed((f"t{i}", 0.5)), i, AT)
    assert box.pending <= 100
    assert box.pending + box.dropped == 1000


def test_a_slow_reader_holds_on_to_no_arguments_and_no_results() -> None:
    """After a second of waiting, what users passed and returned is let go; the events stay the same."""
    box = filled(Mailbox(10_000), submitted(1), started(1), settled(1), progressed(("t0", 0.5)))
    box.put(submitted(1), 4, AT + 2 * WHOLE_TIME)
    tasks, attempts, outcomes, _, whole = (parcel.batch for parcel in box.take(0))
    assert isinstance(whole, TasksSubmitted)
    assert whole.tasks[0].args == ("argument",)
    assert isinstance(tasks, TasksSubmitted)
    assert isinstance(attempts, TasksStarted)
    assert isinstance(outcomes, TasksSettled)
    assert (tasks.tasks[0].args, attempts.attempts[0].args, outcomes.outcomes[0].value) == ((), (), None)
    for light, heavy in ((tasks, submitted(1)), (attempts, started(1)), (outcomes, settled(1))):
        assert light.expand(7, AT) == heavy.expand(7, AT)


def test_taking_waits_for_batches_and_ends_with_the_box() -> None:
    """A reader gets each batch once, and an empty list, the end, only when the box is closed."""
    box, got = Mailbox(10), []
    thread = threading.Thread(target=lambda: got.extend(iter(box.take, [])))
    thread.start()
    box.put(submitted(1), 0, AT)
    box.put(submitted(2), 1, AT)
    box.close()
    thread.join(5)
    assert not thread.is_alive()
    assert sum(len(parcel.batch) for parcels in got for parcel in parcels) == 3
    box.put(submitted(4), 3, AT)
    assert (box.pending, box.dropped) == (0, 4)


def test_lingering_gathers_and_ends_early_when_half_full() -> None:
    """A lingering reader takes several batches at once, and does not wait once half a box is there."""
    box, got = Mailbox(10), []
    thread = threading.Thread(target=lambda: got.append(box.take(5, linger=60)))
    thread.start()
    filled(box, submitted(2), submitted(3))
    thread.join(5)
    assert not thread.is_alive()
    assert [len(parcel.batch) for parcel in got[0]] == [2, 3]


def test_an_empty_box_gives_up_at_the_timeout() -> None:
    """Nothing comes, nothing is returned."""
    assert Mailbox(10).take(0.001) == []
