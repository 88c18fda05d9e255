"""B6: limits that come from elsewhere: lowered under a run, of every layout, too low for any task; and GPUs."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import longshore
from longshore import Resources
from longshore.cgroups import ControlGroups, usable_memory_bytes
from longshore.records import ReadRequest
from longshore.testing import FakeSystem
from longshore_psutil import PsutilProbe
from suite import audit
from suite.boxes import BOX_MB, boxed, hog_in
from suite.hogs import MB, fill, hog_command
from suite.registry import scenario
from suite.tasks import nap
from suite.trial import Skipped, Trial
from suite.yard import Yard

_LOWERED_MB = 1200
_TICK_S = 1.0
"""How often the probe reads."""


@scenario(
    "M6",
    "the limit of the box is lowered while tasks run, and raised again",
    "the next reading has it: what does not fit any more waits and says so, what never could is refused",
    short_s=60.0,
)
async def m6_limit_lowered(trial: Trial) -> None:
    async with boxed(trial) as (box, yard):
        await yard.run(nap, [0.0] * 4)
        for turn in range(trial.pick(2, 10)):
            trial.worst("lowered_seen_s", await _until_lendable(box, yard, _LOWERED_MB))
            big = yard.pool.options(executor="processes", name="big", resources=Resources(memory_mb=1000))
            try:
                await big.submit(yard.booked(nap), 0.0)
                trial.expect(False, "1000 MB were let in where 900 may be used")
            except longshore.ResourceUnavailable as error:
                trial.expect(error.facts["limit"] < 1000, f"refused with {error.facts}")
            fits = yard.pool.options(executor="processes", name="fits", resources=Resources(memory_mb=500))
            held = [await fits.submit(yard.booked(nap), 0.3) for _ in range(3)]
            await asyncio.sleep(0.1)
            said = yard.pool.explain(held[-1].task_id)
            trial.expect("waits for memory: needs 500 MB" in said, f"of what waits it says: {said}")
            for handle in held:
                yard.outcomes[handle.task_id] = await handle.outcome()
            trial.worst("raised_seen_s", await _until_lendable(box, yard, BOX_MB))
            let_in = await big.submit(yard.booked(nap), 0.0)
            yard.outcomes[let_in.task_id] = outcome = await let_in.outcome()
            trial.expect(outcome.ok, f"after the limit was raised, in turn {turn}: {outcome.error}")
        trial.expect_within("lowered_seen_s", 1.5 * _TICK_S)
        trial.expect_within("raised_seen_s", 1.5 * _TICK_S)


async def _until_lendable(box: Any, yard: Yard, limit_mb: int) -> float:
    """Set the limit; return how long it took until the pool lends by it."""
    began = time.monotonic()
    box.write("memory.limit_in_bytes", limit_mb * MB)
    while abs(yard.pool._driver.engine._dispatch.ledger.capacity["memory"] - limit_mb * 0.75) > 1.0:
        if time.monotonic() - began > 10.0:
            break
        await asyncio.sleep(0.01)
    return time.monotonic() - began


_V2, _V1 = "/sys/fs/cgroup", "/sys/fs/cgroup/memory"
_HOST_MB = 16000
_NONE = 9223372036854771712
Groups = Mapping[str, tuple[int | str, int]]
"""Limit ("max", or MB) and use in MB of each group, by its folder."""
_LAYOUTS: dict[str, tuple[list[str], list[tuple[str, str, str]], Groups, int]] = {
    # the lines of /proc/self/cgroup, the mounts (place, controllers, root), the groups, and the limit that is right
    "v2": (["0::/job"], [(_V2, "", "/")], {f"{_V2}/job": (2000, 500)}, 2000),
    "v2_max": (["0::/job"], [(_V2, "", "/")], {f"{_V2}/job": ("max", 500)}, _HOST_MB),
    "v2_tighter_parent": (
        ["0::/batch/job"], [(_V2, "", "/")], {f"{_V2}/batch": (1500, 900), f"{_V2}/batch/job": (4000, 500)}, 1500,
    ),
    "v2_tighter_child": (
        ["0::/batch/job"], [(_V2, "", "/")], {f"{_V2}/batch": (4000, 900), f"{_V2}/batch/job": (1500, 500)}, 1500,
    ),
    "v2_above_the_host": (["0::/job"], [(_V2, "", "/")], {f"{_V2}/job": (99000, 500)}, _HOST_MB),
    "v2_namespace": (["0::/"], [(_V2, "", "/..")], {_V2: (3000, 500)}, 3000),
    "v2_container": (["0::/docker/abc"], [(_V2, "", "/docker/abc")], {_V2: (1000, 500)}, 1000),
    "v1": (["4:memory:/job"], [(_V1, "memory", "/")], {f"{_V1}/job": (2000, 500)}, 2000),
    "v1_none": (["4:memory:/job"], [(_V1, "memory", "/")], {f"{_V1}/job": (_NONE, 500)}, _HOST_MB),
    "v1_tighter_parent": (
        ["4:memory:/batch/job"], [(_V1, "memory", "/")],
        {_V1: (_NONE, 6000), f"{_V1}/batch": (1500, 900), f"{_V1}/batch/job": (4000, 500)}, 1500,
    ),
    "v1_container": (["4:memory:/docker/abc"], [(_V1, "memory", "/docker/abc")], {_V1: (2500, 500)}, 2500),
    "hybrid": (
        ["4:memory:/job", "0::/ours"], [(f"{_V2}/unified", "", "/"), (_V1, "memory", "/")],
        {f"{_V1}/job": (2000, 500)}, 2000,
    ),
    "missing_mounts": (["0::/job", "4:memory:/job"], [], {}, _HOST_MB),
    "missing_files": (["0::/job"], [(_V2, "", "/")], {}, _HOST_MB),
    "no_groups": ([], [], {}, _HOST_MB),
}  # fmt: skip


@scenario(
    "M7",
    "control groups in every layout: none, v1, v2, both, nested, in a namespace, files that are missing",
    "the limit that counts is the lowest there is, the machine's among them",
)
def m7_layouts(trial: Trial) -> None:
    wrong = 0
    for name, (members, mounts, groups, right_mb) in _LAYOUTS.items():
        system = FakeSystem(trial.folder / name, total_mb=_HOST_MB, available_mb=15000)
        system.member(*members)
        for point, controllers, root in mounts:
            system.mount(point, controllers, root=root)
        for folder, (limit, used_mb) in groups.items():
            system.group(folder, _files(limit, used_mb, version=1 if folder.startswith(_V1) else 2))
        probe = PsutilProbe(proc=str(system.proc))
        memory = probe.read(ReadRequest()).usage["memory"]
        probe.close()
        read_mb = min([bound.capacity for bound in memory.bounds] or [memory.capacity or 0.0])
        trial.expect(read_mb == right_mb, f"{name}: the probe reads a limit of {read_mb:g} MB, {right_mb} MB is right")
        usable_mb = (usable_memory_bytes(ControlGroups(system.process)) or 0) / MB
        host_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / MB
        by_groups = host_mb if right_mb == _HOST_MB else min(right_mb, host_mb)
        by_groups = min(by_groups, 99000) if name == "v2_above_the_host" else by_groups
        trial.expect(abs(usable_mb - by_groups) < 1, f"{name}: {usable_mb:g} MB are usable, {by_groups:g} MB is right")
        wrong += read_mb != right_mb or abs(usable_mb - by_groups) >= 1
    trial.tell("layouts", len(_LAYOUTS))
    trial.tell("wrong", wrong)


def _files(limit: int | str, used_mb: int, *, version: int) -> dict[str, str]:
    if version == 2:
        top = limit if isinstance(limit, str) else str(limit * MB)
        return {
            "memory.max": f"{top}\n",
            "memory.high": "max\n",
            "memory.current": f"{used_mb * MB}\n",
            "memory.stat": "",
        }
    top = limit if limit == _NONE else int(limit) * MB
    stat = f"hierarchical_memory_limit {top}\ntotal_inactive_file 0\ntotal_active_file 0\n"
    return {
        "memory.limit_in_bytes": f"{top}\n",
        "memory.usage_in_bytes": f"{used_mb * MB}\n",
        "memory.stat": stat,
        "memory.use_hierarchy": "1\n",
    }


@scenario(
    "M9",
    "every task reserves more than others leave free; some more than there could ever be",
    "one runs at a time, none waits for ever; what can never fit fails at once and says so",
    short_s=60.0,
)
async def m9_none_fits(trial: Trial) -> None:
    async with boxed(trial) as (box, yard):
        await yard.run(nap, [0.0] * 4)
        with hog_in(box, hog_command(int(BOX_MB * 0.5))) as hog:
            assert hog.stdout is not None
            await asyncio.to_thread(hog.stdout.readline)
            await asyncio.sleep(2.0 * _TICK_S)
            began = time.monotonic()
            count = trial.pick(4, 20)
            items = [(number, 50, 0.2) for number in range(count)]
            outcomes = await yard.run(
                fill, items, expected=lambda item: item[0], resources=Resources(memory_mb=1200), timeout=20.0
            )
            trial.worst("seconds_each", (time.monotonic() - began) / count)
            spans = [line for line in yard.lines() if line.task_id in {outcome.task_id for outcome in outcomes}]
            trial.tell("at_once", _most_at_once(spans))
            trial.expect(trial.figures["at_once"] == 1, "more than one ran, though not even one fits")
            never = yard.pool.options(executor="processes", name="never", resources=Resources(memory_mb=1700))
            try:
                await never.submit(yard.booked(nap), 0.0)
                trial.expect(False, "what can never fit was let in")
            except longshore.ResourceUnavailable as error:
                trial.tell("never_fits", str(error).partition(": ")[2])
                trial.expect("needs 1700 MB" in str(error), f"of what can never fit it says: {error}")


def _most_at_once(lines: list[audit.Line]) -> int:
    most = running = 0
    for line in sorted(lines, key=lambda line: line.at):
        running += -1 if line.ended else 1
        most = max(most, running)
    return most


_FAKE = Path(__file__).parents[3] / "plugins" / "nvml" / "tests" / "fake_nvml.c"
_CARD = {"utilisation": 35, "memory_used": 4_000_000_000, "memory_total": 16_000_000_000}
_NOT_AVAILABLE = 2**64 - 1
_ONE = """
import asyncio, json
from longshore import Resources, ResourceUnavailable, Settings, WorkerPool, current_task

