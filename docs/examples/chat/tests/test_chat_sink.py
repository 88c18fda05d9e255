"""What the room is told, and what it is never told."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from example_chat import ChatSink
from longshore import Settings, WorkerPool
from longshore.events import AnyEvent, Event
from longshore.hookspecs import Sink
from longshore.records import RunInfo, RunSnapshot, RunSummary
from longshore.testing import FakeClock, SinkConformance


def snapshot(failed: int = 0) -> RunSnapshot:
    now, done = datetime.now(UTC), 9 - failed
    return RunSnapshot(run_id="r1", name="papers", started=now, elapsed_s=1.0, completed=done, failed=failed)


def run_info() -> RunInfo:
    return RunInfo(run_id="r1", name="papers", started=datetime.now(UTC), snapshot=snapshot)


def failures(count: int, error: str = "no good") -> Sequence[AnyEvent]:
    data = {"name": "ocr", "error": "ValueError"}
    return [Event("task_failed", {**data, "message": f"{error} {number}"}, number) for number in range(count)]


def opened(**settings: Any) -> tuple[ChatSink, FakeClock, list[float]]:
    clock, slept = FakeClock(), list[float]()
    sink = ChatSink(ChatSink.Settings(**settings), clock=clock.monotonic, sleep=slept.append)
    sink.open(run_info())
    return sink, clock, slept


class TestChatSink(SinkConformance):
    """It keeps what every sink keeps."""

    @pytest.fixture
    def make_sink(self, room: Any) -> Callable[[], Sink]:
        return lambda: ChatSink(ChatSink.Settings(every_s=0))


def test_failures_are_told_together(room: Any) -> None:
    """Seven failures within the half minute are one message, of which some are named and the rest is counted."""
    sink, clock, _ = opened(every_s=30, failures_most=2)
    sink.on_events(failures(7))
    assert room.texts == ["papers begins (run r1)"]
    clock.advance(31)
    sink.on_events(failures(1))
    assert room.texts[1:] == [
        "papers: 8 failed\nocr: ValueError: no good 6\nocr: ValueError: no good 0\n... and 6 more"
    ]
    sink.close(RunSummary(snapshot=snapshot(8), state="completed"))
    assert room.texts[2:] == ["papers completed: 1 completed, 8 failed"]


def test_a_busy_room_is_asked_again(room: Any) -> None:
    """429 and 5xx are tried again, after what the room asks for; what it refuses for good is not."""
    room.answers = [(429, {"Retry-After": "3"}), (503, {}), (200, {}), (404, {})]
    sink, _, slept = opened()
    assert slept == [3.0, 2.0]
    sink.close(RunSummary(snapshot=snapshot(), state="completed"))
    assert len(room.texts) == 4


def test_no_secret_is_logged(room: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is lost is a line in the log, without the URL and the token, and no error."""
    monkeypatch.setenv("ROOM_TOKEN", "t0k3n")
    room.answers = [(302, {"Location": room.url}), (500, {}), (500, {}), (500, {})]
    with caplog.at_level(logging.DEBUG):
        sink, _, _ = opened(token_variable="ROOM_TOKEN", every_s=0)
        sink.on_events(failures(1))
    assert set(room.tokens) == {"Bearer t0k3n"}
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "answered 302" in caplog.text
    assert "answered 500, after 3 attempts" in caplog.text
    assert "s3cr3t" not in caplog.text
    assert "t0k3n" not in caplog.text


def test_names_mention_nobody(room: Any) -> None:
    """What files are called and exceptions say is text, on one line, and bounded."""
    sink, _, _ = opened(every_s=0)
    sink.on_events(failures(1, "<!channel> @here\n" + "x" * 9999))
    assert "<!channel>" not in room.texts[-1]
    assert "@here" not in room.texts[-1]
    assert len(room.texts[-1]) < 500


def test_without_a_url_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable."""
    monkeypatch.delenv("CHAT_URL", raising=False)
    with pytest.raises(ValueError, match="set CHAT_URL"):
        ChatSink().open(run_info())


def _bad(number: int) -> int:
    raise ValueError(f"page {number} is torn")


@pytest.mark.anyio
async def test_in_a_pool(room: Any) -> None:
    """A run with failures ends as it would without it, and the room has heard of them."""
    pool = WorkerPool(settings=Settings(probes=()), sinks=[ChatSink()])
    async with pool:
        ended = [outcome async for outcome in pool.options(executor="threads").outcomes(_bad, range(3))]
    assert [outcome.ok for outcome in ended] == [False] * 3
    assert any("page 2 is torn" in text for text in room.texts)
    assert room.texts[-1].endswith("0 completed, 3 failed")


def test_from_the_command(room: Any, tmp_path: Path) -> None:
    """As the README says: the URL is in the environment, and the command runs and tells the room."""
    (tmp_path / "work.py").write_text("def double(path):\n    return path * 2\n")
    (tmp_path / "paper.txt").write_text("a page")
    command = ["run", "work:double", "paper.txt", "--executor", "threads", "--sink", "chat", "-o", "out.jsonl"]
    done = subprocess.run([sys.executable, "-m", "longshore", *command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert room.texts[-1].endswith("1 completed, 0 failed")
