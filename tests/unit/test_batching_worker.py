"""A batch in its worker: what each attempt comes to, what it says, and what is written down of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from longshore.batching import running, spool
from longshore.batching.codec import dump, dump_code, load
from longshore.batching.words import CUT, DONE, FAILED, PROGRESS, UNREADY, Item, Record
from longshore.batching.yard import Yard
from longshore.errors import TaskCancelled
from longshore.testing import FakeClock
from longshore.worker import current_task
from support.clusters import HERE, HereYard, say, square, wait_at
from support.places import Place, error_of, hows, values
from support.waiting import wait_until


def test_a_batch_runs_in_order(place: Place) -> None:
    """Each attempt has a record, in order, whose times follow one another; arguments may go by name."""
    result = place.run(place.batch(square, [(3,), (4,)]))
    assert (hows(result), values(result)) == ([DONE, DONE], [9, 16])
    first, second = result.records
    assert 0.0 <= first.started_s <= second.started_s <= result.took_s
    assert (result.abandoned, result.lacks_code, result.spent) == (0, False, False)
    named = place.batch(square, [()])
    named = named._replace(items=[Item("t", 1, None, dump(((), {"number": 5})))])
    assert values(place.run(named)) == [25]


def raise_value() -> None:
    raise ValueError("no")


def raise_cancel() -> None:
    raise TaskCancelled("by itself")


async def coroutine() -> None: ...


class Unfit:
    """What cannot be carried back."""

    def __reduce__(self) -> Any:
        raise TypeError("unfit for travel")


def give_unfit() -> Unfit:
    return Unfit()


def test_each_failure_is_its_own(place: Place) -> None:
    """What raises, returns a coroutine, or can't be carried back fails with what it says; a TaskCancelled cancels."""
    for function, said, is_cancel in (
        (raise_value, "no", False),
        (raise_cancel, "by itself", True),
        (coroutine, "work returned a coroutine, which only an async def may", False),
        (give_unfit, "the result of work cannot be carried back from the Here worker w0", False),
    ):
        (record,) = place.run(place.batch(function, [()])).records
        assert record.how == FAILED
        assert load(record.data)[0] is is_cancel
        assert said in error_of(record).message
    (record,) = place.run(place.batch(raise_value, [()])).records
    assert "batching/running.py" not in error_of(record).traceback, "our own frames are left off"


def test_arguments_that_cannot_be_read_fail_alone(place: Place) -> None:
    """A pickle that can't be read here costs its attempt only, and names the function and the worker."""
    whole = place.batch(square, [(1,), (2,)])
    whole = whole._replace(items=[Item("bad", 1, None, b"nonsense"), whole.items[1]])
    bad, good = place.run(whole).records
    assert (bad.how, good.how) == (FAILED, DONE)
    assert "the arguments of work could not be read on the Here worker w0" in error_of(bad).message


def test_results_that_are_too_large(place: Place) -> None:
    """A result above the limit fails with its size and the limit; one below it is let through."""
    big, small = place.run(place.batch(bytes, [(1000,), (10,)], max_result_bytes=100)).records
    assert (big.how, small.how) == (FAILED, DONE)
    assert "and may take 100" in error_of(big).message
    assert "executors.here.max_result_bytes" in error_of(big).message


def test_what_follows_much_result_goes_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind so many bytes of results the rest of a batch is not begun."""
    monkeypatch.setattr(running, "_MOST_BYTES", 1500)
    assert len(place.run(place.batch(bytes, [(1000,)] * 4)).records) == 2


def test_what_follows_much_work_goes_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind so much time the rest of a batch is not begun, though no attempt alone was slow."""
    monkeypatch.setattr(running, "CUT_S", -1.0)
    result = place.run(place.batch(square, [(2,)] * 4))
    assert 1 <= len(result.records) < 4


# ---- functions


def test_a_function_is_sent_once(place: Place) -> None:
    """A worker that has a kind's function needs it no more; one that does not says so, and begins nothing."""
    whole = place.batch(square, [(3,)])
    assert values(place.run(whole)) == [9]
    again = whole._replace(number=50, code=None)
    assert values(place.run(again)) == [9]
    unknown = place.run(whole._replace(number=51, kind=99, code=None))
    assert (unknown.lacks_code, list(unknown.records)) == (True, [])


