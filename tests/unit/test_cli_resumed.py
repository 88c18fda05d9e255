"""The file of results of a run that goes on: no line torn, no input twice, none lost."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from longshore.cli.console import UsageError
from longshore.cli.lines import Lines, line
from longshore.cli.resumed import resumed_file
from longshore.errors import LongshoreError
from longshore.task import TaskState

NAMES = ["a.txt", "é\n.txt", "b\udcff.txt", '"q".txt']
OK = TaskState.COMPLETED


def text_of(name: str, state: TaskState = OK, result: str = "[1, 2]") -> bytes:
    """Return a line as a run writes it."""
    read, write = os.pipe()
    Lines(write).write(line(name, state, result, None if state is OK else ("builtins.ValueError", "no")))
    os.close(write)
    with os.fdopen(read, "rb") as file:
        return file.read()


def inputs_in(path: Path) -> list[str]:
    return [json.loads(text)["input"] for text in path.read_bytes().splitlines()]


def go_on(path: Path, names: list[str], again: Callable[[str, TaskState], bool] | None = None) -> dict[str, TaskState]:
    """Write the lines of those that have none; return those that had."""
    with resumed_file(str(path), *(() if again is None else (again,))) as resumed:
        lines = Lines(resumed.descriptor)
        for name in names:
            if name not in resumed.done:
                lines.write(line(name, OK, '"now"'))
        return dict(resumed.done)


def test_a_file_cut_at_any_byte_goes_on_with_one_line_an_input(tmp_path: Path) -> None:
    """Wherever the last run was ended: each input has one whole line in the end, and none has two."""
    path = tmp_path / "out.jsonl"
    each = [text_of(name) for name in NAMES]
    whole = b"".join(each)
    ends = [sum(map(len, each[:count])) for count in range(len(each) + 1)]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        done = go_on(path, NAMES)
        had = sum(end <= cut + 1 for end in ends) - 1  # a line that lacks nothing but its end is whole
        assert list(done) == NAMES[:had], cut
        assert sorted(inputs_in(path)) == sorted(NAMES), cut
        assert path.read_bytes().startswith(b"".join(each[:had]))


def test_zeros_that_a_loss_of_power_left_are_taken_away(tmp_path: Path) -> None:
    """A file that grew before its content came ends with zeros: that is a torn line, too."""
    path = tmp_path / "out.jsonl"
    for tail in (b"\0" * 5000, b'{"inp\0\0\0', b'{"input": "x", "sta' + b"\0" * 70_000):
        path.write_bytes(text_of("a") + tail)
        assert list(go_on(path, ["a", "b"])) == ["a"]
        assert inputs_in(path) == ["a", "b"]


def test_inputs_that_were_left_are_begun_anew(tmp_path: Path) -> None:
    """Cancelled ones lose their line, so that there is one in the end; failed ones keep it, unless asked for."""
    path = tmp_path / "out.jsonl"
    states = {"a": OK, "b": TaskState.CANCELLED, "c": TaskState.FAILED, "d": TaskState.TIMED_OUT}
    before = b"".join(text_of(name, state) for name, state in states.items())
    path.write_bytes(before)
    assert list(go_on(path, list(states))) == ["a", "c", "d"]
    assert sorted(inputs_in(path)) == list(states)
    path.write_bytes(before)
    assert list(go_on(path, list(states), lambda _name, state: state is not OK)) == ["a"]
    assert sorted(inputs_in(path)) == list(states)
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_of_two_lines_of_an_input_the_last_one_stays(tmp_path: Path) -> None:
    """Whoever put them there: a file has one line an input."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(text_of("a", result="1") + text_of("b") + text_of("a", result="2"))
    assert set(go_on(path, ["a", "b"])) == {"a", "b"}
    assert path.read_bytes() == text_of("b") + text_of("a", result="2")


def test_a_file_that_lacks_nothing_is_left_alone(tmp_path: Path) -> None:
    """Same file, same bytes; one that is not there begins empty."""
    path = tmp_path / "out.jsonl"
    assert go_on(path, []) == {}
    path.write_bytes(text_of("a"))
    before = os.stat(path)
    assert go_on(path, ["a"]) == {"a": OK}
    assert (os.stat(path).st_ino, os.stat(path).st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    "content",
    [
        b"notes\n",
        b"notes",
        b'{"input": "a"}\n',
        b'{"input": "a", "status": "odd", "result": 1, "error": null}\n',
        b'{"input": 1, "status": "completed", "result": 1, "error": null}\n',
        text_of("a")[:-5] + b"\n" + text_of("b"),
        b"[]\n",
    ],
)
def test_a_file_that_no_run_wrote_is_refused_and_stays(tmp_path: Path, content: bytes) -> None:
    """Somebody's notes, another table, a line damaged in the middle: it says which line, and changes nothing."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="line 1: this is not what a run writes"):
        go_on(path, ["a"])
    assert path.read_bytes() == content
    with pytest.raises(UsageError, match="cannot write"):
        go_on(tmp_path, ["a"])


def test_what_a_full_disk_cut_short_is_taken_back(tmp_path: Path) -> None:
    """The line that did not fit is not there, and those before it are whole."""
    path = tmp_path / "out.jsonl"
    limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with resumed_file(str(path)) as resumed:
        lines = Lines(resumed.descriptor)
        lines.write(line("a", OK))
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, limit[1]))
            with pytest.raises(LongshoreError, match="the output cannot be written"):
                lines.write(line("b", OK))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            signal.signal(signal.SIGXFSZ, handler)
    assert inputs_in(path) == ["a"]
