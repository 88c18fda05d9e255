"""A suite runs in a process of its own: whatever a plugin does in it costs a line, never who asked."""

from __future__ import annotations

from typing import Any

import pytest
from longshore.plugins import PluginHost
from longshore.testing._suites import run_suite

HANGS = """
import time
from longshore.hookspecs import hookimpl

class Sink:
    @hookimpl
    def open(self, run): ...
    @hookimpl
    def on_events(self, batch):
        time.sleep(1000)
    @hookimpl
    def close(self, summary): ...
"""


ENDS = """
import os
from longshore.hookspecs import hookimpl

class Sink:
    @hookimpl
    def open(self, run): ...
    @hookimpl
    def on_events(self, batch):
        os._exit({code})
    @hookimpl
    def close(self, summary): ...
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 1, 3])
def test_a_suite_that_is_ended_by_its_plugin_has_failed(fake_distributions: Any, code: int) -> None:
    """With whatever exit code, be it that of success, it is told in which test, and how many were left."""
    fake_distributions.add("ends", ENDS.format(code=code), sinks={"ends": "Sink"})
    (candidate,) = PluginHost(distributions=fake_distributions, failures=None).candidates()
    result = run_suite(candidate, {}, deadline_s=60.0)
    assert not result.ok
    assert str(result.broken).startswith(f"its process ended with exit code {code} in test_")
    assert str(result.broken).endswith(" tests did not end")


@pytest.mark.slow
def test_a_suite_that_does_not_end_is_stopped(fake_distributions: Any) -> None:
    """After its time it is killed with all it started, and what had ended by then is told."""
    fake_distributions.add("hangs", HANGS, sinks={"hangs": "Sink"})
    (candidate,) = PluginHost(distributions=fake_distributions, failures=None).candidates()
    result = run_suite(candidate, {}, deadline_s=4.0)
    assert not result.ok
    assert str(result.broken).startswith("it was stopped after 4 s, in ")
    assert all(test.outcome in ("passed", "failed", "skipped") for test in result.tests)
