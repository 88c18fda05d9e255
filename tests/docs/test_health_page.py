"""What the page on health shows is true."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from longshore import Settings

RunExample = Callable[[str], str]  # the fixture: test modules cannot import a conftest
PAGE = (Path(__file__).parents[2] / "docs/how-to/health.md").read_text(encoding="utf-8")
TABLES = ("health", "alerts", "history")


def block(language: str) -> str:
    """Return the one block of code in that language."""
    [code] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return str(code)


def test_the_example_runs_as_it_is_printed(run_example: RunExample) -> None:
    """Copied into a file and started: an idle pool is well, and there is a point of its beginning and of its end."""
    told = run_example(block("python")).splitlines()
    assert told[:2] == ["True True True", "[+]running ok"]
    assert told[-2:] == ["[]", "[0, 1]"]
    checks = re.findall(r"^\[\+\](\w+) ok$", "\n".join(told), flags=re.MULTILINE)
    named = re.findall(r"^\| `(\w+)` \|", PAGE.partition("## Kubernetes")[0], flags=re.MULTILINE)
    assert set(checks) | {"journal"} == set(named)


@pytest.mark.requirement("req:L09", "req:L10")
def test_the_settings_are_all_there_with_their_defaults() -> None:
    """The tables of the page are the defaults, every key of them."""
    shown = tomllib.loads(block("toml"))["tool"]["longshore"]
    settings = Settings()
    assert shown == {name: getattr(settings, name).model_dump() for name in TABLES}
