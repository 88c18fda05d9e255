"""The settings that pages show are what they are said to be."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from longshore import CircuitBreaker, ResourceLimits, ResultLimits, Settings, WorkerPool
from longshore.records import LIVE_CHECKS, READY_CHECKS
from longshore_dashboard import DashboardSink

HOW_TO = Path(__file__).parents[2] / "docs/how-to"
HOOKS = HOW_TO.parent / "writing-plugins/hooks.md"
Table = dict[str, Any]  # Any: TOML values


@pytest.fixture
def table_of(blocks: Callable[[Path], Sequence[Any]]) -> Callable[[str], Table]:
    """Return what gives the settings that a page shows."""

    def table(page: str) -> Table:
        [text] = [block.text for block in blocks(HOW_TO / page) if block.language == "toml"]
        return dict(tomllib.loads(text)["tool"]["longshore"])

    return table


def test_the_sink_of_the_page_has_all_its_settings_shown(table_of: Callable[[str], Table]) -> None:
    """Every one, with its default, but for the two that have none."""
    defaults = DashboardSink.Settings().model_dump(mode="json")
    shown = table_of("dashboard.md")["sinks"]["dashboard"]
    assert {name: None if name in ("uds", "token_file") else value for name, value in shown.items()} == defaults


def test_the_numbers_of_a_breaker_are_what_an_empty_table_means(table_of: Callable[[str], Table]) -> None:
    """They are the defaults."""
    shown = Settings.model_validate(table_of("failures.md")).breaker
    assert shown is not None
    assert shown.rule() == CircuitBreaker()


@pytest.mark.requirement("req:L09", "req:L10")
def test_health_alerts_and_history_are_shown_with_their_defaults(table_of: Callable[[str], Table]) -> None:
    """Every key of the three tables."""
    settings = Settings()
    names = ("health", "alerts", "history")
    assert table_of("health.md") == {name: getattr(settings, name).model_dump() for name in names}


def test_every_check_of_liveness_and_readiness_is_explained() -> None:
    """Each has its row in the page on health."""
    page = (HOW_TO / "health.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \|", page.partition("## Kubernetes")[0], flags=re.MULTILINE)
    assert {*LIVE_CHECKS, *READY_CHECKS} <= set(named)


def test_the_bounds_of_results_are_shown_with_their_defaults(table_of: Callable[[str], Table]) -> None:
    """Every bound."""
    assert table_of("submit-by-name.md")["results"] == ResultLimits().model_dump()


def test_the_limits_that_are_shown_make_sense_together(table_of: Callable[[str], Table]) -> None:
    """Each key exists, and what follows from them is as the page has it."""
    made = ResourceLimits(**table_of("resources.md")["limits"])
    assert (made.max_cpu_percent, made.warning_memory_percent) == (80, 65)


def test_the_pipeline_that_is_shown_plans_as_the_page_says(table_of: Callable[[str], Table]) -> None:
    """Two tries more, four at once, and a title that is not critical."""
    table = table_of("pipelines.md")
    for stage in table["pipelines"]["pages"]["stages"]:
        stage["processor"] = "os.path:basename"
        stage.pop("condition", None)
    read, title = WorkerPool(settings=Settings.model_validate({"probes": [], **table})).plan("pages")
    assert (read.attempts, read.max_parallel, title.after, title.critical) == (3, 4, ("read",), False)


def test_tables_of_hooks_enable_them_without_a_list(blocks: Callable[[Path], Sequence[Any]]) -> None:
    """Those that the page shows name both hooks, and one of them has settings."""
    [text] = [block.text for block in blocks(HOOKS) if block.language == "toml"]
    settings = Settings.model_validate(tomllib.loads(text)["tool"]["longshore"])
    assert settings.hooks == ("night", "office-hours")
    assert set(settings.table("hooks", "office-hours")) == {"opens", "closes"}
