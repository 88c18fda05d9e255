"""B3: arguments, results and exceptions that can't be carried, or do harm on the way."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from longshore import Outcome, TaskState
from suite import bad, leaks
from suite.registry import scenario
from suite.tasks import echo, end_oddly, give, odd, zeros
from suite.trial import METHODS, Trial
from suite.yard import Yard, open_yard

ITEMS = 12
AT = 5
_WAIT_S = 15.0
_OWN_PROCESS = """
import longshore, sys
from suite.bad import AtPickle
def work(item): return 1
items = [1, 2, AtPickle(sys.argv[1]), 3]
settings = longshore.Settings(probes=(), executors={"processes": {"start_method": sys.argv[2]}})
print([outcome.ok for outcome in longshore.outcomes(work, items, executor="processes", settings=settings)])
"""


WORKERS_POINTS = ("unpickle argument", "pickle result", "unpickle result", "pickle exception", "unpickle exception")


@scenario(
    "S1",
    "crash, exit, raise, hang as anything is pickled or read: 24 cases",
    "that task fails with its cause; no other",
    short_s=90.0,
    long_s=300.0,
)
async def s1_on_the_way(trial: Trial) -> None:
    for method in METHODS:
        for point in WORKERS_POINTS:
            async with open_yard(trial, method) as yard:
                for action in bad.ACTIONS:
                    item = bad.AtUnpickle(action) if point == "unpickle argument" else (point, action)
                    await case(yard, f"{action} at {point} by {method}", item, action, "exception" in point)
        async with open_yard(trial, method) as yard:
            await case(yard, f"raise at pickle argument by {method}", bad.AtPickle("raise"), "raise", False)
        for action in ("crash", "exit"):
            _in_the_callers_process(trial, action, method)
        async with open_yard(trial, method) as yard:
            await case(yard, f"hang at pickle argument by {method}", bad.AtPickle("hang"), "hang", False)
    bad.OVER.set()


async def case(yard: Yard, name: str, item: Any, action: str, is_exception: bool) -> None:
    """Run some tasks, one of which does harm."""
    trial = yard.trial
    trial.add("cases")
    items = [number if number != AT else item for number in range(ITEMS)]
    try:
        async with asyncio.timeout(_WAIT_S):
            outcomes = await yard.run(give, items, bad={AT}, timeout=0.5)
    except TimeoutError:
        trial.add("hung")
        trial.expect(False, f"{name}: it hung")
        return
    state = TaskState.TIMED_OUT if action == "hang" else TaskState.FAILED
    found = outcomes[AT]
    kind = _kind(action, is_exception)
    right = found.state is state and found.error is not None and found.error.type.rpartition(".")[2] in kind
    trial.expect(right, f"{name}: {found.state.value} {found.error and found.error.type}, not {state.value} {kind}")


def _kind(action: str, is_exception: bool) -> tuple[str, ...]:
    if action in ("crash", "exit"):
        return ("WorkerDied",)
    if action == "hang":
        return ("TaskTimeout",)
    return ("AtPickleError", "AtUnpickleError") if is_exception else ("PayloadError",)


def _in_the_callers_process(trial: Trial, action: str, method: str) -> None:
    """An argument is pickled where it is: one that ends its process ends the caller's, which it would without us."""
    trial.add("cases")
    paths = os.pathsep.join(sys.path)
    ran = subprocess.run(
        [sys.executable, "-c", _OWN_PROCESS, action, method],
        env={**os.environ, "PYTHONPATH": paths},
        timeout=30,
        check=False,
        capture_output=True,
    )
    ended = {"crash": -signal.SIGKILL, "exit": 3}[action]
    trial.expect(
        ran.returncode == ended, f"{action} at pickle argument: the caller's process ended with {ran.returncode}"
    )
    _, left = leaks.gone_after(leaks.tokened, asyncio.get_running_loop().time())
    trial.add("orphans", left)


