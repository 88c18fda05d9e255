"""What the page on runs that hang shows is true; diagnoses are tried in tests/faults/test_diagnosis.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

RunExample = Callable[[str], str]  # the fixture: test modules cannot import a conftest
PAGE = (Path(__file__).parents[2] / "docs/how-to/diagnose.md").read_text(encoding="utf-8")
[EXAMPLE] = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_example_runs_as_it_is_printed(run_example: RunExample) -> None:
    """Copied into a file and started: a blocked loop is diagnosed from another thread, and its line is named."""
    told = run_example(EXAMPLE)
    assert re.fullmatch(r"the loop did not answer within 1 s, at \w+\.py:9 in blocks\n", told), told
