"""Promises of the lines a run writes, of what it sums up, and of what it prints."""

import json
import math
import os
from collections.abc import Iterator

import pytest
from longshore._calling import result_json
from longshore.cli.console import UsageError, safe
from longshore.cli.console import line as on_one_line
from longshore.cli.job import Limit
from longshore.cli.lines import Lines, error_facts, line, output_file
from longshore.cli.tally import Tally
from longshore.errors import PayloadError
from longshore.task import ErrorRecord, TaskState


def test_a_line_is_an_object_with_four_keys() -> None:
    """A line holds input, status, result and error, and nothing else."""
    assert json.loads(line("a", TaskState.COMPLETED, '{"x": 1}')) == {
        "input": "a",
        "status": "completed",
        "result": {"x": 1},
        "error": None,
    }
    failed = json.loads(line("a", TaskState.TIMED_OUT, error=("longshore.errors.TaskTimeout", "timeout")))
    assert failed["status"] == "timed_out"
    assert failed["error"] == {"type": "longshore.errors.TaskTimeout", "reason": "timeout"}


def test_a_name_of_odd_bytes_can_be_read_back(tmp_path: object) -> None:
    """Whatever the bytes of a name, its line is one line of valid UTF-8 and JSON, and gives the name back."""
    name = os.fsdecode(b'odd \xff\n\x1b"\\ \xc3\xa9')
    path = os.path.join(str(tmp_path), "out.jsonl")
    with output_file(path) as opened:
        Lines(opened).write(line(name, TaskState.COMPLETED, result_json({"é": "ü"})))
    with open(path, "rb") as file:
        data = file.read()
    assert data.count(b"\n") == 1
    assert os.fsencode(json.loads(data.decode("utf-8"))["input"]) == os.fsencode(name)


def test_a_result_is_the_same_text_every_time() -> None:
    """The keys of a result are sorted, so that two runs write the same."""
    assert result_json({"b": 1, "a": {"d": 2, "c": 3}}) == result_json({"a": {"c": 3, "d": 2}, "b": 1})
    assert json.loads(result_json({1: 2, "a": 3})) == {"1": 2, "a": 3}


class _Nasty(dict[str, int]):
    def items(self) -> Iterator[object]:  # type: ignore[override]  # breaks the rules on purpose
        raise KeyError("no items for you")


@pytest.mark.parametrize("wrong", [{1, 2}, object(), math.nan, b"bytes", {("a", "b"): 1}, _Nasty(a=1)])
def test_what_is_no_json_is_refused(wrong: object) -> None:
    """A result that is not JSON is a PayloadError, whatever it is; a circle too."""
    with pytest.raises(PayloadError, match="not JSON"):
        result_json(wrong)
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(PayloadError):
        result_json(circle)


def test_an_error_holds_nothing_that_changes_from_run_to_run() -> None:
    """The reason is the error's word, else the first line of its message without addresses."""
    word = ErrorRecord(type="X", message="task 12 of worker 7 failed", reason="encrypted")
    assert error_facts(word, TaskState.FAILED) == ("X", "encrypted")
    message = ErrorRecord(type="X", message="no <thing at 0x7f12ab> here\nsecond line")
    veto = ErrorRecord(type="X", message="a hook refused work: not by day\nnor at night", reason="vetoed")
    lacks = ErrorRecord(type="X", message="no module named 'm'; install 'm' on the workers", reason="no module")
    assert error_facts(lacks, TaskState.FAILED) == ("X", lacks.message)
    assert error_facts(veto, TaskState.FAILED) == ("X", "a hook refused work: not by day")
    assert error_facts(message, TaskState.FAILED) == ("X", "no <thing> here")
    assert error_facts(ErrorRecord(type="X", message=""), TaskState.FAILED) == ("X", "X")
    assert error_facts(None, TaskState.COMPLETED) is None


def test_nothing_reaches_the_terminal_raw() -> None:
    """Control characters, direction marks and odd bytes are printed as visible escapes."""
    assert safe("a\x1b[31mb\x07\u202e\x9b" + os.fsdecode(b"\xff")) == "a\\x1b[31mb\\x07\\u202e\\x9b\\xff"
    assert safe("two\nlines é") == "two\nlines é"
    assert on_one_line("two\nlines") == "two lines"


def test_the_summary_counts_and_names() -> None:
    """The summary has all counts, and each group of failures with the names of its inputs, the largest first."""
    tally = Tally()
    tally.add("good", TaskState.COMPLETED, None)
    tally.add("late", TaskState.TIMED_OUT, ("TaskTimeout", "timeout"))
    for number in range(60):
        tally.add(f"bad-{number:02}", TaskState.FAILED, ("DocumentError", "encrypted"))
    tally.add("left", TaskState.CANCELLED, ("TaskCancelled", "cancelled"))
    text = list(tally.lines(2.0))
    assert text[0] == "63 inputs in 2.0 s: 1 completed, 60 failed, 1 timed out, 1 cancelled"
    assert text[1] == "60 x DocumentError: encrypted"
    assert text[2] == "    bad-00"
    assert "    ... and 10 more, see the output" in text
    assert text[-2:] == ["1 x TaskTimeout: timeout", "    late"]
    assert next(tally.lines(2.0, stages=2)).startswith("63 inputs, 2 stages each, in 2.0 s: 1 completed")
    assert tally.failed == 61
    assert json.loads(tally.json(2.0))["failures"][0]["count"] == 1


def test_the_summary_shows_what_was_written_last() -> None:
    """Of each group of failures, the last lines that one of its inputs wrote are shown, safe for a terminal."""
    tally = Tally()
    tally.add("quiet", TaskState.FAILED, ("WorkerDied", "signal 11"))
    tally.add("loud", TaskState.FAILED, ("WorkerDied", "signal 11"), "\n".join(f"line {n}\x1b" for n in range(40)))
    tally.add("louder", TaskState.FAILED, ("WorkerDied", "signal 11"), "not shown")
    text = list(tally.lines(2.0))
    assert text[5] == "    loud wrote last:"
    assert text[6:] == [f"        line {n}\\x1b" for n in range(10, 40)]


@pytest.mark.parametrize(
    ("text", "inputs", "failures"), [("3", 100, 3), ("5%", 200, 10), ("100%", 7, 7), ("0.5%", 1000, 5)]
)
def test_a_limit_is_a_number_or_a_part(text: str, inputs: int, failures: float) -> None:
    """--max-failures takes a number, or a part of all inputs."""
    assert Limit.parse(text, inputs).failures == pytest.approx(failures)


@pytest.mark.parametrize("text", ["0", "-1", "x", "101%", "0%", "%", "", "1.5"])
def test_a_limit_that_means_nothing_is_refused(text: str) -> None:
    """What is no number above 0 is refused."""
    with pytest.raises(UsageError, match="--max-failures"):
        Limit.parse(text, 10)
