"""B1: workers that can't be started, or can't get ready."""

from __future__ import annotations

import os
import sys
import time

from longshore import PoolNotRunning
from suite import audit
from suite.cgroups import Group, group
from suite.registry import scenario
from suite.tasks import Getting, echo, nap
from suite.trial import METHODS, Trial
from suite.yard import open_yard

TRIES_A_SECOND = 60
_SAME_S = 3.0  # between two tasks of one worker that waits for none


@scenario(
    "K8", "no more processes, or no interpreter", "fewer workers or one clear error, and no busy loop", long_s=180.0
)
async def k8_spawn_fails(trial: Trial) -> None:
    for method in METHODS:
        await _missing_interpreter(trial, method)
    with group("pids") as limited:
        limited.take_in(os.getpid())
        await _few_processes(trial, limited)
        await _no_processes(trial, limited)


async def _missing_interpreter(trial: Trial, method: str) -> None:
    """Nothing can be started at all: the pool says so, and its tasks fail with the reason."""
    kept, sys.executable = sys.executable, "/nonexistent/python"
    began = time.monotonic()
    try:
        async with open_yard(trial, method) as yard:
            outcomes = await yard.run(echo, [1, 2], bad={0, 1})
            told = [outcome.error.message if outcome.error else "" for outcome in outcomes]
            trial.expect(all("cannot be started" in text and "nonexistent" in text for text in told), f"it says {told}")
    except PoolNotRunning as error:
        trial.expect("cannot be started" in str(error), f"the pool says {error}")
    finally:
        sys.executable = kept
    trial.worst("gave_up_s", time.monotonic() - began)


async def _few_processes(trial: Trial, limited: Group) -> None:
    """There is room for some workers of four, at least for one: they do all the work."""
    async with open_yard(trial, "zygote", workers=4) as yard:
        # The zygote, two workers of two threads each, and the thread here that passes on what workers say.
        limited.write("pids.max", int(limited.read("pids.current")) + 6)
        refused, began = _refused(limited), time.monotonic()
        await yard.run(nap, [0.1] * trial.pick(40, 200))
        rate = (_refused(limited) - refused) / (time.monotonic() - began)
        trial.worst("tries_per_s", rate)
        trial.expect(rate <= TRIES_A_SECOND, f"{rate:.0f} tries to start a worker a second")
        trial.tell("workers_left", len({line.pid for line in yard.lines()}))
        limited.write("pids.max", "max")
        await yard.run(echo, [1, 2, 3])


async def _no_processes(trial: Trial, limited: Group) -> None:
    """There is room for nothing."""
    try:
        async with open_yard(trial, "zygote") as yard:
            limited.write("pids.max", limited.read("pids.current"))
            await yard.run(echo, [1, 2], bad={0, 1})
    except PoolNotRunning as error:
        trial.expect("cannot be started" in str(error), f"the pool says {error}")
    finally:
        limited.write("pids.max", "max")


def _refused(limited: Group) -> int:
    return int(limited.read("pids.events").split()[-1])


@scenario("K9", "an initializer that raises, or never ends", "tasks fail with the cause, in its limit; few are started")
async def k9_initializers(trial: Trial) -> None:
    limit_s = 1.0
    for method in METHODS:
        for action in ("raise", "hang"):
            async with open_yard(trial, method, processes={"initializer_timeout_s": limit_s}) as yard:
                calls = trial.folder / f"calls-{method}-{action}"
                began = time.monotonic()
                outcomes = await yard.run(echo, [*range(20)], bad=range(20), initializer=Getting(calls, action))
                trial.worst(f"told_after_s_{action}", time.monotonic() - began)
                told = {outcome.error.type.rpartition(".")[2] for outcome in outcomes if outcome.error}
                wanted = {"RuntimeError"} if action == "raise" else {"TaskTimeout"}
                trial.expect(told == wanted, f"{action} by {method}: told as {told}")
                pids = calls.read_text(encoding="ascii").split()
                trial.worst("workers_used", len(set(pids)))
                trial.expect(len(set(pids)) <= 6, f"{action} by {method}: {len(set(pids))} workers were used up")
                await yard.run(echo, [1, 2, 3])


@scenario(
    "RECYCLE", "each worker is replaced after two tasks", "as many outcomes as tasks, and each ran once", long_s=600.0
)
async def recycling(trial: Trial) -> None:
    count = trial.pick(200, 10_000)
    async with open_yard(trial, "zygote", processes={"max_tasks_per_worker": 2}) as yard:
        await yard.run(echo, [*range(count)])
        lines = audit.starts(yard.lines())
    by_worker: list[list[float]] = []
    last: dict[int, list[float]] = {}
    for line in lines:  # a number of a process comes again after some time
        if line.pid not in last or line.at - last[line.pid][-1] > _SAME_S:
            last[line.pid] = []
            by_worker.append(last[line.pid])
        last[line.pid].append(line.at)
    trial.tell("workers_used", len(by_worker))
    most = max(map(len, by_worker))
    trial.expect(most <= 2, f"a worker ran {most} tasks, and may run 2")
    trial.expect(len(lines) == count, f"{len(lines)} executions of {count} tasks")
