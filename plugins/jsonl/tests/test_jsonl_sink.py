"""The file a run leaves behind."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from longshore.events import AnyEvent, Event, TaskCompleted, TaskFailed
from longshore.records import FailureGroup, RunInfo, RunSnapshot, RunSummary, SinkHealth, StageSnapshot
from longshore_jsonl import JsonlSink

Settings = JsonlSink.Settings
AT = datetime(2026, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)
SNAPSHOT = RunSnapshot(
    run_id="r1",
    name="docs",
    started=AT,
    elapsed_s=2.5,
    completed=2,
    failed=1,
    stages=[StageSnapshot(name="parse", executor="threads", completed=2)],
    failures=[FailureGroup(type="ValueError", message="no\nno", reason=None, count=1, labels=["a.pdf"])],
    sinks=[SinkHealth(name="slow", state="slow", dropped=3)],
)
INFO = RunInfo(run_id="r1", started=AT, snapshot=lambda: SNAPSHOT)
SUMMARY = RunSummary(snapshot=SNAPSHOT, state="completed", notes=["a thread was abandoned"])


def completed(seq: int, name: str = "parse") -> AnyEvent:
    return TaskCompleted(seq, AT, f"t{seq}", name, "threads", 2, 1, 0.5, 1.5, "w1", "a.pdf")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def opened(path: Path, **settings: Any) -> JsonlSink:
    sink = JsonlSink(Settings(path=str(path), **settings))
    sink.open(INFO)
    return sink


def test_a_line_is_an_envelope_and_flat_data(path: Path) -> None:
    """Each line has v, seq, ts, type and run first, then what the event says; ts is epoch seconds."""
    sink = opened(path)
    sink.on_events([completed(7), TaskFailed(8, AT, "t8", "parse", "threads", 2, error="ValueError", message="x")])
    sink.close(SUMMARY)
    first, second, _ = rows(path)
    assert list(first)[:5] == ["v", "seq", "ts", "type", "run"]
    assert first == {
        "v": 1,
        "seq": 7,
        "ts": AT.timestamp(),
        "type": "task_completed",
        "run": "r1",
        "task_id": "t7",
        "name": "parse",
        "executor": "threads",
        "priority": 2,
        "attempt": 1,
        "wait_s": 0.5,
        "duration_s": 1.5,
        "worker_id": "w1",
        "key": "a.pdf",
        "state": "completed",
    }
    assert (second["type"], second["error"], second["state"]) == ("task_failed", "ValueError", "failed")


def test_data_cannot_forge_the_envelope(path: Path) -> None:
    """An open event whose data name a field of the envelope does not overwrite it (fault:E2)."""
    sink = opened(path)
    sink.on_events([Event("mine", {"type": "task_completed", "seq": 0, "run": "other", "x": 1}, 3, AT)])
    sink.close(SUMMARY)
    row = rows(path)[0]
    assert (row["type"], row["seq"], row["run"], row["x"]) == ("mine", 3, "r1", 1)
    assert (row["data_type"], row["data_seq"], row["data_run"]) == ("task_completed", 0, "other")


def test_the_last_line_sums_up(path: Path) -> None:
    """`close` writes the counts, the failure groups, the sinks' health and the notes as one last line."""
    sink = opened(path)
    sink.on_events([completed(41)])
    sink.close(SUMMARY)
    last = rows(path)[-1]
    assert (last["type"], last["seq"], last["state"], last["run"]) == ("run_summary", 42, "completed", "r1")
    assert (last["completed"], last["failed"], last["elapsed_s"]) == (2, 1, 2.5)
    assert last["failures"][0]["message"] == "no\nno"
    assert last["sinks"][0]["dropped"] == 3
    assert last["notes"] == ["a thread was abandoned"]


