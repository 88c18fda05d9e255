"""The sink keeps what every sink keeps, whether or not it may steer the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from longshore.hookspecs import Sink
from longshore.testing import SinkConformance
from longshore_dashboard import DashboardSink

pytestmark = pytest.mark.slow


class TestDashboardSink(SinkConformance):
    """On a free port."""

    control: bool = False

    @pytest.fixture
    def make_sink(self) -> Callable[[], Sink]:
        settings = DashboardSink.Settings(control=self.control)
        return lambda: DashboardSink(settings)


class TestSteering(TestDashboardSink):
    """With orders allowed."""

    control = True