@scenario(
    "S2", "exceptions that are hard to carry", "type, message and traceback are told; a cause that travels is kept"
)
async def s2_odd_exceptions(trial: Trial) -> None:
    for method in METHODS:
        async with open_yard(trial, method) as yard:
            kinds = list(bad.ODD)
            outcomes = await yard.run(bad.raise_odd, kinds, bad=range(len(kinds)), timeout=20.0)
            for kind, outcome in zip(kinds, outcomes, strict=True):
                error = outcome.error
                told = error is not None and error.type.endswith(bad.ODD[kind]) and "raise_odd" in error.traceback
                trial.expect(told, f"{kind}: told as {error and error.type}")
                trial.expect(error is not None and error.message, f"{kind}: no message")
            cause = _cause_of(outcomes[kinds.index("with a cause")])
            trial.expect(isinstance(cause, KeyError), f"the cause that came is {cause!r}")
            trial.add("kinds", len(kinds))
            await yard.run(echo, [1, 2, 3])


def _cause_of(outcome: Outcome) -> BaseException | None:
    remote = outcome.exception.__cause__ if outcome.exception else None
    return remote.__cause__ if remote else None


@scenario(
    "S3",
    "results of any size, and some that are none",
    "each is whole, or its own task fails",
    short_s=60.0,
    long_s=300.0,
)
async def s3_sizes(trial: Trial) -> None:
    sizes = [0, 1, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, trial.pick(20_000_000, 100_000_000)]
    for method in METHODS:
        async with open_yard(trial, method, workers=1) as yard:
            for size in sizes:
                await yard.run(zeros, [size], expected=zeros)
            before = peak_bytes()
            await yard.run(zeros, sizes[-1:], expected=zeros)
            trial.worst("peak_bytes_per_byte", max(0, peak_bytes() - before) / sizes[-1])
            kinds = ["generator", "open file", "lambda", "ring"]
            outcomes = await yard.run(odd, kinds, bad=range(4))
            fine = [outcome.ok for outcome in outcomes]
            trial.expect(fine == [False, False, True, True], f"of {kinds} came {fine}")
            await yard.run(echo, [1, 2, 3])
    if trial.long:
        await _huge(trial)


async def _huge(trial: Trial) -> None:
    free = psutil.virtual_memory().available
    if free < 8 << 30:
        trial.notes.append(f"2.2 GB left out: {free >> 20} MB are free")
        return
    async with open_yard(trial, "zygote", workers=1, task_memory_limit_mb=16_384) as yard:
        await yard.run(zeros, [2_200_000_000], expected=zeros)


def peak_bytes() -> int:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@scenario(
    "S4", "thousands of results of 1 MB, and a slow consumer", "the controller's memory stays bounded", long_s=600.0
)
async def s4_slow_consumer(trial: Trial) -> None:
    async with open_yard(trial, "zygote") as yard:
        await yard.run(zeros, [1] * 10, expected=zeros)
        count, before, found = trial.pick(400, 10_000), resident(), 0
        async with yard.pool.options(executor="processes").outcomes(zeros, [1_000_000] * count) as stream:
            async for outcome in stream:
                found += outcome.ok
                trial.worst("held_mb", (resident() - before) / 1e6)
                await asyncio.sleep(0.001)
        trial.add("tasks", count)
        trial.add("lost", count - found)
    held = trial.figures["held_mb"]
    trial.expect(isinstance(held, float) and held <= 256, f"the controller held {held} MB of results nobody had taken")


def resident() -> int:
    """Return how much memory this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@scenario("S5", "results whose `__del__` or `__eq__` raises or blocks", "no hang; the others give their results")
async def s5_odd_ends(trial: Trial) -> None:
    for method in METHODS:
        async with open_yard(trial, method) as yard:
            for how in ("del raises", "del blocks", "eq raises", "eq blocks"):
                items = [how if number == AT else number for number in range(ITEMS)]
                outcomes = await yard.run(end_oddly, items, bad={AT}, timeout=0.5)
                trial.tell(how.replace(" ", "_"), outcomes[AT].state.value)
