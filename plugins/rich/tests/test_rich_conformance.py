"""The sink keeps what every sink keeps, in each of its views."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Literal

import pytest
from longshore.hookspecs import Sink
from longshore.testing import SinkConformance
from longshore_rich import RichSink


class TestLines(SinkConformance):
    """As lines, to standard error."""

    view: Literal["live", "lines", "json", "none"] = "lines"

    @pytest.fixture
    def make_sink(self) -> Callable[[], Sink]:
        return lambda: RichSink(RichSink.Settings(view=self.view))


class TestJsonLines(TestLines):
    """As lines of JSON."""

    view = "json"


class TestNothing(TestLines):
    """Not at all."""

    view = "none"


class TestLive(SinkConformance):
    """Alive, on a terminal."""

    @pytest.fixture
    def make_sink(self, terminal: io.StringIO) -> Callable[[], Sink]:
        settings = RichSink.Settings(view="live", refresh_hz=30)
        return lambda: RichSink(settings, stream=terminal, env={"TERM": "xterm-256color"})
