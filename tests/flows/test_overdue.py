"""Soft timeouts: a task that runs for too long is told of once, before its end, in every executor."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from longshore import Settings, Stage, WorkerConfig, WorkerPool, current_task
from longshore.events import AnyEvent
from support.waiting import until

pytestmark = pytest.mark.anyio

DEADLINE_S = 30.0


class Heard:
    """A pool, and what was told of overdue tasks and of ends, in order."""

    def __init__(self, **config: Any) -> None:
        self.pool = WorkerPool(WorkerConfig(**config), settings=Settings(probes=()))
        self.events: list[AnyEvent] = []
        kinds = ["task_overdue", "task_completed", "task_failed"]
        self.pool.events.subscribe(self.events.append, kinds)

    def types(self) -> list[str]:
        return [event.type for event in self.events]


def held(path: Path) -> bool:
    """Run until the file is there; tell whether the task saw that it was overdue."""
    deadline = time.monotonic() + DEADLINE_S
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    return current_task().overdue()


async def held_async(path: Path) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while not path.exists() and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
    return current_task().overdue()


@pytest.mark.parametrize("executor", ["asyncio", "threads", "processes"])
async def test_a_task_past_its_soft_timeout_is_told_of_and_goes_on(executor: str, tmp_path: Path) -> None:
    """The event comes while the task runs, names it and its worker, comes once, and changes nothing else."""
    heard = Heard()
    async with heard.pool as pool:
        function = held_async if executor == "asyncio" else held
        handle = await pool.options(executor=executor, soft_timeout=0.05).submit(function, tmp_path / "go")
        await until(lambda: heard.types() == ["task_overdue"], "the event")
        (tmp_path / "go").touch()
        assert await handle is True
        await until(lambda: len(heard.events) == 2, "the end")
    data = heard.events[0].data
    assert data["task_id"] == handle.task_id
    assert data["running_s"] >= data["soft_timeout_s"] == 0.05
    assert data["worker_id"].split("-")[0] in ("async", "thread", "process")
    assert heard.types() == ["task_overdue", "task_completed"]


@pytest.mark.slow
async def test_the_hard_limit_comes_after_the_soft_one() -> None:
    """A task that passes both is told of as overdue, then times out."""
    heard = Heard()
    async with heard.pool as pool:
        submitter = pool.options(timeout=0.3, soft_timeout=0.05)
        with pytest.raises(TimeoutError):
            await (await submitter.submit(asyncio.sleep, DEADLINE_S))
        await until(lambda: len(heard.events) == 2, "both events")
    assert heard.types() == ["task_overdue", "task_failed"]


@pytest.mark.slow
async def test_a_process_is_told_of_also_when_the_loop_was_blocked(tmp_path: Path) -> None:
    """While the loop is blocked nobody hears anything; afterwards the event is there, before the end it belongs to."""
    heard = Heard()
    async with heard.pool as pool:
        handle = await pool.options(executor="processes", timeout=0.4, soft_timeout=0.1).submit(held, tmp_path / "go")
        await until(lambda: handle.state.value == "processing", "its start")
        time.sleep(1.0)
        outcome = await handle.outcome()
        await until(lambda: len(heard.events) == 2, "both events")
    assert outcome.state.value == "timed_out"
    assert heard.types() == ["task_overdue", "task_failed"]


async def test_settings_give_a_soft_timeout_to_tasks_that_name_none() -> None:
    """`default_soft_timeout` is for tasks without their own, where their timeout is longer."""
    heard = Heard(default_soft_timeout=0.05)
    async with heard.pool as pool:
        with pytest.raises(TimeoutError):
            await (await pool.options(timeout=0.04).submit(asyncio.sleep, DEADLINE_S))
        with pytest.raises(TimeoutError):
            await (await pool.options(timeout=0.2).submit(asyncio.sleep, DEADLINE_S))
        await until(lambda: len(heard.events) == 3, "three events")
    assert heard.types() == ["task_failed", "task_overdue", "task_failed"]


async def test_a_stage_has_a_soft_timeout() -> None:
    """A stage says after how long its tasks are overdue; its multiplier moves that, too."""
    heard = Heard()

    async def slow(context: Any) -> int:
        await asyncio.sleep(0.2)
        return 1

    async with heard.pool as pool:
        from longshore import Pipeline

        stage = Stage("slow", slow, timeout=10, soft_timeout=0.5, timeout_multiplier=0.1)
        result = await pool.start_pipeline(Pipeline("one", [stage]), "a document")
        assert result.state.value == "completed"
        await until(lambda: len(heard.events) == 2, "both events")
    assert heard.events[0].data["soft_timeout_s"] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"soft_timeout": 0}, "greater than 0"),
        ({"soft_timeout": -1.0}, "greater than 0"),
        ({"soft_timeout": 5, "timeout": 5}, "less than timeout"),
    ],
)
async def test_a_soft_timeout_that_cannot_be_meant_is_refused(options: dict[str, Any], text: str) -> None:
    """It is more than 0, and less than the timeout."""
    with pytest.raises(ValueError, match=text):
        WorkerPool(settings=Settings(probes=())).options(**options)


async def test_a_soft_timeout_above_the_default_timeout_is_refused() -> None:
    """It could never be told of."""
    async with Heard(default_timeout=3.0).pool as pool:
        with pytest.raises(ValueError, match="ended after 3 s"):
            await pool.options(soft_timeout=4).submit(asyncio.sleep, 0)
