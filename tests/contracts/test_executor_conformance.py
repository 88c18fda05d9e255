"""The executors that are part of the core keep what every executor does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from longshore._runtime.inline import InlineExecutor
from longshore.hookspecs import Executor
from longshore.testing import ExecutorConformance


class TestInlineExecutor(ExecutorConformance):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return InlineExecutor
