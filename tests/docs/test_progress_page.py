"""What the page on progress shows is true."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

RunExample = Callable[[str], str]  # the fixture: test modules cannot import a conftest
PAGE = (Path(__file__).parents[2] / "docs/how-to/progress.md").read_text(encoding="utf-8")
READ, DRAINED, BY_HAND = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (READ, ["words: 6", "book-1 completed 1.0 2 of 2", "completed: 1"]),
        (DRAINED, ["ended: completed"]),
        (BY_HAND, ["completed 1.0", "pipeline: 0.5", "processing 0.0"]),
    ],
    ids=["inside a task", "drained", "by hand"],
)
def test_the_examples_run_as_they_are_printed(code: str, said: list[str], run_example: RunExample) -> None:
    """Copied into a file and started, each says what it should, and nothing goes wrong."""
    assert sorted(run_example(code).splitlines()) == sorted(said)
