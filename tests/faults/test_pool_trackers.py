"""Progress trackers of the user's own, in real runs: called beside the work, and their faults cost them alone."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest
from longshore import RunSummary, Settings, TaskState, WorkerPool, current_task

pytestmark = pytest.mark.anyio
COUNT = 200
DEADLINE_S = 30.0


class Tracker:
    """Keeps what it is told, and raises what it is to raise."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.threads: set[int] = set()
        self._error = error

    def _called(self, *call: Any) -> None:
        self.calls.append(call)
        self.threads.add(threading.get_ident())
        if self._error is not None:
            raise self._error

    def start_task(self, task_id: str, processor_name: str, document_id: str, total_steps: int | None = None) -> None:
        self._called("start", task_id, processor_name, document_id)

    def update_task(
        self,
        task_id: str,
        progress: float,
        message: str = "",
        current_step: str | None = None,
        completed_steps: int | None = None,
    ) -> None:
        self._called("update", task_id, progress, message, current_step, completed_steps)

    def complete_task(self, task_id: str, success: bool = True, error: str | None = None) -> None:
        self._called("complete", task_id, success, error)


class AsyncTracker(Tracker):
    """The same, as the specification's sketch has it."""

    async def start_task(self, *args: Any, **named: Any) -> None:  # type: ignore[override]
        super().start_task(*args, **named)

    async def update_task(self, *args: Any, **named: Any) -> None:  # type: ignore[override]
        super().update_task(*args, **named)

    async def complete_task(self, *args: Any, **named: Any) -> None:  # type: ignore[override]
        super().complete_task(*args, **named)


async def work(number: int) -> int:
    current_task().progress(0.5, "half", step="middle", completed_steps=1, total_steps=2)
    if number % 10 == 3:
        raise ValueError(f"number {number}")
    return number


async def run(tracker: object) -> RunSummary:
    pool = WorkerPool(progress_tracker=tracker, settings=Settings(probes=()))
    async with asyncio.timeout(DEADLINE_S), pool:
        outcomes = [outcome async for outcome in pool.outcomes(work, range(COUNT))]
    states = [outcome.state for outcome in sorted(outcomes, key=lambda outcome: outcome.index)]
    assert states == [TaskState.FAILED if n % 10 == 3 else TaskState.COMPLETED for n in range(COUNT)]
    assert pool.summary is not None
    return pool.summary


@pytest.mark.parametrize("kind", [Tracker, AsyncTracker])
async def test_a_tracker_of_the_users_own_is_told(kind: type[Tracker]) -> None:
    """Sync or async, it is told of each start, update and end, in order; sync ones not on the loop's thread."""
    tracker = kind()
    summary = await run(tracker)
    assert summary.notes == []
    ids = [call[1] for call in tracker.calls if call[0] == "start"]
    assert len(set(ids)) == COUNT
    lives: dict[str, list[tuple[Any, ...]]] = {task_id: [] for task_id in ids}
    for what, task_id, *said in tracker.calls:
        lives[task_id].append((what, *said))
    assert all(
        life[:2] == [("start", "work", task_id), ("update", 0.5, "half", "middle", 1)]
        for task_id, life in lives.items()
    )
    ends = [life[2] for life in lives.values()]
    assert ends.count(("complete", True, None)) == COUNT * 9 // 10
    assert sum(not success and "ValueError: number" in str(error) for _, success, error in ends) == COUNT // 10
    assert (
        tracker.threads == {threading.get_ident()}
        if kind is AsyncTracker
        else threading.get_ident() not in tracker.threads
    )


@pytest.mark.requirement("req:F09")
@pytest.mark.parametrize("kind", [Tracker, AsyncTracker])
@pytest.mark.parametrize("error", [ZeroDivisionError("its own fault"), SystemExit(3)], ids=["exception", "exit"])
async def test_a_tracker_that_raises(
    kind: type[Tracker], error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it raises is counted and in the summary's notes, and changes no outcome."""
    tracker = kind(error)
    with caplog.at_level(logging.CRITICAL):
        summary = await run(tracker)
    (note,) = [note for note in summary.notes if "progress_tracker" in note]
    assert type(error).__name__ in note
    assert f"{len(tracker.calls)} errors" in note


async def test_a_tracker_that_raises_once_is_noted_too(caplog: pytest.LogCaptureFixture) -> None:
    """One error among many calls that went well is in the notes."""

    class Once(Tracker):
        def complete_task(self, task_id: str, success: bool = True, error: str | None = None) -> None:
            super().complete_task(task_id, success, error)
            if sum(call[0] == "complete" for call in self.calls) == 1:
                raise ZeroDivisionError("the first")

    with caplog.at_level(logging.CRITICAL):
        summary = await run(Once())
    (note,) = [note for note in summary.notes if "progress_tracker" in note]
    assert "1 error;" in note


async def test_a_tracker_that_blocks_holds_up_no_task() -> None:
    """While it is inside a call that does not return, tasks run and end as if it was not there."""
    go = threading.Event()

    class Blocking(Tracker):
        def start_task(self, *args: Any, **named: Any) -> None:
            go.wait(DEADLINE_S)

    async with (
        asyncio.timeout(DEADLINE_S),
        WorkerPool(progress_tracker=Blocking(), settings=Settings(probes=())) as pool,
    ):
        assert len([outcome async for outcome in pool.outcomes(work, range(COUNT))]) == COUNT
        go.set()


def test_what_is_no_tracker_is_refused_when_the_pool_starts() -> None:
    """An object without the three methods is a TypeError that names the first it lacks."""

    async def start() -> None:
        await WorkerPool(progress_tracker=object(), settings=Settings(probes=())).start()

    with pytest.raises(TypeError, match="start_task"):
        asyncio.run(start())
