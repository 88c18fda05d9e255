"""`longshore doctor --run`: a run is asked what it is at, and goes on; of one that is over the journal tells."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from longshore._engine.learning import Taken
from longshore.records import CommitBatch, RunOpening
from longshore_sqlite import SqliteJournal
from support.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc")

Command = Any  # the fixtures' classes: test modules cannot import a conftest


def begin(longshore: Command) -> Any:  # Any: a Popen
    """Begin a run of four inputs by two workers, and wait until two have begun and it takes questions."""
    longshore.inputs(["a", "b", "c", "d"])
    process = longshore.start("run", "job:held", "in", "-o", "out.jsonl", "--workers", "2", "--progress", "none")
    folder = longshore.folder

    def begun() -> bool:
        return len(list(folder.glob("started-*"))) >= 2 and any(folder.glob("state/longshore/runs/*/diagnosis.listens"))

    wait_until(lambda: process.poll() is not None or begun(), "two running tasks")
    assert process.poll() is None, process.stderr.read().decode()
    return process


def folder_of(longshore: Command) -> Path:
    """Return the folder of the only run."""
    [folder] = longshore.folder.glob("state/longshore/runs/*")
    return Path(folder)


@pytest.mark.slow
@pytest.mark.requirement("req:L05")
def test_a_run_tells_what_it_is_at_and_goes_on(longshore: Command, inside: Command) -> None:
    """As text and as JSON, with the line that each worker process is at; it then ends as if nothing had been."""
    process = begin(longshore)
    code, told, errors = inside("doctor", "--run", "last")
    assert code == 0, errors
    assert "2 queued, 2 running" in told
    assert told.count(" in held\n") == 2, told
    found = json.loads(inside("doctor", "--run", folder_of(longshore).name, "--json")[1])
    assert found["pid"] == process.pid
    assert [task["name"] for task in found["running"]] == ["job:held", "job:held"]
    assert {one["executor"]: one["tasks"] for one in found["queues"]} == {"processes": 2}
    assert found["journal"]["state"] == "open"
    (longshore.folder / "go").touch()
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert not (folder_of(longshore) / "diagnosis.listens").exists()


@pytest.mark.slow
@pytest.mark.requirement("req:L05")
def test_of_a_run_that_was_killed_the_journal_tells(longshore: Command, inside: Command) -> None:
    """Which tasks had begun and not ended, and the command that goes on with it."""
    process = begin(longshore)
    wait_until(lambda: '"unfinished": 4' in inside("runs", "list", "--json")[1], "the tasks in the journal")
    process.kill()
    process.communicate()
    run_id = folder_of(longshore).name
    code, told, _ = inside("doctor", "--run", "last")
    assert code == 0
    assert f"run {run_id} (job:held) is interrupted" in told
    assert told.count("attempt 1 began and did not end, on processes") == 2
    assert f"longshore resume {run_id}" in told
    found = json.loads(inside("doctor", "--run", "last", "--json")[1])
    assert (found["state"], found["resume"]) == ("interrupted", f"longshore resume {run_id}")
    assert len(found["unfinished"]) == 4


@pytest.mark.slow
@pytest.mark.requirement("req:L05")
def test_a_run_that_cannot_answer_is_told_of_as_the_system_has_it(longshore: Command, inside: Command) -> None:
    """One that was stopped by a signal: that is said, and the command ends with 1 after the time it was given."""
    process = begin(longshore)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        code, told, _ = inside("doctor", "--run", "last", "--wait", "0.3")
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert code == 1
    assert "did not answer within 0.3 s" in told
    assert "kill -CONT" in told
    (longshore.folder / "go").touch()
    process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.requirement("req:L05")
def test_nobody_is_signalled_who_did_not_say_that_he_listens(longshore: Command, inside: Command) -> None:
    """A signal could end a process: none is sent to one without a handler, of another id, or of another machine."""
    process = begin(longshore)
    listens = folder_of(longshore) / "diagnosis.listens"
    kept = json.loads(listens.read_bytes())
    for said, reason in (
        ({**kept, "pid": os.getpid()}, "takes no questions"),
        ({**kept, "signal": int(signal.SIGALRM)}, "has no handler for signal 14"),
        (None, "takes no questions"),
    ):
        if said is None:
            listens.unlink()
        else:
            listens.write_text(json.dumps(said))
        code, _, errors = inside("doctor", "--run", "last")
        assert (code, reason in errors) == (2, True), errors
    assert process.poll() is None
    (longshore.folder / "go").touch()
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_what_cannot_be_asked_is_said(inside: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such run, no time to wait; a run of another machine is asked there."""
    code, _, errors = inside("doctor", "--run", "last")
    assert (code, "no run is recorded" in errors) == (2, True)
    code, _, errors = inside("doctor", "--run", "last", "--wait", "0")
    assert (code, "more than 0" in errors) == (2, True)
    inside.inputs({"a": "1"})
    inside("run", "job:picky", "in", "--progress", "none", "--executor", "threads")
    from longshore_sqlite import _archive

    monkeypatch.setattr(_archive, "is_held", lambda path: True)
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    code, _, errors = inside("doctor", "--run", "last")
    assert (code, "call this on that machine" in errors) == (2, True)


@pytest.mark.slow
def test_what_was_learnt_of_tasks_is_told(inside: Command) -> None:
    """By kind, as text and as JSON, where the journal has something of it."""
    inside.inputs(["a"])
    inside("run", "job:size", "in", "-o", "out.jsonl", "--progress", "none", "--executor", "threads")
    assert json.loads(inside("doctor", "--run", "last", "--json")[1])["learnt"] == []
    journal = SqliteJournal()
    run_id = folder_of(inside).name
    journal.open(RunOpening(run_id=run_id, at=0.0, resume=True))
    kinds = [["job:size", 0, learnt_of_one(100.0)]]
    journal.commit(CommitBatch(run_id=run_id, states={"learnt": {"version": 1, "kinds": kinds}}, ended="completed"))
    journal.close()
    [kind] = json.loads(inside("doctor", "--run", "last", "--json")[1])["learnt"]
    assert (kind["name"], kind["tasks"], kind["most_mb"]) == ("job:size", 1, 100.0)
    assert "  job:size, inputs up to 64 KiB: 115 MB are set aside" in inside("doctor", "--run", "last")[1]


def learnt_of_one(peak_mb: float) -> dict[str, Any]:  # Any: JSON-safe values
    """Return what is kept of a kind of which one task took so much."""
    taken = Taken()
    taken.saw(peak_mb)
    return taken.to_dict()
