"""The store of a run: what views are told, for events that come whole, in part, twice, and by the thousand."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from longshore.events import (
    AnyEvent,
    Event,
    TaskCompleted,
    TaskFailed,
    TaskProgress,
    TaskRetried,
    TaskStarted,
    TaskSubmitted,
)
from longshore.runs import RunStore, TaskFilter, TaskRow

EPOCH = 1_800_000_000.0


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(EPOCH + seconds, UTC)


def submitted(task_id: str, when: float = 0.0, name: str = "read", **fields: str) -> AnyEvent:
    return TaskSubmitted(0, at(when), task_id, name, "threads", 2, **fields)


def started(task_id: str, when: float, name: str = "read", attempt: int = 1) -> AnyEvent:
    return TaskStarted(0, at(when), task_id, name, "threads", 2, attempt)


def completed(task_id: str, when: float, ran_s: float = 1.0, name: str = "read", worker: str = "w1") -> AnyEvent:
    return TaskCompleted(0, at(when), task_id, name, "threads", 2, 1, 0.25, ran_s, worker, f"{task_id}.pdf")


def failed(task_id: str, when: float, message: str = "no", **fields: object) -> AnyEvent:
    told = {"error": "builtins.ValueError", "message": message, "traceback": "Traceback: there", **fields}
    return TaskFailed(0, at(when), task_id, "read", "threads", 2, 1, 0.1, 0.5, "w2", None, **told)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    store = RunStore(folder=tmp_path)
    yield store
    store.close()


def row(store: RunStore, task_id: str) -> TaskRow:
    detail = store.task(task_id)
    assert detail is not None
    return detail.task


def ids(rows: Sequence[TaskRow]) -> list[str]:
    return [one.task_id for one in rows]


def test_a_row_follows_its_task_from_submitted_to_its_end(store: RunStore) -> None:
    """Each event changes the state, and the end says when it began, what it waited and ran, and where."""
    store.take([submitted("t1")])
    assert row(store, "t1").state == "pending"
    store.take([started("t1", 1.0), TaskProgress(0, at(1.5), "t1", 1, 0.5, "page 3")])
    running = row(store, "t1")
    assert (running.state, running.progress, running.note, running.run_s) == ("processing", 0.5, "page 3", None)
    store.take([completed("t1", 3.0, ran_s=1.75)])
    ended = row(store, "t1")
    assert (ended.state, ended.run_s, ended.wait_s, ended.worker) == ("completed", 1.75, 0.25, "w1")
    assert ended.started == EPOCH + 1.25
    assert ended.submitted == EPOCH


def test_an_end_alone_is_enough(store: RunStore) -> None:
    """A slow reader misses beginnings: how a task ended says all that its row needs."""
    store.take([completed("t1", 3.0, ran_s=1.0)])
    found = row(store, "t1")
    assert (found.name, found.executor, found.key) == ("read", "threads", "t1.pdf")
    assert (found.submitted, found.started, found.ended) == (EPOCH + 1.75, EPOCH + 2.0, EPOCH + 3.0)


def test_names_that_are_no_utf8_are_kept_with_escapes(store: RunStore) -> None:
    """Of files whose names the system could not decode, and any other lone surrogate; other rows lose nothing."""
    keys = ["plain", "bytes \udcff\udcfe", "half \ud800"]
    store.take([submitted(str(place), key=key) for place, key in enumerate(keys)])
    store.take([failed("1", 1.0, "no \udcff")])
    assert [row.key for row in store.tasks().rows] == ["plain", "bytes \\xff\\xfe", "half \\ud800"]
    assert [view.message for view in store.failures()] == ["no \\xff"]


def test_what_comes_after_the_end_changes_nothing(store: RunStore) -> None:
    """Late progress of a task that has ended is of no account."""
    store.take([submitted("t1"), completed("t1", 1.0)])
    store.take([TaskProgress(0, at(2.0), "t1", 1, 0.2, "late")])
    assert (row(store, "t1").state, row(store, "t1").progress, row(store, "t1").note) == ("completed", 1.0, "")


def test_the_same_end_told_again_is_one_task(store: RunStore) -> None:
    """A journal that is read again gives tasks again: each stays one row, in its place."""
    store.take([completed("t1", 1.0), completed("t2", 2.0)])
    store.take([completed("t1", 1.0)])
    page = store.tasks()
    assert (page.total, ids(page.rows)) == (2, ["t1", "t2"])


def test_earlier_attempts_are_kept_with_what_they_cost(store: RunStore) -> None:
    """A retried attempt is told with when it ran and what it failed of."""
    retried = TaskRetried(
        0, at(2.0), "t1", "read", "threads", 2, 1, 0.5, "builtins.OSError", "busy", None, 0.1, 1.5, "w3"
    )
    store.take([submitted("t1"), started("t1", 0.5), retried])
    assert row(store, "t1").state == "retrying"
    store.take([started("t1", 2.5, attempt=2), completed("t1", 4.0)])
    detail = store.task("t1")
    assert detail is not None
    [attempt] = detail.attempts
    assert (attempt.number, attempt.state, attempt.started, attempt.ended) == (1, "failed", EPOCH + 0.5, EPOCH + 2.0)
    assert (attempt.worker, attempt.error, attempt.message) == ("w3", "builtins.OSError", "busy")
    assert detail.task.error is None
    assert store.stages()[0].retried == 1


def test_stages_add_up_and_rank_their_durations(store: RunStore) -> None:
    """Counts by state, sums of time, and quantiles by nearest rank over completed tasks."""
    store.take([completed(f"t{n}", 10.0 + n, ran_s=float(n)) for n in range(1, 101)])
    store.take([failed("bad", 5.0), submitted("wait"), started("run", 6.0), submitted("other", name="write")])
    read, write = store.stages()
    assert (read.name, write.name) == ("read", "write")
    assert (read.completed, read.failed, read.pending, read.processing, read.total) == (100, 1, 1, 1, 103)
    assert (read.p50_s, read.p95_s, read.p99_s, read.mean_s) == (50.0, 95.0, 99.0, 50.5)
    assert read.run_s == pytest.approx(5050.5)
    assert (write.left, write.mean_s) == (1, None)


def test_pages_go_through_all_rows_once_in_any_order(store: RunStore) -> None:
    """Whatever sorts them, pages together give each row once, ties and missing values included."""
    store.take([completed(f"t{n}", 5.0, ran_s=float(n % 3)) for n in range(10)])
    store.take([submitted(f"s{n}") for n in range(5)])
    for sort in ("id", "run_s", "state", "key", "worker", "ended"):
        for descending in (False, True):
            found: list[TaskRow] = []
            after = None
            while True:
                page = store.tasks(sort=sort, descending=descending, after=after, limit=4)
                found += page.rows
                after = page.next
                if after is None:
                    break
            assert sorted(ids(found)) == sorted([f"t{n}" for n in range(10)] + [f"s{n}" for n in range(5)])
            if sort == "run_s":
                told = [-1.0 if one.run_s is None else one.run_s for one in found]
                assert told == sorted(told, reverse=descending)


def test_filters_let_through_what_they_say(store: RunStore) -> None:
    """By state, name, worker, kind of failure and part of a text, in which % and _ mean themselves."""
    store.take([completed("t1", 1.0), completed("t_2", 1.0, name="write"), failed("t3", 2.0, "100% bad")])
    assert ids(store.tasks(TaskFilter(states=["failed"])).rows) == ["t3"]
    assert ids(store.tasks(TaskFilter(name="write")).rows) == ["t_2"]
    assert ids(store.tasks(TaskFilter(worker="w1")).rows) == ["t1", "t_2"]
    assert ids(store.tasks(TaskFilter(text="0% B")).rows) == ["t3"]
    assert ids(store.tasks(TaskFilter(text="t_")).rows) == ["t_2"]
    [group] = store.failures()
    assert ids(store.tasks(TaskFilter(fingerprint=group.fingerprint)).rows) == ["t3"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"sort": "task_id; DROP TABLE tasks"}, "can't be sorted"),
        ({"after": "nonsense"}, "where a page ended"),
        ({"after": '["name", "x", 1]'}, "to go on by 'id'"),
        ({"wanted": TaskFilter(states=["dead"])}, "no state"),
    ],
)
def test_a_page_that_can_not_be_is_refused_with_a_reason(store: RunStore, asked: dict[str, object], told: str) -> None:
    """What comes from an address bar may be anything: it is named, and nothing is run."""
    with pytest.raises(ValueError, match=told):
        store.tasks(**asked)  # type: ignore[arg-type]


def test_failures_come_by_what_they_have_in_common(store: RunStore) -> None:
    """Counts, first and last, a few of the inputs, and the texts of the newest that has any; a death is told apart."""
    store.take([failed(f"t{n}", float(n), f"page {n} is torn", output_tail="said") for n in range(150)])
    store.take([failed("dead", 200.0, "gone", error="longshore.errors.WorkerDied", reason="signal 9", signal=9)])
    torn, dead = store.failures()
    assert (torn.count, torn.first, torn.last, torn.keys[:2]) == (150, EPOCH, EPOCH + 149, ["t0", "t1"])
    assert (torn.type, torn.traceback, torn.output_tail, torn.died) == (
        "builtins.ValueError",
        "Traceback: there",
        "said",
        False,
    )
    assert (dead.count, dead.died, dead.reason) == (1, True, "signal 9")


def test_workers_are_summed(store: RunStore) -> None:
    """What each did, and for how long."""
    store.take([completed("a", 2.0), completed("b", 4.0, ran_s=2.0), failed("c", 3.0)])
    one, two = store.workers()
    assert (one.worker, one.tasks, one.failed, one.busy_s) == ("w1", 2, 0, 3.0)
    assert (one.first, one.last) == (EPOCH + 1.0, EPOCH + 4.0)
    assert (two.worker, two.failed) == ("w2", 1)


def test_throughput_counts_each_end_once(store: RunStore) -> None:
    """Over all steps together there are as many ends as tasks ended, the last moment included."""
    store.take([completed(f"t{n}", float(n), name="a" if n % 2 else "b") for n in range(1, 41)])
    store.take([failed("bad", 40.0)])
    told = store.throughput(steps=7)
    assert dict(zip(told.names, map(sum, told.counts), strict=True)) == {"a": 20, "b": 20, "read": 1}
    assert sum(told.failures) == 1


def test_a_timeline_gives_each_attempt_while_they_are_few(store: RunStore) -> None:
    """A bar an attempt, earlier ones and running ones included, on the lane of its worker."""
    retried = TaskRetried(0, at(2.0), "t1", "read", "threads", 2, 1, 0.5, "E", "m", None, 0.1, 1.0, "w9")
    store.take([submitted("t1"), started("t1", 1.0), retried, completed("t1", 5.0), started("t2", 4.0)])
    view = store.timeline()
    assert view.step_s is None
    drawn = {(view.lanes[bar.lane], bar.start - EPOCH, bar.end - EPOCH, bar.state) for bar in view.bars}
    assert drawn == {
        ("w9", 1.0, 2.0, "failed"),
        ("w1", 4.0, 5.0, "completed"),
        ("threads (running)", 4.0, 5.0, "processing"),
    }
    assert len(store.timeline(EPOCH + 4.5, EPOCH + 6).bars) == 2


def test_a_timeline_of_too_many_attempts_is_summed_and_loses_none(store: RunStore) -> None:
    """All attempts are counted in the bins, failures too, and a lane that is always busy is so in each of them."""
    store.take([completed(f"t{n}", n * 0.01, ran_s=0.01) for n in range(1, 1001)])
    store.take([failed("bad", 5.0), completed("long", 10.0, ran_s=10.0, worker="w5")])
    view = store.timeline(bars_most=100, steps=50)
    assert view.bars == ()
    assert (view.total, sum(one.tasks for one in view.bins), sum(one.failed for one in view.bins)) == (1002, 1002, 1)
    assert view.step_s == pytest.approx(10.24 / 50, rel=0.1)
    busy = sum(one.busy for one in view.bins if view.lanes[one.lane] == "w5") * view.step_s
    assert busy == pytest.approx(10.0, rel=1e-6)
    assert max(one.busy for one in view.bins if view.lanes[one.lane] == "w1") <= 1.1


def test_by_stages_a_lane_is_a_stage(store: RunStore) -> None:
    """Lanes carry the names of stages."""
    store.take([completed("a", 1.0), completed("b", 2.0, name="write")])
    assert store.timeline(by="stages").lanes == ["read · threads", "write · threads"]


def test_slowest_and_longest_running(store: RunStore) -> None:
    """Those that ran longest, and those that have been running for longest."""
    store.take([completed("a", 9.0, ran_s=2.0), completed("b", 9.0, ran_s=5.0), started("c", 3.0), started("d", 1.0)])
    assert ids(store.slowest(1)) == ["b"]
    assert ids(store.slowest(running=True)) == ["d", "c"]


def test_related_tasks_are_named(store: RunStore) -> None:
    """The stages of one document, children, and what tried it again are found from each other."""
    store.take(
        [submitted("e", key="doc", group="run"), submitted("c", key="doc", group="run"), submitted("x", group="run")]
    )
    store.take([submitted("kid", parent_id="e"), submitted("again", retry_of="e")])
    detail = store.task("e")
    assert detail is not None
    assert sorted(ids(detail.related)) == ["again", "c", "kid"]
    again = store.task("again")
    assert again is not None
    assert ids(again.related) == ["e"]


def test_past_its_limit_a_store_counts_and_keeps_the_first(tmp_path: Path) -> None:
    """The disk is bounded: tasks beyond the limit have no row, and are counted once; those that have one go on."""
    store = RunStore(folder=tmp_path, tasks_most=3)
    store.take([submitted(f"t{n}") for n in range(3)])
    store.take([submitted("more"), completed("t1", 1.0)])
    store.take([completed("more", 2.0), completed("most", 2.0)])
    assert (store.tasks().total, store.left_out, row(store, "t1").state) == (3, 2, "completed")
    assert (store.stages()[0].completed, store.stages()[0].total) == (3, 5)
    store.close()


def test_a_closed_store_leaves_nothing_behind(tmp_path: Path) -> None:
    """Its folder is private while it lives and gone afterwards; closing twice is fine, asking is an error."""
    store = RunStore(folder=tmp_path)
    [folder] = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    store.close()
    store.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="closed"):
        store.tasks()
    store.take([submitted("late")])


def test_what_a_killed_process_left_is_swept_up(tmp_path: Path) -> None:
    """A store that nobody holds any more goes when the next one is made; one that is held, new, or somebody's stays."""
    code = "import os; from pathlib import Path; from longshore.runs import RunStore; import sys\n"
    code += "store = RunStore(folder=Path(sys.argv[1])); os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60)
    [left] = tmp_path.iterdir()
    new, others = tmp_path / "longshore-run-new", tmp_path / "longshore-run-open"
    for folder, mode in ((new, 0o700), (others, 0o755)):
        folder.mkdir(mode)
        (folder / "lock").touch()
    held = RunStore(folder=tmp_path)
    [place] = set(tmp_path.iterdir()) - {left, new, others}
    for folder in (left, others, place):
        os.utime(folder, (1.0, 1.0))
    store = RunStore(folder=tmp_path)
    assert {left, new, others, place} & set(tmp_path.iterdir()) == {new, others, place}
    store.close()
    held.close()


