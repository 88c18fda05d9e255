"""Whose a log record is can be told in any executor."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
from longshore import Settings, TaskLogFilter, WorkerPool

pytestmark = pytest.mark.anyio


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Return what a handler of the user's wrote that shows the task of each record."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.addFilter(TaskLogFilter())
    handler.setFormatter(logging.Formatter("%(task_name)s|%(task_id)s|%(worker_id)s|%(message)s"))
    logging.getLogger().addHandler(handler)
    yield text
    logging.getLogger().removeHandler(handler)


def work(x: int) -> None:
    logging.getLogger("user.code").warning("item %d", x)


async def work_async(x: int) -> None:
    work(x)


@pytest.mark.parametrize(
    ("executor", "worker"),
    [("asyncio", "async-"), ("threads", "thread-"), ("processes", "process-"), ("inline", "inline-")],
)
async def test_a_record_names_its_task(log: io.StringIO, executor: str, worker: str) -> None:
    """Records that tasks log carry task id, task name and worker id; when the pool has stopped, all have come."""
    function = work_async if executor == "asyncio" else work
    async with WorkerPool(settings=Settings()) as pool:
        handles = [await pool.options(executor=executor).submit(function, x) for x in range(3)]
        logging.getLogger("user.code").warning("outside")
    lines = [line for line in log.getvalue().splitlines() if "item" in line or "outside" in line]
    assert "None|None|None|outside" in lines
    fields = sorted(line.split("|") for line in lines if "item" in line)
    assert sorted((f[0], f[1], f[3]) for f in fields) == sorted(
        (function.__name__, handle.task_id, f"item {x}") for x, handle in enumerate(handles)
    )
    assert all(f[2].startswith(worker) for f in fields)
