"""The live view: drawn from snapshots on a thread of its own, on a string that says it is a terminal, and on a pty."""

from __future__ import annotations

import io
import logging
import os
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from longshore.events import Event
from longshore.records import RunInfo, RunSnapshot, RunSummary, StageSnapshot
from longshore_rich import RichSink
from longshore_rich._above import Above, Others
from longshore_rich._live import LiveView
from longshore_rich._ticker import Ticker

Maker = Callable[..., RunSnapshot]
RunMaker = Callable[..., RunInfo]
DEADLINE_S = 10.0
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)


ENV = {"TERM": "xterm-256color"}


class Looks:
    """Gives scripted snapshots and counts how often it was asked."""

    def __init__(self, make: Maker, fail_at: int | None = None) -> None:
        self.count = 0
        self._make = make
        self._fail_at = fail_at

    def __call__(self) -> RunSnapshot:
        self.count += 1
        if self.count == self._fail_at:
            raise RuntimeError("not now")
        return self._make(completed=self.count)


def test_frames_come_by_time_not_by_event(terminal: io.StringIO, snapshot_with: Maker, run_of: RunMaker) -> None:
    """Ten thousand batches draw nothing; the clock does, and `close` ends the thread, shows the cursor, sums up."""
    looks = Looks(snapshot_with)
    sink = RichSink(RichSink.Settings(refresh_hz=0.01), stream=terminal, env={"TERM": "xterm"})
    sink.open(run_of(looks))
    for seq in range(10_000):
        sink.on_events([Event("task_completed", {}, seq)])
    assert looks.count == 1
    sink.close(RunSummary(snapshot=snapshot_with(), state="completed"))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("longshore-rich")]
    text = terminal.getvalue()
    assert text.rindex(SHOW) > text.rindex(HIDE)
    assert "completed in 3m12s: 2,341 tasks" in text.rsplit(SHOW, 1)[1]


def test_it_goes_on_drawing_after_a_failed_look(terminal: io.StringIO, snapshot_with: Maker, run_of: RunMaker) -> None:
    """A snapshot that raises once costs one frame."""
    looks = Looks(snapshot_with, fail_at=2)
    view = LiveView(terminal, ENV, refresh_hz=200)
    view.start(run_of(looks))
    wait_for(lambda: looks.count >= 5)
    view.stop(RunSummary(snapshot=snapshot_with(), state="completed"))
    assert view.error is None
    assert "ok 4" in terminal.getvalue()


def test_many_stages_are_drawn_half_as_often(terminal: io.StringIO, snapshot_with: Maker, run_of: RunMaker) -> None:
    """More than 24 stages halve the frames."""
    stages = [StageSnapshot(name=f"s{n}", executor="e") for n in range(25)]
    view = LiveView(terminal, ENV, refresh_hz=4)
    view.start(run_of(lambda: snapshot_with(stages=stages)))
    assert view._ticker.period_s == 0.5
    view.stop(RunSummary(snapshot=snapshot_with(), state="completed"))


def test_hostile_names_never_reach_the_terminal_raw(
    terminal: io.StringIO, snapshot_with: Maker, run_of: RunMaker, hostile: list[str]
) -> None:
    """No name can clear the screen, set the title or break markup, in frames and in the summary (fault:E2)."""
    snapshot = snapshot_with(name="".join(hostile[:7]), throttled="".join(hostile[:7]))
    view = LiveView(terminal, {**ENV, "COLUMNS": "400"}, refresh_hz=0.01)
    view.start(run_of(lambda: snapshot))
    view.stop(RunSummary(snapshot=snapshot, state="completed", notes=hostile))
    text = terminal.getvalue()
    for bad in ("\x1b[2J", "\x1b]", "\x07", "\x9b", "\x7f", "\x85", "\x00", "\u202e", "\u200b", "\udce9"):
        assert bad not in text
    assert "[/x][bold]" in text
    assert "\\x1b[2J" in text


class Led:
    """Standard error and three loggers, led above a view for a while."""

    def __init__(self, terminal: io.StringIO) -> None:
        self.put = io.StringIO()
        self.others = Others(terminal, lambda text: (self.put.write(text), None)[1])
        self.others.take()


@pytest.fixture
def loggers() -> Iterator[Callable[[io.StringIO], logging.Logger]]:
    """Return a maker of loggers, of which each writes to one stream."""
    made: list[tuple[logging.Logger, logging.Handler]] = []

    def make(stream: io.StringIO) -> logging.Logger:
        logger = logging.getLogger(f"above.{len(made)}") if made else logging.getLogger()
        made.append((logger, logging.StreamHandler(stream)))
        logger.addHandler(made[-1][1])
        return logger

    yield make
    for logger, handler in made:
        logger.removeHandler(handler)


