"""What a task wrote last is shown with its failure; tasks that write nothing pay nothing."""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from longshore.task import TaskState
from longshore_processes.executor import ProcessesSettings
from longshore_processes.frames import IDLE
from longshore_processes.output import TAIL_BYTES, Output


def say_and_fail(x: int) -> int:
    print(f"item {x}")
    print(f"error of {x}", file=sys.stderr)
    if x % 2:
        raise ValueError(x)
    return x


def say_and_die(x: int) -> int:
    if x >= 0:
        print(f"item {x} goes on", flush=True)
    if x == 7:
        print("the last words", end="", flush=True)
        ctypes.string_at(0)
    return x


def die_silently(x: int) -> int:
    if x == 7:
        ctypes.string_at(0)
    return x


def say_and_hang(_: int) -> None:
    print("step 1")
    print("step 2")
    time.sleep(1000)


def run_program(x: int) -> None:
    if x >= 0:
        code = f"import sys; sys.stderr.write('program {x}\\n'); sys.exit({x})"
        subprocess.run([sys.executable, "-c", code], check=True)


def say_much(_: int) -> None:
    print("x" * 10_000)
    raise ValueError


def say_half(_: int) -> None:
    sys.stdout.write("without an end")
    raise ValueError


def say_nothing(x: int) -> None:
    if x:
        raise ValueError


def tails(outcomes: Any) -> list[str]:
    return [outcome.error.output_tail for outcome in outcomes if not outcome.ok]


@pytest.mark.parametrize(
    ("lead", "method"),
    [(0, "auto"), (200, "auto"), pytest.param(200, "interpreter", marks=pytest.mark.slow)],
)
def test_a_failure_shows_its_own(open_yard: Any, lead: int, method: Any) -> None:
    """Each failed task has what it wrote itself, to both streams in their order, and nothing of its neighbours."""
    with open_yard(1, ProcessesSettings(start_method=method)) as yard:
        yard.run(say_and_fail, [0] * lead)
        outcomes = yard.run(say_and_fail, list(range(40)))
        assert tails(outcomes) == [f"item {x}\nerror of {x}" for x in range(1, 40, 2)]


@pytest.mark.parametrize("lead", [0, 200], ids=["one by one", "in batches"])
def test_a_death_shows_the_last_words(lone_yard: Any, lead: int) -> None:
    """A worker's death tells what the task wrote, the traceback of a crash included, and its exception notes it."""
    lone_yard.run(say_and_die, [-1] * lead)
    outcomes = lone_yard.run(say_and_die, list(range(20)))
    [tail] = tails(outcomes)
    assert tail.startswith("item 7 goes on\nthe last words")
    assert "Fatal Python error: Segmentation fault" in tail
    assert "say_and_die" in tail
    [note] = outcomes[7].exception.__notes__
    assert note.endswith(tail)


def test_a_crash_shows_its_traceback(lone_yard: Any) -> None:
    """Where a task wrote nothing itself, the traceback of its crash is there all the same, also in a batch."""
    for lead in (0, 200):
        lone_yard.run(die_silently, [0] * lead)
        [tail] = tails(lone_yard.run(die_silently, list(range(20))))
        assert "Fatal Python error: Segmentation fault" in tail
        assert "die_silently" in tail


@pytest.mark.slow
def test_a_timeout_shows_how_far_it_came(lone_yard: Any) -> None:
    """A task that is killed at its limit has what it wrote until then, in the exception that is raised as well."""
    [outcome] = lone_yard.run(say_and_hang, [0], timeout_s=0.3)
    assert outcome.state is TaskState.TIMED_OUT
    assert outcome.error.output_tail == "step 1\nstep 2"
    assert outcome.failure().__notes__ == ["what it wrote last:\nstep 1\nstep 2"]


def test_what_programs_write_counts(lone_yard: Any) -> None:
    """What a program wrote that a task started is the task's, where tasks are not short."""
    lone_yard.run(run_program, [-1])
    assert tails(lone_yard.run(run_program, [0, 3, 0, 5])) == ["program 3", "program 5"]


