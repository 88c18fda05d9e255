"""What the page on traces shows is true."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

RunExample = Callable[[str], str]  # the fixture: test modules cannot import a conftest
PAGE = (Path(__file__).parents[2] / "docs/how-to/traces.md").read_text(encoding="utf-8")
[EXAMPLE] = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
[SAID] = re.findall(r"^```text\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_example_runs_as_it_is_printed(run_example: RunExample) -> None:
    """Copied into a file and started, it says what the page says."""
    assert run_example(EXAMPLE) == SAID
