"""B2, second half: signals, exits, forks, and scripts without a guard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from suite import leaks
from suite.registry import scenario
from suite.trial import METHODS, Trial

PROGRAMS = Path(__file__).parents[1] / "suite" / "programs.py"
COUNT = 30
_JOB = """
import pathlib, time
def held(path):
    pathlib.Path("began-" + pathlib.Path(path).name).touch()
    until = time.monotonic() + 30
    while not pathlib.Path("go").exists() and time.monotonic() < until:
        time.sleep(0.005)
    return path
def quick(path):
    time.sleep(0.01)
    return path
"""


@contextmanager
def command(trial: Trial, function: str, *options: str) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """Start `longshore run` on a folder of inputs, in a session of its own."""
    folder = Path(mkdtemp(dir=trial.folder))
    (folder / "job.py").write_text(_JOB)
    (folder / "in").mkdir()
    for number in range(COUNT):
        (folder / "in" / f"{number:03}").touch()
    words = [
        "run",
        f"job:{function}",
        "in",
        "--workers",
        "2",
        "--progress",
        "none",
        "--executor",
        "processes",
        *options,
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "longshore", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # as a shell has it
    ) as process:
        try:
            yield folder, process
        finally:
            leaks.kill([process.pid])


def over(trial: Trial, what: str, process: subprocess.Popen[bytes], codes: set[int], within_s: float = 10.0) -> str:
    """Wait for the end; expect one of these codes, no traceback, and nothing left. Return what it said."""
    began = time.monotonic()
    try:
        _, said = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        _, said = process.communicate()
        trial.expect(False, f"{what}: it did not end within 30 s")
    took_s = time.monotonic() - began
    text = said.decode(errors="replace")
    trial.worst("ended_after_s", took_s)
    trial.expect(took_s <= within_s, f"{what}: it took {took_s:.1f} s to end")
    trial.expect(process.returncode in codes, f"{what}: it ended with {process.returncode}, not {sorted(codes)}")
    trial.expect("Traceback" not in text, f"{what}: there is a traceback")
    if "Traceback" in text:
        trial.notes += text.splitlines()[-12:]
    _, left = leaks.gone_after(leaks.tokened, time.monotonic())
    trial.add("orphans", left)
    return text


def begun(folder: Path, number: int) -> bool:
    """Wait until so many tasks have begun."""
    return leaks.wait_for(lambda: len(list(folder.glob("began-*"))) >= number, 20.0)


def answered(process: subprocess.Popen[bytes]) -> None:
    """Wait until the command has said that what runs may end, or says no more."""
    assert process.stderr is not None
    while (said := process.stderr.readline()) and b"nothing new is begun" not in said:
        pass


@scenario(
    "O6",
    "Ctrl-C once, twice, and while it ends",
    "once: nothing new starts; twice: at once; 130, no traceback",
    long_s=300.0,
)
def o6_interrupts(trial: Trial) -> None:
    for _ in range(trial.pick(1, 5)):
        with command(trial, "held", "-o", "out.jsonl") as (folder, process):
            trial.expect(begun(folder, 2), "no task began")
            os.killpg(process.pid, signal.SIGINT)
            answered(process)
            (folder / "go").touch()
            over(trial, "once", process, {130})
            started, lines = len(list(folder.glob("began-*"))), (folder / "out.jsonl").read_bytes().count(b"\n")
            trial.expect(started < COUNT, "once: new tasks were begun")
            trial.add("lost", COUNT - lines)
        with command(trial, "held", "-o", "out.jsonl") as (folder, process):
            begun(folder, 2)
            os.killpg(process.pid, signal.SIGINT)
            answered(process)  # two at once would be one
            os.killpg(process.pid, signal.SIGINT)
            over(trial, "twice", process, {130})
            trial.add("lost", COUNT - (folder / "out.jsonl").read_bytes().count(b"\n"))
    for _ in range(trial.pick(2, 40)):
        with command(trial, "quick", "-o", "out.jsonl") as (_, process):
            time.sleep(trial.dice.uniform(0.1, 1.2))  # somewhere between its import and its end
            os.killpg(process.pid, signal.SIGINT)
            over(trial, "at any moment", process, {0, 130, -2})


@scenario(
    "O7",
    "SIGTERM, SIGHUP, and a reader that goes away",
    "it ends with the code that is documented, in order",
    long_s=120.0,
)
def o7_other_signals(trial: Trial) -> None:
    for number, code in ((signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        with command(trial, "held", "-o", "out.jsonl") as (folder, process):
            begun(folder, 2)
            process.send_signal(number)
            answered(process)
            (folder / "go").touch()
            over(trial, number.name, process, {code})
    with command(trial, "quick") as (_, process):
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        over(trial, "| head -1", process, {0, 1, 3, 4, 141, -signal.SIGPIPE})
        trial.tell("code_of_a_closed_pipe", process.returncode)


ENDS: dict[str, tuple[int, str]] = {
    "exits": (3, ""),
    "raises": (1, "LookupError: the user's own"),
    "dies": (5, ""),
    "forgets": (0, ""),
    "drops": (0, ""),
    "keeps": (0, ""),
    "asks_at_exit": (0, ""),
}


def program(trial: Trial, name: str, code: int, tail: str) -> str:
    """Run one of the programs; expect its exit code, the end of its errors, and nothing left. Return its output."""
    began = time.monotonic()
    try:
        ran = subprocess.run(
            [sys.executable, str(PROGRAMS), name], capture_output=True, text=True, timeout=25, check=False
        )
    except subprocess.TimeoutExpired as error:
        trial.add("hung")
        trial.expect(False, f"{name}: it did not end within 25 s")
        trial.notes += (error.stderr or b"").decode().splitlines()[-10:]
        leaks.kill(leaks.tokened())
        return ""
    trial.worst("ended_after_s", time.monotonic() - began)
    last = ran.stderr.strip().splitlines()[-1:] or [""]
    trial.expect(ran.returncode == code, f"{name}: it ended with {ran.returncode}, and not {code}")
    trial.expect(last[0].endswith(tail) if tail else not last[0], f"{name}: it said {last[0]}")
    if last[0] != tail:
        trial.notes += ran.stderr.splitlines()[-15:]
    _, left = leaks.gone_after(leaks.tokened, time.monotonic())
    trial.add("orphans", left)
    return ran.stdout


@scenario(
    "O8",
    "exits, exceptions and forgotten pools, with work left",
    "the interpreter ends, and so does all it started",
    long_s=300.0,
)
def o8_exits(trial: Trial) -> None:
    for name, (code, tail) in ENDS.items():
        for _ in range(trial.pick(1, 5)):
            said = program(trial, name, code, tail)
            if name == "asks_at_exit":
                last = said.splitlines()[-1:] or [""]
                trial.expect(last[0] == "10" or last[0].startswith("refused: "), f"work at exit: {last[0]}")


@scenario("O9", "the controller forks, and its child exits", "the parent's pool is unharmed")
def o9_forks(trial: Trial) -> None:
    for _ in range(trial.pick(1, 10)):
        trial.expect(program(trial, "forks", 0, "") == "whole\n", "the parent's stream was not whole")


_UNGUARDED = """
import os
open("imported", "a").write("x")
import longshore
def twice(x): return 2 * x
settings = longshore.Settings(probes=(), executors={{"processes": {{"start_method": "{method}"}}}})
print(sum(longshore.map(twice, range(100), executor="processes", workers=2, settings=settings)))
"""


@scenario(
    "O10",
    "a script without a `__main__` guard, from stdin, by -c",
    "it works, and nobody imports it again",
    long_s=90.0,
)
def o10_no_guard(trial: Trial) -> None:
    for method in METHODS:
        text = _UNGUARDED.format(method=method)
        ways: dict[str, Callable[[Path], tuple[list[str], str]]] = {
            "script": lambda folder: ([str(folder / "script.py")], ""),
            "-c": lambda _: (["-c", text], ""),  # noqa: B023 - called at once
            "stdin": lambda _: (["-"], text),  # noqa: B023 - called at once
        }
        for name, way in ways.items():
            folder = Path(mkdtemp(dir=trial.folder))
            (folder / "script.py").write_text(text)
            arguments, given = way(folder)
            ran = subprocess.run(
                [sys.executable, *arguments],
                input=given,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            right = (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "9900", "")
            trial.expect(right, f"{name} by {method} gave {ran.returncode}, {ran.stdout} {ran.stderr[-200:]}")
            imports = len((folder / "imported").read_text())
            trial.expect(imports == 1, f"{name} by {method} was run {imports} times")
