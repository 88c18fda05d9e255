"""The sink keeps what every sink keeps, in each of its forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from longshore.hookspecs import Sink
from longshore.testing import SinkConformance
from longshore_jsonl import JsonlSink


class TestJsonlSink(SinkConformance):
    """In our own form, in one file."""

    form: Literal["native", "cloudevents"] = "native"
    rotate_mb: float | None = None

    @pytest.fixture
    def make_sink(self, tmp_path: Path) -> Callable[[], Sink]:
        path = str(tmp_path / "events.jsonl")
        settings = JsonlSink.Settings(path=path, format=self.form, rotate_mb=self.rotate_mb)
        return lambda: JsonlSink(settings)


class TestCloudEvents(TestJsonlSink):
    """As CloudEvents, in files that are rotated often."""

    form = "cloudevents"
    rotate_mb = 0.05
