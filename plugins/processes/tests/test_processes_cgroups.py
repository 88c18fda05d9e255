"""A control group for each worker, where one is delegated: whatever a task starts ends with its worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from longshore import ControlGroups
from longshore.task import TaskState
from longshore_processes.cgroups import Group, Groups
from longshore_processes.executor import ProcessesSettings

LEAVE_NO_TRACE = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        with open(sys.argv[1], "w") as file:
            file.write(str(os.getpid()))
        time.sleep(1000)
    os._exit(0)
os.wait()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder that looks like our group, where the system mounts groups."""
    base = tmp_path / "mount" / "user" / "own"
    base.mkdir(parents=True)
    (base / "cgroup.procs").touch()
    (tmp_path / "cgroup").write_text("1:cpu:/elsewhere\n0::/user/own\n")
    mounted = f"1 0 0:1 / /proc rw - proc proc rw\n2 0 0:2 / {tmp_path}/mount rw - cgroup2 cgroup2 rw\n"
    (tmp_path / "mountinfo").write_text(mounted)
    return tmp_path


def own(root: Path) -> Path:
    return root / "mount" / "user" / "own"


def made(root: Path, number: int) -> tuple[Groups, Group, Path]:
    groups = Groups.here(ControlGroups(str(root)))
    assert groups is not None
    group = groups.make(number)
    [path] = [path for path in own(root).iterdir() if path.is_dir()]
    return groups, group, path


def test_it_is_made_below_our_own(root: Path) -> None:
    """A worker's group is made in the group that this process is in, and the worker moves itself there."""
    _, group, path = made(root, 3)
    assert path.name == f"longshore-{os.getpid()}-3"
    group.enter()
    assert (path / "cgroup.procs").read_text() == "0"


def test_all_in_it_are_killed_at_once(root: Path) -> None:
    """The kernel kills all that is in a group, where it can; the group goes away when it is empty."""
    groups, group, path = made(root, 0)
    (path / "cgroup.kill").touch()
    groups.end(group)
    assert (path / "cgroup.kill").read_text() == "1"
    assert path.exists()
    (path / "cgroup.kill").unlink()
    groups.tidy()
    assert not path.exists()


def test_an_old_kernel_has_it_done_one_by_one(root: Path) -> None:
    """Without that, each process in the group is killed."""
    _, group, path = made(root, 0)
    with subprocess.Popen(["sleep", "1000"]) as sleeper:
        (path / "cgroup.procs").write_text(f"{sleeper.pid}\n")
        group.kill()
        assert sleeper.wait(10) == -signal.SIGKILL


def test_what_is_not_ours_is_left(root: Path) -> None:
    """Empty groups of those that are no more are removed, and no others."""
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    names = [f"longshore-{gone.pid}-0", f"longshore-{os.getpid()}-1", "others", "longshore-x"]
    for name in names:
        (own(root) / name).mkdir()
    groups = Groups.here(ControlGroups(str(root)))
    assert groups is not None
    groups.clear_old()
    assert {path.name for path in own(root).iterdir() if path.is_dir()} == set(names[1:])


@pytest.mark.parametrize("missing", ["cgroup", "mountinfo", "mount/user/own/cgroup.procs"])
def test_where_there_is_none(root: Path, missing: str) -> None:
    """Without version 2, its mount, or a group of our own that we may use, there are none."""
    (root / missing).unlink()
    assert Groups.here(ControlGroups(str(root))) is None


def test_asking_for_what_is_not_there_is_refused(open_yard: Any, monkeypatch: Any) -> None:
    """An executor that is to use groups and can't does not start, and says what to do."""
    monkeypatch.setattr(Groups, "here", lambda: None)
    with pytest.raises(RuntimeError, match="control_groups"), open_yard(1, ProcessesSettings(control_groups=True)):
        pass


def leave_no_trace(path: str) -> None:
    """Start what no session, environment or page tells to be ours."""
    subprocess.run([sys.executable, "-c", LEAVE_NO_TRACE, path], env={}, check=True)
    time.sleep(1000)


@pytest.mark.slow
@pytest.mark.skipif(Groups.here() is None, reason="takes a control group of version 2 that is delegated to us")
@pytest.mark.parametrize("method", ["auto", "interpreter"])
def test_nothing_leaves_it(open_yard: Any, tmp_path: Path, eventually: Any, method: Any) -> None:
    """fault:O5 A program with a new environment, in a new session, without a parent, ends with its task's timeout."""
    base = Groups.here()
    assert base is not None
    path = tmp_path / "pid"
    settings = ProcessesSettings(control_groups=True, start_method=method)
    with open_yard(1, settings) as yard:
        ids = yard.submit(leave_no_trace, [str(path)], timeout_s=2.0)
        assert eventually(lambda: path.exists() and path.read_text())
        pid = int(path.read_text())
        assert yard.wait(ids)[0].state is TaskState.TIMED_OUT
        assert eventually(lambda: not Path(f"/proc/{pid}").exists(), 2.0)
        assert yard.run(abs, [-1])[0].value == 1
        zygote = int(Path(f"/proc/{yard.executor.pids()[0]}/stat").read_text().rpartition(")")[2].split()[1])
    assert not list(base._base.glob(f"longshore-{zygote}-*"))