def test_it_is_bounded(lone_yard: Any) -> None:
    """The last 4 KiB are kept, and a line without an end is not lost."""
    [much] = tails(lone_yard.run(say_much, [0]))
    assert len(much) in (TAIL_BYTES, TAIL_BYTES - 1)  # less the end of its line
    assert tails(lone_yard.run(say_half, [0])) == ["without an end"]


def test_nothing_is_nothing(lone_yard: Any) -> None:
    """A failure without output has none of others either."""
    lone_yard.run(say_and_fail, [0] * 10)
    assert tails(lone_yard.run(say_nothing, [1, 0, 1])) == ["", ""]


def test_it_is_logged_as_ever(
    lone_yard: Any, caplog: pytest.LogCaptureFixture, eventually: Callable[..., bool]
) -> None:
    """What is printed comes to the log line by line, without a trace of how it is told apart."""

    def seen() -> list[str]:
        return [r.getMessage() for r in list(caplog.records) if r.name == "longshore.worker.process-0"]

    with caplog.at_level(logging.INFO):
        lone_yard.run(say_and_fail, [2, 4, 3])
        assert eventually(lambda: len(seen()) == 6)
    assert seen() == ["item 2", "error of 2", "item 4", "error of 4", "item 3", "error of 3"]


class Feed:
    """An `Output` and what came of it."""

    def __init__(self, whose: Callable[[int], int] = lambda marked: marked) -> None:
        self.text = b""
        self.output = Output(self._take, whose)

    def _take(self, data: bytes) -> None:
        self.text += data


def test_marks_may_come_in_pieces() -> None:
    """However reads cut the stream, all text comes through and each item has its own."""
    stream = b"\x00\x1e12\x1e\x00one\n\x00\x1e-1\x1e\x00nobody\n\x00\x1e13\x1e\x00two\x00zero\n"
    for size in range(1, len(stream) + 1):
        feed = Feed()
        for at in range(0, len(stream), size):
            feed.output.feed(stream[at : at + size])
        feed.output.finish()
        assert feed.text == b"one\nnobody\ntwo\x00zero\n"
        assert (feed.output.tail(12), feed.output.tail(13)) == ("one", "two\x00zero")


def test_a_trailing_zero_is_not_lost() -> None:
    """What looks like the beginning of a mark and is none comes through at the end."""
    feed = Feed()
    feed.output.feed(b"text\x00")
    feed.output.finish()
    assert feed.text == b"text\x00"


def test_few_are_kept_at_once() -> None:
    """However many items of a batch write, memory for what they wrote is bounded; the newest are kept."""
    feed = Feed()
    for serial in range(200):
        feed.output.feed(b"\x00\x1e%d\x1e\x00" % serial + b"x" * 5000)
    kept = [serial for serial in range(200) if feed.output.tail(serial)]
    assert kept == list(range(200 - len(kept), 200))
    assert 0 < len(kept) <= 64
    assert len(feed.output.tail(199)) == TAIL_BYTES


def test_text_of_nobody_is_not_kept() -> None:
    """What is written while nothing runs is passed on and shown with no task."""
    feed = Feed(lambda _: IDLE)
    feed.output.feed(b"hello\n")
    assert feed.text == b"hello\n"
    assert feed.output.last(0) == ""


def test_reading_pipes_costs_nothing_where_nothing_is_written(lone_yard: Any, monkeypatch: Any) -> None:
    """Tasks that write nothing cause no look at their output, and failed ones one for all that are told of at once."""
    lone_yard.run(say_nothing, [0])
    log = lone_yard.executor._supervisor.crew.handles[0].log
    reads: list[int] = []
    read = os.read

    def noted(fd: int, size: int) -> bytes:
        reads.append(fd)
        return read(fd, size)

    monkeypatch.setattr(os, "read", noted)
    assert tails(lone_yard.run(say_nothing, [0, 1] * 50)) == [""] * 50
    assert reads.count(log) < 20
    reads.clear()
    lone_yard.run(say_nothing, [0] * 100)
    assert reads.count(log) < 5  # one where a task turned out slow, as any may on a busy machine
