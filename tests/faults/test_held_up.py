"""A controller or a loop that is held up (fault:K11, fault:T5): deadlines hold, and nobody is timed out for it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from longshore import Settings, WorkerPool

DEADLINE_S = 40.0

PROGRAM = """
import asyncio, sys, time
from longshore import Settings, WorkerPool

async def main():
    async with WorkerPool(settings=Settings(probes=())) as pool:
        limited = pool.options(timeout=1.0)
        handles = [await limited.submit(time.sleep, 0.5), await limited.submit(asyncio.sleep, 0.5)]
        await asyncio.sleep(0.1)  # they have begun by then, and neither has ended
        print("begun", flush=True)
        print(*[(await handle.outcome()).state.value for handle in handles], flush=True)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="stops a process by a signal")
def test_who_was_to_end_while_the_controller_was_stopped_ends_well(tmp_path: Path) -> None:
    """A thread's task and a coroutine whose deadlines passed meanwhile, and that had less to do, both complete."""
    (tmp_path / "program.py").write_text(PROGRAM)
    with subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            process.send_signal(signal.SIGSTOP)
            time.sleep(1.6)  # for the deadlines to pass: nothing there could say that they have
            process.send_signal(signal.SIGCONT)
            said, _ = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert said.split() == ["completed", "completed"]


def leave_pid_and_hang(path: str) -> None:
    """Say who runs this, then do nothing for long."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(DEADLINE_S)


async def block_until_gone(path: str) -> bool:
    """Block the loop for as long as that process lives; tell whether it ended meanwhile."""
    pid, until = int(Path(path).read_text()), time.monotonic() + DEADLINE_S / 2
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
    return True


@pytest.mark.anyio
async def test_a_process_dies_at_its_deadline_though_the_loop_is_blocked(tmp_path: Path) -> None:
    """fault:T5 A coroutine blocks the loop until a process of the pool has died: its deadline needs no loop."""
    note = str(tmp_path / "pid")
    async with asyncio.timeout(DEADLINE_S), WorkerPool(settings=Settings(probes=())) as pool:
        hung = await pool.options(executor="processes", timeout=0.3).submit(leave_pid_and_hang, note)
        while not os.path.exists(note) or not Path(note).read_text():
            await asyncio.sleep(0.005)
        beside = await pool.options(timeout=5.0).submit(asyncio.sleep, 0.05, "well")
        assert await (await pool.submit(block_until_gone, note)), "it outlived its deadline while the loop was blocked"
        assert (await hung.outcome()).state.value == "timed_out"
        assert await beside == "well"
        assert await (await pool.options(executor="processes").submit(abs, -1)) == 1
