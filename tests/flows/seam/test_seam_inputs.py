"""What can't be meant, and what is said about it: bad arguments of the pool, and of its tasks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from longshore import (
    Priority,
    ProcessorContext,
    QueueFull,
    ResourceLimits,
    ResourceMonitor,
    Settings,
    WorkerConfig,
    WorkerPool,
)
from longshore.events import AnyEvent

Opener = Callable[..., Any]


def same(value: object) -> object:
    return value


@pytest.mark.anyio
@pytest.mark.submission
@pytest.mark.parametrize(
    ("bad", "kind", "says"),
    [
        ({"resources": {"cpu": "a"}}, ValueError, "cpu is a number, not 'a'"),
        ({"resources": {"cpu": True}}, ValueError, "cpu is a number, not True"),
        ({"resources": ["cpu"]}, TypeError, "a mapping of names to amounts"),
        ({"resource_timeout": -1}, ValueError, "resource_timeout is"),
        ({"resource_timeout": float("nan")}, ValueError, "resource_timeout is"),
        ({"timeout": True}, ValueError, "timeout must be a number"),
        ({"timeout": float("nan")}, ValueError, "timeout must be a number"),
        ({"processor_name": None}, TypeError, "processor_name is a str"),
        ({"key": object()}, ValueError, "key must be of the type str"),
    ],
)
async def test_a_bad_argument_is_named(open_pool: Opener, bad: Mapping[str, Any], kind: type, says: str) -> None:
    """The error says which argument it is and what it may be, and nothing is queued."""
    async with open_pool() as pool:
        with pytest.raises(kind, match=says):
            await pool.submit_task(**{"processor_name": "same", "context": 1, "processor_func": same, **bad})
        assert pool.tasks() == []


@pytest.mark.anyio
async def test_bad_questions_are_refused(open_pool: Opener) -> None:
    """A time limit that is no number, a number of tasks below 0, and a key that no event can carry."""
    async with open_pool() as pool:
        task_id = await pool.submit_task("same", 1, same)
        with pytest.raises(ValueError, match="not nan"):
            await pool.get_task_result(task_id, float("nan"))
        with pytest.raises(ValueError, match="at least 0, not -1"):
            pool.tasks(-1)
        with pytest.raises(ValueError, match="key must be of the type str"):
            pool.options(key=object())
        assert pool.tasks(0) == []


@pytest.mark.anyio
async def test_a_full_queue_names_the_setting_of_its_own_bound(open_pool: Opener, gate: Any) -> None:
    """Critical tasks have a bound of their own, and are told of that one."""
    async with open_pool(submit_timeout=0.01, max_queue_size=10, priority_queue_size=10) as pool:
        await gate.hold(pool)

        async def fill(priority: Priority) -> None:
            for _ in range(20):
                await pool.submit_task("same", 1, same, priority)

        for priority, setting in ((Priority.CRITICAL, "priority_queue_size"), (Priority.NORMAL, "max_queue_size")):
            with pytest.raises(QueueFull, match=f"or raise workers.{setting}"):
                await fill(priority)
        gate.set()


@pytest.mark.anyio
async def test_a_path_for_an_id_is_text_in_events(open_pool: Opener) -> None:
    """Every event of such a document can be written as JSON, with the path as its key."""
    async with open_pool() as pool:
        told: list[AnyEvent] = []
        pool.events.subscribe(told.append)
        context: Any = ProcessorContext(document_id=Path("a/b.pdf"))  # type: ignore[arg-type]  # that is the point
        await pool.get_task_result(await pool.submit_task("same", context, same))
        assert pool.tasks()[0].key == "a/b.pdf"
    assert [json.dumps(event.data) for event in told]


def test_a_table_does_for_configuration_and_is_checked() -> None:
    """A dict is taken as the model it stands for, and what is wrong in it is named when it is given."""
    pool = WorkerPool({"async_workers": 2}, settings=Settings(probes=()))
    assert pool.config == WorkerConfig(async_workers=2)
    assert ResourceMonitor({"max_cpu_percent": 50.0}).limits == ResourceLimits(max_cpu_percent=50.0)
    with pytest.raises(ValueError, match="async_worker"):
        WorkerPool({"async_worker": 2}, settings=Settings(probes=()))
    with pytest.raises(ValueError, match="max_cpu"):
        ResourceMonitor({"max_cpu": 50.0})


@pytest.mark.parametrize("field", ["default_timeout", "worker_heartbeat_interval"])
def test_a_time_of_the_configuration_is_finite(field: str) -> None:
    """Infinity can't be written as JSON, where the configuration is told of."""
    with pytest.raises(ValueError, match=field):
        WorkerConfig.model_validate({field: float("inf")})
