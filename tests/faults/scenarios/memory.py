"""B6: tasks, workers and controllers that run out of memory, or of descriptors."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from longshore import Outcome, PoolNotRunning
from suite.cgroups import Group, group
from suite.hogs import MB, WAYS, block, leak, take
from suite.registry import scenario
from suite.tasks import echo, nap
from suite.trial import Skipped, Trial
from suite.yard import Yard, open_yard

LIMIT_MB = 64
TAKEN_MB = 10 * LIMIT_MB
RUNGS = ("control-group", "polling", "address-space")
UNCOUNTED: dict[str, set[str]] = {
    "control-group": {"file_mapped", "forks_share"},
    "polling": {"file_mapped", "forks_share", "tmpfs"},
    "address-space": {"forks_share", "tmpfs"},
}
"""Ways that no rung, or not this one, holds against a task."""
_SMALL = 20
_SHORT_WAYS = ("at_once", "tmpfs", "grandchild", "forks_share")


@scenario(
    "M1",
    "a task takes ten times its limit of memory, in seven ways",
    "MemoryLimitExceeded, with how far it got; what no rung counts is let be",
    short_s=60.0,
    long_s=300.0,
)
async def m1_over_the_limit(trial: Trial) -> None:
    with _meter(trial) as meter:
        for rung in RUNGS:
            try:
                async with open_yard(
                    trial, "zygote", task_memory_limit_mb=LIMIT_MB, processes={"memory_limit_by": rung}
                ) as yard:
                    await yard.run(echo, [*range(_SMALL)])
                    for way in trial.pick(_SHORT_WAYS, tuple(WAYS)):
                        await _over(trial, yard, rung, way, meter)
            except RuntimeError as error:
                trial.expect(rung == "control-group", f"{rung}: {error}")
                trial.tell("control-group", "none here")


async def _over(trial: Trial, yard: Yard, rung: str, way: str, meter: Group | None) -> None:
    """Have one of some tasks take too much; how much that was at most is seen from outside, by the kernel's count."""
    at_fault = way not in UNCOUNTED[rung]
    before = _reset(meter)
    items: list[Any] = [*range(_SMALL)]
    items[_SMALL // 2] = (way, TAKEN_MB)
    outcomes = await yard.run(take, items, bad={_SMALL // 2} if at_fault else (), timeout=30.0)
    bad = outcomes[_SMALL // 2]
    if not at_fault:
        return
    kind = bad.error.type.rpartition(".")[2] if bad.error else bad.state.value
    trial.expect(kind == "MemoryLimitExceeded", f"{way} by {rung} ended as {kind}")
    facts = getattr(bad.exception, "facts", {})
    trial.expect(facts.get("limit_mb") == LIMIT_MB, f"{way} by {rung} tells {facts}")
    peak_mb = _peak_mb(meter, before) if meter is not None else float(facts.get("peak_memory_mb", 0.0))
    trial.worst(f"{rung}_over_mb_{way}", round(max(0.0, peak_mb - LIMIT_MB), 1))
    trial.worst("told_after_s", bad.ran_s)


@contextmanager
def _meter(trial: Trial) -> Iterator[Group | None]:
    """Have this process and all below it counted, where a control group can be made for that."""
    try:
        context = group("memory")
        with context as meter:
            meter.take_in(os.getpid())
            yield meter
    except Skipped as reason:
        trial.tell("measured", f"by ourselves: {reason}")
        yield None


def _reset(meter: Group | None) -> float:
    """Begin to look for the peak anew; return what is used now, in MB."""
    if meter is None:
        return 0.0
    with suppress(OSError):
        meter.write("memory.force_empty", 0)  # pages of files that others left would count
    meter.write("memory.max_usage_in_bytes", 0)
    return int(meter.read("memory.usage_in_bytes")) / MB


def _peak_mb(meter: Group, before_mb: float) -> float:
    return int(meter.read("memory.max_usage_in_bytes")) / MB - before_mb


@scenario(
    "M8",
    "each task leaves 3 MB in its worker; replaced after two, or at 100 MB",
    "no task is lost or run again, and no worker grows beyond",
    short_s=40.0,
    long_s=580.0,
)
async def m8_leak(trial: Trial) -> None:
    count, most_mb = trial.pick(200, 10_000), 100.0
    async with open_yard(trial, "zygote", processes={"max_tasks_per_worker": 2}) as yard:
        outcomes = await yard.run(leak, [3] * count, bad=range(count))
        _all_ran(trial, outcomes)
        trial.worst("grown_mb_by_two", max(outcome.value or 0.0 for outcome in outcomes))
    async with open_yard(trial, "zygote", processes={"max_worker_memory_mb": most_mb}) as yard:
        outcomes = await yard.run(leak, [3] * count, bad=range(count))
        _all_ran(trial, outcomes)
        grown_mb = max(outcome.value or 0.0 for outcome in outcomes)
        trial.worst("grown_mb_by_size", grown_mb)
        # What was sent by then is run: two batches of 4 ms.
        trial.expect(grown_mb <= most_mb * 1.5, f"a worker grew to {grown_mb:.0f} MB, and {most_mb:.0f} is the mark")
        used = Counter(line.pid for line in yard.lines() if not line.ended)
        trial.tell("workers_used_by_size", len(used))


def _all_ran(trial: Trial, outcomes: list[Outcome]) -> None:
    bad = [outcome for outcome in outcomes if not outcome.ok]
    trial.add("bystanders", len(bad))
    trial.notes += [str(outcome.error) for outcome in bad[:5]]


@scenario(
    "M10",
    "the controller itself gets no more memory (RLIMIT_AS)",
    "no hang: each task ends, or the pool says why it can't go on; later ones work",
    long_s=120.0,
)
async def m10_controller_without_memory(trial: Trial) -> None:
    count, size = trial.pick(20, 100), 16 * MB
    async with open_yard(trial, "zygote") as yard:
        await yard.run(echo, [*range(20)])
        try:
            with _addresses(48 * MB):
                outcomes = await yard.run(block, [size] * count, bad=range(count), timeout=20.0)
        except PoolNotRunning as error:
            trial.tell("ended_as", f"pool: {type(error.__cause__).__name__}")
            trial.expect(error.__cause__ is not None or "memory" in str(error).lower(), f"the pool says {error}")
            return
        kinds = Counter(o.error.type.rpartition(".")[2] if o.error else o.state.value for o in outcomes)
        trial.tell("ended_as", " ".join(f"{kind}:{number}" for kind, number in sorted(kinds.items())))
        trial.expect(len(kinds) > 1 or "completed" not in kinds, "nothing was short of memory")
        del outcomes
        yard.outcomes.clear()
        await yard.run(echo, [*range(20)])


@contextmanager
def _addresses(more: int) -> Iterator[None]:
    """Let this process map no more than `more` bytes in addition."""
    kept = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + more, kept[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, kept)


@scenario(
    "M11",
    "descriptors run out (RLIMIT_NOFILE 64)",
    "fewer workers do the work, or one clear error; with more descriptors there are more workers again",
    long_s=120.0,
)
async def m11_no_descriptors(trial: Trial) -> None:
    async with open_yard(trial, "zygote", workers=16) as yard:
        with _descriptors(64):
            await yard.run(nap, [0.05] * trial.pick(60, 400), timeout=60.0)
        few = len({line.pid for line in yard.lines()})
        trial.tell("workers_with_64", few)
        trial.expect(0 < few < 16, f"{few} workers with 64 descriptors")
        began = time.monotonic()
        while len(yard.workers()) < 16 and time.monotonic() - began < 20.0:
            await yard.run(nap, [0.05] * 32)
        trial.tell("workers_later", len(yard.workers()))
        trial.worst("all_back_s", time.monotonic() - began)
        trial.expect(len(yard.workers()) == 16, f"{len(yard.workers())} workers of 16 once there are descriptors")
    await _none_at_all(trial)


async def _none_at_all(trial: Trial) -> None:
    """There is none for even one worker: the pool says so, by what is short."""
    try:
        async with open_yard(trial, "zygote", workers=2) as yard:
            await asyncio.sleep(0)
            with _descriptors(_open_now() + 4):
                outcomes = await yard.run(echo, [1, 2], bad={0, 1})
            told = [outcome.error.message if outcome.error else outcome.state.value for outcome in outcomes]
            trial.expect(all("open files" in text.lower() for text in told), f"it says {told}")
    except PoolNotRunning as error:
        trial.expect("open files" in str(error).lower(), f"the pool says {error}")


def _open_now() -> int:
    return max(map(int, os.listdir("/proc/self/fd")))


@contextmanager
def _descriptors(most: int) -> Iterator[None]:
    kept = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, kept[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, kept)
