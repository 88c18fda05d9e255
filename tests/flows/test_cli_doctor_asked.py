"""`longshore doctor --run` asks a process that has a run: here this one, so that each answer can be had at once."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from longshore import Diagnosis, LongshoreError, install_diagnostics
from longshore.cli import diagnosed
from longshore.cli.journals import find_run
from longshore.records import RunRecord

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc")

Command = Any  # the fixture's class: test modules cannot import a conftest
ASK = ("doctor", "--run", "last")


class Answering:
    """What is diagnosed: a pool that knows its name, or does not get to an answer."""

    run_folder = None

    def __init__(self, *, answers: bool = True) -> None:
        self._answers = answers

    def diagnose(self) -> Diagnosis:
        if not self._answers:
            raise LongshoreError("it has not started")
        facts = {"run_id": "r1", "name": "asked", "at": datetime.now(UTC), "pid": os.getpid(), "host": "here"}
        return Diagnosis(**facts, uptime_s=61.0, loop="answers", concurrency=3)


@pytest.fixture
def folder(inside: Command, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Record a run, and have it said that this process has it; return its folder."""
    inside.inputs({"a": "1", "b": "raise"})
    _, _, told = inside("run", "job:picky", "in", "--progress", "none", "--executor", "threads")
    run_id = re.findall(r"recorded as run (\S+)", told)[0]

    def held(archive: Any, name: str) -> RunRecord:
        return msgspec.structs.replace(find_run(archive, name), held=True, pid=os.getpid(), state="running")

    monkeypatch.setattr(diagnosed, "find_run", held)
    path: Path = inside.folder / "state" / "longshore" / "runs" / run_id
    return path


@contextmanager
def listening(folder: Path, pool: Answering) -> Iterator[None]:
    """Answer to the signal from this process, and then leave the signal as it was."""
    before = signal.getsignal(signal.SIGUSR1)
    try:
        with install_diagnostics(pool, folder=folder, quiet=True):
            yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_process_that_listens_answers(inside: Command, folder: Path) -> None:
    """Its diagnosis is shown as text and as JSON, as that process wrote it."""
    with listening(folder, Answering()):
        code, told, errors = inside(*ASK)
        assert (code, "asked" in told) == (0, True), errors
        code, told, errors = inside(*ASK, "--json")
    assert code == 0, errors
    found = json.loads(told)
    assert (found["name"], found["pid"], found["concurrency"]) == ("asked", os.getpid(), 3)
    assert (folder / "diagnosis.json").stat().st_mode & 0o777 == 0o600


def test_one_that_does_not_answer_in_time_is_told_of_by_its_threads(inside: Command, folder: Path) -> None:
    """Exit code 1; what the system has of its threads is there all the same, as text and as JSON."""
    with listening(folder, Answering(answers=False)):
        code, told, _ = inside(*ASK, "--wait", "0.01")
        assert code == 1
        assert f"process {os.getpid()}, did not answer within 0.01 s" in told
        assert f"thread {os.getpid()} (" in told
        code, told, _ = inside(*ASK, "--wait", "0.01", "--json")
    found = json.loads(told)
    assert (code, found["answered"], found["pid"]) == (1, False, os.getpid())
    assert any(f"thread {os.getpid()} (" in state for state in found["threads"])


