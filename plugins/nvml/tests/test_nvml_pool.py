"""A pool that reads GPUs by this probe lends them, and refuses them where there is no driver."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import asyncio, json
from longshore import Resources, ResourceUnavailable, Settings, WorkerPool, current_task

async def main():
    pool = WorkerPool(settings=Settings(probes=("nvml",)))
    async with asyncio.timeout(20), pool:
        said = []
        for wanted in (Resources(gpu=1), Resources(gpu=0.5, gpu_memory_mb=8_000), Resources(gpu=2)):
            try:
                handle = await pool.options(executor="inline", resources=wanted).submit(lambda: current_task().gpus)
                said.append(await handle)
            except ResourceUnavailable as error:
                said.append(error.facts["resource"])
        print(json.dumps([said, sorted(pool.snapshot().usage)]))

asyncio.run(main())
"""
CARD = {"utilisation": 35, "memory_used": 4_000_000_000, "memory_total": 16_000_000_000}


@pytest.mark.requirement("req:G07")
@pytest.mark.parametrize(
    ("whole", "said"),
    [
        ({}, [[[1], [1], [0, 1]], ["gpu.0", "gpu.1", "gpu_memory.0", "gpu_memory.1"]]),
        ({"init": "!9"}, [["gpu", "gpu", "gpu"], []]),
    ],
    ids=["two", "no driver"],
)
def test_a_pool_lends_what_the_probe_reads(machine: Any, whole: dict[str, str], said: list[Any]) -> None:
    """Devices go to tasks by their free memory; with a library that finds no driver there are none (fault:M13)."""
    machine.has({**CARD, "memory_used": 9_000_000_000}, CARD, **whole)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=machine.environ, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == said