def test_a_function_that_is_not_there_is_named(place: Place) -> None:
    """A module that the worker lacks is named with how to bring it; anything else that it can't read is told."""
    missing = b"cno_such_module_here\nwork\n."
    for code, said in (
        (missing, "install 'no_such_module_here' on the workers, or send it by a parcel"),
        (b"nonsense", "the function work could not be read on the Here worker w0"),
    ):
        (record,) = place.run(place.batch(square, [(3,)], code=code)).records
        assert said in error_of(record).message
        assert error_of(record).reason == ("no module" if code is missing else None)


def test_only_so_many_functions_are_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function that came first is forgotten where there are too many."""
    monkeypatch.setattr("longshore.batching.yard._CODES", 2)
    batches = [place.batch(square, [(3,)]) for _ in range(3)]
    for batch in batches:
        place.run(batch)
    assert list(place.yard.codes) == [batch.kind for batch in batches[1:]]


def not_ready() -> None:
    raise OSError("no licence")


def never_ready() -> None:
    wait_at("ready")


def test_an_initializer_runs_once_in_a_worker(place: Place) -> None:
    """It is called before the first attempt of any of its kinds, and not again by the same thread."""
    code = dump_code(len, _count_ready, HERE)
    gate = place.gate("count")
    gate.open.set()
    for _ in range(3):
        batch = place.batch(len, [("abc",)], code=code, initializer=7)
        assert values(place.run(batch)) == [3]
    assert gate.calls == 1


def _count_ready() -> None:
    wait_at("count")


def test_an_initializer_that_fails_fails_its_task(place: Place) -> None:
    """What it raises is the failure of the attempt, and it is tried again with the next."""
    result = place.run(place.batch(square, [(1,), (2,)], not_ready))
    assert [error_of(record).message for record in result.records] == ["no licence"] * 2


def test_an_initializer_that_takes_too_long(place: Place) -> None:
    """Past its own limit, which is not the task's, its attempt is unready, and its thread is given up."""
    place.gate("ready")
    result = place.run(place.batch(square, [(1,)], never_ready, initializer_timeout_s=0.01, timeout_s=60.0))
    assert (hows(result), result.abandoned) == ([UNREADY], 1)


