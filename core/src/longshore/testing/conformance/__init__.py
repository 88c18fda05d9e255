"""Suites of tests, one for each kind of plugin: what every plugin of the kind keeps, whoever wrote it.

A plugin's own tests inherit one and say by a fixture how the plugin is made; nothing else is needed:

    class TestChat(SinkConformance):
        @pytest.fixture
        def make_sink(self) -> Callable[[], Sink]:
            return lambda: ChatSink(ChatSettings(url="http://127.0.0.1:9"))

The suites are what `longshore.testing` calls `ExecutorConformance`, `ProbeConformance`, `SinkConformance`,
`JournalConformance` and `ProcessorConformance`. They are loaded when they are asked for, and need pytest only then.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longshore.testing.conformance.executors import ExecutorConformance as ExecutorConformance
    from longshore.testing.conformance.journals import JournalConformance as JournalConformance
    from longshore.testing.conformance.probes import ProbeConformance as ProbeConformance
    from longshore.testing.conformance.processors import ProcessorConformance as ProcessorConformance
    from longshore.testing.conformance.sinks import SinkConformance as SinkConformance

_MODULES = {
    "ExecutorConformance": "executors",
    "JournalConformance": "journals",
    "ProbeConformance": "probes",
    "ProcessorConformance": "processors",
    "SinkConformance": "sinks",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> object:
    """Load a suite; ImportError where there is no pytest."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import pytest
    except ImportError as error:
        raise ImportError(
            f"{name} is a suite for pytest: install 'longshore-core[testing]', or pytest itself"
        ) from error
    home = f"{__name__}.{_MODULES[name]}"
    pytest.register_assert_rewrite(home)
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the suites."""
    return list(__all__)
