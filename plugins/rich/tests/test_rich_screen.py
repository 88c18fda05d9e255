"""What people see of the live view: its output, read by a terminal emulator of somebody else's."""

from __future__ import annotations

import io
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from longshore.records import Alert, RunInfo, RunningTask, RunSnapshot, RunSummary
from longshore_rich._live import LiveView

Maker = Callable[..., RunSnapshot]
RunMaker = Callable[..., RunInfo]
Emulator = Any  # the fixture's class: test modules cannot import a conftest
DEADLINE_S = 30.0


class Shown:
    """A live view whose output an emulator reads; drawn when told to, of the size the emulator has."""

    def __init__(self, emulator: Emulator, terminal: io.StringIO, snapshot: RunSnapshot, run_of: RunMaker) -> None:
        self.emulator = emulator
        self.snapshot = snapshot
        self.env = {"TERM": "xterm-256color"}
        self._terminal = terminal
        self._size()
        self.view = LiveView(terminal, self.env, refresh_hz=0.001)
        self.view.start(run_of(lambda: self.snapshot))
        self.take()

    def _size(self) -> None:
        screen = self.emulator.screen
        self.env |= {"COLUMNS": str(screen.columns), "LINES": str(screen.lines)}

    def take(self) -> None:
        text = self._terminal.getvalue().replace("\n", "\r\n")
        self._terminal.seek(0)
        self._terminal.truncate()
        self.emulator.feed(text)

    def draw(self, snapshot: RunSnapshot) -> None:
        self.snapshot = snapshot
        self.view.draw()
        self.take()

    def write(self, text: str) -> None:
        self.view._painter.above(text)
        self.take()

    def resize(self, width: int, height: int) -> None:
        self.emulator.resize(width, height)
        self._size()

    def close(self) -> None:
        self.view.stop(RunSummary(snapshot=self.snapshot, state="completed"))
        self.take()
        self.emulator.end()


@pytest.fixture
def show(
    emulator: Callable[[int, int], Emulator], terminal: io.StringIO, snapshot_with: Maker, run_of: RunMaker
) -> Callable[..., Shown]:
    """Return a maker of views on a terminal of a width and a height, below some rows of a shell."""

    def make(width: int, height: int, before: int = 2) -> Shown:
        screen = emulator(width, height)
        for number in range(before):
            screen.screen.draw(f"$ {number}")
            screen.screen.linefeed()
            screen.screen.carriage_return()
        return Shown(screen, terminal, snapshot_with(completed=0, failed=0, slowest=[], failures=[]), run_of)

    return make


@pytest.mark.parametrize(("width", "height", "rows"), [(80, 24, 9), (40, 10, 4), (20, 5, 1)])
@pytest.mark.parametrize("before", [0, 2, 100])
def test_the_view_stands_still(
    show: Callable[..., Shown], snapshot_with: Maker, width: int, height: int, rows: int, before: int
) -> None:
    """From the first frame to the last the view begins in the same row and nothing scrolls, wherever it began: at the
    top of the screen or at its foot; it has as many rows as its size says, and never all of the screen."""
    shown = show(width, height, before)
    screen = shown.emulator
    scrolled = len(screen.scrolled)
    for done in range(0, 2300, 100):
        slowest = [RunningTask(task_id=f"t{n}", name="p", executor="e", running_s=n) for n in range(done % 7)]
        throttled = "memory" if done % 3 else None
        shown.draw(snapshot_with(completed=done, slowest=slowest, throttled=throttled, failed=done % 5))
        assert screen.heads == (width > 20)
        assert not any(screen.rows[screen.tops[-1] + rows :])
    assert set(screen.tops) == {min(before, height - rows)}
    assert len(screen.scrolled) == scrolled
    shown.close()


