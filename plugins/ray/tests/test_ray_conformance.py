"""The executor keeps what every executor does, on a cluster that all tests share: with `-m bench`, for minutes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from longshore.hookspecs import Executor
from longshore.testing import ExecutorConformance
from longshore_ray import RayExecutor

pytestmark = pytest.mark.bench


class TestRayExecutor(ExecutorConformance):
    patience_s = 40.0

    @pytest.fixture
    def make_executor(self, theirs: str) -> Callable[[], Executor]:
        return lambda: RayExecutor(RayExecutor.Settings(address=theirs))
