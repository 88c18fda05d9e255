"""The lines view and the json view: what is told when, and that it can stand in a log."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from longshore.events import Event
from longshore.records import (
    Alert,
    FailureGroup,
    RunInfo,
    RunningTask,
    RunSnapshot,
    RunSummary,
    SinkHealth,
    StageSnapshot,
)
from longshore_rich import RichSink
from longshore_rich._story import Story, summary_entries
from longshore_rich._views import PlainView

Maker = Callable[..., RunSnapshot]
RunMaker = Callable[..., RunInfo]
DEADLINE_S = 10.0


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)


def told(story: Story, snapshot: RunSnapshot, now_s: float) -> list[str]:
    return [entry.type for entry in story.advance(snapshot, now_s)]


@pytest.fixture
def story(snapshot_with: Maker, run_of: RunMaker) -> Story:
    story = Story(period_s=30.0)
    assert len(story.begin(run_of(snapshot_with), 0.0)) == 1
    return story


def test_progress_is_told_at_tenths_and_at_times(story: Story, snapshot_with: Maker) -> None:
    """A line comes at each tenth of the way and else at most every 30 s, with or without events."""

    def at(done: int, now_s: float) -> list[str]:
        quiet: dict[str, Any] = {"failures": [], "throttled": None, "failed": 0}
        return told(story, snapshot_with(completed=done, total=100, **quiet), now_s)

    assert at(9, 1.0) == []
    assert at(10, 2.0) == ["progress"]
    assert at(19, 3.0) == []
    assert at(45, 4.0) == ["progress"]
    assert at(45, 33.0) == []
    assert at(45, 34.0) == ["progress"]
    assert at(44, 35.0) == []
    assert at(100, 36.0) == []


def test_a_run_of_unknown_length_is_told_at_times(story: Story, snapshot_with: Maker) -> None:
    """Without a total there are no tenths."""
    quiet: dict[str, Any] = {"failures": [], "throttled": None, "total": None}
    times = [now_s for now_s in range(1, 100) if told(story, snapshot_with(completed=now_s, **quiet), now_s)]
    assert times == [30, 60, 90]


def test_what_is_overdue_is_told_once(story: Story, snapshot_with: Maker) -> None:
    """A task past its soft timeout is told of by itself, each attempt once, twenty in all; others are counted."""

    def slow(number: int, attempt: int = 1) -> RunningTask:
        return RunningTask(
            task_id=f"t{number}",
            name="ocr",
            executor="x",
            running_s=61.0,
            attempt=attempt,
            label=f"{number}.pdf",
            progress=0.4,
            overdue=True,
        )

    quiet: dict[str, Any] = {"failures": [], "throttled": None, "failed": 0, "total": None}
    [entry] = story.advance(snapshot_with(slowest=[slow(0)], overdue=1, **quiet), 1.0)
    assert (entry.type, entry.text) == ("overdue", "overdue: 0.pdf ocr runs for 1m01s, at 40%")
    assert entry.data["task_id"] == "t0"
    assert told(story, snapshot_with(slowest=[slow(0)], overdue=1, **quiet), 2.0) == []
    assert told(story, snapshot_with(slowest=[slow(0, 2)], overdue=1, **quiet), 3.0) == ["overdue"]
    many = snapshot_with(slowest=[slow(number) for number in range(50)], overdue=50, **quiet)
    assert told(story, many, 4.0) == ["overdue"] * 18
    [progress] = story.advance(many, 31.0)
    assert "overdue 50" in progress.text
    assert progress.data["overdue"] == 50


def test_alerts_are_told_once_and_again_when_they_are_over(
    story: Story, snapshot_with: Maker, alert_of: Callable[..., Alert]
) -> None:
    """Each by itself, one of each resource, with its reason; data say what a program would ask for."""
    quiet: dict[str, Any] = {"failures": [], "throttled": None, "failed": 0, "total": None}
    stalled, full = alert_of("stalled", message="nothing moves"), alert_of("resource", subject="memory")
    [entry] = story.advance(snapshot_with(alerts=[stalled], **quiet), 1.0)
    assert (entry.type, entry.text) == ("alert", "alert: nothing moves")
    assert (entry.data["alert"], entry.data["state"], entry.data["threshold"]) == ("stalled", "raised", 600.0)
    assert told(story, snapshot_with(alerts=[stalled], **quiet), 2.0) == []
    assert told(story, snapshot_with(alerts=[stalled, full], **quiet), 3.0) == ["alert"]
    [over] = story.advance(snapshot_with(alerts=[full], **quiet), 4.0)
    assert (over.text, over.data["state"]) == ("alert over: nothing moves", "cleared")
    assert told(story, snapshot_with(alerts=[full, stalled], **quiet), 5.0) == ["alert"]


def test_each_kind_of_failure_is_told_once(story: Story, snapshot_with: Maker) -> None:
    """The first failure of a kind is told at once with its label; a thousand kinds do not flood the log."""
    groups = [FailureGroup(type=f"E{n}", message="m", reason=None, count=1, labels=["a.pdf"]) for n in range(1000)]
    entries = story.advance(snapshot_with(failures=groups[:1], throttled=None), 1.0)
    assert [entry.text for entry in entries if entry.type == "failure"] == ["failed: 1x E0: m - a.pdf"]
    assert "failure" not in told(story, snapshot_with(failures=groups[:1], throttled=None), 2.0)
    assert told(story, snapshot_with(failures=groups, throttled=None), 3.0).count("failure") == 19


def test_throttling_is_told_when_it_changes(story: Story, snapshot_with: Maker) -> None:
    """Its beginning and its end are told, its changing numbers are not, and flutter is not."""
    quiet: dict[str, Any] = {"failures": [], "completed": 0, "failed": 0}
    reasons = ["memory 13.1 GB", "memory 13.2 GB", None, "memory 13.3 GB", None, None, "paused", "paused"]
    seen = [
        [entry.text for entry in story.advance(snapshot_with(throttled=why, **quiet), now_s)]
        for now_s, why in zip((1, 2, 3, 4, 5, 6, 7, 11), reasons, strict=True)
    ]
    begun, over, paused = "throttled: memory 13.1 GB", "no longer throttled", "paused: nothing new is started"
    assert seen == [[begun], [], [], [], [], [over], [], [paused]]


def test_the_summary_names_what_went_wrong(snapshot_with: Maker) -> None:
    """The end tells state, counts, each kind of failure with reason and labels, sick sinks, and notes."""
    snapshot = snapshot_with(
        timed_out=3,
        cancelled=1,
        failures=[
            FailureGroup(type="a.DocumentError", message="no key", reason="encrypted", count=9, labels=list("abcde"))
        ],
        sinks=[
            SinkHealth(name="jsonl", state="failing", errors=3, dropped=120, last_error="No space left on device"),
            SinkHealth(name="rich"),
        ],
    )
    summary = RunSummary(snapshot=snapshot, state="failed", error="the journal is full", notes=["1 thread abandoned"])
    assert [entry.text for entry in summary_entries(summary)] == [
        "longshore run 01JC3KQ7 failed in 3m12s: 2,342 tasks in 2 stages, ok 2,318, retried 9, "
        "FAILED 23 (timed out 3), cancelled 1, 12.2/s; the journal is full",
        "  9x DocumentError (encrypted): no key - a, b, c +6 more",
        "sink jsonl: failing - 3 errors, 120 events dropped, last: No space left on device",
        "note: 1 thread abandoned",
    ]


def poisoned(snapshot_with: Maker, names: list[str]) -> RunSnapshot:
    return snapshot_with(
        name=names[1],
        throttled=names[2],
        stages=[StageSnapshot(name=name, executor=name) for name in names],
        slowest=[RunningTask(task_id=n, name=n, executor=n, running_s=1.0, label=n, message=n) for n in names],
        failures=[FailureGroup(type=n, message=n, reason=n, count=5, labels=[n]) for n in names],
        sinks=[SinkHealth(name=n, state="failing", last_error=n) for n in names],
    )


def shown(
    stream: io.StringIO, run: RunInfo, summary: RunSummary, clock: Any, *, as_json: bool, until: str
) -> list[str]:
    """Run a view until `until` is in its output, and return its lines."""
    view = PlainView(stream, {}, as_json=as_json, period_s=30.0, look_s=0.005, clock=clock)
    view.start(run)
    wait_for(lambda: until in stream.getvalue())
    view.stop(summary)
    assert view.error is None
    return stream.getvalue().split("\n")[:-1]


def test_lines_hold_no_control_character(
    snapshot_with: Maker, run_of: RunMaker, clock: Any, hostile: list[str]
) -> None:
    """Whatever things are called, a log holds newlines between lines and no other control (fault:E2)."""
    snapshot = poisoned(snapshot_with, hostile)
    summary = RunSummary(snapshot=snapshot, state="completed", notes=hostile, error=hostile[1])
    lines = shown(io.StringIO(), run_of(lambda: snapshot), summary, clock, as_json=False, until="throttled")
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F or c in "\u202e\u2066" for line in lines for c in line)
    assert any("[/x][bold]" in line for line in lines)
    assert lines[0] == "longshore run 01JC3KQ7 demo started 2026-01-02T03:04:05+00:00"
    assert max(map(len, lines)) < 2100
    "".join(lines).encode("utf-8")


def test_json_lines_are_json(snapshot_with: Maker, run_of: RunMaker, clock: Any, hostile: list[str]) -> None:
    """The same in JSON: one object a line with v, ts, type and run, ASCII, for strict readers too (fault:E2)."""
    snapshot = poisoned(snapshot_with, hostile)
    summary = RunSummary(snapshot=snapshot, state="completed", notes=hostile)
    lines = shown(io.StringIO(), run_of(lambda: snapshot), summary, clock, as_json=True, until='"throttle"')
    rows = [json.loads(line) for line in lines]
    for row in rows:
        json.dumps(row, ensure_ascii=False).encode("utf-8")
        assert list(row)[:4] == ["v", "ts", "type", "run"]
    assert {"run_started", "failure", "throttle", "progress", "run_summary", "sink", "note"} <= {
        r["type"] for r in rows
    }
    assert all(line.isascii() and "\x7f" not in line for line in lines)
    assert next(row for row in rows if row["type"] == "failure")["error"] == hostile[0]
    ending = next(row for row in rows if row["type"] == "run_summary")
    assert (ending["state"], ending["completed"], ending["total"]) == ("completed", 2318, 9016)


def test_a_snapshot_that_raises_is_passed_over(snapshot_with: Maker, run_of: RunMaker, clock: Any) -> None:
    """One look that fails costs that look; the view goes on."""
    looks: list[int] = []

    def snapshot() -> RunSnapshot:
        looks.append(1)
        if len(looks) == 1:
            raise RuntimeError("not now")
        return snapshot_with()

    summary = RunSummary(snapshot=snapshot_with(), state="completed")
    lines = shown(io.StringIO(), run_of(snapshot), summary, clock, as_json=False, until="throttled")
    assert len(looks) > 1
    assert "completed in 3m12s" in lines[-2]


class Gone(io.StringIO):
    """A stream whose reader goes away after the first line."""

    def write(self, text: str) -> int:
        if self.getvalue():
            raise BrokenPipeError("the reader is gone")
        return super().write(text)


@pytest.mark.slow
def test_a_stream_that_goes_away_is_raised_to_the_host(snapshot_with: Maker, run_of: RunMaker) -> None:
    """When nobody reads any more, the sink says so at the next batch, and its thread has ended."""
    sink = RichSink(RichSink.Settings(view="lines"), stream=Gone(), env={})
    sink.open(run_of(snapshot_with))
    wait_for(lambda: sink._view.error is not None)
    with pytest.raises(BrokenPipeError):
        sink.on_events([Event("task_completed")])


PIPED = """
from datetime import UTC, datetime
from longshore.records import Alert, FailureGroup, RunInfo, RunSnapshot, RunSummary
from longshore_rich import RichSink