def test_what_others_write_is_led_above_and_back(
    terminal: io.StringIO, loggers: Callable[[io.StringIO], logging.Logger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prints and the records of any logger that go to our terminal are led above; other streams stay as they are, and
    at the end all is as it was."""
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", file)
    root, ours, other = loggers(terminal), loggers(terminal), loggers(file)
    led = Led(terminal)
    print("printed", file=sys.stderr)
    print("data")
    ours.warning("logged")
    other.propagate = False
    other.warning("elsewhere")
    other.propagate = True
    assert led.put.getvalue() == "printed\nlogged\nlogged\n"
    led.others.give_back()
    root.warning("after")
    assert sys.stderr is terminal
    assert terminal.getvalue() == "after\n"
    assert file.getvalue() == "data\nelsewhere\n"


def test_an_unfinished_line_waits_for_its_end(terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a line go above together; of what a return overwrites the last is kept; a rest comes at the end."""
    monkeypatch.setattr(sys, "stderr", terminal)
    led = Led(terminal)
    kept = sys.stderr
    for part in ("one ", "and", " two\nth", "ree\n", "10%\r", "20%\r", "30%\r\n", "rest"):
        kept.write(part)
    kept.writelines([" of", " it"])
    assert led.put.getvalue() == "one and two\nthree\n20%\r30%\r\n"
    assert kept.encoding == "utf-8"
    led.others.give_back()
    kept.write("!\n")
    assert terminal.getvalue() == "rest of it!\n"


def test_a_line_without_an_end_is_not_kept_for_ever(terminal: io.StringIO) -> None:
    """What has no newline in it takes no more than so much memory."""
    put: list[str] = []
    above = Above(terminal, put.append)
    for _ in range(100):
        above.write("x" * 1000)
    assert [len(text) for text in put] == [66_001]


def test_a_forked_child_writes_by_itself(terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process forked meanwhile the stream is the stream: two processes don't draw the same view."""
    put: list[str] = []
    above = Above(terminal, put.append)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    above.write("from the child")
    assert (put, terminal.getvalue()) == ([], "from the child")


def test_a_stream_replaced_meanwhile_stays(terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever redirects standard error while the view stands keeps what they redirected it to."""
    monkeypatch.setattr(sys, "stderr", terminal)
    led, theirs = Led(terminal), io.StringIO()
    monkeypatch.setattr(sys, "stderr", theirs)
    led.others.give_back()
    assert sys.stderr is theirs


@pytest.mark.parametrize("theirs", ["ours", "rich"])
def test_a_second_view_on_one_terminal_tells_in_lines(
    terminal: Any, snapshot_with: Maker, run_of: RunMaker, theirs: str
) -> None:
    """Where another live view is drawn already, ours does not draw into it."""
    stream = Above(terminal, terminal.write) if theirs == "ours" else terminal
    terminal.rich_proxied_file = terminal
    env = {"TERM": "xterm", "NO_COLOR": "1", "TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1"}
    sink = RichSink(RichSink.Settings(), stream=stream, env=env)  # type: ignore[arg-type]  # stands in for a stream
    sink.open(run_of(snapshot_with))
    sink.close(RunSummary(snapshot=snapshot_with(), state="completed"))
    assert "\x1b" not in terminal.getvalue()


def test_a_frame_that_fails_ends_the_drawing_and_not_the_run(
    terminal: io.StringIO, snapshot_with: Maker, run_of: RunMaker
) -> None:
    """What goes wrong in drawing is told to the host at the next batch; the end still tidies up and sums up."""
    sink = RichSink(RichSink.Settings(refresh_hz=30), stream=terminal, env=ENV)
    looks = iter([snapshot_with()])
    sink.open(run_of(lambda: next(looks, None) or snapshot_with(stages=None)))
    wait_for(lambda: sink._view.error is not None)
    with pytest.raises(TypeError):
        sink.on_events([Event("task_completed", {}, 1)])
    sink.close(RunSummary(snapshot=snapshot_with(), state="completed"))
    assert "completed in 3m12s" in terminal.getvalue().rsplit(SHOW, 1)[1]


def test_the_taskbar_is_told_of_pauses_and_failures_and_cleared(
    terminal: io.StringIO, snapshot_with: Maker, run_of: RunMaker
) -> None:
    """Progress goes to the taskbar when it changes: how far, failures, a pause, no total; at the end it is cleared."""
    now = [snapshot_with(completed=10, failed=0, total=100)]
    view = LiveView(terminal, {**ENV, "WT_SESSION": "x"}, refresh_hz=0.001)
    view.start(run_of(lambda: now[0]))
    for fields in ({}, {"total": None}, {"failed": 5}, {"throttled": "paused"}):
        now[0] = snapshot_with(**{"completed": 10, "failed": 0, "total": 100, **fields})
        view.draw()
    view.stop(RunSummary(snapshot=now[0], state="completed"))
    codes = re.findall("\x1b]9;4;([^\x1b]*)\x1b", terminal.getvalue())
    assert codes == ["1;10", "3;0", "2;15", "4;10", "0;0"]


def test_the_taskbar_can_be_left_alone(terminal: io.StringIO, snapshot_with: Maker, run_of: RunMaker) -> None:
    """With the setting `taskbar` off, a terminal that would take it is not told."""
    settings = RichSink.Settings(taskbar=False)
    sink = RichSink(settings, stream=terminal, env={**ENV, "WT_SESSION": "x"})
    sink.open(run_of(snapshot_with))
    sink.close(RunSummary(snapshot=snapshot_with(), state="completed"))
    assert "\x1b]" not in terminal.getvalue()


def test_a_console_without_escape_sequences_gets_lines(
    terminal: io.StringIO, snapshot_with: Maker, run_of: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old Windows console is a terminal that nothing can be drawn on."""
    monkeypatch.setattr("longshore_rich._sink.detect_legacy_windows", lambda: True)
    sink = RichSink(RichSink.Settings(), stream=terminal, env={**ENV, "NO_COLOR": "1"})
    sink.open(run_of(snapshot_with))
    sink.close(RunSummary(snapshot=snapshot_with(), state="completed"))
    assert "\x1b" not in terminal.getvalue()


def test_none_shows_nothing(terminal: io.StringIO, snapshot_with: Maker, run_of: RunMaker) -> None:
    """With the view none not a byte is written."""
    sink = RichSink(RichSink.Settings(), stream=terminal, env={"TERM": "xterm"})
    sink.open(run_of(snapshot_with, view="none"))
    sink.close(RunSummary(snapshot=snapshot_with(), state="completed"))
    assert terminal.getvalue() == ""


def test_a_terminal_that_takes_nothing_does_not_hang_the_end() -> None:
    """A drawing that blocks for ever is given up after a time, by an exception the host records."""
    blocked = threading.Event()
    reached = threading.Event()

    def draw() -> None:
        reached.set()
        blocked.wait(DEADLINE_S)

    ticker = Ticker(draw, period_s=0.001, name="stuck")
    ticker.start()
    assert reached.wait(DEADLINE_S)
    with pytest.raises(TimeoutError, match="no output"):
        ticker.stop(patience_s=0.05)
    blocked.set()


ON_A_PTY = """
import sys, threading, logging
from datetime import UTC, datetime
from longshore.records import RunInfo, RunSnapshot, RunSummary, StageSnapshot
from longshore_rich import RichSink

logging.basicConfig()
now = datetime.now(UTC)
looks, enough = [], threading.Event()

def snapshot():
    looks.append(1)
    if len(looks) == 4:
        enough.set()
    stage = StageSnapshot(name="parse", executor="threads", submitted=100, completed=20 + len(looks))
    counts = dict(total=100, completed=20 + len(looks), stages=[stage])
    return RunSnapshot(run_id="01JC3K", name="demo", started=now, elapsed_s=1.0, **counts)

sink = RichSink(RichSink.Settings(refresh_hz=30))
sink.open(RunInfo(run_id="01JC3K", started=now, name="demo", snapshot=snapshot, interactive=True))
print("data")
print("printed above", file=sys.stderr)
logging.warning("logged above")
assert enough.wait(10)
sink.close(RunSummary(snapshot=snapshot(), state="completed"))
"""


@pytest.fixture
def on_a_pty() -> tuple[str, str]:
    """Run a view with standard error on a terminal of 24 x 80 and standard output on a pipe; give what each got."""
    pty = pytest.importorskip("pty")
    termios = pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    env = {key: value for key, value in os.environ.items() if key not in ("CI", "NO_COLOR", "COLUMNS", "LINES")}
    env |= {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen([sys.executable, "-c", ON_A_PTY], env=env, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    got = bytearray()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and select.select([ours], [], [], 30)[0]:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        got += chunk
    os.close(ours)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 0, got.decode()
    return out.decode(), got.decode()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pty")
def test_on_a_real_terminal_it_draws_and_tidies_up(on_a_pty: tuple[str, str]) -> None:
    """On a pty frames are redrawn in place, prints and log records stand above them, the cursor is back at the end,
    the summary remains, and standard output got its data and nothing else."""
    out, screen = on_a_pty
    assert out == "data\n"
    assert screen.count("22/100 22%") >= 1
    assert screen.count("\x1b[8A") >= 3
    assert "█" in screen
    assert "\x1b[1m" in screen
    assert screen.count("printed above") == 1
    assert screen.count("logged above") == 1
    assert screen.index(HIDE) < screen.rindex(SHOW)
    assert HIDE not in screen[screen.rindex(SHOW) :]
    assert "longshore run 01JC3K completed in 1.0s" in screen[screen.rindex(SHOW) :]
