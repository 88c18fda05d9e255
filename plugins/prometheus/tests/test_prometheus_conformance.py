"""The sink keeps what every sink keeps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from longshore.hookspecs import Sink
from longshore.testing import SinkConformance
from longshore_prometheus import PrometheusSink


class TestPrometheusSink(SinkConformance):
    """On a free port."""

    @pytest.fixture
    def make_sink(self) -> Callable[[], Sink]:
        settings = PrometheusSink.Settings(port=0, token=False)
        return lambda: PrometheusSink(settings)