def test_the_frame_on_a_usual_terminal(show: Callable[..., Shown], snapshot_with: Maker) -> None:
    """On 80 x 24 all sections are there, in their order, below what was there before."""
    shown = show(80, 24)
    shown.draw(snapshot_with())
    assert [row[:33] for row in shown.emulator.rows[:12]] == [
        "$ 0",
        "$ 1",
        "longshore  3m12s  2,341/9,016 25%",
        "fetch  ████░░░░   61%  3,355/5,50",
        "parse  ░░░░░░░░    0%  23/2,341  ",
        "throttled: parse held at 6 of 8 w",
        "cpu 78% ████░░ | memory 13.1GB/14",
        "slowest now: a.pdf parse 12s 40%",
        "             b.pdf parse 9.1s +36",
        "failures: 15x OCRError tesseract ",
        "",
        "",
    ]
    shown.close()


def test_the_summary_remains_and_the_view_is_gone(show: Callable[..., Shown], snapshot_with: Maker) -> None:
    """At the end there is what was printed, then the summary, and not one row of the view; the cursor is below it."""
    shown = show(80, 24, before=100)
    shown.write("printed\n")
    shown.draw(snapshot_with())
    shown.close()
    rows = [row for row in [*shown.emulator.scrolled, *shown.emulator.rows] if row]
    assert rows[:101] == [*(f"$ {number}" for number in range(100)), "printed"]
    assert rows[101].startswith("longshore run 01JC3KQ7 completed in 3m12s: 2,341 tasks in 2 stages, ok 2,318")
    assert rows[-1] == "  15x OCRError: tesseract init - c +14 more"
    assert shown.emulator.heads == 0
    assert not shown.emulator.screen.cursor.hidden
    assert shown.emulator.rows[shown.emulator.screen.cursor.y] == ""


def test_alerts_stand_above_once(
    show: Callable[..., Shown], snapshot_with: Maker, alert_of: Callable[..., Alert]
) -> None:
    """However many frames an alert stands for, it is one line above the rows, and another when it is over."""
    shown = show(80, 24, before=0)
    for alerts in ([], [alert_of("stalled")], [alert_of("stalled")], [], []):
        shown.draw(snapshot_with(alerts=alerts))
    assert shown.emulator.rows[:2] == ["alert: it is full", "alert over: it is full"]
    assert shown.emulator.rows[2].startswith("longshore  3m12s")
    shown.close()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (40, 10), (20, 5)])
def test_what_others_print_stands_above_unharmed(
    show: Callable[..., Shown], snapshot_with: Maker, size: tuple[int, int]
) -> None:
    """Each line others print is there once and in order, with its colour, longer ones than the terminal is wide too."""
    shown = show(*size, before=0)
    lines = [f"line {number} " + "x" * (number % 3) * size[0] for number in range(40)]
    for number, line in enumerate(lines):
        shown.write(f"\x1b[32m{line}\x1b[0m\n")
        shown.draw(snapshot_with(completed=number))
    rows = [*shown.emulator.scrolled, *shown.emulator.rows[: shown.emulator.tops[-1]]]
    assert "".join(rows).replace(" ", "") == "".join(lines).replace(" ", "")
    assert shown.emulator.screen.buffer[0][0].fg == "green"
    shown.close()


@pytest.mark.parametrize("steps", [[(40, 10)], [(20, 5), (80, 24)], [(200, 60)], [(79, 24), (78, 24)], [(80, 3)]])
@pytest.mark.parametrize("before", [0, 5, 100])
def test_a_resize_leaves_nothing_behind(
    show: Callable[..., Shown], snapshot_with: Maker, steps: list[tuple[int, int]], before: int
) -> None:
    """After a resize, also where the terminal wraps rows anew, one view is to be seen, of the new size, and no
    remainder of the old one, neither on the screen nor scrolled away."""
    shown = show(80, 24, before)
    shown.draw(snapshot_with())
    for width, height in steps:
        shown.resize(width, height)
        shown.draw(snapshot_with())
        screen = shown.emulator
        above = [*screen.scrolled, *screen.rows[: screen.tops[-1]]]
        assert all(row.startswith("$ ") or row == "" for row in above)
        assert screen.rows[screen.tops[-1]]
        assert len(screen.rows) - screen.tops[-1] >= 1
    shown.close()
    assert shown.emulator.heads == 0


