"""What the tests of the views share: snapshots made by hand, a terminal that is a string, a clock moved by hand."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyte
import pytest
from longshore.records import Alert, FailureGroup, RunInfo, RunningTask, RunSnapshot, StageSnapshot, Usage

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SnapshotMaker = Callable[..., RunSnapshot]


class Terminal(io.StringIO):
    """Says it is a terminal, and keeps what is written."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Emulator:
    """A terminal by somebody else (pyte), which is looked at after each frame; it is resized as real ones are."""

    FRAME_ENDS = "\x1b[?2026l"

    def __init__(self, width: int, height: int) -> None:
        self.screen = pyte.HistoryScreen(width, height, history=10_000)
        self.tops: list[int] = []
        """The row the cursor rests in after each frame: the first of the view's."""
        self.codes: list[str] = []
        self._stream = pyte.Stream(self.screen)
        self._rest = ""
        self._gone: list[str] = []

    def feed(self, text: str) -> None:
        """Take output, frame by frame."""
        *frames, self._rest = (self._rest + text).split(self.FRAME_ENDS)
        for frame in frames:
            self._take(frame + self.FRAME_ENDS)
            self.tops.append(self.screen.cursor.y)

    def end(self) -> None:
        """Take what came after the last frame."""
        self._take(self._rest)
        self._rest = ""

    def _take(self, text: str) -> None:
        self.codes += re.findall("\x1b\\]9;4;([^\x1b]*)\x1b\\\\", text)
        self._stream.feed(text)

    @property
    def rows(self) -> list[str]:
        return [row.rstrip() for row in self.screen.display]

    @property
    def scrolled(self) -> list[str]:
        """The rows that have left the screen at its top."""
        lines = self.screen.history.top  # each as wide as the screen was then
        rows = ["".join(line[x].data for x in range(max(line, default=-1) + 1)).rstrip() for line in lines]
        return self._gone + rows

    @property
    def heads(self) -> int:
        """How many first rows of views are to be seen, on the screen and above it."""
        return sum(row.startswith("longshore  ") for row in [*self.scrolled, *self.rows])

    def resize(self, width: int, height: int) -> None:
        """Wrap rows that have become too long, and stay at the cursor, as most terminals do."""
        screen, cursor = self.screen, self.screen.cursor
        rows = self.rows[: cursor.y]
        wrapped = [row[at : at + width] for row in rows for at in range(0, max(1, len(row)), width)]
        below = [row[at : at + width] for row in self.rows[cursor.y :] for at in range(0, max(1, len(row)), width)]
        first = max(0, len(wrapped) - (height - 1))
        self._gone = self.scrolled + wrapped[:first]
        screen.history.top.clear()
        screen.resize(height, width)
        screen.reset_mode(pyte.modes.DECAWM >> 5, private=True)
        for y, row in enumerate([*wrapped, *below][first : first + height]):
            screen.cursor_position(y + 1, 1)
            screen.erase_in_line(2)
            screen.draw(row)
        screen.set_mode(pyte.modes.DECAWM >> 5, private=True)
        screen.cursor_position(len(wrapped) - first + 1, 1)


class HandClock:
    """Monotonic seconds that pass only when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def emulator() -> Callable[[int, int], Emulator]:
    """Return a maker of terminals of a width and a height."""
    return Emulator


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


@pytest.fixture
def snapshot_with() -> SnapshotMaker:
    """Return a maker of snapshots of a run that is under way; keywords replace fields."""

    return lambda **fields: RunSnapshot(**{**_usual(), **fields})


def stage(name: str, **fields: Any) -> StageSnapshot:
    return StageSnapshot(name=name, executor="processes", **{"running": 2, "queued": 5, **fields})


@pytest.fixture
def stage_of() -> Callable[..., StageSnapshot]:
    return stage


@pytest.fixture
def alert_of() -> Callable[..., Alert]:
    """Return a maker of alerts by their name."""
    usual: dict[str, Any] = {"message": "it is full", "since": AT, "value": 612.0, "threshold": 600.0}
    return lambda name, **fields: Alert(name=name, **{**usual, **fields})


@pytest.fixture
def run_of() -> Callable[..., RunInfo]:
    """Return a maker of what a sink is opened with, from a function that gives snapshots."""

    def make(snapshot: Callable[[], RunSnapshot], view: str = "auto") -> RunInfo:
        return RunInfo(run_id="01JC3KQ7", started=AT, snapshot=snapshot, name="demo", view=view)

    return make


@pytest.fixture
def hostile() -> list[str]:
    """Return names that would act on a terminal or on markup, each once."""
    return [
        "[/x][bold]",
        "\x1b[2J\x1b]0;gone\x07",
        "two\nlines\rback",
        "\u202egnp.exe\u2066",
        "caf\udce9.txt",
        "\x9b31m\x7f\x85\x00",
        "\u2028\ufeff",
        "zero\u200bwidth\u00ad",
        ":smile: 岸 🚢",
        "x" * 5000,
    ]


def _usual() -> dict[str, Any]:
    return {
        "run_id": "01JC3KQ7",
        "name": "demo",
        "started": AT,
        "elapsed_s": 192.0,
        "total": 9016,
        "submitted": 2400,
        "completed": 2318,
        "failed": 23,
        "running": 38,
        "queued": 21,
        "retried": 9,
        "rate_per_s": 12.4,
        "eta_low_s": 480.0,
        "eta_high_s": 720.0,
        "stages": [stage("fetch", submitted=5500, completed=3355), stage("parse", submitted=2341, failed=23)],
        "slowest": [
            RunningTask(task_id="t1", name="parse", executor="processes", running_s=11.8, label="a.pdf", progress=0.4),
            RunningTask(task_id="t2", name="parse", executor="processes", running_s=9.1, label="b.pdf"),
        ],
        "failures": [FailureGroup(type="x.OCRError", message="tesseract init", reason=None, count=15, labels=["c"])],
        "throttled": "parse held at 6 of 8 workers - memory 13.1 of 14.0 GB",
        "usage": {
            "cpu": Usage(1.56, 2.0),
            "memory": Usage(13100.0, 14000.0),
            "disk_io.read": Usage(100.0),
            "disk_io.write": Usage(20.0),
            "network_io.sent": Usage(30.0),
        },
    }
