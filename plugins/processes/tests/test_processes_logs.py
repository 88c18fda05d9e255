"""What a task logs in a worker process reaches the controller's logging, and only what that wants."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest
from longshore_processes.relay import LogRelay


@contextmanager
def level_of(name: str, level: int) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def count(upto: int) -> None:
    for number in range(upto):
        logging.getLogger("count").warning("record %d", number, extra={"number": number, "object": object()})


def fail(_: int) -> None:
    try:
        raise LookupError("no such thing")
    except LookupError:
        logging.getLogger("fails").exception("it failed", stack_info=True)


def quiet_and_loud(_: int) -> None:
    logging.getLogger("quiet").error("an error of quiet")
    logging.getLogger("loud.below").debug("a detail of loud")
    logging.getLogger("other").info("an info of other")
    logging.getLogger("other").warning("the last")


def seen(caplog: pytest.LogCaptureFixture, name: str) -> list[logging.LogRecord]:
    return [record for record in list(caplog.records) if record.name == name]


def test_records_of_a_task_keep_their_order_and_name_it(
    yard: Any, caplog: pytest.LogCaptureFixture, eventually: Callable[..., bool]
) -> None:
    """All records of a task come in their order, with its id and name, its worker, and plain values given as extra."""
    ids = yard.submit(count, [100, 100])
    yard.wait(ids)
    assert eventually(lambda: len(seen(caplog, "count")) == 200)
    for task_id in ids:
        records = [record for record in seen(caplog, "count") if vars(record)["task_id"] == task_id]
        assert [record.getMessage() for record in records] == [f"record {number}" for number in range(100)]
        facts = vars(records[5])
        assert facts["task_name"] == "count"
        assert facts["worker_id"] == facts["processName"]
        assert facts["number"] == 5
        assert "object" not in facts
        assert facts["funcName"] == "count"


def test_exceptions_keep_their_text(
    lone_yard: Any, caplog: pytest.LogCaptureFixture, eventually: Callable[..., bool]
) -> None:
    """The traceback of a logged exception and the stack arrive as text, and formatters show them."""
    lone_yard.run(fail, [0])
    assert eventually(lambda: seen(caplog, "fails"))
    shown = logging.Formatter("%(message)s %(task_id)s").format(seen(caplog, "fails")[0])
    assert "LookupError: no such thing" in shown
    assert "Stack (most recent call last)" in shown


def test_levels_are_the_controllers(
    lone_yard: Any, caplog: pytest.LogCaptureFixture, eventually: Callable[..., bool]
) -> None:
    """A worker makes the records that loggers here let through when it starts, each logger with its own level."""
    with level_of("quiet", logging.CRITICAL), level_of("loud", logging.DEBUG):
        lone_yard.run(quiet_and_loud, [0])
        assert eventually(lambda: seen(caplog, "other"))
    told = [record.getMessage() for record in caplog.records if record.levelno < logging.CRITICAL]
    assert [text for text in told if "of" in text or "last" in text] == ["a detail of loud", "the last"]


def test_what_is_printed_names_its_worker(
    lone_yard: Any, caplog: pytest.LogCaptureFixture, eventually: Callable[..., bool]
) -> None:
    """Formats that show a task work for printed lines, too, though nobody can tell whose they are."""
    with caplog.at_level(logging.INFO):
        lone_yard.run(print, ["hello"])
        assert eventually(lambda: seen(caplog, "longshore.worker.process-0"))
    [record] = seen(caplog, "longshore.worker.process-0")
    assert logging.Formatter("%(worker_id)s %(task_id)s %(message)s").format(record) == "process-0 None hello"


class Stuck(logging.Handler):
    """Blocks until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.may_go_on = threading.Event(), threading.Event()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.entered.set()
        assert self.may_go_on.wait(20)
        self.texts.append(record.getMessage())


