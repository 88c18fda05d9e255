"""B7: sinks that are slow, raise or block for ever; progress over loops in loops; a run of a million tasks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from longshore import Settings, WorkerConfig, WorkerPool
from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import RunInfo, RunSummary
from suite.registry import scenario
from suite.tasks import counting, echo
from suite.trial import Trial
from suite.yard import open_yard, told_events


class Slow:
    """Takes a second for each batch, and keeps what the run looked like at its end."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.seen = 0
        self.summary: RunSummary | None = None

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Take note of the run."""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Sleep."""
        self.seen += len(batch)
        time.sleep(1.0)

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        """Keep the summary."""
        self.summary = summary


class Dead(Slow):
    """Raises whatever it is given."""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Raise."""
        raise OSError("the other end is gone")


class Stuck(Slow):
    """Never comes back from its first batch, until it is let go."""

    def __init__(self) -> None:
        """Begin held."""
        super().__init__()
        self.let_go = threading.Event()

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Wait."""
        self.let_go.wait(120.0)


@scenario(
    "E1",
    "a sink that sleeps a second each time, one that raises, one that never comes back",
    "no task waits or changes for it; what each missed is counted to the event, and it is named at the end",
)
async def e1_sinks(trial: Trial) -> None:
    slow, dead, stuck = Slow(), Dead(), Stuck()
    rounds = trial.pick(1, 20)
    count = rounds * 3000
    async with open_yard(trial, also=(slow, dead, stuck)) as yard:
        for _ in range(rounds):  # no more at once than the sink whose events are judged can take
            for executor in ("threads", "processes"):
                await yard.run(echo, range(1500), executor=executor)
            await asyncio.sleep(0.3)
        snapshot = yard.pool.snapshot()
        trial.expect((snapshot.completed, snapshot.failed) == (count, 0), f"the run looks like {snapshot.completed}")
        summary = await yard.pool.stop()
    stuck.let_go.set()
    assert summary is not None
    told = len(told_events(yard)) - 1  # the last line is the summary of the file
    health = {one.name.rpartition(".")[2]: one for one in summary.snapshot.sinks}
    for name in ("Slow", "Dead", "Stuck"):
        one = next(found for key, found in health.items() if name.lower() in key.lower())
        accounted = one.delivered + one.dropped + one.waiting
        trial.tell(f"dropped_by_{name.lower()}", one.dropped)
        trial.expect(one.state != "ok", f"{name} is said to be well")
        trial.expect(accounted == told, f"of {told} events {name} accounts for {accounted}")
        noted = any(name.lower() in note.lower() for note in summary.notes)
        trial.expect(noted, f"no note names {name}: {list(summary.notes)}")
    trial.expect(slow.summary is None or slow.summary.snapshot.completed == count, "the slow one has an old end")


@scenario(
    "E6",
    "loops within loops, totals unknown or changed on the way, tasks that end at once; a run of very many tasks",
    "progress never goes back and a task that completed ends at 100 %; the counts of a run add up at every look",
)
async def e6_progress(trial: Trial) -> None:
    async with open_yard(trial) as yard:
        for executor in ("threads", "processes"):
            await yard.run(counting, range(trial.pick(24, 300)), executor=executor)
    last: dict[tuple[str, int], float] = defaultdict(float)
    for event in told_events(yard):
        if event["type"] == "task_progress":
            key = (event["task_id"], event["attempt"])
            trial.expect(event["progress"] >= last[key], f"progress of {key} went back")
            trial.expect(0.0 <= event["progress"] <= 1.0, f"progress of {key} is {event['progress']}")
            last[key] = event["progress"]
    trial.tell("told_progress", len(last))
    trial.expect(last, "no progress was told")
    trial.expect(set(last.values()) == {1.0}, f"some ended at {sorted(set(last.values()))[:3]}")
    await _many(trial, trial.pick(50_000, 1_000_000))


async def _many(trial: Trial, count: int) -> None:
    """Look at a run of very many tasks again and again."""
    settings = Settings(probes=(), sinks={}, workers=WorkerConfig(async_workers=8))
    looks = 0
    async with WorkerPool(settings=settings) as pool:
        stream = pool.options(executor="asyncio").outcomes(_nothing, range(count))
        ended = before = 0
        async with stream:
            async for outcome in stream:
                ended += outcome.ok
                if ended % 5000 == 0:
                    looks += 1
                    now = pool.snapshot()
                    parts = now.queued + now.running + now.retrying + now.completed + now.failed + now.cancelled
                    trial.expect(parts == now.submitted, f"of {now.submitted} tasks {parts} are somewhere")
                    trial.expect(now.ended >= before, "a run went back")
                    trial.expect(now.total == count, f"the total is {now.total}")
                    before = now.ended
                    await asyncio.sleep(0)
        last = pool.snapshot()
        trial.expect(last.ended == last.total == count, f"the run ends at {last.ended} of {last.total}")
    trial.add("tasks", count)
    trial.add("lost", count - ended)
    trial.tell("looks", looks)


async def _nothing(_: Any) -> None:
    return None
