"""The table of workers that follow their load: what is refused, and with how many each begins."""

from __future__ import annotations

from typing import Any

import pytest
from longshore import Settings, WorkerConfig
from longshore._parts import Parts
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"scaling": {"threads": {"min_workers": 3, "max_workers": 2}}},
            r"min_workers \(3\) is above max_workers \(2\)",
        ),
        ({"scaling": {"threads": {"min_workers": 1}}}, "max_workers"),
        ({"scaling": {"threads": {"max_workers": 2, "idle": 3}}}, "idle"),
        ({"scaling": {"threads": {"max_workers": 2, "idle_s": 0}}}, "greater than 0"),
        ({"scaling": {"inline": {"max_workers": 2}}}, "the pool's own thread"),
        ({"scaling": {"threads": {"max_workers": 2}}, "thread_workers": 0}, "thread_workers is 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], said: str) -> None:
    """Bounds that cross, that are missing or misspelt, and executors that cannot grow are refused with the reason."""
    with pytest.raises(ValidationError, match=said):
        WorkerConfig.model_validate(given)


def test_an_executor_begins_within_its_bounds() -> None:
    """With the number that is set for it where that lies within, else with the bound that is nearest."""
    config = WorkerConfig.model_validate(
        {
            "async_workers": 20,
            "thread_workers": 3,
            "scaling": {"asyncio": {"max_workers": 8}, "threads": {"max_workers": 8}, "processes": {"max_workers": 4}},
        }
    )
    parts = Parts(Settings(), config)
    assert [parts.workers(name) for name in ("asyncio", "threads", "processes")] == [8, 3, 1]
    assert parts.brought_up() == ["asyncio", "threads"]
