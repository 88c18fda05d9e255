"""A controller that is stopped and goes on (fault:K11): nobody who was ready to end is timed out for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
