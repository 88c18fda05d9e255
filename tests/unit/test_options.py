"""Options that can't be meant are refused where they are given, and harm no pool."""

from __future__ import annotations

import math
from typing import Any

import pytest
from longshore._pipeline_tables import find_pipeline
from longshore._runtime.specs import merged
from longshore.cli.console import UsageError
from longshore.cli.job import _own
from longshore.cli.options import RunOptions
from longshore.plugins import PluginHost
from longshore.settings import Settings
from longshore.task import Priority, Resources, RetryPolicy, TaskOptions


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", 99),
        ("priority", "HIGH"),
        ("priority", 2.5),
        ("priority", -1),
        ("retry", 3),
        ("resources", {"cpu": 1}),
        ("executor", 5),
        ("timeout", "3"),
        ("timeout", math.nan),
        ("deadline", 0),
        ("max_per_second", -1.0),
        ("initializer", [1]),
        ("isolation", "none"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(field: str, value: Any) -> None:
    """The error names the option, and nothing reaches a pool."""
    with pytest.raises(ValueError, match=field):
        merged(TaskOptions(), {field: value})


def test_a_priority_may_be_given_by_its_number() -> None:
    """0 to 4 are priorities, as the enum they stand for."""
    assert merged(TaskOptions(), {"priority": 0}).priority is Priority.CRITICAL


@pytest.mark.parametrize(
    "fields",
    [
        {"attempts": 2.5},
        {"attempts": 0},
        {"backoff": math.nan},
        {"max_backoff": math.inf},
        {"jitter": 2.0},
        {"retry_on": [ValueError]},
        {"retry_on": (5,)},
        {"retry_on": None},
    ],
)
@pytest.mark.requirement("req:F03")
def test_a_retry_policy_that_cannot_be_meant_is_refused(fields: Any) -> None:
    """A wrong policy is an error where it is made, not when the first task fails."""
    with pytest.raises(ValueError, match=next(iter(fields))):
        RetryPolicy(**fields)


@pytest.mark.parametrize("amount", [math.nan, math.inf, -1.0, "1"])
def test_resources_are_finite_amounts(amount: Any) -> None:
    """What could never be lent or given back is refused."""
    with pytest.raises(ValueError, match="cpu"):
        Resources(cpu=amount)


def test_the_command_line_takes_a_soft_timeout() -> None:
    """It is an option of all tasks, and has to be more than 0 and less than the timeout."""
    assert _own(RunOptions(soft_timeout=5.0, timeout=10.0)) == {"timeout": 10.0, "soft_timeout": 5.0}
    for wrong in ({"soft_timeout": 0.0}, {"soft_timeout": 10.0, "timeout": 10.0}):
        with pytest.raises(UsageError, match="--soft-timeout"):
            _own(RunOptions(**wrong))


def test_a_stages_table_takes_a_soft_timeout() -> None:
    """`soft_timeout` in a stage's table is that of the stage, and its tasks'."""
    table = {"stages": [{"name": "one", "processor": "os:getcwd", "timeout": 10, "soft_timeout": 2.5}]}
    pipeline = find_pipeline("docs", Settings(pipelines={"docs": table}), PluginHost())
    assert pipeline.stages[0].soft_timeout == 2.5
