"""What the conformance suites are made of: events made by hand, the thread that calls a plugin, what is left behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import msgspec
import pytest
from longshore.catalogue import CATALOGUE
from longshore.events import Event
from longshore.testing.conformance._aside import Aside
from longshore.testing.conformance._held import Held
from longshore.testing.conformance._told import HOSTILE, life_of, one_of_each

ENDS = ("completed", "failed", "timed_out", "cancelled")


@pytest.mark.parametrize("bare", [False, True])
def test_an_event_is_made_of_every_type_as_the_catalogue_has_it(bare: bool) -> None:
    """Each type once, in a form that its record takes: with all that there can be, and with all that there must be."""
    events = one_of_each(bare=bare)
    assert [event.type for event in events] == list(CATALOGUE)
    for event in events:
        record = CATALOGUE[event.type]
        msgspec.convert(event.data, record)  # ValidationError for what it does not take
        if bare and isinstance(event, Event):
            assert set(event.data) == {field.name for field in msgspec.structs.fields(record) if field.required}


@pytest.mark.parametrize("ended", ENDS)
def test_a_task_is_told_of_to_its_end_as_the_catalogue_has_it(ended: str) -> None:
    """Submission, start and end of one task, in rising order, whatever texts are in them."""
    for text in HOSTILE:
        events = life_of(7, ended, name=text, text=text)
        assert [event.seq for event in events] == [22, 23, 24]
        assert len({event.data["task_id"] for event in events}) == 1
        assert events[-1].data["state"] == ended
        for event in events:
            msgspec.convert(event.data, CATALOGUE[event.type])


def test_a_plugin_is_called_on_one_thread_that_is_not_the_main_one() -> None:
    """As a pool does; and that thread ends with the block."""
    with Aside(10.0) as aside:
        seen = {aside.done("it", threading.current_thread) for _ in range(3)}
    (thread,) = seen
    assert thread is not threading.main_thread()
    assert not thread.is_alive()


def test_a_call_that_hangs_is_told_of_by_name() -> None:
    """It fails the test once patience is over, and keeps nobody."""
    ended = threading.Event()
    with Aside(0.05) as aside, pytest.raises(AssertionError, match=r"Sink.open did not come back within 0.05 s"):
        aside.done("Sink.open", ended.wait)
    ended.set()


def fail(error: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit("no"), TimeoutError("no"), KeyboardInterrupt("no")])
def test_what_a_plugin_raises_fails_the_test_or_is_raised_to_it(error: BaseException) -> None:
    """`done` says who raised what; `tried` leaves it to the test, a plugin's own TimeoutError too."""
    with Aside(10.0) as aside:
        with pytest.raises(AssertionError, match=f"Sink.open raised {type(error).__name__}: no") as caught:
            aside.done("Sink.open", fail(error))
        assert caught.value.__cause__ is error
        with pytest.raises(type(error)):
            aside.tried("Sink.open", fail(error))
        if isinstance(error, Exception):
            with pytest.raises(type(error)):
                aside.done("Sink.open", fail(error), allowed=(type(error),))


def test_what_is_left_behind_is_named() -> None:
    """Threads by their names, files by what they are; what was there before is no news, nor what is gone in time."""
    release = threading.Event()
    old = threading.Thread(target=release.wait, name="old", daemon=True)
    old.start()
    before = Held.now()
    if before.files is None:
        pytest.skip("this system does not list the files that a process has open")
    new = threading.Thread(target=release.wait, name="new", daemon=True)
    new.start()
    number = os.open(os.devnull, os.O_RDONLY)
    assert before.new_threads(0.0) == ["new"]
    assert before.new_files(0.0) == [f"{number} ({os.devnull})"]
    os.close(number)
    release.set()
    assert before.new_threads(10.0) == []
    assert before.new_files(10.0) == []
    old.join(10.0)