def test_a_batch_is_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand events leave in one system call, and are in the file when on_events returns."""
    sink = opened(path)
    sizes: list[int] = []
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    sink.on_events([completed(n) for n in range(1000)])
    assert sizes == [path.stat().st_size]
    sink.close(SUMMARY)
    assert [row["seq"] for row in rows(path)] == [*range(1000), 1000]


def test_the_file_is_private_and_appended_to(path: Path) -> None:
    """The file is its user's alone, and a second run leaves the first one's lines in place."""
    for _ in range(2):
        sink = opened(path)
        sink.on_events([completed(1)])
        sink.close(SUMMARY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [row["type"] for row in rows(path)] == ["task_completed", "run_summary"] * 2


def test_append_false_begins_anew(path: Path) -> None:
    """With `append = false` only this run is in the file."""
    path.write_text("old\n")
    opened(path, append=False).close(SUMMARY)
    assert [row["type"] for row in rows(path)] == ["run_summary"]


def test_a_torn_tail_is_sealed(path: Path) -> None:
    """What a killed run left half written stays alone on its line, and ours begin on the next (fault:J9)."""
    path.write_bytes(b'{"v":1}\n{"v":1,"se')
    sink = opened(path)
    sink.on_events([completed(1)])
    sink.close(SUMMARY)
    whole, torn, ours, summary = path.read_bytes().splitlines()
    assert (whole, torn) == (b'{"v":1}', b'{"v":1,"se')
    assert (json.loads(ours)["seq"], json.loads(summary)["type"]) == (1, "run_summary")


def test_a_symbolic_link_is_refused(path: Path, tmp_path: Path) -> None:
    """A link planted under our name is not followed."""
    target = tmp_path / "precious"
    target.write_text("precious\n")
    path.symlink_to(target)
    with pytest.raises(OSError, match="symbolic link"):
        opened(path)
    assert target.read_text() == "precious\n"


def test_a_file_that_was_moved_away_is_made_anew(path: Path, tmp_path: Path) -> None:
    """After log rotation, and after a deletion, events go to a new file of the old name (fault:E2)."""
    sink = opened(path)
    sink.on_events([completed(1)])
    path.rename(tmp_path / "events.jsonl.1")
    sink.on_events([completed(2)])
    path.unlink()
    sink.on_events([completed(3)])
    sink.close(SUMMARY)
    assert [row["seq"] for row in rows(tmp_path / "events.jsonl.1")] == [1]
    assert [row["seq"] for row in rows(path)] == [3, 4]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_raised() -> None:
    """A disk that takes nothing raises, so that the host counts it; the sink does not hang (fault:E2)."""
    sink = opened(Path("/dev/full"))
    with pytest.raises(OSError, match="No space left"):
        sink.on_events([completed(1)])
    with pytest.raises(OSError, match="No space left"):
        sink.close(SUMMARY)


FULL_FOR_A_WHILE = """
import resource, sys
from datetime import UTC, datetime
from longshore.events import Event
from longshore.records import RunInfo
from longshore_jsonl import JsonlSink

def event(seq): return Event("e", {"text": "x" * 100}, seq, datetime.now(UTC))

sink = JsonlSink(JsonlSink.Settings(path=sys.argv[1]))
sink.open(RunInfo(run_id="r", started=datetime.now(UTC), snapshot=lambda: None))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    sink.on_events([event(n) for n in range(20)])
except OSError:
    print("refused")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
sink.on_events([event(20)])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs file size limits")
def test_after_a_full_disk_lines_are_whole_again(path: Path) -> None:
    """A write cut short by a full disk costs that line; when there is room again, the next is whole (fault:E2)."""
    done = subprocess.run([sys.executable, "-c", FULL_FOR_A_WHILE, path], capture_output=True, text=True, timeout=30)
    assert done.stdout == "refused\n", done.stderr
    *before, torn, after = path.read_bytes().splitlines()
    assert [json.loads(line)["seq"] for line in before] == list(range(len(before)))
    assert len(before) < 20
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(torn)
    assert json.loads(after)["seq"] == 20


def test_close_without_open_is_quiet() -> None:
    """A sink whose `open` failed can still be closed; giving it events says what is wrong."""
    sink = JsonlSink()
    sink.close(SUMMARY)
    with pytest.raises(ValueError, match="before it was opened"):
        sink.on_events([completed(1)])


def test_an_unknown_setting_is_refused() -> None:
    """A misspelt setting is an error, not a silence."""
    with pytest.raises(ValueError, match="pth"):
        Settings.model_validate({"pth": "x"})
