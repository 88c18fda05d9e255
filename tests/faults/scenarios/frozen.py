"""B1, second half: workers and controllers that are stopped, busy, or beyond reach, and not dead."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

from longshore import TaskState
from suite import leaks
from suite.cgroups import Group, group
from suite.registry import scenario
from suite.tasks import echo, hold_the_interpreter, nap, stop_if
from suite.trial import METHODS, Trial
from suite.yard import Yard, open_yard

STOP = signal.SIGSTOP


@scenario("K10", "SIGSTOP to a worker", "killed at the task's time limit, or when it does not begin", long_s=180.0)
async def k10_stopped_worker(trial: Trial) -> None:
    for method in METHODS:
        async with open_yard(trial, method) as yard:
            outcomes = await yard.run(stop_if, [*range(8)], bad={3}, timeout=0.5)
            trial.expect(outcomes[3].state is TaskState.TIMED_OUT, f"the stopped task is {outcomes[3].state.value}")
            yard.times([outcomes[3]])
    async with open_yard(trial, "zygote", workers=1) as yard:
        await yard.run(echo, [1, 2])
        [stopped] = {line.pid for line in yard.lines()}
        leaks.kill([stopped], STOP)
        began = time.monotonic()
        await yard.run(echo, [1, 2, 3], timeout=30.0)
        trial.worst("found_idle_s", time.monotonic() - began)
    again = [line for line in yard.lines() if line.pid == stopped and line.at > began]
    trial.expect(not again, "the stopped worker ran something after it was given up")


_STOPPER = """
import os, signal, sys, time
pid, after_s, for_s = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
time.sleep(after_s)
os.kill(pid, signal.SIGSTOP)
time.sleep(for_s)
os.kill(pid, signal.SIGCONT)
"""


@scenario("K11", "SIGSTOP to the controller, then SIGCONT", "no task is timed out for that", long_s=180.0)
async def k11_stopped_controller(trial: Trial) -> None:
    for_s = trial.pick(3.0, 30.0)
    for method in METHODS:
        async with open_yard(trial, method) as yard:
            await yard.run(echo, [1, 2])
            stopper = subprocess.Popen([sys.executable, "-c", _STOPPER, str(os.getpid()), "0.5", str(for_s)])
            outcomes = await yard.run(nap, [0.1] * 40, timeout=1.0)
            stopper.wait()
            trial.add("falsely_killed", sum(outcome.state is TaskState.TIMED_OUT for outcome in outcomes))
    trial.expect(not trial.figures["falsely_killed"], "tasks were timed out for the time the controller was stopped")


@scenario("K12", "a task holds the interpreter for long", "it is not taken for dead", long_s=90.0)
async def k12_gil_hog(trial: Trial) -> None:
    for method in METHODS:
        async with open_yard(trial, method, worker_heartbeat_interval=0.1) as yard:
            await yard.run(hold_the_interpreter, [trial.pick(2.0, 20.0), 0.0, 0.0], timeout=60.0)
        events = yard.events_path.read_text(encoding="ascii").splitlines()
        errors = [event for event in map(json.loads, events) if event["type"] == "worker_error"]
        trial.add("falsely_dead", len(errors))
    trial.expect(not trial.figures["falsely_dead"], "a worker that was busy was taken for dead")


@scenario(
    "K13", "a worker that even SIGKILL does not end", "it is reported, and the pool goes on in its place", long_s=90.0
)
async def k13_unkillable(trial: Trial) -> None:
    with group("freezer") as frozen:
        async with open_yard(trial, "zygote", workers=1) as yard:
            try:
                await _freeze_one(trial, yard, frozen)
            finally:
                frozen.write("freezer.state", "THAWED")


async def _freeze_one(trial: Trial, yard: Yard, frozen: Group) -> None:
    hanging = asyncio.create_task(yard.run(nap, [1000.0], bad={0}, timeout=1.0))
    while not yard.lines():
        await asyncio.sleep(0.01)
    [victim] = {line.pid for line in yard.lines()}
    frozen.take_in(victim)
    frozen.write("freezer.state", "FROZEN")
    began = time.monotonic()
    [outcome] = await hanging
    trial.worst("written_off_s", time.monotonic() - began)
    said = outcome.error.message if outcome.error else ""
    right = outcome.state is TaskState.TIMED_OUT and "could not be killed" in said
    trial.expect(right, f"the task is {outcome.state.value}, and it is said: {said}")
    await yard.run(echo, [1, 2, 3])
