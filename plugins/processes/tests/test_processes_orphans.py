"""However the controller ends, nothing it started is left; and workers are tied to it, not to one of its threads."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from longshore.task import TaskState
from longshore_processes.executor import ProcessesSettings

PORTABLE = "portable"
"""As where there is no zygote: each worker is started by the controller itself."""
slow = pytest.mark.slow
METHODS = ["zygote", pytest.param("interpreter", marks=slow)]
GONE_S = 2.0
CONTROLLER = """
    import asyncio, ctypes, os, subprocess, sys, time
    from longshore.task import Attempt, TaskSpec
    from longshore_processes import ProcessesExecutor, spawner
    from longshore_processes.executor import ProcessesSettings

    method = sys.argv[1]
    if method == "portable":
        spawner.has_zygote, method = lambda: False, "auto"

    class Host:
        workers = 2
        def __init__(self): self.done = 0
        def report(self, outcomes): self.done += len(outcomes)
        def progress(self, _): pass
        notice = resized = failed = progress

    def work(mode):
        if mode == "children":
            subprocess.Popen(["sleep", "1000"])
            subprocess.Popen(["sleep", "1000"], start_new_session=True)
        if mode == "in C":
            ctypes.PyDLL(None).sleep(1000)
        while mode == "spin":
            pass
        if mode != "idle":
            time.sleep(1000)

    async def main():
        host, modes = Host(), sys.argv[2].split(",")
        host.loop = asyncio.get_running_loop()
        executor = ProcessesExecutor(ProcessesSettings(start_method=method))
        await executor.start(host)
        spec = TaskSpec(function=work, name="work", executor="processes")
        executor.submit([Attempt(str(n), spec, (mode,)) for n, mode in enumerate(modes)])
        if sys.argv[3] == "at once":
            await asyncio.sleep(0.02)  # in the midst of starting
            os.kill(os.getpid(), 9)
        while len(executor.pids()) < len(modes) and host.done < len(modes):
            await asyncio.sleep(0.01)
        print("ready", flush=True)
        if sys.argv[3] == "_exit":
            os._exit(3)
        if sys.argv[3] == "abort":
            os.abort()
        await asyncio.sleep(1000)

    asyncio.run(main())
"""


@contextmanager
def controller(tmp_path: Path, token: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    script = tmp_path / "controller.py"
    script.write_text(textwrap.dedent(CONTROLLER))
    environment = {**os.environ, "LONGSHORE_TEST": token}
    with subprocess.Popen(
        [sys.executable, str(script), *arguments], env=environment, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "modes"),
    [
        ("zygote", "children,spin"),
        ("zygote", "in C,in C"),
        pytest.param("zygote", "idle,idle", marks=slow),
        pytest.param("zygote", "spin,sleep", marks=slow),
        ("interpreter", "children,spin"),
        pytest.param("interpreter", "in C,in C", marks=slow),
        pytest.param("interpreter", "idle,idle", marks=slow),
        pytest.param("interpreter", "spin,sleep", marks=slow),
        (PORTABLE, "in C,in C"),
        pytest.param(PORTABLE, "idle,idle", marks=slow),
        pytest.param(PORTABLE, "spin,sleep", marks=slow),
    ],
)
def test_killed(tmp_path: Path, find_tokened: Any, eventually: Any, method: str, modes: str) -> None:
    """fault:O1 fault:O4 After kill -9 workers are gone within 2 s: idle, busy, in C with the GIL held, with children.

    What the program was to print ends with it: nobody else holds its standard output.
    """
    token = uuid.uuid4().hex
    with controller(tmp_path, token, method, modes, "wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert eventually(lambda: len(find_tokened(token)) >= 2 + 2 * modes.count("children"))
        process.kill()
        assert process.stdout.read() == b""
    assert eventually(lambda: not find_tokened(token), GONE_S), find_tokened(token)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["_exit", pytest.param("abort", marks=slow)])
def test_ended_without_a_word(tmp_path: Path, find_tokened: Any, eventually: Any, method: str, how: str) -> None:
    """fault:O1 The same where it ends itself without cleaning up."""
    token = uuid.uuid4().hex
    with controller(tmp_path, token, method, "spin,sleep", how) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b"ready\n"
        process.wait(10)
    assert eventually(lambda: not find_tokened(token), GONE_S), find_tokened(token)


@pytest.mark.slow
@pytest.mark.parametrize("method", [*METHODS, pytest.param(PORTABLE, marks=slow)])
def test_killed_while_starting(tmp_path: Path, find_tokened: Any, eventually: Any, method: str) -> None:
    """fault:O2 A controller that dies while workers are being started leaves none: they look who their parent is."""
    token = uuid.uuid4().hex
    with controller(tmp_path, token, method, "spin,spin", "at once") as process:
        assert process.wait(10) == -signal.SIGKILL
    assert eventually(lambda: not find_tokened(token), GONE_S), find_tokened(token)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_thread_that_submitted_ends(open_yard: Any, method: Any) -> None:
    """fault:O3 Workers live on when the thread that asked for them ends."""
    with open_yard(2, ProcessesSettings(start_method=method)) as yard:
        ids: list[str] = []
        thread = threading.Thread(target=lambda: ids.extend(yard.submit(time.sleep, [0.3, 0.3])))
        thread.start()
        thread.join()
        assert all(outcome.ok for outcome in yard.wait(ids))


def fork_twice(path: str) -> None:
    """Leave behind a fork of ours in a session of its own, which no program name or environment tells apart."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(15, b"stray", 0, 0, 0)
            Path(path).write_text(str(os.getpid()))
            time.sleep(1000)
        os._exit(0)
    os.wait()
    time.sleep(1000)


@pytest.mark.slow
def test_a_fork_of_a_fork_ends_with_its_task(open_yard: Any, tmp_path: Path, eventually: Any) -> None:
    """fault:O5 At a timeout a double fork in its own session is killed as well; that of a task that goes on is not."""
    paths = [tmp_path / "hung", tmp_path / "fine"]
    with open_yard(2) as yard:
        hung = yard.submit(fork_twice, [str(paths[0])], timeout_s=0.7)
        fine = yard.submit(fork_twice, [str(paths[1])])
        assert eventually(lambda: all(path.exists() and path.read_text() for path in paths))
        pids = [int(path.read_text()) for path in paths]
        assert yard.wait(hung)[0].state is TaskState.TIMED_OUT
        assert eventually(lambda: not Path(f"/proc/{pids[0]}").exists(), GONE_S)
        assert Path(f"/proc/{pids[1]}").exists()
        yard.cancel(fine)
        yard.wait(fine)
        assert eventually(lambda: not Path(f"/proc/{pids[1]}").exists(), GONE_S)


def test_a_controller_that_dies_with_something_unread_is_gone_all_the_same() -> None:
    """fault:O1 The zygote takes the end of a controller that had not read its last message for that end, and no error.

    It did so when a worker saw the controller end first, and the zygote told the dying one of the worker's end.
    """
    code = """
import os, socket
from longshore_processes.pens import Pens
from longshore_processes.rungs import Rung
from longshore_processes.zygote import Zygote
far, near = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
zygote = Zygote(near, os.getpid(), fresh=False, pens=Pens(None, None, Rung.POLLING))
near.send(b"a worker has ended")
far.close()
print(zygote._take())
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (ran.stdout, ran.stderr) == ("False\n", "")
