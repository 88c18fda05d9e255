"""What the page on stopping shows is true; what signals do is tried in tests/flows/test_cli_signals.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

RunExample = Callable[[str], str]  # the fixture: test modules cannot import a conftest
PAGE = (Path(__file__).parents[2] / "docs/how-to/stopping.md").read_text(encoding="utf-8")
[EXAMPLE] = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_example_runs_as_it_is_printed(run_example: RunExample) -> None:
    """Copied into a file and started: what was quick completed, what was not is cancelled, and all is told."""
    assert run_example(EXAMPLE) == "stopped completed cancelled\n"
