"""The executor keeps what every executor does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from longshore.hookspecs import Executor
from longshore.testing import ExecutorConformance
from longshore_asyncio import AsyncioExecutor


class TestAsyncioExecutor(ExecutorConformance):
    timeout_s = 0.05

    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return AsyncioExecutor


class TestSharedIsolation(TestAsyncioExecutor):
    isolation = "shared"