def test_other_events_change_nothing(store: RunStore) -> None:
    """Events that are of no task, or that nobody knows yet, are let pass."""
    store.take([Event("worker_heartbeat", {"worker_id": "w1"}), Event("of_the_future", {})])
    assert (store.version, store.span()) == (0, None)


def test_many_threads_ask_while_one_takes(store: RunStore) -> None:
    """Readers never see half a batch, and never wait for the writer to be done with all."""
    seen: list[int] = []
    stop = threading.Event()
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            while not stop.is_set():
                seen.append(store.tasks(limit=1).total % 10)
                store.stages()
        except BaseException as error:
            errors.append(error)

    readers = [threading.Thread(target=ask) for _ in range(3)]
    for reader in readers:
        reader.start()
    for n in range(50):
        store.take([completed(f"{n}-{k}", 1.0) for k in range(10)])
    stop.set()
    for reader in readers:
        reader.join(10)
    assert errors == []
    assert set(seen) <= {0}


def test_names_that_are_no_utf8_cost_no_batch(store: RunStore) -> None:
    """What is made of a file name that is no UTF-8 is kept spelled out, and all else of its batch as it is."""
    odd = TaskSubmitted(0, at(0), "odd", "read", "threads", 2, "caf\udce9.pdf")
    store.take([submitted("a"), odd, failed("b", 1, message="no \udcff")])
    assert [one.key for one in store.tasks().rows][1] == "caf\\xe9.pdf"
    assert row(store, "b").note == "no \\xff"
    store.take([completed("odd", 2)])
    assert row(store, "odd").state == "completed"
