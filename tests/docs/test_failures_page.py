"""What the page on failures shows is true."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from longshore import CircuitBreaker, Settings

RunExample = Callable[[str], str]  # the fixture: test modules cannot import a conftest
PAGE = (Path(__file__).parents[2] / "docs/how-to/failures.md").read_text(encoding="utf-8")
[EXAMPLE] = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
[TABLE] = re.findall(r"^```toml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_example_runs_as_it_is_printed(run_example: RunExample) -> None:
    """Copied into a file and started, it waits for its breaker, gets its answers, and finds one kind of failure."""
    assert run_example(EXAMPLE) == "['answer 1', 'answer 2']\n1 kind of failure\n"


def test_the_table_is_what_the_empty_one_means() -> None:
    """The numbers that are shown are the defaults."""
    shown = Settings.model_validate(tomllib.loads(TABLE)["tool"]["longshore"]).breaker
    assert shown is not None
    assert shown.rule() == CircuitBreaker()
