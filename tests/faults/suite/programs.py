"""Programs that a user might have: each ends, or is ended, in its own way; `python programs.py NAME`."""

import asyncio
import atexit
import gc
import os
import sys
import time
from typing import Any

import longshore
from longshore import Settings, WorkerPool

ON = {"executor": "processes", "settings": Settings(probes=())}
LEFT = list(range(200))


def slow(item: int) -> int:
    """Take a little."""
    time.sleep(0.02)
    return item


async def _leave(how: Any) -> None:
    async with WorkerPool(settings=Settings(probes=())) as pool:
        on = pool.options(executor="processes")
        handles = [on.submit_nowait(slow, item) for item in LEFT]
        await handles[0]
        how()


def exits() -> None:
    """Exit out of the pool's block, with work left: 3."""
    asyncio.run(_leave(lambda: sys.exit(3)))


def raises() -> None:
    """Raise out of it: 1, and one traceback."""

    def fail() -> None:
        raise LookupError("the user's own")

    asyncio.run(_leave(fail))


def dies() -> None:
    """End without any farewell: 5."""
    asyncio.run(_leave(lambda: os._exit(5)))


def forgets() -> None:
    """Start a pool, never stop it, and let go of it: 0."""

    async def main() -> None:
        pool = WorkerPool(settings=Settings(probes=()))
        await pool.start()
        on = pool.options(executor="processes")
        for item in LEFT:
            on.submit_nowait(slow, item)
        await asyncio.sleep(0.2)

    asyncio.run(main())
    gc.collect()


def drops() -> None:
    """Take one result of a stream and drop it: 0."""
    next(longshore.outcomes(slow, LEFT, **ON))
    gc.collect()


def keeps() -> None:
    """Take one result of a stream that lives until the interpreter ends: 0."""
    stream = longshore.outcomes(slow, LEFT, **ON)
    next(stream)
    globals()["kept"] = stream


def asks_at_exit() -> None:
    """Ask for work in a handler that runs at exit, when Python starts no more threads: 0, refused or done, no hang."""

    def ask() -> None:
        try:
            print(sum(longshore.map(slow, range(5), **ON)))
        except RuntimeError as error:
            print(f"refused: {error}")

    atexit.register(ask)
    print(next(longshore.map(slow, LEFT, **ON)))


def forks() -> None:
    """Fork in the middle of a stream; the children end, at once and by the book, and the parent goes on: 0."""
    stream = longshore.map(slow, LEFT, **ON)
    found = [next(stream)]
    for end in (os._exit, sys.exit):
        pid = os.fork()
        if pid == 0:
            end(7)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 7, status
        found.append(next(stream))
    found += stream
    assert found == LEFT, found
    print("whole")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
