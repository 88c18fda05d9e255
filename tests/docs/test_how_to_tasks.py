"""What the pages on sharing, logging, notebooks and executors show is true: each example prints what is below it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

RunExample = Callable[[str], str]  # the fixture: test modules cannot import a conftest
PAGES = Path(__file__).parents[2] / "docs" / "how-to"
NAMES = ("share-and-presets.md", "logging.md", "notebooks.md", "limits-and-context.md", "futures.md")
EXAMPLES = [
    (name, number, code, said)
    for name in NAMES
    for number, (code, said) in enumerate(
        re.findall(
            r"^```python\n(.*?)^```\n+```text\n(.*?)^```$",
            (PAGES / name).read_text(encoding="utf-8"),
            flags=re.MULTILINE | re.DOTALL,
        )
    )
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "said"), [example[2:] for example in EXAMPLES], ids=[f"{name}-{number}" for name, number, *_ in EXAMPLES]
)
def test_an_example_prints_what_is_shown(run_example: RunExample, code: str, said: str) -> None:
    """Copied into a file and started, an example prints exactly the text below it, and nothing on stderr."""
    assert run_example(code) == said


def test_every_example_is_checked() -> None:
    """No Python example of these pages stands without what it prints."""
    blocks = sum((PAGES / name).read_text(encoding="utf-8").count("```python\n") for name in NAMES)
    assert blocks == len(EXAMPLES)
