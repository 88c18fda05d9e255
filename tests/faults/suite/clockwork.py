"""A program whose wall clock steps while a pool works: `python clockwork.py METHOD IN_PROCESS`; it tells as JSON.

IN_PROCESS is "patch" where `time.time` is replaced here, and "outside" where the clock is somebody else's to move: then
the file `step` in the current folder says by how much, to a shim below this process.
"""

import json
import sys
import time
from pathlib import Path

import longshore
from longshore import Outcome, Settings, TaskState, WorkerConfig

HOUR = 3600.0
STEPS_S = (2 * HOUR, -2 * HOUR, 24 * HOUR)
TIMEOUT_S = HOUR
_now = time.time


def nap(item: float) -> float:
    """Sleep a little."""
    time.sleep(item)
    return item


def step(by_s: float, how: str) -> None:
    """Move the wall clock."""
    if how == "patch":
        time.time = lambda: _now() + by_s  # type: ignore[assignment]
    new = Path("step.new")
    new.write_text(str(int(by_s)))
    new.replace("step")


def main(method: str, how: str) -> None:
    """Run some tasks through each step, and tell what became of them."""
    settings = Settings(
        probes=(),
        executors={"processes": {"start_method": method}},
        workers=WorkerConfig(worker_heartbeat_interval=0.05),
    )
    found: list[Outcome] = []
    seen: set[int] = set()
    for executor in ("processes", "threads"):
        for by_s in STEPS_S:
            for outcome in longshore.outcomes(
                nap, [0.02] * 20, executor=executor, timeout=TIMEOUT_S, settings=settings, workers=2
            ):
                if len(found) % 20 == 5:
                    before = time.time()
                    step(by_s, how)
                    seen.add(round((time.time() - before) / HOUR))
                found.append(outcome)
            step(0, how)
    told = {
        "tasks": len(found),
        "false_timeouts": sum(outcome.state is TaskState.TIMED_OUT for outcome in found),
        "failed": sum(not outcome.ok for outcome in found),
        "negative": sum(min(outcome.ran_s, outcome.queued_s) < 0 for outcome in found),
        "too_long": sum(outcome.ran_s > 60 for outcome in found),
        "steps_seen": sorted(seen),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:3])
