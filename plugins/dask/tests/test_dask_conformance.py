"""The executor keeps what every executor does, on a cluster that all of these tests share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from longshore.hookspecs import Executor
from longshore.testing import ExecutorConformance
from longshore_dask import DaskExecutor

pytestmark = pytest.mark.slow


class TestDaskExecutor(ExecutorConformance):
    patience_s = 40.0

    @pytest.fixture
    def make_executor(self, shared_address: str) -> Callable[[], Executor]:
        return lambda: DaskExecutor(DaskExecutor.Settings(address=shared_address))
