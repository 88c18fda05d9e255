"""What the page on runs that hang shows is true; diagnoses are tried in tests/faults/test_diagnosis.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

RunExample = Callable[[str], str]  # the fixture: test modules cannot import a conftest
PAGE = (Path(__file__).parents[2] / "docs/how-to/diagnose.md").read_text(encoding="utf-8")
[EXAMPLE] = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_example_runs_as_it_is_printed(run_example: RunExample) -> None:
    """Copied into a file and started: the line at which a thread waits for a lock is told."""
    told = run_example(EXAMPLE)
    assert re.fullmatch(r"waits is at line 1[01] in waits\n", told), told