@pytest.mark.slow
def test_a_flood_is_bounded_and_counted() -> None:
    """While a handler blocks, at most so many records wait; how many were lost is told, and none comes after close."""
    relay, handler = LogRelay(), Stuck()
    logger = logging.getLogger("longshore.worker")
    logger.addHandler(handler)
    with level_of("longshore.worker", logging.INFO):
        try:
            relay.line("process-0", "first")
            assert handler.entered.wait(20)
            for number in range(10_500):
                relay.line("process-0", str(number))
            handler.may_go_on.set()
            relay.close(monotonic() + 20)
            count = len(handler.texts)
        finally:
            logger.removeHandler(handler)
    assert count == len(handler.texts) == 10_002
    assert [text for text in handler.texts if "lost" in text] == [
        "500 lines of workers were lost: too many at once",
    ]


def test_a_handler_that_was_found_to_block_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the stop a handler has 0.7 s for a record, counted from when it was given that: else it is left behind."""
    relay, handler, waits = LogRelay(), Stuck(), []
    join = threading.Thread.join

    def noted(thread: threading.Thread, timeout: float | None = None) -> None:
        waits.append(timeout)
        join(thread, timeout)

    with handled_by(handler, "longshore.worker"):
        relay.line("process-0", "first")
        assert handler.entered.wait(20)
        relay._began = monotonic() - 1.0
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "join", noted)
            relay.close(monotonic() + 20)
        handler.may_go_on.set()
    assert waits == [0.0]


class Slow(logging.Handler):
    """Takes a while for each record."""

    def __init__(self, each_s: float) -> None:
        super().__init__()
        self.each_s = each_s
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        time.sleep(self.each_s)
        self.texts.append(record.getMessage())


class Picky(logging.Handler):
    """Raises for some records, and for the first that tells of a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses = 1
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text == "bad":
            raise SystemExit(text)
        if "lost" in text and self.refuses:
            self.refuses -= 1
            raise ValueError(text)
        self.texts.append(text)


@contextmanager
def handled_by(handler: logging.Handler, name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        with level_of(name, logging.INFO):
            yield
    finally:
        logger.removeHandler(handler)


@pytest.mark.slow
def test_a_slow_handler_gets_all_at_the_stop(open_yard: Callable[..., Any]) -> None:
    """1,500 records of a task are with a handler that takes 1 ms for each, when the executor has stopped."""
    handler = Slow(0.001)
    with handled_by(handler, "count"):
        with open_yard(1) as yard:
            assert yard.run(count, [1_500])[0].ok
            yard.stop(20.0)
        assert handler.texts == [f"record {number}" for number in range(1_500)]


def test_what_there_is_no_time_for_is_counted() -> None:
    """Lines that a slow handler could not take until the stop's time was over are lost, and a warning counts them."""
    relay, handler = LogRelay(), Slow(0.01)
    with handled_by(handler, "longshore.worker"):
        for number in range(300):
            relay.line("process-0", str(number))
        relay.close(monotonic() + 0.1)
        *taken, told = handler.texts
    assert taken == [str(number) for number in range(len(taken))]
    assert len(taken) < 300
    assert told == f"{300 - len(taken)} lines of workers were lost: no time was left for them at the stop"


def test_a_handler_that_raises_costs_its_records_only() -> None:
    """Whatever a handler raises, also at the warning of it, later lines come, and what it refused is counted."""
    relay, handler = LogRelay(), Picky()
    with handled_by(handler, "longshore.worker"):
        for text in ("first", "bad", "second", "bad", "third"):
            relay.line("process-0", text)
        relay.close(monotonic() + 20)
    assert handler.texts == ["first", "second", "third", "2 lines of workers were lost: a handler or filter raised"]


def test_lines_are_counted_where_no_thread_is_to_be_had(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the system has no more threads lines are lost, and not the pool; when it has, they pass, and it is told."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    relay = LogRelay()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        relay.line("process-0", "one")
        relay.close(monotonic() + 1.0)
    with caplog.at_level(logging.INFO):
        relay.line("process-0", "two")
        relay.close(monotonic() + 5.0)
    said = [record.getMessage() for record in caplog.records]
    assert said == ["two", "1 lines of workers were lost: too many at once"]
