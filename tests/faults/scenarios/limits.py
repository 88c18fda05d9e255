"""B6: what the machine has left, in a small box of memory and of CPU: what is admitted, and what is not."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import longshore
from longshore import Event
from suite import audit
from suite.boxes import BOX_MB, WORKERS, boxed, hog_in
from suite.cgroups import Group, group
from suite.hogs import MB, burn, fill, hog_command, read, strangers
from suite.registry import scenario
from suite.tasks import nap
from suite.trial import Trial
from suite.yard import Yard, open_yard

_SMALL_MB, _LARGE_MB = 50, 1500
_STALL_S = 6.0
"""Longer than it takes until one more starts, where others use the CPU and nothing ends."""


@scenario(
    "M2",
    "tasks with hidden peaks, 50 MB x 90 %, 1.5 GB x 10 %, in a box of 2 GiB",
    "the kernel kills nothing in the box, and nothing is lost; what is ended for its size runs again",
    short_s=60.0,
    long_s=180.0,
)
async def m2_hidden_peaks(trial: Trial) -> None:
    count = trial.pick(30, 200)
    peaks = [_LARGE_MB] * (count // 10) + [_SMALL_MB] * (count - count // 10)
    random.Random(trial.seed).shuffle(peaks)
    async with boxed(trial) as (_, yard):
        began = time.monotonic()
        items = [(number, peak_mb, 0.3) for number, peak_mb in enumerate(peaks)]
        await yard.run(fill, items, expected=lambda item: item[0])
        trial.worst("makespan_s", time.monotonic() - began)
        trial.tell("ended_for_their_size", yard.retried())


@scenario(
    "M3",
    "a foreign program takes 60 % of the memory while tasks run, and frees it; then others take all cores",
    "less is admitted, and it says why; nothing is killed; all workers are used again when others leave enough",
    short_s=90.0,
    long_s=180.0,
)
async def m3_outside_pressure(trial: Trial) -> None:
    held_s = trial.pick(4.0, 20.0)
    moves: list[Event] = []
    async with boxed(trial) as (box, yard):
        yard.pool.events.subscribe(moves.append, types=["resource_warning"])
        stop = asyncio.Event()
        work = asyncio.create_task(_until(yard, stop))
        await asyncio.sleep(2.0)
        began = time.monotonic()
        with hog_in(box, hog_command(int(BOX_MB * 0.6))) as hog:
            assert hog.stdout is not None
            await asyncio.to_thread(hog.stdout.readline)
            took = time.monotonic()
            while yard.pool.snapshot().throttled is None and time.monotonic() - took < 10.0:
                await asyncio.sleep(0.02)
            trial.worst("seen_after_s", time.monotonic() - took)
            said = yard.pool.snapshot().throttled
            trial.expect(said is not None and "memory" in said, f"while 60 % is taken it says {said}")
            await asyncio.sleep(held_s)
        freed = time.monotonic()
        await _all_at_once(trial, yard, freed)
        stop.set()
        await work
        lines = audit.starts(yard.lines())
        during = sum(began < line.at < freed for line in lines) / (freed - began)
        before = sum(began - 2.0 < line.at < began for line in lines) / 2.0
        trial.tell("starts_per_s", f"{before:.1f} before, {during:.1f} during")
        for level in ("soft", "hard"):
            crossed = sum(event.data["state"] == "crossed" and event.data["level"] == level for event in moves)
            trial.tell(f"{level}_pauses_per_min", round(crossed / (time.monotonic() - began) * 60.0, 1))
            trial.expect(crossed <= 2 + held_s / 10.0, f"the {level} level was crossed {crossed} times")
    await _beside_cpu_load(trial, held_s)


async def _beside_cpu_load(trial: Trial, held_s: float) -> None:
    """With the limits that hold where nobody sets any, while others use almost all cores, and afterwards."""
    async with boxed(trial, limits={}) as (_, yard):
        stop, cores = asyncio.Event(), len(os.sched_getaffinity(0))
        work = asyncio.create_task(_until(yard, stop, taken_mb=1, held_s=1.0))
        await asyncio.sleep(2.0)
        hogs = strangers(2 * cores)
        try:
            began = time.monotonic()
            while "cpu" not in (yard.pool.snapshot().throttled or "") and time.monotonic() - began < 15.0:
                await asyncio.sleep(0.02)
            said, since = yard.pool.snapshot().throttled, time.monotonic()
            named = said is not None and "used by others" in said  # over the limit by now, or until just before
            trial.expect(named, f"under load it says {said}")
            await asyncio.sleep(held_s + _STALL_S)
            until = time.monotonic()
        finally:
            for hog in hogs:
                os.kill(hog, signal.SIGKILL)
        freed = time.monotonic()
        wait_s = trial.pick(8.0, 25.0)
        while time.monotonic() - freed < wait_s and yard.pool.get_stats().active_workers < WORKERS:
            await asyncio.sleep(0.02)
        trial.worst("resumed_after_cpu_load_s", time.monotonic() - freed)
        cpu = yard.pool.snapshot().usage["cpu"]
        others_percent = (cpu.used - (cpu.own or 0.0)) / (cpu.capacity or 1.0) * 100.0
        trial.tell("others_percent_afterwards", round(others_percent))
        said = yard.pool.snapshot().throttled
        by_others = others_percent > 65.0  # whoever else is on this machine
        trial.expect(by_others or time.monotonic() - freed < wait_s, f"not all workers are used again: {said}")
        stop.set()
        await work
        during = sum(since < line.at < until for line in audit.starts(yard.lines()))
        trial.tell("starts_per_s_beside_cpu_load", round(during / (until - since), 2))
        trial.expect(during > 0, "nothing at all started beside the load")


async def _until(yard: Yard, stop: asyncio.Event, taken_mb: int = 100, held_s: float = 0.2) -> None:
    """Keep all workers busy with tasks that take so much memory for so long."""
    number = 0
    while not stop.is_set():
        items = [(number + one, taken_mb, held_s) for one in range(2 * WORKERS)]
        await yard.run(fill, items, expected=lambda item: item[0])
        number += 2 * WORKERS


async def _all_at_once(trial: Trial, yard: Yard, since: float) -> None:
    """Wait until as many run at once as there are workers."""
    while time.monotonic() - since < 25.0:
        if yard.pool.get_stats().active_workers == WORKERS:
            break
        await asyncio.sleep(0.02)
    trial.worst("resumed_after_s", time.monotonic() - since)
    trial.expect_within("resumed_after_s", 30.0)
    said = yard.pool.snapshot().throttled
    trial.expect(time.monotonic() - since < 25.0, f"not all workers are used again: {said}, {yard.pool.get_stats()}")


@scenario(
    "M4",
    "tasks read ten times more files than there is memory in their box",
    "pages of files are no pressure: as much is admitted as before",
    short_s=60.0,
    long_s=300.0,
)
async def m4_page_cache(trial: Trial) -> None:
    box_mb, file_mb, times = trial.pick((1074, 400, 1), (BOX_MB, 1000, 3))
    moves: list[Event] = []
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        paths = [_written(Path(folder, f"file-{number}"), file_mb) for number in range(WORKERS)]
        async with boxed(trial, box_mb) as (box, yard):
            yard.pool.events.subscribe(moves.append, types=["resource_warning"])
            before = yard.pool._driver.engine.concurrency
            reading = asyncio.create_task(
                yard.run(read, [(path, times) for path in paths], expected=lambda item: file_mb * MB * times)
            )
            least = before
            while not reading.done():
                least = min(least, yard.pool._driver.engine.concurrency)
                await asyncio.sleep(0.02)
            await reading
            trial.tell("read_mb", file_mb * times * WORKERS)
            trial.tell("cached_mb", round(_stat_mb(box, "total_cache")))
            trial.tell("concurrency", f"{least} of {before}")
            of_memory = [event for event in moves if event.data["resource"] == "memory"]
            trial.expect(not of_memory, f"{len(of_memory)} warnings of memory")


def _written(path: Path, size_mb: int) -> str:
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(size_mb * MB // len(block)):
            file.write(block)
        file.write(block[: size_mb * MB % len(block)])
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return str(path)


def _stat_mb(box: Group, name: str) -> float:
    counts = dict(line.split() for line in box.read("memory.stat").splitlines())
    return int(counts[name]) / MB


@scenario(
    "M5",
    "a file of 1 GiB is written to memory (tmpfs) by somebody else",
    "it is seen: what does not fit beside it waits, and says for what",
    short_s=60.0,
)
async def m5_tmpfs(trial: Trial) -> None:
    async with boxed(trial) as (_, yard):
        await yard.run(nap, [0.0] * WORKERS)
        used = yard.pool.get_stats
        before = used().resource_utilization["memory"]
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            _written(Path(folder, "hog"), 1074)
            await asyncio.sleep(2.5)
            seen = used().resource_utilization["memory"] - before
            trial.tell("seen_percent", round(seen, 1))
            trial.expect(45.0 < seen < 55.0, f"half of the box is taken, and {seen:.0f} % are seen")
            other = await yard.pool.options(executor="processes", name="small").submit(yard.booked(nap), 2.0)
            big = yard.pool.options(executor="processes", name="big", resources=longshore.Resources(memory_mb=900))
            held = await big.submit(yard.booked(nap), 0.0)
            await asyncio.sleep(0.2)
            said = yard.pool.explain(held.task_id)
            trial.tell("explained", said[said.find("waits for") :])
            trial.expect("waits for memory: needs 900 MB, " in said, f"of what waits for memory it says: {said}")
            await other
        await held
        for handle in (held, other):
            yard.outcomes[handle.task_id] = await handle.outcome()


@scenario(
    "M12",
    "four niced programs use all cores; a quota of half a core, and one core by affinity",
    "as many workers as quota and affinity allow; work goes on beside what is niced",
    short_s=60.0,
)
async def m12_cpu(trial: Trial) -> None:
    code = "import longshore; print(longshore.usable_cpus())"
    with group("cpu") as box:
        box.write("cpu.cfs_quota_us", int(int(box.read("cpu.cfs_period_us")) * 0.5))
        child = subprocess.Popen(
            [sys.executable, "-c", f"input(); {code}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        box.take_in(child.pid)
        by_quota = int(child.communicate(b"\n", timeout=60.0)[0])
    one = min(os.sched_getaffinity(0))
    by_affinity = int(
        subprocess.run(
            [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{one}}}); {code}"],
            check=True, capture_output=True, timeout=30.0,
        ).stdout
    )  # fmt: skip
    trial.tell("workers_by_quota", by_quota)
    trial.tell("workers_by_affinity", by_affinity)
    trial.expect((by_quota, by_affinity) == (1, 1), "the number of workers follows neither")
    await _beside_niced(trial)


async def _beside_niced(trial: Trial) -> None:
    burner = [sys.executable, "-c", "import os\nos.nice(19)\nwhile True: pass"]
    async with open_yard(trial, "zygote", 2, probes=("psutil",)) as yard:
        began = time.monotonic()
        await yard.run(burn, [0.2] * 10)
        alone_s = time.monotonic() - began
        trial.tell("throttled_alone", yard.pool.snapshot().throttled or "no")
        others = [subprocess.Popen(burner) for _ in range(4)]
        try:
            await asyncio.sleep(2.0)
            began = time.monotonic()
            await yard.run(burn, [0.2] * 10)
            trial.worst("times_as_long_beside", (time.monotonic() - began) / alone_s)
        finally:
            for other in others:
                other.kill()
                other.wait()
