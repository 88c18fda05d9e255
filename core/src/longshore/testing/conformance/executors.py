"""What every executor keeps, as far as its capabilities go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from longshore.hookspecs import Executor
from longshore.testing.conformance._plugin import MakePlugin, PluginConformance

MakeExecutor = Callable[[], Executor]


class ExecutorConformance(PluginConformance):
    """Inherit this, and return by the fixture `make_executor` what makes an executor that is not started."""

    kind = "executors"
    workers: int = 2
    """How many workers each test asks for."""

    @pytest.fixture
    def make_executor(self) -> MakeExecutor:
        """Return what makes an executor."""
        raise NotImplementedError("the class that inherits ExecutorConformance needs a fixture make_executor")

    @pytest.fixture
    def make_plugin(self, make_executor: MakeExecutor) -> MakePlugin:
        """Return what makes an executor, for what all plugins keep."""
        return make_executor


__all__ = ["ExecutorConformance", "MakeExecutor"]