now = datetime.now(UTC)
name = chr(27) + "[2J" + chr(0x9b) + chr(0xdce9) + chr(0x202e) + "[/x]" + chr(10)
failures = [FailureGroup(type=name, message=name, reason=name, count=1, labels=[name])]
snapshot = RunSnapshot(run_id="r", name=name, started=now, elapsed_s=1.0, total=1, failed=1, failures=failures)
sink = RichSink(RichSink.Settings())
sink.open(RunInfo(run_id="r", started=now, name=name, snapshot=lambda: snapshot, interactive=True))
sink.close(RunSummary(snapshot=snapshot, state="completed"))
print("data")
"""


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_piped_output_is_plain(encoding: str) -> None:
    """Into a pipe standard error has no byte below 0x20 but newlines and none in 0x7f-0x9f outside UTF-8 sequences, and
    standard output has the data alone (fault:E2)."""
    env = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": encoding}
    env.pop("FORCE_COLOR", None)
    done = subprocess.run([sys.executable, "-c", PIPED], env=env, capture_output=True, timeout=30, check=True)
    assert done.stdout == b"data\n"
    text = done.stderr.decode(encoding)
    assert "completed in 1.0s: 1 task, ok 0, FAILED 1" in text
    assert all(char == "\n" or 0x20 <= ord(char) < 0x7F or ord(char) > 0x9F for char in text)
    assert all(byte == 0x0A or 0x20 <= byte < 0x7F for byte in done.stderr)


def test_colour_in_a_log_is_colour_only(snapshot_with: Maker, run_of: RunMaker, clock: Any, hostile: list[str]) -> None:
    """Where FORCE_COLOR asks for it, lines have colour, and no other escape sequence; NO_COLOR goes first."""
    texts = []
    for env in ({"FORCE_COLOR": "1", "TERM": "xterm"}, {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm"}):
        stream = io.StringIO()
        view = PlainView(stream, env, as_json=False, period_s=30.0, look_s=60.0, clock=clock)
        view.start(run_of(snapshot_with))
        view.stop(RunSummary(snapshot=poisoned(snapshot_with, hostile), state="completed"))
        texts.append(stream.getvalue())
    coloured, plain = texts
    assert "\x1b[31m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    assert "\x1b" not in plain
