"""B1, first half: workers that end under their tasks, by themselves, by each other's hand, or by a stranger's."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from longshore import Outcome, WorkerDied
from suite import audit, leaks
from suite.registry import scenario
from suite.tasks import (
    chatter,
    digest,
    echo,
    kill_self,
    kill_siblings,
    large_and_digest,
    large_and_killed,
    nap,
    take_large,
)
from suite.trial import METHODS, Trial
from suite.yard import Driver, Yard, open_yard, retry

TWENTY = list(range(20))
BAD = 7
ENDS: dict[str, tuple[Callable[[], Any], str | None, str]] = {
    "segfault": (lambda: ctypes.string_at(0), "signal 11", "WorkerDied"),
    "abort": (os.abort, "signal 6", "WorkerDied"),
    "_exit(0)": (lambda: os._exit(0), "exit 0", "WorkerDied"),
    "_exit(1)": (lambda: os._exit(1), "exit 1", "WorkerDied"),
    "sys.exit": (sys.exit, None, "SystemExit"),
}


def judge(trial: Trial, outcome: Outcome, reason: str | None, kind: str) -> None:
    """Expect a failure with this cause."""
    error = outcome.error
    told = f"{error.type} {error.reason}" if error else outcome.state.value
    fits = error is not None and error.type.endswith(kind) and error.reason == reason
    trial.expect(fits, f"failed as {told}, and not as {kind} {reason}")


async def twenty(yard: Yard, action: Callable[[], Any], reason: str | None, kind: str, lead: int = 100) -> None:
    """Run twenty tasks of which one is bad: one by one, then, when they are known to be short, in batches."""

    def work(item: int) -> int:
        if item == BAD:
            action()
        return item

    for before in (0, lead):
        await yard.run(echo, [-1] * before)
        outcomes = await yard.run(work, TWENTY, bad={BAD})
        judge(yard.trial, outcomes[BAD], reason, kind)
        if kind == "WorkerDied":
            yard.times([outcomes[BAD]])


@scenario("K1", "a task kills its worker with -9", "one task fails, by signal 9; a worker is back within 0.5 s")
async def k1_self_kill(trial: Trial) -> None:
    for method in METHODS:
        async with open_yard(trial, method) as yard:
            for _ in range(trial.pick(1, 20)):
                await twenty(yard, kill_self, "signal 9", "WorkerDied")
    trial.expect_within("recover_s", 0.5)


@scenario("K2", "segfault, abort, _exit(0), _exit(1), sys.exit", "one task fails, exit code and signal are named")
async def k2_other_ends(trial: Trial) -> None:
    for method in METHODS:
        async with open_yard(trial, method) as yard:
            for action, reason, kind in ENDS.values():
                for _ in range(trial.pick(1, 5)):
                    await twenty(yard, action, reason, kind, lead=trial.pick(40, 100))


@scenario("K3", "1 to 13 workers kill each other", "every task ends, and the pool goes on", long_s=600.0)
async def k3_kill_races(trial: Trial) -> None:
    for method in METHODS:
        for workers in trial.pick((1, 2, 5) if method == "zygote" else (2,), (1, 2, 5, 13)):
            async with open_yard(trial, method, workers) as yard:
                for _ in range(trial.pick(2, 50 if method == "zygote" else 10)):
                    items = [(os.getpid(), 0.0001 * number) for number in range(workers)]
                    outcomes = await yard.run(kill_siblings, items, bad=range(workers))
                    died = all(outcome.error and outcome.error.reason == "signal 9" for outcome in outcomes)
                    trial.expect(died, "a task whose worker was killed has another outcome")
                    await yard.run(echo, TWENTY[: 2 * workers])
                    trial.add("races")


@scenario("K4", "killed while 8 MiB travel, either way", "no message is torn, nobody hangs", long_s=300.0)
async def k4_kill_while_sending(trial: Trial) -> None:
    for method in METHODS:
        with trial.chaos("worker.inside-frame:0.2:kill,worker.before-results:0.2:kill"):
            async with open_yard(trial, method) as yard:
                items = [*range(1, trial.pick(9, 60))]
                await yard.run(large_and_digest, items, retry=retry(20, WorkerDied), expected=large_and_digest)
        async with open_yard(trial, method) as yard:
            # The kill may come when the next task runs: that is tried again as well.
            items = [*range(1, trial.pick(7, 40))]
            await yard.run(large_and_killed, items, retry=retry(20, WorkerDied), expected=large_and_digest)
        with trial.chaos("worker.before-items:0.3:kill"):
            async with open_yard(trial, method) as yard:
                blobs = [os.urandom(1 << 23) for _ in range(trial.pick(4, 16))]
                await yard.run(take_large, blobs, retry=retry(20, WorkerDied), expected=digest)


@scenario("K5", "killed while it holds the lock of its link", "no hang: what is locked is the worker's own")
async def k5_kill_holding_the_lock(trial: Trial) -> None:
    logging.getLogger("faults").addHandler(logging.NullHandler())
    logging.getLogger("faults").propagate = False
    for method in METHODS:
        with trial.chaos("worker.holds-link:0.03:kill,worker.before-results:0.1:0.002"):
            async with open_yard(trial, method) as yard:
                items = [*range(trial.pick(60 if method == "zygote" else 20, 600))]
                outcomes = await yard.run(chatter, items, retry=retry(50, WorkerDied))
                trial.add("deaths", sum(outcome.attempts - 1 for outcome in outcomes))
    trial.expect(trial.figures.get("deaths"), "nobody died: nothing was tried")


@scenario(
    "K6", "workers are killed at random", "no task is lost, each is retried once per kill that hit it", long_s=240.0
)
async def k6_poisson_killer(trial: Trial) -> None:
    count, rounds, mean_s = trial.pick((300, 1, 0.1), (2000, 3, 0.3))
    async with open_yard(trial, "zygote") as yard:
        kills: list[tuple[int, float]] = []

        def strike() -> None:
            pids = yard.workers()
            if pids:
                pid = trial.dice.choice(pids)
                kills.append((pid, time.monotonic()))
                leaks.kill([pid])

        with Driver(strike, lambda: trial.dice.expovariate(1 / mean_s)):
            for _ in range(rounds):
                await yard.run(nap, [0.02] * count, retry=retry(6, WorkerDied))
    lines = yard.lines()
    hits = [audit.running_at(lines, pid, at, 0.002) for pid, at in kills]
    written = {line.pid for line in lines}
    fresh = sum(pid not in written for pid, _ in kills)  # at importing its first task, which counts as running it
    sure, unsure, tried = hits.count(True), hits.count(None), yard.retried()
    trial.figures.update(
        {"kills": len(kills), "hit_a_task": sure, "near_or_before_one": unsure + fresh, "retried": tried}
    )
    most = sure + unsure + fresh
    trial.expect(sure <= tried <= most, f"{tried} retries for {sure} to {most} kills that hit a task")
    extra = len(audit.starts(lines)) - count * rounds
    trial.expect(extra <= tried, f"{extra} executions too many for {tried} retries")


@scenario("K7", "a task that kills its worker each time", "three attempts of ten, then PoisonTask; others are unharmed")
async def k7_poison(trial: Trial) -> None:
    for method in METHODS:
        async with open_yard(trial, method) as yard:

            def work(item: int) -> int:
                if item == BAD:
                    kill_self()
                return item

            outcomes = await yard.run(work, TWENTY, bad={BAD}, retry=retry(10, poison_after=3))
            error = outcomes[BAD].error
            trial.expect(
                error is not None and error.type.endswith("PoisonTask"), f"it failed as {error and error.type}"
            )
            trial.worst("attempts", outcomes[BAD].attempts)
            trial.expect(outcomes[BAD].attempts == 3, f"it was tried {outcomes[BAD].attempts} times, and not 3")
