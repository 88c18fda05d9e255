"""A run read back from its journal looks as it did while it went on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from longshore import RetryPolicy, Settings, WorkerConfig, WorkerPool
from longshore.events import AnyEvent
from longshore.hookspecs import hookimpl
from longshore.records import CommitBatch, RunInfo, RunSummary
from longshore.runs import RecordedRun, RunStore, TaskRow
from longshore.testing import MemoryJournal

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("deadline")]
DEADLINE_S = 20.0
tried: dict[int, int] = {}


class StoreSink:
    """Takes all events into a store."""

    def __init__(self, store: RunStore) -> None:
        self.store = store

    @hookimpl
    def open(self, run: RunInfo) -> None:
        """Do nothing."""

    @hookimpl
    def on_events(self, batch: Sequence[AnyEvent]) -> None:
        """Take them."""
        self.store.take(batch)

    @hookimpl
    def close(self, summary: RunSummary) -> None:
        """Do nothing."""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[RunStore]:
    store = RunStore(folder=tmp_path)
    yield store
    store.close()


@pytest.fixture
def again(tmp_path: Path) -> Iterator[RunStore]:
    store = RunStore(folder=tmp_path)
    yield store
    store.close()


async def work(number: int) -> int:
    tried[number] = tried.get(number, 0) + 1
    if number == 3 and tried[number] == 1:
        raise OSError("busy")
    if number % 5 == 4:
        raise ValueError(f"page {number} is torn")
    return number


async def run_with(journal: Any, sink: StoreSink, count: int = 20) -> str:
    tried.clear()
    pool = WorkerPool(WorkerConfig(), settings=Settings(probes=()), journal=journal, sinks=[sink])
    async with pool:
        fast = pool.options(retry=RetryPolicy(attempts=2, backoff=0.001, retry_on=(OSError,)), name="work")
        async for _ in fast.outcomes(work, range(count)):
            pass
        return pool.run_id


def comparable(row: TaskRow) -> dict[str, Any]:
    """Return the fields of a row that a journal gives back: not its place, nor times, which are those of the commit."""
    times = ("id", "submitted", "started", "ended")
    return {name: value for name, value in msgspec.to_builtins(row).items() if name not in times}


def rows(store: RunStore) -> list[dict[str, Any]]:
    return sorted((comparable(row) for row in store.tasks(limit=1000).rows), key=lambda row: row["task_id"])


async def test_its_tasks_are_those_that_were_told_live(live: RunStore, again: RunStore) -> None:
    """Rows, stages and failures of the journal are those of the events, retries among them."""
    journal = MemoryJournal()
    run_id = await run_with(journal, StoreSink(live))
    recorded = RecordedRun(journal.archive(), run_id)
    for batch in recorded.events():
        again.take(batch)
    assert rows(again) == rows(live)
    told = [(one.completed, one.failed, one.retried, one.run_s) for one in live.stages()]
    assert [(one.completed, one.failed, one.retried, pytest.approx(one.run_s)) for one in again.stages()] == told
    assert [(one.fingerprint, one.count, one.message) for one in again.failures()] == [
        (one.fingerprint, one.count, one.message) for one in live.failures()
    ]


@pytest.mark.slow
async def test_its_snapshot_counts_as_the_journal_does(live: RunStore) -> None:
    """The counts of the snapshot and of the record are one, and it says what became of the run."""
    journal = MemoryJournal()
    run_id = await run_with(journal, StoreSink(live))
    recorded = RecordedRun(journal.archive(), run_id)
    summary = recorded.summary()
    snapshot = summary.snapshot
    assert (summary.state, snapshot.submitted, snapshot.completed, snapshot.failed) == ("completed", 20, 16, 4)
    assert (snapshot.retried, [stage.name for stage in snapshot.stages]) == (1, ["work"])
    assert [(group.type, group.count) for group in snapshot.failures] == [("ValueError", 4)]
    assert recorded.info().snapshot().completed == 16


class Held(MemoryJournal):
    """Shows the archive before the last of the outcomes are in it."""

    def __init__(self, look: Any) -> None:
        super().__init__()
        self._look = look

    @hookimpl
    def commit(self, batch: CommitBatch) -> None:
        """Look after each batch."""
        super().commit(batch)
        self._look(batch.run_id)


@pytest.mark.slow
async def test_events_go_on_from_where_they_were(live: RunStore, again: RunStore) -> None:
    """Asked after each commit, it gives each end once, and in the end all of them."""
    ended: list[str] = []
    runs: dict[str, RecordedRun] = {}

    def look(run_id: str) -> None:
        recorded = runs.setdefault(run_id, RecordedRun(journal.archive(), run_id))
        for batch in recorded.events():
            again.take(batch)
            ended.extend(event.data["task_id"] for event in batch if event.type in ("task_completed", "task_failed"))

    journal = Held(look)
    run_id = await run_with(journal, StoreSink(live), count=200)
    look(run_id)
    assert (len(ended), len(set(ended))) == (200, 200)
    assert rows(again) == rows(live)
    assert runs[run_id].snapshot().submitted == 200
