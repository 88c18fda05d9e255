"""Processors that are never ready, in executors that cannot end them."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, ClassVar

import pytest
from longshore import Pipeline, PipelineResult, Stage, TaskState
from longshore._pipelines import PipelineStream
from longshore.hookspecs import hookimpl

pytestmark = pytest.mark.anyio


@pytest.mark.requirement("req:K05")
async def test_an_initialize_that_hangs_times_out_in_a_thread(processing: Any) -> None:
    """In a thread the time to get ready has its own limit: a document of one that never is ends with that."""
    go_on = threading.Event()

    class Stuck(processing.Base):
        said: ClassVar = {"executor": "threads"}

        @hookimpl
        def initialize(self) -> None:
            go_on.wait(20)

    limits = {"threads": {"initializer_timeout_s": 0.05}}
    async with processing.pool_of(p=Stuck, workers=1, executors=limits) as pool:
        try:
            outcome = await processing.end_of(pool)
            assert outcome.state is TaskState.TIMED_OUT
        finally:
            go_on.set()


@pytest.mark.slow
async def test_a_run_that_is_stopped_does_not_wait_for_workers_that_never_get_ready(processing: Any) -> None:
    """Nothing of these documents has begun: they are cancelled at once, and not when getting ready has timed out."""

    class Stuck(processing.Base):
        said: ClassVar = {"executor": "processes"}

        @hookimpl
        def initialize(self) -> None:
            time.sleep(1000)

    pipeline = Pipeline("stuck", [Stage("p", "p")])
    executors = {"processes": {"initializer_timeout_s": 900}}
    async with (
        processing.pool_of(p=Stuck, workers=1, executors=executors) as pool,
        pool.run_pipeline(pipeline, ["a", "b", "c"]) as stream,
    ):
        rest = asyncio.ensure_future(all_of(stream))
        while not any(row.current_task for row in pool.get_worker_stats()):
            await asyncio.sleep(0.01)
        stream.stop()
        assert [result.state for result in await rest] == [TaskState.CANCELLED] * 3


async def all_of(stream: PipelineStream) -> list[PipelineResult]:
    return [result async for result in stream]
