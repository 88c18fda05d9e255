"""A small box of memory: this process in it, a pool with limits there, and a foreign program beside it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from suite.cgroups import Group, group
from suite.hogs import MB
from suite.trial import Trial
from suite.yard import Yard, open_yard

BOX_MB = 2147
WORKERS = 4
_MEMORY_ONLY = {"max_cpu_percent": 100.0, "warning_cpu_percent": 100.0}
"""The CPU of the machine, which others use as well, is not what these are about."""


@asynccontextmanager
async def boxed(
    trial: Trial, box_mb: int = BOX_MB, limits: dict[str, float] | None = None
) -> AsyncIterator[tuple[Group, Yard]]:
    """Have this process and all it starts in a box of memory, and a pool with limits there.

    `limits` are those of the pool, None: none of CPU.
    """
    with group("memory") as box:
        box.write("memory.limit_in_bytes", box_mb * MB)
        count = box.full()
        box.take_in(os.getpid())
        bounds = _MEMORY_ONLY if limits is None else limits
        async with open_yard(
            trial, "zygote", WORKERS, probes=("psutil",), limits=bounds, task_memory_limit_mb=box_mb
        ) as yard:
            yield box, yard
        trial.tell("box_full", count())
        trial.expect(trial.figures["box_full"] == 0, "the box was full, and the kernel killed for that")


@contextmanager
def hog_in(box: Group, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Have a foreign program in the box, which holds what it takes until this ends."""
    hog = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        box.take_in(hog.pid)
        yield hog
    finally:
        hog.communicate(timeout=20.0)
