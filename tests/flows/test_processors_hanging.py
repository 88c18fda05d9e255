"""Processors that are never ready, in executors that cannot end them."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

import pytest
from longshore import TaskState
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
