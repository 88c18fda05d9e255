"""The sink keeps what every sink keeps, with a collector that takes all it sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from longshore.hookspecs import Sink
from longshore.testing import SinkConformance
from longshore_otel import OtelSink

pytestmark = pytest.mark.slow


class TestOtelSink(SinkConformance):
    """By OTLP, to a collector on loopback."""

    @pytest.fixture
    def make_sink(self, collector: Any) -> Callable[[], Sink]:
        settings = OtelSink.Settings(endpoint=collector.url)
        return lambda: OtelSink(settings)
