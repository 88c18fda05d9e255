"""A run that was recorded is decided again, from its file alone."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from longshore import Priority, ResourceLimits, ResourceMonitor, Resources, RetryPolicy, Settings, WorkerPool
from longshore.testing import ScriptedProbe, recording, replay

pytestmark = pytest.mark.anyio


def work(number: int) -> int:
    time.sleep(0.001)
    if number % 5 == 0:
        raise ValueError("again")
    return number


async def double(number: int) -> int:
    return 2 * number


async def _run(path: Path, machine: object) -> None:
    probe = ScriptedProbe([machine(memory=20.0), machine(memory=70.0), machine(memory=80.0), machine(memory=20.0)])  # type: ignore[operator]
    monitor = ResourceMonitor(ResourceLimits(), 0.002, [probe])
    with recording(path):
        async with WorkerPool(settings=Settings(probes=()), resource_monitor=monitor) as pool:
            on = pool.options(retry=RetryPolicy(attempts=2, backoff=0.001, jitter=0.5), resources=Resources(cpu=1))
            async for _ in on.outcomes(work, range(30)):
                pass
            async for _ in pool.options(priority=Priority.LOW).outcomes(double, range(200)):
                pass
            handle = pool.submit_nowait(double, 1)
            handle.cancel()
            await handle.outcome()


@pytest.mark.requirement("req:G13")
async def test_the_same_readings_submissions_and_ends_give_the_same_decisions(tmp_path: Path, reading: object) -> None:
    """Every start, retry, end and limit of a real run follows from its file, to the last."""
    await _run(tmp_path / "run", reading)
    found = replay(tmp_path / "run")
    assert found.differs is None
    assert found.steps > 30
    kinds = {
        told["kind"] for line in (tmp_path / "run").read_text().splitlines()[1:] for told in json.loads(line)["told"]
    }
    assert kinds >= {"Submit", "Reported", "Measured", "ExecutorUp"}


async def test_another_reading_gives_another_decision(tmp_path: Path, reading: object) -> None:
    """What was decided is compared: with an end left out that settled a task, the step that differs is named."""
    path = tmp_path / "run"
    await _run(path, reading)
    lines = path.read_text().splitlines()
    settling = (number for number, line in enumerate(lines[1:], 1) if '"Reported"' in line and '"settle"' in line)
    at = next(settling)
    step = json.loads(lines[at])
    step["told"] = [told for told in step["told"] if told["kind"] != "Reported"]
    path.write_text("\n".join([*lines[:at], json.dumps(step), *lines[at + 1 :]]) + "\n")
    assert str(replay(path).differs).startswith(f"step {at} ")
