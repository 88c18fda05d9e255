"""B2, first half: the controller is killed, or what a task has started goes its own way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from longshore import TaskState
from suite import leaks
from suite.registry import scenario
from suite.tasks import echo, leave_behind, nap
from suite.trial import METHODS, Trial
from suite.yard import open_yard

CONTROLLER = Path(__file__).parents[1] / "suite" / "controller.py"
MODES = ("idle", "sleep", "spin", "in_c", "grandchildren")


@contextmanager
def controller(trial: Trial, mode: str, method: str) -> Iterator[subprocess.Popen[str]]:
    """Start a program with a pool, wait until it says that it works, and kill what is left of it at the end."""
    command = [sys.executable, str(CONTROLLER), mode, method]
    folder = mkdtemp(dir=trial.folder)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            trial.expect(said.startswith("ready"), f"a controller with {mode} by {method} did not get to work")
            yield process
        finally:
            process.kill()
            leaks.kill(leaks.tokened())


def end(trial: Trial, process: subprocess.Popen[str], what: str) -> None:
    """Kill a controller, and take the time until everything of it is gone."""
    since = time.monotonic()
    process.kill()
    process.wait()
    took_s, left = leaks.gone_after(leaks.tokened, since)
    trial.worst("gone_after_s", took_s)
    trial.add("orphans", left)
    if left:
        trial.notes.append(f"{left} processes are left after {what}: {_commands(leaks.tokened())}")


def _commands(pids: list[int]) -> list[str]:
    return [
        Path(f"/proc/{pid}/cmdline").read_text()[:60].replace("\0", " ")
        for pid in pids
        if Path(f"/proc/{pid}").exists()
    ]


@scenario(
    "O1", "kill -9 of the controller: idle, busy, in C, with grandchildren", "nothing is left after 2 s", long_s=400.0
)
def o1_killed_controller(trial: Trial) -> None:
    for method in METHODS:
        for mode in MODES:
            for _ in range(trial.pick(1, 5)):
                with controller(trial, mode, method) as process:
                    end(trial, process, f"{mode} by {method}")


@scenario("O2", "kill -9 of the controller while it starts workers", "nothing is left after 2 s", long_s=400.0)
def o2_killed_while_spawning(trial: Trial) -> None:
    points = ("zygote.before-fork", "worker.before-arming", "worker.after-arming")
    for point in points:
        with trial.chaos(f"{point}:1:0.5"):
            for wait_s in trial.pick((0.3,), (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)):
                with controller(trial, "spawning", "zygote") as process:
                    time.sleep(wait_s)
                    end(trial, process, f"{point} after {wait_s:g} s")
    for method in METHODS:
        for _ in range(trial.pick(2, 20)):
            with controller(trial, "spawning", method) as process:
                time.sleep(trial.dice.uniform(0.0, 0.4))
                end(trial, process, f"a start by {method}")


@scenario("O3", "the thread that submits ends", "workers and tasks go on: only the process counts")
async def o3_submitting_thread_ends(trial: Trial) -> None:
    for method in METHODS:
        async with open_yard(trial, method) as yard:
            on, found = yard.pool.options(executor="processes"), []
            function = yard.booked(nap)

            def submit() -> None:
                found.extend(on.submit_threadsafe(function, 0.3) for _ in range(4))  # noqa: B023 - joined below

            thread = threading.Thread(target=submit)
            thread.start()
            await asyncio.to_thread(thread.join)
            values = await asyncio.gather(*map(asyncio.wrap_future, found))
            trial.add("tasks", len(values))
            trial.add("lost", values.count(None))
            before = set(yard.workers())
            await yard.run(echo, [*range(10)])
            trial.expect(before == set(yard.workers()), "workers were replaced")


@scenario("O4", "kill -9 of a controller under $(...)", "its caller returns within 2 s: nobody holds its output open")
def o4_callers_pipe(trial: Trial) -> None:
    for method in METHODS:
        with controller(trial, "grandchildren", method) as process:
            assert process.stdout is not None
            since = time.monotonic()
            process.kill()
            process.stdout.read()  # to its end, as a shell does
            trial.worst("returned_after_s", time.monotonic() - since)
            _, left = leaks.gone_after(leaks.tokened, since)
            trial.add("orphans", left)
    returned = trial.figures["returned_after_s"]
    trial.expect(isinstance(returned, float) and returned < 2.0, f"the caller returned after {returned} s")


@scenario(
    "O5", "a time limit, and grandchildren: setsid, nohup, forked twice", "the task's programs end with it", long_s=90.0
)
async def o5_grandchildren(trial: Trial) -> None:
    for method in METHODS:
        async with open_yard(trial, method) as yard:
            known = {*leaks.tokened()}
            modes = ["setsid", "nohup", "daemon"]
            outcomes = await yard.run(leave_behind, modes, bad=range(3), timeout=0.7)
            since = time.monotonic()
            trial.expect(all(o.state is TaskState.TIMED_OUT for o in outcomes), "a task was not timed out")

            def strays() -> list[int]:
                return [pid for pid in leaks.tokened() if _sleeps(pid) and pid not in known]  # noqa: B023

            took_s, left = await asyncio.to_thread(leaks.gone_after, strays, since)
            trial.worst(f"gone_after_s_{method}", took_s)
            trial.tell(f"left_{method}", left)
            if method == "zygote":  # without a subreaper the figure is told only
                trial.add("orphans", left)
            leaks.kill(strays())


def _sleeps(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"sleep\x001000" in command or b"os.setsid()" in command
