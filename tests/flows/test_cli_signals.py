"""Promises of `longshore run` when somebody wants it to end."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.waiting import wait_until

Command = Any  # the fixture's class: test modules cannot import a conftest
Lines = Callable[[bytes], dict[str, dict[str, Any]]]  # Any: JSON

COUNT = 40


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Have commands start with SIGHUP as a terminal leaves it: what started the tests may ignore it, as nohup does."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def _begin(longshore: Command, executor: str, *more: str) -> Any:  # Any: a Popen
    longshore.inputs([f"{number:03}" for number in range(COUNT)])
    process = longshore.start(
        *("run", "job:held", "in", "-o", "out.jsonl", "--executor", executor, "--workers", "2", "--progress", "none"),
        *more,
    )
    wait_until(
        lambda: process.poll() is not None or len(list(longshore.folder.glob("started-*"))) >= 2, "two running tasks"
    )
    assert process.poll() is None, process.stderr.read().decode()
    return process


def _send(process: Any, name: signal.Signals) -> None:  # Any: as above
    """Send as a terminal does: Ctrl-C goes to the workers too, SIGTERM to the command alone."""
    if name is signal.SIGINT:
        os.killpg(process.pid, name)
    else:
        process.send_signal(name)


def test_ctrl_c_during_imports_is_quiet(tmp_path: Path) -> None:
    """Ctrl-C while the command is still importing what it needs ends with 130, and without a traceback."""
    code = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what starts the tests may ignore it
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "pydantic":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from longshore.__main__ import main
sys.exit(main(["doctor"]))
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, b"", b"")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("executor", "name", "code"),
    [
        ("threads", signal.SIGINT, 130),
        ("processes", signal.SIGINT, 130),
        ("processes", signal.SIGTERM, 143),
        ("processes", signal.SIGHUP, 129),
    ],
)
@pytest.mark.requirement("req:C17")
def test_the_first_signal_drains(
    longshore: Command, lines: Lines, executor: str, name: signal.Signals, code: int
) -> None:
    """What runs may end, nothing new is begun, and every input has its line (fault:O6)."""
    process = _begin(longshore, executor)
    _send(process, name)
    wait_until(lambda: b"once more stops at once" in process.stderr.readline(), "the answer to the signal")
    (longshore.folder / "go").touch()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors.decode()
    assert b"Traceback" not in errors
    told = lines((longshore.folder / "out.jsonl").read_bytes())
    count = Counter(entry["status"] for entry in told.values())
    assert sum(count.values()) == COUNT
    assert count["completed"] >= 2
    assert count["cancelled"] > 0
    assert count["completed"] + count["cancelled"] == COUNT
    assert f"{count['cancelled']} inputs left" in errors.decode()


@pytest.mark.slow
def test_a_task_that_blocks_everything_can_be_left(longshore: Command, lines: Lines) -> None:
    """A task that blocks the loop itself, in `inline`, does not survive the second signal; no line is lost."""
    longshore.inputs(["a", "b"])
    process = longshore.start("run", "job:held", "in", "-o", "out.jsonl", "--executor", "inline", "--progress", "none")
    wait_until(lambda: bool(list(longshore.folder.glob("started-*"))), "the first task")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=10)
    assert process.returncode in (130, 143), errors.decode()
    told = lines((longshore.folder / "out.jsonl").read_bytes())
    assert {entry["status"] for entry in told.values()} == {"cancelled"}
    assert len(told) == 2


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_the_second_signal_stops_at_once(longshore: Command, lines: Lines, executor: str) -> None:
    """Tasks that would run on are not waited for, and every input still has its line (fault:O6)."""
    process = _begin(longshore, executor)
    _send(process, signal.SIGINT)
    wait_until(lambda: b"once more stops at once" in process.stderr.readline(), "the answer to the signal")
    _send(process, signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130, errors.decode()
    assert b"Traceback" not in errors
    told = lines((longshore.folder / "out.jsonl").read_bytes())
    assert len(told) == COUNT
    assert {entry["status"] for entry in told.values()} == {"cancelled"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("executor", "name", "grace", "code"),
    [
        ("threads", signal.SIGINT, ("--grace", "0.2"), 130),
        pytest.param("processes", signal.SIGTERM, (), 143, marks=pytest.mark.long),
    ],
)
def test_what_does_not_end_within_its_grace_is_ended(
    longshore: Command,
    lines: Lines,
    executor: str,
    name: signal.Signals,
    grace: tuple[str, ...],
    code: int,
) -> None:
    """One signal is enough: drained for so long, then cancelled; SIGTERM has a limit of its own. No line is lost."""
    process = _begin(longshore, executor, *grace)
    _send(process, name)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == code, errors.decode()
    assert b"Traceback" not in errors
    text = errors.decode()
    assert f"may end within {grace[1] if grace else 5} s, nothing new is begun; " in text
    assert f" of {COUNT} inputs are left" in text
    assert "stopping at once: what still runs is ended" in text
    assert f"stopped with {COUNT} inputs left" in text
    told = lines((longshore.folder / "out.jsonl").read_bytes())
    assert len(told) == COUNT
    assert {entry["status"] for entry in told.values()} == {"cancelled"}


@pytest.mark.slow
def test_under_nohup_a_hangup_is_nothing(longshore: Command) -> None:
    """Started with SIGHUP ignored, the command goes on when it comes, and does all its work."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process = _begin(longshore, "threads")
    _send(process, signal.SIGHUP)
    (longshore.folder / "go").touch()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors.decode()
    assert len((longshore.folder / "out.jsonl").read_bytes().splitlines()) == COUNT
