"""One process holds a run; the next one decides rightly whether it may."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from longshore.errors import JournalError
from longshore.records import JournalQuery
from longshore_sqlite._lock import Holder, RunLock, is_held, started_of

Make = Callable[..., Any]

HOLDS = """
import sys
from longshore.records import RunOpening
from longshore_sqlite import SqliteJournal
journal = SqliteJournal(SqliteJournal.Settings(path=sys.argv[1]))
journal.open(RunOpening(run_id="run", at=1.0, resume=len(sys.argv) > 2))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holding(root: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return what starts a process that holds the run; it ends with the test."""
    started = []

    def start(*args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDS, str(root), *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_process_is_told_who_holds_the_run(journal_of: Make, opening: Make, holding: Make) -> None:
    """While one process has the run, another one gets an error that names it; killed, it holds nothing any more."""
    first = holding()
    with pytest.raises(JournalError, match=f"process {first.pid} on ") as raised:
        journal_of().open(opening(resume=True))
    assert raised.value.facts["holder"]["pid"] == first.pid
    first.kill()
    first.wait()
    journal = journal_of()
    journal.open(opening(resume=True))
    journal.close()


def test_two_in_one_process_are_two(journal_of: Make, opening: Make) -> None:
    """A second pool of the same process does not get the run either."""
    journal = journal_of()
    journal.open(opening())
    with pytest.raises(JournalError, match="held by"):
        journal_of().open(opening(resume=True))
    journal.close()


def test_who_was_overtaken_writes_nothing_more(root: Path, journal_of: Make, opening: Make, batch: Make) -> None:
    """Where the lock was lost (the file deleted), whoever went on last is the only one whose outcomes are recorded."""
    first = journal_of()
    first.open(opening())
    first.commit(batch({"a": 1}))
    (root / "run" / "lock").unlink()
    second = journal_of()
    second.open(opening(resume=True))
    with pytest.raises(JournalError, match="taken over"):
        first.commit(batch({"b": 1}))
    second.commit(batch({"c": 3}))
    assert [outcome.task_id for outcome in second.load(JournalQuery())] == ["a", "c"]
    second.close()
    first.close()


def write(path: Path, **facts: Any) -> None:
    this = msgspec.to_builtins(Holder.this())
    path.write_bytes(msgspec.json.encode({**this, **facts}))


@pytest.mark.parametrize(
    ("facts", "shared", "free"),
    [
        ({"pid": 2**22 + 1, "started": "1"}, False, True),
        ({"pid": 2**22 + 1, "started": "1"}, True, True),
        ({"pid": 1, "started": "0"}, True, True),  # alive, and another process than the one that held it
        ({"pid": os.getppid(), "started": started_of(os.getppid())}, False, True),
        ({"pid": os.getppid(), "started": started_of(os.getppid())}, True, False),
        ({"pid": os.getppid(), "started": started_of(os.getppid()), "boot": "another"}, True, True),
        ({"host": "elsewhere", "boot": "another"}, False, True),
        ({"host": "elsewhere", "boot": "another"}, True, False),
    ],
    ids=[
        "dead",
        "dead, shared",
        "recycled pid",
        "alive, the system's lock is free",
        "alive, locks not to be trusted",
        "another boot",
        "a copy from another host",
        "another host, shared",
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="when a process began is read from /proc")
def test_a_stale_lock_is_decided_rightly(tmp_path: Path, facts: dict[str, Any], shared: bool, free: bool) -> None:
    """By pid and its start, boot and host: what can't be held any more is taken, what may be is not."""
    path = tmp_path / "lock"
    write(path, **facts)
    if free:
        lock = RunLock.take(path, shared=shared)
        assert is_held(path)
        lock.release()
        assert not is_held(path)
    else:
        with pytest.raises(JournalError, match="held by"):
            RunLock.take(path, shared=shared)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"pid": 1}'], ids=["empty", "torn", "bytes", "part"])
def test_a_torn_lock_file_holds_nobody_up(tmp_path: Path, content: bytes) -> None:
    """What is written in it may be cut off: the system's lock decides then."""
    path = tmp_path / "lock"
    path.write_bytes(content)
    RunLock.take(path).release()


def test_a_link_is_no_lock(tmp_path: Path) -> None:
    """A symbolic link in the place of the lock is not followed."""
    (tmp_path / "target").write_text("precious")
    (tmp_path / "lock").symlink_to(tmp_path / "target")
    with pytest.raises(JournalError, match="can't be opened"):
        RunLock.take(tmp_path / "lock")
    assert (tmp_path / "target").read_text() == "precious"
