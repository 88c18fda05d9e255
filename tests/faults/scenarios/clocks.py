"""B4: the wall clock moves, and time limits are met to the moment."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

from suite.registry import scenario
from suite.tasks import echo, nap
from suite.trial import METHODS, Trial
from suite.yard import open_yard

CLOCKWORK = Path(__file__).parents[1] / "suite" / "clockwork.py"
_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
static long ahead(void) {
    long by = 0;
    FILE *file = fopen("step", "re");
    if (file) { if (fscanf(file, "%ld", &by) != 1) by = 0; fclose(file); }
    return by;
}
int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, at);
    if (!failed && clock == CLOCK_REALTIME) at->tv_sec += ahead();
    return failed;
}
int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    if (!failed && at) { at->tv_sec = now.tv_sec; at->tv_usec = now.tv_nsec / 1000; }
    return failed;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return at ? (*at = now.tv_sec) : now.tv_sec;
}
"""


@scenario(
    "T1",
    "the wall clock steps by +2 h, -2 h, a day",
    "no time limit is met by it, no duration is negative",
    short_s=60.0,
)
def t1_steps(trial: Trial) -> None:
    for method in METHODS:
        _run(trial, "patched", [sys.executable, str(CLOCKWORK), method, "patch"])
        if trial.long or method == "zygote":
            _shimmed(trial, method)
            _unshared(trial, method)


def _run(trial: Trial, what: str, command: list[str], folder: str = "", **env: str) -> None:
    ran = subprocess.run(
        command,
        env={**os.environ, **env},
        cwd=folder or mkdtemp(dir=trial.folder),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    if ran.returncode:
        trial.expect(False, f"{what}: it ended with {ran.returncode}: {ran.stderr.strip().splitlines()[-1:]}")
        return
    told = json.loads(ran.stdout.splitlines()[-1])
    trial.tell(f"steps_{what}", len(told["steps_seen"]) if what != "unshared" else "monotonic")
    if what != "unshared":
        trial.expect(len(told["steps_seen"]) == 3, f"{what}: the clock was seen to step by {told['steps_seen']} h")
    trial.add("tasks", told["tasks"])
    for name in ("false_timeouts", "failed", "negative", "too_long"):
        trial.add(name, told[name])
        trial.expect(not told[name], f"{what}: {name} {told[name]}")


def _shimmed(trial: Trial, method: str) -> None:
    """The clock of all processes steps, below Python."""
    compiler = shutil.which("cc")
    if compiler is None:
        trial.tell("steps_shimmed", "no C compiler here")
        return
    folder = mkdtemp(dir=trial.folder)
    source, shim = Path(folder, "shim.c"), Path(folder, "shim.so")
    source.write_text(_SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(shim), str(source), "-ldl"], check=True, timeout=30)
    _run(trial, "shimmed", [sys.executable, str(CLOCKWORK), method, "outside"], folder, LD_PRELOAD=str(shim))


def _unshared(trial: Trial, method: str) -> None:
    """The monotonic clock is another one than the machine's, by a day."""
    prefix = ["unshare", "-T", "--monotonic", "86400", "--boottime", "86400"]
    tried = (
        subprocess.run([*prefix, "true"], capture_output=True, timeout=10, check=False)
        if shutil.which("unshare")
        else None
    )
    if tried is None or tried.returncode:
        trial.tell("steps_unshared", "no time namespace can be made here")
        return
    _run(trial, "unshared", [*prefix, sys.executable, str(CLOCKWORK), method, "patch"])


async def nap_async(item: float) -> float:
    """Sleep for exactly the time limit, as a coroutine."""
    await asyncio.sleep(item)
    return item


@scenario(
    "T2", "time limits that equal the duration", "exactly one outcome each, and none that comes late", long_s=400.0
)
async def t2_races(trial: Trial) -> None:
    limit_s = 0.02
    for method in METHODS:
        async with open_yard(trial, method, thread_workers=4, async_workers=8) as yard:
            counts = {"processes": (60, 1000), "asyncio": (200, 1000), "threads": (60, 1000)}
            if method == "interpreter":
                counts = {"processes": (10, 100)}
            for executor, (few, many) in counts.items():
                count = trial.pick(few, many)
                function = nap_async if executor == "asyncio" else nap
                outcomes = await yard.run(
                    function, [limit_s] * count, bad=range(count), executor=executor, timeout=limit_s
                )
                trial.add(f"timed_out_{executor}", sum(not outcome.ok for outcome in outcomes))
                await yard.run(echo, [1, 2, 3])
