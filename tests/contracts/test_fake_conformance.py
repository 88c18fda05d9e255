"""The fakes of `longshore.testing` keep what all plugins of their kind do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from longshore.hookspecs import Probe, Sink
from longshore.records import Bound, Reading, Usage
from longshore.testing import ProbeConformance, RecordingSink, ScriptedProbe, SinkConformance


class TestRecordingSink(SinkConformance):
    @pytest.fixture
    def make_sink(self) -> Callable[[], Sink]:
        return RecordingSink


class TestScriptedProbe(ProbeConformance):
    @pytest.fixture
    def make_probe(self) -> Callable[[], Probe]:
        memory = Usage.within([Bound("host", 500.0, 1000.0), Bound("cgroup /a", 200.0, 300.0)], 100.0)
        return lambda: ScriptedProbe([Reading(datetime.now(UTC), {"cpu": Usage(0.5, 1.0, 0.25), "memory": memory})])