def test_one_that_is_stopped_is_told_how_it_goes_on(
    inside: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the state that the system has of it; and where its main thread was, if the handler still wrote that."""
    monkeypatch.setattr(diagnosed, "_threads", lambda pid: [f"T thread {pid} (python) do_signal_stop"])
    monkeypatch.setattr(diagnosed, "_raw", lambda pipe: ['File "job.py", line 7 in held'])
    with listening(folder, Answering(answers=False)):
        code, told, _ = inside(*ASK, "--wait", "0.01")
    assert (code, "kill -CONT" in told, 'File "job.py", line 7 in held' in told) == (1, True, True), told


def test_what_the_handler_wrote_is_read_from_the_pipe(tmp_path: Path) -> None:
    """Lines without what is blank, whatever bytes they are; nothing where there is no pipe."""
    pipe = tmp_path / "pipe"
    assert diagnosed._raw(pipe) == []
    os.mkfifo(pipe)
    writes = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(writes, b'Current thread:\n\n  File "a\xff.py", line 3 in work\n')
        assert diagnosed._raw(pipe) == ["Current thread:", 'File "a\ufffd.py", line 3 in work']
    finally:
        os.close(writes)


def test_who_is_no_more_there_or_another_users_is_not_signalled(
    inside: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is said with what to do, and ends with 2; so is a process that ends just as it is asked."""
    sent: list[int] = []

    def kill(error: type[OSError] | None, late: type[OSError] | None = None) -> Any:
        def send(_: int, number: int) -> None:
            if number:
                sent.append(number)
            raised = late if number else error
            if raised is not None:
                raise raised

        return send

    with listening(folder, Answering()):
        for fails, said in (
            (kill(PermissionError), "another user's"),
            (kill(ProcessLookupError), "in another container?"),
            (kill(None, ProcessLookupError), "has just ended"),
        ):
            monkeypatch.setattr(diagnosed, "os", SimpleNamespace(**{**vars(os), "kill": fails}))
            code, out, errors = inside(*ASK)
            assert (code, out, said in errors) == (2, "", True), errors
    assert sent == [signal.SIGUSR1]


def only_looked_for(pid: int, number: int) -> None:
    """In place of `os.kill`: signal 0 asks whether somebody is there, and any other would be sent."""
    assert number == 0, f"signal {number} to {pid}"


def test_nobody_is_signalled_who_would_be_ended_by_it(
    inside: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process without a handler, one that never said it listens, and one of another machine: none gets a signal."""
    monkeypatch.setattr(diagnosed, "os", SimpleNamespace(**{**vars(os), "kill": only_looked_for}))
    assert "takes no questions" in inside(*ASK)[2]
    listens = {"pid": os.getpid(), "signal": int(signal.SIGUSR2)}
    (folder / "diagnosis.listens").write_text(json.dumps(listens))
    assert f"has no handler for signal {signal.SIGUSR2:d}" in inside(*ASK)[2]
    (folder / "diagnosis.listens").write_text(json.dumps({**listens, "pid": 1}))
    assert "takes no questions" in inside(*ASK)[2]
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    code, _, errors = inside(*ASK)
    assert (code, "call this on that machine" in errors) == (2, True), errors


def test_of_a_run_that_is_over_the_journal_tells(
    inside: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is asked: its state, what has no outcome, and the command that goes on with it, if there is need to."""
    monkeypatch.setattr(diagnosed, "find_run", find_run)
    code, told, errors = inside(*ASK)
    assert (code, f"run {folder.name} (job:picky) is completed" in told) == (0, True), errors
    assert "recorded tasks without an outcome: 0" in told
    assert "to go on with it" not in told
    assert "nobody is at this run now" in errors
    found = json.loads(inside(*ASK, "--json")[1])
    assert (found["state"], found["unfinished"], found["resume"]) == ("completed", [], None)


def test_what_had_begun_and_what_had_not_is_told_apart(
    inside: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the number of attempts, how often its worker died of it, and how many more there are than are shown."""

    def entry(number: int, attempts: int, deaths: tuple[str, ...] = ()) -> Any:
        kind = SimpleNamespace(name="job:picky", executor="processes")
        facts = {"task_id": f"t{number}", "kind": kind, "key": f"in/{number}", "attempts": attempts}
        return SimpleNamespace(**facts, lost=len(deaths), deaths=deaths, state=None)

    left = [entry(0, 2, ("exit 7",)), *(entry(number, 0) for number in range(1, 60))]
    archive = SimpleNamespace(tasks=lambda query: iter(left), states=lambda run_id, names: {})
    place = SimpleNamespace(option=" --journal there")

    def interrupted(*_: Any) -> RunRecord:
        counts = {"unfinished": 60}
        record = RunRecord(run_id="r9", name="job:picky", state="running", started=1.0, pid=7, host="h", counts=counts)
        return msgspec.structs.replace(record, held=False)

    monkeypatch.setattr(diagnosed, "find_run", interrupted)
    monkeypatch.setattr(diagnosed, "open_archive", lambda path: (archive, place))
    code, told, _ = inside(*ASK)
    assert code == 0
    assert (
        "t0 (job:picky) of in/0: attempt 2 began and did not end, on processes; its worker died before: exit 7" in told
    )
    assert "t1 (job:picky) of in/1: no attempt of it is recorded as begun" in told
    assert "and 10 more" in told
    assert "to go on with it: longshore resume r9 --journal there" in told