def test_wide_and_odd_characters_keep_to_their_row(show: Callable[..., Shown], snapshot_with: Maker) -> None:
    """Names of double width, without width or with combining marks move no row, even where terminals disagree."""
    names = ["岸壁" * 30, "🚢" * 60, "👨‍👩‍👧" * 20, "e\u0301" * 60, "a\u200bb" * 30, "\u202etxt.exe", "x\ufe0f" * 60]
    shown = show(80, 24)
    for name in names:
        task = RunningTask(task_id=name, name=name, executor="e", running_s=1.0, label=name, message=name)
        shown.draw(snapshot_with(name=name, throttled=name, slowest=[task] * 4))
        assert shown.emulator.heads == 1
        assert shown.emulator.rows[5].startswith("throttled: ")
        assert shown.emulator.rows[10].startswith("failures: ")
        assert not any(shown.emulator.rows[11:])
    assert set(shown.emulator.tops) == {2}
    shown.close()


def test_a_print_after_a_resize_draws_no_rows_of_the_old_size(show: Callable[..., Shown], snapshot_with: Maker) -> None:
    """What is printed between a resize and the next frame pushes no row of the view off the screen."""
    shown = show(80, 24, before=100)
    shown.draw(snapshot_with())
    shown.resize(40, 5)
    shown.write("printed\n")
    assert shown.emulator.heads == 0
    shown.draw(snapshot_with())
    assert shown.emulator.rows[shown.emulator.tops[-1] - 1] == "printed"
    assert not any("slowest" in row for row in [*shown.emulator.scrolled, *shown.emulator.rows])
    shown.close()


def test_what_others_write_past_us_is_not_overwritten(show: Callable[..., Shown], snapshot_with: Maker) -> None:
    """A line that a program writes to the terminal by itself stays, and the view goes on below it."""
    shown = show(80, 24)
    shown.emulator.feed("from a subprocess\r\n" + shown.emulator.FRAME_ENDS)
    shown.draw(snapshot_with())
    assert shown.emulator.rows[2].startswith("from a subprocess")
    assert shown.emulator.rows[3].startswith("longshore  ")
    shown.close()
    assert shown.emulator.heads == 0


# ---- a real run on a real pseudo-terminal

JOB = """
import os, time
def work(path):
    time.sleep(0.06)
    number = int(os.path.basename(path))
    if number % 10 == 5:
        raise ValueError("no \\x1b[2J five")
    if number % 10 == 0:
        print("printed by", number)
def block(path):
    time.sleep(60)
"""


