"""A program with a pool, to be ended from outside: `python controller.py MODE METHOD`; it says "ready" when it works.

It has no guard against being imported by its workers, and its functions are those of `__main__`, as in a user's script.
"""

import asyncio
import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

from longshore import Settings, WorkerConfig, WorkerPool

HERE = Path.cwd()


def work(mode: str) -> None:
    """Be busy in one way or another."""
    if mode == "grandchildren":
        subprocess.Popen(["sleep", "1000"])
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
    (HERE / f"began-{os.getpid()}").touch()
    if mode == "in_c":
        ctypes.PyDLL(None).usleep(1_000_000_000)
    while mode == "spin":
        pass
    if mode != "idle":
        time.sleep(1000)


async def begun(number: int) -> None:
    """Wait until so many tasks have begun."""
    while len(list(HERE.glob("began-*"))) < number:
        await asyncio.sleep(0.01)


async def main(mode: str, method: str) -> None:
    """Open a pool of two, have both at work, and say so."""
    settings = Settings(
        probes=(), executors={"processes": {"start_method": method}}, workers=WorkerConfig(process_workers=2)
    )
    async with WorkerPool(settings=settings) as pool:
        on = pool.options(executor="processes")
        if mode == "spawning":
            print("ready", os.getpid(), flush=True)
        handles = [await on.submit(work, mode) for _ in range(2)]
        if mode == "idle":
            for handle in handles:
                await handle
        elif mode != "spawning":
            await begun(2)
        print("ready", os.getpid(), flush=True)
        await asyncio.sleep(1000)


asyncio.run(main(*sys.argv[1:3]))
