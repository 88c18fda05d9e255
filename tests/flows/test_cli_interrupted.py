"""`longshore run` is told to end while it runs in this process: what is begun ends or is cut, and all have their lines.

What runs says itself when it goes on, so that nothing depends on who is quicker; `test_cli_signals.py` has real
processes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

Command = Any  # the fixture's class: test modules cannot import a conftest
Lines = Callable[[bytes | str], dict[str, dict[str, Any]]]  # Any: JSON

JOB = """
import asyncio, os, said

def draining(path):
    os.kill(os.getpid(), said.number)
    assert said.drained.wait(20)
    return "ended"

async def cut(path):
    os.kill(os.getpid(), said.number)
    await asyncio.to_thread(said.drained.wait, 20)
    os.kill(os.getpid(), said.number)
    try:
        await asyncio.sleep(20)
    finally:
        said.was_cut.set()

async def stubborn(path):
    os.kill(os.getpid(), said.number)
    await asyncio.to_thread(said.drained.wait, 20)
    os.kill(os.getpid(), said.number)
    assert said.left.wait(20)  # as code does that blocks the loop
    return "too late"
"""


@pytest.fixture
def said(inside: Command, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Write the job, and give it what it waits for: events that are set as the command says something."""
    (inside.folder / "ending.py").write_text(JOB)
    inside.inputs(["a", "b", "c"])
    events = SimpleNamespace(number=0, drained=threading.Event(), was_cut=threading.Event(), left=threading.Event())
    monkeypatch.setitem(sys.modules, "said", events)
    work = import_module("longshore.cli.work")
    say = work.say

    def heard(text: str) -> None:
        say(text)
        if "nothing new is begun" in text:
            events.drained.set()

    monkeypatch.setattr(work, "say", heard)
    monkeypatch.setattr(work, "_AT_ONCE_S", 60.0)  # it would end this process
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # what started the tests may ignore it
    yield events
    signal.signal(signal.SIGHUP, before)
    for event in (events.drained, events.left):
        event.set()
    sys.modules.pop("ending", None)


RUN = ("in", "--workers", "1", "--progress", "none", "--set", "probes=[]")


@pytest.mark.parametrize(("name", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_first_signal_lets_what_runs_end(
    inside: Command, lines: Lines, said: SimpleNamespace, name: signal.Signals, code: int
) -> None:
    """Nothing new is begun, each input has its line, and it is said how to go on; handlers are what they were."""
    said.number = name
    before = signal.getsignal(name)
    ended, out, errors = inside("run", "ending:draining", "--executor", "threads", *RUN)
    assert ended == code, errors
    told = lines(out)
    assert {entry: told[entry]["status"] for entry in told} == {"a": "completed", "b": "cancelled", "c": "cancelled"}
    within = "" if name is signal.SIGINT else " within 5 s"
    assert f"longshore: {name.name}: what is running may end{within}, nothing new is begun" in errors
    assert "longshore: stopped with 2 inputs left; to go on: longshore resume " in errors
    assert signal.getsignal(name) is before


def test_the_second_signal_ends_what_runs(inside: Command, lines: Lines, said: SimpleNamespace) -> None:
    """It is cancelled where it stands, and its input counts as left."""
    said.number = signal.SIGTERM
    code, out, errors = inside("run", "ending:cut", *RUN)
    assert code == 143, errors
    assert "longshore: stopping at once: what still runs is ended" in errors
    assert said.was_cut.is_set()
    assert {entry["status"] for entry in lines(out).values()} == {"cancelled"}
    assert len(lines(out)) == 3


@pytest.mark.parametrize(
    ("name", "grace", "code"),
    [(signal.SIGINT, ("--grace", "0.01"), 130), (signal.SIGTERM, ("--grace", "0.01"), 143), (signal.SIGTERM, (), 143)],
)
def test_a_grace_that_is_over_is_a_second_signal(
    inside: Command,
    lines: Lines,
    said: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    name: signal.Signals,
    grace: tuple[str, ...],
    code: int,
) -> None:
    """What runs longer than it may is ended without anybody asking again; SIGTERM has a limit of its own."""
    monkeypatch.setattr(import_module("longshore.cli.work"), "_TERM_GRACE_S", 0.01)
    said.number = name
    text = JOB.replace("os.kill(os.getpid(), said.number)\n    try:", "try:")
    (inside.folder / "ending.py").write_text(text)
    ended, out, errors = inside("run", "ending:cut", *RUN, *grace)
    assert ended == code, errors
    assert "what is running may end within 0.01 s" in errors
    assert said.was_cut.is_set()
    assert {entry["status"] for entry in lines(out).values()} == {"cancelled"}


def test_what_blocks_everything_is_left_behind(
    inside: Command, lines: Lines, said: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When stopping takes too long, the lines are written without the loop, and the process leaves with its code."""
    work, codes = import_module("longshore.cli.work"), list[int]()

    def leave(code: int) -> None:
        codes.append(code)
        said.left.set()

    monkeypatch.setattr(work, "_AT_ONCE_S", 0.01)
    monkeypatch.setattr(work, "os", SimpleNamespace(**{**vars(os), "_exit": leave}))
    said.number = signal.SIGTERM
    _, out, errors = inside("run", "ending:stubborn", *RUN)
    assert codes == [143], errors
    assert {entry["status"] for entry in lines(out).values()} == {"cancelled"}
    assert len(lines(out)) == 3
    assert "longshore: stopped with 3 inputs left; to go on: longshore resume " in errors


def test_a_grace_that_cannot_be_meant_is_refused(inside: Command) -> None:
    """It is seconds."""
    inside.inputs(["a"])
    code, out, errors = inside("run", "job:held", "in", "--grace", "-1")
    assert (code, out) == (2, "")
    assert "--grace -1: it is seconds" in errors
