"""What `longshore run -o` leaves when it is killed, and how a run goes on from there."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from typing import Any

import pytest
from longshore.cli.lines import Lines, line
from longshore.cli.resumed import resumed_file
from longshore.task import TaskState

pytestmark = pytest.mark.slow
Command = Any  # the fixture's class: test modules cannot import a conftest
BIG = """
def big(path):
    return path * 200_000
"""


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.timeout(120)
def test_a_killed_run_goes_on_without_a_repeated_or_a_lost_input(longshore: Command, seed: int) -> None:
    """Killed while it writes lines of 2 MB: what is whole stays, and each input has one line in the end."""
    names = [f"in/{number:03}" for number in range(60)]
    longshore.inputs([name.removeprefix("in/") for name in names])
    (longshore.folder / "big.py").write_text(BIG)
    path, dice = longshore.folder / "out.jsonl", random.Random(seed)
    process = longshore.start(
        *("run", "big:big", "in", "-o", "out.jsonl", "--executor", "threads", "--progress", "none")
    )
    until = time.monotonic() + 60
    while (not path.exists() or path.stat().st_size == 0) and time.monotonic() < until:
        assert process.poll() is None, process.stderr.read().decode()
    time.sleep(dice.uniform(0.0, 0.1))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    left = path.read_bytes()
    with resumed_file(str(path)) as resumed:
        assert 0 < len(resumed.done) <= len(names)
        assert len(resumed.done) in (left.count(b"\n"), left.count(b"\n") + 1)
        lines = Lines(resumed.descriptor)
        for name in names:
            if name not in resumed.done:
                lines.write(line(name, TaskState.COMPLETED))
    assert path.read_bytes().startswith(left[: left.rfind(b"\n") + 1])
    assert sorted(json.loads(text)["input"] for text in path.read_bytes().splitlines()) == names
