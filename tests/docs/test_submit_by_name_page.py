"""What the page on submitting by name shows is true."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from longshore import ResultLimits

RunExample = Callable[[str], str]  # the fixture: test modules cannot import a conftest
PAGE = (Path(__file__).parents[2] / "docs/how-to/submit-by-name.md").read_text(encoding="utf-8")


def code(language: str) -> str:
    """Return the page's only code block of a language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return str(block)


@pytest.mark.slow
def test_the_example_prints_what_the_page_says(run_example: RunExample) -> None:
    """Copied into a file and started, it prints the lines that stand below it, and no warning."""
    (said,) = re.findall(r"^It prints (.*)\.$", PAGE, flags=re.MULTILINE)
    assert run_example(code("python")).splitlines() == re.findall(r"`([^`]*)`", said)


def test_the_settings_shown_are_the_defaults() -> None:
    """The table on the page names every bound, with its default."""
    shown = tomllib.loads(code("toml"))["tool"]["longshore"]["results"]
    assert shown == ResultLimits().model_dump()
