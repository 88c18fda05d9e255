"""What the page on the dashboard shows is true."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from longshore_dashboard import DashboardSink

RunExample = Callable[[str], str]  # the fixture: test modules cannot import a conftest
PAGE = (Path(__file__).parents[2] / "docs/how-to/dashboard.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_example_runs_as_it_is_printed(run_example: RunExample) -> None:
    """Copied into a file and started it says what stands below it."""
    assert run_example(blocks("python")[0]) == blocks("text")[0]


def test_the_settings_are_all_there_and_as_they_come() -> None:
    """The table names every setting, with its default, but for the two that have none."""
    table = tomllib.loads(blocks("toml")[0])["tool"]["longshore"]["sinks"]["dashboard"]
    defaults = DashboardSink.Settings().model_dump(mode="json")
    shown = {name: None if name in ("uds", "token_file") else value for name, value in table.items()}
    assert shown == defaults
    DashboardSink.Settings(**table)
