"""Profiles of tasks: each says where its task's time went, they are bounded, and without them nothing is paid."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from longshore import Outcome, Settings, WorkerPool, _profiles, _profiling

pytestmark = pytest.mark.anyio

Command = Any  # the fixtures' class: test modules cannot import a conftest
EXECUTORS = ("threads", "processes", "asyncio", "inline")


def spins(seconds: float) -> float:
    """Compute for so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        crunches()
    return seconds


def crunches() -> int:
    """Do a small part of it."""
    return sum(range(500))


async def spins_and_waits(seconds: float) -> float:
    """Compute and wait for so long, each."""
    await asyncio.sleep(seconds)
    return spins(seconds)


def frames(profile: Path) -> set[str]:
    """Return the names of the functions in a profile."""
    return {frame["name"] for frame in json.loads(profile.read_bytes())["shared"]["frames"]}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.requirement("req:L06")
@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_profile_names_where_the_time_of_its_task_went(executor: str, here: Path) -> None:
    """One file a task, named by it, for its owner alone; results, names and errors are as without."""
    function: Callable[..., Any] = spins_and_waits if executor == "asyncio" else spins
    async with WorkerPool(settings=Settings(probes=())) as pool:
        profiled = pool.options(executor=executor, profile=True)
        outcomes = [outcome async for outcome in profiled.outcomes(function, [0.1, 0.1, "no number"])]
    done, failed = [one for one in outcomes if one.ok], [one for one in outcomes if not one.ok]
    assert [(one.value, one.name) for one in done] == [(0.1, function.__name__)] * 2
    assert [type(one.error).__name__ for one in failed] == ["ErrorRecord"]
    profiles = sorted(here.glob("longshore-profiles/*/*.speedscope.json"))
    assert {path.name for path in profiles} >= {f"{one.task_id}-1.speedscope.json" for one in done}
    for one in done:
        [profile] = [path for path in profiles if path.name.startswith(one.task_id)]
        assert {function.__name__, "spins"} <= frames(profile)
        assert profile.stat().st_mode & 0o777 == 0o600
    assert pool.summary is not None
    assert any(f"{len(profiles)} profiles are in {profiles[0].parent}" in note for note in pool.summary.notes)


@pytest.mark.requirement("req:L06")
async def test_profiles_are_bounded_in_number_and_size(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the most there may be, and where one would be too large, tasks run all the same."""
    monkeypatch.setattr(_profiling, "FILES_MOST", 2)
    async with WorkerPool(settings=Settings(probes=(), profile=True)) as pool:
        inline = pool.options(executor="inline")
        assert [value async for value in inline.map(crunches_for, range(5))] == list(range(5))
        monkeypatch.setattr(_profiling, "FILES_MOST", 10)
        monkeypatch.setattr(_profiling, "BYTES_MOST", 10)
        assert [value async for value in inline.map(crunches_for, range(5))] == list(range(5))
        await pool.options(executor="inline", profile=False).submit(crunches_for, 1)
    assert len(list(here.glob("longshore-profiles/*/*"))) == 2


def crunches_for(number: int) -> int:
    """Do something small."""
    crunches()
    return number


@pytest.mark.requirement("req:L06")
def test_a_long_task_keeps_a_bounded_number_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are joined where there are too many, and the time they stand for stays what it was."""
    monkeypatch.setattr(_profiling, "_SAMPLES_MOST", 8)
    profiler = _profiling._bounded()(0.001, "disabled")
    profiler.start()
    session = profiler._active_session
    assert session is not None
    session.frame_records.clear()
    for _ in range(1000):
        profiler._sampler_saw_call_stack(["f\0file\x001"], 0.001, None)
        assert len(session.frame_records) <= 8
    told_s = sum(seconds for _, seconds in session.frame_records)
    profiler.stop()
    assert 0.5 < told_s <= 1.0


@pytest.mark.requirement("req:L06")
async def test_without_the_profiler_it_is_said_what_to_install(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ValueError at submit names the extra; nothing is made."""
    monkeypatch.setattr(_profiles, "find_spec", lambda name: None)
    async with WorkerPool(settings=Settings(probes=())) as pool:
        with pytest.raises(ValueError, match=r"longshore-core\[profile\]"):
            await pool.options(profile=True).submit(crunches)
    assert list(here.iterdir()) == []


PROGRAM = """
import sys, longshore
def look(_):
    return sorted(name for name in sys.modules if "pyinstrument" in name)
for executor in ("threads", "processes", "asyncio"):
    async def co(_): return look(_)
    [outcome] = longshore.outcomes(co if executor == "asyncio" else look, [0], executor=executor)
    print(executor, outcome.unwrap(), outcome.ran_s > 0)
"""


@pytest.mark.slow
@pytest.mark.requirement("req:L06")
def test_where_nothing_is_profiled_no_profiler_is_loaded(tmp_path: Path) -> None:
    """Neither in the program nor in a worker process; and the function that is called is the user's own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout == "threads [] True\nprocesses [] True\nasyncio [] True\n", done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.requirement("req:L06")
async def test_what_a_task_took_is_always_told() -> None:
    """Wall time with every task; processor time with those long enough to measure, from worker processes memory too."""
    async with WorkerPool(settings=Settings(probes=())) as pool:
        here: Outcome = await (await pool.options(executor="threads").submit(spins, 0.05)).outcome()
        there: Outcome = await (await pool.options(executor="processes").submit(spins, 0.05)).outcome()
    for one in (here, there):
        assert one.ran_s >= 0.05
        assert one.cpu_s is not None
        assert 0 < one.cpu_s <= one.ran_s * 2
    assert there.peak_memory_mb is not None
    assert there.peak_memory_mb >= 0


@pytest.mark.slow
@pytest.mark.requirement("req:L06")
def test_the_command_leaves_profiles_with_the_run(inside: Command) -> None:
    """In the folder of the recorded run, and the end says where; what goes on with a run knows its results."""
    inside.inputs({"a": "1", "b": "2"})
    code, _, errors = inside("run", "job:size", "in", "-o", "out.jsonl", "--profile", "--progress", "none")
    [folder] = inside.folder.glob("state/longshore/runs/*/profiles")
    assert (code, f"2 profiles are in {folder}" in errors) == (0, True), errors
    assert len(os.listdir(folder)) == 2