class Terminal:
    """A pseudo-terminal with `longshore run` on it; the emulator reads along."""

    def __init__(self, emulator: Emulator, arguments: list[str], folder: Path) -> None:
        import pty

        self.emulator = emulator
        self._ours, theirs = pty.openpty()
        self._size()
        kept = {
            k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR", "COLUMNS", "LINES", "TMUX", "LC_ALL")
        }
        env = kept | {"TERM": "xterm-256color", "WT_SESSION": "x", "XDG_CONFIG_HOME": str(folder / "config")}
        command = [sys.executable, "-m", "longshore", "run", *arguments]
        self.process = subprocess.Popen(command, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self._bytes = bytearray()

    def _size(self) -> None:
        import termios

        termios.tcsetwinsize(self._ours, (self.emulator.screen.lines, self.emulator.screen.columns))

    def resize(self, width: int, height: int) -> None:
        self.emulator.resize(width, height)
        self._size()

    def read(self, until: Callable[[], bool]) -> None:
        """Read until the condition holds, or all has been read."""
        deadline = time.monotonic() + DEADLINE_S
        while not until():
            assert time.monotonic() < deadline, "\n".join(self.emulator.rows)
            if not select.select([self._ours], [], [], 0.1)[0]:
                continue
            try:
                self._bytes += os.read(self._ours, 65536)
            except OSError:  # the other end is closed
                break
            text = self._bytes.decode("utf-8", "ignore")  # half a character at the end comes again
            self.emulator.feed(text)
            del self._bytes[: len(text.encode("utf-8"))]

    def finish(self) -> int:
        self.read(lambda: False)
        self.emulator.end()
        return self.process.wait(timeout=DEADLINE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)


@pytest.fixture
def run_on(tmp_path: Path, emulator: Callable[[int, int], Emulator]) -> Iterator[Callable[[int, int], Terminal]]:
    """Return a maker of runs over sixty inputs on a terminal of a width and a height."""
    if sys.platform == "win32":
        pytest.skip("needs a pty")
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "in").mkdir()
    for number in range(60):
        (tmp_path / "in" / f"{number:02}").touch()
    running: list[Terminal] = []

    def make(width: int, height: int, function: str = "work", executor: str = "processes") -> Terminal:
        arguments = [f"job:{function}", "in", "--executor", executor, "--workers", "3"]
        arguments += ["--set", "sinks.rich.refresh_hz=30"]
        running.append(Terminal(emulator(width, height), arguments, tmp_path))
        return running[-1]

    yield make
    for terminal in running:
        terminal.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "sizes", [[(80, 24), (40, 10)], pytest.param([(40, 10), (120, 30), (20, 14)], marks=pytest.mark.long)]
)
def test_a_real_run_is_shown(run_on: Callable[[int, int], Terminal], sizes: list[tuple[int, int]]) -> None:
    """`longshore run` on a terminal that is resized meanwhile: after every frame one view is to be seen; at the end
    what tasks printed and every result, each once, and the summary; the taskbar is told, and cleared."""
    terminal = run_on(*sizes[0])
    screen = terminal.emulator
    terminal.read(lambda: any("4/60" in row for row in screen.rows))
    for size in sizes[1:]:
        assert screen.heads == 1
        terminal.resize(*size)
        frames = len(screen.tops)
        terminal.read(lambda frames=frames: len(screen.tops) > frames + 3)  # type: ignore[misc]  # bound by its default
        assert sum(" " in row and "/60 " in row for row in [*screen.scrolled, *screen.rows]) <= 2  # head and stage
    assert terminal.finish() == 1
    rows = [*screen.scrolled, *screen.rows]
    assert screen.heads == 0
    assert [row for row in rows if row.startswith("printed by")] == [f"printed by {n}" for n in range(0, 60, 10)]
    text = "".join(rows).replace(" ", "")  # rows are cut where the terminal is narrow
    assert "60tasks,ok54,FAILED6," in text
    assert "60inputs" in text
    assert text.count('{"input":"in/') == 60
    assert text.count('"status":"completed"') == 54
    assert not any("slowest now" in row or "░" in row for row in rows)
    assert screen.codes[0].startswith("1;")
    assert any(code.startswith("2;") for code in screen.codes)
    assert screen.codes[-1] == "0;0"
    assert not screen.screen.cursor.hidden


@pytest.mark.slow
def test_a_run_that_is_left_gives_the_cursor_back(run_on: Callable[..., Terminal]) -> None:
    """Also where the loop is blocked and the third Ctrl-C ends the process, the cursor is not left hidden."""
    terminal = run_on(80, 24, "block", "inline")
    screen = terminal.emulator
    terminal.read(lambda: screen.heads == 1 and screen.screen.cursor.hidden)
    deadline = time.monotonic() + DEADLINE_S
    while terminal.process.poll() is None:
        assert time.monotonic() < deadline
        terminal.process.send_signal(signal.SIGINT)
        frames = len(screen.tops)
        terminal.read(lambda frames=frames: len(screen.tops) > frames)  # type: ignore[misc]  # bound by its default
    assert terminal.finish() == 130
    assert not screen.screen.cursor.hidden
