"""Promises of the lock that gives a file of results to one run at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from longshore.cli.console import UsageError
from longshore.cli.guard import guarded
from longshore.cli.inputs import expand, names_on_stdin

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="files are not guarded on Windows")

HOLD = """
import sys
from longshore.cli.guard import guarded
with guarded(sys.argv[1]) as guard:
    guard.tell("20260131T091500-3fa2c1")
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_is_refused_and_told_who_has_the_file(tmp_path: Path) -> None:
    """The refusal names the run, its process and what to do; links to the file are the file."""
    path = tmp_path / "out.jsonl"
    (tmp_path / "link").symlink_to("out.jsonl")
    with guarded(str(path)) as guard:
        guard.tell("20260131T091500-3fa2c1")
        for name in (path, tmp_path / "link"):
            told = f"run 20260131T091500-3fa2c1, in process {os.getpid()} .* with -o"
            with pytest.raises(UsageError, match=told), guarded(str(name)):
                pass
    assert [each.name for each in tmp_path.iterdir()] == ["link"], "nothing is left behind"
    with guarded(str(path)):
        pass


def test_a_killed_run_is_in_nobodys_way(tmp_path: Path) -> None:
    """The lock goes with the process that has it, whatever it leaves behind."""
    path = str(tmp_path / "out.jsonl")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"in process {holder.pid} "), guarded(path):
            pass
        holder.kill()
        holder.wait(20)
    assert (tmp_path / ".out.jsonl.longshore-lock").exists()
    with guarded(path):
        pass
    assert not list(tmp_path.iterdir())


def test_what_a_fork_inherits_holds_nothing(tmp_path: Path) -> None:
    """A child that outlives the run does not keep the file from others."""
    path = str(tmp_path / "out.jsonl")
    asked, answer = os.pipe()
    with guarded(path):
        child = os.fork()
        if child == 0:
            os.close(answer)
            os.read(asked, 1)
            os._exit(0)
    try:
        with guarded(path):
            assert (tmp_path / ".out.jsonl.longshore-lock").exists()
    finally:
        os.close(answer)
        os.close(asked)
        os.waitpid(child, 0)


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no lock file can be made the run goes on, says so, and touches nothing."""
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / ".out.jsonl.longshore-lock").symlink_to(other)
    with guarded(str(tmp_path / "out.jsonl")):
        pass
    assert other.read_text() == "mine"
    assert (tmp_path / ".out.jsonl.longshore-lock").is_symlink()
    assert "is not kept from other runs" in capsys.readouterr().err


def test_devices_and_pipes_are_anybodys(tmp_path: Path) -> None:
    """What is no file may have several writers, and gets no lock file beside it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for name in (str(pipe), os.devnull):
        with guarded(name), guarded(name):
            pass
    assert [each.name for each in tmp_path.iterdir()] == ["pipe"]


def test_what_stands_in_a_lock_file_is_not_trusted(tmp_path: Path) -> None:
    """A refusal shows what another program wrote without its control characters, or as another run."""
    path, lock = tmp_path / "out.jsonl", tmp_path / ".out.jsonl.longshore-lock"
    with guarded(str(path)):
        for text in ('{"pid": 1, "at": 1e300, "run": null}', "[", '{"pid": 1, "at": 0, "run": "\\u001b[2J"}'):
            lock.write_text(text)
            with pytest.raises(UsageError) as refused, guarded(str(path)):
                pass
            assert "is being written by" in str(refused.value)
            assert "\x1b" not in str(refused.value)


def test_a_lock_file_is_no_input(tmp_path: Path) -> None:
    """A folder of inputs may hold files of results, and what a killed run has left beside one."""
    (tmp_path / ".out.jsonl.longshore-lock").touch()
    (tmp_path / "a").touch()
    assert expand([str(tmp_path)], names_on_stdin).paths == [str(tmp_path / "a")]