def test_a_time_limit_does_not_count_what_gets_a_worker_ready(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An initializer without a limit of its own is waited for, and the task has its time from then on."""
    clock = FakeClock(1000.0)
    monkeypatch.setattr(running, "monotonic", clock.monotonic)
    gate = place.gate("ready")
    going = place.start(place.batch(square, [(4,)], never_ready, timeout_s=5.0))
    assert gate.came.wait(10.0)
    clock.advance(100.0)
    place.yard.withdraw({"somebody": "else"})  # to have it look at the time
    gate.open.set()
    (record,) = going.result(10.0).records
    assert (record.how, record.started_s, record.ran_s) == (DONE, 100.0, 0.0)


# ---- progress


def test_progress_comes_before_the_end(place: Place) -> None:
    """What a task says is told by the time its batch has ended, the last of it included."""
    (name,) = values(place.run(place.batch(say, [("one", "two", "three")])))
    assert name == "here-w0"
    told = [fields for what, updates in place.yard.said if what == PROGRESS for fields in updates]
    assert told[0][0] == "t-0"
    assert told[-1][3] == "three"


def test_progress_is_dropped_where_it_is_too_much(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is said at once only so much is kept."""
    monkeypatch.setattr("longshore.batching.yard._OUTBOX", 0)
    place.run(place.batch(say, [("one",)]))
    assert place.yard.said == []


def test_progress_is_sent_though_nobody_says_more(place: Place) -> None:
    """What was held back is sent after a moment, while its task goes on."""
    gate = place.gate("after")
    going = place.start(place.batch(say_and_wait, [("after",)]))
    assert gate.came.wait(10.0)
    wait_until(lambda: "late" in str(place.yard.said), "what was held back")
    gate.open.set()
    going.result(10.0)


def say_and_wait(name: str) -> str:
    current_task().progress(0.1, "early")
    current_task().progress(0.2, "late")
    return wait_at(name)


def test_a_given_up_attempt_is_not_heard_any_more(place: Place) -> None:
    """What it says after its end is not told."""
    gate = place.gate("first")
    place.run(place.batch(wait_and_say, [("first",)], timeout_s=0.02))
    gate.open.set()
    wait_until(lambda: place.yard.abandoned == 0, "the thread to end")
    assert place.yard.said == []


def wait_and_say(name: str) -> str:
    wait_at(name)
    current_task().progress(1.0, "too late")
    return name


# ---- the end


def leave_word(name: str) -> None:
    current_task().at_worker_end(lambda: wait_at(name))


def test_a_worker_that_ends_calls_what_its_tasks_left(make_place: Callable[..., Place]) -> None:
    """What tasks want called at its end is called, also for a thread that was given up, and nothing is left on disk."""
    place = make_place()
    gate, given_up = place.gate("bye"), place.gate("hold")
    gate.open.set()
    place.run(place.batch(leave_word, [("bye",)]))
    place.run(place.batch(leave_word_and_wait, [("bye", "hold")], timeout_s=0.02))
    given_up.open.set()
    wait_until(lambda: place.yard.abandoned == 0, "the thread to end")
    assert gate.calls in (1, 2)
    place.yard.close()
    wait_until(lambda: gate.calls == 2, "both farewells")


def leave_word_and_wait(name: str, hold: str) -> None:
    leave_word(name)
    wait_at(hold)


def test_how_the_controller_is_told_is_each_systems_own() -> None:
    """A yard by itself does not know how to tell anybody."""
    yard = Yard(HERE, "run", "w")
    with pytest.raises(NotImplementedError):
        yard.tell(CUT, [])
    yard.close()


# ---- what is written down


def test_a_worker_writes_down_what_ended(place: Place) -> None:
    """Its death would tell what had ended; what the controller has is removed."""
    home = place.yard.home
    assert home is not None
    first = place.batch(square, [(3,), (4,)])
    result = place.run(first)
    assert spool.read("run", home, [first.number, 99]) == {first.number: list(result.records), 99: None}
    place.run(place.batch(square, [(5,)], settled=[first.number]))
    assert spool.read("run", home, [first.number]) == {first.number: None}


def test_what_cannot_be_written_down_ends_its_batch(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a record that is too large to be written nothing of the batch is begun."""
    monkeypatch.setattr(spool, "LARGE", 100)
    assert values(place.run(place.batch(bytes, [(1000,), (1,)]))) == [bytes(1000)]


def test_a_batch_that_cannot_be_written_down_at_all(place: Place, tmp_path: Path) -> None:
    """Where no file can be made the batch runs all the same, and nobody believes what is there."""
    home = place.yard.home
    assert home is not None
    (tmp_path / "longshore-run" / f"{home}.1").touch()
    assert values(place.run(place.batch(square, [(3,)]))) == [9]
    assert spool.read("run", home, [1]) is None


def test_a_folder_that_is_not_ours_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link, or a place where no folder can be, is not written to; batches run without it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "else").mkdir()
    (tmp_path / "longshore-linked").symlink_to(tmp_path / "else")
    assert not spool.Spool("linked", "home").open()
    (tmp_path / "longshore-file").touch()
    assert not spool.Spool("file", "home").open()
    assert HereYard(HERE, "file", "w").home is None


def test_a_full_disk_is_no_record() -> None:
    """A record counts as written only if all of it was."""
    reader, writer = os.pipe()
    os.close(reader)
    assert not spool.write(writer, Record(DONE, 0.0, 0.0, None, b""))
    os.close(writer)


def test_all_that_workers_wrote_can_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What killed workers left goes too."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine = spool.Spool("run", "home")
    assert mine.open()
    fd = mine.begin(1)
    assert fd is not None
    os.close(fd)
    spool.remove_all("run")
    assert list(tmp_path.iterdir()) == []


def test_threads_of_one_worker_have_seats_of_their_own(place: Place) -> None:
    """Two batches at once run in seats that are told apart, and are used again."""
    gates = [place.gate("x"), place.gate("y")]
    both = [place.start(place.batch(seat_at, [(name,)])) for name in "xy"]
    assert all(gate.came.wait(10.0) for gate in gates)
    for gate in gates:
        gate.open.set()
    names = {values(one.result(10.0))[0] for one in both}
    assert names == {"here-w0", "here-w0.1"}
    assert values(place.run(place.batch(say, [("z",)])))[0] in names
    assert threading.active_count() < 50


def seat_at(name: str) -> str:
    wait_at(name)
    return current_task().worker_id
