"""Writes events to a file by the sink `jsonl`, as fast as it can, until somebody kills it: `writer.py PATH BATCHES`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from itertools import count

from longshore.events import TaskCompleted
from longshore.records import RunInfo, RunSnapshot
from longshore_jsonl import JsonlSink

_BATCH = 200


def main(path: str) -> None:
    """Write without end."""
    began = datetime.now(UTC)
    snapshot = RunSnapshot(run_id="r", name="writer", started=began, elapsed_s=0.0)
    sink = JsonlSink(JsonlSink.Settings(path=path))
    sink.open(RunInfo(run_id="r", started=began, snapshot=lambda: snapshot))
    print("begun", flush=True)
    numbers = count()
    while True:
        some = [next(numbers) for _ in range(_BATCH)]
        sink.on_events(
            [TaskCompleted(n, began, f"t{n}", "x" * (n % 300), "threads", 2, key="two\nlines") for n in some]
        )


if __name__ == "__main__":
    main(sys.argv[1])