async def main():
    async with asyncio.timeout(30), WorkerPool(settings=Settings(probes=("nvml",))) as pool:
        said = [await (await pool.options(executor="inline").submit(abs, -1))]
        try:
            wants = pool.options(executor="inline", resources=Resources(gpu=1))
            said.append(list(await (await wants.submit(lambda: current_task().gpus))))
        except ResourceUnavailable as error:
            said.append(error.facts["resource"])
        usage = pool.snapshot().usage
        said.append(sorted(usage))
        said.append([one.own for one in usage.values()])
        print(json.dumps(said))

asyncio.run(main())
"""


@scenario(
    "M13",
    "no NVML, its driver fails, its figures are N/A, strangers use the device",
    "work that wants no GPU goes on; what wants one is refused or gets what is there; nothing of others is ours",
    short_s=60.0,
)
def m13_nvml(trial: Trial) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Skipped("no C compiler here: the fake libnvidia-ml.so.1 is compiled")
    library = trial.folder / "library" / "libnvidia-ml.so.1"
    library.parent.mkdir()
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, _FAKE], check=True, timeout=30, capture_output=True)
    none = trial.folder / "none" / library.name
    none.parent.mkdir()
    none.write_bytes(b"no library")
    both = ["gpu.0", "gpu_memory.0"]
    cases: dict[str, tuple[Path, dict[str, object], list[object]]] = {
        "there": (library, _of(_CARD), [1, [0], both]),
        "absent": (none, {}, [1, "gpu", []]),
        "driver_not_loaded": (library, {**_of(_CARD), "init": "!9"}, [1, "gpu", []]),
        "driver_goes": (library, {**_of(_CARD), "count": "!999"}, [1, "gpu", []]),
        "device_lost": (library, {**_of(_CARD), "0.handle": "!15"}, [1, "gpu", []]),
        "use_not_available": (library, _of({**_CARD, "utilisation": "!3"}), [1, [0], both[1:]]),
        "memory_not_available": (library, _of({**_CARD, "memory_used": _NOT_AVAILABLE}), [1, [0], both[:1]]),
    }
    tried = trial.pick(("absent", "driver_goes", "memory_not_available"), tuple(cases))
    for name, (path, says, right) in ((name, cases[name]) for name in tried):
        machine = trial.folder / name
        machine.write_text("".join(f"{key} {value}\n" for key, value in says.items()), encoding="ascii")
        environ = {**os.environ, "FAKE_NVML": str(machine), "LD_LIBRARY_PATH": str(path.parent)}
        environ.pop("CUDA_VISIBLE_DEVICES", None)
        done = subprocess.run(
            [sys.executable, "-c", _ONE], env=environ, capture_output=True, text=True, timeout=50, check=False
        )
        said = json.loads(done.stdout) if done.returncode == 0 else [done.stderr[-300:], None]
        trial.expect(said[:3] == right, f"{name}: {said[:3]}, and {right} is right")
        trial.expect(not any(said[-1] or ()), f"{name}: something of a device is taken for ours: {said[-1]}")
        calls = machine.with_suffix(".calls")
        asked = calls.exists() and "processes" in calls.read_text(encoding="ascii").split()
        trial.expect(not asked, f"{name}: whose processes are on the device was asked")
    trial.tell("cases", len(tried))


def _of(card: Mapping[str, object]) -> dict[str, object]:
    return {"count": 1, **{f"0.{key}": value for key, value in card.items()}}
